// Tests of the LookupMachine: search list with both families together, stale answers, deadlines.
#include "resolver/lookup_machine.h"

#include <gtest/gtest.h>

#include "message_builder.h"

namespace conpool::resolver {
namespace {

using Kind = LookupAction::Kind;
using testing::ip;

const Outcome kV4{.addresses = {ip("192.0.2.1")}, .ttl = kMinute};
const Outcome kV4Other{.addresses = {ip("192.0.2.2")}, .ttl = kMinute};
const Outcome kV6{.addresses = {ip("2001:db8::1")}, .ttl = kMinute};
const Outcome kNoData{.failure = {.status = Status::E_DNS_NO_DATA}};
const Outcome kNotFound{.failure = {.status = Status::E_DNS_NOT_FOUND}};
const Outcome kServfail{.failure = {.status = Status::E_DNS_SERVER_FAILURE}};
const Outcome kTimeout{.failure = {.status = Status::E_DNS_TIMEOUT}};

struct LookupMachineTest : ::testing::Test {
  Cache cache{CacheRules{}};
  std::vector<std::string> names{"web.a.test", "web.b.test"};
  std::vector<LookupAction> actions;

  LookupMachine make(Time started = 0, bool optimistic = false) {
    return {cache,
            {.names = names,
             .started = started,
             .deadline = started + 5 * kSecond,
             .optimistic = optimistic}};
  }
  // The actions since the last call, as text: "ask AAAA web.a.test; answer A OK".
  std::string taken() {
    std::string text;
    for (const LookupAction& action : actions) {
      if (!text.empty()) text += "; ";
      const std::string type = family_type_name(action.family);
      if (action.kind == Kind::Ask) text += "ask " + type + " " + action.name;
      if (action.kind == Kind::Refresh) text += "refresh " + type + " " + action.name;
      if (action.kind == Kind::Answer || action.kind == Kind::Update) {
        text += (action.kind == Kind::Answer ? "answer " : "update ") + type + " ";
        text += action.answer.addresses
                    ? action.answer.addresses->front().ip_text()
                    : std::string(status_name(action.answer.addresses.error().status));
        if (action.answer.stale) text += " stale";
        if (action.answer.name != names[0]) text += " of " + action.answer.name;
      }
    }
    actions.clear();
    return text;
  }
  std::string outcome(LookupMachine& machine, Family family, const Outcome& outcome, Time now = 1) {
    machine.on_outcome(family, outcome, now + outcome.ttl, now, &actions);
    return taken();
  }
  std::string start(LookupMachine& machine, Time now = 0) {
    machine.start(now, &actions);
    return taken();
  }
  std::string time(LookupMachine& machine, Time now) {
    machine.on_time(now, &actions);
    return taken();
  }
};

TEST_F(LookupMachineTest, R1_AaaaIsAskedFirstAndAInTheSameTurn) {
  LookupMachine machine = make();
  EXPECT_EQ(start(machine), "ask AAAA web.a.test; ask A web.a.test");
}

TEST_F(LookupMachineTest, R3_EachFamilyIsAnsweredByItself) {
  LookupMachine machine = make();
  start(machine);
  EXPECT_EQ(outcome(machine, Family::V4, kV4), "answer A 192.0.2.1");
  EXPECT_FALSE(machine.answered());
  EXPECT_EQ(outcome(machine, Family::V6, kV6), "answer AAAA 2001:db8::1");
  EXPECT_TRUE(machine.answered());
  EXPECT_EQ(machine.next_deadline(), kNever);
}

TEST_F(LookupMachineTest, ST_24_BothFamiliesComeFromOneName) {
  // AAAA exists under a.test only, A under b.test only.
  LookupMachine machine = make();
  start(machine);
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound), "");
  EXPECT_EQ(outcome(machine, Family::V6, kV6), "answer AAAA 2001:db8::1; answer A E_DNS_NOT_FOUND");
}

TEST_F(LookupMachineTest, ST_24_TheListGoesOnWhenBothAreNegative) {
  LookupMachine machine = make();
  start(machine);
  EXPECT_EQ(outcome(machine, Family::V6, kNotFound), "");
  EXPECT_EQ(outcome(machine, Family::V4, kNoData), "ask AAAA web.b.test; ask A web.b.test");
  EXPECT_EQ(outcome(machine, Family::V6, kV6), "answer AAAA 2001:db8::1 of web.b.test");
  EXPECT_EQ(outcome(machine, Family::V4, kV4), "answer A 192.0.2.1 of web.b.test");
}

TEST_F(LookupMachineTest, ST_24_AFailureStopsTheList) {
  for (const Outcome& failure : {kServfail, kTimeout}) {
    LookupMachine machine = make();
    start(machine);
    EXPECT_EQ(outcome(machine, Family::V6, kNotFound), "");
    EXPECT_EQ(outcome(machine, Family::V4, failure),
              "answer A " + std::string(status_name(failure.failure.status)) +
                  "; answer AAAA E_DNS_NOT_FOUND");
  }
}

TEST_F(LookupMachineTest, TheEndOfTheListTellsNoDataOverNotFound) {
  LookupMachine machine = make();
  start(machine);
  outcome(machine, Family::V6, kNoData);
  outcome(machine, Family::V4, kNotFound);
  EXPECT_EQ(outcome(machine, Family::V6, kNotFound), "answer AAAA E_DNS_NO_DATA of web.b.test");
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound), "answer A E_DNS_NOT_FOUND of web.b.test");
}

TEST_F(LookupMachineTest, ST_12_NxdomainOfOneFamilyDoesNotEndTheOther) {
  names = {"web.test"};
  LookupMachine machine = make();
  start(machine);
  EXPECT_EQ(outcome(machine, Family::V6, kNotFound), "answer AAAA E_DNS_NOT_FOUND");
  EXPECT_EQ(outcome(machine, Family::V4, kV4), "answer A 192.0.2.1");
}

TEST_F(LookupMachineTest, OneFamilyAloneDecidesWhenOnlyItIsWanted) {
  LookupMachine machine(cache, {.names = names, .v6 = false, .deadline = kSecond});
  EXPECT_EQ(start(machine), "ask A web.a.test");
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound), "ask A web.b.test");
  EXPECT_EQ(outcome(machine, Family::V4, kV4), "answer A 192.0.2.1 of web.b.test");
  EXPECT_TRUE(machine.answered());
}

TEST_F(LookupMachineTest, CachedAnswersNeedNoQuery) {
  cache.put_addresses("web.a.test", Family::V6, kV6.addresses, kMinute, 0);
  cache.put_negative("web.a.test", Family::V4, kNoData.failure, kMinute, 0);
  LookupMachine machine = make(kSecond);
  EXPECT_EQ(start(machine, kSecond), "answer AAAA 2001:db8::1; answer A E_DNS_NO_DATA");
}

TEST_F(LookupMachineTest, CachedNegativesLeadDownTheList) {
  cache.put_negative("web.a.test", Family::V6, kNotFound.failure, kMinute, 0);
  cache.put_negative("web.a.test", Family::V4, kNotFound.failure, kMinute, 0);
  LookupMachine machine = make(kSecond);
  EXPECT_EQ(start(machine, kSecond), "ask AAAA web.b.test; ask A web.b.test");
}

TEST_F(LookupMachineTest, RememberedFailuresAreToldWithoutAQuery) {
  cache.put_failure("web.a.test", Family::V4, kServfail.failure, 0);
  LookupMachine machine = make();
  EXPECT_EQ(start(machine, 1), "ask AAAA web.a.test; answer A E_DNS_SERVER_FAILURE");
  EXPECT_EQ(outcome(machine, Family::V6, kNotFound), "answer AAAA E_DNS_NOT_FOUND");
}

TEST_F(LookupMachineTest, ST_13_TheDeadlineAnswersWhatIsOpen) {
  LookupMachine machine = make();
  start(machine);
  EXPECT_EQ(outcome(machine, Family::V4, kV4), "answer A 192.0.2.1");
  EXPECT_EQ(machine.next_deadline(), 5 * kSecond);
  EXPECT_EQ(time(machine, 5 * kSecond - 1), "");
  EXPECT_EQ(time(machine, 5 * kSecond), "answer AAAA E_DNS_TIMEOUT");
  EXPECT_EQ(outcome(machine, Family::V6, kV6, 6 * kSecond), "update AAAA 2001:db8::1");
}

TEST_F(LookupMachineTest, ANegativeAnswerHeldBackAtTheDeadlineIsNotTheLastWord) {
  LookupMachine machine = make();
  start(machine);
  outcome(machine, Family::V6, kNotFound);
  EXPECT_EQ(time(machine, 5 * kSecond), "answer AAAA E_DNS_TIMEOUT; answer A E_DNS_TIMEOUT");
}

TEST_F(LookupMachineTest, TheListIsNotContinuedAtTheDeadline) {
  LookupMachine machine = make();
  start(machine);
  outcome(machine, Family::V6, kNotFound);
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound, 5 * kSecond),
            "answer AAAA E_DNS_TIMEOUT; answer A E_DNS_TIMEOUT");
}

struct StaleTest : LookupMachineTest {
  static constexpr Time kLater = 2 * kMinute;
  void SetUp() override {
    cache.put_addresses("web.a.test", Family::V4, kV4.addresses, kMinute, 0);
    cache.put_negative("web.a.test", Family::V6, kNoData.failure, kMinute, kLater);
  }
};

TEST_F(StaleTest, ST_19_AStaleAnswerWaitsForAFreshOne) {
  LookupMachine machine = make(kLater);
  EXPECT_EQ(start(machine, kLater), "ask A web.a.test");
  EXPECT_EQ(machine.next_deadline(), kLater + 1800 * kMillisecond);
  EXPECT_EQ(time(machine, kLater + 1800 * kMillisecond - 1), "");
  EXPECT_EQ(time(machine, kLater + 1800 * kMillisecond),
            "answer A 192.0.2.1 stale; answer AAAA E_DNS_NO_DATA");
  EXPECT_EQ(outcome(machine, Family::V4, kV4Other, kLater + 2 * kSecond), "update A 192.0.2.2");
}

TEST_F(StaleTest, ST_19_AFailureBringsTheStaleAnswerAtOnce) {
  LookupMachine machine = make(kLater);
  start(machine, kLater);
  EXPECT_EQ(outcome(machine, Family::V4, kServfail, kLater + 1),
            "answer A 192.0.2.1 stale; answer AAAA E_DNS_NO_DATA");
}

TEST_F(StaleTest, ST_19_AFreshNegativeAnswerWins) {
  names = {"web.a.test"};
  LookupMachine machine = make(kLater);
  start(machine, kLater);
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound, kLater + 1), "answer A E_DNS_NOT_FOUND");
}

TEST_F(StaleTest, ST_19_OptimisticTakesItAtOnce) {
  LookupMachine machine = make(kLater, true);
  EXPECT_EQ(start(machine, kLater),
            "ask A web.a.test; answer A 192.0.2.1 stale; answer AAAA E_DNS_NO_DATA");
  EXPECT_EQ(outcome(machine, Family::V4, kNotFound, kLater + 1), "update A E_DNS_NOT_FOUND");
}

TEST_F(StaleTest, AFailedRefreshIsNotReported) {
  LookupMachine machine = make(kLater, true);
  start(machine, kLater);
  EXPECT_EQ(outcome(machine, Family::V4, kServfail, kLater + 1), "");
}

TEST_F(StaleTest, ST_19_NothingIsAskedWhileAskingJustFailed) {
  cache.put_failure("web.a.test", Family::V4, kServfail.failure, kLater);
  LookupMachine machine = make(kLater);
  EXPECT_EQ(start(machine, kLater + 1), "answer A 192.0.2.1 stale; answer AAAA E_DNS_NO_DATA");
}

TEST_F(StaleTest, AShortDeadlineTakesTheStaleAnswer) {
  LookupMachine machine(
      cache, {.names = names, .started = kLater, .deadline = kLater + 100 * kMillisecond});
  start(machine, kLater);
  EXPECT_EQ(machine.next_deadline(), kLater + 100 * kMillisecond);
  EXPECT_EQ(time(machine, kLater + 100 * kMillisecond),
            "answer A 192.0.2.1 stale; answer AAAA E_DNS_NO_DATA");
}

TEST_F(LookupMachineTest, PrefetchUpdatesOnlyWhatChanged) {
  names = {"web.a.test"};
  cache.put_addresses("web.a.test", Family::V6, kV6.addresses, kMinute, 0);
  cache.put_addresses("web.a.test", Family::V4, kV4.addresses, kMinute, 0);
  LookupMachine machine = make(58 * kSecond);
  EXPECT_EQ(start(machine, 58 * kSecond),
            "refresh AAAA web.a.test; answer AAAA 2001:db8::1; refresh A web.a.test; "
            "answer A 192.0.2.1");
  EXPECT_EQ(outcome(machine, Family::V6, kV6), "");
  EXPECT_EQ(outcome(machine, Family::V4, kV4Other), "update A 192.0.2.2");
}

}  // namespace
}  // namespace conpool::resolver
