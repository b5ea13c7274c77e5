// The rows R, S, C and D of RFC 8305's checklist, by id, in exact virtual milliseconds.
#include <gtest/gtest.h>

#include "unit/racer/race_rig.h"

namespace conpool::racer {
namespace {

using Lines = std::vector<std::string>;

RaceOptions named() {
  RaceOptions options;
  options.await_v6 = options.await_v4 = true;
  return options;
}

// An option changed in place, for one-line set-ups.
template <typename F>
RaceOptions named(F change) {
  RaceOptions options = named();
  change(options);
  return options;
}

const Path kSilent{.tcp = Path::Tcp::Silent};
const Path kRefuses{.tcp = Path::Tcp::Refuses, .rtt = ms(1)};

TEST(Rfc8305, R2_AnAaaaAnswerStartsWithoutTheA) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(ms(7), Family::V6, {a6(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log, (Lines{"7 start [2001:db8::1]:443", "17 won [2001:db8::1]:443"}));
}

TEST(Rfc8305, R3_TheFamiliesAnswerIndependently) {
  for (const Family first : {Family::V6, Family::V4}) {
    Clock clock;
    RaceRig rig(clock, named());
    rig.paths[a6(1)] = rig.paths[a4(1)] = kSilent;
    rig.start();
    rig.answer_at(ms(1), first, {first == Family::V6 ? a6(1) : a4(1)});
    rig.answer_at(ms(400), first == Family::V6 ? Family::V4 : Family::V6,
                  {first == Family::V6 ? a4(1) : a6(1)});
    clock.run_until(kSecond);
    // The slot after the first attempt is long over when the second family answers.
    ASSERT_EQ(rig.starts().size(), 2u);
    EXPECT_EQ(rig.starts()[1].substr(0, 3), "400");
  }
}

TEST(Rfc8305, R4_AaaaFirstHasNoResolutionDelay) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(ms(5), Family::V4, {a4(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443"}));
}

TEST(Rfc8305, R5_TheResolutionDelayCountsFromTheAAnswer) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(ms(100), Family::V4, {a4(1)});
  clock.run_until(ms(149));
  EXPECT_EQ(rig.race.state(), Race::State::Delaying);
  EXPECT_TRUE(rig.log.empty());
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"150 start 192.0.2.1:443"}));
}

TEST(Rfc8305, R5_AaaaWithinTheDelayGoesFirst) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(ms(100), Family::V4, {a4(1)});
  rig.answer_at(ms(149), Family::V6, {a6(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"149 start [2001:db8::1]:443"}));
}

TEST(Rfc8305, R6_ANegativeAaaaEndsTheDelay) {
  for (const Status status : {Status::E_DNS_NO_DATA, Status::E_DNS_NOT_FOUND,
                              Status::E_DNS_SERVER_FAILURE, Status::E_DNS_TIMEOUT}) {
    Clock clock;
    RaceRig rig(clock, named());
    rig.start();
    rig.answer_at(ms(10), Family::V4, {a4(1)});
    rig.fail_answer_at(ms(12), Family::V6, status);
    clock.run_until(kSecond);
    EXPECT_EQ(rig.starts(), (Lines{"12 start 192.0.2.1:443"}));
  }
}

TEST(Rfc8305, R6_AnEmptyAaaaAnswerEndsTheDelay) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(ms(10), Family::V4, {a4(1)});
  rig.answer_at(ms(12), Family::V6, {});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"12 start 192.0.2.1:443"}));
}

TEST(Rfc8305, R7_LateAaaaIsMergedAndTakesTheNextSlot) {
  Clock clock;
  RaceRig rig(clock, named());
  for (uint8_t i = 1; i <= 3; ++i)
    rig.paths[a4(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V4, {a4(1), a4(2), a4(3)});
  rig.answer_at(ms(350), Family::V6, {a6(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"50 start 192.0.2.1:443", "300 start 192.0.2.2:443",
                                 "550 start [2001:db8::1]:443"}));
  EXPECT_EQ(rig.select("close"), (Lines{"560 close 192.0.2.1:443", "560 close 192.0.2.2:443"}));
}

TEST(Rfc8305, R8_R9_AnswersAfterTheWinChangeNothing) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.start();
  rig.answer_at(0, Family::V4, {a4(1)});
  rig.answer_at(ms(400), Family::V6, {a6(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log, (Lines{"50 start 192.0.2.1:443", "60 won 192.0.2.1:443"}));
}

TEST(Rfc8305, S6_FamiliesAreInterleaved) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.max_concurrent = 0; }));
  for (uint8_t i = 1; i <= 3; ++i)
    rig.paths[a4(i)] = rig.paths[a6(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2), a6(3)});
  rig.answer_at(0, Family::V4, {a4(1), a4(2), a4(3)});
  clock.run_until(ms(2000));
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443",
                                 "500 start [2001:db8::2]:443", "750 start 192.0.2.2:443",
                                 "1000 start [2001:db8::3]:443", "1250 start 192.0.2.3:443"}));
}

TEST(Rfc8305, S6_FirstFamilyCountOfTwo) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) {
                o.max_concurrent = 0;
                o.first_family_count = 2;
              }));
  for (uint8_t i = 1; i <= 3; ++i)
    rig.paths[a4(i)] = rig.paths[a6(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2), a6(3)});
  rig.answer_at(0, Family::V4, {a4(1), a4(2), a4(3)});
  clock.run_until(ms(2000));
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start [2001:db8::2]:443",
                                 "500 start 192.0.2.1:443", "750 start [2001:db8::3]:443",
                                 "1000 start 192.0.2.2:443", "1250 start 192.0.2.3:443"}));
}

TEST(Rfc8305, S1_TheCallersOrderRulesInsideAFamilyAndItsClassBetweenThem) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  for (const SocketAddress& a : {a6(9), a6(2), a4(5), a4(1)})
    rig.paths[a] = kSilent;
  // IPv4 before IPv6: a unique local destination without a matching source, say.
  std::vector<Candidate> list = candidates({a4(5), a4(1)}, 0);
  for (const Candidate& c : candidates({a6(9), a6(2)}, 1))
    list.push_back(c);
  rig.start(list);
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start 192.0.2.5:443", "250 start [2001:db8::9]:443",
                                 "500 start 192.0.2.1:443", "750 start [2001:db8::2]:443"}));
}

TEST(Rfc8305, C1_OneStartAtATime) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = {.rtt = ms(240)};
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(0, Family::V4, {a4(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log, (Lines{"0 start [2001:db8::1]:443", "240 won [2001:db8::1]:443"}));
}

TEST(Rfc8305, C2_ARunningAttemptIsNotDisturbed) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = {.rtt = ms(300)};
  rig.paths[a4(1)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(0, Family::V4, {a4(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log, (Lines{"0 start [2001:db8::1]:443", "250 slow [2001:db8::1]:443",
                            "250 start 192.0.2.1:443", "300 close 192.0.2.1:443",
                            "300 won [2001:db8::1]:443"}));
}

TEST(Rfc8305, C3_TheMeasuredDelayOfTheAttemptRules) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  for (uint8_t i = 1; i <= 4; ++i)
    rig.paths[a4(i)] = kSilent;
  std::vector<Candidate> list = candidates({a4(1), a4(2), a4(3), a4(4)});
  list[0].expected_delay = ms(140);
  list[1].expected_delay = ms(3);     // below delay_min
  list[2].expected_delay = ms(9000);  // above delay_max
  rig.start(list);
  clock.run_until(5 * kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start 192.0.2.1:443", "140 start 192.0.2.2:443",
                                 "240 start 192.0.2.3:443", "2240 start 192.0.2.4:443"}));
}

// An address that connects only to hang up would win against a slower one.
TEST(Rfc8305, C3_ALastResortGoesBehindBothFamiliesAndWaitsForThem) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  std::vector<Candidate> list = candidates({a4(1), a6(1), a6(2)});
  list[0].last_resort = true;
  list[0].rank = 1;
  rig.paths[a6(1)] = kRefuses;
  rig.paths[a6(2)].rtt = ms(600);
  rig.start(list);
  clock.run_until(5 * kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "10 start [2001:db8::2]:443"}));
  EXPECT_EQ(rig.log.back(), "610 won [2001:db8::2]:443");
}

TEST(Rfc8305, C3_ALastResortIsTriedAtOnceAfterTheOthersFailed) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  std::vector<Candidate> list = candidates({a4(1), a6(1)});
  list[0].last_resort = true;
  list[0].rank = 1;
  rig.paths[a6(1)] = kRefuses;
  rig.start(list);
  clock.run_until(5 * kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "10 start 192.0.2.1:443"}));
}

TEST(Rfc8305, C3_NobodyWaitsLongForWhatFailedLately) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  std::vector<Candidate> list = candidates({a6(1), a4(1), a4(2)});
  list[0].cooling = true;
  list[1].last_resort = list[2].last_resort = true;
  list[1].rank = list[2].rank = 1;
  for (const SocketAddress& address : {a6(1), a4(1), a4(2)})
    rig.paths[address] = kSilent;
  rig.start(list);
  clock.run_until(5 * kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443",
                                 "500 start 192.0.2.2:443"}));
}

TEST(Rfc8305, C4_TenMillisecondsLieBetweenStartsEvenAfterInstantFailures) {
  Clock clock;
  RaceRig rig(clock, named());
  std::vector<SocketAddress> list;
  for (uint8_t i = 1; i <= 5; ++i) {
    list.push_back(a4(i));
    rig.paths[a4(i)] = i % 2 == 0 ? kRefuses : Path{.tcp = Path::Tcp::Unreachable};
  }
  rig.start();
  rig.fail_answer_at(0, Family::V6, Status::E_DNS_NO_DATA);
  rig.answer_at(0, Family::V4, list);
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log,
            (Lines{"0 start 192.0.2.1:443", "10 start 192.0.2.2:443", "20 start 192.0.2.3:443",
                   "30 start 192.0.2.4:443", "40 start 192.0.2.5:443", "40 failed"}));
}

TEST(Rfc8305, C4_ADelayBelowTheFloorIsRaisedToIt) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) {
                o.await_v6 = o.await_v4 = false;
                o.connect_delay = 1;
              }));
  rig.paths[a4(1)] = kSilent;
  rig.start(candidates({a4(1), a4(2)}));
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start 192.0.2.1:443", "10 start 192.0.2.2:443"}));
}

TEST(Rfc8305, C5_TheLeadersWindowHasAnUpperBound) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.uses_tls = true; }));
  rig.paths[a6(1)] = {.rtt = ms(900), .tls = Path::Tls::Stalls};
  for (uint8_t i = 1; i <= 3; ++i)
    rig.paths[a4(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(0, Family::V4, {a4(1), a4(2), a4(3), a4(4)});
  clock.run_until(4 * kSecond);
  // TCP after 900 ms: three round trips are more than 2 s, so the window ends at 2,900.
  EXPECT_EQ(rig.starts().back(), "2900 start 192.0.2.4:443");
}

TEST(Rfc8305, C6_TheWinClosesEveryOtherAttemptBeforeItIsTold) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = rig.paths[a4(1)] = kSilent;
  rig.paths[a6(2)] = {.rtt = ms(30)};
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2), a6(3)});
  rig.answer_at(0, Family::V4, {a4(1)});
  clock.run_until(kSecond);
  ASSERT_GE(rig.log.size(), 3u);
  EXPECT_EQ((Lines{rig.log.end() - 3, rig.log.end()}),
            (Lines{"530 close [2001:db8::1]:443", "530 close 192.0.2.1:443",
                   "530 won [2001:db8::2]:443"}));
  EXPECT_EQ(rig.race.attempts().size(), 3u);
  EXPECT_EQ(rig.race.attempt(1).state, Race::AttemptState::LostSlow);
}

TEST(Rfc8305, C7_AFailureStartsTheNextAndRestartsTheTimer) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = {.tcp = Path::Tcp::Refuses, .rtt = ms(100)};
  rig.paths[a4(1)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2)});
  rig.answer_at(0, Family::V4, {a4(1)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "100 start 192.0.2.1:443",
                                 "350 start [2001:db8::2]:443"}));
}

TEST(Rfc8305, C8_NotBeforeEveryFamilyAnswered) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a4(1)] = kRefuses;
  rig.start();
  rig.answer_at(0, Family::V4, {a4(1)});
  clock.run_until(ms(900));
  EXPECT_FALSE(rig.race.done());
  rig.answer_at(ms(1000), Family::V6, {a6(1)});
  clock.run_until(2 * kSecond);
  EXPECT_EQ(rig.log, (Lines{"50 start 192.0.2.1:443", "1000 start [2001:db8::1]:443",
                            "1010 won [2001:db8::1]:443"}));
}

TEST(Rfc8305, C8_TheLedgerTellsEveryAttempt) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.connect_timeout = ms(600); }));
  rig.paths[a4(1)] = kRefuses;
  rig.paths[a4(2)] = kSilent;
  rig.paths[a4(3)] = {.tcp = Path::Tcp::Unreachable};
  rig.start();
  rig.answer_at(ms(5), Family::V4, {a4(1), a4(2), a4(3)});
  rig.fail_answer_at(ms(9), Family::V6, Status::E_DNS_NO_DATA);
  clock.run_until(kSecond);
  ASSERT_EQ(rig.race.state(), Race::State::Failed);
  const std::vector<Attempt> ledger = rig.race.ledger();
  ASSERT_EQ(ledger.size(), 4u);
  EXPECT_EQ(ledger[0].phase, Phase::Dns);
  EXPECT_EQ(ledger[0].target, "AAAA");
  EXPECT_EQ(ledger[0].duration, ms(9));
  EXPECT_EQ(ledger[1].target, "tcp:192.0.2.1:443");
  EXPECT_EQ(ledger[1].started, ms(9));
  EXPECT_EQ(ledger[1].duration, ms(1));
  EXPECT_EQ(ledger[1].failure.os_error, 111);
  EXPECT_EQ(ledger[2].started, ms(19));
  EXPECT_EQ(ledger[2].duration, ms(600));
  EXPECT_EQ(ledger[2].failure.status, Status::E_CONNECT_TIMEOUT);
  EXPECT_EQ(ledger[3].started, ms(269));
  EXPECT_EQ(ledger[3].failure.status, Status::E_CONNECT_UNREACHABLE);
  EXPECT_EQ(rig.race.failure().status, Status::E_CONNECT_REFUSED);
  EXPECT_EQ(rig.race.failure_phase(), Phase::Connect);
  EXPECT_EQ(rig.race.failure_attempt(), 1u);
}

TEST(Rfc8305, D1_AnAttemptWhoseAddressVanishedGoesOn) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = {.rtt = ms(200)};
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(ms(50), Family::V6, {a6(2)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.log, (Lines{"0 start [2001:db8::1]:443", "200 won [2001:db8::1]:443"}));
}

TEST(Rfc8305, D2_UntriedAddressesThatVanishedAreDropped) {
  Clock clock;
  RaceRig rig(clock, named());
  rig.paths[a6(1)] = rig.paths[a6(3)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2), a6(3)});
  rig.answer_at(ms(100), Family::V6, {a6(3), a6(4)});
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start [2001:db8::3]:443",
                                 "500 start [2001:db8::4]:443"}));
}

TEST(Rfc8305, D3_AddedAddressesAreInterleavedWithTheTriedOnes) {
  Clock clock;
  RaceRig rig(clock, named());
  for (uint8_t i = 1; i <= 4; ++i)
    rig.paths[a4(i)] = rig.paths[a6(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1)});
  rig.answer_at(0, Family::V4, {a4(1), a4(2)});
  // After v6, v4 the complete list goes on with v6, not with a fresh head of either family.
  rig.answer_at(ms(300), Family::V6, {a6(1), a6(2), a6(3)});
  clock.run_until(ms(1200));
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443",
                                 "500 start [2001:db8::2]:443", "750 start 192.0.2.2:443",
                                 "1000 start [2001:db8::3]:443"}));
}

TEST(Rfc8305, D3_AnotherOrderOfAFamilyGivesItNoSecondTurn) {
  Clock clock;
  RaceRig rig(clock, named());
  for (uint8_t i = 1; i <= 2; ++i)
    rig.paths[a4(i)] = rig.paths[a6(i)] = kSilent;
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2)});
  rig.answer_at(ms(1), Family::V4, {a4(1), a4(2)});
  rig.answer_at(ms(1), Family::V6, {a6(2), a6(1)});
  clock.run_until(ms(900));
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "250 start 192.0.2.1:443",
                                 "500 start [2001:db8::2]:443", "750 start 192.0.2.2:443"}));
}

TEST(Rfc8305, S6_AFamilyLeadsByItsBestAddressNotByTheFailedOneInFront) {
  Clock clock;
  RaceRig rig(clock, named());
  for (uint8_t i = 1; i <= 2; ++i)
    rig.paths[a4(i)] = rig.paths[a6(i)] = {.tcp = Path::Tcp::Refuses, .rtt = ms(1)};
  rig.start();
  rig.answer_at(0, Family::V6, {a6(1), a6(2)});
  clock.run_until(ms(2));
  // The refused address goes behind every class now; its family still leads.
  std::vector<Candidate> v6 = candidates({a6(2)});
  v6.push_back(candidates({a6(1)}, 2)[0]);
  rig.race.on_answer(clock.now(), Family::V6, v6);
  rig.race.on_answer(clock.now(), Family::V4, candidates({a4(1), a4(2)}, 1));
  rig.perform();
  clock.run_until(ms(900));
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "10 start 192.0.2.1:443",
                                 "20 start [2001:db8::2]:443", "30 start 192.0.2.2:443"}));
}

TEST(Rfc8305, DuplicatesAreTriedOnce) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  rig.paths[a4(1)] = rig.paths[a4(2)] = kRefuses;
  rig.start(candidates({a4(1), a4(1), a4(2), a4(1, 80), a4(2)}));
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(),
            (Lines{"0 start 192.0.2.1:443", "10 start 192.0.2.2:443", "20 start 192.0.2.1:80"}));
}

TEST(Rfc8305, SeveralPortsGoPortByPort) {
  Clock clock;
  RaceRig rig(clock, named([](RaceOptions& o) { o.await_v6 = o.await_v4 = false; }));
  std::vector<Candidate> list;
  for (const uint16_t port : {uint16_t{443}, uint16_t{80}}) {
    for (const SocketAddress& a : {a6(1), a6(2), a4(1)}) {
      rig.paths[a.with_port(port)] = kRefuses;
      list.push_back({a.with_port(port), 0, 0, port == 443 ? 0u : 1u});
    }
  }
  rig.start(list);
  clock.run_until(kSecond);
  EXPECT_EQ(rig.starts(), (Lines{"0 start [2001:db8::1]:443", "10 start 192.0.2.1:443",
                                 "20 start [2001:db8::2]:443", "30 start [2001:db8::1]:80",
                                 "40 start 192.0.2.1:80", "50 start [2001:db8::2]:80"}));
}

}  // namespace
}  // namespace conpool::racer
