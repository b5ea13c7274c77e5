// Plans of failures through the public functions: what the caller sees of each kind, and the same
// plan and seed in the simulated world and over real loopback.
#include "cli/default_plan.h"
#include "fault/injector.h"
#include "origin/loopback.h"
#include "sim/http_world.h"

namespace conpool::sim {
namespace {

// What came of a run of requests, one after another.
struct Seen {
  std::vector<std::string> outcomes;  // "OK 2", or status, errno, proof and attempts
  std::vector<std::string> faults;    // in the order of their events
  int64_t counted = 0;

  std::string outcome(size_t i) const { return i < outcomes.size() ? outcomes[i] : "none"; }
  std::string all() const {
    std::string text;
    for (const std::string& line : outcomes)
      text += line + "\n";
    for (const std::string& line : faults)
      text += line + "\n";
    return text;
  }
};

OptionList options_with(const std::string& plan, const OptionList& more) {
  OptionList all{
      {"fault.plan", plan},       {"fault.seed", "42"},         {"first_byte.timeout", "300ms"},
      {"stall.timeout", "300ms"}, {"connect.timeout", "200ms"}, {"dial.timeout", "1s"},
      {"breaker.mode", "off"},    {"events.level", "debug"}};
  for (const auto& [name, value] : more) {
    std::erase_if(all, [&](const auto& option) { return option.first == name; });
    all.emplace_back(name, value);
  }
  return all;
}

// Performs `count` requests and says what came of them. Every body is checked.
void perform_all(conpool_endpoint* endpoint, int count, const std::string& method, Seen* run) {
  for (int i = 0; i < count; ++i) {
    conpool_request* request = nullptr;
    ASSERT_EQ(conpool_request_new_at(endpoint, method.c_str(), "/bytes/100", 10, &request, nullptr),
              0);
    conpool_response* response = nullptr;
    conpool_error* error = nullptr;
    const conpool_status status = conpool_perform(request, nullptr, &response, &error);
    std::string outcome = status_name(status);
    if (status == 0) {
      size_t size = 0;
      const uint8_t* body = conpool_response_body(response, &size);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(body), size), origin::pattern(0, 100));
    } else {
      static const char* const kProofs[] = {"never sent", "not processed", "maybe processed"};
      outcome += " " + std::string(errno_name(conpool_error_os_errno(error)));
      outcome += std::string(", ") + kProofs[conpool_error_proof(error)];
    }
    run->outcomes.push_back(outcome);
    conpool_response_free(response);
    conpool_error_free(error);
    conpool_request_free(request);
  }
}

// The ordinal and the words of each fault; addresses, ports and names differ between the worlds.
void read_faults(conpool_pool* pool, Seen* run) {
  char* text = nullptr;
  ASSERT_EQ(conpool_pool_events(pool, "jsonl", &text), 0);
  const std::string events(text);
  conpool_text_free(text);
  for (size_t at = 0, end = 0; at < events.size(); at = end + 1) {
    end = events.find('\n', at);
    const std::string line = events.substr(at, end - at);
    if (line.find("\"fault.injected\"") == line.npos) continue;
    const auto value_of = [&line](const std::string& key) {
      const size_t from = line.find("\"" + key + "\":") + key.size() + 3;
      return line.substr(from, line.find_first_of(",}", from) - from);
    };
    std::string words = value_of("text");
    words = words.substr(1, words.rfind(' ') - 1);
    run->faults.push_back(value_of("ordinal") + " " + words);
  }
  ASSERT_EQ(conpool_pool_metrics(pool, "text", &text), 0);
  const std::string metrics(text);
  conpool_text_free(text);
  const std::string key = "faults.injected=";
  const size_t at = metrics.find(key);
  run->counted = at == metrics.npos ? 0 : std::stoll(metrics.substr(at + key.size()));
}

Seen run_simulated(Wire wire, const std::string& plan, int count, const OptionList& more,
                   const std::string& method) {
  Seen run;
  HttpWorld world;
  world.open(options_with(plan, more));
  if (testing::Test::HasFatalFailure()) return run;
  HttpServer& server = world.serve_on(wire);
  server.set_answer_chooser(origin::demo_answer);
  perform_all(world.target(wire), count, method, &run);
  read_faults(world.pool, &run);
  EXPECT_EQ(server.http_counts().bad_requests, 0u) << server.http_counts().first_problem;
  return run;
}

Seen run_real(Wire wire, const std::string& plan, int count, const OptionList& more,
              const std::string& method) {
  Seen run;
  auto origin =
      origin::Loopback::start({.http = origin::LoopbackHttp{},
                               .tls = is_tls(wire),
                               .alpn = is_h2(wire) ? std::vector<std::string>{"h2", "http/1.1"}
                                                   : std::vector<std::string>{"http/1.1"}});
  EXPECT_TRUE(origin.has_value());
  if (!origin) return run;
  OptionList options = options_with(plan, more);
  if (is_tls(wire)) options.emplace_back("tls.ca_pem", (*origin)->authority_pem());
  if (wire == Wire::H2c) options.emplace_back("http.version", "h2");
  if (is_tls(wire)) options.emplace_back("tls.server_name", "localhost");
  options.emplace_back("loop.drive", "caller");
  const ConfigOf config(options);
  conpool_pool* pool = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_pool_new(config.get(), &pool, &error), 0)
      << (error == nullptr ? "" : conpool_error_line(error));
  conpool_error_free(error);
  if (pool == nullptr) return run;
  const std::string url = (is_tls(wire) ? "https://" : "http://") + (*origin)->addresses()[0];
  conpool_endpoint* endpoint = nullptr;
  EXPECT_EQ(conpool_endpoint_new(pool, url.data(), url.size(), nullptr, &endpoint, nullptr), 0);
  perform_all(endpoint, count, method, &run);
  read_faults(pool, &run);
  EXPECT_EQ((*origin)->counts().http.bad_requests, 0u) << (*origin)->counts().http.first_problem;
  conpool_endpoint_free(endpoint);
  conpool_pool_free(pool);
  return run;
}

// Both worlds, which must agree on everything.
Seen run_both(Wire wire, const std::string& plan, int count, const OptionList& more = {},
              const std::string& method = "GET") {
  SCOPED_TRACE(std::string(wire_name(wire)) + ", " + plan);
  const Seen simulated = run_simulated(wire, plan, count, more, method);
  const Seen real = run_real(wire, plan, count, more, method);
  EXPECT_EQ(simulated.all(), real.all()) << "left simulated, right real";
  EXPECT_EQ(simulated.counted, static_cast<int64_t>(simulated.faults.size()));
  EXPECT_EQ(real.counted, static_cast<int64_t>(real.faults.size()));
  return simulated;
}

class Faults : public testing::TestWithParam<Wire> {};

std::string wire_of_case(const testing::TestParamInfo<Wire>& wire) {
  constexpr const char* kNames[] = {"Http1", "TlsHttp1", "H2c", "H2"};
  return kNames[static_cast<size_t>(wire.param)];
}
INSTANTIATE_TEST_SUITE_P(Http, Faults, testing::ValuesIn(kWires), wire_of_case);

// The second request of three meets the fault; the others do not notice.
void expect_second(Wire wire, const std::string& fault, const std::string& outcome,
                   const OptionList& more = {}, const std::string& method = "POST") {
  const Seen run = run_both(wire, fault + " requests=2", 3, more, method);
  EXPECT_EQ(run.outcome(0), "OK") << fault;
  EXPECT_EQ(run.outcome(1), outcome) << fault;
  EXPECT_EQ(run.outcome(2), "OK") << fault;
  ASSERT_GE(run.faults.size(), 1u) << fault;
  EXPECT_EQ(run.faults[0], "2 " + fault.substr(0, fault.find(' '))) << fault;
}

// Of TLS the bytes are those of a record, of which nothing is told before it is whole.
std::string cut_status(Wire wire) {
  return is_tls(wire) ? "E_HTTP_NO_RESPONSE" : "E_HTTP_TRUNCATED";
}

TEST_P(Faults, AResetBeforeTheAnswer) {
  expect_second(GetParam(), "reset", "E_HTTP_NO_RESPONSE ECONNRESET, maybe processed");
}

TEST_P(Faults, AResetInTheAnswer) {
  expect_second(GetParam(), "reset after=20",
                cut_status(GetParam()) + " ECONNRESET, maybe processed");
}

TEST_P(Faults, ATruncatedAnswer) {
  expect_second(GetParam(), "truncate after=20", cut_status(GetParam()) + " , maybe processed");
}

TEST_P(Faults, ClosedUnderUsIsMendedWhenAskedForAgain) {
  // Plaintext proves that no byte left. TLS had taken the request: only a GET is asked again.
  expect_second(GetParam(), "close attempts=1", "OK", {}, is_tls(GetParam()) ? "GET" : "POST");
}

TEST_P(Faults, ClosedUnderUsAgainAndAgain) {
  const char* outcome = "";
  switch (GetParam()) {
    case Wire::Http1:
      outcome = "E_HTTP_NO_RESPONSE EPIPE, never sent";
      break;
    case Wire::H2c:  // the last ones were new connections, with not even a preface
      outcome = "E_H2_PREFACE EPIPE, not processed";
      break;
    default:
      outcome = "E_HTTP_NO_RESPONSE EPIPE, maybe processed";
      break;
  }
  expect_second(GetParam(), "close", outcome);
}

TEST_P(Faults, AHalfOpenConnection) {
  expect_second(GetParam(), "half_open", "E_HTTP_FIRST_BYTE_TIMEOUT , maybe processed");
}

TEST_P(Faults, DelaysLengthenAnswers) {
  expect_second(GetParam(), "read_delay delay=100ms", "OK");
  expect_second(GetParam(), "read_delay delay=400ms",
                "E_HTTP_FIRST_BYTE_TIMEOUT , maybe processed");
  expect_second(GetParam(), "slow rate=2000", "OK", {{"first_byte.timeout", "5s"}});
}

TEST_P(Faults, RefusedConnectsAreTold) {
  const Seen run = run_both(GetParam(), "refuse connects=1", 2);
  EXPECT_EQ(run.outcome(0), "E_CONNECT_REFUSED ECONNREFUSED, never sent");
  EXPECT_EQ(run.faults, std::vector<std::string>{"1 refuse"});
}

TEST_P(Faults, BlackHolesEndAtTheConnectTimeout) {
  const Seen run = run_both(GetParam(), "blackhole", 1);
  EXPECT_EQ(run.outcome(0).substr(0, 17), "E_CONNECT_TIMEOUT");
}

TEST_P(Faults, ALateConnectIsAConnect) {
  const Seen run = run_both(GetParam(), "connect_delay delay=100ms", 2);
  EXPECT_EQ(run.outcome(0), "OK");
  EXPECT_EQ(run.faults, std::vector<std::string>{"1 connect_delay"});
}

TEST_P(Faults, AnAlertEndsTheHandshake) {
  const Seen run = run_both(GetParam(), "tls_alert connects=1", 1);
  if (is_tls(GetParam())) {
    EXPECT_EQ(run.outcome(0), "E_TLS_HANDSHAKE , never sent");
    EXPECT_EQ(run.faults, std::vector<std::string>{"1 tls_alert"});
  } else {
    EXPECT_EQ(run.outcome(0), "OK") << "there is no handshake";
    EXPECT_TRUE(run.faults.empty());
  }
}

TEST_P(Faults, OfHttp2AreNoneOfHttp1) {
  if (is_h2(GetParam())) {
    expect_second(GetParam(), "rst_stream code=cancel", "E_H2_STREAM_RESET , maybe processed");
    expect_second(GetParam(), "rst_stream code=refused_stream attempts=1", "OK");
    expect_second(GetParam(), "goaway attempts=1", "OK");
  } else {
    const Seen run = run_both(GetParam(), "rst_stream; goaway", 2);
    EXPECT_EQ(run.outcome(1), "OK");
    EXPECT_TRUE(run.faults.empty());
  }
}

// 60 requests, a bit of everything: the same requests meet the same faults, and end the same way.
TEST_P(Faults, TheSameSeedBreaksTheSameRequestsInBothWorlds) {
  const std::string plan =
      "reset p=10% after=1 attempts=1; close p=10% attempts=1; truncate p=5% attempts=1;"
      "half_open requests=17; read_delay p=10% delay=1ms-5ms; rst_stream p=10%; goaway p=5%;"
      "refuse connects=5,7";
  const Seen run = run_both(GetParam(), plan, 60);
  EXPECT_GE(run.faults.size(), 15u);
  const Seen other = run_simulated(GetParam(), plan, 60, {{"fault.seed", "43"}}, "GET");
  EXPECT_NE(run.faults, other.faults);
  EXPECT_EQ(run_simulated(GetParam(), plan, 60, {}, "GET").all(), run.all());
}

// Resets, timeouts, and one outage that opens the breaker and ends.
const OptionList kDefaultRun{{"retry.attempts", "3"},         {"breaker.mode", "on"},
                             {"breaker.wait", "true"},        {"breaker.open", "200ms"},
                             {"first_byte.timeout", "100ms"}, {"dial.timeout", "30s"}};

TEST(DefaultFaultPlan, IsTheSameInBothWorlds) {
  const Seen seen =
      run_both(Wire::Http1, std::string(cli::kDefaultFaultPlan), 100, kDefaultRun, "GET");
  EXPECT_EQ(seen.outcome(99), "OK");
  EXPECT_GE(std::count(seen.outcomes.begin(), seen.outcomes.end(), "OK"), 95);
}

TEST(DefaultFaultPlan, OpensTheBreakerOnceWhateverTheSeed) {
  for (int seed = 1; seed <= 50; ++seed) {
    OptionList options = kDefaultRun;
    options.emplace_back("fault.seed", std::to_string(seed));
    HttpWorld world;
    world.open(options_with(std::string(cli::kDefaultFaultPlan), options));
    HttpServer& server = world.serve_on(Wire::Http1);
    server.set_answer_chooser(origin::demo_answer);
    Seen seen;
    perform_all(world.target(Wire::Http1), 100, "GET", &seen);
    EXPECT_EQ(world.metric("pool.breaker.opened"), 1) << seed;
    EXPECT_EQ(world.metric("pool.breaker.closed"), 1) << seed;
    EXPECT_GE(world.metric("pool.errors.ECONNRESET"), 11) << seed;
    EXPECT_GE(world.metric("pool.errors.ETIMEDOUT"), 1) << seed;
    EXPECT_LE(world.metric("pool.errors.ETIMEDOUT"), 6) << seed;
    EXPECT_EQ(seen.outcome(99), "OK") << seed;
  }
}

// --- what only one of the worlds can show --------------------------------------------------------

TEST(FaultPlans, AWrongPlanMakesNoPool) {
  const OptionList wrong{{"fault.plan", "reset p=5%\nresett p=5%"}};
  const ConfigOf config(wrong);
  conpool_pool* pool = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_pool_new(config.get(), &pool, &error), CONPOOL_E_OPTION_RANGE);
  EXPECT_EQ(pool, nullptr);
  const std::string line = conpool_error_line(error);
  EXPECT_NE(line.find("fault.plan, rule 2: \"resett\" is no kind of fault"), line.npos) << line;
  conpool_error_free(error);
}

TEST(FaultPlans, TheSeedIsThePoolsWithoutOneOfItsOwn) {
  const auto faults_of = [](const char* fault_seed, const char* pool_seed) {
    return run_simulated(Wire::Http1, "read_delay p=20% delay=1ms", 50,
                         {{"fault.seed", fault_seed}, {"pool.seed", pool_seed}}, "GET")
        .faults;
  };
  EXPECT_EQ(faults_of("0", "7"), faults_of("7", "8"));
  EXPECT_NE(faults_of("0", "7"), faults_of("0", "8"));
}

// Requests at once share connections as they please, and still meet their own faults.
TEST(FaultPlans, ConcurrencyChangesNothingOfWhoIsHit) {
  std::vector<std::string> first;
  for (const char* connections : {"1", "3", "10"}) {
    HttpWorld world;
    world.open(options_with("reset p=20% after=1 attempts=1",
                            {{"endpoint.max_connections", connections}}));
    HttpServer& server = world.serve_on(Wire::Http1);
    server.set_answer_chooser(origin::demo_answer);
    conpool_endpoint* origin = world.target(Wire::Http1);
    std::vector<conpool_op> ops;
    for (int i = 0; i < 100; ++i)
      ops.push_back(world.start(origin, {.target = "/bytes/100", .how = CONPOOL_WHOLE}));
    world.finish_all();
    std::vector<std::string> outcomes;
    for (const conpool_op op : ops)
      outcomes.push_back(status_name(world.reply(op).status));
    if (first.empty()) first = outcomes;
    EXPECT_EQ(outcomes, first) << connections << " connections";
  }
  EXPECT_GT(std::count(first.begin(), first.end(), "E_HTTP_TRUNCATED"), 10);
}

// Streams of one connection: only the one that is hit ends by it.
TEST(FaultPlans, AStreamIsResetAmongOthers) {
  for (const Wire wire : {Wire::H2c, Wire::H2}) {
    HttpWorld world;
    world.open(
        options_with("rst_stream requests=3,7 code=internal_error; "
                     "rst_stream requests=5 code=refused_stream attempts=1",
                     {{"endpoint.max_connections", "1"}}));
    HttpServer& server = world.serve_on(wire);
    server.set_answer_chooser(origin::demo_answer);
    conpool_endpoint* origin = world.target(wire);
    std::vector<conpool_op> ops;
    for (int i = 1; i <= 10; ++i) {
      ops.push_back(world.start(origin, {.method = "POST",
                                         .target = i == 7 ? "/echo" : "/bytes/50000",
                                         .id = "id" + std::to_string(i),
                                         .body = std::string(i == 7 ? 200'000 : 10, 'b'),
                                         .how = CONPOOL_WHOLE}));
    }
    world.finish_all();
    for (size_t i = 1; i <= ops.size(); ++i) {
      const Reply& reply = world.reply(ops[i - 1]);
      const bool hit = i == 3 || i == 7;
      EXPECT_EQ(status_name(reply.status), hit ? "E_H2_STREAM_RESET" : "OK") << i << reply.report;
      EXPECT_EQ(reply.sends, i == 5 ? 2u : 1u);
    }
    const origin::HttpCounts counts = server.http_counts();
    EXPECT_EQ(counts.http2_connections, 1u);
    EXPECT_EQ(counts.bad_requests, 0u) << counts.first_problem;
    EXPECT_EQ(counts.open_streams, 0u) << "the server was told of the one that was incomplete";
    EXPECT_GE(counts.resets_received, 1u);
    // It goes on after that.
    for (int i = 0; i < 20; ++i)
      EXPECT_TRUE(world.perform(origin, {.target = "/bytes/20000", .how = CONPOOL_WHOLE}).ok());
    EXPECT_EQ(server.http_counts().http2_connections, 1u);
  }
}

// What GOAWAY calls unprocessed never came to the server: nothing is done twice.
TEST(FaultPlans, AServerGoesAwayInTheMiddle) {
  for (const Wire wire : {Wire::H2c, Wire::H2}) {
    HttpWorld world;
    world.open(options_with("goaway requests=4 attempts=1", {}));
    HttpServer& server = world.serve_on(wire);
    server.set_answer_chooser(origin::demo_answer);
    conpool_endpoint* origin = world.target(wire);
    std::vector<conpool_op> ops;
    for (int i = 1; i <= 8; ++i) {
      ops.push_back(world.start(origin, {.method = "POST",
                                         .target = "/echo",
                                         .id = "id" + std::to_string(i),
                                         .body = std::string(1000, 'b'),
                                         .how = CONPOOL_WHOLE}));
    }
    world.finish_all();
    for (const conpool_op op : ops)
      EXPECT_EQ(status_name(world.reply(op).status), "OK") << world.reply(op).report;
    const origin::HttpCounts counts = server.http_counts();
    EXPECT_EQ(counts.repeated, 0u);
    EXPECT_EQ(counts.requests, 8u);
    EXPECT_EQ(counts.http2_connections, 2u);
    EXPECT_EQ(counts.bad_requests, 0u) << counts.first_problem;
    EXPECT_EQ(world.reply(ops[2]).sends, 1u);
    EXPECT_EQ(world.reply(ops[3]).sends, 2u);
  }
}

// Frames are found and put in whatever the pieces are that bytes come in.
TEST(FaultPlans, FramesAreFoundInAnyPieces) {
  for (const io::SimPieces pieces : {io::SimPieces::Bytes, io::SimPieces::Random}) {
    for (int seed = 1; seed <= 5; ++seed) {
      HttpWorld world(static_cast<uint64_t>(seed));
      world.open(options_with("rst_stream p=20% attempts=1; goaway p=10% attempts=1",
                              {{"fault.seed", std::to_string(seed)}}));
      world.network.host("192.0.2.1").pieces = pieces;
      world.network.host("192.0.2.1").send_buffer = 2000;
      HttpServer& server = world.serve_on(Wire::H2c);
      server.set_answer_chooser(origin::demo_answer);
      conpool_endpoint* origin = world.target(Wire::H2c);
      std::vector<conpool_op> ops;
      for (int i = 0; i < 40; ++i) {
        ops.push_back(world.start(origin, {.method = "POST",
                                           .target = "/echo",
                                           .id = "id" + std::to_string(i),
                                           .body = std::string(100 * static_cast<size_t>(i), 'b'),
                                           .how = CONPOOL_WHOLE}));
      }
      world.finish_all();
      for (size_t i = 0; i < ops.size(); ++i) {
        const Reply& reply = world.reply(ops[i]);
        if (!reply.ok()) {
          EXPECT_EQ(status_name(reply.status), "E_H2_STREAM_RESET") << reply.report;
        } else {
          EXPECT_EQ(reply.body.size(), 100 * i);
        }
      }
      const origin::HttpCounts counts = server.http_counts();
      EXPECT_EQ(counts.repeated, 0u) << "what was called unprocessed never came";
      EXPECT_EQ(counts.bad_requests, 0u) << counts.first_problem;
      EXPECT_EQ(counts.open_streams, 0u);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(FaultPlans, NamesFailAndChange) {
  struct Case {
    const char* plan;
    const char* outcome;
  };
  const Case cases[] = {
      {"dns_fail", "E_DNS_SERVER_FAILURE , never sent"},
      {"dns_fail code=nxdomain", "E_DNS_NOT_FOUND , never sent"},
      {"dns_fail code=refused", "E_DNS_REFUSED , never sent"},
      {"dns_fail code=timeout", "E_DNS_TIMEOUT , never sent"},
      {"dns_fail endpoint=other.test", "OK"},
      {"dns_change to=192.0.2.77 endpoint=origin.test",
       "E_CONNECT_REFUSED ECONNREFUSED, never sent"},
  };
  for (const Case& one : cases) {
    const Seen run = run_simulated(Wire::Http1, one.plan, 1,
                                   {{"dns.timeout", "2s"}, {"dial.timeout", "10s"}}, "GET");
    EXPECT_EQ(run.outcome(0), one.outcome) << one.plan;
    EXPECT_EQ(run.faults.empty(), run.outcome(0) == "OK") << one.plan;
  }
}

// In the real world a changed name leads to our own server, and no DNS server is asked.
TEST(FaultPlans, AChangedNameIsConnectedTo) {
  auto origin = origin::Loopback::start({.http = origin::LoopbackHttp{}});
  ASSERT_TRUE(origin.has_value());
  const ConfigOf config(options_with("dns_change to=127.0.0.1", {{"dns.servers", "192.0.2.53"},
                                                                 {"dns.resolv_conf", ""},
                                                                 {"dns.hosts_file", ""},
                                                                 {"loop.drive", "caller"}}));
  conpool_pool* pool = nullptr;
  ASSERT_EQ(conpool_pool_new(config.get(), &pool, nullptr), 0);
  const std::string url = "http://www.example.org:" + std::to_string((*origin)->port());
  conpool_endpoint* endpoint = nullptr;
  ASSERT_EQ(conpool_endpoint_new(pool, url.data(), url.size(), nullptr, &endpoint, nullptr), 0);
  Seen run;
  perform_all(endpoint, 1, "GET", &run);
  EXPECT_EQ(run.outcome(0), "OK");
  conpool_endpoint_free(endpoint);
  conpool_pool_free(pool);
}

// A raw lease: what the application writes and reads.
TEST(FaultPlans, RawLeasesMeetThemToo) {
  SimPool world;
  world.open(
      options_with("reset requests=1 after=2; close requests=2; truncate requests=3 after=4", {}));
  world.serve("192.0.2.1:7");
  conpool_endpoint* at = world.endpoint("tcp://192.0.2.1:7");
  const auto read_of = [&world](const Outcome& lease) {
    std::string got;
    for (;;) {
      const Outcome read = world.wait(world.read(lease.connection));
      got += read.data;
      if (!read.ok()) return got + " " + status_name(read.status);
      if (read.eof()) return got + " end";
    }
  };
  Outcome lease = world.lease(at);
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(world.wait(world.write(lease.connection, "hello")).ok());
  EXPECT_EQ(read_of(lease), "he E_CONNECTION_RESET");
  conpool_connection_release(lease.connection, 0);
  lease = world.lease(at);
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(status_name(world.wait(world.write(lease.connection, "hello")).status),
            "E_CONNECTION_CLOSED");
  conpool_connection_release(lease.connection, 0);
  lease = world.lease(at);
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(world.wait(world.write(lease.connection, "hello")).ok());
  EXPECT_EQ(read_of(lease), "hell end");
  conpool_connection_release(lease.connection, 0);
}

}  // namespace
}  // namespace conpool::sim
