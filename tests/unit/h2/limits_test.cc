// How many streams: the remembered limit, the server's, ours; the end of the ids.
#include "rig.h"

namespace conpool::h2::test {
namespace {

using session::LeaseEnd;

TEST(H2Limits, CapacityFollowsTheServer) {
  Rig rig;
  rig.remembered.stream_limit = 7;
  rig.open();
  EXPECT_EQ(rig.session->capacity().hard, 7U);
  EXPECT_EQ(rig.session->capacity().soft, 7U);
  EXPECT_EQ(rig.session->figures().peer_limit, 0U);
  const auto told = [&rig](uint32_t limit) {
    rig.watch.capacities.clear();
    rig.feed(stream_limit(limit));
    EXPECT_EQ(rig.session->figures().peer_limit, limit);
    EXPECT_EQ(rig.session->capacity().hard, rig.session->stream_limit());
    return rig.watch.capacities.size();
  };
  EXPECT_EQ(told(7), 0U);  // nothing new
  EXPECT_EQ(told(50), 1U);
  EXPECT_EQ(rig.watch.capacities[0].hard, 50U);
  EXPECT_EQ(told(0), 1U);
  EXPECT_EQ(rig.watch.capacities[0].hard, 0U);
  EXPECT_EQ(rig.watch.capacities[0].soft, 0U);
  EXPECT_TRUE(rig.watch.drains.empty());
  EXPECT_EQ(told(300), 1U);
  EXPECT_EQ(rig.watch.capacities[0].hard, 300U);
  EXPECT_EQ(rig.watch.capacities[0].soft, 100U);  // h2.ideal_streams
  EXPECT_EQ(told(1'000'000'000), 1U);
  EXPECT_EQ(rig.watch.capacities[0].hard, 1000U);  // h2.max_streams
}

TEST(H2Limits, AServerThatSaysNothingHasNoLimit) {
  Rig rig;
  rig.open();
  EXPECT_EQ(rig.session->capacity().hard, 100U);
  rig.feed(settings());
  EXPECT_EQ(rig.session->capacity().hard, 1000U);
  EXPECT_EQ(rig.session->figures().peer_limit, 0U);
  for (int i = 0; i < 1000; ++i)
    rig.get();
  rig.turn();
  EXPECT_EQ(rig.sent_of(NGHTTP2_HEADERS), 1000U);
}

TEST(H2Limits, TheRememberedLimitHoldsInTheFirstFlight) {
  Rig rig;
  rig.remembered.stream_limit = 3;
  rig.open();
  for (int i = 0; i < 4; ++i)
    rig.get();
  rig.turn();
  EXPECT_EQ(rig.sent_of(NGHTTP2_HEADERS), 3U);
  EXPECT_EQ(rig.calls[3]->status(), Status::E_H2_REFUSED);
  EXPECT_EQ(rig.calls[3]->end.proof, Proof::NeverSent);
  EXPECT_EQ(rig.calls[3]->end.lease, LeaseEnd::NotProcessed);
  EXPECT_EQ(rig.session->figures().active, 3U);
}

TEST(H2Limits, ALimitThatShrinksBeforeTheRequestGoes) {
  Rig rig;
  rig.open_with(stream_limit(10));
  Call& first = rig.get();
  rig.turn();
  // Granted in the turn in which SETTINGS come: the request is not with nghttp2 yet.
  Call& second = rig.get();
  rig.feed(stream_limit(1));
  EXPECT_TRUE(second.done);
  EXPECT_EQ(second.end.proof, Proof::NeverSent);
  EXPECT_EQ(second.end.lease, LeaseEnd::NotProcessed);
  EXPECT_FALSE(first.done);
  EXPECT_EQ(rig.sent_of(NGHTTP2_HEADERS), 1U);
  // What runs above a limit that shrank goes on; new ones go when there is room below it.
  rig.feed(stream_limit(0));
  rig.feed(response(1, "200", true));
  EXPECT_EQ(first.status(), Status::OK);
  Call& third = rig.get();
  rig.turn();
  EXPECT_EQ(third.end.proof, Proof::NeverSent);
  rig.feed(stream_limit(2));
  Call& fourth = rig.get();
  rig.turn();
  rig.feed(response(3, "200", true));
  EXPECT_EQ(fourth.status(), Status::OK);
}

// A blocked transport keeps requests where a cancel costs nothing and a new limit still counts.
TEST(H2Limits, ALimitThatShrinksWhileTheTransportIsBlocked) {
  Rig rig;
  rig.open_with(stream_limit(10));
  rig.wire->room = 0;
  Call& first = rig.get();
  rig.turn();
  Call& second = rig.get();
  Call& third = rig.get();
  rig.turn();
  EXPECT_EQ(rig.cancel(third).proof, Proof::NeverSent);
  rig.feed(stream_limit(1));
  EXPECT_FALSE(second.done);
  rig.unblock();
  EXPECT_FALSE(first.done);
  EXPECT_TRUE(second.done);
  EXPECT_EQ(second.end.proof, Proof::NeverSent);
  EXPECT_EQ(rig.sent_of(NGHTTP2_HEADERS), 1U);
  EXPECT_EQ(rig.wire->sent.size(), 0U);
}

TEST(H2Limits, TheIdsEnd) {
  Rig rig;
  rig.make();
  rig.session->set_next_stream_id(Session::kLastStream - 1);
  rig.session->start(rig.watch);
  rig.turn();
  rig.feed(settings());
  Call& before = rig.get();
  rig.turn();
  EXPECT_TRUE(rig.watch.drains.empty());
  Call& last = rig.get();
  Call& beyond = rig.get();
  rig.turn();
  ASSERT_EQ(rig.watch.drains.size(), 1U);
  EXPECT_EQ(rig.session->capacity().hard, 0U);
  EXPECT_EQ(rig.watch.drains[0].status, Status::E_H2_REFUSED);
  Call& late = rig.get();  // granted before the pool heard of it
  rig.turn();
  for (const Call* call : {&beyond, &late}) {
    EXPECT_EQ(call->status(), Status::E_H2_REFUSED);
    EXPECT_NE(call->end.failure.detail.find("stream ids are used up"), std::string::npos);
    EXPECT_EQ(call->end.proof, Proof::NeverSent);
    EXPECT_EQ(call->end.lease, LeaseEnd::NotProcessed);
  }
  rig.feed(response(Session::kLastStream - 1, "200", true) +
           response(Session::kLastStream + 1, "200", true));
  EXPECT_EQ(before.status(), Status::OK);
  EXPECT_EQ(last.status(), Status::OK);
  EXPECT_TRUE(rig.watch.deaths.empty());
}

}  // namespace
}  // namespace conpool::h2::test
