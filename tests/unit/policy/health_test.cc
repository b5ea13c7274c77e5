// Backoff, round trips and the health of one address.
#include <gtest/gtest.h>

#include "policy/address_health.h"
#include "policy/backoff.h"

namespace conpool::policy {
namespace {

using State = AddressHealth::State;
constexpr Nanos ms(int64_t n) {
  return n * kMillisecond;
}

TEST(Backoff, DoublesUpToTheCapAndNeverOverflows) {
  EXPECT_EQ(doubled(ms(100), ms(2000), 1), ms(100));
  EXPECT_EQ(doubled(ms(100), ms(2000), 2), ms(200));
  EXPECT_EQ(doubled(ms(100), ms(2000), 5), ms(1600));
  EXPECT_EQ(doubled(ms(100), ms(2000), 6), ms(2000));
  EXPECT_EQ(doubled(ms(100), ms(2000), UINT32_MAX), ms(2000));
  EXPECT_EQ(doubled(kHour, kHour * 1000000, 60), kHour * 1000000);
  EXPECT_EQ(doubled(1, kNever, 200), kNever);
  EXPECT_EQ(doubled(0, kHour, 100), 0);
  EXPECT_EQ(doubled(ms(500), ms(100), 1), ms(100));
}

TEST(Backoff, UpToHalfIsTakenOff) {
  Rng rng(1234567);
  std::vector<int> bins(20, 0);
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const Nanos delay = retry_delay(ms(100), ms(2000), 3, rng);
    ASSERT_GE(delay, ms(200));
    ASSERT_LE(delay, ms(400));
    ++bins[std::min<size_t>(19, static_cast<size_t>((delay - ms(200)) / ms(10)))];
  }
  double chi = 0;
  for (const int n : bins)
    chi += (n - 5000.0) * (n - 5000.0) / 5000.0;
  EXPECT_LT(chi, 45);  // 19 degrees of freedom: p < 0.001
}

TEST(Backoff, TheSameSeedDrawsTheSameDelays) {
  Rng a(42);
  Rng b(42);
  for (uint32_t i = 1; i < 20; ++i) {
    EXPECT_EQ(retry_delay(ms(100), ms(2000), i, a), retry_delay(ms(100), ms(2000), i, b));
  }
}

TEST(RoundTrips, FollowRfc6298) {
  RoundTrips rtt;
  rtt.add(ms(100));
  EXPECT_EQ(rtt.smoothed(), ms(100));
  EXPECT_EQ(rtt.variation(), ms(50));
  rtt.add(ms(180));
  EXPECT_EQ(rtt.smoothed(), ms(110));
  EXPECT_EQ(rtt.variation(), 57'500'000);  // 3/4 · 50 + 1/4 · |100 - 180|
}

TEST(RoundTrips, ST_23_TheDelayNeedsThreeSamplesAndStaysInItsBounds) {
  RoundTrips rtt;
  for (const int64_t sample : {30, 32})
    rtt.add(ms(sample));
  EXPECT_EQ(rtt.attempt_delay(ms(100), ms(2000)), 0);
  for (const int64_t sample : {28, 30, 31, 29})
    rtt.add(ms(sample));
  EXPECT_EQ(rtt.attempt_delay(ms(100), ms(2000)), ms(100));
  RoundTrips slow;
  for (int i = 0; i < 3; ++i)
    slow.add(ms(900));
  EXPECT_GT(slow.attempt_delay(ms(100), ms(2000)), ms(1000));
  EXPECT_LE(slow.attempt_delay(ms(100), ms(2000)), ms(2000));
  slow.flush();
  EXPECT_EQ(slow.attempt_delay(ms(100), ms(2000)), 0);
}

TEST(RoundTrips, AbsurdSamplesAreCutOff) {
  RoundTrips rtt;
  for (int i = 0; i < 5; ++i)
    rtt.add(kNever);
  rtt.add(-5);
  EXPECT_LE(rtt.attempt_delay(ms(100), ms(2000)), ms(2000));
}

TEST(Blame, FallsOnTheAddressForItsOwnFaultsOnly) {
  const auto blame = [](Status status) { return blame_of(Failure{.status = status}); };
  EXPECT_EQ(blame(Status::E_CONNECT_REFUSED), Blame::Failed);
  EXPECT_EQ(blame(Status::E_CONNECT_UNREACHABLE), Blame::Failed);
  EXPECT_EQ(blame(Status::E_CONNECTION_RESET), Blame::Failed);
  EXPECT_EQ(blame(Status::E_TLS_HANDSHAKE), Blame::Failed);
  EXPECT_EQ(blame(Status::E_CONNECT_TIMEOUT), Blame::Silent);
  EXPECT_EQ(blame(Status::E_TLS_TIMEOUT), Blame::Silent);
  for (const Status status :
       {Status::E_TLS_CERTIFICATE, Status::E_TLS_CONFIG, Status::E_FD_LIMIT, Status::E_NOMEM,
        Status::E_CANCELLED, Status::E_CLOSED, Status::E_TIMEOUT, Status::E_DIAL_TIMEOUT}) {
    EXPECT_EQ(blame(status), Blame::None) << status_name(status);
  }
}

struct Health {
  AddressHealth health;
  HealthOptions options;
  Rng rng{1};
  // Fails with an attempt that began right now; answers the cooldown.
  Nanos fail(Time now, Blame blame) {
    health.failed(now, now, blame, options, rng);
    return health.cooling_until() - now;
  }
};

TEST(AddressHealthTest, TheCooldownDoublesWithEachFailureOfAProbe) {
  Health h;
  Time now = 0;
  Nanos expected = kSecond;
  for (int i = 0; i < 12; ++i) {
    const Nanos cooldown = h.fail(now, Blame::Failed);
    ASSERT_EQ(h.health.state(), State::Cooling);
    ASSERT_GE(cooldown, expected - expected / 5);
    ASSERT_LE(cooldown, expected + expected / 5);
    now = h.health.cooling_until();
    ASSERT_FALSE(h.health.wants_probe(now - 1));
    ASSERT_TRUE(h.health.wants_probe(now));
    h.health.probe_started();
    ASSERT_EQ(h.health.state(), State::Probing);
    ASSERT_FALSE(h.health.wants_probe(now));
    expected = std::min(expected * 2, h.options.cooldown_max);
  }
}

TEST(AddressHealthTest, TheJitterSpreadsTheProbes) {
  Nanos least = kNever;
  Nanos most = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Health h;
    h.rng = Rng(seed);
    const Nanos cooldown = h.fail(0, Blame::Failed);
    least = std::min(least, cooldown);
    most = std::max(most, cooldown);
  }
  EXPECT_LT(least, ms(810));
  EXPECT_GT(most, ms(1190));
}

TEST(AddressHealthTest, SilenceWeighsTwice) {
  Health h;
  const Nanos cooldown = h.fail(0, Blame::Silent);
  EXPECT_GE(cooldown, ms(1600));
  EXPECT_LE(cooldown, ms(2400));
}

TEST(AddressHealthTest, ASoftFailureWeighsHalf) {
  Health h;
  h.fail(0, Blame::Soft);
  EXPECT_EQ(h.health.state(), State::Healthy);
  h.fail(1, Blame::Soft);
  EXPECT_EQ(h.health.state(), State::Cooling);
}

TEST(AddressHealthTest, SuccessResets) {
  Health h;
  h.fail(0, Blame::Silent);
  h.health.succeeded();
  EXPECT_EQ(h.health.state(), State::Healthy);
  EXPECT_EQ(h.health.weight(), 0u);
  EXPECT_LE(h.fail(ms(1), Blame::Failed), ms(1200));
}

TEST(AddressHealthTest, FailuresOfOneOutageCountOnce) {
  Health h;
  h.health.failed(ms(100), 0, Blame::Failed, h.options, h.rng);
  const Time until = h.health.cooling_until();
  // Parallel attempts, attempts during the cooldown, and a late one from before it.
  for (int i = 0; i < 40; ++i) {
    h.health.failed(ms(100) + i, ms(50), Blame::Failed, h.options, h.rng);
    h.health.failed(ms(200) + i, ms(150), Blame::Failed, h.options, h.rng);
  }
  h.health.failed(until + 1, ms(99), Blame::Silent, h.options, h.rng);
  EXPECT_EQ(h.health.cooling_until(), until);
  EXPECT_EQ(h.health.weight(), 2u);
}

TEST(AddressHealthTest, SuspicionEndsWithItsAttempt) {
  AddressHealth health;
  health.slow();
  health.slow();
  EXPECT_EQ(health.state(), State::Suspect);
  health.slow_ended();
  EXPECT_EQ(health.state(), State::Suspect);
  health.slow_ended();
  EXPECT_EQ(health.state(), State::Healthy);
  health.slow();
  health.connected(5);
  EXPECT_EQ(health.state(), State::Healthy);
  health.slow_ended();
  EXPECT_EQ(health.state(), State::Healthy);
}

TEST(AddressHealthTest, ProofIsShortLived) {
  Health h;
  EXPECT_FALSE(h.health.proven(0));
  h.health.connected(ms(10));
  EXPECT_TRUE(h.health.proven(ms(259)));
  EXPECT_FALSE(h.health.proven(ms(260)));
  h.health.connected(ms(300));
  h.fail(ms(301), Blame::Failed);
  EXPECT_FALSE(h.health.proven(ms(302)));
}

TEST(AddressHealthTest, AnAbandonedProbeLeavesTheNextDialToProbe) {
  Health h;
  h.fail(0, Blame::Failed);
  const Time until = h.health.cooling_until();
  h.health.probe_started();
  h.health.probe_abandoned(until + 5);
  EXPECT_EQ(h.health.state(), State::Cooling);
  EXPECT_TRUE(h.health.wants_probe(until + 5));
}

TEST(AddressHealthTest, S4_ANewNetworkForgetsButStillCountsWhatRuns) {
  Health h;
  h.health.slow();
  h.fail(0, Blame::Silent);
  h.health.flush();
  EXPECT_EQ(h.health.state(), State::Healthy);
  EXPECT_EQ(h.health.weight(), 0u);
  h.health.slow_ended();
  EXPECT_EQ(h.health.state(), State::Healthy);
}

}  // namespace
}  // namespace conpool::policy
