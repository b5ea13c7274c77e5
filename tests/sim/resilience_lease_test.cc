// What raw leases tell the breaker.
#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

struct Raw : SimPool {
  explicit Raw(origin::Script script = {}, const OptionList& options = kExact) {
    network.host("*").latency = ms(5);
    open();
    server = &serve("192.0.2.1:80", std::move(script));
    target = endpoint("tcp://192.0.2.1:80", options);
  }
  Outcome leased() {
    Outcome out = lease(target);
    EXPECT_TRUE(out.ok()) << out.line;
    return out;
  }
  std::string refused() { return status_name(lease(target).status); }
  // Failures and successes that were counted since the last call.
  std::pair<int64_t, int64_t> counted() {
    run_for(ms(1));
    const std::pair<int64_t, int64_t> all{metric("pool.calls.failed"),
                                          metric("pool.calls.succeeded")};
    const std::pair<int64_t, int64_t> news{all.first - told_.first, all.second - told_.second};
    told_ = all;
    return news;
  }
  origin::Server* server;
  conpool_endpoint* target;

 private:
  std::pair<int64_t, int64_t> told_;
};
using Counted = std::pair<int64_t, int64_t>;

TEST(BreakerLease, TenReleasedAsBrokenOpenIt) {
  Raw s;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(s.metric("pool.breaker.opened"), 0);
    conpool_connection_release(s.leased().connection, CONPOOL_BROKEN);
  }
  EXPECT_EQ(s.refused(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.metric("pool.calls.failed"), 10);
  const Outcome refused = s.lease(s.target);
  EXPECT_NE(refused.line.find("a lease of 192.0.2.1:80 was released as broken"), std::string::npos)
      << refused.line;
  s.run_for(5 * kSecond);
  for (int i = 0; i < 3; ++i)
    conpool_connection_release(s.leased().connection, CONPOOL_REUSABLE);
  s.run_for(ms(1));
  EXPECT_EQ(s.metric("pool.breaker.closed"), 1);
}

TEST(BreakerLease, EachEndCountsOnceAndAsItIs) {
  Raw s;
  conpool_connection_release(s.leased().connection, CONPOOL_REUSABLE);
  EXPECT_EQ(s.counted(), Counted(0, 1));
  conpool_connection_release(s.leased().connection, CONPOOL_BROKEN);
  EXPECT_EQ(s.counted(), Counted(1, 0));

  const Outcome dies = s.leased();
  s.server->end_connections(origin::Ending::Reset);
  s.run_for(ms(20));
  (void)s.wait(s.read(dies.connection));
  conpool_connection_release(dies.connection, CONPOOL_BROKEN);
  EXPECT_EQ(s.counted(), Counted(1, 0)) << "reset under a lease";

  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  EXPECT_EQ(s.refused(), "E_CONNECT_REFUSED");
  EXPECT_EQ(s.counted(), Counted(1, 0));
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  const conpool_op op = s.acquire(s.target);
  s.run_for(ms(500));
  conpool_op_cancel(op);
  EXPECT_EQ(s.wait(op).status, CONPOOL_E_CANCELLED);
  EXPECT_EQ(s.counted(), Counted(0, 0)) << "cancel";
  EXPECT_EQ(status_name(s.lease(s.target, {{"total.timeout", "100ms"}}).status), "E_TIMEOUT");
  EXPECT_EQ(s.counted(), Counted(0, 0)) << "a deadline of its own";
}

TEST(BreakerLease, OneTrialAtATimeUntilItIsReleased) {
  Raw s({}, kExactWait);
  for (int i = 0; i < 10; ++i)
    conpool_connection_release(s.leased().connection, CONPOOL_BROKEN);
  s.run_for(ms(1));
  const Outcome trial = s.leased();
  const conpool_op next = s.acquire(s.target);
  s.run_for(kSecond);
  Outcome early;
  EXPECT_FALSE(s.ended(next, &early));
  conpool_connection_release(trial.connection, CONPOOL_REUSABLE);
  const Outcome second = s.wait(next, ms(10));
  ASSERT_TRUE(second.ok()) << second.line;
  conpool_connection_release(second.connection, CONPOOL_REUSABLE);
}

TEST(BreakerLease, ATrialThatIsHeldForLongDoesNotBlockTheOthers) {
  Raw s({}, kExactWait + OptionList{{"queue.timeout", "1h"}, {"total.timeout", "0"}});
  for (int i = 0; i < 10; ++i)
    conpool_connection_release(s.leased().connection, CONPOOL_BROKEN);
  s.run_for(ms(1));
  const Outcome trial = s.leased();
  const Time held = s.now();
  const Outcome second = s.leased();
  EXPECT_GE(second.time - held, ms(29'900));
  EXPECT_LE(second.time - held, ms(30'010));
  conpool_connection_release(second.connection, CONPOOL_BROKEN);
  conpool_connection_release(trial.connection, CONPOOL_BROKEN);
}

TEST(BreakerLease, ClosingThePoolUnderLeasesCountsNothing) {
  Raw s;
  const Outcome held = s.leased();
  const conpool_op closing = s.close_pool(0);
  EXPECT_EQ(s.wait(closing).status, 0);
  EXPECT_EQ(s.counted(), Counted(0, 0));
  conpool_connection_release(held.connection, CONPOOL_BROKEN);
}

}  // namespace
}  // namespace conpool::sim
