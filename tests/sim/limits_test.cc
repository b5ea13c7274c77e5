// The pool's limits and deadlines as waiters meet them.
#include "sim/world.h"

namespace conpool::sim {
namespace {

TEST(Limits, AnIdleConnectionOfAnotherEndpointMakesRoomForAWaiter) {
  SimPool s;
  s.network.host("*").latency = ms(5);
  s.open({{"pool.max_connections", "1"}});
  s.serve("192.0.2.1:80");
  s.serve("192.0.2.2:80");
  conpool_endpoint* a = s.endpoint("tcp://192.0.2.1:80");
  conpool_endpoint* b = s.endpoint("tcp://192.0.2.2:80");
  const Outcome first = s.lease(a);
  ASSERT_TRUE(first.ok());
  const conpool_op waiting = s.acquire(b);
  s.run_for(ms(100));
  const Time released = s.now();
  conpool_connection_release(first.connection, CONPOOL_REUSABLE);
  const Outcome second = s.wait(waiting);
  ASSERT_TRUE(second.ok()) << second.line;
  EXPECT_EQ(second.time - released, ms(10));  // one round trip: nothing was waited for
  EXPECT_EQ(s.metric("pool.closed.yielded"), 1);
  conpool_connection_release(second.connection, CONPOOL_BROKEN);
}

TEST(Limits, WarmingTakesNobodysConnection) {
  SimPool s;
  s.open({{"pool.max_connections", "1"}});
  s.serve("192.0.2.1:80");
  s.serve("192.0.2.2:80");
  s.endpoint("tcp://192.0.2.1:80", {{"pool.min_idle", "1"}});
  s.run_for(kSecond);
  s.endpoint("tcp://192.0.2.2:80", {{"pool.min_idle", "1"}});
  s.run_for(10 * kSecond);
  EXPECT_EQ(s.metric("pool.connections.opened"), 1);
  EXPECT_EQ(s.metric("pool.permits.refused"), 0);
}

TEST(Limits, NoQueueTimeStillTakesTheConnectionDialedForIt) {
  SimPool s;
  s.network.host("*").latency = ms(5);
  s.open({{"queue.timeout", "0"}});
  s.serve("192.0.2.1:80");
  const Outcome lease = s.lease(s.endpoint("tcp://192.0.2.1:80"));
  EXPECT_TRUE(lease.ok()) << lease.line;
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

TEST(Limits, ADialThatRestsKeepsNobodyElseWaiting) {
  SimPool s;
  s.network.host("192.0.2.1").latency = ms(5);
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  s.open();
  s.serve("192.0.2.1:80");
  conpool_endpoint* target = s.endpoint("tcp://192.0.2.1:80");
  const conpool_op patient = s.acquire(target, {{"connect.retries", "3"},
                                                {"connect.retry_delay", "20s"},
                                                {"connect.retry_delay_max", "20s"}});
  s.run_for(ms(100));
  s.network.host("192.0.2.1").syn = io::SimSyn::Answer;
  const Time from = s.now();
  const Outcome first = s.wait(s.acquire(target), kSecond);
  // The connection of the second op's dial goes to the first in line.
  const Outcome served = s.wait(patient, kSecond);
  EXPECT_TRUE(served.ok()) << served.line;
  EXPECT_TRUE(first.ok()) << first.line;
  EXPECT_LE(first.time - from, ms(50));
  conpool_connection_release(first.connection, CONPOOL_BROKEN);
  conpool_connection_release(served.connection, CONPOOL_BROKEN);
}

TEST(Limits, ARestingDialEndsWithItsWaiter) {
  SimPool s;
  s.network.host("192.0.2.1").latency = ms(5);
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  s.open();
  conpool_endpoint* target = s.endpoint("tcp://192.0.2.1:80");
  const conpool_op patient = s.acquire(target, {{"connect.retries", "100"},
                                                {"connect.retry_delay", "10min"},
                                                {"connect.retry_delay_max", "1h"},
                                                {"total.timeout", "0"}});
  s.run_for(kSecond);
  EXPECT_EQ(s.metric("pool.connections.dialing"), 1);
  conpool_op_cancel(patient);
  EXPECT_EQ(s.wait(patient).status, CONPOOL_E_CANCELLED);
  s.run_for(ms(1));
  EXPECT_EQ(s.metric("pool.connections.dialing"), 0);
  EXPECT_EQ(s.lease(target).status, CONPOOL_E_CONNECT_REFUSED);
}

TEST(Limits, AnAttemptThatWaitsForASocketIsNotLate) {
  SimPool s;
  s.network.host("*").latency = ms(5);
  s.network.host("192.0.2.9").syn = io::SimSyn::Drop;
  s.open({{"pool.max_racing", "1"}, {"connect.timeout", "2s"}});
  s.serve("192.0.2.1:80");
  const conpool_op hole = s.acquire(s.endpoint("tcp://192.0.2.9:80"));
  s.run_for(ms(500));
  const Outcome lease = s.lease(s.endpoint("tcp://192.0.2.1:80"));
  EXPECT_TRUE(lease.ok()) << lease.report;
  EXPECT_EQ(s.wait(hole).status, CONPOOL_E_CONNECT_TIMEOUT);
  EXPECT_EQ(s.metric("pool.addresses.failures"), 1);  // the black hole's alone
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

TEST(Limits, AWaitThatEndsTooLateTellsTheDialThatFailedMeanwhile) {
  SimPool s;
  s.network.host("*").latency = ms(5);
  s.open({{"endpoint.max_connections", "2"}, {"queue.timeout", "1s"}});
  s.serve("192.0.2.1:80");
  conpool_endpoint* target = s.endpoint("tcp://192.0.2.1:80");
  const Outcome held = s.lease(target);
  ASSERT_TRUE(held.ok());
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  const Outcome late = s.lease(target);
  EXPECT_EQ(late.status, CONPOOL_E_QUEUE_TIMEOUT);
  EXPECT_NE(late.report.find("the last dial failed: connection refused (ECONNREFUSED)"),
            std::string::npos)
      << late.report;
  EXPECT_FALSE(late.attempts.empty());
  conpool_connection_release(held.connection, CONPOOL_BROKEN);
}

TEST(Limits, NothingIsWrittenBehindAWriteThatStalledHalfWay) {
  SimPool s;
  s.network.host("*").latency = ms(5);
  s.network.host("*").send_buffer = 4096;
  s.network.host("*").receive_buffer = 4096;
  s.open({{"stall.timeout", "1s"}});
  origin::Script script;
  script.read = false;
  s.serve("192.0.2.1:80", script);
  const Outcome lease = s.lease(s.endpoint("tcp://192.0.2.1:80"));
  const Outcome cut = s.wait(s.write(lease.connection, std::string(1 << 20, 'x')));
  EXPECT_EQ(cut.status, CONPOOL_E_STALL_TIMEOUT);
  EXPECT_GT(cut.value, 0u);
  const Outcome next = s.wait(s.write(lease.connection, "tail"));
  EXPECT_EQ(next.status, CONPOOL_E_WRONG_STATE);
  EXPECT_NE(next.line.find("an earlier write was cut short"), std::string::npos) << next.line;
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

}  // namespace
}  // namespace conpool::sim
