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

TEST(SimStream, CarriesBytesBothWaysInOrder) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  const Time start = rig.loop->now();
  ASSERT_EQ(*client->write("hello "), 6u);
  ASSERT_EQ(*client->write("world"), 5u);
  ASSERT_EQ(*server->write("hi"), 2u);
  rig.run(start + kSecond);
  EXPECT_EQ(server->data, "hello world");
  EXPECT_EQ(client->data, "hi");
  EXPECT_EQ(client->data_at, start + kMillisecond / 2);
  EXPECT_EQ(rig.network.connections()[0].bytes_up, 11u);
  EXPECT_EQ(rig.network.connections()[0].bytes_down, 2u);
}

TEST(SimStream, RefusedAfterOneRoundTrip) {
  SimRig rig;
  rig.network.host("192.0.2.1").latency = 5 * kMillisecond;
  rig.network.host("192.0.2.2").syn = SimSyn::Refuse;
  rig.listen("192.0.2.2:80");
  Probe& nobody = rig.connect("192.0.2.1:80");
  Probe& forbidden = rig.connect("192.0.2.2:80");
  rig.run(kSecond);
  EXPECT_EQ(nobody.failed_at, 10 * kMillisecond);
  EXPECT_EQ(nobody.failure.status, Status::E_CONNECT_REFUSED);
  EXPECT_EQ(nobody.failure.os_error, ECONNREFUSED);
  EXPECT_EQ(forbidden.failed_at, kMillisecond);
  EXPECT_EQ(nobody.log, "failed ");
  EXPECT_TRUE(rig.accepted.empty());
}

TEST(SimStream, UnreachableAtOnceOrLater) {
  SimRig rig;
  rig.network.host("2001:db8::/32").syn = SimSyn::Unreachable;
  rig.network.host("192.0.2.1").syn = SimSyn::Unreachable;
  rig.network.host("192.0.2.1").error = EHOSTUNREACH;
  rig.network.host("192.0.2.1").error_after = 3 * kSecond;
  auto v6 = rig.loop->connect(address_of("[2001:db8::1]:80"), {});
  ASSERT_FALSE(v6);
  EXPECT_EQ(v6.error().status, Status::E_CONNECT_UNREACHABLE);
  EXPECT_EQ(v6.error().os_error, ENETUNREACH);
  Probe& v4 = rig.connect("192.0.2.1:80");
  rig.run(kMinute);
  EXPECT_EQ(v4.failed_at, 3 * kSecond);
  EXPECT_EQ(v4.failure.os_error, EHOSTUNREACH);
}

TEST(SimStream, BlackHoleIsNeverAnsweredAndHealsWithTheNextSyn) {
  SimRig rig;
  rig.network.host("192.0.2.1").syn = SimSyn::Drop;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80");
  rig.run(200 * kSecond);
  std::vector<Time> times;
  for (const SimSynRecord& syn : rig.network.syns())
    times.push_back(syn.time / kSecond);
  EXPECT_EQ(times, (std::vector<Time>{0, 1, 3, 7, 15, 31, 63}));
  EXPECT_EQ(rig.network.first_syns().size(), 1u);
  EXPECT_EQ(client.log, "");
  EXPECT_EQ(rig.network.live().connecting, 1u);

  Probe& second = rig.connect("192.0.2.1:80");
  rig.network.at(205 * kSecond, [&] { rig.network.host("192.0.2.1").syn = SimSyn::Answer; });
  rig.run(300 * kSecond);
  EXPECT_EQ(second.connected_at, 207 * kSecond + kMillisecond);
}

TEST(SimStream, LostSynsAreSentAgain) {
  SimRig rig;
  rig.network.host("192.0.2.1").lose_syns = 2;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80");
  rig.run(kMinute);
  EXPECT_EQ(client.connected_at, 3 * kSecond + kMillisecond);
}

TEST(SimStream, AcceptThenStallTakesBytesUntilTheWindowsAreFull) {
  SimRig rig;
  SimHost& host = rig.network.host("192.0.2.1");
  host.syn = SimSyn::Stall;
  host.send_buffer = 1000;
  host.receive_buffer = 600;
  Probe& client = rig.connect("192.0.2.1:80");
  rig.run(kSecond);
  EXPECT_EQ(client.connected_at, kMillisecond);
  EXPECT_EQ(*client.write(std::string(5000, 'x')), 1000u);
  rig.run(kMinute);
  EXPECT_EQ(*client.write(std::string(5000, 'x')), 600u);
  rig.run(kHour);
  EXPECT_EQ(*client.write("x"), 0u);
  EXPECT_EQ(client.data, "");
}

TEST(SimStream, WritevAcceptsPartiallyAndTellsWhenThereIsRoom) {
  SimRig rig;
  rig.network.host("192.0.2.1").send_buffer = 3000;
  rig.network.host("192.0.2.1").latency = 10 * kMillisecond;
  auto [client, server] = rig.pair("192.0.2.1:80");
  const Time start = rig.loop->now();
  std::string first(2000, 'a'), second(2000, 'b');
  const iovec parts[] = {{first.data(), first.size()}, {second.data(), second.size()}};
  EXPECT_EQ(*client->stream->writev(parts), 3000u);
  EXPECT_EQ(*client->write("x"), 0u);
  rig.run(start + kSecond);
  EXPECT_EQ(client->writable_at, start + 20 * kMillisecond);  // the acknowledgement came back
  EXPECT_EQ(server->data, first + second.substr(0, 1000));
}

TEST(SimStream, ReadingOffHoldsThePeerBack) {
  SimRig rig;
  rig.network.host("192.0.2.1").send_buffer = 1000;
  rig.network.host("192.0.2.1").receive_buffer = 500;
  auto [client, server] = rig.pair("192.0.2.1:80");
  server->stream->read(false);
  size_t written = 0;
  for (int i = 0; i < 20; ++i) {
    written += *client->write(std::string(400, 'x'));
    rig.run(rig.loop->now() + kSecond);
  }
  EXPECT_EQ(written, 1500u);
  EXPECT_EQ(server->data, "");
  EXPECT_EQ(server->stream->peek(), Peek::Data);
  server->stream->read(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(server->data.size(), 1500u);
  EXPECT_NE(client->writable_at, kNever);
}

TEST(SimStream, BandwidthSpreadsBytesOverTime) {
  SimRig rig;
  rig.network.host("192.0.2.1").bandwidth = 100'000;
  auto [client, server] = rig.pair("192.0.2.1:80");
  const Time start = rig.loop->now();
  ASSERT_EQ(*client->write(std::string(50'000, 'x')), 50'000u);
  ASSERT_EQ(*client->write(std::string(50'000, 'y')), 50'000u);
  rig.run(start + 600 * kMillisecond);
  EXPECT_EQ(server->data.size(), 50'000u);
  rig.run(start + 2 * kSecond);
  EXPECT_EQ(server->data.size(), 100'000u);
  EXPECT_EQ(server->data_at, start + kSecond + kMillisecond / 2);
}

TEST(SimStream, HalfCloseLetsTheOtherDirectionGoOn) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  ASSERT_TRUE(client->write("request"));
  ASSERT_TRUE(client->stream->shutdown_write());
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(server->log, "data eof ");
  ASSERT_TRUE(server->write("reply"));
  server->stream->close();
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->data, "reply");
  EXPECT_EQ(client->log, "connected data eof ");
  EXPECT_FALSE(client->write("x"));
  EXPECT_FALSE(rig.network.connections()[0].reset);
}

TEST(SimStream, AbortResetsThePeerAfterTheBytesOnTheWay) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  ASSERT_TRUE(server->write("last words"));
  server->stream->close(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->log, "connected data failed ");
  EXPECT_EQ(client->failure.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(client->failure.os_error, ECONNRESET);
  EXPECT_EQ(client->write("x").error().status, Status::E_CLOSED);
}

TEST(SimStream, ResetMayThrowUnreadBytesAway) {
  SimRig rig;
  rig.network.host("192.0.2.1").reset_discards = true;
  auto [client, server] = rig.pair("192.0.2.1:80");
  client->stream->read(false);
  ASSERT_TRUE(server->write("last words"));
  server->stream->close(true);
  rig.run(rig.loop->now() + kSecond);
  client->stream->read(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->log, "connected failed ");
}

TEST(SimStream, ResetIsToldByTheNextWriteOnly) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  client->stream->read(false);
  server->stream->close(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->stream->peek(), Peek::Failed);
  EXPECT_EQ(client->write("x").error().status, Status::E_CONNECTION_RESET);
  rig.run(rig.loop->now() + kSecond);
  client->stream->read(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->log, "connected ");
}

TEST(SimStream, CloseWithUnreadBytesResets) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  server->stream->read(false);
  ASSERT_TRUE(client->write("never read"));
  rig.run(rig.loop->now() + kSecond);
  server->stream->close();
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->failure.status, Status::E_CONNECTION_RESET);
}

TEST(SimStream, BytesToAClosedSocketAreAnsweredByReset) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  server->stream->close();
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->log, "connected eof ");
  EXPECT_EQ(client->stream->peek(), Peek::Eof);
  ASSERT_TRUE(client->write("x"));
  rig.run(rig.loop->now() + kSecond);
  Result<size_t> again = client->write("y");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().os_error, EPIPE);
}

TEST(SimStream, LateAnswerToAClosedStreamIsReset) {
  SimRig rig;
  rig.network.host("192.0.2.1").latency = 100 * kMillisecond;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80");
  rig.run(150 * kMillisecond);
  client.stream->close();
  rig.run(kSecond);
  EXPECT_TRUE(rig.accepted.empty());  // the server's kernel drops the request
  EXPECT_EQ(rig.network.connections()[0].outcome, SimOutcome::Abandoned);
  EXPECT_TRUE(rig.network.connections()[0].late_answer);
  EXPECT_EQ(client.log, "");
  EXPECT_EQ(rig.loop->live_handles(), 1u);
}

TEST(SimStream, ClosedInTheInstantOfItsAnswer) {
  SimRig rig;
  rig.listen("192.0.2.1:80");
  rig.listen("192.0.2.2:80");
  Probe& winner = rig.connect("192.0.2.1:80");
  Probe& loser = rig.connect("192.0.2.2:80");
  winner.on_connect = [&](Probe&) { loser.stream->close(true); };
  rig.run(kSecond);
  EXPECT_EQ(winner.connected_at, kMillisecond);
  EXPECT_EQ(loser.log, "");
  ASSERT_EQ(rig.accepted.size(), 2u);  // both kernels had answered: the loser's server sees a reset
  EXPECT_EQ(rig.accepted[1]->failure.status, Status::E_CONNECTION_RESET);
}

TEST(SimStream, ResetAfterSoManyBytes) {
  SimRig rig;
  rig.network.host("192.0.2.1").reset_after_down = 10;
  auto [client, server] = rig.pair("192.0.2.1:80");
  ASSERT_TRUE(server->write("0123456"));
  ASSERT_TRUE(server->write("789abc"));
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->data, "0123456789");
  EXPECT_EQ(client->failure.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(server->failure.status, Status::E_CONNECTION_RESET);
}

TEST(SimStream, VanishedPeerTakesBytesUntilTheBufferIsFullAndUserTimeoutEndsIt) {
  SimRig rig;
  rig.network.host("192.0.2.1").send_buffer = 1000;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80", {.user_timeout = 20 * kSecond});
  rig.run(kSecond);
  rig.network.host("192.0.2.1").vanished = true;
  EXPECT_EQ(*client.write(std::string(400, 'x')), 400u);
  rig.run(2 * kSecond);
  EXPECT_EQ(*client.write(std::string(900, 'x')), 600u);
  rig.run(kMinute);
  EXPECT_EQ(client.failed_at, 21 * kSecond);
  EXPECT_EQ(client.failure.os_error, ETIMEDOUT);
  EXPECT_EQ(rig.accepted[0]->data, "");
}

TEST(SimStream, VanishedPeerThatComesBackGetsEverything) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  const Time start = rig.loop->now();
  ASSERT_TRUE(client->write("on the way "));
  rig.network.host("192.0.2.1").vanished = true;
  ASSERT_TRUE(client->write("meanwhile "));
  rig.network.at(start + kSecond, [&] { rig.network.host("192.0.2.1").vanished = false; });
  rig.run(start + kMinute);
  ASSERT_TRUE(client->write("after"));
  rig.run(start + 2 * kMinute);
  EXPECT_EQ(server->data, "on the way meanwhile after");
}

TEST(SimStream, KeepaliveNoticesAVanishedPeer) {
  SimRig rig;
  rig.listen("192.0.2.1:80");
  Probe& client =
      rig.connect("192.0.2.1:80", {.keepalive = 30 * kSecond, .user_timeout = 20 * kSecond});
  rig.run(45 * kSecond);
  EXPECT_EQ(client.log, "connected ");
  rig.network.host("192.0.2.1").vanished = true;
  rig.run(5 * kMinute);
  EXPECT_EQ(client.failure.os_error, ETIMEDOUT);
  EXPECT_EQ(client.failed_at,
            80 * kSecond + kMillisecond);  // the probe at 60 s stays unanswered for 20 s
}

TEST(SimStream, LossDelaysButNeverLosesOrReorders) {
  SimRig rig(7);
  rig.network.host("192.0.2.1").loss = 300'000;
  rig.network.host("192.0.2.1").jitter = 5 * kMillisecond;
  auto [client, server] = rig.pair("192.0.2.1:80");
  std::string sent;
  for (int i = 0; i < 200; ++i) {
    const std::string piece = std::to_string(i) + ' ';
    ASSERT_EQ(*client->write(piece), piece.size());
    sent += piece;
    rig.run(rig.loop->now() + kMillisecond);
  }
  rig.run(rig.loop->now() + 10 * kMinute);
  EXPECT_EQ(server->data, sent);
}

TEST(SimStream, IdleConnectionIsClosedByTheServersEnd) {
  SimRig rig;
  rig.network.host("192.0.2.1").idle_close = 10 * kSecond;
  auto [client, server] = rig.pair("192.0.2.1:80");
  rig.run(5 * kSecond);
  ASSERT_TRUE(client->write("x"));
  rig.run(kMinute);
  EXPECT_EQ(client->eof_at, 15 * kSecond + kMillisecond);
  EXPECT_EQ(server->failure.status, Status::E_CONNECTION_CLOSED);
}

TEST(SimStream, PiecesAreWholeRandomOrSingleBytes) {
  for (const SimPieces pieces : {SimPieces::Whole, SimPieces::Random, SimPieces::Bytes}) {
    SimRig rig;
    rig.network.host("192.0.2.1").pieces = pieces;
    auto [client, server] = rig.pair("192.0.2.1:80");
    ASSERT_TRUE(client->write("first "));
    ASSERT_TRUE(client->write("second"));
    rig.run(rig.loop->now() + kSecond);
    EXPECT_EQ(server->data, "first second");
    const size_t count = server->pieces.size();
    EXPECT_EQ(count == 1, pieces == SimPieces::Whole) << count;
    EXPECT_EQ(count == 12, pieces == SimPieces::Bytes) << count;
  }
}

TEST(SimStream, LentDescriptorsWorkOutsideTheStream) {
  SimRig rig;
  auto [client, server] = rig.pair("192.0.2.1:80");
  Result<int> fd = client->stream->lend(true);
  ASSERT_TRUE(fd);
  SimSocket* socket = rig.network.lent(*fd);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->write("question"), 8u);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(server->data, "question");
  ASSERT_TRUE(server->write("answer"));
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->data, "");  // a lent stream hears nothing
  EXPECT_EQ(client->write("x").error().status, Status::E_WRONG_STATE);
  EXPECT_EQ(socket->read(3), "ans");
  EXPECT_EQ(client->stream->reclaim(), Peek::Data);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(client->data, "wer");
  // The duplicate keeps the connection open until it is closed too.
  client->stream->close();
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(server->eof_at, kNever);
  socket->close();
  rig.run(rig.loop->now() + kSecond);
  EXPECT_NE(server->eof_at, kNever);
}

TEST(SimStream, UnixSocketsAreRefusedAtOnce) {
  SimRig rig;
  const SocketAddress path = SocketAddress::unix_path("/run/x.sock");
  EXPECT_EQ(rig.loop->connect(path, {}).error().os_error, ENOENT);
  rig.listen(path);
  Probe& client = rig.connect(path);
  rig.run(0);
  EXPECT_EQ(client.connected_at, 0);
  EXPECT_EQ(rig.accepted.size(), 1u);
  rig.listeners.clear();
  EXPECT_EQ(rig.loop->connect(path, {}).error().status, Status::E_CONNECT_REFUSED);
}

TEST(SimStream, ListenerClosedBeforeTheAcceptResets) {
  SimRig rig;
  rig.listen("192.0.2.1:80");
  Probe& client = rig.connect("192.0.2.1:80");
  client.on_connect = [&](Probe&) { rig.listeners[0]->close(); };
  rig.run(kSecond);
  EXPECT_EQ(client.log, "connected failed ");
  EXPECT_EQ(client.failure.status, Status::E_CONNECTION_RESET);
  EXPECT_TRUE(rig.accepted.empty());
}

}  // namespace
}  // namespace conpool::io
