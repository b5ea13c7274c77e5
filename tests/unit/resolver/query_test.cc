// Tests of the Query machine: server order, failover, rounds and deadlines in exact virtual time.
#include "resolver/query.h"

#include <gtest/gtest.h>

#include "message_builder.h"

namespace conpool::resolver {
namespace {

using Kind = QueryStep::Kind;
using testing::ip;
using testing::MessageBuilder;

constexpr Nanos kMs = kMillisecond;

struct QueryTest : ::testing::Test {
  const SocketAddress one = ip("192.0.2.1").with_port(53);
  const SocketAddress two = ip("192.0.2.2").with_port(53);
  Servers servers;
  QueryRules rules{.resolve_timeout = kSecond, .retries = 3, .deadline = 5 * kSecond};

  Query make(Family family = Family::V4) { return {"example.test", family, rules, servers}; }
  static Result<std::vector<uint8_t>> positive(uint32_t ttl = 60) {
    return MessageBuilder("example.test", Family::V4)
        .address("example.test", ttl, "192.0.2.9")
        .bytes();
  }
  static Result<std::vector<uint8_t>> rcode(unsigned code) {
    return MessageBuilder("example.test", Family::V4, code).bytes();
  }
  static Result<std::vector<uint8_t>> broken(Status status) { return fail(status); }
};

TEST_F(QueryTest, TheFirstAnswerEndsIt) {
  servers.set({one, two});
  Query query = make();
  const QueryStep step = query.start(0);
  EXPECT_EQ(step.kind, Kind::Ask);
  EXPECT_EQ(step.server, one);
  EXPECT_EQ(step.timeout, kSecond);
  EXPECT_EQ(query.on_answer(positive(), 20 * kMs).kind, Kind::Finish);
  EXPECT_TRUE(query.outcome().positive());
  EXPECT_EQ(query.outcome().ttl, kMinute);
  ASSERT_EQ(query.tries().size(), 1U);
  EXPECT_EQ(query.tries()[0].target, "A example.test @192.0.2.1:53");
  EXPECT_EQ(query.tries()[0].ended, 20 * kMs);
  EXPECT_EQ(query.next_deadline(), kNever);
}

TEST_F(QueryTest, NegativeAnswersEndItToo) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.on_answer(rcode(3), 1).kind, Kind::Finish);
  EXPECT_TRUE(query.outcome().negative());
}

TEST_F(QueryTest, ST_13_SilenceMovesOnAfterTheTimeout) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.next_deadline(), kSecond);
  EXPECT_EQ(query.on_time(kSecond - 1).kind, Kind::Stay);
  const QueryStep step = query.on_time(kSecond);
  EXPECT_EQ(step.kind, Kind::Ask);
  EXPECT_EQ(step.server, two);
  EXPECT_EQ(query.on_answer(positive(), kSecond + 5 * kMs).kind, Kind::Finish);
  EXPECT_EQ(query.tries()[0].failure.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(query.tries()[0].ended, kSecond);
}

TEST_F(QueryTest, ST_13_AnUnreachableServerMovesOnAtOnce) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  const QueryStep step = query.on_answer(broken(Status::E_DNS_UNREACHABLE), kMs);
  EXPECT_EQ(step.kind, Kind::Ask);
  EXPECT_EQ(step.server, two);
}

TEST_F(QueryTest, ST_13_OneSilentServerIsAskedOncePerRound) {
  servers.set({one});
  Query query = make();
  query.start(0);
  for (int i = 1; i <= 3; ++i)
    EXPECT_EQ(query.on_time(i * kSecond).kind, Kind::Ask);
  EXPECT_EQ(query.on_time(4 * kSecond).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(query.tries().size(), 4U);
}

TEST_F(QueryTest, ST_13_TheDeadlineEndsEverything) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  for (int i = 1; i <= 4; ++i)
    EXPECT_EQ(query.on_time(i * kSecond).kind, Kind::Ask);
  EXPECT_EQ(query.next_deadline(), 5 * kSecond);
  EXPECT_EQ(query.on_time(5 * kSecond).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(query.tries().back().ended, 5 * kSecond);
}

TEST_F(QueryTest, TheLastTryGetsOnlyTheTimeThatIsLeft) {
  rules.deadline = 1500 * kMs;
  servers.set({one});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.on_time(kSecond).timeout, 500 * kMs);
  EXPECT_EQ(query.next_deadline(), 1500 * kMs);
}

TEST_F(QueryTest, ST_13_ServfailFromOneServerIsServfail) {
  servers.set({one});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.on_answer(rcode(2), kMs).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_SERVER_FAILURE);
  EXPECT_TRUE(query.outcome().cacheable);
}

TEST_F(QueryTest, ST_12_TroubleAsksTheNextServer) {
  for (const unsigned code : {1U, 2U, 4U, 5U}) {
    servers.set({one, two});
    Query query = make();
    query.start(0);
    const QueryStep step = query.on_answer(rcode(code), kMs);
    EXPECT_EQ(step.kind, Kind::Ask) << code;
    EXPECT_EQ(step.server, two);
    EXPECT_EQ(query.on_answer(positive(), 2 * kMs).kind, Kind::Finish);
    EXPECT_TRUE(query.outcome().positive());
  }
}

TEST_F(QueryTest, RefusedByAllIsRefused) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  query.on_answer(rcode(5), 1);
  EXPECT_EQ(query.on_answer(rcode(5), 2).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_REFUSED);
}

TEST_F(QueryTest, ST_20_AMalformedAnswerAsksTheNextServer) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.on_answer(std::vector<uint8_t>{}, 1).kind, Kind::Ask);
  EXPECT_EQ(query.on_answer(std::vector<uint8_t>{1, 2, 3}, 2).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_BAD_ANSWER);
}

TEST_F(QueryTest, ARoundWithASilentServerIsRepeated) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  query.on_answer(rcode(2), kMs);                        // two is asked
  const QueryStep again = query.on_time(kSecond + kMs);  // two was silent: the next round
  EXPECT_EQ(again.kind, Kind::Ask);
  EXPECT_EQ(again.server, one);
  EXPECT_EQ(query.on_answer(positive(), 2 * kSecond).kind, Kind::Finish);
}

TEST_F(QueryTest, TheMostTellingFailureIsReported) {
  rules.retries = 0;
  servers.set({one, two});
  Query query = make();
  query.start(0);
  query.on_answer(rcode(2), kMs);
  EXPECT_EQ(query.on_time(kSecond + kMs).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_SERVER_FAILURE);
}

TEST_F(QueryTest, UnreachableServersAreNotAskedInATightLoop) {
  servers.set({one});
  Query query = make();
  query.start(0);
  Time now = 0;
  for (const Nanos start : {200 * kMs, 600 * kMs, 1400 * kMs}) {
    EXPECT_EQ(query.on_answer(broken(Status::E_DNS_UNREACHABLE), now).kind, Kind::Pause);
    EXPECT_EQ(query.next_deadline(), start);
    EXPECT_EQ(query.on_answer(positive(), now).kind, Kind::Stay);  // nothing is asked meanwhile
    now = start;
    EXPECT_EQ(query.on_time(now).kind, Kind::Ask);
  }
  EXPECT_EQ(query.on_answer(broken(Status::E_DNS_UNREACHABLE), now).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_UNREACHABLE);
}

TEST_F(QueryTest, TheDeadlineEndsAPause) {
  rules.deadline = 100 * kMs;
  servers.set({one});
  Query query = make();
  query.start(0);
  query.on_answer(broken(Status::E_DNS_UNREACHABLE), 0);
  EXPECT_EQ(query.next_deadline(), 100 * kMs);
  EXPECT_EQ(query.on_time(100 * kMs).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_DNS_TIMEOUT);
}

TEST_F(QueryTest, OurOwnTroubleEndsItAndIsNotRemembered) {
  servers.set({one, two});
  Query query = make();
  query.start(0);
  EXPECT_EQ(query.on_answer(broken(Status::E_FD_LIMIT), 1).kind, Kind::Finish);
  EXPECT_EQ(query.outcome().failure.status, Status::E_FD_LIMIT);
  EXPECT_FALSE(query.outcome().cacheable);
  EXPECT_EQ(servers.order(2)[0], one);
}

TEST_F(QueryTest, R10_SilentServersGoLastForAWhile) {
  servers.set({one, two});
  Query first = make();
  first.start(0);
  first.on_time(kSecond);
  EXPECT_EQ(servers.order(kSecond), (std::vector<SocketAddress>{two, one}));
  Query second = make();
  EXPECT_EQ(second.start(2 * kSecond).server, two);
  EXPECT_EQ(servers.order(kSecond + kServerPenalty), (std::vector<SocketAddress>{one, two}));
}

TEST_F(QueryTest, R10_AnAnswerEndsThePenalty) {
  servers.set({one, two});
  servers.silent(one, 0);
  servers.silent(two, 0);
  EXPECT_EQ(servers.order(1), (std::vector<SocketAddress>{one, two}));
  servers.answered(two);
  EXPECT_EQ(servers.order(1), (std::vector<SocketAddress>{two, one}));
}

TEST_F(QueryTest, AJoinerGivesMoreTimeNeverLess) {
  servers.set({one});
  Query query = make();
  query.start(0);
  query.extend({.resolve_timeout = kMs, .retries = 9, .deadline = 7 * kSecond});
  query.extend({.resolve_timeout = kMs, .retries = 0, .deadline = kSecond});
  for (int i = 1; i <= 6; ++i)
    EXPECT_EQ(query.on_time(i * kSecond).kind, Kind::Ask) << i;
  EXPECT_EQ(query.on_time(7 * kSecond).kind, Kind::Finish);
}

TEST_F(QueryTest, NothingHappensAfterTheEnd) {
  servers.set({one});
  Query query = make();
  query.start(0);
  query.on_answer(positive(), 1);
  EXPECT_EQ(query.on_answer(positive(), 2).kind, Kind::Stay);
  EXPECT_EQ(query.on_time(kMinute).kind, Kind::Stay);
}

TEST_F(QueryTest, KeptTriesHaveALimit) {
  rules = {.resolve_timeout = kMs, .retries = 100, .deadline = kHour};
  servers.set({one, two});
  Query query = make();
  query.start(0);
  Time now = 0;
  while (query.state() != Query::State::Done) {
    now = query.next_deadline();
    query.on_time(now);
  }
  EXPECT_EQ(now, 202 * kMs);
  EXPECT_EQ(query.tries().size(), Error::kMaxAttempts);
  EXPECT_EQ(query.tries().back().ended, 128 * kMs);
}

}  // namespace
}  // namespace conpool::resolver
