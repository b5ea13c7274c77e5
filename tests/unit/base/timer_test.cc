// Timers: order of firing, re-arming, and destruction at every moment.
#include "base/timer.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/rng.h"

namespace conpool {
namespace {

TEST(TimerQueue, FiresInOrderOfDeadlineThenArming) {
  TimerQueue queue;
  std::vector<int> fired;
  Timer a([&] { fired.push_back(1); });
  Timer b([&] { fired.push_back(2); });
  Timer c([&] { fired.push_back(3); });
  a.arm(queue, 20);
  b.arm(queue, 10);
  c.arm(queue, 20);
  EXPECT_EQ(queue.earliest(), 10);
  EXPECT_EQ(queue.fire_due(9), 0u);
  EXPECT_EQ(queue.fire_due(20), 3u);
  EXPECT_EQ(fired, (std::vector<int>{2, 1, 3}));
  EXPECT_EQ(queue.earliest(), kNever);
}

TEST(TimerQueue, CallbackMayDestroyItsTimerAndOthers) {
  TimerQueue queue;
  auto a = std::make_unique<Timer>();
  auto b = std::make_unique<Timer>();
  int fired = 0;
  a->set_callback([&] {
    ++fired;
    b.reset();
    a.reset();
  });
  b->set_callback([&] { ++fired; });
  a->arm(queue, 1);
  b->arm(queue, 1);
  EXPECT_EQ(queue.fire_due(1), 1u);
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(TimerQueue, TimerArmedByACallbackWaitsForTheNextCall) {
  TimerQueue queue;
  int fired = 0;
  Timer timer;
  timer.set_callback([&] {
    if (++fired < 5) timer.arm(queue, 1);
  });
  timer.arm(queue, 1);
  EXPECT_EQ(queue.fire_due(1), 1u);
  EXPECT_EQ(queue.fire_due(1), 1u);
  EXPECT_EQ(fired, 2);
}

TEST(TimerQueue, AgreesWithASortedListUnderRandomUse) {
  Rng rng(7);
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<Time> fired;
  for (int i = 0; i < 500; ++i)
    timers.push_back(std::make_unique<Timer>());
  Time now = 0;
  for (int round = 0; round < 2000; ++round) {
    Timer& timer = *timers[rng.up_to(timers.size() - 1)];
    if (rng.up_to(3) == 0) {
      timer.cancel();
    } else {
      const Time deadline = now + static_cast<Time>(rng.up_to(100));
      timer.set_callback([&fired, deadline] { fired.push_back(deadline); });
      timer.arm(queue, deadline);
    }
    if (rng.up_to(9) == 0) {
      now += static_cast<Time>(rng.up_to(30));
      Time earliest = kNever;
      for (auto& t : timers)
        earliest = std::min(earliest, t->deadline());
      ASSERT_EQ(queue.earliest(), earliest);
      fired.clear();
      queue.fire_due(now);
      for (size_t i = 1; i < fired.size(); ++i)
        ASSERT_LE(fired[i - 1], fired[i]);
      for (Time deadline : fired)
        ASSERT_LE(deadline, now);
      ASSERT_GT(queue.earliest(), now);
    }
  }
}

}  // namespace
}  // namespace conpool
