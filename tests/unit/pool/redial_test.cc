// Tests of the pause before a dial is repeated that nobody waits for.
#include <gtest/gtest.h>
#include <algorithm>

#include <memory>

#include "pool/endpoint_machine.h"

namespace conpool::pool {
namespace {

struct Permits final : Environment {
  bool take_permit(bool) override { return true; }
  void return_permit() override {}
  bool usable(ConnectionRecord&) override { return true; }
};

struct Rig {
  explicit Rig(int64_t min_idle) : machine(limits(min_idle), permits, 1) {}
  static MachineLimits limits(int64_t min_idle) {
    MachineLimits limits;
    limits.min_idle = min_idle;
    return limits;
  }
  // Lets the machine decide, and returns the dials that it started.
  std::vector<uint64_t> dispatch(Time now) {
    machine.on_timer(now);
    machine.dispatch(now);
    std::vector<uint64_t> dials;
    for (const Action& action : machine.actions()) {
      if (action.kind == Action::Kind::StartDial) dials.push_back(action.dial);
    }
    machine.actions().clear();
    return dials;
  }

  Permits permits;
  EndpointMachine machine;
};

TEST(Redial, WarmingGoesOnAfterAFailure) {
  Rig rig(1);
  const std::vector<uint64_t> dials = rig.dispatch(0);
  ASSERT_EQ(dials.size(), 1u);
  rig.machine.dial_failed(dials[0], 0);
  EXPECT_TRUE(rig.dispatch(0).empty());
  const Time again = rig.machine.next_deadline();
  EXPECT_GE(again, kRedialDelay * 8 / 10);
  EXPECT_LE(again, kRedialDelay * 12 / 10);
  EXPECT_EQ(rig.dispatch(again).size(), 1u);
}

TEST(Redial, WarmingBacksOffFromAServerThatAcceptsAndCloses) {
  Rig rig(1);
  std::vector<std::unique_ptr<ConnectionRecord>> records;
  Time now = 5 * kSecond;
  Nanos expected = kRedialDelay;
  for (int round = 0; round < 6; ++round) {
    const std::vector<uint64_t> dials = rig.dispatch(now);
    ASSERT_EQ(dials.size(), 1u) << round;
    records.push_back(std::make_unique<ConnectionRecord>());
    rig.machine.dial_succeeded(dials[0], *records.back(), {1, 1}, now);
    EXPECT_TRUE(rig.dispatch(now).empty());
    rig.machine.dead(*records.back(), CloseReason::Dead);
    EXPECT_TRUE(rig.dispatch(now).empty());
    const Time next = rig.machine.next_deadline();
    EXPECT_GE(next, now + std::max(kRedialDelay, expected * 8 / 10)) << round;
    EXPECT_LE(next, now + std::max(kRedialDelay, expected * 12 / 10)) << round;
    now = next;
    expected = expected * 8 / 5;
  }
}

TEST(Redial, OneThatLivedForAWhileIsReplacedAtOnce) {
  Rig rig(1);
  ConnectionRecord record;
  const std::vector<uint64_t> dials = rig.dispatch(0);
  ASSERT_EQ(dials.size(), 1u);
  rig.machine.dial_succeeded(dials[0], record, {1, 1}, 0);
  EXPECT_TRUE(rig.dispatch(kRedialDelay).empty());
  rig.machine.dead(record, CloseReason::Dead);
  EXPECT_EQ(rig.dispatch(kRedialDelay).size(), 1u);
}

}  // namespace
}  // namespace conpool::pool
