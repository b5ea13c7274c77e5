// Scripted servers in the simulated world: every field of a script, at exact times.
#include "origin/server.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "io/uv/uv_loop.h"
#include "unit/io/sim_probe.h"

namespace conpool::origin {
namespace {

using io::Probe;

// One way takes 1 ms: a client's bytes arrive 1 ms after they were written.
struct Rig : io::SimRig {
  explicit Rig(Script script = {}) : server(*loop, std::move(script)) {
    network.host("192.0.2.1").latency = kMillisecond;
    EXPECT_TRUE(server.listen(io::address_of("192.0.2.1:80")));
  }
  Probe& dial() {
    Probe& client = connect("192.0.2.1:80");
    EXPECT_TRUE(
        network.run(*loop, loop->now() + kSecond, [&] { return client.connected_at != kNever; }));
    return client;
  }
  void run_for(Nanos time) { run(loop->now() + time); }

  Server server;
};

TEST(Server, EchoesAndCounts) {
  Rig rig;
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("hello"));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.data, "hello");
  EXPECT_EQ(client.data_at, 4 * kMillisecond);  // connected at 2, there and back
  const Counts& counts = rig.server.counts();
  EXPECT_EQ(counts.accepted, 1u);
  EXPECT_EQ(counts.open, 1u);
  EXPECT_EQ(counts.requests, 1u);
  EXPECT_EQ(counts.bytes_in, 5u);
  EXPECT_EQ(counts.bytes_out, 5u);
  client.stream->close();
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(counts.open, 0u);
  EXPECT_EQ(counts.most_open, 1u);
  EXPECT_EQ(counts.peer_closed, 1u);
}

TEST(Server, AnswersLinesInAnyPieces) {
  Script script;
  script.answer = Answer::Lines;
  script.replies["get"] = "value";
  Rig rig(script);
  rig.network.host("192.0.2.1").pieces = io::SimPieces::Bytes;
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("ping\nget\r\nwhat\npi"));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.data, "pong\nvalue\nerror\n");
  EXPECT_EQ(rig.server.counts().requests, 3u);
}

TEST(Server, EndsAnEndlessLine) {
  Script script;
  script.answer = Answer::Lines;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write(std::string(Server::kLineBytes + 1, 'x')));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.failure.os_error, ECONNRESET);
  EXPECT_EQ(rig.server.counts().resets, 1u);
}

TEST(Server, GivesAFixedReplyPerRequestAfterADelay) {
  Script script;
  script.answer = Answer::Fixed;
  script.request_size = 4;
  script.reply = "ok";
  script.reply_delay = 10 * kMillisecond;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("aaaabbbbcc"));
  rig.run_for(5 * kMillisecond);
  EXPECT_EQ(client.data, "");
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.data, "okok");
  EXPECT_EQ(client.data_at, 14 * kMillisecond);
}

TEST(Server, GreetsFirstAndSendsUnaskedBytesWhenIdle) {
  Script script;
  script.greeting = "220 hello\n";
  script.greeting_delay = 5 * kMillisecond;
  script.unsolicited = "still there?\n";
  script.unsolicited_after = 100 * kMillisecond;
  Rig rig(script);
  Probe& client = rig.dial();
  rig.run(50 * kMillisecond);
  EXPECT_EQ(client.data, "220 hello\n");
  EXPECT_EQ(client.data_at, (2 + 1 + 5 + 1) * kMillisecond);
  rig.run(kSecond);
  EXPECT_EQ(client.data, "220 hello\nstill there?\n");
  EXPECT_EQ(client.data_at, (2 + 1 + 5 + 100 + 1) * kMillisecond);
}

TEST(Server, SendsSlowly) {
  Script script;
  script.slow_bytes = 2;
  script.slow_interval = 10 * kMillisecond;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("abcdef"));
  rig.run_for(15 * kMillisecond);
  EXPECT_EQ(client.data, "abcd");
  rig.run_for(kSecond);
  EXPECT_EQ(client.data, "abcdef");
  EXPECT_EQ(client.data_at, (4 + 20) * kMillisecond);
}

TEST(Server, ClosesAfterRequests) {
  Script script;
  script.answer = Answer::Lines;
  script.close_after_requests = 2;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("ping\nping\nping\n"));
  rig.run_for(kSecond);
  EXPECT_EQ(client.data, "pong\npong\n");
  EXPECT_EQ(client.log, "connected data eof ");
  EXPECT_EQ(rig.server.counts().requests, 2u);
  EXPECT_EQ(rig.server.counts().open, 0u);
}

TEST(Server, ResetsAfterTheLastReply) {
  Script script;
  script.answer = Answer::Lines;
  script.close_after_requests = 1;
  script.ending = Ending::Reset;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("ping\n"));
  rig.run_for(kSecond);
  EXPECT_EQ(client.data, "pong\n");
  EXPECT_EQ(client.failure.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(rig.server.counts().resets, 1u);
}

TEST(Server, HalfClosesAndReadsOn) {
  Script script;
  script.close_after_requests = 1;
  script.ending = Ending::HalfClose;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("x"));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.log, "connected data eof ");
  ASSERT_TRUE(client.write("more"));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(rig.server.counts().bytes_in, 5u);
  EXPECT_EQ(rig.server.counts().open, 1u);
  client.stream->close();
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(rig.server.counts().open, 0u);
  EXPECT_EQ(client.failed_at, kNever);
}

TEST(Server, ClosesAfterBytesReceivedOrSent) {
  Script received;
  received.answer = Answer::Silent;
  received.close_after_bytes = 10;
  Rig first(received);
  Probe& one = first.dial();
  ASSERT_TRUE(one.write("123456789"));
  first.run_for(10 * kMillisecond);
  EXPECT_EQ(one.eof_at, kNever);
  ASSERT_TRUE(one.write("0"));
  first.run_for(10 * kMillisecond);
  EXPECT_NE(one.eof_at, kNever);

  Script sent;
  sent.close_after_sent = 4;
  Rig second(sent);
  Probe& two = second.dial();
  ASSERT_TRUE(two.write("123456789"));
  second.run_for(10 * kMillisecond);
  EXPECT_EQ(two.data, "1234");
  EXPECT_EQ(two.log, "connected data eof ");
  EXPECT_EQ(second.server.counts().bytes_out, 4u);
}

TEST(Server, ClosesWhenIdleOrOld) {
  Script script;
  script.close_after_idle = 100 * kMillisecond;
  script.close_after = 250 * kMillisecond;
  Rig rig(script);
  Probe& idle = rig.dial();  // at 2; accepted at 3
  rig.run(kSecond);
  EXPECT_EQ(idle.eof_at, (3 + 100 + 1) * kMillisecond);

  Probe& old = rig.dial();
  const Time start = old.connected_at;
  for (int i = 1; i < 6; ++i) {
    rig.run(start + i * 50 * kMillisecond);
    if (old.eof_at == kNever) (void)old.write("x");
  }
  rig.run(start + kSecond);
  EXPECT_EQ(old.eof_at, start + (1 + 250 + 1) * kMillisecond);
}

TEST(Server, NeverReadsSoThatThePeerStalls) {
  Script script;
  script.read = false;
  Rig rig(script);
  rig.network.host("192.0.2.1").send_buffer = 1000;
  rig.network.host("192.0.2.1").receive_buffer = 500;
  Probe& client = rig.dial();
  const std::string bytes(5000, 'x');
  EXPECT_EQ(*client.write(bytes), 1000u);
  rig.run_for(kSecond);
  EXPECT_EQ(*client.write(bytes), 500u);  // the receiver's kernel took what fits
  rig.run_for(kMinute);
  EXPECT_EQ(*client.write(bytes), 0u);
  EXPECT_EQ(rig.server.counts().bytes_in, 0u);
}

TEST(Server, NeverWrites) {
  Script script;
  script.write = false;
  Rig rig(script);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write("hello"));
  rig.run_for(kMinute);
  EXPECT_EQ(client.log, "connected ");
  EXPECT_EQ(rig.server.counts().bytes_in, 5u);
}

TEST(Server, StopsReadingWhenThePeerTakesNoReplies) {
  Rig rig;
  rig.network.host("192.0.2.1").send_buffer = 64 * 1024;
  rig.network.host("192.0.2.1").receive_buffer = 64 * 1024;
  Probe& client = rig.dial();
  client.stream->read(false);
  uint64_t written = 0;
  for (int i = 0; i < 1000; ++i) {
    Result<size_t> accepted = client.write(std::string(64 * 1024, 'x'));
    ASSERT_TRUE(accepted);
    written += *accepted;
    rig.run_for(10 * kMillisecond);
  }
  EXPECT_LT(rig.server.counts().bytes_in, Server::kPendingBytes + 256 * 1024);
  client.stream->read(true);
  rig.run_for(kMinute);
  EXPECT_EQ(client.data.size(), written);
}

TEST(Server, EachConnectionMayHaveItsOwnScript) {
  Rig rig;
  rig.server.set_script_chooser([](uint64_t number) {
    Script script;
    script.greeting = std::to_string(number);
    return script;
  });
  Probe& first = rig.dial();
  Probe& second = rig.dial();
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(first.data, "0");
  EXPECT_EQ(second.data, "1");
}

TEST(Server, KillResetsAndRefusesUntilItListensAgain) {
  Rig rig;
  Probe& client = rig.dial();
  rig.run_for(10 * kMillisecond);
  rig.server.kill();
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.failure.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(rig.server.counts().open, 0u);
  Probe& refused = rig.connect("192.0.2.1:80");
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(refused.failure.status, Status::E_CONNECT_REFUSED);
  ASSERT_TRUE(rig.server.listen(io::address_of("192.0.2.1:80")));
  Probe& again = rig.dial();
  ASSERT_TRUE(again.write("x"));
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(again.data, "x");
}

TEST(Server, FactoryWrapsOrDropsConnections) {
  Rig rig;
  int made = 0;
  rig.server.set_stream_factory([&](std::unique_ptr<io::Stream> stream) {
    ++made;
    stream->close(true);
    return std::unique_ptr<io::Stream>();
  });
  Probe& client = rig.dial();
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(client.failure.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(rig.server.counts().open, 0u);
}

TEST(Server, MayEndWhileConnectionsAreInEveryState) {
  for (Nanos when = 0; when < 12 * kMillisecond; when += kMillisecond / 2) {
    Script script;
    script.greeting = "hello";
    script.reply_delay = kMillisecond;
    script.close_after_requests = 1;
    io::SimRig rig;
    rig.network.host("192.0.2.1").latency = kMillisecond;
    auto server = std::make_unique<Server>(*rig.loop, script);
    ASSERT_TRUE(server->listen(io::address_of("192.0.2.1:80")));
    Probe& client = rig.connect("192.0.2.1:80");
    client.on_connect = [](Probe& self) { (void)self.write("request"); };
    rig.run(when);
    server.reset();
    rig.run(kSecond);
    client.stream->close();
    rig.run(2 * kSecond);
    EXPECT_EQ(rig.loop->live_handles(), 0u);
  }
}

TEST(Server, ServesTheRealWorldToo) {
  Result<std::unique_ptr<io::Loop>> made = io::make_uv_loop();
  ASSERT_TRUE(made);
  io::Loop& loop = **made;
  Script script;
  script.answer = Answer::Lines;
  script.greeting = "hello\n";
  script.close_after_requests = 2;
  {
    Server server(loop, script);
    ASSERT_TRUE(server.listen(SocketAddress::v4({127, 0, 0, 1}, 0)));
    auto stream = loop.connect(server.address(), {});
    ASSERT_TRUE(stream);
    Probe client(loop, std::move(*stream));
    client.on_connect = [](Probe& self) { (void)self.write("ping\nwhat\n"); };
    const Time limit = loop.now() + 20 * kSecond;
    while (loop.now() < limit && (client.eof_at == kNever || server.counts().open > 0)) {
      loop.run_turn(limit);
    }
    EXPECT_EQ(client.data, "hello\npong\nerror\n");
    EXPECT_EQ(client.log, "connected data eof ");
    EXPECT_EQ(server.counts().requests, 2u);
    EXPECT_EQ(server.counts().bytes_out, client.data.size());
    client.stream->close();
  }
  for (int i = 0; i < 100 && loop.live_handles() > 0; ++i)
    loop.run_turn(loop.now() + kMillisecond);
  EXPECT_EQ(loop.live_handles(), 0u);
}

}  // namespace
}  // namespace conpool::origin
