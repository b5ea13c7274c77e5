// The accounts of an endpoint, at exact virtual times. Times in the logs count from the test's
// start.
#include <gtest/gtest.h>

#include "unit/pool/machine_rig.h"

namespace conpool::pool {
namespace {

using Lines = std::vector<std::string>;

MachineLimits limited(int64_t connections) {
  MachineLimits limits;
  limits.max_connections = connections;
  limits.age_jitter = 0;
  return limits;
}

// --- order and limits

TEST(Machine, ServesWaitersInTheOrderOfTheirArrival) {
  MachineRig rig(limited(1));
  rig.wait();
  rig.wait();
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1"}));
  rig.now += ms(5);
  TestConnection& c = rig.connected(1);
  EXPECT_EQ(rig.take_log(), (Lines{"5 w1 gets c1"}));
  rig.now += ms(5);
  rig.give_back(c);
  rig.now += ms(5);
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"10 w2 gets c1", "15 w3 gets c1"}));
  EXPECT_EQ(rig.machine.counts().full, 1);
}

TEST(Machine, ADialGoesToWhoeverIsFirstWhenItArrives) {
  MachineRig rig(limited(2));
  TestWaiter& first = rig.wait();
  rig.dispatch();
  rig.wait();
  rig.dispatch();
  rig.cancel(first);
  rig.dispatch();
  rig.connected(1);
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1", "0 dial 2 for w2", "0 w2 gets c1"}));
  rig.connected(2);
  EXPECT_EQ(rig.machine.counts().idle, 1);  // the second dial belongs to the endpoint
}

TEST(Machine, OpenAndDialingTogetherStayWithinTheLimit) {
  MachineRig rig(limited(3));
  for (int i = 0; i < 5; ++i)
    rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.dials.size(), 3u);
  rig.connected(1);
  EXPECT_EQ(rig.machine.counts().open() + rig.machine.counts().dialing, 3);
  EXPECT_EQ(rig.permits_out, 3);
  rig.dial_fails(2);
  EXPECT_EQ(rig.permits_out, rig.machine.counts().open() + rig.machine.counts().dialing);
}

TEST(Machine, WaitersLimitCountsThoseThatNothingWillServe) {
  MachineLimits limits = limited(1);
  limits.max_waiters = 2;
  MachineRig rig(limits);
  rig.wait();  // for the dial
  rig.wait();
  rig.wait();
  rig.wait();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w4 fails E_WAITERS_LIMIT"}));
}

TEST(Machine, NoWaitersAllowedMeansToFailAtOnceWhenAllIsTaken) {
  MachineLimits limits = limited(1);
  limits.max_waiters = 0;
  MachineRig rig(limits);
  TestConnection& c = rig.leased();
  rig.wait();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 fails E_WAITERS_LIMIT"}));
  rig.give_back(c);
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w3 gets c1"}));
}

TEST(Machine, AWaiterThatIsPutBackKeepsItsPosition) {
  MachineRig rig(limited(1));
  TestWaiter& first = rig.wait();
  rig.wait();
  rig.dispatch();
  TestConnection& c = rig.connected(1);
  rig.take_log();
  rig.machine.requeue(first, rig.now);
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w1 gets c1"}));
}

// --- reuse

TEST(Machine, TheNewestIdleConnectionGoesFirst) {
  MachineRig rig(limited(4));
  TestConnection& a = rig.leased();
  TestConnection& b = rig.leased();
  rig.give_back(a);
  rig.give_back(b);
  rig.take_log();
  rig.wait();
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w3 gets c2", "0 w4 gets c1"}));
}

TEST(Machine, IdleTimeoutIsExact) {
  MachineRig rig(limited(4));
  rig.idle();
  rig.pass(kSecond + 55 * kSecond - 1);
  EXPECT_TRUE(rig.take_log().empty());
  rig.pass(kSecond + 55 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"55000 close c1 idle"}));
  EXPECT_EQ(rig.permits_out, 0);
  EXPECT_TRUE(rig.machine.empty());
}

TEST(Machine, IdleTimeCountsFromTheLastReturn) {
  MachineRig rig(limited(4));
  TestConnection& c = rig.idle();
  rig.pass(kSecond + 50 * kSecond);
  rig.wait();
  rig.dispatch();
  rig.pass(kSecond + 70 * kSecond);
  rig.give_back(c);
  rig.take_log();
  rig.pass(kSecond + 200 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"125000 close c1 idle"}));
}

TEST(Machine, WithoutIdleTimeAConnectionIsClosedWhenItComesBack) {
  MachineLimits limits = limited(4);
  limits.idle_timeout = 0;
  MachineRig rig(limits);
  TestConnection& c = rig.leased();  // a fresh one is still worth its first lease
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 idle"}));
}

TEST(Machine, WithoutIdleTimeAConnectionThatNobodyWantsAnyMoreIsNotKept) {
  MachineLimits limits = limited(4);
  limits.idle_timeout = 0;
  MachineRig rig(limits);
  TestWaiter& waiter = rig.wait();
  rig.dispatch();
  rig.cancel(waiter);
  rig.dispatch();
  rig.take_log();
  rig.connected(1);
  rig.pass(rig.now + 1);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 idle"}));
}

TEST(Machine, AgeEndsAnIdleConnectionExactlyAndALeasedOneAtItsReturn) {
  MachineLimits limits = limited(4);
  limits.idle_timeout = kHour;
  limits.max_age = kMinute;
  MachineRig rig(limits);
  TestConnection& c = rig.leased();
  rig.pass(kSecond + kMinute + ms(10));
  EXPECT_TRUE(rig.take_log().empty());
  rig.give_back(c);
  // It was in use a moment ago: its successor comes first.
  EXPECT_EQ(rig.take_log(), (Lines{"60010 renew c1", "60010 dial 2 for -"}));
  rig.connected(2);
  EXPECT_EQ(rig.take_log(), (Lines{"60010 close c1 age"}));

  MachineRig still(limits);
  still.idle();
  still.pass(kSecond + kMinute - 1);
  EXPECT_TRUE(still.take_log().empty());
  still.pass(kSecond + kMinute);
  EXPECT_EQ(still.take_log(), (Lines{"60000 close c1 age"}));
}

TEST(Machine, AgesAreSpreadByTheJitter) {
  std::set<Time> ends;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    MachineLimits limits;
    limits.max_age = 100 * kSecond;
    limits.idle_timeout = kHour;
    MachineRig rig(limits, seed);
    TestConnection& c = rig.idle();
    const Nanos age = c.retire_at - c.opened;
    EXPECT_GE(age, 90 * kSecond);
    EXPECT_LE(age, 110 * kSecond);
    ends.insert(age);
  }
  EXPECT_GT(ends.size(), 45u);
}

TEST(Machine, UsesAreCountedExactly) {
  MachineLimits limits = limited(4);
  limits.max_uses = 2;
  MachineRig rig(limits);
  TestConnection& c = rig.idle();
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1"}));
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 uses"}));
}

TEST(Machine, ABrokenConnectionNeverComesBack) {
  MachineRig rig(limited(1));
  TestConnection& c = rig.leased();
  rig.wait();
  rig.dispatch();
  rig.give_back(c, false);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 broken", "0 dial 2 for w2"}));
}

TEST(Machine, AnIdleConnectionThatShowsSignsOfDeathIsPassedOver) {
  MachineRig rig(limited(4));
  TestConnection& a = rig.leased();
  TestConnection& b = rig.leased();
  rig.give_back(a);
  rig.give_back(b);
  b.good = false;
  rig.take_log();
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c2 stale", "0 w3 gets c1"}));
}

// --- the active check

MachineLimits checked() {
  MachineLimits limits = limited(1);
  limits.check_after = kSecond;
  return limits;
}

TEST(Machine, ACheckRunsOnlyAfterItsIdleTime) {
  MachineRig rig(checked());
  TestConnection& c = rig.idle();
  rig.pass(rig.now + kSecond - 1);
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"999 w2 gets c1"}));
  rig.give_back(c);
  rig.pass(rig.now + kSecond);
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"1999 check c1"}));
  EXPECT_EQ(rig.machine.counts().held, 1);
  rig.now += ms(3);
  rig.check_done(c, true);
  EXPECT_EQ(rig.take_log(), (Lines{"2002 w3 gets c1"}));
}

TEST(Machine, AFailedCheckIsFollowedByADial) {
  MachineRig rig(checked());
  TestConnection& c = rig.idle();
  rig.pass(rig.now + kSecond);
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.check_done(c, false);
  EXPECT_EQ(rig.take_log(), (Lines{"1000 close c1 stale", "1000 dial 2 for w2"}));
}

TEST(Machine, ADeadConnectionInACheckStopsToCover) {
  MachineRig rig(checked());
  TestConnection& c = rig.idle();
  rig.pass(rig.now + kSecond);
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.machine.dead(c, CloseReason::Dead);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"1000 close c1 dead", "1000 dial 2 for w2"}));
}

TEST(Machine, AWaiterThatLeavesDuringTheCheckLeavesAnIdleConnection) {
  MachineRig rig(checked());
  TestConnection& c = rig.idle();
  rig.pass(rig.now + kSecond);
  TestWaiter& waiter = rig.wait();
  rig.dispatch();
  rig.cancel(waiter);
  rig.check_done(c, true);
  EXPECT_EQ(rig.machine.counts().idle, 1);
}

// --- several places on a connection

TEST(Machine, PlacesAreFilledToTheSoftLimitFirstAndNeverBeyondTheHardOne) {
  MachineLimits limits = limited(2);
  MachineRig rig(limits);
  for (int i = 0; i < 8; ++i)
    rig.wait();
  rig.dispatch();
  rig.connected(1, {.soft = 1, .hard = 3});
  EXPECT_EQ(rig.connections[0]->leases, 3u);
  rig.connected(2, {.soft = 1, .hard = 3});
  EXPECT_EQ(rig.connections[1]->leases, 3u);
  EXPECT_EQ(rig.machine.counts().full, 2);
  EXPECT_EQ(rig.machine.counts().waiters, 2);
}

TEST(Machine, EachLeaseOfABurstKnowsWhichUseOfItsConnectionItIs) {
  MachineRig rig(limited(1));
  TestWaiter& first = rig.wait();
  TestWaiter& second = rig.wait();
  TestWaiter& third = rig.wait();
  rig.dispatch();
  rig.connected(1, {.soft = 3, .hard = 3});
  EXPECT_EQ(first.use, 1u);
  EXPECT_EQ(second.use, 2u);
  EXPECT_EQ(third.use, 3u);
}

TEST(Machine, CapacityZeroGivesNoPlaceAndIsNoDrain) {
  MachineRig rig(limited(1));
  TestConnection& c = rig.idle();
  rig.machine.set_capacity(c, {.soft = 0, .hard = 0});
  rig.wait();
  rig.dispatch();
  EXPECT_TRUE(rig.take_log().empty());
  rig.machine.set_capacity(c, {});
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1"}));
}

TEST(Machine, AHeldConnectionTakesNoLeaseUntilItIsLetGo) {
  MachineRig rig(limited(1));
  TestConnection& c = rig.idle();
  rig.machine.set_held(c, true);
  rig.wait();
  rig.dispatch();
  EXPECT_TRUE(rig.take_log().empty());
  EXPECT_EQ(rig.machine.counts().held, 1);
  rig.machine.set_held(c, false);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1"}));
}

// --- draining

TEST(Machine, ADrainingConnectionMakesRoomForItsSuccessor) {
  MachineRig rig(limited(1));
  TestConnection& c = rig.leased();
  rig.wait();
  rig.dispatch();
  EXPECT_TRUE(rig.take_log().empty());
  rig.drain(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 2 for w2"}));
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 drained"}));
}

TEST(Machine, AnIdleConnectionThatDrainsClosesAtOnce) {
  MachineRig rig(limited(1));
  TestConnection& c = rig.idle();
  rig.drain(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 vanished"}));
}

TEST(Machine, ADrainEndsAtItsDeadline) {
  MachineLimits limits = limited(1);
  limits.drain_timeout = 3 * kSecond;
  MachineRig rig(limits);
  TestConnection& c = rig.leased();
  rig.drain(c);
  rig.pass(rig.now + 10 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"3000 close c1 drain timeout"}));
}

TEST(Machine, OneDrainingConnectionTooManyClosesTheOldest) {
  MachineLimits limits = limited(4);
  limits.max_draining = 2;
  MachineRig rig(limits);
  for (int i = 0; i < 3; ++i) {
    TestConnection& c = rig.leased();
    rig.drain(c);
  }
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 drain limit"}));
  EXPECT_EQ(rig.machine.counts().draining, 2);
}

// --- permits

TEST(Machine, WithoutAPermitItAsksAgain) {
  MachineRig rig(limited(4));
  rig.permits = 1;
  rig.wait();
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1"}));
  EXPECT_TRUE(rig.machine.wants_permit());
  rig.permits = 1;
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 2 for w2"}));
  EXPECT_FALSE(rig.machine.wants_permit());
}

// --- failed dials

TEST(Machine, AFailedDialFailsAllThatWerePresentAtItsStart) {
  MachineRig rig(limited(1));
  rig.wait();
  rig.wait();
  rig.dispatch();
  rig.now += ms(10);
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.dial_fails(1);
  // The late one has its own dial.
  EXPECT_EQ(rig.take_log(),
            (Lines{"10 w1 fails with dial 1", "10 w2 fails with dial 1", "10 dial 2 for w3"}));
}

TEST(Machine, AFailedDialSparesThoseThatAnotherDialCovers) {
  MachineRig rig(limited(2));
  rig.wait();
  rig.wait();
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.dial_fails(1);
  // One dial is left: the first waiter stays with it.
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 fails with dial 1", "0 w3 fails with dial 1"}));
  rig.connected(2);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w1 gets c1"}));
}

TEST(Machine, AFailedDialFailsNobodyWhileAConnectionMayComeBack) {
  MachineRig rig(limited(2));
  TestConnection& c = rig.leased();
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.dial_fails(2);
  EXPECT_TRUE(rig.take_log().empty());
  rig.give_back(c);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1"}));
}

TEST(Machine, RedialsWaitLongerAndLongerUpToALimit) {
  MachineRig rig(limited(2));
  rig.leased();
  rig.wait();
  rig.dispatch();
  Nanos expected = kRedialDelay;
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(rig.dials.size(), 1u) << i;
    const Time failed = rig.now;
    rig.dial_fails(*rig.dials.begin());
    ASSERT_TRUE(rig.dials.empty());
    rig.pass(failed + expected * 4 / 5 - 1);
    EXPECT_TRUE(rig.dials.empty()) << i;
    rig.pass(failed + expected * 6 / 5);
    EXPECT_EQ(rig.dials.size(), 1u) << i;
    expected = std::min(expected * 8 / 5, kRedialDelayMax);
  }
}

// --- warming

TEST(Machine, IdleConnectionsAreKeptReady) {
  MachineLimits limits = limited(4);
  limits.min_idle = 2;
  MachineRig rig(limits);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for -", "0 dial 2 for -"}));
  rig.connected(1);
  rig.connected(2);
  rig.wait();
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w1 gets c2", "0 dial 3 for -"}));
  rig.dial_fails(3);
  rig.take_log();
  rig.pass(rig.now + kRedialDelay * 6 / 5);
  EXPECT_EQ(rig.dials.size(), 1u);
}

// --- deadlines

TEST(Machine, QueueTimeCountsOnlyWhileNothingCovers) {
  MachineRig rig(limited(1));
  rig.leased();
  rig.wait(rig.now + ms(100));
  rig.dispatch();
  rig.pass(rig.now + ms(99));
  EXPECT_TRUE(rig.take_log().empty());
  rig.pass(rig.now + ms(1));
  EXPECT_EQ(rig.take_log(), (Lines{"100 w2 fails E_QUEUE_TIMEOUT"}));
}

TEST(Machine, AWaiterWhoseQueueTimePassedUnderADialFailsWhenTheDialDoesNotServeIt) {
  MachineRig rig(limited(1));
  rig.wait();
  rig.wait(rig.now + ms(100));
  rig.dispatch();
  rig.pass(rig.now + ms(50));
  rig.cancel(*rig.waiters[0]);  // now the dial covers the second
  rig.dispatch();
  rig.pass(rig.now + ms(100));
  rig.take_log();
  rig.wait();
  rig.connected(1);
  EXPECT_EQ(rig.take_log(), (Lines{"150 w2 gets c1"}));
}

TEST(Machine, NoQueueTimeFailsAtOnceWithoutADial) {
  MachineRig rig(limited(1));
  rig.leased();
  rig.wait(rig.now);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 fails E_QUEUE_TIMEOUT"}));
}

TEST(Machine, NoQueueTimeStillTakesAnIdleConnectionOrADial) {
  MachineRig rig(limited(2));
  rig.idle();
  rig.wait(rig.now);
  rig.wait(rig.now);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 w2 gets c1", "0 dial 2 for w3"}));
  rig.connected(2);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w3 gets c2"}));
}

TEST(Machine, DialTimeBoundsTheStayNotTheDial) {
  MachineRig rig(limited(1));
  rig.wait(kNever, rig.now + ms(100));
  rig.dispatch();
  rig.take_log();
  rig.pass(rig.now + ms(100));
  EXPECT_EQ(rig.take_log(), (Lines{"100 w1 fails E_DIAL_TIMEOUT"}));
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.connected(1);
  EXPECT_EQ(rig.machine.counts().idle, 1);
}

TEST(Machine, TotalTimeEndsEveryWait) {
  MachineRig rig(limited(1));
  rig.wait(kNever, kNever, rig.now + ms(70));
  rig.wait(kNever, kNever, rig.now + ms(60));
  rig.dispatch();
  rig.take_log();
  rig.pass(rig.now + kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"60 w2 fails E_TIMEOUT", "70 w1 fails E_TIMEOUT"}));
}

// --- the end

// --- dials between two rounds

TEST(Machine, ARestingDialCoversItsOwnWaiterOnly) {
  MachineRig rig(limited(4));
  rig.wait(rig.now + ms(10));
  rig.dispatch();
  EXPECT_TRUE(rig.machine.rest_dial(1));
  rig.wait();
  rig.dispatch();              // the second waiter gets a dial of its own
  rig.pass(rig.now + ms(50));  // and the first one's queue time does not count while it rests
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1", "0 dial 2 for w2"}));
  rig.dial_fails(2);
  EXPECT_EQ(rig.take_log(), (Lines{"50 w2 fails with dial 2"}));
  rig.machine.wake_dial(1);
  rig.connected(1);
  EXPECT_EQ(rig.take_log(), (Lines{"50 w1 gets c1"}));
}

TEST(Machine, ARestingDialEndsWithTheWaiterThatWishedForIt) {
  MachineRig rig(limited(1));
  TestWaiter& first = rig.wait();
  rig.dispatch();
  EXPECT_TRUE(rig.machine.rest_dial(1));
  rig.wait();
  rig.dispatch();  // no room beside it
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1"}));
  rig.cancel(first);
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 abort dial 1", "0 dial 2 for w2"}));
  EXPECT_EQ(rig.permits_out, 1);
}

TEST(Machine, ADialWhoseWaiterIsGoneDoesNotRest) {
  MachineRig rig(limited(1));
  TestWaiter& only = rig.wait();
  rig.dispatch();
  rig.cancel(only);
  EXPECT_FALSE(rig.machine.rest_dial(1));
}

// --- what one turn brings

TEST(Machine, AConnectionThatComesInTheTurnOfTheDeadlineIsGranted) {
  MachineRig rig(limited(1));
  rig.wait(rig.now);  // queue.timeout = 0
  rig.dispatch();
  rig.now += ms(3);
  TestConnection connection;
  connection.name = 1;
  rig.machine.dial_succeeded(1, connection, {}, rig.now);
  rig.machine.on_timer(rig.now);  // before the turn's dispatch
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"0 dial 1 for w1", "3 w1 gets c1"}));
  rig.give_back(connection);
  rig.shut_down(rig.now);
}

TEST(Machine, ACheckBeforeEveryLeaseLetsOneLeaseThrough) {
  MachineLimits limits = limited(1);
  limits.check_after = 0;
  MachineRig rig(limits);
  TestConnection& c = rig.idle();
  rig.now += 1;
  rig.wait();
  rig.dispatch();
  rig.check_done(c, true);
  EXPECT_EQ(rig.take_log(), (Lines{"0 check c1", "0 w2 gets c1"}));
}

TEST(Machine, WarmingAsksForFreePermitsOnly) {
  MachineLimits limits = limited(4);
  limits.min_idle = 1;
  MachineRig rig(limits);
  rig.permits = 0;
  rig.dispatch();
  EXPECT_EQ(rig.warm_permits_asked, 1);
  EXPECT_FALSE(rig.machine.wants_permit());
}

TEST(Machine, ShutDownFailsWaitersClosesIdleAndDrainsTheRest) {
  MachineRig rig(limited(4));
  TestConnection& leased = rig.leased();
  TestConnection& idle = rig.leased();
  rig.give_back(idle);
  rig.wait();
  rig.wait();
  rig.dispatch();
  rig.take_log();
  rig.shut_down(rig.now + kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"0 w4 fails E_CLOSED", "0 abort"}));
  EXPECT_EQ(rig.machine.counts().draining, 2);
  rig.give_back(leased);
  EXPECT_EQ(rig.take_log(), (Lines{"0 close c1 drained"}));
  rig.pass(rig.now + 2 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"1000 close c2 drain timeout"}));
  EXPECT_TRUE(rig.machine.empty());
  rig.wait();
  EXPECT_EQ(rig.take_log(), (Lines{"2000 w5 fails E_CLOSED"}));
  EXPECT_EQ(rig.permits_out, 0);
}

TEST(Machine, ShutDownAtOnceClosesEverything) {
  MachineRig rig(limited(4));
  rig.leased();
  rig.drain(rig.leased());
  rig.shut_down(rig.now);
  EXPECT_TRUE(rig.machine.empty());
  EXPECT_EQ(rig.permits_out, 0);
}

TEST(Machine, ShutDownDuringACheck) {
  MachineRig rig(checked());
  rig.idle();
  rig.pass(rig.now + kSecond);
  rig.wait();
  rig.dispatch();
  rig.shut_down(rig.now + kSecond);
  EXPECT_TRUE(rig.machine.empty());
}

TEST(Machine, ASecondShutDownCanOnlyShortenTheTime) {
  MachineRig rig(limited(4));
  rig.leased();
  rig.shut_down(rig.now + 5 * kSecond);
  rig.shut_down(rig.now + 9 * kSecond);
  rig.shut_down(rig.now + 2 * kSecond);
  rig.pass(rig.now + 10 * kSecond);
  EXPECT_EQ(rig.take_log(), (Lines{"2000 close c1 drain timeout"}));
}

TEST(Machine, ADialThatArrivesAfterTheShutDownIsClosed) {
  MachineRig rig(limited(4));
  rig.wait();
  rig.dispatch();
  rig.take_log();
  // The driver may hear of a success before it has run the abort.
  TestConnection late;
  rig.machine.shut_down(rig.now + kSecond, rig.now);
  rig.machine.dial_succeeded(1, late, {}, rig.now);
  EXPECT_EQ(late.state, ConnectionState::Closed);
  rig.dials.clear();
  rig.dispatch();
  EXPECT_TRUE(rig.machine.empty());
}

}  // namespace
}  // namespace conpool::pool
