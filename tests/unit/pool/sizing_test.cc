// The machine's sizes: by rate, by least number, and who leaves the line because it is too long.
#include "machine_rig.h"

namespace conpool::pool {
namespace {

using Lines = std::vector<std::string>;

// Leases of `held` each `interval`, one after the other, from a machine with one connection.
void keep_busy(MachineRig& rig, Nanos held, Nanos interval, int count) {
  for (int i = 0; i < count; ++i) {
    rig.wait();
    rig.dispatch();
    while (!rig.dials.empty())
      rig.connected(*rig.dials.begin());
    rig.pass(rig.now + held);
    for (const auto& connection : rig.connections) {
      if (connection->leases == 0) continue;
      rig.machine.lease_ended(*connection, true, rig.now, held);
      rig.dispatch();
    }
    rig.pass(rig.now + interval - held);
  }
}

int64_t open_and_dialing(const MachineRig& rig) {
  return rig.machine.counts().open() + rig.machine.counts().dialing;
}

// --- by rate

TEST(MachineSize, ByRateASpareIsDialedAndFadesWithTheDemand) {
  MachineRig rig({.by_rate = true, .idle_timeout = 5 * kSecond, .max_age = 0});
  keep_busy(rig, ms(10), ms(20), 20);
  EXPECT_EQ(open_and_dialing(rig), 2);  // one that is used, one to spare
  while (!rig.dials.empty())
    rig.connected(*rig.dials.begin());
  rig.take_log();
  rig.pass(rig.now + kMinute);
  EXPECT_EQ(open_and_dialing(rig), 0);
  EXPECT_EQ(rig.take_log().size(), 2u);  // each closed, and nothing was dialed in its place
}

TEST(MachineSize, ByRateNothingIsDialedAheadWhereNothingIsKept) {
  MachineRig rig({.by_rate = true, .idle_timeout = 0, .max_age = 0});
  keep_busy(rig, ms(10), ms(20), 20);
  rig.pass(rig.now + kMinute);
  EXPECT_EQ(open_and_dialing(rig), 0);
  EXPECT_EQ(rig.warm_permits_asked, 0);
  EXPECT_EQ(rig.connections.size(), 20u);
}

// --- the least number

TEST(MachineSize, TheLeastNumberIsKeptWithoutIdleTimeAndWithoutBusyTimers) {
  MachineRig rig({.min = 2, .idle_timeout = 0, .max_age = 0});
  rig.dispatch();
  while (!rig.dials.empty())
    rig.connected(*rig.dials.begin());
  ASSERT_EQ(rig.machine.counts().idle, 2);
  keep_busy(rig, ms(10), ms(20), 3);
  int turns = 0;
  for (const Time end = rig.now + 10 * kSecond; rig.now <= end && turns < 1000; ++turns) {
    rig.now = std::max(rig.now, rig.machine.next_deadline());
    rig.machine.on_timer(rig.now);
    rig.dispatch();
  }
  EXPECT_LE(turns, 40);  // each is looked at once in a second
  EXPECT_EQ(rig.machine.counts().idle, 2);
}

TEST(MachineSize, WhatIsAskedForStandsUntilAllOfItDoes) {
  MachineRig rig({.idle_timeout = 0, .max_age = 0});
  rig.machine.warm_to(2);
  rig.dispatch();
  ASSERT_EQ(rig.dials.size(), 2u);
  rig.connected(*rig.dials.begin());
  rig.pass(rig.now + kMinute);
  EXPECT_EQ(rig.machine.counts().idle, 1);
  EXPECT_EQ(rig.dials.size(), 1u);
  rig.connected(*rig.dials.begin());
  rig.machine.warm_to(0);
  rig.dispatch();
  EXPECT_EQ(open_and_dialing(rig), 0);
}

// --- lines that are too long

TEST(MachineLine, WhoWouldComeTooLateBehindALongLineLeavesAtOnce) {
  MachineRig rig({.max_connections = 1, .max_age = 0});
  keep_busy(rig, kSecond, kSecond, 9);
  rig.wait();
  rig.dispatch();  // the connection is leased
  for (int64_t i = 0; i < kForeseenTurns - 1; ++i)
    rig.wait();
  rig.take_log();
  rig.wait(rig.now + ms(1));  // a line that is short says nothing
  EXPECT_EQ(rig.take_log(), Lines{});
  // Nine leases of a second before it: in less than half of that, none is foreseen for it.
  const std::string number = std::to_string(rig.waiters.size() + 1);
  rig.wait(rig.now + 9 * kSecond / 2 - 1);
  EXPECT_EQ(rig.take_log(), (Lines{"9000 w" + number + " fails E_QUEUE_TIMEOUT"}));
  rig.wait(rig.now + 9 * kSecond / 2);
  rig.wait();  // without a deadline it waits
  EXPECT_EQ(rig.take_log(), Lines{});
}

TEST(MachineLine, PlacesThatAreStillToBeDialedMakeALineShort) {
  for (const bool codel : {false, true}) {
    MachineRig rig({.max_connections = 20, .codel = codel, .max_age = 0});
    keep_busy(rig, kSecond, kSecond, 9);
    rig.take_log();
    // All in one turn: nothing is dialed for them yet.
    for (int i = 0; i < 20; ++i)
      rig.wait(rig.now + 3 * kSecond);
    EXPECT_EQ(rig.take_log(), Lines{}) << codel;
  }
}

TEST(MachineLine, AConnectionOfManyPlacesMakesALineShort) {
  for (const bool codel : {false, true}) {
    MachineRig rig({.max_connections = 1, .codel = codel, .max_age = 0});
    keep_busy(rig, kSecond, kSecond, 9);
    rig.machine.set_forecast({.places = 10, .max_connections = 1});
    rig.machine.set_capacity(*rig.connections.front(), {.soft = 10, .hard = 100});
    for (int i = 0; i < 100; ++i)
      rig.wait();
    rig.dispatch();
    EXPECT_EQ(rig.machine.counts().waiters, 0);
    rig.take_log();
    for (int i = 0; i < 100; ++i)
      rig.wait(rig.now + 3 * kSecond);
    EXPECT_EQ(rig.take_log(), Lines{}) << codel;
    for (int i = 0; i < 700; ++i)
      rig.wait();
    rig.wait(rig.now + 3 * kSecond);  // eight leases of a second before it on each place
    EXPECT_EQ(rig.take_log().size(), 1u) << codel;
  }
}

TEST(MachineLine, WithoutExperienceNobodyIsRefused) {
  MachineRig rig({.max_connections = 1, .max_age = 0});
  rig.leased();
  for (int i = 0; i < 100; ++i)
    rig.wait(rig.now + 1);
  EXPECT_EQ(rig.take_log(), Lines{});
}

TEST(MachineLine, ACheckDoesNotLengthenTheQueueTime) {
  MachineRig rig({.max_connections = 1, .max_age = 0, .check_after = kSecond});
  TestConnection& c = rig.idle();
  rig.pass(rig.now + kSecond);
  rig.wait(rig.now + ms(100));
  rig.dispatch();
  EXPECT_EQ(rig.take_log(), (Lines{"1000 check c1"}));
  rig.pass(rig.now + ms(200));
  EXPECT_EQ(rig.take_log(), (Lines{"1100 w2 fails E_QUEUE_TIMEOUT"}));
  rig.check_done(c, true);
  EXPECT_EQ(rig.machine.counts().idle, 1);
}

}  // namespace
}  // namespace conpool::pool
