// The breaker by hand, in exact virtual times.
#include "policy/breaker.h"

#include <gtest/gtest.h>

#include <vector>

namespace conpool::policy {
namespace {

using State = Breaker::State;
using Force = Breaker::Force;

constexpr Time at(int64_t seconds) {
  return seconds * kSecond;
}

// Open times without a random part, so that each test can say when what happens.
BreakerOptions exact() {
  BreakerOptions options;
  options.open_jitter = 0;
  return options;
}

struct Rig {
  explicit Rig(const BreakerOptions& options = exact(), uint64_t seed = 1)
      : breaker(options, seed) {}
  Breaker breaker;
  Time now = 0;

  CallPermit admit() { return breaker.admit(now); }
  void report(CallPermit& permit, CallOutcome outcome) { breaker.report(permit, outcome, now); }
  bool call(CallOutcome outcome) {
    CallPermit permit = admit();
    const bool held = permit.held();
    report(permit, outcome);
    EXPECT_FALSE(permit.held());
    return held;
  }
  bool good() { return call(CallOutcome::Success); }
  bool bad() { return call(CallOutcome::Failure); }
  // Ten failures in a row.
  void trip() {
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(breaker.state(), State::Closed);
      ASSERT_TRUE(bad());
    }
    ASSERT_EQ(breaker.state(), State::Open);
  }
  // To the half-open state, with its first trial.
  CallPermit first_trial() {
    now = breaker.retry_at(now);
    CallPermit permit = admit();
    EXPECT_TRUE(permit.held());
    EXPECT_NE(permit.trial, 0u);
    EXPECT_EQ(breaker.state(), State::HalfOpen);
    return permit;
  }
  void recover() {
    now = breaker.retry_at(now);
    for (int i = 0; i < 3; ++i)
      ASSERT_TRUE(good());
    ASSERT_EQ(breaker.state(), State::Closed);
  }
};

// --- the rule ------------------------------------------------------------------------------------

TEST(BreakerRule, TenFailuresInARowOpenIt) {
  Rig rig;
  for (int i = 0; i < 9; ++i)
    rig.bad();
  rig.good();
  for (int i = 0; i < 9; ++i) {
    rig.now += 30 * kSecond;  // a run has no time: that is what catches an endpoint of few calls
    rig.bad();
  }
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.opened(), 1u);
  EXPECT_FALSE(rig.admit().held());
}

TEST(BreakerRule, HalfOfTwentyOpensItAndOneLessDoesNot) {
  for (const int failures : {9, 10}) {
    Rig rig;
    for (int i = 0; i < 10; ++i)
      rig.good();
    for (int i = 0; i < failures - 1; ++i)
      rig.bad();
    if (failures == 9) rig.good();
    EXPECT_EQ(rig.breaker.state(), State::Closed);
    rig.bad();  // the 20th
    EXPECT_EQ(rig.breaker.state(), failures == 10 ? State::Open : State::Closed) << failures;
    EXPECT_EQ(rig.breaker.window(rig.now).calls, 20u);
  }
}

TEST(BreakerRule, FewerThanMinCallsNeverOpenItByTheirShare) {
  BreakerOptions options = exact();
  options.consecutive = 0;
  Rig rig(options);
  for (int i = 0; i < 19; ++i)
    rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
}

TEST(BreakerRule, ASuccessNeverOpensIt) {
  BreakerOptions options = exact();
  options.consecutive = 0;
  Rig rig(options);
  for (int i = 0; i < 19; ++i)
    rig.bad();
  rig.good();  // 19 of 20 are failures, but this call says that the server works
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
}

TEST(BreakerRule, OutcomesLeaveTheWindowByNumberAndByTime) {
  BreakerOptions options = exact();
  options.consecutive = 0;
  Rig rig(options);
  for (int i = 0; i < 40; ++i) {
    rig.good();
    rig.good();
    rig.bad();
  }
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 100u);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, 34u);
  for (int i = 0; i < 100; ++i)
    rig.good();
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 100u);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, 0u);
  rig.now = at(1);
  rig.bad();
  EXPECT_EQ(rig.breaker.window(at(10) - 1).calls, 100u);
  EXPECT_EQ(rig.breaker.window(at(10)).calls, 1u);  // those of time 0 are 10 s old
  EXPECT_EQ(rig.breaker.window(at(10)).failures, 1u);
  EXPECT_EQ(rig.breaker.window(at(11)).calls, 0u);
}

TEST(BreakerRule, ExpiredSuccessesDoNotHideAnOutage) {
  BreakerOptions options = exact();
  options.consecutive = 0;
  Rig rig(options);
  for (int i = 0; i < 100; ++i)
    rig.good();
  rig.now = at(10);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(rig.breaker.state(), State::Closed);
    rig.bad();
  }
  EXPECT_EQ(rig.breaker.state(), State::Open);
}

TEST(BreakerRule, NoOutcomeNoOpening) {
  Rig rig;
  for (int day = 0; day < 1000; ++day) {
    rig.now = day * 24 * kHour;
    CallPermit permit = rig.admit();
    ASSERT_TRUE(permit.held());
    ASSERT_EQ(rig.breaker.window(rig.now).calls, 0u);
    if (day % 2 == 0) rig.report(permit, CallOutcome::Ignored);
  }
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
}

TEST(BreakerRule, IgnoredCallsDoNotEndARun) {
  Rig rig;
  for (int i = 0; i < 9; ++i) {
    rig.bad();
    rig.call(CallOutcome::Ignored);
  }
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 9u);
  rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
}

TEST(BreakerRule, NumbersThatContradictEachOtherAreReconciled) {
  BreakerOptions options = exact();
  options.window_calls = 4;  // below min_calls
  options.consecutive = 0;
  options.trial_successes = 8;  // above trial_calls
  options.open = kMinute;
  options.open_max = kSecond;
  Rig rig(options);
  for (int i = 0; i < 4; ++i)
    rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.open_time(), kSecond);
  rig.now = rig.breaker.retry_at(rig.now);
  for (int i = 0; i < 8; ++i) {
    ASSERT_NE(rig.breaker.state(), State::Closed);
    ASSERT_TRUE(rig.good());
  }
  EXPECT_EQ(rig.breaker.state(), State::Closed);
}

TEST(BreakerRule, OffItKeepsItsWindowAndNeverOpens) {
  BreakerOptions options = exact();
  options.on = false;
  Rig rig(options);
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(rig.bad());
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, 100u);
  rig.breaker.force(Force::Open, rig.now);
  EXPECT_FALSE(rig.bad());
}

// --- open ----------------------------------------------------------------------------------------

TEST(BreakerOpen, ItRefusesUntilItsTimeEndsAndSaysWhen) {
  Rig rig;
  rig.now = at(7);
  rig.trip();
  EXPECT_EQ(rig.breaker.open_time(), at(5));
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(12));
  rig.now = at(12) - 1;
  EXPECT_FALSE(rig.admit().held());
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(12));
  EXPECT_EQ(rig.breaker.retry_at(at(12)), at(12));
  EXPECT_EQ(rig.breaker.retry_at(at(50)), at(50));
  rig.now = at(12);
  CallPermit trial = rig.admit();
  EXPECT_TRUE(trial.held());
  EXPECT_EQ(rig.breaker.state(), State::HalfOpen);
}

TEST(BreakerOpen, LateResultsNeverLengthenIt) {
  Rig rig;
  std::vector<CallPermit> running;
  for (int i = 0; i < 50; ++i)
    running.push_back(rig.admit());
  rig.trip();
  const uint64_t generation = rig.breaker.generation();
  const Breaker::Window window = rig.breaker.window(rig.now);
  for (size_t i = 0; i < 40; ++i) {
    rig.now += 100 * kMillisecond;
    rig.report(running[i], i % 2 == 0 ? CallOutcome::Failure : CallOutcome::Success);
    EXPECT_FALSE(running[i].held());
    ASSERT_EQ(rig.breaker.retry_at(rig.now), at(5));
  }
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.opened(), 1u);
  EXPECT_EQ(rig.breaker.generation(), generation);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, window.calls);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, window.failures);
}

TEST(BreakerOpen, ResultsOfAnEarlierGenerationChangeNothing) {
  Rig rig;
  std::vector<CallPermit> running;
  for (int i = 0; i < 30; ++i)
    running.push_back(rig.admit());
  rig.trip();
  CallPermit trial = rig.first_trial();
  // Half-open: old failures neither open it again, nor do old successes close it or free the trial.
  for (size_t i = 0; i < 10; ++i) {
    rig.report(running[i], i < 5 ? CallOutcome::Failure : CallOutcome::Success);
    ASSERT_EQ(rig.breaker.state(), State::HalfOpen);
    ASSERT_EQ(rig.breaker.trials_running(), 1u);
  }
  rig.report(trial, CallOutcome::Success);
  rig.good();
  rig.good();
  ASSERT_EQ(rig.breaker.state(), State::Closed);
  // Closed again: ten old failures are no run.
  for (size_t i = 10; i < 30; ++i)
    rig.report(running[i], CallOutcome::Failure);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
}

TEST(BreakerOpen, APermitReportsOnce) {
  Rig rig;
  for (int i = 0; i < 5; ++i)
    rig.bad();
  CallPermit permit = rig.admit();
  for (int i = 0; i < 20; ++i)
    rig.report(permit, CallOutcome::Failure);
  CallPermit none;
  for (int i = 0; i < 20; ++i)
    rig.report(none, CallOutcome::Failure);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, 6u);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
}

TEST(BreakerOpen, TheOpenTimeDoublesToItsCap) {
  Rig rig;
  rig.trip();
  for (const int64_t seconds : {5, 10, 20, 40, 80, 120, 120, 120}) {
    ASSERT_EQ(rig.breaker.open_time(), at(seconds));
    ASSERT_EQ(rig.breaker.retry_at(rig.now), rig.now + at(seconds));
    CallPermit trial = rig.first_trial();
    rig.report(trial, CallOutcome::Failure);
    rig.bad();
    rig.bad();
    ASSERT_EQ(rig.breaker.state(), State::Open);
  }
}

TEST(BreakerOpen, EqualJitterTakesUpToHalfOff) {
  Nanos least = kNever;
  Nanos most = 0;
  std::vector<int> bins(20, 0);
  constexpr int kSeeds = 20'000;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Rig rig(BreakerOptions{}, seed);
    for (int i = 0; i < 10; ++i)
      rig.bad();
    const Nanos time = rig.breaker.open_time();
    ASSERT_GE(time, 2500 * kMillisecond);
    ASSERT_LE(time, 5000 * kMillisecond);
    least = std::min(least, time);
    most = std::max(most, time);
    ++bins[std::min<size_t>(
        19, static_cast<size_t>((time - 2500 * kMillisecond) / (125 * kMillisecond)))];
  }
  double chi = 0;
  for (const int n : bins)
    chi += (n - 1000.0) * (n - 1000.0) / 1000.0;
  EXPECT_LT(chi, 45);  // 19 degrees of freedom: p < 0.001
  EXPECT_LT(least, 2510 * kMillisecond);
  EXPECT_GT(most, 4990 * kMillisecond);
}

TEST(BreakerOpen, TheSameSeedOpensForTheSameTimes) {
  Rig a(BreakerOptions{}, 42);
  Rig b(BreakerOptions{}, 42);
  for (Rig* rig : {&a, &b}) {
    for (int opening = 0; opening < 5; ++opening) {
      rig->trip();
      rig->recover();
    }
  }
  EXPECT_EQ(a.now, b.now);
  EXPECT_EQ(a.breaker.open_time(), b.breaker.open_time());
}

// --- decay ---------------------------------------------------------------------------------------

TEST(BreakerDecay, AFlappingServerGetsLongerTimes) {
  Rig rig;
  for (const int64_t seconds : {5, 10, 20, 40, 80, 120, 120}) {
    rig.trip();
    ASSERT_EQ(rig.breaker.open_time(), at(seconds));
    rig.recover();
    rig.now += 4 * kSecond;  // less than one open time of health each
  }
  EXPECT_EQ(rig.breaker.closed(), 7u);
}

TEST(BreakerDecay, OneStepFallsForEachOpenTimeSpentClosed) {
  // After openings of 5, 10 and 20 s the next would last 40 s.
  const struct {
    Nanos closed;
    int64_t next;
  } kCases[] = {{0, 40},          {at(5) - 1, 40}, {at(5), 20}, {at(10) - 1, 20}, {at(10), 10},
                {at(15) - 1, 10}, {at(15), 5},     {at(20), 5}, {24 * kHour, 5}};
  for (const auto& entry : kCases) {
    Rig rig;
    for (int i = 0; i < 3; ++i) {
      rig.trip();
      rig.recover();
    }
    rig.now += entry.closed;
    rig.trip();
    EXPECT_EQ(rig.breaker.open_time(), at(entry.next)) << entry.closed;
  }
}

TEST(BreakerDecay, TimeSpentOpenOrHalfOpenDoesNotCount) {
  Rig rig;
  rig.trip();
  rig.recover();
  rig.trip();
  ASSERT_EQ(rig.breaker.open_time(), at(10));
  rig.now += kHour;  // nobody called
  rig.recover();
  rig.trip();
  EXPECT_EQ(rig.breaker.open_time(), at(20));
}

TEST(BreakerDecay, TheCapIsLeftAsFastAsItWasReached) {
  Rig rig;
  for (int i = 0; i < 500; ++i) {
    rig.trip();
    rig.recover();
  }
  EXPECT_EQ(rig.breaker.open_time(), at(120));
  rig.now += 25 * kSecond;  // five steps
  rig.trip();
  EXPECT_EQ(rig.breaker.open_time(), at(5));
}

// --- half-open -----------------------------------------------------------------------------------

TEST(BreakerHalfOpen, ThreeGoodTrialsCloseItAndEmptyTheWindow) {
  Rig rig;
  rig.trip();
  CallPermit trial = rig.first_trial();
  rig.report(trial, CallOutcome::Success);
  EXPECT_EQ(rig.breaker.state(), State::HalfOpen);
  rig.good();
  EXPECT_EQ(rig.breaker.state(), State::HalfOpen);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 12u);
  rig.good();
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
  EXPECT_EQ(rig.breaker.trials_made(), 3u);
  EXPECT_EQ(rig.breaker.closed(), 1u);
  // Nor does the run that opened it go on.
  for (int i = 0; i < 9; ++i)
    rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Closed);
}

TEST(BreakerHalfOpen, ThreeBadTrialsOfFiveOpenItAgain) {
  // Every order of outcomes: it ends exactly when the answer is known.
  for (uint32_t bits = 0; bits < 32; ++bits) {
    Rig rig;
    rig.trip();
    rig.now = rig.breaker.retry_at(rig.now);
    int good = 0;
    int bad = 0;
    for (uint32_t i = 0; good < 3 && bad < 3; ++i) {
      const bool fails = (bits >> i & 1) != 0;
      ASSERT_TRUE(rig.call(fails ? CallOutcome::Failure : CallOutcome::Success));
      ++(fails ? bad : good);
      ASSERT_EQ(rig.breaker.state(), good == 3  ? State::Closed
                                     : bad == 3 ? State::Open
                                                : State::HalfOpen)
          << bits;
    }
  }
}

TEST(BreakerHalfOpen, NeverMoreTrialsAtOnceThanTheLimit) {
  for (const uint32_t limit : {1u, 2u, 5u}) {
    BreakerOptions options = exact();
    options.trials = limit;
    Rig rig(options);
    rig.trip();
    rig.now = rig.breaker.retry_at(rig.now);
    std::vector<CallPermit> held;
    for (int i = 0; i < 100; ++i) {
      CallPermit permit = rig.admit();
      if (permit.held()) held.push_back(permit);
    }
    EXPECT_EQ(held.size(), limit);
    EXPECT_EQ(rig.breaker.trials_running(), limit);
    rig.report(held.back(), CallOutcome::Success);
    if (limit > 3) continue;
    EXPECT_TRUE(rig.admit().held());
    EXPECT_FALSE(rig.admit().held());
  }
}

TEST(BreakerHalfOpen, AnIgnoredTrialGivesItsPlaceBack) {
  Rig rig;
  rig.trip();
  CallPermit trial = rig.first_trial();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(rig.admit().held());
    rig.report(trial, CallOutcome::Ignored);
    ASSERT_EQ(rig.breaker.state(), State::HalfOpen);
    ASSERT_EQ(rig.breaker.trials_running(), 0u);
    ASSERT_EQ(rig.breaker.retry_at(rig.now), rig.now);
    trial = rig.admit();
    ASSERT_TRUE(trial.held());
  }
  rig.report(trial, CallOutcome::Ignored);
  rig.recover();
}

TEST(BreakerHalfOpen, ALostTrialGivesItsPlaceBackWhenItsLeaseEnds) {
  Rig rig;
  rig.trip();
  const CallPermit lost = rig.first_trial();
  EXPECT_TRUE(lost.held());
  EXPECT_EQ(rig.now, at(5));
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(35));
  rig.now = at(35) - 1;
  EXPECT_FALSE(rig.admit().held());
  rig.now = at(35);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(35));
  CallPermit next = rig.admit();
  EXPECT_TRUE(next.held());
  EXPECT_NE(next.trial, lost.trial);
  EXPECT_EQ(rig.breaker.trials_running(), 1u);
  rig.report(next, CallOutcome::Success);
  rig.recover();
}

TEST(BreakerHalfOpen, EveryTrialLostItStillLetsOneThroughPerLease) {
  Rig rig;
  rig.trip();
  rig.first_trial();
  for (int i = 0; i < 100; ++i) {
    rig.now = rig.breaker.retry_at(rig.now);
    ASSERT_TRUE(rig.admit().held());
    ASSERT_EQ(rig.now, at(5 + 30 * (i + 1)));
  }
}

TEST(BreakerHalfOpen, AnOutcomeAfterTheLeaseStillCountsAndFreesNobodyElsesPlace) {
  Rig rig;
  rig.trip();
  CallPermit slow = rig.first_trial();
  rig.now += at(30);
  CallPermit second = rig.admit();
  ASSERT_TRUE(second.held());
  rig.report(slow, CallOutcome::Failure);
  EXPECT_EQ(rig.breaker.trials_running(), 1u);
  EXPECT_FALSE(rig.admit().held());
  rig.report(second, CallOutcome::Failure);
  rig.bad();  // the third bad one: calls slower than the lease do not keep it half-open
  EXPECT_EQ(rig.breaker.state(), State::Open);
}

TEST(BreakerHalfOpen, ATrialOfAnEarlierHalfOpenIsLate) {
  BreakerOptions options = exact();
  options.trials = 4;
  Rig rig(options);
  rig.trip();
  CallPermit late = rig.first_trial();
  for (int i = 0; i < 3; ++i)
    rig.bad();
  ASSERT_EQ(rig.breaker.state(), State::Open);
  const Time until = rig.breaker.retry_at(rig.now);
  CallPermit copy = late;
  rig.report(late, CallOutcome::Failure);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), until);
  CallPermit trial = rig.first_trial();
  rig.report(copy, CallOutcome::Success);
  EXPECT_EQ(rig.breaker.trials_running(), 1u);
  rig.report(trial, CallOutcome::Success);
  EXPECT_EQ(rig.breaker.state(), State::HalfOpen);
}

// --- force ---------------------------------------------------------------------------------------

TEST(BreakerForce, OpenStaysOpenAndNamesNoTime) {
  Rig rig;
  CallPermit running = rig.admit();
  rig.breaker.force(Force::Open, rig.now);
  EXPECT_EQ(rig.breaker.forced(), Force::Open);
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), kNever);
  rig.report(running, CallOutcome::Success);
  rig.now = 1000 * 24 * kHour;
  EXPECT_FALSE(rig.admit().held());
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.opened(), 0u);
}

TEST(BreakerForce, ClosedStaysClosedWhateverFails) {
  Rig rig;
  rig.trip();
  rig.breaker.force(Force::Closed, rig.now);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), rig.now);
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(rig.bad());
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  EXPECT_EQ(rig.breaker.window(rig.now).failures, 100u);
}

TEST(BreakerForce, AutoBeginsAnew) {
  for (const Force force : {Force::Open, Force::Closed}) {
    Rig rig;
    for (int i = 0; i < 3; ++i) {
      rig.trip();
      rig.recover();
    }
    std::vector<CallPermit> running;
    for (int i = 0; i < 20; ++i)
      running.push_back(rig.admit());
    rig.breaker.force(force, rig.now);
    if (force == Force::Closed) {
      for (int i = 0; i < 50; ++i)
        rig.bad();
      for (int i = 0; i < 20; ++i)
        running.push_back(rig.admit());
    }
    rig.breaker.force(Force::Auto, rig.now);
    EXPECT_EQ(rig.breaker.state(), State::Closed);
    EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
    for (CallPermit& permit : running)
      rig.report(permit, CallOutcome::Failure);
    EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
    rig.trip();
    EXPECT_EQ(rig.breaker.open_time(), at(5));
  }
}

TEST(BreakerForce, WhatIsInForceAlreadyChangesNothing) {
  Rig rig;
  rig.trip();
  const uint64_t generation = rig.breaker.generation();
  rig.breaker.force(Force::Auto, rig.now);
  EXPECT_EQ(rig.breaker.state(), State::Open);
  EXPECT_EQ(rig.breaker.generation(), generation);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(5));
}

TEST(BreakerForce, FromHalfOpenTheTrialsAreLate) {
  Rig rig;
  rig.trip();
  CallPermit trial = rig.first_trial();
  rig.breaker.force(Force::Open, rig.now);
  EXPECT_EQ(rig.breaker.trials_running(), 0u);
  rig.breaker.force(Force::Auto, rig.now);
  rig.report(trial, CallOutcome::Failure);
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
}

// --- clocks --------------------------------------------------------------------------------------

TEST(BreakerClock, BackwardsItStands) {
  Rig rig;
  rig.now = at(100);
  rig.trip();
  rig.now = at(3);  // a step of 97 s back
  EXPECT_FALSE(rig.admit().held());
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(105));
  rig.now = -at(1'000'000);
  EXPECT_FALSE(rig.admit().held());
  rig.now = at(105);
  EXPECT_TRUE(rig.admit().held());
  rig.now = at(1);
  EXPECT_EQ(rig.breaker.trials_running(), 1u);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), at(135));
  rig.now = at(135);
  rig.recover();
  // Outcomes do not become older, nor younger than they are, and nothing trips by the step.
  rig.now = at(2);
  for (int i = 0; i < 9; ++i)
    rig.bad();
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 9u);
  EXPECT_EQ(rig.breaker.retry_at(rig.now), rig.now);
  EXPECT_EQ(rig.breaker.window(at(145)).calls, 0u);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
}

TEST(BreakerClock, DaysForwardItForgetsAndGoesOn) {
  Rig rig;
  for (int i = 0; i < 9; ++i)
    rig.bad();
  rig.now += 30 * 24 * kHour;
  EXPECT_EQ(rig.breaker.window(rig.now).calls, 0u);
  EXPECT_EQ(rig.breaker.state(), State::Closed);
  rig.bad();
  EXPECT_EQ(rig.breaker.state(), State::Open);
  rig.now += 30 * 24 * kHour;
  rig.first_trial();
  rig.now += 30 * 24 * kHour;
  rig.recover();
}

TEST(BreakerClock, TheEndOfTimeHoldsNoOverflow) {
  BreakerOptions options = exact();
  options.open = kNever;
  options.open_max = kNever;
  options.open_jitter = 100;
  options.window = kNever;
  options.trial_lease = kNever;
  for (const Time start : {Time{0}, kNever - 5, kNever}) {
    Rig rig(options);
    rig.now = start;
    rig.trip();
    rig.now = kNever;
    CallPermit trial = rig.admit();
    rig.report(trial, CallOutcome::Success);
    EXPECT_LE(rig.breaker.window(kNever).calls, 11u);
  }
}

// --- options -------------------------------------------------------------------------------------

TEST(BreakerOptionsTest, ComeFromSettings) {
  Values values = default_values();
  const BreakerOptions defaults;
  BreakerOptions options = breaker_options(values);
  EXPECT_EQ(options.on, defaults.on);
  EXPECT_EQ(options.window_calls, defaults.window_calls);
  EXPECT_EQ(options.window, defaults.window);
  EXPECT_EQ(options.min_calls, defaults.min_calls);
  EXPECT_EQ(options.failure_rate, defaults.failure_rate);
  EXPECT_EQ(options.consecutive, defaults.consecutive);
  EXPECT_EQ(options.open, defaults.open);
  EXPECT_EQ(options.open_max, defaults.open_max);
  EXPECT_EQ(options.open_factor, defaults.open_factor);
  EXPECT_EQ(options.open_jitter, defaults.open_jitter);
  EXPECT_EQ(options.trials, defaults.trials);
  EXPECT_EQ(options.trial_successes, defaults.trial_successes);
  EXPECT_EQ(options.trial_calls, defaults.trial_calls);
  EXPECT_EQ(options.trial_lease, defaults.trial_lease);
  values.breaker_mode = static_cast<int64_t>(BreakerMode::Off);
  values.breaker_window_calls = 1;
  values.breaker_window = 2;
  values.breaker_min_calls = 3;
  values.breaker_failure_rate = 4;
  values.breaker_consecutive = 5;
  values.breaker_open = 6;
  values.breaker_open_max = 7;
  values.breaker_open_factor = 8;
  values.breaker_open_jitter = 9;
  values.breaker_trials = 10;
  values.breaker_trial_successes = 11;
  values.breaker_trial_calls = 12;
  values.breaker_trial_lease = 13;
  options = breaker_options(values);
  EXPECT_FALSE(options.on);
  EXPECT_EQ(options.window_calls, 1u);
  EXPECT_EQ(options.window, 2);
  EXPECT_EQ(options.min_calls, 3u);
  EXPECT_EQ(options.failure_rate, 4u);
  EXPECT_EQ(options.consecutive, 5u);
  EXPECT_EQ(options.open, 6);
  EXPECT_EQ(options.open_max, 7);
  EXPECT_EQ(options.open_factor, 8u);
  EXPECT_EQ(options.open_jitter, 9u);
  EXPECT_EQ(options.trials, 10u);
  EXPECT_EQ(options.trial_successes, 11u);
  EXPECT_EQ(options.trial_calls, 12u);
  EXPECT_EQ(options.trial_lease, 13);
}

}  // namespace
}  // namespace conpool::policy
