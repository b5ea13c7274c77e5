// Streams of the simulated world: handshakes, bytes, ends and resets, at exact virtual times.
#include <gtest/gtest.h>

#include <cerrno>

#include "unit/io/sim_probe.h"

namespace conpool::io {
namespace {

using namespace std::string_literals;

TEST(SimStream, ConnectTakesOneRoundTripAndAcceptHalfMore) {
  SimRig rig;
  rig.network.host("192.0.2.1").latency = 10 * kMillisecond;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80");
  rig.run(kSecond);
  EXPECT_EQ(client.connected_at, 20 * kMillisecond);
  ASSERT_EQ(rig.accepted.size(), 1u);
  EXPECT_EQ(rig.accepted[0]->accepted_at, 30 * kMillisecond);
  EXPECT_EQ(client.stream->facts().rtt, 20 * kMillisecond);
  EXPECT_EQ(client.stream->facts().peer.text(), "192.0.2.1:80");
  EXPECT_EQ(client.stream->facts().local.ip_text(), "192.0.2.100");
}

}  // namespace
}  // namespace conpool::io
