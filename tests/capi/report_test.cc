// What errors and readouts say, to the letter where programs and people rely on it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <regex>
#include <sstream>

#include "json.h"
#include "support.h"

namespace capi_test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

size_t count_matches(const std::vector<std::string>& lines, const std::string& pattern) {
  size_t count = 0;
  for (const std::string& line : lines)
    count += std::regex_search(line, std::regex(pattern)) ? 1 : 0;
  return count;
}

TEST(Report, ClosedPortWithRetriesOnBothFamilies) {
  if (!have_ipv6_loopback()) GTEST_SKIP() << "no ::1 here";
  const ClosedPort nobody(true);
  const std::string port = std::to_string(nobody.port());
  const PoolPtr pool = make_pool({{"connect.retries", "3"}, {"connect.retry_delay", "10ms"}});
  const int64_t start = monotonic_ns();
  const Event event = acquire(make_endpoint(pool, nobody.url("localhost")));
  EXPECT_GE(monotonic_ns() - start, (5 + 10 + 20) * kMs);  // half of each delay at least
  ASSERT_EQ(event->status, CONPOOL_E_CONNECT_REFUSED);
  const conpool_error* error = event.error();
  EXPECT_EQ(conpool_error_phase(error), CONPOOL_PHASE_CONNECT);
  EXPECT_EQ(conpool_error_proof(error), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_EQ(conpool_error_os_errno(error), ECONNREFUSED);
  EXPECT_EQ(conpool_error_tls_verify(error), 0);

  const std::string report = event.report();
  const std::vector<std::string> lines = lines_of(report);
  ASSERT_GE(lines.size(), 4u) << report;
  EXPECT_EQ(lines[0], "connection refused (ECONNREFUSED)") << report;
  EXPECT_TRUE(std::regex_search(
      lines[1], std::regex("^ *connecting to tcp:(127\\.0\\.0\\.1|\\[::1\\]):" + port + "$")))
      << report;
  EXPECT_TRUE(std::regex_search(lines[2], std::regex("^ *connecting to localhost:" + port + "$")))
      << report;
  EXPECT_TRUE(std::regex_search(lines[3], std::regex("^ *after 3 retry attempts$"))) << report;
  // One attempt on each family in each of the four rounds, with its result and its duration.
  for (const std::string& address : {std::string("127\\.0\\.0\\.1"), std::string("\\[::1\\]")}) {
    EXPECT_EQ(
        count_matches(lines, "tcp:" + address + ":" + port + ".*ECONNREFUSED.*[0-9](ns|us|ms|s)"),
        4u)
        << report;
  }
  size_t v4 = 0, v6 = 0;
  int64_t last = 0;
  for (size_t i = 0; i < conpool_error_attempt_count(error); ++i) {
    EXPECT_GE(conpool_error_attempt_started(error, i), 0);
    EXPECT_GE(conpool_error_attempt_duration(error, i), 0);
    if (conpool_error_attempt_phase(error, i) != CONPOOL_PHASE_CONNECT) continue;
    const std::string target = conpool_error_attempt_target(error, i);
    v4 += target == "tcp:127.0.0.1:" + port ? 1 : 0;
    v6 += target == "tcp:[::1]:" + port ? 1 : 0;
    EXPECT_EQ(conpool_error_attempt_status(error, i), CONPOOL_E_CONNECT_REFUSED);
    EXPECT_EQ(conpool_error_attempt_os_errno(error, i), ECONNREFUSED);
    EXPECT_GE(conpool_error_attempt_started(error, i), last);
    last = conpool_error_attempt_started(error, i);
  }
  EXPECT_EQ(v4, 4u) << report;
  EXPECT_EQ(v6, 4u) << report;
  const size_t past = conpool_error_attempt_count(error);
  EXPECT_EQ(conpool_error_attempt_target(error, past), nullptr);
  EXPECT_EQ(conpool_error_attempt_status(error, past), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_error_attempt_target(error, SIZE_MAX), nullptr);
  // The one-line form is one line and says the same.
  const std::string line = event.line();
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find("connection refused (ECONNREFUSED), connecting to tcp:"), 0u) << line;
  EXPECT_NE(line.find("connecting to localhost:" + port), std::string::npos) << line;
  EXPECT_NE(line.find("after 3 retry attempts"), std::string::npos) << line;
}

TEST(Report, ALiteralWithoutRetries) {
  const ClosedPort nobody;
  const PoolPtr pool = make_pool();
  const Event event = acquire(make_endpoint(pool, nobody.url()));
  EXPECT_EQ(event->status, CONPOOL_E_CONNECT_REFUSED);
  EXPECT_EQ(event.report().find("retry"), std::string::npos) << event.report();
  EXPECT_EQ(conpool_error_attempt_count(event.error()), 1u);
}

TEST(Report, EveryWaiterSharesTheLedger) {
  const ClosedPort nobody;
  const PoolPtr pool = make_pool({{"endpoint.max_connections", "1"}});
  const EndpointPtr endpoint = make_endpoint(pool, nobody.url());
  std::vector<conpool_op> ops;
  for (int i = 0; i < 5; ++i)
    ops.push_back(start_acquire(endpoint));
  for (const conpool_op op : ops) {
    const Event event = wait_for(op);
    EXPECT_EQ(event->status, CONPOOL_E_CONNECT_REFUSED) << event.report();
  }
}

// A listener whose queue is full: the kernel drops further SYNs.
class FullListener {
 public:
  FullListener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    fds_.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(fds_[0], reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fds_[0], 0), 0);
    getsockname(fds_[0], reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    for (int i = 0; i < 4; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      (void)connect(fd, reinterpret_cast<sockaddr*>(&address), size);
      fds_.push_back(fd);
    }
  }
  ~FullListener() {
    for (const int fd : fds_)
      close(fd);
  }
  std::string url() const { return "tcp://127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  std::vector<int> fds_;
};

TEST(Report, AConnectThatTimesOut) {
  const FullListener full;
  for (const char* drive : {"thread", "caller"}) {
    const PoolPtr pool = make_pool({{"loop.drive", drive}, {"connect.timeout", "80ms"}});
    const int64_t start = monotonic_ns();
    const Event event = acquire(make_endpoint(pool, full.url()));
    EXPECT_GE(monotonic_ns() - start, 80 * kMs);
    EXPECT_EQ(event->status, CONPOOL_E_CONNECT_TIMEOUT) << event.report();
    EXPECT_NE(event.line().find(full.url().substr(6)), std::string::npos) << event.line();
    EXPECT_GE(conpool_error_attempt_duration(event.error(), 0), 80 * kMs);
  }
}

TEST(Report, ADialThatTimesOut) {
  const FullListener full;
  const PoolPtr pool = make_pool({{"dial.timeout", "80ms"}});
  const Event event = acquire(make_endpoint(pool, full.url()));
  EXPECT_EQ(event->status, CONPOOL_E_DIAL_TIMEOUT) << event.report();
}

TEST(Report, AHostThatOnlyPollsSeesAConnectTimeOut) {
  const FullListener full;
  const PoolPtr pool = make_pool({{"loop.drive", "caller"}, {"connect.timeout", "80ms"}});
  const EndpointPtr endpoint = make_endpoint(pool, full.url());
  const QueuePtr queue = make_queue(pool);
  start_acquire(endpoint, queue);
  Event event;
  while (conpool_queue_next(queue.get(), &event.raw, 1, 0) == 0) {
    pollfd p{conpool_queue_fd(queue.get()), POLLIN, 0};
    ASSERT_EQ(poll(&p, 1, 30000), 1);
  }
  EXPECT_EQ(event->status, CONPOOL_E_CONNECT_TIMEOUT) << event.report();
}

TEST(Report, WaitersTellTheCounts) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"endpoint.max_connections", "1"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const Event event = acquire(endpoint, {{"queue.timeout", "30ms"}});
  EXPECT_EQ(event->status, CONPOOL_E_QUEUE_TIMEOUT);
  EXPECT_NE(event.line().find("1 open"), std::string::npos) << event.line();
  EXPECT_NE(event.line().find("limit 1"), std::string::npos) << event.line();
  const Event none = acquire(endpoint, {{"queue.timeout", "0"}});
  EXPECT_EQ(none->status, CONPOOL_E_QUEUE_TIMEOUT);
  const Event total = acquire(endpoint, {{"total.timeout", "30ms"}});
  EXPECT_EQ(total->status, CONPOOL_E_TIMEOUT) << total.report();
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST(Report, TooManyWaiters) {
  Server server(Server::silent);
  const PoolPtr pool =
      make_pool({{"endpoint.max_connections", "1"}, {"endpoint.max_waiters", "2"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const conpool_op first = start_acquire(endpoint);
  const conpool_op second = start_acquire(endpoint);
  const Event refused = acquire(endpoint);
  EXPECT_EQ(refused->status, CONPOOL_E_WAITERS_LIMIT);
  EXPECT_NE(refused.line().find("endpoint.max_waiters"), std::string::npos) << refused.line();
  conpool_op_cancel(first);
  conpool_op_cancel(second);
  wait_for(first);
  wait_for(second);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST(Report, TooManyOps) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"pool.max_ops", "3"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const conpool_op ops[] = {start_read(c), start_read(c), start_read(c)};
  conpool_op op = 77;
  EXPECT_EQ(conpool_connection_read(c, 0, nullptr, 0, &op), CONPOOL_E_OPS_LIMIT);
  EXPECT_EQ(op, 77u);
  for (const conpool_op running : ops) {
    conpool_op_cancel(running);
    wait_for(running);
  }
  EXPECT_EQ(conpool_pool_close(pool.get(), 0, nullptr, 0, nullptr), CONPOOL_OK);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

// --- readouts ----------------------------------------------------------------------------------

class Readouts : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i)
      conpool_connection_release(lease(endpoint_), CONPOOL_REUSABLE);
    held_ = lease(endpoint_);
  }
  void TearDown() override { conpool_connection_release(held_, CONPOOL_REUSABLE); }
  Server server_{Server::echo};
  PoolPtr pool_ =
      make_pool({{"partition", "quote \" and \\ and \xc3\xa9"}, {"events.level", "debug"}});
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
  conpool_connection* held_ = nullptr;
};

TEST_F(Readouts, MetricsAsJson) {
  Json json;
  std::string reason;
  const std::string text = metrics(pool_, "json");
  ASSERT_TRUE(parse_json(text, &json, &reason)) << reason << "\n" << text;
  const Json& pool = json["pool"];
  EXPECT_EQ(pool["figures"]["connections.opened"].number(), 1);
  EXPECT_EQ(pool["figures"]["leases.granted"].number(), 4);
  ASSERT_EQ(pool["endpoints"].items.size(), 1u);
  const Json& address = pool["endpoints"].items[0]["addresses"].items.at(0);
  EXPECT_EQ(address["label"].text, server_.address());
  EXPECT_EQ(address["connections"].items.size(), 1u);
}

TEST_F(Readouts, MetricsAsTextAndOpenMetrics) {
  EXPECT_EQ(metric(pool_, "pool.leases.granted"), 4);
  EXPECT_EQ(metric(pool_, "pool.no.such"), -1);
  const std::string open = metrics(pool_, "openmetrics");
  EXPECT_EQ(open.substr(open.size() - 6), "# EOF\n");
  for (const std::string& line : lines_of(open)) {
    EXPECT_TRUE(line[0] == '#' || std::regex_match(line, std::regex(R"(\w+(\{.*\})? \S+)")))
        << line;
  }
}

TEST_F(Readouts, EventsAsJsonLinesAndTrace) {
  std::string reason;
  const std::vector<std::string> lines = lines_of(events(pool_, "jsonl"));
  EXPECT_GT(lines.size(), 5u);
  for (const std::string& line : lines) {
    Json json;
    EXPECT_TRUE(parse_json(line, &json, &reason)) << reason << "\n" << line;
  }
  Json trace;
  const std::string text = events(pool_, "trace");
  EXPECT_TRUE(parse_json(text, &trace, &reason)) << reason;
  EXPECT_NE(events(pool_, "text").find(server_.address()), std::string::npos);
}

TEST_F(Readouts, EventsAreFollowedByNumber) {
  char* out = nullptr;
  uint64_t next = 0;
  uint64_t lost = 77;
  ASSERT_EQ(conpool_pool_events_since(pool_.get(), "jsonl", 1, 2, &next, &lost, &out), CONPOOL_OK);
  EXPECT_EQ(lines_of(out).size(), 2u);
  EXPECT_EQ(next, 3u);
  EXPECT_EQ(lost, 0u);
  conpool_text_free(out);
  ASSERT_EQ(conpool_pool_events_since(pool_.get(), "jsonl", next, 0, &next, nullptr, &out),
            CONPOOL_OK);
  EXPECT_EQ(std::string(out).rfind("{\"sequence\":3,", 0), 0u) << out;
  conpool_text_free(out);
  ASSERT_EQ(conpool_pool_event(pool_.get(), CONPOOL_LEVEL_INFO, "cache.miss",
                               CONPOOL_NUL_TERMINATED, "key 7", CONPOOL_NUL_TERMINATED),
            CONPOOL_OK);
  ASSERT_EQ(conpool_pool_events_since(pool_.get(), "text", next, 0, nullptr, nullptr, &out),
            CONPOOL_OK);
  EXPECT_TRUE(std::regex_search(out, std::regex("info +app\\.cache\\.miss +key 7\n$"))) << out;
  conpool_text_free(out);
}

TEST(Events, WhatWasOverwrittenIsCounted) {
  const PoolPtr pool = make_pool({{"events.capacity", "16"}});
  for (int i = 0; i < 40; ++i)
    conpool_pool_event(pool.get(), CONPOOL_LEVEL_ERROR, "n", 1, nullptr, 0);
  char* out = nullptr;
  uint64_t next = 0;
  uint64_t lost = 0;
  const auto count = [&](uint64_t since) {
    EXPECT_EQ(conpool_pool_events_since(pool.get(), "jsonl", since, 0, &next, &lost, &out),
              CONPOOL_OK);
    const size_t lines = lines_of(out).size();
    conpool_text_free(out);
    return lines;
  };
  EXPECT_EQ(count(0), 16u);
  EXPECT_EQ(lost, 0u);  // all that is kept was asked for
  EXPECT_EQ(count(1), 16u);
  EXPECT_EQ(lost, next - 17);
  EXPECT_EQ(count(next), 0u);
  EXPECT_EQ(lost, 0u);
}

TEST_F(Readouts, ExplainNamesWhatThereIs) {
  const std::string text = explain(pool_, endpoint_);
  EXPECT_NE(text.find(server_.url()), std::string::npos) << text;
  EXPECT_NE(text.find("1 open"), std::string::npos) << text;
  EXPECT_NE(text.find("partition"), std::string::npos) << text;
}

TEST(Describe, TablesAreJson) {
  for (const char* what : {"options", "statuses", "events", "build"}) {
    Json json;
    std::string reason;
    EXPECT_TRUE(parse_json(describe(what), &json, &reason)) << what << ": " << reason;
  }
  EXPECT_EQ(conpool_version(), 0x00000100u);
  EXPECT_STREQ(conpool_version_string(), "0.1.0");
  Json build;
  std::string reason;
  ASSERT_TRUE(parse_json(describe("build"), &build, &reason));
  EXPECT_EQ(build["version"].text, "0.1.0");
}

}  // namespace
}  // namespace capi_test
