// The scenarios ST-01 … ST-11, ST-21 and ST-23 in virtual time, and TLS inside the race.
#include <gtest/gtest.h>

#include "unit/racer/race_rig.h"

namespace conpool::racer {
namespace {

using Lines = std::vector<std::string>;

const Path kSilent{.tcp = Path::Tcp::Silent};
const Path kRefuses{.tcp = Path::Tcp::Refuses, .rtt = ms(1)};

RaceOptions named(bool tls = false) {
  RaceOptions options;
  options.await_v6 = options.await_v4 = true;
  options.uses_tls = tls;
  return options;
}

struct Fixture {
  explicit Fixture(const RaceOptions& options) : rig(clock, options) {}
  Clock clock;
  RaceRig rig;
  // Both answers at once: `v6` and `v4` addresses numbered from 1.
  void answers(uint8_t v6, uint8_t v4, const Path& path6, const Path& path4) {
    std::vector<SocketAddress> list6, list4;
    for (uint8_t i = 1; i <= v6; ++i)
      list6.push_back(a6(i));
    for (uint8_t i = 1; i <= v4; ++i)
      list4.push_back(a4(i));
    for (const SocketAddress& a : list6)
      rig.paths[a] = path6;
    for (const SocketAddress& a : list4)
      rig.paths[a] = path4;
    rig.start();
    rig.answer_at(0, Family::V6, list6);
    rig.answer_at(0, Family::V4, list4);
  }
};

TEST(Scenario, ST_01_Ipv6BlackHole) {
  Fixture f(named());
  f.answers(1, 1, kSilent, Path{});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"0 start [2001:db8::1]:443", "250 slow [2001:db8::1]:443",
                              "250 start 192.0.2.1:443", "260 close [2001:db8::1]:443",
                              "260 won 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.race.attempt(1).state, Race::AttemptState::LostSlow);
}

TEST(Scenario, ST_02_AaaaNeverComes) {
  Fixture f(named());
  f.rig.start();
  f.rig.answer_at(ms(3), Family::V4, {a4(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"53 start 192.0.2.1:443", "63 won 192.0.2.1:443"}));
}

TEST(Scenario, ST_03_ANeverComes) {
  Fixture f(named());
  f.rig.start();
  f.rig.answer_at(ms(3), Family::V6, {a6(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"3 start [2001:db8::1]:443", "13 won [2001:db8::1]:443"}));
}

TEST(Scenario, ST_04_AaaaTwentyMillisecondsLate) {
  Fixture f(named());
  f.rig.paths[a6(1)] = kSilent;
  f.rig.start();
  f.rig.answer_at(0, Family::V4, {a4(1)});
  f.rig.answer_at(ms(20), Family::V6, {a6(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"20 start [2001:db8::1]:443", "270 start 192.0.2.1:443"}));
}

TEST(Scenario, ST_05_AaaaLateWhileIpv4Hangs) {
  Fixture f(named());
  f.rig.paths[a4(1)] = kSilent;
  f.rig.start();
  f.rig.answer_at(0, Family::V4, {a4(1)});
  f.rig.answer_at(ms(200), Family::V6, {a6(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"50 start 192.0.2.1:443", "300 slow 192.0.2.1:443",
                              "300 start [2001:db8::1]:443", "310 close 192.0.2.1:443",
                              "310 won [2001:db8::1]:443"}));
}

TEST(Scenario, ST_06_ASlowFirstStillWins) {
  Fixture f(named());
  f.answers(1, 1, Path{.rtt = ms(300)}, kSilent);
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.select("won"), (Lines{"300 won [2001:db8::1]:443"}));
}

TEST(Scenario, ST_06_ATooSlowFirstLoses) {
  Fixture f(named());
  f.answers(1, 1, Path{.rtt = ms(400)}, Path{});
  f.clock.run_until(kSecond);
  EXPECT_EQ((Lines{f.rig.log.end() - 2, f.rig.log.end()}),
            (Lines{"260 close [2001:db8::1]:443", "260 won 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.terminals, 1);
}

TEST(Scenario, ST_07_RefusedFast) {
  Fixture f(named());
  f.answers(1, 1, kRefuses, Path{});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log,
            (Lines{"0 start [2001:db8::1]:443", "10 start 192.0.2.1:443", "20 won 192.0.2.1:443"}));
}

TEST(Scenario, ST_07_FiveRefused) {
  Fixture f(named());
  f.answers(0, 5, kRefuses, kRefuses);
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.starts(),
            (Lines{"0 start 192.0.2.1:443", "10 start 192.0.2.2:443", "20 start 192.0.2.3:443",
                   "30 start 192.0.2.4:443", "40 start 192.0.2.5:443"}));
  EXPECT_EQ(f.rig.log.back(), "41 failed");
  const std::vector<Attempt> ledger = f.rig.race.ledger();
  ASSERT_EQ(ledger.size(), 6u);  // the empty AAAA answer first
  for (size_t i = 1; i < ledger.size(); ++i) {
    EXPECT_EQ(ledger[i].failure.status, Status::E_CONNECT_REFUSED);
  }
}

TEST(Scenario, ST_08_AllDeadUntilTheDialEnds) {
  Fixture f(named());
  f.answers(4, 4, kSilent, kSilent);
  f.rig.cancel_at(3 * kSecond, Status::E_DIAL_TIMEOUT);
  f.clock.run_until(5 * kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443",
                                   "500 start [2001:db8::2]:443", "750 start 192.0.2.2:443",
                                   "1000 start [2001:db8::3]:443", "1250 start 192.0.2.3:443",
                                   "1500 start [2001:db8::4]:443", "1750 start 192.0.2.4:443"}));
  EXPECT_EQ(f.rig.most_running, 6u);
  const Lines closes = f.rig.select("close");
  ASSERT_EQ(closes.size(), 8u);
  EXPECT_EQ((Lines{closes.begin(), closes.begin() + 2}),
            (Lines{"1500 close [2001:db8::1]:443", "1750 close 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.log.back(), "3000 failed");
  EXPECT_EQ(f.rig.race.failure().status, Status::E_DIAL_TIMEOUT);
  const std::vector<Attempt> ledger = f.rig.race.ledger();
  ASSERT_EQ(ledger.size(), 8u);
  EXPECT_EQ(ledger[0].failure.detail, "given up after 1.5s to make room for the next address");
  EXPECT_EQ(ledger[7].failure.status, Status::E_DIAL_TIMEOUT);
  EXPECT_EQ(f.rig.race.attempt(1).state, Race::AttemptState::GivenUp);
  EXPECT_EQ(f.rig.race.attempt(8).state, Race::AttemptState::LostSlow);
}

TEST(Scenario, ST_08_EachAttemptHasItsOwnDeadline) {
  RaceOptions options = named();
  options.connect_timeout = 3 * kSecond;
  options.max_concurrent = 0;
  Fixture f(options);
  f.answers(4, 4, kSilent, kSilent);
  f.clock.run_until(10 * kSecond);
  EXPECT_EQ(f.rig.most_running, 8u);
  EXPECT_EQ(f.rig.select("close").front(), "3000 close [2001:db8::1]:443");
  EXPECT_EQ(f.rig.log.back(), "4750 failed");
  EXPECT_EQ(f.rig.race.failure().status, Status::E_CONNECT_TIMEOUT);
}

TEST(Scenario, ST_09_TlsStallIsOutrun) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(1), .tls = Path::Tls::Stalls}, Path{.rtt = ms(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"0 start [2001:db8::1]:443", "1 tls [2001:db8::1]:443",
                              "251 start 192.0.2.1:443", "252 tls 192.0.2.1:443",
                              "272 close [2001:db8::1]:443", "272 won 192.0.2.1:443"}));
}

TEST(Scenario, ST_09_UntilTcpTheRaceEndsBeforeTls) {
  RaceOptions options = named(true);
  options.until = RaceUntil::Tcp;
  Fixture f(options);
  f.answers(1, 1, Path{.rtt = ms(1), .tls = Path::Tls::Stalls}, Path{.rtt = ms(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"0 start [2001:db8::1]:443", "1 won [2001:db8::1]:443"}));
}

TEST(Scenario, ST_10_CancelAtEveryMoment) {
  for (int64_t at = 0; at <= 900; at += 1) {
    Fixture f(named(true));
    f.rig.paths[a4(1)] = {.rtt = ms(30), .tls = Path::Tls::Stalls};
    f.rig.paths[a6(1)] = kSilent;
    f.rig.paths[a4(2)] = {.rtt = ms(50)};
    f.rig.start();
    f.rig.answer_at(ms(20), Family::V4, {a4(1), a4(2)});
    f.rig.answer_at(ms(100), Family::V6, {a6(1)});
    f.rig.cancel_at(ms(at), Status::E_CANCELLED);
    f.rig.cancel_at(ms(at), Status::E_CLOSED);  // twice is harmless
    f.clock.run_until(3 * kSecond);
    ASSERT_EQ(f.rig.terminals, 1) << at;
    ASSERT_EQ(f.rig.race.running(), 0u) << at;
    ASSERT_EQ(f.rig.race.deadline(), kNever) << at;
    const size_t won = f.rig.select("won").size();
    ASSERT_EQ(f.rig.select("close").size(), f.rig.starts().size() - won) << at;
    ASSERT_TRUE(won == 1 || f.rig.race.failure().status == Status::E_CANCELLED) << at;
  }
}

TEST(Scenario, ST_10_CancelBeforeTheStart) {
  Race race(named(), 0);
  race.cancel(0, Failure{.status = Status::E_CLOSED});
  std::vector<Action> actions;
  race.take_actions(&actions);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, ActionKind::Failed);
}

TEST(Scenario, ST_11_SimultaneousWinners) {
  Fixture f(named());
  f.answers(1, 1, Path{.rtt = ms(260)}, Path{.rtt = ms(10)});
  f.clock.run_until(kSecond);
  EXPECT_EQ((Lines{f.rig.log.end() - 2, f.rig.log.end()}),
            (Lines{"260 close 192.0.2.1:443", "260 won [2001:db8::1]:443"}));
  EXPECT_EQ(f.rig.terminals, 1);
}

TEST(Scenario, ST_21_NoIpv6RouteNoResolutionDelay) {
  RaceOptions options = named();
  options.v6_routable = false;
  Fixture f(options);
  f.rig.start();
  f.rig.answer_at(ms(2), Family::V4, {a4(1)});
  f.rig.answer_at(ms(40), Family::V6, {a6(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log, (Lines{"2 start 192.0.2.1:443", "12 won 192.0.2.1:443"}));
}

TEST(Scenario, ST_21_AnUnreachableAttemptCostsTheFloorOnly) {
  Fixture f(named());
  f.answers(1, 1, Path{.tcp = Path::Tcp::Unreachable}, Path{});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start [2001:db8::1]:443", "10 start 192.0.2.1:443"}));
}

TEST(Scenario, ST_23_AdaptiveDelays) {
  for (const auto& [expected, wanted] :
       std::vector<std::pair<Nanos, int64_t>>{{ms(38), 100}, {ms(1900), 1900}, {ms(7000), 2000}}) {
    RaceOptions options;
    Clock clock;
    RaceRig rig(clock, options);
    rig.paths[a4(1)] = rig.paths[a4(2)] = kSilent;
    std::vector<Candidate> list = candidates({a4(1), a4(2)});
    list[0].expected_delay = expected;
    rig.start(list);
    clock.run_until(5 * kSecond);
    EXPECT_EQ(rig.starts()[1], std::to_string(wanted) + " start 192.0.2.2:443");
  }
}

TEST(Scenario, WhereEverythingIsSlowTheLaterOnesAreNotBehind) {
  Fixture f(named());
  f.answers(2, 1, Path{.rtt = ms(600)}, Path{.rtt = ms(600)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.log.back(), "600 won [2001:db8::1]:443");
  EXPECT_TRUE(f.rig.race.attempt(2).slow);
  EXPECT_EQ(f.rig.race.attempt(2).state, Race::AttemptState::Lost);
}

// --- families ------------------------------------------------------------------------------------

TEST(Families, V4FirstMirrorsTheResolutionDelay) {
  RaceOptions options = named();
  options.family = RaceFamily::V4First;
  Fixture f(options);
  f.rig.paths[a4(1)] = kSilent;
  f.rig.start();
  f.rig.answer_at(0, Family::V6, {a6(1)});
  f.rig.answer_at(ms(30), Family::V4, {a4(1)});
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"30 start 192.0.2.1:443", "280 start [2001:db8::1]:443"}));
}

TEST(Families, OnlyOneFamilyIsTriedAndAwaited) {
  for (const bool v6 : {true, false}) {
    RaceOptions options = named();
    options.family = v6 ? RaceFamily::V6Only : RaceFamily::V4Only;
    Fixture f(options);
    f.rig.paths[a6(1)] = f.rig.paths[a4(1)] = kRefuses;
    f.rig.start();
    f.rig.answer_at(0, v6 ? Family::V6 : Family::V4, {v6 ? a6(1) : a4(1)});
    f.rig.answer_at(0, v6 ? Family::V4 : Family::V6, {v6 ? a4(1) : a6(1)});
    f.clock.run_until(kSecond);
    EXPECT_EQ(f.rig.starts().size(), 1u);
    EXPECT_EQ(f.rig.log.back(), "1 failed");
  }
}

TEST(Families, AListWithoutAnAddressOfTheFamilyFails) {
  RaceOptions options;
  options.family = RaceFamily::V6Only;
  Fixture f(options);
  f.rig.start(candidates({a4(1)}));
  EXPECT_EQ(f.rig.log, (Lines{"0 failed"}));
  EXPECT_EQ(f.rig.race.failure().detail, "no address of the wanted family");
}

TEST(Families, TheResolutionDelayDoesNotApplyToLists) {
  Fixture f(RaceOptions{});
  f.rig.paths[a4(1)] = kSilent;
  f.rig.start(candidates({a4(1), a4(2)}));
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start 192.0.2.1:443", "250 start 192.0.2.2:443"}));
}

TEST(Families, AUnixPathIsACandidateLikeAnother) {
  Fixture f(RaceOptions{});
  const SocketAddress path = SocketAddress::unix_path("/run/x");
  f.rig.paths[path] = kRefuses;
  f.rig.start(candidates({path}));
  f.clock.run_until(kSecond);
  ASSERT_EQ(f.rig.race.state(), Race::State::Failed);
  EXPECT_EQ(f.rig.race.ledger()[0].target, "unix:/run/x");
}

// --- TLS in the race -----------------------------------------------------------------------------

TEST(TlsRace, ASecondTcpSuccessStandsByInsideTheWindow) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(260), .handshake = ms(700)}, Path{.rtt = ms(20)});
  f.clock.run_until(3 * kSecond);
  // The window is 3 × 260 ms from the TCP connect on; IPv4 never says ClientHello.
  EXPECT_EQ(f.rig.log, (Lines{"0 start [2001:db8::1]:443", "250 slow [2001:db8::1]:443",
                              "250 start 192.0.2.1:443", "260 tls [2001:db8::1]:443",
                              "960 close 192.0.2.1:443", "960 won [2001:db8::1]:443"}));
}

TEST(TlsRace, TheStandbyTakesOverWhenTheWindowEnds) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(260), .tls = Path::Tls::Stalls}, Path{.rtt = ms(20)});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.select("tls"), (Lines{"260 tls [2001:db8::1]:443", "1040 tls 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.log.back(), "1060 won 192.0.2.1:443");
}

TEST(TlsRace, TheStandbyTakesOverWhenTheLeadersHandshakeBreaks) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(260), .tls = Path::Tls::Resets, .handshake = ms(40)},
            Path{.rtt = ms(20)});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.select("tls"), (Lines{"260 tls [2001:db8::1]:443", "300 tls 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.log.back(), "320 won 192.0.2.1:443");
}

TEST(TlsRace, WithoutAStandbyABrokenHandshakeStartsTheNextAddress) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(10), .tls = Path::Tls::Resets, .handshake = ms(40)},
            Path{.rtt = ms(20)});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start [2001:db8::1]:443", "50 start 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.log.back(), "90 won 192.0.2.1:443");
}

TEST(TlsRace, AFailureElsewhereDoesNotCutTheLeadersWindow) {
  Fixture f(named(true));
  f.rig.paths[a6(1)] = {.rtt = ms(255), .handshake = ms(500)};
  f.rig.paths[a4(1)] = {.tcp = Path::Tcp::Refuses, .rtt = ms(20)};
  f.rig.start();
  f.rig.answer_at(0, Family::V6, {a6(1)});
  f.rig.answer_at(0, Family::V4, {a4(1), a4(2)});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443"}));
  EXPECT_EQ(f.rig.log.back(), "755 won [2001:db8::1]:443");
}

TEST(TlsRace, ARefusedCertificateEndsTheRace) {
  Fixture f(named(true));
  f.answers(1, 1, Path{.rtt = ms(260), .tls = Path::Tls::BadCertificate}, Path{.rtt = ms(20)});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ((Lines{f.rig.log.end() - 2, f.rig.log.end()}),
            (Lines{"280 close 192.0.2.1:443", "280 failed"}));
  EXPECT_EQ(f.rig.race.failure().status, Status::E_TLS_CERTIFICATE);
  EXPECT_EQ(f.rig.race.failure().tls_verify, 10);
  EXPECT_EQ(f.rig.race.failure_phase(), Phase::Tls);
  EXPECT_EQ(f.rig.race.failure_attempt(), 1u);
}

TEST(TlsRace, ARefusedCertificateMayGoOnAndIsStillToldFirst) {
  RaceOptions options = named(true);
  options.cert_error = CertError::Continue;
  Fixture f(options);
  f.answers(1, 1, Path{.tls = Path::Tls::BadCertificate}, kRefuses);
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.log.back(), "31 failed");
  EXPECT_EQ(f.rig.race.failure().status, Status::E_TLS_CERTIFICATE);
  Fixture good(options);
  good.answers(1, 1, Path{.tls = Path::Tls::BadCertificate}, Path{});
  good.clock.run_until(3 * kSecond);
  EXPECT_EQ(good.rig.log.back(), "60 won 192.0.2.1:443");
}

TEST(TlsRace, TheHandshakeHasItsOwnDeadline) {
  RaceOptions options = named(true);
  options.tls_timeout = ms(700);
  Fixture f(options);
  f.answers(1, 0, Path{.tls = Path::Tls::Stalls}, Path{});
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ((Lines{f.rig.log.end() - 2, f.rig.log.end()}),
            (Lines{"710 close [2001:db8::1]:443", "710 failed"}));
  EXPECT_EQ(f.rig.race.failure().status, Status::E_TLS_TIMEOUT);
  EXPECT_EQ(f.rig.race.ledger().back().phase, Phase::Tls);
}

TEST(TlsRace, UnusableSettingsEndTheRaceAtOnce) {
  Clock clock;
  RaceRig rig(clock, named(true));
  rig.paths[a6(1)] = {.tls = Path::Tls::Stalls};
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2)});
  clock.run_until(ms(20));
  rig.race.on_failed(clock.now(), 1, Failure{.status = Status::E_TLS_CONFIG});
  EXPECT_EQ(rig.race.state(), Race::State::Failed);
}

// --- limits --------------------------------------------------------------------------------------

TEST(RaceLimits, AtTheCapOnlyConnectingAttemptsMakeRoom) {
  RaceOptions options = named(true);
  options.max_concurrent = 1;
  options.tls_timeout = ms(600);
  Fixture f(options);
  f.rig.paths[a4(1)] = {.tls = Path::Tls::Stalls};
  f.rig.start();
  f.rig.fail_answer_at(0, Family::V6, Status::E_DNS_NO_DATA);
  f.rig.answer_at(0, Family::V4, {a4(1), a4(2)});
  f.clock.run_until(3 * kSecond);
  // A handshake is not thrown away for a SYN: the second address waits for its end.
  EXPECT_EQ(f.rig.starts(), (Lines{"0 start 192.0.2.1:443", "610 start 192.0.2.2:443"}));
  EXPECT_EQ(f.rig.most_running, 1u);
}

TEST(RaceLimits, MaxCandidatesBoundsTheAttempts) {
  RaceOptions options = named();
  options.max_candidates = 3;
  Fixture f(options);
  f.answers(4, 4, kRefuses, kRefuses);
  f.clock.run_until(3 * kSecond);
  EXPECT_EQ(f.rig.starts().size(), 3u);
  EXPECT_EQ(f.rig.log.back(), "21 failed");
}

TEST(RaceLimits, AnAnswerOfManyAddressesIsCutOff) {
  CandidateOrder order(RaceFamily::Auto, 1);
  std::vector<Candidate> many;
  for (uint32_t i = 0; i < CandidateOrder::kMaxPerFamily + 10; ++i) {
    many.push_back(
        {SocketAddress::v4({10, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}, 1), 0, 0,
         0});
  }
  order.replace(Family::V4, many);
  size_t tried = 0;
  for (; order.next() != nullptr; ++tried)
    order.mark_tried();
  EXPECT_EQ(tried, CandidateOrder::kMaxPerFamily);
}

// --- failures ------------------------------------------------------------------------------------

TEST(RaceFailure, TheFurthestStageIsThePrimary) {
  const Status ascending[] = {Status::E_CANCELLED,           Status::E_DNS_TIMEOUT,
                              Status::E_CONNECT_UNREACHABLE, Status::E_CONNECT_FAILED,
                              Status::E_CONNECT_TIMEOUT,     Status::E_CONNECT_RESET,
                              Status::E_CONNECT_REFUSED,     Status::E_HOP_FAILED,
                              Status::E_TLS_HANDSHAKE,       Status::E_TLS_CERTIFICATE};
  for (size_t i = 1; i < std::size(ascending); ++i) {
    EXPECT_LT(failure_stage({.status = ascending[i - 1]}), failure_stage({.status = ascending[i]}))
        << status_name(ascending[i]);
  }
}

TEST(RaceFailure, TheLaterOfTwoEqualFailuresIsThePrimary) {
  Fixture f(named());
  f.answers(1, 1, kRefuses, kRefuses);
  f.clock.run_until(kSecond);
  EXPECT_EQ(f.rig.race.failure_attempt(), 2u);
}

TEST(RaceFailure, DnsFailuresCombine) {
  const auto combined = [](Status v6, Status v4) {
    Clock clock;
    RaceRig rig(clock, named());
    rig.start();
    rig.fail_answer_at(ms(1), Family::V6, v6);
    rig.fail_answer_at(ms(2), Family::V4, v4);
    clock.run_until(kSecond);
    EXPECT_EQ(rig.log, (Lines{"2 failed"}));
    EXPECT_EQ(rig.race.failure_phase(), Phase::Dns);
    EXPECT_EQ(rig.race.ledger().size(), 2u);
    return rig.race.failure().status;
  };
  EXPECT_EQ(combined(Status::E_DNS_NOT_FOUND, Status::E_DNS_NOT_FOUND), Status::E_DNS_NOT_FOUND);
  EXPECT_EQ(combined(Status::E_DNS_NO_DATA, Status::E_DNS_TIMEOUT), Status::E_DNS_TIMEOUT);
  EXPECT_EQ(combined(Status::E_DNS_TIMEOUT, Status::E_DNS_NO_DATA), Status::E_DNS_TIMEOUT);
  EXPECT_EQ(combined(Status::E_DNS_NOT_FOUND, Status::E_DNS_NO_DATA), Status::E_DNS_NO_DATA);
  EXPECT_EQ(combined(Status::E_DNS_SERVER_FAILURE, Status::E_DNS_NO_DATA),
            Status::E_DNS_SERVER_FAILURE);
}

TEST(RaceFailure, NothingToTryAtAll) {
  Clock clock;
  RaceRig rig(clock, RaceOptions{});
  rig.start();
  EXPECT_EQ(rig.log, (Lines{"0 failed"}));
  EXPECT_EQ(rig.race.failure().status, Status::E_DNS_NO_DATA);
}

TEST(RaceOptionsTest, ComeFromSettings) {
  Values values = default_values();
  values.race_until = static_cast<int64_t>(RaceUntil::Tcp);
  values.race_max_concurrent = 9;
  const RaceOptions options = race_options(values, true);
  EXPECT_EQ(options.connect_delay, ms(250));
  EXPECT_EQ(options.aaaa_timeout, ms(50));
  EXPECT_EQ(options.until, RaceUntil::Tcp);
  EXPECT_EQ(options.max_concurrent, 9u);
  EXPECT_TRUE(options.uses_tls);
}

}  // namespace
}  // namespace conpool::racer
