// The session with a well-behaved server: requests, responses, bodies, trailers, coalescing.
#include <string>

#include "rig.h"

namespace conpool::h2::test {
namespace {

using session::LeaseEnd;

TEST(H2Session, OneRequestAndItsResponse) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.get("/one?a=b");
  call.head.fields.add("x-more", "yes");
  rig.talk();
  ASSERT_EQ(rig.peer->requests.size(), 1U);
  const Peer::Request& seen = rig.peer->requests.at(1);
  EXPECT_TRUE(seen.complete);
  EXPECT_EQ(seen.fields.at(":method"), "GET");
  EXPECT_EQ(seen.fields.at(":scheme"), "https");
  EXPECT_EQ(seen.fields.at(":authority"), "example.test");
  EXPECT_EQ(seen.fields.at(":path"), "/one?a=b");
  EXPECT_EQ(seen.fields.at("user-agent"), "test");
  EXPECT_EQ(seen.fields.at("x-more"), "yes");
  rig.peer->answer(1, "200", "hello", {{"content-type", "text/plain"}, {"content-length", "5"}});
  rig.talk();
  EXPECT_EQ(call.log, "sent head body done");
  EXPECT_EQ(call.response.version, session::HttpVersion::Http2);
  EXPECT_EQ(call.response.status, 200);
  EXPECT_EQ(call.response.fields.size(), 2U);
  EXPECT_EQ(call.response.fields.find("Content-Type"), "text/plain");
  EXPECT_EQ(call.received, "hello");
  EXPECT_EQ(call.status(), Status::OK);
  EXPECT_EQ(call.end.lease, LeaseEnd::Reusable);
  EXPECT_EQ(rig.session->figures().exchanges, 1U);
  EXPECT_EQ(rig.session->figures().active, 0U);
}

}  // namespace
}  // namespace conpool::h2::test
