// Pools of loop.world = simulated: virtual time, and the same run every time.
#include <algorithm>
#include <cstdio>

#include "http_support.h"

namespace capi_test {
namespace {

std::string program;  // this one

PoolPtr simulated(Options options = {}) {
  options.emplace_back("loop.world", "simulated");
  options.emplace_back("events.level", "debug");
  return make_pool(options);
}

Answer get(const PoolPtr& pool, const std::string& url, const Options& options = {}) {
  return perform(make_request(pool, "GET", url), options);
}

// Ids of ops and settings are the process's own: here each becomes its place in the order of
// appearance.
std::string with_ids_counted(const std::string& log) {
  std::string out;
  std::map<std::string, std::map<std::string, size_t>> ids;  // by what stands before them
  for (size_t at = 0; at < log.size();) {
    const std::string* before = nullptr;
    static const std::string kBefore[] = {"op=", "\"op\":\"", "settings=", "\"settings\":"};
    for (const std::string& each : kBefore)
      if (log.compare(at, each.size(), each) == 0) before = &each;
    if (before == nullptr) {
      out += log[at++];
      continue;
    }
    at += before->size();
    const size_t end = std::min(log.find_first_not_of("0123456789", at), log.size());
    auto& kind = ids[*before];
    const size_t place = kind.emplace(log.substr(at, end - at), kind.size()).first->second;
    out += *before + std::to_string(place);
    at = end;
  }
  return out;
}

// Requests of every kind, eight at a time, then silence until everything idle has gone.
std::string run(const std::string& seed, const Options& more = {}) {
  Options options{{"pool.seed", seed}, {"endpoint.max_connections", "3"}};
  options.insert(options.end(), more.begin(), more.end());
  const PoolPtr pool = simulated(options);
  std::string log;
  {
    const QueuePtr queue = make_queue(pool);
    std::vector<RequestPtr> requests;
    for (const char* url :
         {"http://a.test/x", "https://b.test/y", "http://192.0.2.7:8080/bytes/3000",
          "https://[2001:db8::9]/status/503", "http://a.test/delay/20"})
      requests.push_back(make_request(pool, "GET", url));
    size_t started = 0;
    size_t ended = 0;
    while (ended < 60) {
      for (; started < 60 && started < ended + 8; ++started)
        start_request(requests[started % requests.size()], queue);
      const Event event = next_event(queue);
      log += std::to_string(event.raw.time_ns) + " " + std::to_string(event.raw.status) + "\n";
      ++ended;
    }
    conpool_event none{};
    EXPECT_EQ(conpool_queue_next(queue.get(), &none, 1, 3600 * kSecond), 0);
  }
  return log + metrics(pool, "json") + metrics(pool, "text") + events(pool, "jsonl") +
         events(pool, "text");
}

TEST(Simulated, EveryNameIsAHealthyServer) {
  const PoolPtr pool = simulated();
  const int64_t before = monotonic_ns();
  for (const char* url : {"http://example.org/", "https://example.org/", "http://localhost:1/any",
                          "https://127.0.0.1:4433/x", "http://[2001:db8::1]:81/",
                          "https://some.long.name.test:8443/a?b"}) {
    const Answer got = get(pool, url);
    ASSERT_EQ(got.status, CONPOOL_OK) << url << ": " << got.line();
    EXPECT_EQ(conpool_response_status(got.response.get()), 200) << url;
    const bool tls = std::string(url).starts_with("https");
    EXPECT_EQ(conpool_response_version(got.response.get()), tls ? 20 : 11) << url;
  }
  EXPECT_EQ(get(pool, "http://example.org/status/503").response != nullptr, true);
  const RequestPtr post = make_request(pool, "POST", "http://example.org/anything");
  set_body(post, "abc");
  EXPECT_EQ(perform(post).body(), "abc");
  EXPECT_EQ(get(pool, "http://example.org/bytes/3").body().size(), 3u);
  EXPECT_LT(monotonic_ns() - before, 20 * kSecond);
}

TEST(Simulated, SpeaksHttp2WithPriorKnowledgeAndInsideTls) {
  const PoolPtr pool = simulated({{"http.version", "h2"}});
  for (const char* url : {"http://a.test/", "https://a.test/"}) {
    const Answer got = get(pool, url);
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    EXPECT_EQ(conpool_response_version(got.response.get()), 20);
  }
  const PoolPtr old = simulated({{"http.version", "http1"}});
  EXPECT_EQ(conpool_response_version(get(old, "https://a.test/").response.get()), 11);
}

TEST(Simulated, TimeIsVirtual) {
  const PoolPtr pool = simulated();
  const int64_t before = monotonic_ns();
  const Answer first =
      get(pool, "http://192.0.2.1/delay/3600000",
          {{"total.timeout", "2h"}, {"first_byte.timeout", "2h"}, {"stall.timeout", "2h"}});
  ASSERT_EQ(first.status, CONPOOL_OK) << first.line();
  const double took = first.facts()["total_ns"].number();
  // A connect of 1 ms, a round trip of 1 ms, and 1 to 4 ms of service.
  EXPECT_GE(took, 3600.0 * kSecond + 3 * kMs);
  EXPECT_LE(took, 3600.0 * kSecond + 6 * kMs);
  EXPECT_LT(monotonic_ns() - before, 20 * kSecond);
  const Answer late = get(pool, "http://192.0.2.1/delay/500", {{"first_byte.timeout", "100ms"}});
  EXPECT_EQ(late.status, CONPOOL_E_HTTP_FIRST_BYTE_TIMEOUT);
}

TEST(Simulated, RawConnectionsGetTheirBytesBack) {
  const PoolPtr pool = simulated();
  for (const char* url : {"tcp://redis.test:6379", "tls://db.test:5432", "unix:/run/some.sock"}) {
    const EndpointPtr endpoint = make_endpoint(pool, url);
    conpool_connection* c = lease(endpoint);
    ASSERT_NE(c, nullptr) << url;
    for (const std::string& text :
         {std::string("PING\r\n"), std::string("GET"), pattern(100'000)}) {
      EXPECT_EQ(write_all(c, text)->status, CONPOOL_OK);
      EXPECT_EQ(read_exactly(c, text.size()), text) << url;
    }
    int fd = -1;
    conpool_chunk* early = nullptr;
    EXPECT_EQ(conpool_connection_lend(c, 1, &fd, &early), CONPOOL_E_UNSUPPORTED);
    EXPECT_EQ(fd, -1);
    conpool_connection_release(c, CONPOOL_REUSABLE);
  }
}

TEST(Simulated, EqualSeedsAreEqualRuns) {
  const std::string first = with_ids_counted(run("42"));
  EXPECT_EQ(first, with_ids_counted(run("42")));
  EXPECT_NE(first, with_ids_counted(run("43")));
  EXPECT_NE(first, with_ids_counted(run("42", {{"endpoint.max_connections", "2"}})));
  EXPECT_EQ(with_ids_counted(run("0")), with_ids_counted(run("1")));
}

// What `argv[0] --run 42` prints.
std::string run_of_a_process(const std::string& seed) {
  const std::string command = "'" + program + "' --run " + seed;
  FILE* pipe = popen(command.c_str(), "r");
  std::string out;
  char bytes[65536];
  while (const size_t got = fread(bytes, 1, sizeof(bytes), pipe))
    out.append(bytes, got);
  EXPECT_EQ(pclose(pipe), 0);
  return out;
}

TEST(Simulated, EqualSeedsAreEqualBytesInEveryProcess) {
  const std::string first = run_of_a_process("42");
  EXPECT_GT(first.size(), 10'000u);
  EXPECT_EQ(first, run_of_a_process("42"));
  EXPECT_NE(first, run_of_a_process("43"));
}

TEST(Simulated, NamesHaveDocumentationAddresses) {
  const PoolPtr pool = simulated();
  const EndpointPtr endpoint = make_endpoint(pool, "tcp://www.example.org:80");
  Event first = acquire(endpoint);
  ASSERT_EQ(first->status, CONPOOL_OK);
  conpool_connection* c = first.connection();
  EXPECT_EQ(std::string(conpool_connection_address(c)).substr(0, 11), "[2001:db8::");
  conpool_connection_release(c, CONPOOL_REUSABLE);
  const EndpointPtr v4 =
      make_endpoint(pool, "tcp://www.example.org:80", {{"race.family", "v4_only"}});
  Event second = acquire(v4);
  ASSERT_EQ(second->status, CONPOOL_OK);
  c = second.connection();
  const std::string address = conpool_connection_address(c);
  EXPECT_TRUE(address.starts_with("192.0.2.") || address.starts_with("198.51.100.") ||
              address.starts_with("203.0.113."))
      << address;
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Simulated, IsDrivenByItsCallersAlone) {
  const ConfigPtr config = make_config({{"loop.world", "simulated"}, {"loop.drive", "thread"}});
  conpool_pool* pool = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_pool_new(config.get(), &pool, &error), CONPOOL_E_INVALID);
  const ErrorPtr owned(error);
  EXPECT_EQ(pool, nullptr);
  const std::string line = conpool_error_line(error);
  EXPECT_NE(line.find("loop.drive = thread does not go with loop.world = simulated"),
            std::string::npos)
      << line;
  const PoolPtr explicit_caller = simulated({{"loop.drive", "caller"}});
  const QueuePtr queue = make_queue(explicit_caller);
  EXPECT_EQ(conpool_queue_fd(queue.get()), CONPOOL_E_UNSUPPORTED);
}

TEST(Simulated, AWaitWithNothingToComeEndsByAWakeUp) {
  const PoolPtr pool = simulated();
  const QueuePtr queue = make_queue(pool);
  std::thread waker([&] { conpool_queue_wake(queue.get()); });
  conpool_event event{};
  EXPECT_EQ(conpool_queue_next(queue.get(), &event, 1, CONPOOL_FOREVER), 0);
  waker.join();
}

TEST(Simulated, TrustsTheWorldsAuthorityAlone) {
  const PoolPtr pool = simulated();
  EXPECT_EQ(get(pool, "https://a.test/").status, CONPOOL_OK);
  const EndpointPtr other =
      make_endpoint(pool, "tls://a.test:443", {{"tls.server_name", "other.test"}});
  conpool_connection_release(lease(other), CONPOOL_REUSABLE);
}

TEST(Simulated, ManyPoolsMayEndWithWorkUnderWay) {
  for (int i = 0; i < 5; ++i) {
    const PoolPtr pool = simulated();
    const QueuePtr queue = make_queue(pool);
    std::vector<RequestPtr> requests;
    for (const char* url : {"http://a.test/delay/100", "https://a.test/delay/100"}) {
      requests.push_back(make_request(pool, "GET", url));
      start_request(requests.back(), queue);
    }
    conpool_event none{};
    EXPECT_EQ(conpool_queue_next(queue.get(), &none, 1, i * 2 * kMs), 0);
  }
}

int main_of(int argc, char** argv) {
  program = argv[0];
  if (argc == 3 && std::string(argv[1]) == "--run") {
    const std::string log = run(argv[2]);
    return fwrite(log.data(), 1, log.size(), stdout) == log.size() ? 0 : 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace capi_test

int main(int argc, char** argv) {
  return capi_test::main_of(argc, argv);
}
