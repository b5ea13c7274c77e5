// Hostile servers: floods end their connection, within the budget of odd frames and of memory.
#include <malloc.h>

#include <algorithm>
#include <functional>

#include "rig.h"

namespace conpool::h2::test {
namespace {

using session::LeaseEnd;

constexpr size_t kGrowthMost = 8 << 20;

// Feeds `one` over and over, in reads of up to 64 KiB, until the session gives up or `most` times.
struct Flood {
  explicit Flood(Rig& rig_) : rig(rig_) {}
  Rig& rig;
  size_t frames = 0;
  size_t growth = 0;

  void run(const std::function<std::string(size_t)>& one, size_t most) {
    const size_t before = mallinfo2().uordblks;
    std::string block;
    while (frames < most && !rig.wire->closed) {
      block.clear();
      while (block.size() < 60000 && frames < most)
        block += one(frames++);
      rig.feed(block);
      rig.wire->sent.clear();
      const size_t now = mallinfo2().uordblks;
      growth = std::max(growth, now > before ? now - before : 0);
    }
  }
};

struct Case {
  const char* name;
  std::function<std::string(size_t)> one;
};

std::vector<Case> endless() {
  const auto always = [](std::string bytes) { return [bytes](size_t) { return bytes; }; };
  return {
      {"PING", always(ping("12345678"))},
      {"PING answers", always(ping("12345678", true))},
      {"SETTINGS", always(settings())},
      {"SETTINGS with content", always(stream_limit(100))},
      {"WINDOW_UPDATE of the connection", always(window_update(0, 1))},
      {"WINDOW_UPDATE of the stream", always(window_update(1, 1))},
      {"WINDOW_UPDATE of a closed stream", always(window_update(3, 1))},
      {"PRIORITY", always(frame(NGHTTP2_PRIORITY, 0, 1, be32(3) + "x"))},
      {"empty DATA", always(data(1, "", false))},
      {"padded empty DATA", always(frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, {"\x02\0\0", 3}))},
      {"empty DATA on a closed stream", always(data(3, "", false))},
      {"ends of a closed stream", always(data(3, "", true))},
      {"padded DATA on a closed stream",
       always(frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 3, {"\x02\0\0", 3}))},
      {"HEADERS on a closed stream", always(response(3, "200", true))},
      {"unknown type", always(frame(0x42, 0, 0, "whatever"))},
      {"ALTSVC", always(frame(NGHTTP2_ALTSVC, 0, 1, std::string("\0\0x", 3)))},
      {"ORIGIN", always(frame(NGHTTP2_ORIGIN, 0, 0, ""))},
      {"PRIORITY_UPDATE", always(frame(NGHTTP2_PRIORITY_UPDATE, 0, 0, be32(1)))},
      {"RST_STREAM on a closed stream", always(rst(3, NGHTTP2_CANCEL))},
      {"GOAWAY", always(goaway(INT32_MAX, NGHTTP2_NO_ERROR))},
      {"GOAWAY with text", always(goaway(INT32_MAX, NGHTTP2_NO_ERROR, std::string(1000, 'x')))},
  };
}

TEST(H2Flood, UselessFramesEndTheConnection) {
  for (const Case& flood : endless()) {
    SCOPED_TRACE(flood.name);
    Rig rig;
    rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000)));
    Call& call = rig.get();
    Call& closed = rig.get();
    rig.turn();
    rig.feed(response(1, "200", false) + response(3, "200", true));
    EXPECT_TRUE(closed.done);
    rig.sent();
    Flood run(rig);
    run.run(flood.one, 10000);
    ASSERT_TRUE(rig.wire->closed);
    // nghttp2 itself counts up to 1000 answers that wait.
    EXPECT_GE(rig.session->figures().glitches, 1000U);
    EXPECT_LE(rig.session->figures().glitches, 1002U);
    EXPECT_EQ(call.status(), Status::E_H2_FLOOD);
    EXPECT_EQ(call.end.failure.h2_error, static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
    EXPECT_EQ(call.end.proof, Proof::MaybeProcessed);
    EXPECT_FALSE(call.end.failure.detail.empty());
    EXPECT_LT(run.growth, kGrowthMost);
    ASSERT_EQ(rig.watch.deaths.size(), 1U);
    EXPECT_EQ(rig.watch.deaths[0].status, Status::E_H2_FLOOD);
  }
}

// With the transport blocked nobody drains the answers: reading stops instead.
TEST(H2Flood, BlockedAnswersStopReading) {
  for (const char* what : {"PING", "SETTINGS"}) {
    Rig rig;
    rig.open_with(settings());
    rig.wire->room = 0;
    rig.get();
    rig.turn();
    const std::string one = std::string_view(what) == "PING" ? ping("12345678") : settings();
    size_t frames = 0;
    while (rig.wire->reading && frames < 5000) {
      rig.feed(one);
      ++frames;
    }
    EXPECT_LE(frames, Session::kQueued + 2);
    EXPECT_FALSE(rig.wire->closed);
  }
}

TEST(H2Flood, TheGoawayTellsWhy) {
  Rig rig;
  rig.values.h2_glitch_burst = 10;
  rig.open_with(settings());
  rig.get();
  rig.turn();
  rig.sent();
  std::string all;
  for (int i = 0; i < 11; ++i)
    all += ping("12345678");
  rig.feed(all);
  const std::vector<Frame> frames = rig.sent();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().type, NGHTTP2_GOAWAY);
  EXPECT_EQ(frames.back().code(4), static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
}

TEST(H2Flood, ASlowTrickleIsNoFlood) {
  Rig rig;
  rig.values.h2_glitch_burst = 10;
  rig.values.h2_glitch_rate = 100;
  rig.open_with(settings());
  for (int i = 0; i < 10000; ++i) {
    rig.feed(ping("12345678"));
    rig.pass(10 * kMillisecond);
  }
  EXPECT_FALSE(rig.wire->closed);
  EXPECT_EQ(rig.session->figures().glitches, 10000U);
}

// What a healthy server sends with every exchange costs nothing.
TEST(H2Flood, ABusyServerIsNoFlood) {
  Rig rig;
  rig.values.h2_glitch_burst = 10;
  rig.values.h2_glitch_rate = 1;
  rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30)));
  for (int i = 0; i < 2000; ++i) {
    Call& call = rig.post(std::string(3000, 'x'));
    rig.turn();
    const int32_t id = 2 * i + 1;
    // A PING for the measure of the path, window updates, RST_STREAM after the end.
    rig.feed(ping("12345678") + window_update(0, 3000) + window_update(id, 3000) +
             response(id, "200", false) + data(id, "ok", true) + rst(id, NGHTTP2_NO_ERROR));
    EXPECT_EQ(call.status(), Status::OK);
    rig.sent();
  }
  EXPECT_FALSE(rig.wire->closed);
  EXPECT_EQ(rig.session->figures().glitches, 0U);
}

TEST(H2Flood, InterimResponses) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  Call& other = rig.get();
  rig.turn();
  rig.sent();
  const std::string one =
      headers(1, field(":status", "103") + field("link", std::string(4000, 'a')), false);
  for (int i = 0; i < 10; ++i)
    rig.feed(one);
  EXPECT_EQ(call.interims.size(), 10U);
  EXPECT_FALSE(call.done);
  rig.feed(response(1, "103", false));
  EXPECT_EQ(call.status(), Status::E_HTTP_INTERIM_LIMIT);
  EXPECT_EQ(call.end.lease, LeaseEnd::Reusable);
  EXPECT_EQ(call.interims.size(), 10U);
  EXPECT_EQ(rig.sent_of(NGHTTP2_RST_STREAM), 1U);
  // On and on, on the stream that is over.
  Flood run(rig);
  run.run([&](size_t) { return one; }, 100000);
  EXPECT_TRUE(rig.wire->closed);
  EXPECT_EQ(other.status(), Status::E_H2_FLOOD);
  EXPECT_LT(run.growth, kGrowthMost);
  EXPECT_LT(run.frames, 3000U);
}

TEST(H2Flood, NoInterimResponsesAtAll) {
  Rig rig;
  rig.values.response_max_interim = 0;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.feed(response(1, "103", false));
  EXPECT_EQ(call.status(), Status::E_HTTP_INTERIM_LIMIT);
}

TEST(H2Flood, HeaderBytesAreLimitedToTheByte) {
  for (const bool beyond : {false, true}) {
    Rig rig;
    rig.values.response_max_header = 2000;
    rig.open_with(settings());
    Call& call = rig.get();
    Call& other = rig.get();
    rig.turn();
    rig.sent();
    // ":status" 7 + 3 + 32, "a" 1 + value + 32.
    const std::string value(2000 - 42 - 33 + (beyond ? 1 : 0), 'x');
    rig.feed(headers(1, field(":status", "200") + field("a", value), true));
    EXPECT_EQ(call.status(), beyond ? Status::E_HTTP_HEADER_LIMIT : Status::OK);
    EXPECT_EQ(rig.sent_of(NGHTTP2_RST_STREAM), beyond ? 1U : 0U);
    rig.feed(response(3, "200", true));
    EXPECT_EQ(other.status(), Status::OK);
    EXPECT_FALSE(rig.wire->closed);
  }
}

TEST(H2Flood, InterimsAndTrailersCountToo) {
  Rig rig;
  rig.values.response_max_header = 1000;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  const std::string part = field("a", std::string(300, 'x'));
  rig.feed(headers(1, field(":status", "103") + part, false));
  rig.feed(headers(1, field(":status", "200") + part, false));
  EXPECT_FALSE(call.done);
  rig.feed(headers(1, part, true));
  EXPECT_EQ(call.status(), Status::E_HTTP_HEADER_LIMIT);
  EXPECT_EQ(call.log, "sent interim head done");
}

TEST(H2Flood, HeaderLinesAreLimited) {
  for (const size_t lines : {256U, 257U}) {
    Rig rig;
    rig.open_with(settings());
    Call& call = rig.get();
    rig.turn();
    std::string block = field(":status", "200");
    for (size_t i = 0; i < lines; ++i)
      block += field("a", "b");
    rig.feed(headers(1, block, true));
    EXPECT_EQ(call.status(), lines == 256 ? Status::OK : Status::E_HTTP_HEADER_LIMIT);
  }
}

TEST(H2Flood, TheSecondHeaderOffenceEndsTheConnection) {
  Rig rig;
  rig.values.response_max_header = 1024;
  rig.open_with(settings());
  rig.get();
  rig.get();
  rig.get();
  rig.turn();
  const std::string block = field(":status", "200") + field("a", std::string(1500, 'x'));
  rig.feed(headers(1, block, true));
  EXPECT_EQ(rig.calls[0]->status(), Status::E_HTTP_HEADER_LIMIT);
  EXPECT_FALSE(rig.wire->closed);
  rig.feed(headers(3, block, true));
  EXPECT_EQ(rig.calls[1]->status(), Status::E_HTTP_HEADER_LIMIT);
  EXPECT_EQ(rig.calls[2]->status(), Status::E_H2_FLOOD);
  EXPECT_TRUE(rig.wire->closed);
}

// A few KiB that name the dynamic table's one large entry over and over.
std::string bomb(int32_t stream) {
  const std::string big(4000, 'x');
  // Literal with incremental indexing, new name "a": entry 62 from then on.
  std::string block = field(":status", "200");
  block += '\x40';
  block += hpack_size(1) + "a" + hpack_size(big.size()) + big;
  std::string all = frame(NGHTTP2_HEADERS, 0, stream, block);
  for (int i = 0; i < 9; ++i)
    all += frame(NGHTTP2_CONTINUATION, 0, stream, std::string(16384, '\xbe'));
  return all;
}

TEST(H2Flood, HpackBomb) {
  for (const bool on_closed : {false, true}) {
    Rig rig;
    rig.open_with(settings());
    Call& call = rig.get();
    Call& other = rig.get();
    rig.turn();
    if (on_closed) {
      rig.cancel(call);
      rig.turn();
    }
    const size_t before = mallinfo2().uordblks;
    size_t growth = 0;
    const std::string all = bomb(1);
    for (size_t at = 0; at < all.size() && !rig.wire->closed; at += 4096) {
      rig.feed(std::string_view(all).substr(at, 4096));
      const size_t now = mallinfo2().uordblks;
      growth = std::max(growth, now > before ? now - before : 0);
    }
    EXPECT_LT(growth, 1U << 20);
    EXPECT_TRUE(rig.wire->closed);
    if (!on_closed) {
      EXPECT_EQ(call.status(), Status::E_HTTP_HEADER_LIMIT);
    }
    EXPECT_EQ(other.status(), Status::E_H2_FLOOD);
  }
}

TEST(H2Flood, ContinuationsWithoutEnd) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.feed(frame(NGHTTP2_HEADERS, 0, 1, field(":status", "200")));
  Flood run(rig);
  run.run([](size_t) { return frame(NGHTTP2_CONTINUATION, 0, 1, ""); }, 10000);
  EXPECT_TRUE(rig.wire->closed);
  EXPECT_EQ(call.status(), Status::E_H2_FLOOD);
}

TEST(H2Flood, ManySettingsInOneFrame) {
  Rig rig;
  rig.open_with(settings());
  rig.get();
  rig.turn();
  std::string payload;
  for (int i = 0; i < 33; ++i)
    payload += setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10);
  rig.feed(settings(payload));
  EXPECT_TRUE(rig.wire->closed);
  EXPECT_EQ(rig.calls[0]->end.failure.h2_error, static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
}

TEST(H2Flood, SettingsOfEverySize) {
  for (const uint32_t value : {0U, 1U, 4096U, UINT32_MAX}) {
    Rig rig;
    rig.open_with(settings(setting(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, value)));
    Call& call = rig.get();
    rig.turn();
    rig.feed(settings(setting(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16777215) +
                      setting(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, value)) +
             response(1, "200", true));
    EXPECT_EQ(call.status(), Status::OK);
  }
}

}  // namespace
}  // namespace conpool::h2::test
