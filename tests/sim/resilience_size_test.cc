// How many connections there are: growth, shrinking, warming, and renewal before an end.
#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

TEST(Size, TwoHundredWaitersGrowItToItsMostAndIdlenessShrinksItToItsLeast) {
  Outage s(Wire::Http1, {{"pool.min", "2"},
                         {"pool.max", "20"},
                         {"endpoint.max_connections", "64"},
                         {"pool.idle_timeout", "10s"},
                         {"pool.max_age", "0"}});
  s.run_for(kSecond);
  EXPECT_EQ(s.server->counts().open, 2u);
  s.answer(200, ms(100));
  (void)s.start_many(200);
  s.finish_all();
  EXPECT_EQ(s.server->counts().most_open, 20u);
  EXPECT_EQ(s.server->counts().open, 20u);
  s.run_for(30 * kSecond);
  EXPECT_EQ(s.server->counts().open, 2u);
  s.run_for(kHour);
  EXPECT_EQ(s.server->counts().open, 2u);
  EXPECT_EQ(s.server->counts().accepted, 20u);  // and they are the same ones
  s.answer(200);
  EXPECT_EQ(s.get().took(), ms(10));
}

TEST(Size, WarmingGoesInSteps) {
  for (const int step : {1, 3}) {
    Outage s(Wire::Http1);
    s.network.host("*").latency = ms(50);
    const Time from = s.now();
    (void)s.endpoint("http://192.0.2.1",
                     {{"pool.min", "7"}, {"pool.warm_step", std::to_string(step)}});
    s.run_for(2 * kSecond);
    std::vector<std::string> expected;
    for (int i = 0; i < 7; ++i)
      expected.push_back(std::to_string(i / step * 100) + " 192.0.2.1:80");
    EXPECT_EQ(s.syns(from), expected) << step;
    EXPECT_EQ(s.network.most_connecting(), static_cast<size_t>(step));
  }
}

TEST(Size, IdleConnectionsKeptReadyComeInStepsToo) {
  Outage s(Wire::Http1);
  s.network.host("*").latency = ms(50);
  (void)s.endpoint("http://192.0.2.1", {{"pool.min_idle", "6"}, {"pool.warm_step", "2"}});
  s.run_for(2 * kSecond);
  EXPECT_EQ(s.server->counts().open, 6u);
  EXPECT_EQ(s.network.most_connecting(), 2u);
}

TEST(Size, ByRateConnectionsAreDialedAheadOfTheDemand) {
  // A request each 20 ms that takes 90 ms: five at a time, and one to spare.
  const auto most_open = [](const char* sizing) {
    Outage s(Wire::Http1, {{"pool.sizing", sizing}});
    s.answer(200, ms(80));
    std::vector<conpool_op> ops;
    for (int i = 0; i < 100; ++i) {
      ops.push_back(s.start(s.site, {}));
      s.run_for(ms(20));
    }
    s.finish_all();
    return s.server->counts().most_open;
  };
  EXPECT_EQ(most_open("demand"), 5u);
  EXPECT_EQ(most_open("rate"), 6u);
}

TEST(Size, PreconnectEndsAtTheMostThereMayBe) {
  Outage s(Wire::Http1, {{"pool.max", "3"}, {"endpoint.max_connections", "64"}});
  EXPECT_EQ(status_name(s.preconnect(s.site, 10)), "OK");
  EXPECT_EQ(s.syns(0).size(), 3u);
  s.run_for(ms(5));  // the server accepts half a round trip later
  EXPECT_EQ(s.server->counts().open, 3u);
}

TEST(Size, PreconnectDialsEachOnceWhereNoneAreKept) {
  Outage s(Wire::Http1, {{"pool.idle_timeout", "0"}},
           {{"fault.plan", "connect_delay delay=3ms every=2"}});
  EXPECT_EQ(status_name(s.preconnect(s.site, 8)), "OK");
  EXPECT_EQ(s.syns(0).size(), 8u);
  s.run_for(kSecond);
  EXPECT_EQ(s.syns(0).size(), 8u);
  EXPECT_EQ(s.server->counts().open, 0u);
}

// --- renewal -------------------------------------------------------------------------------------

TEST(Renewal, NoRequestWaitsForADialAtTheAgeLimit) {
  for (const Wire wire : kWires) {
    SCOPED_TRACE(wire_name(wire));
    Outage s(wire, {{"endpoint.max_connections", "1"},
                    {"h2.max_connections", "1"},
                    {"pool.max_age", "10s"},
                    {"pool.age_jitter", "0"}});
    EXPECT_TRUE(s.get().ok());
    for (int i = 0; i < 600; ++i) {
      s.run_for(ms(90));
      const Reply reply = s.get();
      ASSERT_EQ(reply.took(), ms(10)) << i;
      ASSERT_EQ(reply.sends, 1u);
    }
    EXPECT_GE(s.server->counts().accepted, 6u);
    EXPECT_LE(s.server->counts().accepted, 7u);
    EXPECT_GE(s.metric("pool.connections.renewed"), 5);
    EXPECT_LE(s.server->counts().most_open, 2u);
    EXPECT_EQ(s.server->counts().open, 1u);
  }
}

TEST(Renewal, ItsGraceEndsWhereNoSuccessorCanBeDialed) {
  Outage s(Wire::Http1, {{"endpoint.max_connections", "1"},
                         {"pool.max_age", "10s"},
                         {"pool.age_jitter", "0"},
                         {"pool.idle_timeout", "10min"}});
  EXPECT_TRUE(s.get().ok());
  const Time opened = s.now() - ms(10);
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  while (s.now() < opened + 39 * kSecond) {
    s.run_for(ms(490));
    ASSERT_EQ(s.get().took(), ms(10));
  }
  EXPECT_EQ(s.server->counts().accepted, 1u);
  s.run_for(3 * kSecond);
  EXPECT_EQ(s.server->counts().open, 0u);
}

TEST(Renewal, OneThatNobodyUsesIsNotReplaced) {
  Outage s(Wire::Http1, {{"pool.max_age", "30s"}, {"pool.age_jitter", "0"}});
  EXPECT_TRUE(s.get().ok());
  s.run_for(kHour);
  EXPECT_EQ(s.server->counts().accepted, 1u);
  EXPECT_EQ(s.server->counts().open, 0u);
}

TEST(Renewal, AServerThatGoesAwayIsDialedAgainAtOnce) {
  for (const Wire wire : {Wire::H2c, Wire::H2}) {
    HttpScript script;
    script.goaways.push_back({.after_requests = 5});
    Outage s(wire, {}, {}, script);
    EXPECT_TRUE(s.get().ok());
    for (int i = 0; i < 50; ++i) {
      s.run_for(ms(90));
      const Reply reply = s.get();
      ASSERT_TRUE(reply.ok()) << reply.report;
      EXPECT_EQ(reply.took(), ms(10)) << i << " " << wire_name(wire);
    }
    EXPECT_EQ(s.server->counts().accepted, 11u);
  }
}

TEST(Renewal, OneThatGoesAwayAfterEachRequestIsNotDialedForNobody) {
  Outage s(Wire::H2c, {}, {}, {.close_after_requests = 1});
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(s.get().ok());
    s.run_for(ms(500));
  }
  s.run_for(kMinute);
  EXPECT_EQ(s.server->counts().accepted, 20u);
}

}  // namespace
}  // namespace conpool::sim
