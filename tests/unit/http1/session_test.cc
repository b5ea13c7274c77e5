// One exchange at a time: what a session writes, tells, and leaves behind.
#include "http1/session.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "unit/http1/session_rig.h"

namespace conpool::http1 {
namespace {

using session::LeaseEnd;

// --- one exchange --------------------------------------------------------------------------------

TEST(Session, ServesOneRequestAfterTheOther) {
  Rig rig;
  EXPECT_EQ(rig.session->version(), session::HttpVersion::Http11);
  EXPECT_EQ(rig.session->capacity().hard, 1u);
  for (uint64_t i = 1; i <= 3; ++i) {
    rig.begin();
    EXPECT_EQ(rig.request(), "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    EXPECT_EQ(rig.wire->writes, std::vector<size_t>(i, 37));
    EXPECT_EQ(rig.handler->log, "sent ");
    EXPECT_EQ(rig.session->figures().active, 1u);
    EXPECT_TRUE(rig.data(kOk));
    EXPECT_EQ(rig.handler->log, "sent head 200 body done ");
    EXPECT_EQ(rig.handler->head.fields.find("content-length"), "2");
    EXPECT_EQ(rig.handler->body, "ok");
    EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
    EXPECT_TRUE(rig.idle());
    EXPECT_EQ(rig.session->figures().exchanges, i);
    EXPECT_EQ(rig.session->bytes_out(), i * 37);
    EXPECT_EQ(rig.session->bytes_in(), i * kOk.size());
  }
  EXPECT_EQ(rig.pool->log, "");
}

TEST(Session, WritesAtTheEndOfTheTurn) {
  Rig rig;
  rig.start();
  EXPECT_EQ(rig.wire->written, "");
  EXPECT_EQ(rig.handler->log, "");
  rig.turn();
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(Session, EncodesAHeadThatWasNot) {
  Rig rig;
  rig.handler = std::make_unique<Handler>(rig.inside);
  rig.head.method = "GET";
  rig.head.target = "/x";
  rig.head.authority = "a";
  rig.session->begin(rig.head, nullptr, *rig.handler, {});
  rig.turn();
  EXPECT_EQ(rig.request(), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(Session, TellsInterimHeadsBodyAndTrailersInOrder) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n");
  EXPECT_EQ(rig.handler->log, "sent interim 103 ");
  rig.data("Transfer-Encoding: chunked\r\n\r\n5\r\nhel");
  rig.data("lo\r\n0\r\nX-Sum: 1\r\n\r\n");
  EXPECT_EQ(rig.handler->log, "sent interim 103 head 200 body trailers done ");
  EXPECT_EQ(rig.handler->body, "hello");
  EXPECT_EQ(rig.handler->trailers, "X-Sum=1;");
  EXPECT_TRUE(rig.idle());
}

TEST(Session, ReadsABodyUntilTheEnd) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\n\r\nhello");
  EXPECT_FALSE(rig.handler->done);
  rig.eof();
  EXPECT_EQ(rig.handler->log, "sent head 200 body done ");
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
  EXPECT_EQ(rig.pool->log, "dead ");
  EXPECT_EQ(rig.pool->why.status, Status::E_CONNECTION_CLOSED);
  EXPECT_TRUE(rig.wire->closed);
}

TEST(Session, ABodyUntilTheEndIsCutShortByAnEndWithoutCloseNotify) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\n\r\nhello");
  rig.failed({.status = Status::E_TLS_TRUNCATED});
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_TRUNCATED receive maybe-processed broken");
  EXPECT_EQ(rig.handler->end.failure.detail,
            "inside the response's body; the connection ended without close-notify, from "
            "tcp:192.0.2.1:80 of example.org:80");
  EXPECT_EQ(rig.pool->why.status, Status::E_TLS_TRUNCATED);
}

TEST(Session, AHeadRequestHasNoBody) {
  Rig rig;
  rig.begin("HEAD");
  rig.data("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(rig.handler->log, "sent head 200 done ");
  EXPECT_TRUE(rig.idle());
}

TEST(Session, DoesNotReuseAConnectionThatCloses) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
  EXPECT_EQ(rig.session->peek(), io::Peek::Failed);
  EXPECT_FALSE(rig.wire->reading);
  EXPECT_FALSE(rig.wire->closed);  // its owner does
  rig.close();
  EXPECT_TRUE(rig.wire->closed);
  EXPECT_EQ(rig.pool->log, "");
}

TEST(Session, TellsTheIdleLimitOnceUntilItChanges) {
  Rig rig;
  const auto respond = [&rig](std::string_view limit) {
    rig.begin();
    rig.data("HTTP/1.1 204 x\r\nKeep-Alive: timeout=" + std::string(limit) + "\r\n\r\n");
  };
  respond("5");
  EXPECT_EQ(rig.pool->idle_limit, 5 * kSecond);
  respond("5");
  EXPECT_EQ(rig.pool->log, "limit ");
  respond("7");
  EXPECT_EQ(rig.pool->log, "limit limit ");
  EXPECT_EQ(rig.pool->idle_limit, 7 * kSecond);
}

TEST(Session, RefusesMalformedResponses) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok");
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_MALFORMED receive maybe-processed broken");
  EXPECT_EQ(rig.handler->end.failure.detail,
            "white space in a field's name or before its colon: \"Content-Length : 2\", from "
            "tcp:192.0.2.1:80 of example.org:80");
  EXPECT_EQ(rig.handler->log, "sent done ");
  EXPECT_FALSE(rig.wire->reading);
}

TEST(Session, RefusesAnUpgrade) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_UPGRADED receive maybe-processed broken");
}

TEST(Session, TakesItsLimitsFromTheSettings) {
  Rig rig;
  rig.values.response_max_interim = 1;
  rig.open();
  rig.begin();
  rig.data("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 100 x\r\n\r\n");
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_INTERIM_LIMIT receive maybe-processed broken");
  EXPECT_EQ(rig.handler->log, "sent interim 100 done ");
}

TEST(Session, ChecksByAnsweringLater) {
  Rig rig;
  bool asked = false;
  rig.session->check([&asked](Result<void> result) { asked = result.has_value(); });
  EXPECT_FALSE(asked);
  rig.turn();
  EXPECT_TRUE(asked);
  rig.session->check([&asked](Result<void> result) { asked = result.has_value(); });
  rig.eof();
  rig.turn();
  EXPECT_FALSE(asked);
  EXPECT_EQ(rig.pool->log, "dead ");
  rig.open();
  rig.session->check([](Result<void>) { ADD_FAILURE() << "closed before"; });
  rig.close();
  rig.turn();
}

TEST(Session, PassesIdlenessOn) {
  Rig rig;
  rig.session->idle(true);
  EXPECT_TRUE(rig.wire->idle);
  rig.session->idle(false);
  EXPECT_FALSE(rig.wire->idle);
}

// --- request bodies ------------------------------------------------------------------------------

TEST(RequestBody, GoesOutWithTheHeadInOneWrite) {
  Rig rig;
  rig.body.announced = 5;
  rig.body.bytes = "hello";
  rig.begin("POST", true);
  EXPECT_EQ(rig.request(),
            "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(rig.wire->writes.size(), 1u);
  EXPECT_EQ(rig.body.taken, 5u);
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, IsChunkedWhenItsSizeIsUnknown) {
  Rig rig;
  rig.body.bytes = "hello";
  rig.begin("POST", true);
  EXPECT_EQ(rig.request(),
            "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
            "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(rig.wire->writes.size(), 1u);
}

TEST(RequestBody, MayBeEmpty) {
  Rig rig;
  rig.body.announced = 0;
  rig.begin("POST", true);
  EXPECT_EQ(rig.request(), "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(rig.handler->log, "sent ");
  rig.data(kNoContent);
  rig.body.announced.reset();
  rig.begin("POST", true);
  EXPECT_TRUE(rig.request().ends_with("chunked\r\n\r\n0\r\n\r\n"));
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, EndsWithTrailers) {
  Rig rig;
  rig.body.bytes = "hello";
  rig.head.trailers.add("x-sum", "1");
  rig.begin("POST", true);
  EXPECT_TRUE(rig.request().ends_with(
      "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"));
}

TEST(RequestBody, ComesInPiecesAsItsSourceHasThem) {
  Rig rig;
  rig.body.last = false;
  rig.begin("POST", true);
  EXPECT_TRUE(rig.request().ends_with("chunked\r\n\r\n"));
  EXPECT_EQ(rig.handler->log, "");
  rig.body.bytes = "hello";
  rig.ready();
  EXPECT_EQ(rig.request(), "5\r\nhello\r\n");
  rig.ready();  // nothing new
  EXPECT_EQ(rig.request(), "");
  rig.body.bytes = " world";
  rig.body.last = true;
  rig.ready();
  EXPECT_EQ(rig.request(), "6\r\n world\r\n0\r\n\r\n");
  EXPECT_EQ(rig.handler->log, "sent ");
  rig.data(kOk);
  EXPECT_TRUE(rig.idle());

  rig.body.last = false;
  rig.begin("POST", true);
  rig.request();
  rig.body.last = true;
  rig.ready();
  EXPECT_EQ(rig.request(), "0\r\n\r\n");
}

TEST(RequestBody, OfKnownSizeComesInPiecesToo) {
  Rig rig;
  rig.body.announced = 11;
  rig.body.last = false;
  rig.body.bytes = "hello";
  rig.begin("POST", true);
  EXPECT_TRUE(rig.request().ends_with("Content-Length: 11\r\n\r\nhello"));
  rig.body.bytes = " world";  // the announced size is its end, said or not
  rig.ready();
  EXPECT_EQ(rig.request(), " world");
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, SurvivesEveryPartialWrite) {
  for (const bool sized : {false, true}) {
    for (const size_t most : {size_t{1}, size_t{3}, size_t{100}}) {
      for (size_t room = 1; room < 120; ++room) {
        Rig rig;
        rig.body.bytes = "hello, this is a body";
        rig.body.most = most;
        if (sized) rig.body.announced = rig.body.bytes.size();
        if (!sized) rig.head.trailers.add("x-sum", "1");
        rig.wire->room = room;
        rig.begin("POST", true);
        int rounds = 0;
        while (!rig.handler->log.starts_with("sent") && ++rounds < 300) {
          rig.writable(room);
        }
        // Undo the framing to compare.
        std::string request = rig.request();
        const size_t at = request.find("\r\n\r\n") + 4;
        std::string received;
        if (sized) {
          received = request.substr(at);
        } else {
          std::string rest = request.substr(at);
          while (!rest.starts_with("0\r\n")) {
            const size_t size = std::stoul(rest, nullptr, 16);
            const size_t data = rest.find("\r\n") + 2;
            received += rest.substr(data, size);
            ASSERT_EQ(rest.substr(data + size, 2), "\r\n");
            rest.erase(0, data + size + 2);
          }
          EXPECT_EQ(rest, "0\r\nx-sum: 1\r\n\r\n");
        }
        ASSERT_EQ(received, "hello, this is a body") << "room " << room << " most " << most;
        EXPECT_EQ(rig.session->bytes_out(), request.size());
        rig.data(kOk);
        EXPECT_TRUE(rig.idle());
      }
    }
  }
}

TEST(RequestBody, MayShowLessOfAPieceThanBefore) {
  Rig rig;
  rig.body.bytes = "hello";
  rig.body.last = true;
  const std::string whole = encode_head(
      [] {
        session::RequestHead head;
        head.method = "POST";
        head.authority = "example.org";
        head.target = "/";
        return head;
      }(),
      {}, true);
  rig.wire->room = whole.size() + 4;  // the chunk's line and a byte
  rig.begin("POST", true);
  rig.body.most = 1;
  rig.writable(SIZE_MAX);
  EXPECT_EQ(rig.request(), whole + "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, WaitsForTheStreamToLetGo) {
  Rig rig;
  rig.wire->flushes = false;
  rig.begin();
  EXPECT_EQ(rig.handler->log, "");
  rig.wire->flushes = true;
  rig.writable(SIZE_MAX);
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, LetsOthersHaveTheirTurn) {
  Rig rig;
  const size_t size = 3 * BodyWriter::kBurst;
  rig.body.announced = size;
  rig.body.bytes.assign(size, 'x');
  rig.body.most = 64 * 1024;
  rig.begin("POST", true);
  EXPECT_LT(rig.body.taken, BodyWriter::kBurst + 128 * 1024);
  EXPECT_GE(rig.body.taken, BodyWriter::kBurst - 1024);
  for (int i = 0; i < 4; ++i)
    rig.turn();
  EXPECT_EQ(rig.body.taken, size);
  EXPECT_EQ(rig.handler->log, "sent ");
}

TEST(RequestBody, MustBeAsLongAsAnnounced) {
  for (const auto& [bytes, last] : {std::pair{"hell", true}, std::pair{"hello!", false}}) {
    Rig rig;
    rig.body.announced = 5;
    rig.body.bytes = bytes;
    rig.body.last = last;
    rig.begin("POST", true);
    EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_BODY_LENGTH send never-sent reusable");
    EXPECT_EQ(rig.request(), "");
    EXPECT_TRUE(rig.idle());
  }
  Rig rig;
  rig.body.announced = 5;
  rig.body.bytes = "hel";
  rig.body.last = false;
  rig.begin("POST", true);
  rig.body.last = true;
  rig.ready();
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_BODY_LENGTH send maybe-processed broken");
  EXPECT_EQ(rig.handler->end.failure.detail, "5 bytes were announced, the source has 3");
}

// --- Expect: 100-continue ------------------------------------------------------------------------

struct ExpectRig : Rig {
  ExpectRig() {
    head.expect_continue = true;
    body.announced = 5;
    body.bytes = "hello";
    begin("POST", true);
    EXPECT_TRUE(request().ends_with("Expect: 100-continue\r\n\r\n"));
    EXPECT_EQ(handler->log, "");
  }
};

TEST(Expect, HoldsTheBodyForContinue) {
  ExpectRig rig;
  rig.wait(500 * kMillisecond);
  EXPECT_EQ(rig.request(), "");
  rig.data("HTTP/1.1 103 Early Hints\r\n\r\n");
  rig.turn();
  EXPECT_EQ(rig.request(), "");
  rig.data("HTTP/1.1 100 Continue\r\n\r\n");
  rig.turn();
  EXPECT_EQ(rig.request(), "hello");
  EXPECT_EQ(rig.handler->log, "interim 103 interim 100 sent ");
  rig.data(kOk);
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
  rig.wait(2 * kSecond);
  EXPECT_TRUE(rig.idle());
}

TEST(Expect, HoldsItNoLongerThanItsTimeout) {
  ExpectRig rig;
  rig.wait(kSecond - 1);
  EXPECT_EQ(rig.request(), "");
  rig.wait(1);
  EXPECT_EQ(rig.request(), "hello");
  EXPECT_EQ(rig.handler->log, "sent ");
  rig.data("HTTP/1.1 100 Continue\r\n\r\n");  // late, and welcome
  rig.data(kOk);
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
}

TEST(Expect, SendsNoBodyAfterAFinalResponse) {
  for (const char* status : {"417 Expectation Failed", "401 Unauthorized", "200 OK"}) {
    ExpectRig rig;
    rig.data("HTTP/1.1 " + std::string(status) + "\r\nContent-Length: 2\r\n\r\n");
    rig.wait(10 * kSecond);
    EXPECT_EQ(rig.request(), "");
    rig.data("no");
    EXPECT_EQ(rig.handler->body, "no");
    EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
  }
}

TEST(Expect, DoesNotWaitForAnEmptyBody) {
  Rig rig;
  rig.head.expect_continue = true;
  rig.body.announced = 0;
  rig.begin("POST", true);
  EXPECT_EQ(rig.handler->log, "sent ");
  EXPECT_EQ(rig.request().find("Expect"), std::string::npos);
}

// --- responses before the request's end ----------------------------------------------------------

struct UploadRig : Rig {
  UploadRig() {
    body.announced = 1000;
    body.bytes.assign(100, 'x');
    body.last = false;
    begin("POST", true);
    request();
  }
};

TEST(EarlyResponse, ARefusalStopsTheUpload) {
  for (const char* status : {"413 Too Large", "500 Oops", "307 Elsewhere"}) {
    UploadRig rig;
    rig.data("HTTP/1.1 " + std::string(status) + "\r\nContent-Length: 2\r\n\r\nn");
    rig.body.bytes.assign(900, 'y');
    rig.ready();
    EXPECT_EQ(rig.request(), "");
    rig.data("o");
    EXPECT_EQ(rig.handler->body, "no");
    EXPECT_EQ(rig.handler->log.substr(0, 5), "head ");
    EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
  }
}

TEST(EarlyResponse, ASuccessMayComeWhileTheServerReads) {
  UploadRig rig;
  rig.data("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  rig.body.bytes.assign(900, 'y');
  rig.ready();
  EXPECT_EQ(rig.request(), std::string(900, 'y'));
  EXPECT_EQ(rig.handler->log, "head 200 sent ");
  rig.data("ok");
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
}

TEST(EarlyResponse, AWholeOneEndsTheExchange) {
  UploadRig rig;
  rig.data(kOk);
  EXPECT_EQ(rig.handler->log, "head 200 body done ");
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
  rig.body.bytes.assign(900, 'y');
  rig.turn();
  EXPECT_EQ(rig.request(), "");
}

// --- ends ----------------------------------------------------------------------------------------

TEST(Ends, WithoutAResponse) {
  struct Row {
    bool served;
    Status status;
    const char* expected;
  };
  for (const Row& row :
       {Row{false, Status::E_CONNECTION_CLOSED,
            "E_HTTP_NO_RESPONSE receive maybe-processed broken"},
        Row{true, Status::E_CONNECTION_CLOSED,
            "E_HTTP_NO_RESPONSE receive maybe-processed broken stale"},
        Row{true, Status::E_CONNECTION_RESET,
            "E_HTTP_NO_RESPONSE receive maybe-processed broken stale"},
        Row{false, Status::E_CONNECTION_RESET, "E_HTTP_NO_RESPONSE receive maybe-processed broken"},
        Row{true, Status::E_TLS_TRUNCATED,
            "E_HTTP_NO_RESPONSE receive maybe-processed broken stale"},
        Row{true, Status::E_TLS_PROTOCOL, "E_TLS_PROTOCOL receive maybe-processed broken"},
        Row{true, Status::E_NOMEM, "E_NOMEM receive maybe-processed broken"}}) {
    Rig rig;
    if (row.served) {
      rig.begin();
      rig.data(kOk);
    }
    rig.begin();
    if (row.status == Status::E_CONNECTION_CLOSED) {
      rig.eof();
    } else {
      rig.failed({.status = row.status, .os_error = ECONNRESET});
      EXPECT_EQ(rig.handler->end.failure.os_error, ECONNRESET);
    }
    EXPECT_EQ(end_text(rig.handler->end), row.expected);
    EXPECT_EQ(rig.handler->log, "sent done ");
    EXPECT_EQ(rig.pool->log, "dead ");
    EXPECT_EQ(rig.pool->why.status, row.status);
  }
}

TEST(Ends, InsideAResponse) {
  const std::string response =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
  for (size_t size = 1; size < response.size(); ++size) {
    for (const bool reset : {false, true}) {
      Rig rig;
      rig.begin();
      rig.data(kOk);
      rig.begin();
      rig.data(std::string_view(response).substr(0, size));
      if (reset) {
        rig.failed({.status = Status::E_CONNECTION_RESET, .os_error = ECONNRESET});
      } else {
        rig.eof();
      }
      ASSERT_EQ(end_text(rig.handler->end), "E_HTTP_TRUNCATED receive maybe-processed broken");
    }
  }
}

TEST(Ends, WhenTheWriteFails) {
  Rig rig;
  rig.begin();
  rig.data(kOk);
  rig.wire->write_failure = Failure{.status = Status::E_CONNECTION_RESET, .os_error = EPIPE};
  rig.begin();
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_NO_RESPONSE send never-sent broken stale");
  EXPECT_EQ(rig.handler->end.failure.os_error, EPIPE);
  EXPECT_EQ(rig.pool->log, "dead ");

  rig.open();
  rig.body.announced = 100;
  rig.body.bytes.assign(100, 'x');
  rig.wire->room = 50;
  rig.begin("POST", true);
  rig.wire->write_failure = Failure{.status = Status::E_CONNECTION_RESET, .os_error = EPIPE};
  rig.writable(SIZE_MAX);
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_NO_RESPONSE send maybe-processed broken");
}

TEST(Ends, OneByteIsEnoughForDoubt) {
  Rig rig;
  rig.wire->room = 1;
  rig.begin();
  rig.eof();
  EXPECT_EQ(end_text(rig.handler->end), "E_HTTP_NO_RESPONSE send maybe-processed broken");
}

// Every state an exchange can be in, to end it there.
const std::vector<std::pair<std::string, std::function<void(Rig&)>>>& stages() {
  static const std::vector<std::pair<std::string, std::function<void(Rig&)>>> all = {
      {"begun", [](Rig& rig) { rig.start(); }},
      {"blocked",
       [](Rig& rig) {
         rig.wire->room = 0;
         rig.begin();
       }},
      {"half written",
       [](Rig& rig) {
         rig.wire->room = 5;
         rig.begin();
       }},
      {"sent", [](Rig& rig) { rig.begin(); }},
      {"uploading",
       [](Rig& rig) {
         rig.body.last = false;
         rig.body.bytes = "x";
         rig.begin("POST", true);
       }},
      {"expecting",
       [](Rig& rig) {
         rig.head.expect_continue = true;
         rig.body.bytes = "x";
         rig.begin("POST", true);
       }},
      {"bursting",
       [](Rig& rig) {
         rig.body.bytes.assign(4 * BodyWriter::kBurst, 'x');
         rig.body.most = 64 * 1024;
         rig.begin("POST", true);
       }},
      {"in the head",
       [](Rig& rig) {
         rig.begin();
         rig.data("HTTP/1.1 200 OK\r\n");
       }},
      {"after interim",
       [](Rig& rig) {
         rig.begin();
         rig.data("HTTP/1.1 100 x\r\n\r\n");
       }},
      {"in the body",
       [](Rig& rig) {
         rig.begin();
         rig.data("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
       }},
      {"in the trailers",
       [](Rig& rig) {
         rig.begin();
         rig.data("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n");
       }},
      {"held back",
       [](Rig& rig) {
         rig.begin();
         rig.data("HTTP/1.1 200 OK\r\n\r\n");
         rig.data(std::string(Session::kUnconsumedBytes + 1, 'x'));
         EXPECT_FALSE(rig.wire->reading);
       }},
  };
  return all;
}

TEST(Cancel, InEveryState) {
  for (const auto& [name, enter] : stages()) {
    SCOPED_TRACE(name);
    Rig rig;
    enter(rig);
    const std::string log = rig.handler->log;
    const session::ExchangeEnd end = rig.cancel();
    const bool unused = name == "begun" || name == "blocked";
    EXPECT_EQ(end.failure.status, Status::E_CANCELLED);
    EXPECT_EQ(end.proof, unused ? Proof::NeverSent : Proof::MaybeProcessed);
    EXPECT_EQ(end.lease, unused ? LeaseEnd::Reusable : LeaseEnd::Broken);
    EXPECT_EQ(rig.session->figures().active, 0u);
    rig.wait(5 * kSecond);
    EXPECT_EQ(rig.handler->log, log);
    EXPECT_EQ(rig.pool->log, "");
    if (unused) {
      EXPECT_TRUE(rig.idle());
      rig.wire->room = SIZE_MAX;
      rig.begin();
      rig.data(kOk);
      EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
    } else {
      EXPECT_FALSE(rig.wire->reading);
      EXPECT_EQ(rig.session->peek(), io::Peek::Failed);
      rig.failed({.status = Status::E_CONNECTION_RESET});
      EXPECT_EQ(rig.pool->log, "dead ");
      EXPECT_EQ(rig.handler->log, log);
    }
  }
}

TEST(Close, InEveryState) {
  for (const bool abort : {false, true}) {
    for (const auto& [name, enter] : stages()) {
      SCOPED_TRACE(name);
      Rig rig;
      enter(rig);
      rig.close(abort);
      EXPECT_TRUE(rig.handler->done);
      EXPECT_EQ(rig.handler->end.failure.status, Status::E_CLOSED);
      EXPECT_EQ(rig.handler->end.lease, LeaseEnd::Broken);
      EXPECT_TRUE(rig.wire->closed);
      EXPECT_EQ(rig.wire->aborted, abort);
      rig.wait(5 * kSecond);
      EXPECT_EQ(rig.pool->log, "");
      rig.close();  // idempotent
    }
  }
  Rig idle;
  idle.close();
  EXPECT_TRUE(idle.wire->closed);
  EXPECT_EQ(idle.pool->log, "");
}

TEST(Destroy, InEveryState) {
  for (const auto& [name, enter] : stages()) {
    SCOPED_TRACE(name);
    Rig rig;
    enter(rig);
    rig.handler->closing = true;
    rig.session.reset();
    EXPECT_EQ(rig.handler->end.failure.status, Status::E_CLOSED);
    rig.wait(5 * kSecond);
  }
}

// What a handler may do in each of its events: cancel, close, and hand the session to the loop.
TEST(Reentrancy, FromEveryEvent) {
  const std::vector<std::string> events = {"sent", "interim 103", "head 200",
                                           "body", "trailers",    "done"};
  for (const std::string& event : events) {
    for (const std::string action : {"cancel", "close", "discard"}) {
      if (event == "done" && action == "cancel") continue;  // the exchange is gone
      SCOPED_TRACE(event + " " + action);
      Rig rig;
      rig.start();
      bool acted = false;
      rig.handler->on_event = [&](std::string_view what) {
        if (what != event || acted) return;
        acted = true;
        if (action == "cancel") {
          const session::ExchangeEnd end = rig.exchange->cancel();
          EXPECT_EQ(end.lease, LeaseEnd::Broken);
        } else if (action == "close") {
          rig.session->close(false);
        } else {
          rig.session->close(true);
          rig.loop->discard(std::unique_ptr<io::Discardable>(std::move(rig.session)));
        }
      };
      rig.turn();
      rig.data(
          "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "2\r\nok\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n");
      EXPECT_TRUE(acted);
      EXPECT_EQ(rig.handler->done, action != "cancel");
      rig.turn();
      EXPECT_EQ(rig.pool->log, "");
    }
  }
}

TEST(Reentrancy, TheNextExchangeMayBeginInTheLastsEnd) {
  Rig rig;
  rig.start();
  Handler second(rig.inside);
  rig.handler->on_event = [&](std::string_view what) {
    if (what == "done") rig.exchange = &rig.session->begin(rig.head, nullptr, second, {});
  };
  rig.turn();
  rig.data(kOk);
  rig.turn();
  EXPECT_EQ(second.log, "sent ");
  rig.data(kOk);
  EXPECT_EQ(second.log, "sent head 200 body done ");
}

TEST(Reentrancy, TheOwnerMayCloseWhenTheTransportDied) {
  Rig rig;
  rig.pool->when_dead = [&rig] {
    rig.session->close(false);
    rig.loop->discard(std::unique_ptr<io::Discardable>(std::move(rig.session)));
  };
  rig.begin();
  rig.eof();
  EXPECT_EQ(rig.pool->log, "dead ");
  rig.turn();
}

// --- back-pressure -------------------------------------------------------------------------------

TEST(BackPressure, StopsReadingWhileTheConsumerIsBehind) {
  Rig rig;
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  rig.data(std::string(Session::kUnconsumedBytes, 'x'));
  EXPECT_TRUE(rig.wire->reading);
  rig.data("x");
  EXPECT_FALSE(rig.wire->reading);
  rig.consumed(Session::kUnconsumedBytes / 2);
  EXPECT_FALSE(rig.wire->reading);
  rig.consumed(1);
  EXPECT_TRUE(rig.wire->reading);
  rig.data(std::string(1000000 - Session::kUnconsumedBytes - 1, 'x'));
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
  // The next exchange starts with an empty account.
  EXPECT_TRUE(rig.wire->reading);
  rig.begin();
  rig.data("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  rig.data(std::string(Session::kUnconsumedBytes, 'x'));
  EXPECT_TRUE(rig.wire->reading);
}

TEST(BackPressure, AConsumerMayConsumeInTheEvent) {
  Rig rig;
  rig.start();
  rig.handler->on_event = [&rig](std::string_view what) {
    if (what == "body") rig.exchange->consumed(SIZE_MAX);
  };
  rig.turn();
  rig.data("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n");
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(rig.data(std::string(400'000, 'x')));
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
}

}  // namespace
}  // namespace conpool::http1
