// Bytes nobody asked for, in every timing before a request's first byte: none of them meets it.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "unit/http1/session_rig.h"

namespace conpool::http1 {
namespace {

constexpr std::string_view kPoison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

// The responses a poison can follow, and the method that asks for them.
struct Carrier {
  const char* method;
  std::string response;
};
const std::vector<Carrier>& carriers() {
  static const std::vector<Carrier> all = {
      {"GET", std::string(kOk)},
      {"GET", std::string(kNoContent)},
      {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n"},
      {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"},
      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n"},
      {"GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"},
  };
  return all;
}

TEST(Unsolicited, InTheSegmentOfTheResponse) {
  for (const Carrier& carrier : carriers()) {
    for (const std::string_view extra :
         {std::string_view("x"), std::string_view("\r\n"), kPoison}) {
      SCOPED_TRACE(carrier.response);
      Rig rig;
      rig.begin(carrier.method);
      rig.data(carrier.response + std::string(extra));
      EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed broken");
      EXPECT_EQ(rig.handler->body.find("poison"), std::string::npos);
      EXPECT_EQ(rig.session->peek(), io::Peek::Failed);
      EXPECT_FALSE(rig.data(kPoison));
    }
  }
}

TEST(Unsolicited, InTheNextRecordOfTheSameTurn) {
  for (const Carrier& carrier : carriers()) {
    Rig rig;
    rig.begin(carrier.method);
    rig.data(carrier.response);
    EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
    rig.data("x");
    EXPECT_EQ(rig.pool->log, "dead ");
    EXPECT_EQ(rig.pool->why.status, Status::E_UNSOLICITED);
    EXPECT_TRUE(rig.wire->closed && rig.wire->aborted);
    EXPECT_EQ(rig.session->peek(), io::Peek::Failed);
  }
}

TEST(Unsolicited, SomeTimeLater) {
  Rig rig;
  rig.begin();
  rig.data(kOk);
  rig.wait(50 * kMillisecond);
  EXPECT_TRUE(rig.idle());
  rig.data(kPoison);
  EXPECT_EQ(rig.pool->why.status, Status::E_UNSOLICITED);
  EXPECT_EQ(rig.session->bytes_in(), kOk.size());  // those of leases
}

TEST(Unsolicited, BeforeTheFirstRequest) {
  Rig rig;
  rig.data("220 welcome\r\n");
  EXPECT_EQ(rig.pool->why.status, Status::E_UNSOLICITED);
}

TEST(Unsolicited, WaitingWhenTheFirstRequestBegins) {
  Rig rig;
  rig.wire->peek = io::Peek::Data;
  rig.begin();
  EXPECT_EQ(rig.request(), "");
  rig.data(kPoison);
  EXPECT_EQ(end_text(rig.handler->end), "E_UNSOLICITED send never-sent broken");
  EXPECT_EQ(rig.handler->log, "done ");

  // What TLS keeps to itself does not end the connection.
  rig.open();
  rig.wire->peek = io::Peek::Data;
  rig.begin();
  EXPECT_EQ(rig.request(), "");
  rig.wire->peek = io::Peek::Quiet;
  rig.turn();
  EXPECT_TRUE(rig.request().starts_with("GET / "));
  rig.data(kOk);
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");

  // Nor does it hold a request back for ever.
  rig.open();
  rig.wire->peek = io::Peek::Data;
  rig.begin();
  for (int i = 1; i < Session::kFirstWaits; ++i)
    rig.turn();
  EXPECT_EQ(rig.request(), "");
  rig.turn();
  EXPECT_TRUE(rig.request().starts_with("GET / "));
}

TEST(Unsolicited, WaitingWhenTheConnectionIsTaken) {
  for (const io::Peek seen : {io::Peek::Data, io::Peek::Eof, io::Peek::Failed}) {
    Rig rig;
    rig.begin();
    rig.data(kOk);
    rig.wire->peek = seen;
    EXPECT_EQ(rig.session->peek(), seen);
  }
}

TEST(Unsolicited, BetweenTheBeginningAndTheFirstByteSent) {
  for (const bool blocked : {false, true}) {
    Rig rig;
    rig.begin();
    rig.data(kOk);
    rig.wire->room = blocked ? 0 : SIZE_MAX;
    rig.start();
    if (blocked) rig.turn();
    rig.data(kPoison);
    EXPECT_EQ(end_text(rig.handler->end), "E_UNSOLICITED send never-sent broken");
    EXPECT_EQ(rig.handler->log, "done ");
    rig.turn();
    EXPECT_EQ(rig.handler->body, "");
    EXPECT_EQ(rig.request().find("GET", 1), std::string::npos);
  }
}

// There, and not yet read: the pool looked before, the session looks once more.
TEST(Unsolicited, WaitingWhenTheFirstByteOfALaterRequestIsDue) {
  struct Row {
    io::Peek seen;
    std::string_view end;
    bool dead;
  };
  for (const Row& row :
       {Row{io::Peek::Data, "E_UNSOLICITED send never-sent broken", false},
        Row{io::Peek::Eof, "E_HTTP_NO_RESPONSE send never-sent broken stale", true},
        Row{io::Peek::Failed, "E_HTTP_NO_RESPONSE send never-sent broken stale", true}}) {
    SCOPED_TRACE(row.end);
    for (const bool blocked : {false, true}) {
      Rig rig;
      rig.begin();
      rig.data(kOk);
      rig.request();
      ASSERT_TRUE(rig.idle());
      rig.body.bytes = "abc";
      rig.wire->room = blocked ? 0 : SIZE_MAX;
      rig.start("POST", true);
      if (blocked) rig.turn();
      EXPECT_EQ(rig.handler->log, "");
      rig.wire->peek = row.seen;
      if (blocked) {
        rig.writable(SIZE_MAX);
      } else {
        rig.turn();
      }
      EXPECT_EQ(rig.handler->log, "done ");
      EXPECT_EQ(end_text(rig.handler->end), row.end);
      EXPECT_TRUE(rig.handler->end.served);
      EXPECT_EQ(rig.body.taken, 0u);
      EXPECT_EQ(rig.request(), "");
      EXPECT_EQ(rig.session->peek(), io::Peek::Failed);
      EXPECT_EQ(rig.pool->log, row.dead ? "dead " : "");
      // Nobody listens to what waited there.
      EXPECT_FALSE(rig.data(kPoison));
    }
  }
}

TEST(Unsolicited, IsLookedForUntilTheFirstByteAlone) {
  Rig rig;
  rig.begin();
  rig.data(kOk);
  rig.request();
  rig.wire->room = 5;
  const size_t before = rig.wire->peeks;
  rig.begin();
  EXPECT_EQ(rig.wire->peeks, before + 1);
  // The answer may be there before the whole request is written.
  rig.wire->peek = io::Peek::Data;
  rig.writable(SIZE_MAX);
  EXPECT_EQ(rig.wire->peeks, before + 1);
  EXPECT_EQ(rig.handler->log, "sent ");
  rig.data(kOk);
  EXPECT_EQ(end_text(rig.handler->end), "OK maybe-processed reusable");
}

TEST(Unsolicited, WhatWaitsMayMeetACancel) {
  Rig rig;
  rig.begin();
  rig.data(kOk);
  rig.start();
  rig.wire->peek = io::Peek::Data;
  const session::ExchangeEnd end = rig.cancel();
  EXPECT_EQ(end.proof, Proof::NeverSent);
  rig.turn();
  EXPECT_EQ(rig.handler->log, "");
  // The pool finds it at the next lease, reading finds it before.
  EXPECT_FALSE(rig.idle());
  EXPECT_TRUE(rig.data(kPoison));
  EXPECT_EQ(rig.pool->why.status, Status::E_UNSOLICITED);
}

TEST(Unsolicited, WhenTheNextExchangeBeganInTheLastsEnd) {
  Rig rig;
  rig.start();
  Handler second(rig.inside);
  rig.handler->on_event = [&](std::string_view what) {
    if (what == "done") rig.session->begin(rig.head, nullptr, second, {});
  };
  rig.turn();
  rig.data(kOk);
  rig.data(kPoison);
  EXPECT_EQ(end_text(second.end), "E_UNSOLICITED send never-sent broken");
  EXPECT_EQ(second.log, "done ");
}

TEST(Unsolicited, AnEndOrAFailureWhileIdle) {
  Rig rig;
  rig.begin();
  rig.data(kOk);
  rig.eof();
  EXPECT_EQ(rig.pool->why.status, Status::E_CONNECTION_CLOSED);
  EXPECT_FALSE(rig.wire->aborted);
  rig.open();
  rig.failed({.status = Status::E_CONNECTION_RESET, .os_error = 104});
  EXPECT_EQ(rig.pool->why.status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(rig.pool->why.os_error, 104);
}

// Ten thousand poisonings in a seeded order of timings and carriers: each request is answered by
// its own response, or proven never sent.
TEST(Unsolicited, TenThousandTimes) {
  Rig rig;
  Rng rng(20260101);
  uint64_t poisonings = 0;
  uint64_t answered = 0;
  uint64_t reopened = 0;
  const auto below = [&rng](size_t bound) { return rng.up_to(bound - 1); };
  const auto fresh = [&rig, &reopened] {
    rig.open();
    ++reopened;
  };
  while (poisonings < 10'000) {
    // What the pool does: an idle connection that shows anything is not taken.
    if (!rig.idle()) fresh();
    const Carrier& carrier = carriers()[below(carriers().size())];
    const uint64_t timing = below(7);
    const std::string poison(kPoison.substr(0, 1 + below(kPoison.size())));
    ++poisonings;
    if (timing == 5) {  // before the first byte of the request
      rig.start(carrier.method);
      rig.data(poison);
      ASSERT_EQ(end_text(rig.handler->end), "E_UNSOLICITED send never-sent broken");
      rig.turn();
      continue;
    }
    if (timing == 6) {  // then too, and not yet read
      rig.begin(carrier.method);
      rig.data(carrier.response);
      ++answered;
      rig.start(carrier.method);
      rig.wire->peek = io::Peek::Data;
      rig.turn();
      ASSERT_EQ(end_text(rig.handler->end), "E_UNSOLICITED send never-sent broken");
      ASSERT_EQ(rig.handler->body, "");
      continue;
    }
    rig.begin(carrier.method);
    if (timing == 0) {  // in one piece with the response
      rig.data(carrier.response + poison);
    } else if (timing == 1) {  // and that piece cut somewhere
      const std::string all = carrier.response + poison;
      const size_t cut = 1 + below(all.size() - 1);
      rig.data(all.substr(0, cut));
      rig.data(all.substr(cut));
    } else {
      rig.data(carrier.response);
      if (timing == 2) rig.data(poison);
      if (timing == 3) {
        rig.wait(static_cast<Nanos>(below(100)) * kMillisecond);
        rig.data(poison);
      }
      if (timing == 4) rig.wire->peek = io::Peek::Data;  // there, and not yet read
    }
    ASSERT_TRUE(rig.handler->done);
    ASSERT_EQ(rig.handler->end.failure.status, Status::OK);
    ASSERT_TRUE(rig.handler->body.empty() || rig.handler->body == "ok") << rig.handler->body;
    ++answered;
    ASSERT_FALSE(rig.idle());
  }
  EXPECT_EQ(poisonings, 10'000u);
  EXPECT_GT(answered, 7'000u);
  EXPECT_GE(reopened, 9'999u);
}

}  // namespace
}  // namespace conpool::http1
