// The session with a well-behaved server: requests, responses, bodies, trailers, coalescing.
#include <functional>
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

TEST(H2Session, TheFirstFlightDoesNotWaitForTheServer) {
  Rig rig;
  rig.make();
  rig.session->start(rig.watch);
  rig.get();
  rig.turn();
  EXPECT_EQ(rig.wire->writes, 1U);
  EXPECT_TRUE(rig.wire->sent.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  const std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 3U);
  EXPECT_EQ(frames[0].type, NGHTTP2_SETTINGS);
  const auto value_of = [&](uint16_t id) {
    for (size_t at = 0; at + 6 <= frames[0].payload.size(); at += 6) {
      if (frames[0].code(at) >> 16 == id) return static_cast<int64_t>(frames[0].code(at + 2));
    }
    return int64_t{-1};
  };
  EXPECT_EQ(value_of(NGHTTP2_SETTINGS_ENABLE_PUSH), 0);
  EXPECT_EQ(value_of(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 1 << 20);
  EXPECT_EQ(value_of(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), 65536);
  EXPECT_EQ(value_of(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES), 1);
  EXPECT_EQ(frames[1].type, NGHTTP2_WINDOW_UPDATE);
  EXPECT_EQ(frames[1].stream, 0);
  EXPECT_EQ(frames[1].code(), (4U << 20) - 65535);
  EXPECT_EQ(frames[2].type, NGHTTP2_HEADERS);
  EXPECT_TRUE(frames[2].flags & NGHTTP2_FLAG_END_STREAM);
}

TEST(H2Session, ATurnIsOneWrite) {
  Rig rig;
  rig.open_with(settings());
  const size_t before = rig.wire->writes;
  for (int i = 0; i < 50; ++i)
    rig.get();
  // What the pool grants at the turn's end goes with them.
  rig.loop->defer([&rig] {
    for (int i = 0; i < 50; ++i)
      rig.get();
  });
  EXPECT_EQ(rig.wire->writes, before);
  rig.turn();
  EXPECT_EQ(rig.wire->writes, before + 1);
  EXPECT_EQ(rig.sent_of(NGHTTP2_HEADERS), 100U);
}

TEST(H2Session, BodiesOfEverySizeBothWays) {
  for (const uint32_t window : {65535U, 1U << 20}) {
    for (const size_t size : {0UL, 1UL, 16384UL, 16385UL, 65535UL, 65536UL, 1000000UL, 5000000UL}) {
      for (const bool sized : {true, false}) {
        SCOPED_TRACE(std::to_string(size) + (sized ? " sized" : " unsized"));
        PeerRig rig({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}});
        rig.values.h2_stream_window = 65535;
        rig.values.h2_connection_window = 65535;
        rig.values.h2_window_max = 65535;
        rig.connect();
        std::string body(size, 'x');
        for (size_t i = 0; i < size; i += 1000)
          body[i] = static_cast<char>(i / 1000);
        Call& call = rig.post(body, sized);
        rig.talk();
        const Peer::Request& seen = rig.peer->requests.at(1);
        ASSERT_TRUE(seen.complete);
        EXPECT_TRUE(seen.body == body);
        EXPECT_EQ(seen.fields.count("content-length"), sized ? 1U : 0U);
        rig.peer->answer(1, "200", body);
        rig.talk();
        EXPECT_EQ(call.status(), Status::OK);
        EXPECT_TRUE(call.received == body);
        EXPECT_EQ(call.body.taken, size);
      }
    }
  }
}

TEST(H2Session, TrailersBothWays) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.prepare("/", "POST");
  call.with_body = true;
  call.body.bytes = "abc";
  call.head.trailers.add("x-sum", "1");
  call.head.trailers.add("x-time", "2");
  rig.begin(call);
  rig.talk();
  const Peer::Request& seen = rig.peer->requests.at(1);
  EXPECT_TRUE(seen.complete);
  EXPECT_EQ(seen.body, "abc");
  EXPECT_EQ(seen.fields.at("trailer"), "x-sum, x-time");
  EXPECT_EQ(seen.trailers, (std::map<std::string, std::string>{{"x-sum", "1"}, {"x-time", "2"}}));
  rig.peer->answer(1, "200", "def", {}, {{"x-back", "3"}});
  rig.talk();
  EXPECT_EQ(call.log, "sent head body trailers done");
  EXPECT_EQ(call.trailers.find("x-back"), "3");
  EXPECT_EQ(call.received, "def");
}

TEST(H2Session, TrailersAfterAnEmptyBody) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.prepare("/", "POST");
  call.with_body = true;
  call.head.trailers.add("x-sum", "0");
  rig.begin(call);
  rig.talk();
  const Peer::Request& seen = rig.peer->requests.at(1);
  EXPECT_TRUE(seen.complete);
  EXPECT_EQ(seen.body, "");
  EXPECT_EQ(seen.trailers.at("x-sum"), "0");
  EXPECT_EQ(call.log, "sent ");
}

// An endless upload leaves the turn to others now and then.
TEST(H2Session, AnUploadTakesManyTurns) {
  Rig rig;
  rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1U << 30)) +
                window_update(0, 1U << 30));
  Call& call = rig.post(std::string(20'000'000, 'x'));
  rig.loop->run_turn(rig.loop->now());
  EXPECT_GT(call.body.taken, 1'000'000U);
  EXPECT_LT(call.body.taken, 5'000'000U);
  rig.turn();
  EXPECT_EQ(call.log, "sent ");
}

TEST(H2Session, ABodyInPieces) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.prepare("/", "POST");
  call.with_body = true;
  call.body.ended = false;
  rig.begin(call);
  rig.talk();
  EXPECT_TRUE(rig.peer->requests.at(1).headers_done);
  for (int i = 0; i < 5; ++i) {
    call.body.bytes += "piece";
    rig.talk();
    EXPECT_EQ(rig.peer->requests.at(1).body.size(), 5U * static_cast<size_t>(i));
    call.exchange->body_ready();
    rig.talk();
    EXPECT_EQ(rig.peer->requests.at(1).body.size(), 5U * static_cast<size_t>(i + 1));
  }
  EXPECT_EQ(call.log, "");
  call.body.ended = true;
  call.exchange->body_ready();
  rig.talk();
  EXPECT_TRUE(rig.peer->requests.at(1).complete);
  EXPECT_EQ(call.log, "sent ");
}

TEST(H2Session, ABodyIsAsLongAsAnnounced) {
  for (const uint64_t announced : {2U, 4U}) {
    PeerRig rig;
    rig.connect();
    Call& call = rig.prepare("/", "POST");
    call.with_body = true;
    call.body.bytes = "abc";
    call.body.announced = announced;
    rig.begin(call);
    rig.talk();
    EXPECT_EQ(call.status(), Status::E_HTTP_BODY_LENGTH);
    EXPECT_EQ(call.end.phase, Phase::Send);
    EXPECT_EQ(call.end.lease, LeaseEnd::Reusable);
    EXPECT_TRUE(rig.peer->requests.empty() || !rig.peer->requests.at(1).complete);
    rig.get();
    rig.talk();
    rig.peer->answer(rig.last(), "200", "");
    rig.talk();
    EXPECT_EQ(rig.calls.back()->status(), Status::OK);
  }
}

TEST(H2Session, ResponsesWithoutABody) {
  for (const char* status : {"200", "204", "304", "404"}) {
    PeerRig rig;
    rig.connect();
    Call& call = rig.begin(rig.prepare("/", "HEAD"));
    rig.talk();
    EXPECT_EQ(rig.peer->requests.at(1).fields.at(":method"), "HEAD");
    rig.peer->answer(1, status, "", {{"content-length", "1000"}});
    rig.talk();
    if (std::string_view(status) == "204") continue;  // may not name a length at all
    EXPECT_EQ(call.log, "sent head done") << status;
    EXPECT_EQ(call.status(), Status::OK) << status;
  }
}

TEST(H2Session, LargePartsAreNotCopied) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.feed(response(1, "200", false) + data(1, std::string(4095, 'a'), false) +
           data(1, std::string(4096, 'b'), false) + data(1, std::string(16384, 'c'), true));
  EXPECT_EQ(call.received.size(), 4095U + 4096U + 16384U);
  EXPECT_EQ(call.parts, 3U);
  EXPECT_EQ(call.referenced, 2U);
}

TEST(H2Session, InterimResponsesComeFirst) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.feed(headers(1, field(":status", "103") + field("link", "</a>"), false) +
           response(1, "102", false) + response(1, "200", true));
  EXPECT_EQ(call.log, "sent interim interim head done");
  EXPECT_EQ(call.interims, (std::vector<uint16_t>{103, 102}));
  EXPECT_EQ(call.response.status, 200);
  EXPECT_TRUE(call.response.fields.empty());
}

TEST(H2Session, TheBodyWaitsForContinue) {
  Rig rig;
  rig.open_with(settings());
  const auto expecting = [&rig]() -> Call& {
    Call& call = rig.prepare("/", "POST");
    call.with_body = true;
    call.body.bytes = "abc";
    call.head.expect_continue = true;
    call.options.expect_timeout = 300 * kMillisecond;
    rig.begin(call);
    rig.turn();
    const std::vector<Frame> frames = rig.sent();
    EXPECT_EQ(frames.size(), 1U);
    EXPECT_FALSE(frames.at(0).flags & NGHTTP2_FLAG_END_STREAM);
    return call;
  };
  // The server says 100.
  expecting();
  rig.feed(response(1, "100", false));
  EXPECT_EQ(rig.sent_of(NGHTTP2_DATA), 1U);
  EXPECT_EQ(rig.calls.back()->log, "interim sent ");
  // It says nothing: after exactly the time.
  expecting();
  rig.pass(300 * kMillisecond - 1);
  EXPECT_EQ(rig.sent_of(NGHTTP2_DATA), 0U);
  rig.pass(1);
  EXPECT_EQ(rig.sent_of(NGHTTP2_DATA), 1U);
  // A final answer, whatever it says: the body never goes, the stream is given up at its end.
  int32_t id = 5;
  for (const char* status : {"200", "204", "302", "401", "417", "500"}) {
    SCOPED_TRACE(status);
    Call& answered = expecting();
    rig.feed(response(id, status, false));
    rig.pass(kSecond);
    EXPECT_TRUE(rig.wire->sent.empty());
    answered.exchange->body_ready();
    rig.feed(data(id, "", true));
    EXPECT_EQ(answered.log, "head done");
    EXPECT_EQ(answered.status(), Status::OK);
    EXPECT_EQ(answered.end.lease, LeaseEnd::Reusable);
    EXPECT_EQ(answered.body.taken, 0U);
    const std::vector<Frame> frames = rig.sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].type, NGHTTP2_RST_STREAM);
    EXPECT_EQ(frames[0].stream, id);
    EXPECT_EQ(frames[0].code(), static_cast<uint32_t>(NGHTTP2_NO_ERROR));
    id += 2;
  }
  // Cancelled after such an answer, and cut off.
  Call& cancelled = expecting();
  rig.feed(response(id, "200", false));
  rig.cancel(cancelled);
  rig.turn();
  EXPECT_EQ(rig.sent_of(NGHTTP2_RST_STREAM), 1U);
  Call& cut = expecting();
  rig.feed(response(id + 2, "200", false));
  rig.cut();
  EXPECT_EQ(cut.status(), Status::E_HTTP_TRUNCATED);
  EXPECT_EQ(cut.end.proof, Proof::MaybeProcessed);
}

TEST(H2Session, TheServerIsToldThatTheBodyWaits) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.prepare("/", "POST");
  call.with_body = true;
  call.body.bytes = "abc";
  call.head.expect_continue = true;
  rig.begin(call);
  rig.turn();
  ASSERT_TRUE(rig.peer->take(rig.wire->sent));
  EXPECT_EQ(rig.peer->requests.at(1).fields.at("expect"), "100-continue");
  EXPECT_FALSE(rig.peer->requests.at(1).complete);
}

TEST(H2Session, AnEarlyResponseStopsTheUpload) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.post(std::string(1000000, 'x'));
  call.body.piece = 1000;
  rig.turn();
  rig.peer->take(rig.wire->sent.substr(0, 2000));
  rig.wire->sent.clear();
  rig.feed(response(1, "200", false) + data(1, "enough", true));
  EXPECT_EQ(call.log, "head body done");
  EXPECT_EQ(call.status(), Status::OK);
  EXPECT_EQ(call.end.lease, LeaseEnd::Reusable);
  const std::vector<Frame> frames = rig.sent();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().type, NGHTTP2_RST_STREAM);
  EXPECT_EQ(frames.back().code(), static_cast<uint32_t>(NGHTTP2_NO_ERROR));
  // The server may say the same.
  rig.feed(rst(1, NGHTTP2_NO_ERROR));
  EXPECT_TRUE(rig.watch.deaths.empty());
}

TEST(H2Session, SentIsToldWhenTheTransportHasTheLastByte) {
  Rig rig;
  rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1U << 30)) +
                window_update(0, 1U << 30));
  rig.wire->room = 50;
  Call& call = rig.post(std::string(100000, 'x'));
  rig.turn();
  EXPECT_EQ(rig.wire->sent.size(), 50U);
  EXPECT_EQ(call.log, "");
  size_t rounds = 0;
  while (call.log.empty() && ++rounds < 10000)
    rig.unblock(1000);
  EXPECT_EQ(call.log, "sent ");
  EXPECT_GT(rounds, 99U);
  size_t bytes = 0;
  for (const Frame& one : rig.sent())
    bytes += one.type == NGHTTP2_DATA ? one.payload.size() : 0;
  EXPECT_EQ(bytes, 100000U);
}

TEST(H2Session, APeerThatStopsReadingIsOwedLittle) {
  Rig rig;
  rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1U << 30)) +
                window_update(0, 1U << 30));
  rig.wire->room = 0;
  Call& call = rig.post(std::string(10'000'000, 'x'));
  rig.turn();
  EXPECT_LE(call.body.taken, Session::kFill + 16384);
  EXPECT_TRUE(rig.wire->reading);
  for (int i = 0; i < 300; ++i)
    rig.feed(ping("12345678"));
  EXPECT_FALSE(rig.wire->reading);
  rig.unblock();
  EXPECT_TRUE(rig.wire->reading);
  EXPECT_TRUE(call.log.starts_with("sent"));
  EXPECT_EQ(rig.sent_of(NGHTTP2_PING), 300U);
}

TEST(H2Session, ManyAtOnceOnAServerWithALimit) {
  PeerRig rig({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10}});
  rig.connect();
  EXPECT_EQ(rig.session->capacity().hard, 10U);
  size_t begun = 0;
  while (begun < 1000) {
    for (int i = 0; i < 10; ++i, ++begun)
      rig.get();
    rig.talk();
    for (auto& [id, request] : rig.peer->requests) {
      if (request.complete) rig.peer->answer(id, "200", "hello " + std::to_string(id));
    }
    rig.peer->requests.clear();
    rig.talk();
    rig.peer->requests.clear();
  }
  for (const auto& call : rig.calls)
    EXPECT_EQ(call->status(), Status::OK);
  EXPECT_EQ(rig.peer->most_open, 10U);
}

TEST(H2Session, AReadOfOneByteIsARead) {
  PeerRig rig;
  rig.read_size = 1;
  rig.connect();
  Call& call = rig.post("question");
  rig.talk();
  rig.peer->answer(1, "200", std::string(3000, 'y'), {{"a", "b"}}, {{"c", "d"}});
  rig.talk();
  EXPECT_EQ(call.log, "sent head body trailers done");
  EXPECT_EQ(call.received, std::string(3000, 'y'));
  EXPECT_EQ(call.parts, 3000U);
}

TEST(H2Session, ARequestHeaderOfManyFrames) {
  PeerRig rig;
  rig.connect();
  Call& call = rig.prepare();
  std::string value;
  for (int i = 0; i < 60000; ++i)
    value += static_cast<char>('a' + i % 26);
  call.head.fields.add("x-long", value);
  rig.begin(call);
  rig.talk();
  ASSERT_TRUE(rig.peer->requests.at(1).complete);
  EXPECT_TRUE(rig.peer->requests.at(1).fields.at("x-long") == value);
  // Beyond any sense: refused without a byte of it, and no other is harmed.
  Call& huge = rig.prepare();
  huge.head.fields.add("x-huge", std::string(2 << 20, 'a'));
  rig.begin(huge);
  rig.get();
  rig.talk();
  EXPECT_EQ(huge.status(), Status::E_BAD_FIELD);
  EXPECT_EQ(huge.end.proof, Proof::NeverSent);
  EXPECT_TRUE(rig.peer->requests.rbegin()->second.complete);
}

// Memory that runs out fails the connection, never the process, wherever it happens.
TEST(H2Session, OutOfMemory) {
  struct Hungry final : session::BodySource {
    std::optional<uint64_t> size() const override { return 1; }
    Piece peek() override { throw std::bad_alloc(); }
    void take(size_t) override {}
  };
  Rig rig;
  rig.open_with(settings());
  Call& other = rig.get();
  rig.turn();
  Hungry body;
  Call& call = rig.prepare("/", "POST");
  call.exchange = &rig.session->begin(call.head, &body, call, {});
  rig.turn();
  EXPECT_EQ(call.status(), Status::E_NOMEM);
  EXPECT_EQ(call.end.proof, Proof::NeverSent);
  EXPECT_EQ(other.status(), Status::E_NOMEM);
  EXPECT_EQ(other.end.proof, Proof::MaybeProcessed);
  ASSERT_EQ(rig.watch.deaths.size(), 1U);
  EXPECT_EQ(rig.watch.deaths[0].status, Status::E_NOMEM);

  Rig second;
  second.open_with(settings());
  Call& greedy = second.get();
  greedy.then = [&greedy] { greedy.then = [] { throw std::bad_alloc(); }; };
  second.turn();
  second.feed(response(1, "200", false) + data(1, "abc", true));
  EXPECT_EQ(greedy.status(), Status::OK);  // it was over already
  ASSERT_EQ(second.watch.deaths.size(), 1U);
  EXPECT_EQ(second.watch.deaths[0].status, Status::E_NOMEM);
}

// Whatever a handler does, it does after nghttp2 has returned.
TEST(H2Session, HandlersMayDoAnything) {
  for (const char* when : {"sent", "interim", "head", "body", "trailers", "done"}) {
    for (const char* what : {"cancel", "close", "abort", "begin"}) {
      SCOPED_TRACE(std::string(when) + " " + what);
      Rig rig;
      rig.open_with(settings());
      Call& call = rig.get();
      Call& other = rig.get();
      std::function<void()> watch = [&] {
        if (!call.log.ends_with(std::string(when) + " ") && !call.log.ends_with(when)) {
          call.then = watch;
          return;
        }
        const std::string_view verb = what;
        if (verb == "cancel" && call.exchange != nullptr) rig.cancel(call);
        if (verb == "cancel") rig.cancel(other);
        if (verb == "close" || verb == "abort") {
          rig.session->close(verb == "abort");
          rig.loop->discard(std::move(rig.session));
        }
        if (verb == "begin") rig.get();
      };
      call.then = watch;
      rig.turn();
      rig.feed(response(1, "103", false) + response(1, "200", false) + data(1, "abc", false) +
               headers(1, field("x", "y"), true) + response(3, "200", false));
      const std::string_view verb = what;
      if (verb == "cancel") {
        EXPECT_FALSE(other.done);
        EXPECT_EQ(call.done, std::string_view(when) == "done");
      } else {
        EXPECT_TRUE(call.done);
        EXPECT_EQ(other.done, verb != "begin");
      }
      if (verb == "close" || verb == "abort") {
        EXPECT_EQ(other.status(), Status::E_CLOSED);
        EXPECT_EQ(call.status(), std::string_view(when) == "done" ? Status::OK : Status::E_CLOSED);
        EXPECT_TRUE(rig.wire->closed);
        EXPECT_EQ(rig.wire->aborted, verb == "abort");
        EXPECT_TRUE(rig.watch.deaths.empty());
      }
    }
  }
}

}  // namespace
}  // namespace conpool::h2::test
