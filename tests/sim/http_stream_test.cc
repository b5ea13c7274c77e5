// Bodies while they run: how many chunks they come in, who is waited for when nothing moves, and
// pieces of an announced size.
#include "sim/http_world.h"

namespace conpool::sim {
namespace {

struct Streamed : HttpWorld {
  explicit Streamed(Wire wire, const OptionList& options = {},
                    const OptionList& pool_options = {}) {
    network.host("*").latency = ms(5);
    open(pool_options);
    server = &serve_on(wire);
    site = target(wire, options);
  }
  void run_and_take(Nanos time) {
    for (const Time until = now() + time; now() < until;)
      (void)take(until - now());
  }

  HttpServer* server;
  conpool_endpoint* site;
};

HttpAnswer pattern_answer(uint64_t size, size_t piece, int64_t silence_at = -1) {
  HttpAnswer answer;
  answer.body = origin::HttpBody::Pattern;
  answer.pattern_size = size;
  answer.framing = HttpFraming::Chunked;
  answer.piece = piece;
  if (silence_at >= 0) answer.fault = HttpFault::Silence;
  answer.fault_at = silence_at;
  return answer;
}

class Chunks : public ::testing::TestWithParam<Wire> {};

// One event and one object for each byte would cost a hundred times what the window allows.
TEST_P(Chunks, AreFewHoweverSmallTheServersPartsAre) {
  constexpr uint64_t kBytes = 300'000;
  for (const size_t piece : {1u, 7u, 1000u, 4095u}) {
    SCOPED_TRACE(piece);
    Streamed world(GetParam());
    world.server->set_answer(pattern_answer(kBytes, piece));
    world.hold_chunks = true;
    const conpool_op op = world.start(world.site, {});
    world.run_and_take(10 * kSecond);
    EXPECT_LE(world.held_chunks(), 64 + kBytes / (64 * 1024));
    world.hold_chunks = false;
    world.free_chunks();
    const Reply& reply = world.finish(op);
    EXPECT_TRUE(reply.ok()) << reply.report;
    EXPECT_TRUE(reply.body == origin::pattern(0, kBytes));
    EXPECT_LT(reply.chunks, 200u);
  }
}

// Single bytes, far apart: each comes at once while few are held; then those that came meanwhile
// come with the next chunk that is freed.
TEST_P(Chunks, WaitOnlyForAnApplicationThatHoldsMany) {
  constexpr size_t kHeld = 64;
  Streamed world(GetParam());
  HttpAnswer answer = pattern_answer(100, 1);
  answer.piece_delay = ms(10);
  world.server->set_answer(answer);
  world.hold_chunks = true;
  const conpool_op op = world.start(world.site, {});
  world.run_and_take(ms(10 * 50));
  EXPECT_GT(world.reply(op).body.size(), 30u);
  EXPECT_EQ(world.held_chunks(), world.reply(op).body.size());
  world.run_and_take(ms(10 * 40));
  EXPECT_EQ(world.held_chunks(), kHeld);
  EXPECT_EQ(world.reply(op).body.size(), kHeld);
  world.free_chunk();
  world.run_and_take(ms(1));
  EXPECT_EQ(world.held_chunks(), kHeld);
  EXPECT_GT(world.reply(op).body.size(), kHeld + 10);
  // What is left comes before the end, whatever is held.
  const Reply& reply = world.finish(op);
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_TRUE(reply.body == origin::pattern(0, 100));
  EXPECT_EQ(world.held_chunks(), kHeld + 1);
  EXPECT_EQ(reply.events, "HCF");
  world.free_chunks();
}

TEST_P(Chunks, OfBothSizesKeepTheirOrder) {
  Streamed world(GetParam());
  HttpAnswer answer = pattern_answer(200'000, 6000);
  answer.trailers = {{"x-sum", "1"}};
  world.server->set_answer(answer);
  world.hold_chunks = true;
  Reply& reply = world.finish(world.start(world.site, {}));
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_TRUE(reply.body == origin::pattern(0, 200'000));
  EXPECT_EQ(reply.events, "HCTF");
  world.free_chunks();
}

TEST_P(Chunks, ThatWereGatheredComeBeforeAnError) {
  Streamed world(GetParam(), {{"stall.timeout", "1s"}});
  HttpAnswer answer = pattern_answer(1000, 1, 500);
  answer.piece_delay = ms(1);
  world.server->set_answer(answer);
  world.hold_chunks = true;
  const conpool_op op = world.start(world.site, {});
  world.run_and_take(kSecond);
  EXPECT_EQ(world.reply(op).body.size(), 64u);
  const Reply& reply = world.finish(op);
  EXPECT_EQ(status_name(reply.status), "E_STALL_TIMEOUT");
  EXPECT_TRUE(reply.body == origin::pattern(0, 500));
  world.free_chunks();
}

// --- who is waited for ---------------------------------------------------------------------------

TEST_P(Chunks, HeldInASmallWindowAreNoStall) {
  const OptionList options = {
      {"stall.timeout", "1s"}, {"h2.stream_window", "65535"}, {"h2.window_max", "65535"}};
  Streamed world(GetParam(), options);
  world.server->set_answer(pattern_answer(400'000, 16384));
  world.hold_chunks = true;
  const conpool_op op = world.start(world.site, {});
  world.run_and_take(10 * kSecond);
  EXPECT_FALSE(world.reply(op).ended) << world.reply(op).report;
  EXPECT_GT(world.reply(op).body.size(), 60'000u);
  world.hold_chunks = false;
  world.free_chunks();
  EXPECT_TRUE(world.finish(op).ok()) << world.reply(op).report;
}

// A request that waited until others freed their chunks has its time-out again.
TEST_P(Chunks, AStallAfterAFullPoolIsNoticed) {
  Streamed world(GetParam(), {{"stall.timeout", "1s"}, {"total.timeout", "0"}},
                 {{"pool.max_pinned", "64KiB"}});
  world.server->set_answer(pattern_answer(500'000, 16384, 160'000));
  world.hold_chunks = true;
  const conpool_op keeper = world.start(world.site, {});
  world.run_and_take(ms(500));
  ASSERT_GT(world.reply(keeper).body.size(), 100'000u);
  world.hold_chunks = false;
  world.server->set_answer(pattern_answer(500'000, 16384, 32'000));
  const conpool_op other = world.start(world.site, {});
  world.run_and_take(5 * kSecond);
  EXPECT_FALSE(world.reply(other).ended) << world.reply(other).report;
  const Time freed = world.now();
  world.free_chunks();
  EXPECT_EQ(status_name(world.finish(other).status), "E_STALL_TIMEOUT");
  EXPECT_EQ(world.reply(other).at - freed, kSecond);
  EXPECT_EQ(status_name(world.finish(keeper).status), "E_STALL_TIMEOUT");
}

// --- pieces of an announced size -----------------------------------------------------------------

Ask upload(int64_t size, HttpFields trailers = {}) {
  Ask ask{.method = "POST", .target = "/echo", .trailers = std::move(trailers)};
  ask.pieces = size;
  return ask;
}

TEST_P(Chunks, AnAnnouncedBodyIsOverWithItsLastByte) {
  for (const bool trailed : {false, true}) {
    Streamed world(GetParam(), {{"stall.timeout", "1s"}});
    HttpAnswer slow;
    slow.text = "ok";
    slow.head_delay = 5 * kSecond;  // longer than a stall: nothing is due from the client
    world.server->set_answer(slow);
    const conpool_op op =
        world.start(world.site, upload(5, trailed ? HttpFields{{"x-sum", "1"}} : HttpFields{}));
    const conpool_op first = world.write_piece(op, "he", false);
    world.run_and_take(ms(100));
    EXPECT_EQ(world.write_status(first), 0);
    const conpool_op second = world.write_piece(op, "llo", false);
    world.run_and_take(ms(100));
    EXPECT_EQ(world.write_status(second), 0);
    // Its end may be said, once.
    EXPECT_EQ(world.write_piece(op, "!", false), 0u);
    const conpool_op end = world.write_piece(op, "", true);
    world.run_and_take(ms(1));
    EXPECT_EQ(world.write_status(end), 0);
    EXPECT_EQ(world.write_piece(op, "", true), 0u);
    const Reply& reply = world.finish(op);
    EXPECT_TRUE(reply.ok()) << reply.report;
    ASSERT_EQ(world.server->log().size(), 1u);
    const HttpRequest& seen = *world.server->log().front();
    EXPECT_TRUE(seen.complete);
    EXPECT_EQ(seen.body_hash, origin::hash_of("hello"));
    EXPECT_EQ(seen.trailers.size(), trailed ? 1u : 0u);
    EXPECT_TRUE(world.perform(world.site, {}).ok());
  }
}

TEST_P(Chunks, AnAnnouncedBodyOfNothingIsOverAtOnce) {
  for (const bool trailed : {false, true}) {
    for (const bool said : {false, true}) {
      Streamed world(GetParam(), {{"stall.timeout", "1s"}});
      const conpool_op op =
          world.start(world.site, upload(0, trailed ? HttpFields{{"x-sum", "1"}} : HttpFields{}));
      const conpool_op end = said ? world.write_piece(op, "", true) : 0;
      const Reply& reply = world.finish(op);
      EXPECT_TRUE(reply.ok()) << reply.report;
      EXPECT_EQ(reply.body, "");
      EXPECT_LT(reply.took(), ms(200));
      if (said) {
        EXPECT_EQ(world.write_status(end), 0);
      }
    }
  }
}

TEST_P(Chunks, AnAnnouncedBodyThatStopsShortWaitsForItsCaller) {
  Streamed world(GetParam(), {{"stall.timeout", "1s"}, {"total.timeout", "10s"}});
  const conpool_op op = world.start(world.site, upload(5));
  world.write_piece(op, "hell", false);
  const Reply& reply = world.finish(op);
  EXPECT_EQ(status_name(reply.status), "E_TIMEOUT");
  EXPECT_EQ(world.server->http_counts().complete, 0u);
}

std::string test_name(const ::testing::TestParamInfo<Wire>& info) {
  constexpr const char* kNames[] = {"Http1", "TlsHttp1", "H2c", "H2"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(HttpStream, Chunks, ::testing::ValuesIn(kWires), test_name);

}  // namespace
}  // namespace conpool::sim
