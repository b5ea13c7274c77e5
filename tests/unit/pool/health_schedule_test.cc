// When active checks are due.
#include "pool/health_schedule.h"

#include <gtest/gtest.h>

#include <set>

namespace conpool::pool {
namespace {

SocketAddress address(uint8_t last) {
  return SocketAddress::v4({192, 0, 2, last}, 80);
}

std::vector<SocketAddress> addresses(uint8_t count) {
  std::vector<SocketAddress> out;
  for (uint8_t i = 1; i <= count; ++i)
    out.push_back(address(i));
  return out;
}

TEST(HealthSchedule, ChecksEachAddressOncePerInterval) {
  HealthSchedule schedule({.interval = 10 * kSecond, .jitter = 0}, 1);
  EXPECT_EQ(schedule.next(), kNever);
  schedule.set_addresses(kSecond, addresses(1));
  const Time first = schedule.next();
  EXPECT_GE(first, kSecond);
  EXPECT_LE(first, 11 * kSecond);
  EXPECT_EQ(schedule.begin(first - 1), std::nullopt);
  EXPECT_EQ(schedule.begin(first), address(1));
  // It runs: no second one of the same address.
  EXPECT_EQ(schedule.running(), 1u);
  EXPECT_EQ(schedule.next(), kNever);
  EXPECT_EQ(schedule.begin(first + kMinute), std::nullopt);
  // The next one comes an interval after its end.
  schedule.ended(first + 300 * kMillisecond, address(1));
  EXPECT_EQ(schedule.next(), first + 300 * kMillisecond + 10 * kSecond);
  EXPECT_EQ(schedule.running(), 0u);
}

TEST(HealthSchedule, SpreadsTheFirstChecksOverAnInterval) {
  std::set<Time> tenths;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    HealthSchedule schedule({.interval = 10 * kSecond, .jitter = 10}, seed);
    schedule.set_addresses(0, addresses(1));
    EXPECT_LE(schedule.next(), 10 * kSecond);
    tenths.insert(schedule.next() / kSecond);
  }
  EXPECT_GE(tenths.size(), 10u);
}

TEST(HealthSchedule, JittersEachInterval) {
  HealthSchedule schedule({.interval = 10 * kSecond, .jitter = 20}, 7);
  schedule.set_addresses(0, addresses(1));
  Nanos least = kNever;
  Nanos most = 0;
  for (int i = 0; i < 1000; ++i) {
    const Time due = schedule.next();
    ASSERT_EQ(schedule.begin(due), address(1));
    schedule.ended(due, address(1));
    const Nanos interval = schedule.next() - due;
    least = std::min(least, interval);
    most = std::max(most, interval);
  }
  EXPECT_GE(least, 8 * kSecond);
  EXPECT_LT(least, 8100 * kMillisecond);
  EXPECT_LE(most, 12 * kSecond);
  EXPECT_GT(most, 11900 * kMillisecond);
}

TEST(HealthSchedule, RunsSoManyAtOnce) {
  HealthSchedule schedule({.interval = kSecond, .jitter = 0, .at_once = 2}, 1);
  schedule.set_addresses(0, addresses(5));
  const Time late = 2 * kSecond;
  const auto one = schedule.begin(late);
  const auto two = schedule.begin(late);
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
  EXPECT_EQ(schedule.begin(late), std::nullopt);
  EXPECT_EQ(schedule.next(), kNever);
  schedule.ended(late, *one);
  EXPECT_LE(schedule.next(), kSecond);
  const auto three = schedule.begin(late);
  ASSERT_TRUE(three);
  EXPECT_NE(*three, *one);
}

TEST(HealthSchedule, TheLongestDueGoesFirst) {
  HealthSchedule schedule({.interval = kSecond, .jitter = 0, .at_once = 100}, 1);
  schedule.set_addresses(0, addresses(20));
  Time before = 0;
  for (int i = 0; i < 20; ++i) {
    const Time due = schedule.next();
    EXPECT_GE(due, before);
    before = due;
    ASSERT_TRUE(schedule.begin(due));
  }
}

TEST(HealthSchedule, OnePutOffComesAfterATenth) {
  HealthSchedule schedule({.interval = 10 * kSecond, .jitter = 0}, 1);
  schedule.set_addresses(0, addresses(1));
  const Time due = schedule.next();
  ASSERT_TRUE(schedule.begin(due));
  schedule.put_off(due, address(1));
  EXPECT_EQ(schedule.next(), due + kSecond);
  HealthSchedule quick({.interval = kMillisecond, .jitter = 0}, 1);
  quick.set_addresses(0, addresses(1));
  ASSERT_TRUE(quick.begin(kMillisecond));
  quick.put_off(kMillisecond, address(1));
  EXPECT_EQ(quick.next(), kMillisecond + HealthSchedule::kLeastPutOff);
}

TEST(HealthSchedule, FollowsTheAddresses) {
  HealthSchedule schedule({.interval = 10 * kSecond, .jitter = 0}, 1);
  schedule.set_addresses(0, addresses(1));
  const Time due = schedule.next();
  schedule.set_addresses(kSecond, addresses(1));
  EXPECT_EQ(schedule.next(), due);  // those that stay keep their times
  ASSERT_TRUE(schedule.begin(due));
  schedule.set_addresses(due, {});  // gone while it is checked
  EXPECT_EQ(schedule.running(), 1u);
  schedule.ended(due, address(1));
  EXPECT_EQ(schedule.running(), 0u);
  EXPECT_EQ(schedule.next(), kNever);
  // Gone and back while it is checked: it stays.
  schedule.set_addresses(due, addresses(1));
  const Time again = schedule.next();
  ASSERT_TRUE(schedule.begin(again));
  schedule.set_addresses(again, {});
  schedule.set_addresses(again, addresses(1));
  schedule.ended(again, address(1));
  EXPECT_EQ(schedule.next(), again + 10 * kSecond);
}

TEST(HealthSchedule, WithoutAnIntervalThereIsNone) {
  HealthSchedule schedule({.interval = 0}, 1);
  schedule.set_addresses(0, addresses(3));
  EXPECT_EQ(schedule.next(), kNever);
  EXPECT_EQ(schedule.begin(kHour), std::nullopt);
}

}  // namespace
}  // namespace conpool::pool
