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

TEST(Backoff, ReconnectsGrowByEightFifths) {
  const Nanos kDelays[] = {250'000'000,   400'000'000,   640'000'000,   1'024'000'000,
                           1'638'400'000, 2'621'440'000, 4'194'304'000, 6'710'886'400};
  for (uint32_t step = 1; step <= 8; ++step)
    EXPECT_EQ(grown(ms(250), 30 * kSecond, step), kDelays[step - 1]);
  EXPECT_EQ(grown(ms(250), 30 * kSecond, 11), 27'487'790'694);
  EXPECT_EQ(grown(ms(250), 30 * kSecond, 12), 30 * kSecond);
  EXPECT_EQ(grown(ms(250), 30 * kSecond, UINT32_MAX), 30 * kSecond);
  EXPECT_EQ(grown(ms(250), 30 * kSecond, 0), ms(250));
  EXPECT_EQ(grown(ms(500), ms(100), 1), ms(100));
  EXPECT_EQ(grown(1, kNever, 1000), 1);  // 8/5 of one is one
  EXPECT_EQ(grown(5, kNever, 1000), kNever);
  EXPECT_EQ(grown(kNever, kNever, 7), kNever);
}

TEST(Backoff, ReconnectsAreSpreadByAFifthAndNeverFormAHotLoop) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Rng rng(seed);
    for (uint32_t step = 1; step <= 20; ++step) {
      const Nanos plain = grown(ms(250), 30 * kSecond, step);
      const Nanos delay = reconnect_delay(ms(250), 30 * kSecond, step, rng);
      ASSERT_GE(delay, plain - plain / 5);
      ASSERT_LE(delay, plain + plain / 5);
    }
    ASSERT_EQ(reconnect_delay(0, 0, 1, rng), kLeastReconnect);
    ASSERT_EQ(reconnect_delay(0, kHour, 1000, rng), kLeastReconnect);
    ASSERT_EQ(reconnect_delay(1, 5, 9, rng), kLeastReconnect);
    ASSERT_GE(reconnect_delay(kNever, kNever, 3, rng), kNever / 10 * 7);
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

TEST(AddressHealthTest, TheCooldownGrowsWithEachFailureOfAProbe) {
  Health h;
  Time now = 0;
  for (uint32_t step = 1; step <= 16; ++step) {
    const Nanos expected = grown(h.options.cooldown, h.options.cooldown_max, step);
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
  EXPECT_LT(least, ms(203));
  EXPECT_GT(most, ms(297));
}

TEST(AddressHealthTest, SilenceWeighsThreeTimesInTheBackoffAndOnceInTheRow) {
  Health h;
  const Nanos cooldown = h.fail(0, Blame::Silent);
  EXPECT_GE(cooldown, ms(640) / 5 * 4);
  EXPECT_LE(cooldown, ms(640) / 5 * 6);
  EXPECT_EQ(h.health.failures(), 1u);
  const Nanos second = h.fail(10 * kSecond, Blame::Silent);
  EXPECT_GE(second, 2'621'440'000 / 5 * 4);
  EXPECT_LE(second, 2'621'440'000 / 5 * 6);
  EXPECT_EQ(h.health.failures(), 2u);
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
  EXPECT_LE(h.fail(ms(1), Blame::Failed), ms(300));
  EXPECT_EQ(h.health.failures(), 1u);
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
  EXPECT_EQ(h.health.failures(), 1u);
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

// To the end of each cooldown, then one more failure.
void fail_in_row(Health& h, Time& now, int times) {
  for (int i = 0; i < times; ++i) {
    now = std::max(now, h.health.cooling_until());
    h.fail(now, Blame::Failed);
  }
}

TEST(AddressHealthTest, ThreeFailuresInARowMayEject) {
  Health h;
  Time now = 0;
  for (int i = 1; i <= 3; ++i) {
    fail_in_row(h, now, 1);
    EXPECT_EQ(h.health.may_be_ejected(h.options), i == 3);
  }
  h.options.eject_after = 0;
  EXPECT_FALSE(h.health.may_be_ejected(h.options));
  h.options.eject_after = 3;
  h.health.eject();
  EXPECT_EQ(h.health.state(), State::Ejected);
  EXPECT_FALSE(h.health.may_be_ejected(h.options));
  EXPECT_TRUE(h.health.left_out(h.health.cooling_until() - 1));
  EXPECT_FALSE(h.health.left_out(h.health.cooling_until()));
  EXPECT_TRUE(h.health.wants_probe(h.health.cooling_until()));
}

TEST(AddressHealthTest, SoftFailuresNeverEject) {
  Health h;
  Time now = 0;
  for (int i = 0; i < 50; ++i) {
    now = std::max(now, h.health.cooling_until()) + 1;
    h.fail(now, Blame::Soft);
  }
  EXPECT_EQ(h.health.state(), State::Cooling);
  EXPECT_FALSE(h.health.may_be_ejected(h.options));
}

TEST(AddressHealthTest, AProbeThatFailsKeepsTheEjectionAndLengthensIt) {
  Health h;
  Time now = 0;
  fail_in_row(h, now, 3);
  h.health.eject();
  for (uint32_t step = 4; step < 15; ++step) {
    now = h.health.cooling_until();
    h.health.probe_started();
    EXPECT_TRUE(h.health.left_out(now));  // for all but the prober
    h.fail(now, Blame::Failed);
    ASSERT_EQ(h.health.state(), State::Ejected);
    const Nanos expected = grown(ms(250), 30 * kSecond, step);
    ASSERT_GE(h.health.cooling_until() - now, expected / 5 * 4);
  }
  h.health.probe_started();
  h.health.probe_abandoned(now);
  EXPECT_EQ(h.health.state(), State::Ejected);
  h.health.probe_started();
  h.health.succeeded();
  EXPECT_EQ(h.health.state(), State::Healthy);
  EXPECT_FALSE(h.health.ejected());
  EXPECT_EQ(h.health.failures(), 0u);
}

TEST(AddressHealthTest, FailuresWhileEjectedDoNotLengthenIt) {
  Health h;
  Time now = 0;
  fail_in_row(h, now, 3);
  h.health.eject();
  const Time until = h.health.cooling_until();
  for (Time at = now; at < until; at += ms(10)) {
    h.fail(at, Blame::Silent);
    h.health.check_failed(at, Blame::Failed, h.options, h.rng);
  }
  EXPECT_EQ(h.health.cooling_until(), until);
  EXPECT_EQ(h.health.failures(), 3u);
}

TEST(AddressHealthTest, APassedCheckHealsFromEveryState) {
  for (const State state :
       {State::Healthy, State::Suspect, State::Cooling, State::Ejected, State::Probing}) {
    Health h;
    Time now = 0;
    if (state == State::Suspect) h.health.slow();
    if (state > State::Suspect) fail_in_row(h, now, 3);
    if (state > State::Cooling) h.health.eject();
    if (state == State::Probing) h.health.probe_started();
    ASSERT_EQ(h.health.state(), state);
    h.health.check_passed(now);
    EXPECT_EQ(h.health.state(), State::Healthy);
    EXPECT_EQ(h.health.weight(), 0u);
    EXPECT_EQ(h.health.failures(), 0u);
    EXPECT_FALSE(h.health.ejected());
    EXPECT_TRUE(h.health.proven(now));
    if (state == State::Suspect) h.health.slow_ended();
  }
}

TEST(AddressHealthTest, FailedChecksInARowOutlastSuccessfulConnects) {
  Health h;
  for (int i = 0; i < 3; ++i) {
    h.health.check_failed(i * 10 * kSecond, Blame::Failed, h.options, h.rng);
    EXPECT_EQ(h.health.state(), State::Cooling);
    EXPECT_EQ(h.health.may_be_ejected(h.options), i == 2);
    if (i < 2) h.health.succeeded();  // it accepts connections, and answers checks with 503
  }
  const Nanos cooldown = h.health.cooling_until() - 20 * kSecond;
  EXPECT_GE(cooldown, ms(640) / 5 * 4);
  EXPECT_LE(cooldown, ms(640) / 5 * 6);
  h.health.check_failed(30 * kSecond, Blame::None, h.options, h.rng);
  EXPECT_EQ(h.health.failures(), 3u);
}

TEST(AddressHealthTest, HangUpsInARowOutlastSuccessfulConnectsUntilAnAnswer) {
  Health h;
  Time now = 0;
  for (int i = 0; i < 3; ++i) {
    now += 10 * kSecond;
    h.health.opened(now, h.options, h.rng);
    EXPECT_EQ(h.health.state(), i == 0 ? State::Healthy : State::Cooling);
    h.health.hung_up(now, now - ms(5), h.options, h.rng);
    EXPECT_EQ(h.health.state(), State::Cooling);
    EXPECT_EQ(h.health.failures(), i + 1u);
    EXPECT_EQ(h.health.may_be_ejected(h.options), i == 2);
  }
  const Nanos cooldown = h.health.cooling_until() - now;  // that of the third step
  EXPECT_GE(cooldown, ms(640) / 5 * 4);
  EXPECT_LE(cooldown, ms(640) / 5 * 6);
  now += 10 * kSecond;
  h.health.opened(now, h.options, h.rng);
  EXPECT_FALSE(h.health.wants_probe(now + ms(640) / 5 * 4 - 1));  // one connection is enough
  h.health.answered();
  EXPECT_EQ(h.health.state(), State::Healthy);
  h.health.hung_up(now, now - ms(5), h.options, h.rng);
  EXPECT_EQ(h.health.failures(), 1u);
}

TEST(AddressHealthTest, AConnectionThatNobodyUsesEndsNoWait) {
  Health h;
  h.health.hung_up(kSecond, kSecond, h.options, h.rng);
  h.health.probe_started();
  h.health.opened(2 * kSecond, h.options, h.rng);
  EXPECT_EQ(h.health.state(), State::Cooling);
  EXPECT_TRUE(h.health.wants_probe(2 * kSecond + h.options.cooldown / 5 * 6));
}

TEST(AddressHealthTest, ConnectionsOfOneOutageThatHangUpCountOnce) {
  Health h;
  // Ten connects at a time; the requests on all of them are reset.
  for (int i = 0; i < 10; ++i)
    h.health.hung_up(ms(20) + i, ms(10), h.options, h.rng);
  EXPECT_EQ(h.health.failures(), 1u);
  // So does a connect that began before the first of them was known.
  h.health.opened(ms(29), h.options, h.rng);
  h.health.hung_up(ms(30), ms(19), h.options, h.rng);
  EXPECT_EQ(h.health.failures(), 1u);
  // A later one tells something new.
  h.health.hung_up(ms(50), ms(40), h.options, h.rng);
  EXPECT_EQ(h.health.state(), State::Cooling);
  EXPECT_EQ(h.health.failures(), 2u);
}

TEST(AddressHealthTest, APassedCheckTakesHangUpsBack) {
  Health h;
  for (int i = 1; i <= 2; ++i)
    h.health.hung_up(i * kMinute, i * kMinute, h.options, h.rng);
  h.health.check_passed(3 * kMinute);
  EXPECT_EQ(h.health.failures(), 0u);
}

TEST(AddressHealthTest, ReadmittedItCoolsToItsEnd) {
  Health h;
  Time now = 0;
  fail_in_row(h, now, 3);
  h.health.eject();
  const Time until = h.health.cooling_until();
  h.health.readmit();
  EXPECT_EQ(h.health.state(), State::Cooling);
  EXPECT_EQ(h.health.cooling_until(), until);
  EXPECT_FALSE(h.health.left_out(now));
}

TEST(Blame, OfACheckIncludesWhatCameAfterTheConnect) {
  const auto blame = [](Status status) { return blame_of_check(Failure{.status = status}); };
  EXPECT_EQ(blame(Status::E_CONNECT_REFUSED), Blame::Failed);
  EXPECT_EQ(blame(Status::E_CONNECT_TIMEOUT), Blame::Silent);
  EXPECT_EQ(blame(Status::E_CHECK_FAILED), Blame::Failed);
  EXPECT_EQ(blame(Status::E_H2_PING_TIMEOUT), Blame::Failed);
  EXPECT_EQ(blame(Status::E_HTTP_FIRST_BYTE_TIMEOUT), Blame::Failed);
  EXPECT_EQ(blame(Status::E_TIMEOUT), Blame::Failed);
  for (const Status status : {Status::E_TLS_CERTIFICATE, Status::E_TLS_CONFIG, Status::E_FD_LIMIT,
                              Status::E_NOMEM, Status::E_CANCELLED, Status::E_CLOSED}) {
    EXPECT_EQ(blame(status), Blame::None) << status_name(status);
  }
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
