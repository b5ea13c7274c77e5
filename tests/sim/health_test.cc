// Active checks of addresses, and probes of connections before they are lent.
#include <algorithm>

#include "base/rng.h"
#include "sim/http_world.h"

namespace conpool::sim {
namespace {

using origin::HttpAnswer;
using origin::HttpRequest;

constexpr const char* kFirst = "192.0.2.1:80";
constexpr const char* kOneMore = "192.0.2.2:80";

OptionList checked(const OptionList& more = {}) {
  OptionList options{{"health.interval", "1s"}, {"health.jitter", "0"}};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

size_t requests_of(const HttpServer& server, const std::string& method) {
  return static_cast<size_t>(std::count_if(server.log().begin(), server.log().end(),
                                           [&](const auto& r) { return r->method == method; }));
}

// Two servers at an endpoint of two addresses, of which the first can be ejected for an hour.
class Health : public testing::Test {
 protected:
  void open(const OptionList& pool = {}) {
    world.open(pool);
    world.dns.a("both.test", {"192.0.2.1", "192.0.2.2"}, 3600)
        .nodata("both.test", io::kDnsAaaa, 3600);
    world.dns.a("one.test", {"192.0.2.1"}, 3600).nodata("one.test", io::kDnsAaaa, 3600);
    first = &world.serve_http(kFirst);
    second = &world.serve_http(kOneMore);
  }
  conpool_endpoint* endpoint(const OptionList& options) {
    OptionList all{{"balance.eject_after", "1"},
                   {"balance.cooldown", "1h"},
                   {"balance.cooldown_max", "1h"},
                   {"pool.idle_timeout", "0"}};
    all.insert(all.end(), options.begin(), options.end());
    return world.endpoint("http://both.test", all);
  }
  // The first address refuses, and is ejected for it.
  void eject_first(conpool_endpoint* at) {
    world.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
    for (int i = 0; i < 4 && count_of(world.events(), "address.ejected") == 0; ++i)
      EXPECT_TRUE(world.perform(at, {}).ok());
    EXPECT_EQ(count_of(world.events(), "address.ejected"), 1u);
  }
  size_t events(const std::string& name) {
    return count_of(world.events(), "\"event\":\"" + name + "\"");
  }

  HttpWorld world;
  HttpServer* first = nullptr;
  HttpServer* second = nullptr;
};

TEST_F(Health, APassedHeadCheckEndsAnEjection) {
  open();
  conpool_endpoint* at = endpoint(checked({{"health.path", "/healthz"}}));
  for (HttpServer* server : {first, second})
    server->set_answer_chooser([](const HttpRequest&) { return HttpAnswer{.status = 204}; });
  eject_first(at);
  world.run_for(5 * kSecond);
  EXPECT_GE(events("health.failed"), 3u);  // it still refuses
  EXPECT_EQ(events("address.healthy"), 0u);
  world.network.host("192.0.2.1").syn = io::SimSyn::Answer;
  world.run_for(1100 * kMillisecond);
  EXPECT_EQ(events("address.healthy"), 1u);
  ASSERT_GE(requests_of(*first, "HEAD"), 1u);
  EXPECT_EQ(first->log().back()->target, "/healthz");
  EXPECT_EQ(first->log().back()->authority, "both.test");
  // New dials go there again.
  for (int i = 0; i < 4; ++i)
    EXPECT_TRUE(world.perform(at, {}).ok());
  EXPECT_GE(requests_of(*first, "GET"), 1u);
  EXPECT_GE(world.metric("pool.health.passed"), 1);
  EXPECT_GE(world.metric("pool.health.failed"), 3);
}

// A load balancer without backends accepts every connection and ends it.
TEST_F(Health, AnAddressThatAcceptsOnlyToHangUpIsLeftOut) {
  open();
  conpool_endpoint* at = world.endpoint("http://both.test", {{"pool.max_uses", "1"}});
  second->set_answer(HttpAnswer{.text = "x"});
  first->set_answer(HttpAnswer{.fault = origin::HttpFault::Reset});
  const OptionList repeated{{"retry.attempts", "3"}};
  for (int i = 0; i < 200; ++i) {
    world.run_for(50 * kMillisecond);
    EXPECT_TRUE(world.perform(at, {.options = repeated}).ok()) << i;
  }
  // Ten seconds are three steps of its backoff until it is ejected, and some probes.
  EXPECT_GE(events("address.ejected"), 1u);
  EXPECT_GE(requests_of(*first, "GET"), 4u);
  EXPECT_LE(requests_of(*first, "GET"), 14u);
  EXPECT_EQ(world.metric("pool.breaker.opened"), 0);
  // Its first answer brings it back.
  first->set_answer(HttpAnswer{.text = "x"});
  const size_t before = requests_of(*first, "GET");
  for (int i = 0; i < 800; ++i) {
    world.run_for(50 * kMillisecond);
    EXPECT_TRUE(world.perform(at, {}).ok()) << i;
  }
  EXPECT_GE(requests_of(*first, "GET") - before, 100u);
}

// As of "localhost", where often one family has no server: the other has to be tried again.
TEST_F(Health, AnAddressThatHungUpIsTriedWhereTheOthersRefuse) {
  open();
  conpool_endpoint* at =
      world.endpoint("http://both.test", {{"pool.max_uses", "1"}, {"breaker.mode", "off"}});
  world.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  for (int i = 0; i < 20; ++i) {
    second->set_answer(HttpAnswer{.fault = origin::HttpFault::Reset});
    EXPECT_EQ(world.perform(at, {}).status, CONPOOL_E_HTTP_NO_RESPONSE) << i;
    second->set_answer(HttpAnswer{.text = "x"});
    EXPECT_TRUE(world.perform(at, {}).ok()) << i;
  }
  // However long it was away, and ejected at last, for which the other's failures leave room.
  second->set_answer(HttpAnswer{.fault = origin::HttpFault::Reset});
  for (int i = 0; i < 600; ++i) {
    world.run_for(100 * kMillisecond);
    EXPECT_EQ(world.perform(at, {}).status, CONPOOL_E_HTTP_NO_RESPONSE) << i;
  }
  second->set_answer(HttpAnswer{.text = "x"});
  EXPECT_TRUE(world.perform(at, {}).ok());
}

TEST_F(Health, AWrongStatusKeepsTheEjection) {
  open();
  conpool_endpoint* at = endpoint(checked({{"health.check", "get"}, {"health.status", "200,204"}}));
  eject_first(at);
  for (HttpServer* server : {first, second}) {
    server->set_answer_chooser([](const HttpRequest& request) {
      HttpAnswer answer{.status = 301, .text = "elsewhere"};
      if (request.target != "/") answer.status = 200;
      return answer;
    });
  }
  world.network.host("192.0.2.1").syn = io::SimSyn::Answer;
  world.run_for(20 * kSecond);
  EXPECT_GE(requests_of(*first, "GET"), 15u);
  EXPECT_EQ(events("address.healthy"), 0u);
  EXPECT_EQ(events("health.passed"), 0u);
}

TEST_F(Health, ChecksComeEveryIntervalSpreadByTheJitter) {
  open();
  conpool_endpoint* at =
      world.endpoint("http://one.test", {{"health.interval", "10s"}, {"health.jitter", "20"}});
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(1000 * kSecond);
  std::vector<Time> times;
  for (const auto& request : first->log())
    if (request->method == "HEAD") times.push_back(request->time);
  ASSERT_GE(times.size(), 90u);
  EXPECT_LE(times.size(), 110u);
  EXPECT_LE(times.front(), 11 * kSecond);
  Nanos least = kNever;
  Nanos most = 0;
  for (size_t i = 1; i < times.size(); ++i) {
    least = std::min(least, times[i] - times[i - 1]);
    most = std::max(most, times[i] - times[i - 1]);
  }
  EXPECT_GE(least, 8 * kSecond);
  EXPECT_LT(least, 9 * kSecond);
  EXPECT_LE(most, 12 * kSecond + 10 * kMillisecond);
  EXPECT_GT(most, 11 * kSecond);
  // Each on a connection of its own, closed after it; none stands in the endpoint's accounts.
  EXPECT_EQ(first->counts().accepted, times.size() + 1);
  EXPECT_EQ(world.metric("pool.connections.opened"), 1);
}

TEST_F(Health, WithoutAnIntervalNothingRuns) {
  open();
  conpool_endpoint* at = endpoint({{"health.check", "head"}, {"health.timeout", "2s"}});
  eject_first(at);
  const size_t connections = world.network.connections().size();
  world.run_for(10 * kMinute);
  EXPECT_EQ(world.network.connections().size(), connections);
  EXPECT_EQ(requests_of(*first, "HEAD") + requests_of(*second, "HEAD"), 0u);
  EXPECT_EQ(events("health.passed") + events("health.failed"), 0u);
}

TEST_F(Health, WithoutAddressesNothingRuns) {
  open();
  conpool_endpoint* at = world.endpoint("http://one.test", checked());
  world.run_for(kMinute);
  EXPECT_EQ(world.network.connections().size(), 0u);
  EXPECT_EQ(world.queries().size(), 0u);
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(10 * kSecond);
  EXPECT_GE(requests_of(*first, "HEAD"), 9u);
  EXPECT_EQ(first->log().back()->authority, "one.test");
}

// The only permit of the pool is a check's; a request takes it at once.
TEST_F(Health, ChecksMakeWayForWork) {
  open({{"pool.max_connections", "1"}});
  for (HttpServer* server : {first, second}) {
    server->set_answer_chooser([](const HttpRequest& request) {
      return HttpAnswer{.head_delay = request.method == "HEAD" ? 30 * kSecond : 0};
    });
  }
  conpool_endpoint* at = endpoint(checked({{"health.timeout", "20s"}}));
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(3 * kSecond);
  EXPECT_EQ(requests_of(*first, "HEAD") + requests_of(*second, "HEAD"), 1u);
  for (int i = 0; i < 5; ++i) {
    const Reply reply = world.perform(at, {});
    EXPECT_TRUE(reply.ok()) << reply.line;
    EXPECT_LE(reply.took(), 3 * kMillisecond);  // connect and answer, as without checks
    world.run_for(kSecond);
  }
  EXPECT_EQ(events("health.failed"), 0u);  // called off is not failed
}

// While work has all permits no check runs, and none takes a place at the endpoint's own limit.
TEST_F(Health, ChecksTakeNoPlace) {
  open({{"pool.max_connections", "1"}});
  conpool_endpoint* at = world.endpoint("http://one.test", checked());
  EXPECT_TRUE(world.perform(at, {}).ok());  // its connection stays, idle
  world.run_for(30 * kSecond);
  EXPECT_EQ(requests_of(*first, "HEAD"), 0u);
  EXPECT_EQ(first->counts().open, 1u);

  HttpWorld other;
  other.open();
  HttpServer& server = other.serve_on(Wire::Http1);
  conpool_endpoint* narrow =
      other.target(Wire::Http1, checked({{"endpoint.max_connections", "1"}}));
  EXPECT_TRUE(other.perform(narrow, {}).ok());
  other.run_for(10 * kSecond);
  EXPECT_GE(requests_of(server, "HEAD"), 9u);
  EXPECT_EQ(server.counts().most_open, 2u);
}

TEST_F(Health, ASilentPeerFailsTheCheckInTime) {
  open();
  world.network.host("192.0.2.1").syn = io::SimSyn::Stall;
  // The kernel answers the connect, and nobody the question.
  (void)world.endpoint_of(
      "tcp", kFirst,
      checked({{"health.timeout", "300ms"}, {"check.send", "ping"}, {"check.expect", "pong"}}));
  world.run_for(10 * kSecond);
  const std::string log = world.events();
  EXPECT_GE(count_of(log, "health.failed"), 6u);
  EXPECT_EQ(count_of(log, "health.failed"), count_of(log, "\"took_ns\":300000000"));
}

TEST_F(Health, AConnectAloneIsACheck) {
  open();
  conpool_endpoint* at = world.endpoint("http://one.test", checked({{"health.check", "tcp"}}));
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(10 * kSecond);
  EXPECT_GE(world.metric("pool.health.passed"), 9);
  EXPECT_EQ(first->http_counts().requests, 1u);
  EXPECT_GE(first->counts().accepted, 9u);
}

TEST_F(Health, BytesAreAskedOfRawServers) {
  open();
  origin::Script script;
  script.answer = origin::Answer::Lines;
  world.serve("192.0.2.3:6379", script);
  const OptionList bytes = checked({{"check.send", "ping\\n"}, {"check.expect", "pong\\n"}});
  (void)world.endpoint_of("tcp", "192.0.2.3:6379", bytes);
  world.run_for(10 * kSecond);
  const int64_t passed = world.metric("pool.health.passed");
  EXPECT_GE(passed, 9);
  EXPECT_EQ(world.metric("pool.health.failed"), 0);
  const OptionList wrong = checked({{"check.send", "hello\\n"}, {"check.expect", "pong\\n"}});
  (void)world.endpoint_of("tcp", "192.0.2.3:6379", wrong);
  world.run_for(10 * kSecond);
  EXPECT_GE(world.metric("pool.health.failed"), 9);
}

TEST_F(Health, ChecksGoThroughTls) {
  for (const Wire wire : {Wire::H2, Wire::TlsHttp1, Wire::H2c}) {
    for (const char* check : {"head", "ping", "tcp"}) {
      HttpWorld secure;
      secure.open();
      HttpServer& server = secure.serve_on(wire);
      conpool_endpoint* at = secure.target(wire, checked({{"health.check", check}}));
      EXPECT_TRUE(secure.perform(at, {}).ok());
      secure.run_for(10 * kSecond);
      EXPECT_GE(secure.metric("pool.health.passed"), 9) << secure.events();
      EXPECT_EQ(secure.metric("pool.health.failed"), 0);
      const std::string kind(check);
      // HTTP/1.1 has no PING: a HEAD stands in for it.
      const bool pings = kind == "ping" && is_h2(wire);
      EXPECT_EQ(server.http_counts().pings >= 9, pings) << wire_name(wire) << " " << check;
      EXPECT_EQ(requests_of(server, "HEAD") >= 9, kind != "tcp" && !pings)
          << wire_name(wire) << " " << check;
    }
  }
}

TEST_F(Health, AnEndWithACheckUnderWayLeavesNothing) {
  for (const char* check : {"head", "get", "tcp", "ping"}) {
    for (const Wire wire : kWires) {
      for (const int64_t when : {1, 400, 1001, 1500, 2000}) {
        HttpWorld ending;
        ending.open();
        HttpServer& server = ending.serve_on(wire);
        server.set_answer_chooser([](const HttpRequest& request) {
          if (request.target == "/") return HttpAnswer{.text = "ok"};
          return HttpAnswer{.text = std::string(1'000'000, 'x'), .piece_delay = 10 * kMillisecond};
        });
        conpool_endpoint* at = ending.target(
            wire,
            checked({{"health.check", check}, {"health.path", "/up"}, {"health.timeout", "5s"}}));
        EXPECT_TRUE(ending.perform(at, {}).ok());
        if (when == 1500) ending.network.host("192.0.2.1").syn = io::SimSyn::Drop;
        if (when == 2000) ending.network.host("192.0.2.1").syn = io::SimSyn::Stall;
        ending.run_for(ms(when));
        if (when == 400) ending.close_pool(0);
      }
    }
  }
}

// --- probes before a lease -----------------------------------------------------------------------

class Probes : public testing::TestWithParam<Wire> {
 protected:
  // A server that falls silent on each connection after its first two requests.
  HttpServer& serve_half_open(HttpWorld& world) {
    return world.serve_on(GetParam(), {.stop_reading_after_requests = 2});
  }
};

INSTANTIATE_TEST_SUITE_P(Http, Probes, testing::ValuesIn(kWires), [](const auto& at) {
  std::string name = wire_name(at.param);
  std::erase(name, ' ');
  return name;
});

TEST_P(Probes, ReplaceADeadConnectionUnseen) {
  HttpWorld world;
  world.open();
  HttpServer& server = serve_half_open(world);
  conpool_endpoint* at =
      world.target(GetParam(), {{"health.on_checkout", "probe"}, {"health.timeout", "700ms"}});
  EXPECT_TRUE(world.perform(at, {}).ok());
  // Idle for less than health.checkout_after: lent as it is.
  world.run_for(900 * kMillisecond);
  EXPECT_TRUE(world.perform(at, {}).ok());
  EXPECT_EQ(requests_of(server, "HEAD"), 0u);
  world.run_for(5 * kSecond);
  const Reply reply = world.perform(at, {});
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_EQ(reply.sends, 1u);
  EXPECT_GE(reply.took(), 700 * kMillisecond);
  EXPECT_LE(reply.took(), 720 * kMillisecond);
  EXPECT_EQ(world.metric("pool.checks.failed"), 1);
  EXPECT_EQ(server.counts().accepted, 2u);
}

TEST_P(Probes, LetAGoodConnectionThrough) {
  HttpWorld world;
  world.open();
  HttpServer& server = world.serve_on(GetParam());
  conpool_endpoint* at = world.target(GetParam(), {{"health.on_checkout", "probe"}});
  for (int i = 0; i < 3; ++i) {
    const Reply reply = world.perform(at, {});
    EXPECT_TRUE(reply.ok()) << reply.report;
    if (i > 0) {
      EXPECT_LE(reply.took(), 3 * kMillisecond);  // two round trips
    }
    world.run_for(2 * kSecond);
  }
  EXPECT_EQ(requests_of(server, "HEAD"), 2u);
  EXPECT_EQ(server.counts().accepted, 1u);
  EXPECT_EQ(world.metric("pool.checks.done"), 2);
  EXPECT_EQ(world.metric("pool.checks.failed"), 0);
}

TEST_P(Probes, AWrongStatusReplacesIt) {
  HttpWorld world;
  world.open();
  HttpServer& server = world.serve_on(GetParam());
  server.set_answer_chooser([](const HttpRequest& request) {
    return HttpAnswer{.status = static_cast<uint16_t>(request.target == "/up" ? 503 : 200),
                      .text = "x"};
  });
  conpool_endpoint* at = world.target(
      GetParam(),
      {{"health.on_checkout", "probe"}, {"health.check", "get"}, {"health.path", "/up"}});
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(2 * kSecond);
  EXPECT_TRUE(world.perform(at, {}).ok());
  EXPECT_EQ(server.counts().accepted, 2u);
  EXPECT_EQ(world.metric("pool.checks.failed"), 1);
}

TEST_P(Probes, MayEndInEveryWay) {
  for (const origin::HttpFault fault :
       {origin::HttpFault::Close, origin::HttpFault::Reset, origin::HttpFault::ResetStream,
        origin::HttpFault::Silence}) {
    for (const int64_t fault_at : {HttpAnswer::kBeforeHead, int64_t{0}, int64_t{100}}) {
      HttpWorld world;
      world.open();
      HttpServer& server = world.serve_on(GetParam());
      server.set_answer_chooser([fault, fault_at](const HttpRequest& request) {
        HttpAnswer answer{.text = std::string(1000, 'x')};
        if (request.target == "/up") {
          answer.fault = fault;
          answer.fault_at = fault_at;
        }
        return answer;
      });
      conpool_endpoint* at = world.target(
          GetParam(),
          {{"health.on_checkout", "probe"}, {"health.check", "get"}, {"health.path", "/up"}});
      EXPECT_TRUE(world.perform(at, {}).ok());
      world.run_for(2 * kSecond);
      const Reply reply = world.perform(at, {});
      EXPECT_TRUE(reply.ok()) << reply.report;
      EXPECT_LE(reply.took(), 1020 * kMillisecond);
      EXPECT_EQ(reply.sends, 1u);
    }
  }
}

TEST_P(Probes, ABodyWithoutEndIsGivenUp) {
  HttpWorld world;
  world.open();
  HttpServer& server = world.serve_on(GetParam());
  server.set_answer_chooser([](const HttpRequest& request) {
    HttpAnswer answer{.text = "ok"};
    if (request.target == "/up") {
      answer.body = origin::HttpBody::Pattern;
      answer.pattern_size = 1ULL << 40;
    }
    return answer;
  });
  conpool_endpoint* at = world.target(
      GetParam(),
      {{"health.on_checkout", "probe"}, {"health.check", "get"}, {"health.path", "/up"}});
  EXPECT_TRUE(world.perform(at, {}).ok());
  world.run_for(2 * kSecond);
  EXPECT_TRUE(world.perform(at, {}).ok());
  EXPECT_EQ(server.counts().accepted, 2u);
}

TEST_P(Probes, ThePoolMayEndDuringOne) {
  for (const int how : {0, 1, 2}) {
    HttpWorld world;
    world.open();
    (void)serve_half_open(world);
    conpool_endpoint* at = world.target(GetParam(), {{"health.on_checkout", "probe"}});
    EXPECT_TRUE(world.perform(at, {}).ok());
    world.run_for(500 * kMillisecond);
    EXPECT_TRUE(world.perform(at, {}).ok());
    world.run_for(2 * kSecond);
    const conpool_op op = world.start(at, {});
    world.run_for(100 * kMillisecond);
    if (how == 1) world.close_pool(0);
    if (how == 2) conpool_op_cancel(op);
    if (how > 0) {
      (void)world.finish(op);
    }
  }
}

TEST(RawProbes, ReplaceADeadConnectionUnseen) {
  SimPool world;
  world.open();
  origin::Script script;
  script.answer = origin::Answer::Lines;
  world.serve("192.0.2.1:6379", script);
  world.serve("192.0.2.2:6379", script);
  conpool_endpoint* at = world.endpoint_of("tcp", "192.0.2.1:6379,192.0.2.2:6379",
                                           {{"health.on_checkout", "probe"},
                                            {"health.checkout_after", "3s"},
                                            {"health.timeout", "500ms"},
                                            {"check.after", "1h"},
                                            {"check.send", "ping\\n"},
                                            {"check.expect", "pong\\n"}});
  Outcome lease = world.lease(at);
  ASSERT_TRUE(lease.ok());
  const std::string address = address_of(lease);
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
  world.run_for(4 * kSecond);
  lease = world.lease(at);  // the check passes
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(address_of(lease), address);
  EXPECT_EQ(world.metric("pool.checks.done"), 1);
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
  world.network.host(address.substr(0, address.find(':'))).vanished = true;
  world.run_for(4 * kSecond);
  const Time before = world.now();
  lease = world.lease(at);
  ASSERT_TRUE(lease.ok()) << lease.line;
  EXPECT_NE(address_of(lease), address);
  // The check's time, and at most the race's delay for a second address.
  EXPECT_GE(world.now() - before, 500 * kMillisecond);
  EXPECT_LE(world.now() - before, 760 * kMillisecond);
  EXPECT_EQ(world.metric("pool.checks.failed"), 1);
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

TEST(RawProbes, WithoutAQuestionAPeekIsAll) {
  SimPool world;
  world.open();
  world.serve("192.0.2.1:7");
  conpool_endpoint* at = world.endpoint_of("tcp", "192.0.2.1:7", {{"health.on_checkout", "probe"}});
  for (int i = 0; i < 3; ++i) {
    Outcome lease = world.lease(at);
    ASSERT_TRUE(lease.ok());
    conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
    world.run_for(10 * kSecond);
  }
  EXPECT_EQ(world.metric("pool.checks.done"), 0);
  EXPECT_EQ(world.metric("pool.connections.opened"), 1);
}

// --- all of it at once ---------------------------------------------------------------------------

// Servers that stop, vanish and come back under checks and probes: every request ends, and nothing
// is left. What ends badly is what the network did to the request itself.
TEST(HealthRandom, EverythingEndsAndNothingIsLeft) {
  static constexpr const char* kChecks[] = {"auto", "tcp", "head", "get", "ping"};
  uint64_t answered = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const Wire wire = kWires[rng.up_to(seed % 10 == 0 ? 3 : 0) == 3 ? 3 : 2 * rng.up_to(1)];
    HttpWorld world(seed);
    world.open({{"pool.max_connections", std::to_string(rng.between(1, 6))}});
    HttpServer& server = world.serve_on(wire);
    world.dns.a("origin.test", {"192.0.2.1", "192.0.2.2", "192.0.2.3"}, 2);
    const auto listen = [&server, wire](const char* ip) {
      const std::string where = std::string(ip) + (is_tls(wire) ? ":443" : ":80");
      EXPECT_TRUE(server.listen(*parse_address_and_port(where)));
    };
    listen("192.0.2.2");
    listen("192.0.2.3");
    server.set_answer_chooser([&rng](const HttpRequest&) {
      HttpAnswer answer{.text = std::string(rng.up_to(3000), 'x')};
      answer.head_delay = static_cast<Nanos>(rng.up_to(30)) * kMillisecond;
      if (rng.up_to(9) == 0) answer.status = 503;
      if (rng.up_to(19) == 0) answer.fault = static_cast<origin::HttpFault>(rng.between(1, 4));
      return answer;
    });
    conpool_endpoint* at =
        world.target(wire, {{"health.interval", std::to_string(rng.between(20, 300)) + "ms"},
                            {"health.timeout", std::to_string(rng.between(1, 200)) + "ms"},
                            {"health.check", kChecks[rng.up_to(4)]},
                            {"health.on_checkout", rng.up_to(3) == 0 ? "peek" : "probe"},
                            {"health.checkout_after", std::to_string(rng.up_to(50)) + "ms"},
                            {"endpoint.max_connections", std::to_string(rng.between(1, 6))},
                            {"pool.idle_timeout", std::to_string(rng.between(0, 2000)) + "ms"},
                            {"balance.eject_after", "1"},
                            {"breaker.mode", "off"},
                            {"total.timeout", "5s"},
                            {"first_byte.timeout", "500ms"}});
    for (int step = 0; step < 60; ++step) {
      const std::string ip = "192.0.2." + std::to_string(rng.between(1, 3));
      io::SimHost& host = world.network.host(ip);
      switch (rng.up_to(7)) {
        case 0:
          host.syn = static_cast<io::SimSyn>(rng.up_to(4));
          break;
        case 1:
          host.vanished = rng.up_to(1) == 0;
          break;
        case 2:
          host = io::SimHost{};
          break;
        case 3:
          server.end_connections(rng.up_to(1) == 0 ? origin::Ending::Close : origin::Ending::Reset);
          break;
        default:
          for (uint64_t i = rng.up_to(3); i > 0; --i)
            (void)world.start(at, {});
      }
      world.run_for(static_cast<Nanos>(rng.up_to(100)) * kMillisecond);
    }
    for (const char* ip : {"192.0.2.1", "192.0.2.2", "192.0.2.3"})
      world.network.host(ip) = io::SimHost{};
    if (seed % 3 != 0) {
      world.finish_all();
      const Reply last = world.perform(at, {});
      answered += last.ok() ? 1 : 0;
    }
  }
  EXPECT_GE(answered, 60u);
}

}  // namespace
}  // namespace conpool::sim
