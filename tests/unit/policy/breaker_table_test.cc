// How the breaker behaves over a million calls: false openings, requests until it opens, recovery.
// The figures of docs/resilience.md are those that this test prints.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "policy/breaker.h"

namespace conpool::policy {
namespace {

using State = Breaker::State;

// Calls at a steady rate that end at once, `percent` of them badly.
class Stream {
 public:
  Stream(uint64_t seed, Nanos gap) : breaker(BreakerOptions{}, seed), gap_(gap), rng_(~seed) {}

  Breaker breaker;
  uint64_t admitted = 0;
  uint64_t refused = 0;
  uint64_t trips = 0;      // closed → open
  uint64_t reopened = 0;   // half-open → open
  uint64_t recovered = 0;  // half-open → closed

  State call(uint32_t percent) {
    now_ += gap_;
    CallPermit permit = breaker.admit(now_);
    if (!permit.held()) {
      ++refused;
      return breaker.state();
    }
    ++admitted;
    const State before = breaker.state();
    const bool failed = rng_.up_to(99) < percent;
    breaker.report(permit, failed ? CallOutcome::Failure : CallOutcome::Success, now_);
    const State after = breaker.state();
    if (before != after) {
      ++(before == State::Closed ? trips : after == State::Open ? reopened : recovered);
    }
    return after;
  }
  Time now() const { return now_; }

 private:
  Nanos gap_;
  Rng rng_;
  Time now_ = 0;
};

// The whole row of one share of failures: trips per million calls at 100 a second, over the seeds.
TEST(BreakerTable, FalseOpeningsPerMillionRequests) {
  const struct {
    uint32_t percent;
    int runs;
    double least, most;  // per million
  } kRows[] = {{1, 1, 0, 0}, {5, 1, 0, 0}, {10, 1, 0, 0}, {20, 1, 0, 0}, {30, 4, 3, 13}};
  for (const auto& row : kRows) {
    uint64_t trips = 0;
    uint64_t refused = 0;
    for (int run = 0; run < row.runs; ++run) {
      Stream stream(static_cast<uint64_t>(run) + 1, 10 * kMillisecond);
      while (stream.admitted < 1'000'000)
        stream.call(row.percent);
      trips += stream.trips;
      refused += stream.refused;
    }
    const double mean = static_cast<double>(trips) / row.runs;
    std::printf("%2u %% failures at 100 rps: %.1f false openings in 1e6 requests, %.0f refused\n",
                row.percent, mean, static_cast<double>(refused) / row.runs);
    EXPECT_GE(mean, row.least) << row.percent;
    EXPECT_LE(mean, row.most) << row.percent;
  }
}

// A full outage after a healthy minute: ten requests at any rate. A pure share of a time window
// would never see it at 0.2 a second, and let 5,000 through at 1,000 a second.
TEST(BreakerTable, RequestsUntilItOpensInAFullOutage) {
  const struct {
    const char* rate;
    Nanos gap;
  } kRates[] = {{"0.2", 5 * kSecond},
                {"1", kSecond},
                {"10", 100 * kMillisecond},
                {"100", 10 * kMillisecond},
                {"1000", kMillisecond}};
  for (const auto& rate : kRates) {
    Stream stream(1, rate.gap);
    while (stream.now() < kMinute)
      ASSERT_EQ(stream.call(0), State::Closed);
    int requests = 1;
    while (stream.call(100) == State::Closed)
      ++requests;
    std::printf("full outage at %4s rps: opens after %d requests\n", rate.rate, requests);
    EXPECT_EQ(requests, 10) << rate.rate;
  }
}

TEST(BreakerTable, HalfOfTheRequestsFailing) {
  double sum = 0;
  uint64_t most = 0;
  constexpr int kSeeds = 1000;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Stream stream(seed, 10 * kMillisecond);
    for (int i = 0; i < 1000; ++i)
      stream.call(0);
    const uint64_t before = stream.admitted;
    while (stream.call(50) == State::Closed)
      ASSERT_LT(stream.now(), kHour);
    sum += static_cast<double>(stream.admitted - before);
    most = std::max(most, stream.admitted - before);
    // The server is well again: three good trials close it, at the end of the open time.
    ASSERT_GE(stream.breaker.open_time(), 2500 * kMillisecond);
    ASSERT_LE(stream.breaker.open_time(), 5 * kSecond);
    const uint64_t trials = stream.breaker.trials_made();
    while (stream.call(0) != State::Closed) {
    }
    ASSERT_EQ(stream.breaker.trials_made() - trials, 3u);
    ASSERT_EQ(stream.reopened, 0u);
    ASSERT_EQ(stream.recovered, 1u);
  }
  std::printf(
      "50 %% failures at 100 rps after 10 healthy seconds: opens after %.0f requests in the "
      "mean, %llu at most of %d seeds; closes after 3 good trials\n",
      sum / kSeeds, static_cast<unsigned long long>(most), kSeeds);
  EXPECT_LT(sum / kSeeds, 150);
}

// While the outage lasts, what goes to the server are trials: the open times grow to two minutes.
TEST(BreakerTable, CallsThatAnHourOfOutageLetsThrough) {
  Stream stream(1, 10 * kMillisecond);
  while (stream.now() < kHour)
    stream.call(100);
  const Time ended = stream.now();
  std::printf("one hour of outage at 100 rps: %llu of 360000 requests sent, %llu openings\n",
              static_cast<unsigned long long>(stream.admitted),
              static_cast<unsigned long long>(stream.breaker.opened()));
  EXPECT_LT(stream.admitted, 200u);
  while (stream.call(0) != State::Closed) {
  }
  EXPECT_LE(stream.now() - ended, 2 * kMinute + kSecond);
}

}  // namespace
}  // namespace conpool::policy
