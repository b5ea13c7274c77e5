// Connections with many places: how many are dialed, who goes where, and fresh ones after a stale
// one.
#include <gtest/gtest.h>

#include "unit/pool/machine_rig.h"

namespace conpool::pool {
namespace {

using Lines = std::vector<std::string>;

constexpr Forecast kUndecided{.places = Forecast::kUndecided};

MachineLimits limited(int64_t connections) {
  MachineLimits limits;
  limits.max_connections = connections;
  limits.age_jitter = 0;
  return limits;
}

void wait(MachineRig& rig, int count) {
  for (int i = 0; i < count; ++i)
    rig.wait();
  rig.dispatch();
}

TEST(Multiplex, WhileTheProtocolIsUnknownOneDialDecides) {
  MachineRig rig(limited(16));
  rig.machine.set_forecast(kUndecided);
  wait(rig, 100);
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.machine.set_forecast({.places = 100, .max_connections = 4});
  TestConnection& c = rig.connected(1, {.soft = 100, .hard = 100});
  EXPECT_EQ(c.leases, 100u);
  EXPECT_EQ(rig.machine.counts().waiters, 0);
  EXPECT_TRUE(rig.dials.empty());
}

TEST(Multiplex, AnHttp1AnswerFansOutAtOnce) {
  MachineRig rig(limited(8));
  rig.machine.set_forecast(kUndecided);
  wait(rig, 100);
  rig.machine.set_forecast({.places = 1});
  rig.connected(1);
  EXPECT_EQ(rig.dials.size(), 7u);
  EXPECT_EQ(rig.machine.counts().waiters, 99);
}

TEST(Multiplex, SaturatedStreamsOpenFurtherConnectionsUpToTheLimit) {
  MachineRig rig(limited(16));
  rig.machine.set_forecast({.places = 100, .max_connections = 4});
  wait(rig, 1000);
  EXPECT_EQ(rig.dials.size(), 4u);
  for (const uint64_t dial : {1, 2, 3, 4})
    rig.connected(dial, {.soft = 100, .hard = 100});
  EXPECT_EQ(rig.machine.counts().full, 4);
  EXPECT_EQ(rig.machine.counts().waiters, 600);
  EXPECT_TRUE(rig.dials.empty());
  // In the order of their arrival, a place at a time.
  rig.take_log();
  rig.give_back(*rig.connections[2]);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w401 gets c3"}));
}

TEST(Multiplex, ExactlyTheIdealNumberOpensNoSecondConnection) {
  MachineRig rig(limited(16));
  rig.machine.set_forecast({.places = 10, .max_connections = 4});
  wait(rig, 10);
  rig.connected(1, {.soft = 10, .hard = 20});
  EXPECT_TRUE(rig.dials.empty());
  wait(rig, 1);  // above the ideal, within the limit: served at once, and a further one is dialed
  EXPECT_EQ(rig.connections[0]->leases, 11u);
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.connected(2, {.soft = 10, .hard = 20});
  wait(rig, 2);
  EXPECT_EQ(rig.connections[1]->leases, 2u);  // the one with the fewest
}

TEST(Multiplex, APeerThatGivesNoPlaceForNowIsNotDrained) {
  MachineRig rig(limited(1));
  rig.machine.set_forecast({.places = 100, .max_connections = 4});
  wait(rig, 2);
  TestConnection& c = rig.connected(1, {.soft = 1, .hard = 1});
  rig.machine.set_capacity(c, {.soft = 0, .hard = 0});
  rig.give_back(c);
  EXPECT_EQ(rig.machine.counts().waiters, 1);
  EXPECT_EQ(c.state, ConnectionState::Full);
  rig.take_log();
  rig.machine.set_capacity(c, {.soft = 5, .hard = 5});
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1"}));
  rig.machine.set_capacity(c, {.soft = 0, .hard = 0});
  rig.give_back(c);
  rig.pass(rig.now + 56 * kSecond);  // nor does it stay for ever
  EXPECT_EQ(rig.take_log(), (Lines{"55000 close c1 idle"}));
}

TEST(Multiplex, WarmingCountsPlacesNotIdleConnections) {
  MachineLimits limits = limited(16);
  limits.min_idle = 1;
  MachineRig rig(limits);
  rig.machine.set_forecast({.places = 100, .max_connections = 4});
  wait(rig, 1);
  rig.connected(1, {.soft = 100, .hard = 100});
  EXPECT_EQ(rig.machine.counts().active, 1);
  EXPECT_TRUE(rig.dials.empty());
}

TEST(Multiplex, PreconnectOpensOneOfAnUnknownProtocolAndThenWhatItTakes) {
  MachineRig rig(limited(8));
  rig.machine.set_forecast(kUndecided);
  rig.machine.warm_to(5);
  rig.dispatch();
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.machine.set_forecast({.places = 1});
  rig.connected(1);
  EXPECT_EQ(rig.dials.size(), 4u);
  for (const uint64_t dial : {2, 3, 4, 5})
    rig.connected(dial);
  EXPECT_EQ(rig.machine.counts().idle, 5);
  EXPECT_TRUE(rig.dials.empty());

  MachineRig multiplexed(limited(8));
  multiplexed.machine.set_forecast({.places = 100, .max_connections = 4});
  multiplexed.machine.warm_to(5);
  multiplexed.dispatch();
  EXPECT_EQ(multiplexed.dials.size(), 1u);
}

TEST(Multiplex, AgeEndsABusyConnectionToo) {
  MachineRig rig(limited(4));
  rig.machine.set_forecast({.places = 10, .max_connections = 4});
  wait(rig, 1);
  TestConnection& c = rig.connected(1, {.soft = 10, .hard = 10});
  rig.now += 11 * kMinute;
  wait(rig, 1);  // is served at once, while the successor is dialed
  EXPECT_EQ(c.leases, 2u);
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.connected(2, {.soft = 10, .hard = 10});
  EXPECT_EQ(c.state, ConnectionState::Draining);
  rig.take_log();
  rig.give_back(c);
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"660000 close c1 drained"}));
}

TEST(Multiplex, AFreshWaiterPassesConnectionsThatWereIdleBefore) {
  MachineRig rig(limited(3));
  TestConnection& old = rig.idle();
  rig.now += ms(10);
  rig.waiters.push_back(std::make_unique<TestWaiter>());
  TestWaiter& waiter = *rig.waiters.back();
  waiter.name = 2;
  waiter.fresh_only = true;
  rig.machine.add_waiter(waiter, rig.now);
  rig.wait();  // w3 has no such wish
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"10 w3 gets c1", "10 dial 2 for w2"}));
  rig.now += ms(5);
  rig.give_back(old);  // proven alive since
  EXPECT_EQ(rig.take_log(), (Lines{"15 w2 gets c1"}));
}

TEST(Multiplex, DropIdleClosesWhatWasIdleBefore) {
  MachineRig rig(limited(3));
  TestConnection& first = rig.leased();
  TestConnection& second = rig.leased();
  rig.give_back(first);
  rig.now += ms(10);
  rig.give_back(second);
  rig.take_log();
  rig.machine.drop_idle(rig.now);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"10 close c1 stale"}));
  EXPECT_EQ(rig.machine.counts().idle, 1);
}

TEST(Multiplex, ACheckCoversAsManyAsTheConnectionHasPlaces) {
  MachineLimits limits = limited(4);
  limits.check_after = kSecond;
  MachineRig rig(limits);
  rig.machine.set_forecast({.places = 10, .max_connections = 4});
  wait(rig, 1);
  TestConnection& c = rig.connected(1, {.soft = 10, .hard = 10});
  rig.give_back(c);
  rig.now += 2 * kSecond;
  rig.take_log();
  wait(rig, 8);
  EXPECT_EQ(rig.take_log(), (Lines{"2000 check c1"}));
  rig.check_done(c, true);
  EXPECT_EQ(c.leases, 8u);
  EXPECT_TRUE(rig.dials.empty());
}

TEST(Multiplex, ADrainWaitsForLeasesThatHaveDeadlinesOfTheirOwn) {
  MachineRig rig(limited(4));
  TestConnection& c = rig.leased();
  c.leases_bounded = true;
  rig.drain(c);
  rig.pass(rig.now + 10 * kMinute);
  EXPECT_TRUE(rig.take_log().empty());
  EXPECT_EQ(c.state, ConnectionState::Draining);
  rig.shut_down(rig.now + kSecond);  // a pool that closes waits no longer than it was told
  rig.take_log();
  rig.pass(rig.now + 2 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"601000 close c1 drain timeout"}));
}

TEST(Multiplex, ANewConnectionIsWorthALeaseHoweverShortItsServersLimit) {
  MachineRig rig(limited(1));
  rig.wait();
  rig.dispatch();
  rig.connections.push_back(std::make_unique<TestConnection>());
  TestConnection& c = *rig.connections.back();
  c.name = 1;
  c.idle_limit = 0;
  rig.dials.erase(1);
  rig.machine.dial_succeeded(1, c, {}, rig.now);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1", "0 w1 gets c1"}));
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 idle"}));
}

TEST(Multiplex, TheServersOwnIdleLimitShortensOurs) {
  MachineRig rig(limited(1));
  rig.wait();
  rig.dispatch();
  TestConnection& c = rig.connected(1);
  c.idle_limit = 4 * kSecond;
  rig.give_back(c);
  rig.take_log();
  rig.pass(rig.now + 10 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"4000 close c1 idle"}));
}

}  // namespace
}  // namespace conpool::pool
