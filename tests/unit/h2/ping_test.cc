// Questions to the peer: PING, its answer, its absence.
#include "rig.h"

namespace conpool::h2::test {
namespace {

std::string answer_to(const Frame& one) {
  EXPECT_EQ(one.type, NGHTTP2_PING);
  EXPECT_FALSE(one.flags & NGHTTP2_FLAG_ACK);
  return ping(one.payload, true);
}

TEST(H2Ping, AQuestionHoldsUntilItsAnswer) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.sent();
  rig.session->ask();
  rig.session->ask();
  EXPECT_TRUE(rig.watch.holds.empty());  // later
  rig.turn();
  EXPECT_EQ(rig.watch.holds, std::vector<bool>{true});
  const std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  rig.pass(40 * kMillisecond);
  rig.feed(answer_to(frames[0]));
  EXPECT_EQ(rig.watch.holds, (std::vector<bool>{true, false}));
  EXPECT_EQ(rig.session->rtt(), 40 * kMillisecond);
  EXPECT_EQ(rig.session->figures().pings, 1U);
  rig.pass(kMinute);
  EXPECT_FALSE(call.done);
  EXPECT_TRUE(rig.watch.deaths.empty());
}

TEST(H2Ping, NoAnswerIsTheEnd) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.session->ask();
  rig.turn();
  rig.feed(response(1, "200", false));  // bytes are no answer
  rig.feed(ping("somebody", true));     // nor are others' answers
  rig.pass(2 * kSecond - 1);
  EXPECT_FALSE(call.done);
  rig.pass(1);
  EXPECT_EQ(call.status(), Status::E_H2_PING_TIMEOUT);
  EXPECT_EQ(call.end.proof, Proof::MaybeProcessed);
  EXPECT_EQ(call.end.lease, session::LeaseEnd::Broken);
  EXPECT_EQ(call.end.failure.detail,
            "no answer within 2s, from tcp:192.0.2.1:443 of example.test:443");
  ASSERT_EQ(rig.watch.deaths.size(), 1U);
  EXPECT_EQ(rig.watch.deaths[0].status, Status::E_H2_PING_TIMEOUT);
  EXPECT_TRUE(rig.wire->closed);
  EXPECT_EQ(rig.session->figures().glitches, 1U);
}

TEST(H2Ping, TheCheckOfAnIdleConnection) {
  Rig rig;
  rig.open_with(settings());
  std::vector<Status> results;
  const auto check = [&] {
    rig.session->check([&results](Result<void> result) {
      results.push_back(result ? Status::OK : result.error().status);
    });
    EXPECT_TRUE(results.empty());
    rig.turn();
  };
  check();
  std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_TRUE(results.empty());
  rig.feed(answer_to(frames[0]));
  EXPECT_EQ(results, std::vector<Status>{Status::OK});
  EXPECT_TRUE(rig.watch.holds.empty());
  results.clear();
  check();
  rig.pass(2 * kSecond);
  EXPECT_EQ(results, std::vector<Status>{Status::E_H2_PING_TIMEOUT});
  EXPECT_TRUE(rig.watch.deaths.empty());  // the check's answer tells it
  EXPECT_TRUE(rig.wire->closed);
}

TEST(H2Ping, ACheckThatTheConnectionDoesNotOutlive) {
  for (const bool close : {false, true}) {
    Rig rig;
    rig.open_with(settings());
    size_t results = 0;
    rig.session->check([&results](Result<void> result) {
      ++results;
      EXPECT_EQ(result.error().status, Status::E_CONNECTION_CLOSED);
    });
    rig.turn();
    if (close) {
      rig.session->close(false);
      rig.turn();
    } else {
      rig.eof();
    }
    EXPECT_EQ(results, close ? 0U : 1U);
    EXPECT_TRUE(rig.watch.deaths.empty());
  }
}

TEST(H2Ping, AnswersToTheServer) {
  Rig rig;
  rig.open_with(settings());
  rig.feed(ping("12345678"));
  const std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].type, NGHTTP2_PING);
  EXPECT_TRUE(frames[0].flags & NGHTTP2_FLAG_ACK);
  EXPECT_EQ(frames[0].payload, "12345678");
}

TEST(H2Ping, WarmConnectionsAskWhenAllIsSilent) {
  Rig rig;
  rig.values.h2_ping_interval = 10 * kSecond;
  rig.open_with(settings());
  rig.pass(10 * kSecond - 1);
  EXPECT_TRUE(rig.sent().empty());
  rig.pass(1);
  std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  rig.feed(answer_to(frames[0]));
  EXPECT_TRUE(rig.watch.holds.empty());
  // Anything the server says is as good as an answer.
  rig.pass(6 * kSecond);
  rig.feed(ping("12345678"));
  rig.sent();
  rig.pass(10 * kSecond - 1);
  EXPECT_TRUE(rig.sent().empty());
  rig.pass(1);
  EXPECT_EQ(rig.sent_of(NGHTTP2_PING), 1U);
  rig.pass(2 * kSecond);
  ASSERT_EQ(rig.watch.deaths.size(), 1U);
  EXPECT_EQ(rig.watch.deaths[0].status, Status::E_H2_PING_TIMEOUT);
}

TEST(H2Ping, NeverCloserThanASecond) {
  Rig rig;
  rig.values.h2_ping_interval = kMillisecond;
  rig.open_with(settings());
  size_t pings = 0;
  for (int i = 0; i < 100; ++i) {
    rig.pass(100 * kMillisecond);
    for (const Frame& one : rig.sent()) {
      rig.feed(answer_to(one));
      ++pings;
    }
  }
  EXPECT_GE(pings, 9U);
  EXPECT_LE(pings, 10U);
}

// A question while a check is open joins it.
TEST(H2Ping, OnePingForAllQuestions) {
  Rig rig;
  rig.open_with(settings());
  bool passed = false;
  rig.session->check([&passed](Result<void> result) { passed = result.has_value(); });
  rig.turn();
  rig.session->ask();
  rig.turn();
  const std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  rig.feed(answer_to(frames[0]));
  EXPECT_TRUE(passed);
  EXPECT_EQ(rig.watch.holds, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace conpool::h2::test
