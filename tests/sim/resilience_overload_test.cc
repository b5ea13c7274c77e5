// Too much demand: a pool that is exhausted, a line that stands, and what this machine runs out of.
#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Exhausted, FailsAtOnceAndSaysWhatTheEndpointHas) {
  Outage s(Wire::Http1, kExact + OptionList{{"endpoint.max_connections", "3"}});
  s.answer(200, 20 * kSecond);
  const conpool_op first = s.begin();
  s.run_for(ms(100));
  const conpool_op second = s.begin();
  s.run_for(ms(300));
  // The third place cannot be dialed: one waits for it.
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  const conpool_op waiting = s.begin({{"queue.timeout", "20s"}});
  s.run_for(ms(100));
  const Time asked = s.now();
  const Ended full = s.ask({{"pool.exhausted", "fail"}});
  EXPECT_EQ(full.name(), "E_POOL_EXHAUSTED");
  EXPECT_EQ(full.at, asked);
  EXPECT_TRUE(has(full.line, "2 open, 2 active, 0 idle")) << full.line;
  EXPECT_TRUE(has(full.line, "limit 3; 1 waiting; the oldest lease is 490ms old")) << full.line;
  EXPECT_TRUE(has(full.report, "the last dial failed: connection refused (ECONNREFUSED)"))
      << full.report;

  const Ended waited = s.ask({{"queue.timeout", "200ms"}});
  EXPECT_EQ(waited.name(), "E_QUEUE_TIMEOUT");
  EXPECT_EQ(waited.at, asked + ms(200));
  EXPECT_TRUE(has(waited.line, "waited 200ms (2 open, 2 active, 0 idle")) << waited.line;
  EXPECT_TRUE(has(waited.line, "1 waiting; the oldest lease is 690ms old")) << waited.line;
  EXPECT_TRUE(has(waited.report, "the last dial failed: connection refused")) << waited.report;
  for (const conpool_op op : {first, second, waiting}) {
    conpool_op_cancel(op);
    (void)s.end_of(op);
  }
}

TEST(Exhausted, APlaceThatIsFreeOrCanBeDialedIsTaken) {
  for (const Wire wire : {Wire::Http1, Wire::H2}) {
    Outage s(wire,
             kExact + OptionList{{"endpoint.max_connections", "2"},
                                 {"h2.max_connections", "1"},
                                 {"pool.exhausted", "fail"}},
             {}, {.settings = {.max_concurrent = 2}});
    s.answer(200, ms(500));
    EXPECT_EQ(s.ask().code, 200);  // dialed
    EXPECT_EQ(s.ask().code, 200);  // idle
    const conpool_op one = s.begin();
    const conpool_op two = s.begin();
    s.run_for(ms(50));
    EXPECT_EQ(s.ask().name(), "E_POOL_EXHAUSTED") << wire_name(wire);
    EXPECT_EQ(s.end_of(one).code, 200);
    EXPECT_EQ(s.end_of(two).code, 200);
    EXPECT_EQ(s.ask().code, 200);
  }
}

TEST(Exhausted, ThePoolsOwnLimitIsNamed) {
  Outage s(Wire::Http1, kExact, {{"pool.max_connections", "2"}});
  s.serve_http("192.0.2.2:80");
  conpool_endpoint* other = s.endpoint("http://192.0.2.2");
  s.answer(200, 10 * kSecond);
  const conpool_op one = s.begin();
  const conpool_op two = s.begin();
  s.run_for(ms(100));
  const Time asked = s.now();
  const Ended full = s.ask({{"pool.exhausted", "fail"}}, other);
  EXPECT_EQ(full.name(), "E_POOL_EXHAUSTED");
  EXPECT_EQ(full.at, asked);
  EXPECT_TRUE(has(full.line, "all 2 connections of the pool are taken (pool.max_connections)"))
      << full.line;
  const Ended waited = s.ask({{"queue.timeout", "100ms"}}, other);
  EXPECT_EQ(waited.name(), "E_QUEUE_TIMEOUT");
  EXPECT_TRUE(has(waited.line, "(pool.max_connections)")) << waited.line;
  EXPECT_EQ(s.end_of(one).code, 200);
  EXPECT_EQ(s.end_of(two).code, 200);
  EXPECT_EQ(s.ask({{"pool.exhausted", "fail"}}, other).code, 200);  // an idle one makes room
}

// --- the line ------------------------------------------------------------------------------------

std::string order_of(Outage& s, size_t from = 0) {
  std::string out;
  for (size_t i = from; i < s.server->log().size(); ++i)
    out += s.server->log()[i]->id + " ";
  return out;
}

TEST(QueueDiscipline, ALineThatStandsIsServedFromItsNewestEnd) {
  const OptionList one = {{"endpoint.max_connections", "1"}};
  Outage fifo(Wire::Http1, one);
  fifo.answer(200, ms(90));
  (void)fifo.start_many(8);
  fifo.finish_all();
  EXPECT_EQ(order_of(fifo), "0 1 2 3 4 5 6 7 ");

  Outage s(Wire::Http1, one + OptionList{{"queue.discipline", "codel"}});
  s.answer(200, ms(90));
  (void)s.start_many(8);
  s.finish_all();
  // All had waited too long when the first one's connection stood, and 110 ms later as well.
  EXPECT_EQ(order_of(s), "0 7 6 5 4 3 2 1 ");
  // The line was empty: in order again.
  s.answer(200);
  (void)s.start_many(4);
  s.finish_all();
  EXPECT_EQ(order_of(s, 8), "8 9 10 11 ");
}

TEST(QueueDiscipline, UnderOverloadSomeAreOnTimeRatherThanNone) {
  // Twice as many as can be served, for five seconds; nobody wants a response after 300 ms.
  const auto served_in_time = [](const char* discipline) {
    Outage s(Wire::Http1, {{"endpoint.max_connections", "1"}, {"queue.discipline", discipline}});
    s.answer(200, ms(40));
    size_t fine = 0;
    std::vector<conpool_op> ops;
    for (int i = 0; i < 200; ++i) {
      const std::vector<conpool_op> more = s.start_many(1, {.options = {{"queue.timeout", "2s"}}});
      ops.push_back(more[0]);
      s.run_for(ms(25));
    }
    for (const conpool_op op : ops) {
      const Reply& reply = s.finish(op);
      fine += reply.ok() && reply.took() <= ms(300) ? 1 : 0;
    }
    return fine;
  };
  const size_t fifo = served_in_time("fifo");
  const size_t codel = served_in_time("codel");
  EXPECT_LT(fifo, 40u);
  EXPECT_GT(codel, 80u);
}

class TooLate : public testing::TestWithParam<const char*> {};

TEST_P(TooLate, WhoCannotBeServedInTimeLeavesAtOnce) {
  Outage s(Wire::Http1, {{"endpoint.max_connections", "1"}, {"queue.discipline", GetParam()}});
  s.answer(200, ms(90));
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(s.get().code, 200);
  (void)s.start_many(30);
  const Time asked = s.now();
  const Ended hopeless = s.ask({{"queue.timeout", "500ms"}});
  EXPECT_EQ(hopeless.name(), "E_QUEUE_TIMEOUT");
  EXPECT_EQ(hopeless.at, asked);
  EXPECT_EQ(s.metric("pool.waiters.shed"), 1);
  EXPECT_TRUE(has(hopeless.line, "no place can come before its deadline")) << hopeless.line;
  s.finish_all();
}

TEST_P(TooLate, ABurstIsServedByWhatIsDialedForIt) {
  for (const Wire wire : {Wire::Http1, Wire::H2c}) {
    Outage s(wire, {{"endpoint.max_connections", "20"}, {"queue.discipline", GetParam()}});
    s.answer(200, 2 * kSecond);
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(s.get().code, 200);
    // The requests' connection has ended by then: all of them are in line for dials.
    s.run_for(2 * kMinute);
    for (const conpool_op op : s.start_many(60, {.options = {{"queue.timeout", "7s"}}}))
      EXPECT_TRUE(s.finish(op).ok());
    EXPECT_EQ(s.metric("pool.waiters.shed"), 0);
  }
}
INSTANTIATE_TEST_SUITE_P(Disciplines, TooLate, testing::Values("fifo", "codel"));

// --- shortages -----------------------------------------------------------------------------------

TEST(Shortage, IsWordedWithWhatToDo) {
  struct Row {
    int error;
    const char* status;
    const char* says;
  };
  for (const Row& row : {Row{24, "E_FD_LIMIT", "raise its limit (ulimit -n, RLIMIT_NOFILE)"},
                         Row{23, "E_FD_LIMIT", "raise fs.file-max"},
                         Row{99, "E_CONNECT_FAILED",
                             "let connections be reused, or widen "
                             "net.ipv4.ip_local_port_range"},
                         Row{12, "E_NOMEM", "no memory left for a socket"}}) {
    Outage s(Wire::Http1);
    s.network.fail_connects(1, row.error);
    const Ended ended = s.ask();
    EXPECT_EQ(ended.name(), row.status) << ended.line;
    EXPECT_TRUE(has(ended.line, row.says)) << ended.line;
    s.run_for(kSecond);
    EXPECT_EQ(s.ask().code, 200);  // it recovers by itself
  }
}

TEST(Shortage, IsPacedNotAnsweredByAStorm) {
  for (const int error : {24, 99}) {
    Outage s(Wire::Http1, {{"endpoint.max_connections", "100"}});
    s.network.fail_connects(1'000'000, error);
    for (int i = 0; i < 600; ++i) {  // 20 a second for half a minute
      (void)s.start_many(1, {.options = {{"queue.timeout", "1s"}}});
      s.run_for(ms(50));
    }
    s.finish_all();
    // 250 ms after the first, then 1.6 times as long each, to 30 s.
    EXPECT_LE(s.metric("pool.attempts.started"), 40) << error;
    EXPECT_GE(s.metric("pool.attempts.started"), 5) << error;
    s.network.fail_connects(0, error);
    s.run_for(40 * kSecond);
    EXPECT_EQ(s.ask().code, 200) << error;
  }
}

TEST(Shortage, ABurstMeetsItWithFewConnects) {
  for (const int error : {24, 99}) {
    Outage s(Wire::Http1, {{"endpoint.max_connections", "100"}});
    s.network.fail_connects(1'000'000, error);
    (void)s.start_many(100, {.options = {{"queue.timeout", "5s"}}});
    s.finish_all();
    EXPECT_LE(s.metric("pool.attempts.started"), 100) << error;
  }
}

}  // namespace
}  // namespace conpool::sim
