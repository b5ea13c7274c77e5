// Frames that are put in and left out, whatever the pieces that bytes come in.
#include "fault/http2_layer.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "fault/injector.h"
#include "unit/io/sim_probe.h"

namespace conpool::fault {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string out;
  for (const size_t byte : {payload.size() >> 16, payload.size() >> 8, payload.size()})
    out.push_back(static_cast<char>(byte));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(stream >> shift));
  return out + std::string(payload);
}
std::string word(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}
std::string headers(uint32_t stream, uint8_t flags = kEndHeaders | kEndStream) {
  return frame(1, flags, stream, "block" + std::to_string(stream));
}
std::string data(uint32_t stream, std::string_view bytes, uint8_t flags = 0) {
  return frame(0, flags, stream, bytes);
}
std::string reset(uint32_t stream, uint32_t code) {
  return frame(3, 0, stream, word(code));
}
std::string goaway(uint32_t last, uint32_t code) {
  return frame(7, 0, 0, word(last) + word(code));
}
const std::string kSettings = frame(4, 0, 0);
const std::string kPing = frame(6, 0, 0, "12345678");

// A client with the layer on top, and a server of bytes.
class Http2LayerTest : public testing::Test {
 protected:
  ~Http2LayerTest() override {
    client_.reset();
    settle();  // what was discarded is freed at the end of a turn
  }
  struct Silent final : io::StreamHandler {
    void on_connected() override {}
    void on_data(Slice) override {}
    void on_eof() override {}
    void on_writable() override {}
    void on_failed(const Failure&) override {}
  };

  void connect(const std::string& plan) {
    Result<Plan> parsed = Plan::parse(plan);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().detail;
    injector_ = std::make_unique<Injector>(std::move(*parsed), 42, *rig_.loop,
                                           observe::Emitter(&ring_), figures_);
    rig_.listen("192.0.2.1:80");
    Result<std::unique_ptr<io::Stream>> stream =
        rig_.loop->connect(io::address_of("192.0.2.1:80"), {});
    ASSERT_TRUE(stream.has_value());
    Silent silent;
    (*stream)->set_handler(&silent);
    settle();
    ASSERT_EQ(rig_.accepted.size(), 1u);
    server_ = rig_.accepted[0].get();
    (*stream)->set_handler(nullptr);
    client_ = std::make_unique<io::Probe>(*rig_.loop, injector_->wrap_http2(std::move(*stream)));
  }
  void begin(uint64_t request, bool alone = false) {
    injector_->before_send({.endpoint = "origin.test:80",
                            .peer = client_->stream->facts().peer,
                            .stream = client_->stream->facts().tapped,
                            .request = request,
                            .alone = alone});
  }
  void settle() { rig_.run(rig_.loop->now() + kSecond); }
  void send(const std::string& bytes) {
    ASSERT_EQ(*client_->write(bytes), bytes.size());
    settle();
  }
  // In pieces of one byte.
  void answer(const std::string& bytes) {
    for (const char byte : bytes) {
      ASSERT_EQ(*server_->write({&byte, 1}), 1u);
      rig_.run(rig_.loop->now() + 10 * kMillisecond);
    }
  }

  observe::EventRing ring_{64, observe::EventLevel::INFO};
  observe::Metrics figures_{observe::MetricScope::POOL};
  io::SimRig rig_;
  std::unique_ptr<Injector> injector_;
  std::unique_ptr<io::Probe> client_;
  io::Probe* server_ = nullptr;
};

TEST_F(Http2LayerTest, AResetComesBehindTheServersSettings) {
  connect("rst_stream requests=1 code=cancel");
  begin(1, true);
  send(std::string(kPreface) + kSettings + headers(1));
  EXPECT_EQ(client_->data, "") << "the server's SETTINGS come first";
  answer(kSettings + kPing);
  EXPECT_EQ(client_->data, kSettings + reset(1, 8) + kPing);
  EXPECT_EQ(server_->data, std::string(kPreface) + kSettings + headers(1));
  answer(headers(1));
  EXPECT_TRUE(client_->data.ends_with(headers(1))) << "the compression builds on it";
}

TEST_F(Http2LayerTest, ARefusedRequestNeverEndsAtTheServer) {
  connect("rst_stream requests=2 code=refused_stream");
  answer(kSettings);
  begin(1, true);
  begin(2);
  begin(3);
  send(std::string(kPreface) + headers(1) + headers(3) + headers(5));
  EXPECT_EQ(server_->data, std::string(kPreface) + headers(1) + headers(3, kEndHeaders) +
                               reset(3, 8) + headers(5));
  EXPECT_EQ(client_->data, kSettings + reset(3, 7));
}

TEST_F(Http2LayerTest, TheRestOfABodyIsLeftOutAndItsWindowGivenBack) {
  connect("rst_stream requests=1");
  answer(kSettings);
  begin(1, true);
  const std::string part(100, 'x');
  send(std::string(kPreface) + headers(1, 0) + frame(9, kEndHeaders, 1, "more") + data(1, part));
  send(data(1, part, kEndStream) + kPing);
  EXPECT_EQ(server_->data, std::string(kPreface) + headers(1, 0) +
                               frame(9, kEndHeaders, 1, "more") + reset(1, 8) + kPing);
  EXPECT_EQ(client_->data,
            kSettings + reset(1, 2) + frame(8, 0, 0, word(100)) + frame(8, 0, 0, word(100)));
}

TEST_F(Http2LayerTest, NothingBehindAGoawayReachesTheServer) {
  connect("goaway requests=2 code=enhance_your_calm");
  answer(kSettings);
  begin(1, true);
  begin(2);
  begin(3);
  send(std::string(kPreface) + headers(1, kEndHeaders) + headers(3) + headers(5, kEndHeaders) +
       data(5, "body", kEndStream) + data(1, "own", kEndStream));
  EXPECT_EQ(server_->data,
            std::string(kPreface) + headers(1, kEndHeaders) + data(1, "own", kEndStream));
  EXPECT_EQ(client_->data, kSettings + goaway(1, 11) + frame(8, 0, 0, word(4)));
  // The server's own would take the promise back.
  answer(goaway(5, 0) + kPing + headers(1));
  EXPECT_EQ(client_->data,
            kSettings + goaway(1, 11) + frame(8, 0, 0, word(4)) + kPing + headers(1));
}

TEST_F(Http2LayerTest, TheFirstStreamCanBeUnprocessed) {
  connect("goaway requests=1");
  answer(kSettings);
  begin(1, true);
  send(std::string(kPreface) + headers(1));
  EXPECT_EQ(server_->data, kPreface);
  EXPECT_EQ(client_->data, kSettings + goaway(0, 0));
}

TEST_F(Http2LayerTest, NothingIsPutIntoAHeaderBlock) {
  connect("rst_stream requests=2");
  answer(kSettings);
  begin(1, true);
  send(std::string(kPreface) + headers(1));
  answer(headers(1, 0));
  begin(2);
  send(headers(3));
  EXPECT_EQ(client_->data, kSettings + headers(1, 0));
  answer(frame(9, 0, 1, "more") + frame(9, kEndHeaders, 1));
  EXPECT_EQ(client_->data, kSettings + headers(1, 0) + frame(9, 0, 1, "more") +
                               frame(9, kEndHeaders, 1) + reset(3, 2));
}

// A send that was called off before its stream opened shifts the others only until one is alone.
TEST_F(Http2LayerTest, ASendThatIsAloneForgetsTheOnesThatNeverOpened) {
  connect("rst_stream requests=1");
  answer(kSettings);
  begin(1, true);
  begin(2, true);
  send(std::string(kPreface) + headers(1));
  EXPECT_EQ(client_->data, kSettings);
}

TEST_F(Http2LayerTest, ClosedWithFramesInStoreItTellsNothing) {
  connect("rst_stream");
  begin(1, true);
  send(std::string(kPreface) + headers(1));
  ASSERT_TRUE(server_->write(kSettings).has_value());
  client_->stream->close(false);
  settle();
  EXPECT_EQ(client_->data, "");
  EXPECT_EQ(client_->write("x").error().status, Status::E_CLOSED);
}

TEST_F(Http2LayerTest, OutlivesTheInjector) {
  connect("rst_stream");
  injector_.reset();
  send(std::string(kPreface) + headers(1));
  answer(kSettings + headers(1));
  EXPECT_EQ(client_->data, kSettings + headers(1));
}

// Whatever the frames, their pieces and the room: without a hit, what goes in comes out.
TEST_F(Http2LayerTest, WithoutAHitEveryByteStaysWhatItIs) {
  connect("rst_stream requests=999");
  rig_.network.host("192.0.2.1").send_buffer = 3000;
  Rng rng(5);
  std::string up(kPreface), down = kSettings;
  for (int i = 0; i < 300; ++i) {
    for (std::string* way : {&up, &down}) {
      std::string payload(rng.up_to(rng.up_to(9) == 0 ? 20'000 : 40), '\0');
      for (char& byte : payload)
        byte = static_cast<char>(rng.next());
      *way += frame(static_cast<uint8_t>(rng.up_to(12)), static_cast<uint8_t>(rng.next()),
                    static_cast<uint32_t>(rng.up_to(50)), payload);
    }
  }
  size_t sent_up = 0, sent_down = 0;
  while (sent_up < up.size() || sent_down < down.size()) {
    const std::string_view rest_up = std::string_view(up).substr(sent_up);
    const std::string_view rest_down = std::string_view(down).substr(sent_down);
    if (!rest_up.empty()) sent_up += *client_->write(rest_up.substr(0, 1 + rng.up_to(5000)));
    if (!rest_down.empty()) sent_down += *server_->write(rest_down.substr(0, 1 + rng.up_to(5000)));
    if (rng.up_to(3) == 0) client_->stream->read(rng.up_to(1) == 0);
    rig_.run(rig_.loop->now() + kMillisecond);
  }
  client_->stream->read(true);
  settle();
  EXPECT_TRUE(server_->data == up) << server_->data.size() << " of " << up.size();
  EXPECT_TRUE(client_->data == down) << client_->data.size() << " of " << down.size();
}

}  // namespace
}  // namespace conpool::fault
