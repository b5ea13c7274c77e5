// Sessions over the simulated network: pieces, small buffers and resets as TCP makes them.
#include <gtest/gtest.h>

#include "unit/http1/session_rig.h"
#include "unit/io/sim_probe.h"

namespace conpool::http1 {
namespace {

// Takes over a stream once it is connected.
class Connector final : public io::StreamHandler {
 public:
  void on_connected() override { connected = true; }
  void on_data(Slice) override {}
  void on_eof() override {}
  void on_writable() override {}
  void on_failed(const Failure&) override {}
  bool connected = false;
};

struct NetRig : io::SimRig {
  explicit NetRig(io::SimPieces pieces = io::SimPieces::Whole, size_t buffer = 256 * 1024) {
    io::SimHost& host = network.host("192.0.2.1");
    host.pieces = pieces;
    host.send_buffer = buffer;
    host.receive_buffer = buffer;
    listen("192.0.2.1:80");
    auto made = loop->connect(io::address_of("192.0.2.1:80"), {});
    EXPECT_TRUE(made.has_value());
    Connector connector;
    (*made)->set_handler(&connector);
    EXPECT_TRUE(
        network.run(*loop, kSecond, [&] { return connector.connected && !accepted.empty(); }));
    session = std::make_unique<Session>(*loop, std::move(*made), default_values(),
                                        Place{"tcp:192.0.2.1:80", "192.0.2.1:80"});
    session->start(pool);
    head.method = "GET";
    head.authority = "192.0.2.1";
    head.target = "/";
  }
  ~NetRig() override {
    session.reset();
    loop->run_turn(loop->now());
  }
  io::Probe& server() { return *accepted.front(); }
  void begin(bool with_body = false) {
    handler = std::make_unique<Handler>(inside);
    exchange = &session->begin(head, with_body ? &body : nullptr, *handler, {});
  }
  bool finish() {
    return network.run(*loop, loop->now() + kHour, [&] { return handler->done; });
  }

  bool inside = false;
  PoolSide pool{inside};
  Body body{inside};
  session::RequestHead head;
  std::unique_ptr<Session> session;
  std::unique_ptr<Handler> handler;
  session::Exchange* exchange = nullptr;
};

TEST(Network, ReadsResponsesInAnyPieces) {
  for (const io::SimPieces pieces : {io::SimPieces::Random, io::SimPieces::Bytes}) {
    NetRig rig(pieces);
    rig.server().on_bytes = [](io::Probe& server) {
      if (!server.data.ends_with("\r\n\r\n")) return;
      server.data.clear();
      (void)server.write(
          "HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n");
    };
    for (int i = 0; i < 3; ++i) {
      rig.begin();
      ASSERT_TRUE(rig.finish());
      EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
      EXPECT_EQ(rig.handler->body, "hello world");
      EXPECT_EQ(rig.handler->trailers, "X-Sum=1;");
    }
  }
}

TEST(Network, SendsABodyThroughASmallWindow) {
  NetRig rig(io::SimPieces::Random, 1000);
  for (size_t i = 0; i < 100'000; ++i)
    rig.body.bytes += static_cast<char>('a' + i % 26);
  const std::string sent = rig.body.bytes;
  rig.body.announced = sent.size();
  rig.body.most = 777;
  rig.head.method = "POST";
  rig.server().on_bytes = [&sent](io::Probe& server) {
    if (server.data.size() < sent.size() || !server.data.ends_with(sent)) return;
    (void)server.write(kNoContent);
  };
  rig.begin(true);
  ASSERT_TRUE(rig.finish());
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
  EXPECT_EQ(rig.handler->log, "sent head 204 done ");
}

TEST(Network, HoldsTheServerBackWhileTheConsumerIsBehind) {
  NetRig rig(io::SimPieces::Whole, 64 * 1024);
  const size_t size = 2'000'000;
  std::string response = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  response.append(size, 'x');
  size_t at = 0;
  const auto push = [&](io::Probe& server) {
    while (at < response.size()) {
      const Result<size_t> accepted = server.write(std::string_view(response).substr(at));
      ASSERT_TRUE(accepted.has_value());
      at += *accepted;
      if (*accepted == 0) return;
    }
  };
  rig.server().on_bytes = push;
  rig.server().on_room = push;
  rig.begin();
  rig.run(rig.loop->now() + kMinute);
  EXPECT_FALSE(rig.handler->done);
  const size_t ahead = rig.handler->body.size();
  EXPECT_GT(ahead, Session::kUnconsumedBytes);
  EXPECT_LE(ahead, Session::kUnconsumedBytes + 64 * 1024);
  rig.handler->on_event = [&rig](std::string_view what) {
    if (what == "body") rig.exchange->consumed(SIZE_MAX);
  };
  rig.exchange->consumed(ahead);
  ASSERT_TRUE(rig.finish());
  EXPECT_EQ(rig.handler->body.size(), size);
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
}

TEST(Network, KnowsAStaleConnection) {
  NetRig rig;
  rig.server().on_bytes = [](io::Probe& server) { (void)server.write(kNoContent); };
  rig.begin();
  ASSERT_TRUE(rig.finish());
  // The server closes while the next request is on its way.
  rig.server().on_bytes = nullptr;
  rig.server().stream->close();
  rig.begin();
  ASSERT_TRUE(rig.finish());
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_NO_RESPONSE receive maybe-processed broken stale");
  EXPECT_EQ(rig.pool.log, "dead ");
}

TEST(Network, AnIdleConnectionDiesWithItsServer) {
  NetRig rig;
  rig.server().on_bytes = [](io::Probe& server) { (void)server.write(kNoContent); };
  rig.begin();
  ASSERT_TRUE(rig.finish());
  rig.server().stream->close(true);
  rig.run(rig.loop->now() + kSecond);
  EXPECT_EQ(rig.pool.log, "dead ");
  EXPECT_EQ(rig.pool.why.status, Status::E_CONNECTION_RESET);
}

}  // namespace
}  // namespace conpool::http1
