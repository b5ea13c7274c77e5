// How exchanges end: resets, GOAWAY, cuts, cancels, broken peers; each with its proof.
#include "rig.h"

namespace conpool::h2::test {
namespace {

using session::LeaseEnd;

const std::string kFrom = ", from tcp:192.0.2.1:443 of example.test:443";

// --- RST_STREAM ---------------------------------------------------------------------------------

TEST(H2Ends, EveryResetCode) {
  for (uint32_t code = 0; code <= 20; ++code) {
    SCOPED_TRACE(code);
    for (const bool answered : {false, true}) {
      Rig rig;
      rig.open_with(settings());
      Call& call = rig.get();
      Call& other = rig.get();
      rig.turn();
      if (answered) rig.feed(response(1, "200", false) + data(1, "part", false));
      rig.feed(rst(1, code));
      ASSERT_TRUE(call.done);
      EXPECT_EQ(call.end.failure.h2_error, code);
      const bool refused = code == NGHTTP2_REFUSED_STREAM && !answered;
      const bool http1 = code == NGHTTP2_HTTP_1_1_REQUIRED && !answered;
      EXPECT_EQ(call.status(), refused ? Status::E_H2_REFUSED
                               : http1 ? Status::E_H2_HTTP_1_1_REQUIRED
                                       : Status::E_H2_STREAM_RESET);
      EXPECT_EQ(call.end.proof, refused || http1 ? Proof::NotProcessed : Proof::MaybeProcessed);
      EXPECT_EQ(call.end.lease, refused || http1 ? LeaseEnd::NotProcessed : LeaseEnd::Reusable);
      EXPECT_EQ(call.end.needs_http1, http1);
      EXPECT_EQ(call.end.phase, Phase::Receive);
      if (!refused && !http1) {
        const std::string name =
            code <= 13 ? nghttp2_http2_strerror(code) : "error code " + std::to_string(code);
        EXPECT_EQ(call.end.failure.detail, name + kFrom);
      }
      rig.feed(response(3, "200", true));
      EXPECT_EQ(other.status(), Status::OK);
      EXPECT_TRUE(rig.watch.deaths.empty());
    }
  }
}

TEST(H2Ends, AResetAfterTheWholeResponseIsNoNews) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.get();
  rig.turn();
  rig.feed(response(1, "200", true) + rst(1, NGHTTP2_NO_ERROR));
  EXPECT_EQ(call.status(), Status::OK);
  rig.feed(rst(1, NGHTTP2_CANCEL));
  EXPECT_EQ(rig.session->figures().glitches, 1U);
}

// --- GOAWAY -------------------------------------------------------------------------------------

TEST(H2Ends, AGracefulGoawayInTwoSteps) {
  Rig rig;
  rig.open_with(settings());
  Call& first = rig.get();
  Call& second = rig.get();
  rig.turn();
  rig.feed(goaway(INT32_MAX, NGHTTP2_NO_ERROR));
  ASSERT_EQ(rig.watch.drains.size(), 1U);
  EXPECT_EQ(rig.watch.drains[0].status, Status::E_H2_GOAWAY);
  EXPECT_FALSE(first.done || second.done);
  EXPECT_EQ(rig.session->capacity().hard, 0U);
  Call& late = rig.get();  // granted before the pool heard of it
  rig.turn();
  EXPECT_EQ(late.status(), Status::E_H2_GOAWAY);
  EXPECT_EQ(late.end.proof, Proof::NeverSent);
  EXPECT_EQ(late.end.lease, LeaseEnd::NotProcessed);
  rig.feed(goaway(1, NGHTTP2_NO_ERROR));
  EXPECT_EQ(rig.watch.drains.size(), 1U);
  EXPECT_EQ(second.status(), Status::E_H2_GOAWAY);
  EXPECT_EQ(second.end.proof, Proof::NotProcessed);
  EXPECT_EQ(second.end.lease, LeaseEnd::NotProcessed);
  rig.feed(response(1, "200", true));
  EXPECT_EQ(first.status(), Status::OK);
  rig.eof();
  ASSERT_EQ(rig.watch.deaths.size(), 1U);
}

TEST(H2Ends, GoawayTable) {
  struct Row {
    int32_t last;
    uint32_t code;
    size_t survivors;  // of streams 1, 3, 5
  };
  for (const Row& row : {Row{0, NGHTTP2_NO_ERROR, 0}, Row{1, NGHTTP2_NO_ERROR, 1},
                         Row{3, NGHTTP2_ENHANCE_YOUR_CALM, 2}, Row{5, NGHTTP2_INTERNAL_ERROR, 3},
                         Row{0, NGHTTP2_PROTOCOL_ERROR, 0}}) {
    for (const bool mid_body : {false, true}) {
      SCOPED_TRACE(std::to_string(row.last) + " " + std::to_string(row.code));
      Rig rig;
      rig.open_with(settings());
      for (int i = 0; i < 3; ++i)
        rig.get();
      rig.turn();
      if (mid_body) rig.feed(response(1, "200", false) + data(1, "half", false));
      rig.feed(goaway(row.last, row.code, "because"));
      ASSERT_EQ(rig.watch.drains.size(), 1U);
      EXPECT_EQ(rig.watch.drains[0].h2_error, row.code);
      for (size_t i = 0; i < 3; ++i) {
        const Call& call = *rig.calls[i];
        EXPECT_EQ(call.done, i >= row.survivors);
        if (!call.done) continue;
        EXPECT_EQ(call.status(), Status::E_H2_GOAWAY);
        EXPECT_EQ(call.end.failure.h2_error, row.code);
        EXPECT_NE(call.end.failure.detail.find("because"), std::string::npos);
        // A peer that takes some of them makes progress.
        EXPECT_EQ(call.end.served, row.last > 0);
        // One that was being answered was processed, whatever GOAWAY says.
        EXPECT_EQ(call.end.proof, mid_body && i == 0 ? Proof::MaybeProcessed : Proof::NotProcessed);
      }
      // The rest: the server closes without having answered.
      rig.eof();
      for (size_t i = 0; i < row.survivors; ++i) {
        const Call& call = *rig.calls[i];
        ASSERT_TRUE(call.done);
        EXPECT_EQ(call.end.proof, Proof::MaybeProcessed);
        EXPECT_EQ(call.end.lease, LeaseEnd::Broken);
        if (row.code != NGHTTP2_NO_ERROR) {
          EXPECT_EQ(call.status(), Status::E_H2_GOAWAY);
          EXPECT_EQ(call.end.failure.h2_error, row.code);
        } else {
          EXPECT_EQ(call.status(),
                    mid_body && i == 0 ? Status::E_HTTP_TRUNCATED : Status::E_HTTP_NO_RESPONSE);
        }
      }
      EXPECT_EQ(rig.watch.deaths.size(), 1U);
    }
  }
}

TEST(H2Ends, AGoawayThatDemandsHttp1) {
  Rig rig;
  rig.open_with(settings());
  rig.get();
  rig.get();
  rig.turn();
  rig.feed(goaway(1, NGHTTP2_HTTP_1_1_REQUIRED));
  EXPECT_FALSE(rig.calls[0]->done);
  EXPECT_EQ(rig.calls[1]->status(), Status::E_H2_HTTP_1_1_REQUIRED);
  EXPECT_EQ(rig.calls[1]->end.proof, Proof::NotProcessed);
  EXPECT_TRUE(rig.calls[1]->end.needs_http1);
}

TEST(H2Ends, GoawayWhileUploading) {
  Rig rig;
  rig.open_with(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000)));
  rig.post(std::string(100000, 'x'));
  rig.post(std::string(100000, 'x'));
  rig.turn();
  rig.feed(goaway(1, NGHTTP2_NO_ERROR));
  EXPECT_FALSE(rig.calls[0]->done);
  EXPECT_EQ(rig.calls[1]->end.proof, Proof::NotProcessed);
  EXPECT_EQ(rig.calls[1]->end.phase, Phase::Send);
  rig.sent();
  rig.feed(window_update(1, 1000000) + window_update(0, 1000000));
  size_t bytes = 0;
  for (const Frame& one : rig.sent()) {
    EXPECT_EQ(one.stream, 1);
    bytes += one.payload.size();
  }
  EXPECT_EQ(bytes, 99000U);
  rig.feed(response(1, "200", true));
  EXPECT_EQ(rig.calls[0]->status(), Status::OK);
}

TEST(H2Ends, GoawayFindsRequestsThatNeverLeft) {
  Rig rig;
  rig.open_with(settings());
  rig.wire->room = 0;
  rig.get();
  rig.turn();
  rig.get();
  rig.feed(goaway(0, NGHTTP2_NO_ERROR));
  for (const auto& call : rig.calls) {
    EXPECT_EQ(call->status(), Status::E_H2_GOAWAY);
    EXPECT_EQ(call->end.proof, Proof::NeverSent);
    EXPECT_EQ(call->end.lease, LeaseEnd::NotProcessed);
  }
}

TEST(H2Ends, AnEndTellsWhetherTheConnectionServed) {
  for (const bool served : {false, true}) {
    SCOPED_TRACE(served);
    const std::vector<std::pair<const char*, std::string>> rows = {
        {"goaway", goaway(0, NGHTTP2_NO_ERROR)}, {"refused", rst(3, NGHTTP2_REFUSED_STREAM)},
        {"reset", rst(3, NGHTTP2_CANCEL)},       {"malformed", headers(3, field("a", "b"), true)},
        {"broken", data(0, "abc", false)},       {"cut", ""},
    };
    for (const auto& [name, bytes] : rows) {
      SCOPED_TRACE(name);
      Rig rig;
      rig.open_with(settings());
      rig.get();
      Call& second = rig.get();
      Call& third = rig.get();
      rig.turn();
      // In the same read as what ends the others.
      rig.feed((served ? response(1, "200", true) : "") + bytes);
      if (bytes.empty()) rig.cut();
      ASSERT_TRUE(second.done);
      EXPECT_NE(second.status(), Status::OK);
      EXPECT_EQ(second.end.served, served);
      if (third.done) {
        EXPECT_EQ(third.end.served, served);
      } else {
        EXPECT_EQ(rig.cancel(third).served, served);
      }
      Call& late = rig.get();
      rig.turn();
      if (late.done) {
        EXPECT_EQ(late.end.served, served);
      }
    }
  }
}

// --- no HTTP/2 at all ---------------------------------------------------------------------------

TEST(H2Ends, APeerThatDoesNotSpeakHttp2) {
  const std::string http1 = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
  for (const std::string& said :
       {std::string(), std::string("HT"), http1, std::string("SSH-2.0-OpenSSH_9.2\r\n"),
        std::string("\x15\x03\x01\x00\x02\x02\x28", 7), std::string("220 smtp.example\r\n"),
        std::string("<html>"), std::string("\r\n"), std::string("\n"), std::string("\x01"),
        // No frame: too long, of no type, with the reserved bit.
        std::string("\0\x40\x01", 3), frame(NGHTTP2_PING, 0, 0, std::string(16385, 'x')),
        frame(0x0b, 0, 0, ""), frame(0x0b, 0, 0, "").substr(0, 4), frame(0xff, 0, 0, "abc"),
        std::string("\0\0\0\x04\0\x80", 6)}) {
    for (const bool reset : {false, true}) {
      SCOPED_TRACE(said);
      Rig rig;
      rig.open();
      rig.get();
      rig.post("body");
      rig.turn();
      rig.feed(said);
      if (reset) {
        rig.cut();
      } else {
        rig.eof();
      }
      for (const auto& call : rig.calls) {
        ASSERT_TRUE(call->done);
        EXPECT_EQ(call->status(), Status::E_H2_PREFACE);
        EXPECT_EQ(call->end.proof, Proof::NotProcessed);
        EXPECT_EQ(call->end.lease, LeaseEnd::NotProcessed);
        EXPECT_TRUE(call->end.needs_http1);
        EXPECT_FALSE(call->end.failure.detail.empty());
        EXPECT_EQ(call->log.find("head"), std::string::npos);
      }
      ASSERT_EQ(rig.watch.deaths.size(), 1U);
      EXPECT_EQ(rig.watch.deaths[0].status, Status::E_H2_PREFACE);
      EXPECT_TRUE(rig.wire->closed);
      if (said == http1) {
        EXPECT_EQ(rig.calls[0]->end.failure.detail,
                  "it began with \"HTTP/1.1 400 Bad Request\"" + kFrom);
      }
    }
  }
}

// What is framed as HTTP/2 comes from a peer that may have understood the requests, however wrong
// the frame is in this place.
TEST(H2Ends, APeerThatDoesNotBeginWithSettings) {
  const std::vector<std::pair<const char*, std::string>> rows = {
      {"settings ack", settings_ack()},
      {"settings ack, settings", settings_ack() + settings()},
      {"ping", ping("12345678")},
      {"ping ack", ping("12345678", true)},
      {"goaway", goaway(0, NGHTTP2_INADEQUATE_SECURITY)},
      {"window update", window_update(0, 1000)},
      {"reset", rst(1, NGHTTP2_REFUSED_STREAM)},
      {"response", response(1, "200", true)},
      {"response, whole", response(1, "200", false) + data(1, "ok", true)},
      {"data", data(1, "abc", true)},
      {"longest data", data(1, std::string(16384, 'x'), true)},
      {"priority", frame(NGHTTP2_PRIORITY, 0, 3, "12345")},
      {"push", frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, be32(2))},
      {"continuation", frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, "")},
      {"altsvc", frame(0x0a, 0, 0, "ab")},
      {"zeros", std::string(100, '\0')},
      {"odd settings", settings("abc")},
  };
  for (const auto& [name, all] : rows) {
    SCOPED_TRACE(name);
    for (const size_t size : {size_t{1}, size_t{4}, size_t{8}, size_t{9}, all.size()}) {
      SCOPED_TRACE(size);
      for (const bool in_bytes : {false, true}) {
        Rig rig;
        rig.open();
        Call& sent = rig.post("body");
        rig.turn();
        rig.wire->room = 0;
        Call& unsent = rig.get();
        rig.turn();
        const std::string said = all.substr(0, size);
        for (size_t at = 0; at < said.size(); at += in_bytes ? 1 : said.size())
          rig.feed(std::string_view(said).substr(at, in_bytes ? 1 : said.size()));
        rig.eof();
        ASSERT_TRUE(sent.done && unsent.done);
        // nghttp2 looks at a frame when its head is whole.
        const bool protocol = sent.status() == Status::E_H2_PROTOCOL;
        EXPECT_TRUE(protocol || (sent.status() == Status::E_HTTP_NO_RESPONSE && size < 9 + 3))
            << status_name(sent.status());
        EXPECT_EQ(sent.end.proof, Proof::MaybeProcessed);
        EXPECT_EQ(sent.end.lease, LeaseEnd::Broken);
        EXPECT_EQ(unsent.status(), sent.status());
        EXPECT_EQ(unsent.end.proof, Proof::NeverSent);
        EXPECT_EQ(unsent.end.lease, LeaseEnd::NotProcessed);
        for (const Call* call : {&sent, &unsent}) {
          EXPECT_FALSE(call->end.needs_http1);
          EXPECT_FALSE(call->end.stale);
          EXPECT_FALSE(call->end.failure.detail.empty());
          EXPECT_EQ(call->log.find("head"), std::string::npos);
        }
        ASSERT_EQ(rig.watch.deaths.size(), 1U);
        EXPECT_TRUE(rig.wire->closed);
      }
    }
  }
}

TEST(H2Ends, TheTransportRefusesThePreface) {
  Rig rig;
  rig.wire->write_failure = {.status = Status::E_CONNECTION_RESET};
  rig.make();
  rig.session->start(rig.watch);
  rig.get();
  rig.turn();
  EXPECT_EQ(rig.calls[0]->status(), Status::E_H2_PREFACE);
  EXPECT_EQ(rig.watch.deaths.size(), 1U);
}

// --- cuts ---------------------------------------------------------------------------------------

std::string conversation() {
  return settings(setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100)) + settings_ack() +
         window_update(0, 1000) + response(1, "103", false) + response(1, "200", false) +
         ping("abcdefgh") + data(1, "hello", false) + response(3, "200", false) +
         headers(1, field("x-sum", "5"), true) + data(3, "world", true) +
         goaway(5, NGHTTP2_NO_ERROR) + rst(5, NGHTTP2_REFUSED_STREAM);
}

// The connection ends after every byte of a whole conversation: each exchange ends once, with the
// right proof, and an end in order is told only when the last frame was whole.
TEST(H2Ends, CutAtEveryByte) {
  const std::string all = conversation();
  const size_t first_whole = all.find("x-sum") + 5 + 2;
  const size_t third_whole = all.find("world") + 5;
  for (size_t cut = 0; cut <= all.size(); ++cut) {
    for (const int how : {0, 1}) {
      SCOPED_TRACE(cut);
      Rig rig;
      rig.open();
      for (int i = 0; i < 3; ++i)
        rig.get();
      rig.turn();
      if (cut > 0) rig.feed(std::string_view(all).substr(0, cut));
      if (how == 0) {
        rig.eof();
      } else {
        rig.cut();
      }
      for (size_t i = 0; i < 3; ++i) {
        const Call& call = *rig.calls[i];
        ASSERT_TRUE(call.done);
        const bool whole = (i == 0 && cut >= first_whole) || (i == 1 && cut >= third_whole);
        EXPECT_EQ(call.status() == Status::OK, whole);
        EXPECT_EQ(call.end.needs_http1, cut == 0);
        if (whole) {
          EXPECT_EQ(call.received, i == 0 ? "hello" : "world");
        } else if (i == 2 && cut == all.size()) {
          EXPECT_EQ(call.end.proof, Proof::NotProcessed);
        } else {
          // A SETTINGS frame that began is of a server that may have understood the request.
          EXPECT_EQ(call.end.proof, cut == 0 ? Proof::NotProcessed : Proof::MaybeProcessed);
        }
      }
      EXPECT_EQ(rig.watch.deaths.size(), 1U);
      EXPECT_EQ(rig.session->figures().active, 0U);
    }
  }
}

// The other direction: the transport breaks after every byte that we send.
TEST(H2Ends, CutAfterEverySentByte) {
  for (size_t room = 0;; ++room) {
    SCOPED_TRACE(room);
    Rig rig;
    rig.open_with(settings());
    rig.wire->room = room;
    Call& call = rig.post("some body");
    rig.turn();
    const bool all = call.log.starts_with("sent");
    rig.cut();
    ASSERT_TRUE(call.done);
    EXPECT_EQ(call.status(), Status::E_HTTP_NO_RESPONSE);
    EXPECT_EQ(call.end.failure.detail, "the peer reset the connection" + kFrom);
    EXPECT_EQ(call.end.proof, room == 0 ? Proof::NeverSent : Proof::MaybeProcessed);
    EXPECT_EQ(call.end.lease, room == 0 ? LeaseEnd::NotProcessed : LeaseEnd::Broken);
    EXPECT_EQ(call.end.phase, all ? Phase::Receive : Phase::Send);
    if (all) break;
  }
}

TEST(H2Ends, AUsedConnectionThatEndsWithoutAWordIsStale) {
  for (const bool used : {false, true}) {
    for (const bool heard : {false, true}) {
      SCOPED_TRACE(std::to_string(used) + std::to_string(heard));
      Rig rig;
      rig.open_with(settings());
      Call& first = rig.get();
      rig.turn();
      if (used) rig.feed(response(1, "200", true));
      Call& second = rig.get();
      rig.turn();
      if (heard) rig.feed(response(3, "200", false));
      rig.eof();
      EXPECT_EQ(second.end.stale, used && !heard);
      EXPECT_EQ(second.end.proof, Proof::MaybeProcessed);
      EXPECT_FALSE(first.end.stale);
    }
  }
}

TEST(H2Ends, AWriteThatFails) {
  Rig rig;
  rig.open_with(settings());
  Call& first = rig.get();
  rig.turn();
  rig.wire->write_failure = {.status = Status::E_CONNECTION_RESET, .os_error = 104};
  Call& second = rig.get();
  rig.turn();
  EXPECT_EQ(first.end.proof, Proof::MaybeProcessed);
  EXPECT_EQ(second.end.proof, Proof::NeverSent);
  EXPECT_EQ(second.end.failure.os_error, 104);
  EXPECT_EQ(rig.watch.deaths.size(), 1U);
}

// --- cancels ------------------------------------------------------------------------------------

TEST(H2Ends, CancelInEveryState) {
  Rig rig;
  rig.open_with(settings());
  // Before the turn's end: nobody else ever hears of it.
  Call& pending = rig.get();
  session::ExchangeEnd end = rig.cancel(pending);
  EXPECT_EQ(end.proof, Proof::NeverSent);
  EXPECT_EQ(end.lease, LeaseEnd::Reusable);
  EXPECT_EQ(end.failure.status, Status::E_CANCELLED);
  rig.turn();
  EXPECT_TRUE(rig.wire->sent.empty());
  // Sent.
  Call& sent = rig.get();
  rig.turn();
  rig.sent();
  end = rig.cancel(sent);
  EXPECT_EQ(end.proof, Proof::MaybeProcessed);
  EXPECT_EQ(end.lease, LeaseEnd::Reusable);
  EXPECT_EQ(end.phase, Phase::Receive);
  rig.turn();
  std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].type, NGHTTP2_RST_STREAM);
  EXPECT_EQ(frames[0].code(), static_cast<uint32_t>(NGHTTP2_CANCEL));
  // What was under way to it hurts nobody.
  rig.feed(response(1, "200", false) + data(1, "late", false) + data(1, "", true));
  EXPECT_EQ(sent.log, "sent ");
  // In the middle of its body.
  Call& half = rig.get();
  rig.turn();
  rig.feed(response(3, "200", false) + data(3, "half", false));
  rig.cancel(half);
  rig.feed(data(3, "rest", true));
  EXPECT_EQ(half.log, "sent head body ");
  // While uploading.
  Call& upload = rig.post(std::string(1000000, 'x'));
  rig.turn();
  end = rig.cancel(upload);
  EXPECT_EQ(end.phase, Phase::Send);
  rig.turn();
  EXPECT_TRUE(rig.watch.deaths.empty());
  EXPECT_EQ(rig.session->figures().active, 0U);
  EXPECT_EQ(rig.session->resets_sent(), 3U);
  EXPECT_FALSE(pending.done || sent.done || half.done || upload.done);
}

TEST(H2Ends, TenThousandCancels) {
  PeerRig rig({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}});
  rig.values.h2_connection_window = 65535;
  rig.values.h2_window_max = 65535;
  rig.values.h2_stream_window = 65535;
  rig.connect();
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 100; ++i)
      rig.get();
    rig.talk();
    for (auto& [id, request] : rig.peer->requests) {
      if (request.complete && !request.reset) rig.peer->answer(id, "200", std::string(5000, 'x'));
    }
    // Cancelled with the body under way and partly read.
    const std::string down = rig.peer->give();
    rig.feed(down.substr(0, down.size() / 2));
    for (const auto& call : rig.calls) {
      if (call->exchange != nullptr) rig.cancel(*call);
    }
    rig.feed(down.substr(down.size() / 2));
    rig.talk();
    rig.peer->requests.clear();
    rig.calls.clear();
  }
  EXPECT_EQ(rig.session->figures().exchanges, 10000U);
  EXPECT_LE(rig.peer->most_open, 100U);
  Call& last = rig.get();
  rig.talk();
  rig.peer->answer(rig.last(), "200", std::string(1000000, 'y'));
  rig.talk();
  EXPECT_EQ(last.status(), Status::OK);
  EXPECT_EQ(last.received.size(), 1000000U);
  EXPECT_TRUE(rig.watch.deaths.empty());
}

TEST(H2Ends, CloseEndsEverything) {
  Rig rig;
  rig.open_with(settings());
  Call& sent = rig.get();
  rig.turn();
  rig.sent();
  Call& pending = rig.get();
  rig.session->close(false);
  EXPECT_FALSE(sent.done);  // later, never inside the call
  const std::vector<Frame> frames = rig.sent();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].type, NGHTTP2_GOAWAY);
  EXPECT_EQ(frames[0].code(4), static_cast<uint32_t>(NGHTTP2_NO_ERROR));
  EXPECT_TRUE(rig.wire->closed);
  rig.session.reset();
  rig.turn();
  EXPECT_EQ(sent.status(), Status::E_CLOSED);
  EXPECT_EQ(sent.end.proof, Proof::MaybeProcessed);
  EXPECT_EQ(sent.end.lease, LeaseEnd::Broken);
  EXPECT_EQ(pending.status(), Status::E_CLOSED);
  EXPECT_EQ(pending.end.proof, Proof::NeverSent);
  EXPECT_TRUE(rig.watch.deaths.empty());
}

// --- malformed responses ------------------------------------------------------------------------

TEST(H2Ends, MalformedResponsesEndTheirStreamAlone) {
  const auto status = [](std::string_view value) { return field(":status", value); };
  const std::vector<std::pair<const char*, std::string>> rows = {
      {"no status", headers(1, field("a", "b"), true)},
      {"two", headers(1, status("200") + status("200"), true)},
      {"short", headers(1, status("20"), true)},
      {"letters", headers(1, status("2x0"), true)},
      {"below 100", headers(1, status("099"), true)},
      {"101", headers(1, status("101"), true)},
      {"upper case", headers(1, status("200") + field("Upper", "b"), true)},
      {"connection", headers(1, status("200") + field("connection", "close"), true)},
      {"transfer-encoding",
       headers(1, status("200") + field("transfer-encoding", "chunked"), true)},
      {"line feed", headers(1, status("200") + field("a", "b\nc: d"), true)},
      {"carriage return", headers(1, status("200") + field("a", "b\rc"), true)},
      {"nul", headers(1, status("200") + field("a", std::string_view("b\0c", 3)), true)},
      {"space in name", headers(1, status("200") + field("a b", "c"), true)},
      {"two lengths",
       headers(1, status("200") + field("content-length", "1") + field("content-length", "1"),
               true)},
      {"signed length", headers(1, status("200") + field("content-length", "+1"), true)},
      {"short body",
       headers(1, status("200") + field("content-length", "5"), false) + data(1, "abc", true)},
      {"no body", headers(1, status("200") + field("content-length", "5"), true)},
      {"long body",
       headers(1, status("200") + field("content-length", "2"), false) + data(1, "abc", true)},
      {"pseudo in trailer", response(1, "200", false) + headers(1, status("200"), true)},
      {"trailer goes on", response(1, "200", false) + headers(1, field("a", "b"), false)},
      {"interim that ends", response(1, "103", true)},
  };
  for (const auto& [name, bytes] : rows) {
    SCOPED_TRACE(name);
    Rig rig;
    rig.open_with(settings());
    Call& call = rig.get();
    Call& other = rig.get();
    rig.turn();
    rig.sent();
    rig.feed(bytes);
    ASSERT_TRUE(call.done);
    EXPECT_EQ(call.status(), Status::E_HTTP_MALFORMED);
    EXPECT_EQ(call.end.proof, Proof::MaybeProcessed);
    EXPECT_EQ(call.end.lease, LeaseEnd::Reusable);
    EXPECT_FALSE(call.end.failure.detail.empty());
    EXPECT_EQ(call.end.failure.detail.find('\n'), std::string::npos);
    EXPECT_EQ(rig.sent_of(NGHTTP2_RST_STREAM), 1U);
    rig.feed(response(3, "200", true));
    EXPECT_EQ(other.status(), Status::OK);
  }
}

TEST(H2Ends, BrokenFramingEndsTheConnection) {
  const std::vector<std::pair<const char*, std::string>> rows = {
      {"push", frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, be32(2) + field("a", "b"))},
      {"server stream", response(2, "200", true)},
      {"idle stream", response(99, "200", true)},
      {"body before head", data(1, "abc", true)},
      {"data on stream 0", data(0, "abc", false)},
      {"short rst", frame(NGHTTP2_RST_STREAM, 0, 1, "abc")},
      {"rst on stream 0", rst(0, 0)},
      {"window of 0 on 0", window_update(0, 0)},
      {"window overflow", window_update(0, 0x7fffffff)},
      {"long frame", data(1, std::string(16385, 'x'), false)},
      {"bad hpack", headers(1, std::string(5, '\xff'), true)},
      {"odd settings", settings("abc")},
      {"bad setting", settings(setting(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1))},
      {"goaway grows", goaway(1, 0) + goaway(5, 0)},
      {"continuation alone", frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, "")},
      {"settings ack unasked", settings_ack()},
  };
  for (const auto& [name, bytes] : rows) {
    SCOPED_TRACE(name);
    Rig rig;
    rig.open_with(settings());
    Call& call = rig.get();
    rig.turn();
    rig.sent();
    rig.feed(bytes);
    ASSERT_TRUE(call.done);
    EXPECT_EQ(call.status(), Status::E_H2_PROTOCOL);
    EXPECT_NE(call.end.failure.h2_error, 0U);
    EXPECT_FALSE(call.end.failure.detail.empty());
    EXPECT_EQ(call.end.proof, Proof::MaybeProcessed);
    EXPECT_EQ(call.end.lease, LeaseEnd::Broken);
    EXPECT_EQ(rig.sent_of(NGHTTP2_GOAWAY), 1U);
    EXPECT_TRUE(rig.wire->closed);
    EXPECT_EQ(rig.watch.deaths.size(), 1U);
  }
}

}  // namespace
}  // namespace conpool::h2::test
