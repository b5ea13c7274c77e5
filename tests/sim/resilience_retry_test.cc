// What the retry policy repeats, when, and at whose expense.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

// The plain sequence: 100, 200, 400, 800 ms.
const OptionList kPlain = {{"retry.attempts", "3"},     {"retry.jitter", "added"},
                           {"retry.jitter_max", "0"},   {"retry.base", "100ms"},
                           {"retry.adaptive", "false"}, {"breaker.mode", "off"}};

HttpAnswer after_answer(uint16_t status, const std::string& retry_after,
                        const std::string& date = {}) {
  HttpAnswer answer = status_answer(status);
  answer.fields.emplace_back("retry-after", retry_after);
  if (!date.empty()) answer.fields.emplace_back("date", date);
  return answer;
}

// The first so many requests get this, the others 200.
void first_get(Outage& s, uint64_t count, HttpAnswer answer) {
  s.server->set_answer_chooser([count, answer = std::move(answer)](const HttpRequest& request) {
    return request.ordinal < count ? answer : status_answer(200);
  });
}

// --- delays --------------------------------------------------------------------------------------

TEST(Retry, ThePlainSequenceDoublesToItsMost) {
  for (const Wire wire : {Wire::Http1, Wire::H2c, Wire::H2}) {
    SCOPED_TRACE(wire_name(wire));
    Outage s(wire, kPlain + OptionList{{"retry.attempts", "7"}, {"retry.max_delay", "1s"}});
    s.answer(503);
    const Reply reply = s.get();
    EXPECT_EQ(reply.code, 503);  // the last one is delivered
    EXPECT_EQ(reply.sends, 7u);
    const Nanos delays[] = {ms(100), ms(200), ms(400), ms(800), ms(1000), ms(1000)};
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(s.asked_at(i + 1) - s.asked_at(i), ms(10) + delays[i]) << i;
    EXPECT_EQ(s.metric("pool.retries.made"), 6);
    EXPECT_EQ(s.metric("pool.retries.succeeded"), 0);
    EXPECT_EQ(s.metric("pool.retries.tokens"), 70);
    EXPECT_EQ(s.server->counts().accepted, 1u);
  }
}

std::vector<Nanos> gaps(const char* jitter, uint64_t seed) {
  Outage s(Wire::Http1, kPlain + OptionList{{"retry.attempts", "4"}, {"retry.jitter", jitter}}, {},
           {}, seed);
  s.answer(503);
  (void)s.get();
  std::vector<Nanos> out;
  for (size_t i = 0; i + 1 < s.server->log().size(); ++i)
    out.push_back(s.asked_at(i + 1) - s.asked_at(i) - ms(10));
  return out;
}

TEST(Retry, JitterKeepsItsBoundsAndFollowsTheSeed) {
  for (const char* jitter : {"full", "equal"}) {
    std::vector<std::vector<Nanos>> all;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      all.push_back(gaps(jitter, seed));
      ASSERT_EQ(all.back().size(), 3u);
      Nanos most = ms(100);
      for (const Nanos gap : all.back()) {
        EXPECT_LE(gap, most);
        EXPECT_GE(gap, *jitter == 'e' ? most / 2 : 0);
        EXPECT_EQ(gap % kMillisecond, 0);
        most *= 2;
      }
    }
    EXPECT_EQ(all[6], gaps(jitter, 7));
    EXPECT_NE(all[6], all[7]);
  }
}

TEST(Retry, TheDelayGrowsWithTheShareOfFailures) {
  struct Row {
    int failures;  // of 100 calls
    Nanos delay;
  };
  for (const Row& row : {Row{0, ms(100)}, Row{25, 133'300'000}, Row{50, ms(200)}, Row{75, ms(400)},
                         Row{90, ms(800)}, Row{100, ms(800)}}) {
    Outage s(Wire::Http1,
             kPlain + OptionList{{"retry.adaptive", "true"}, {"breaker.window", "1h"}});
    s.server->set_answer_chooser([&row](const HttpRequest& request) {
      const auto n = static_cast<int>(request.ordinal);
      return status_answer(n < row.failures || n == 100 ? 503 : 200);
    });
    for (int i = 0; i < 100; ++i)
      (void)s.get({{"retry.attempts", "1"}});
    EXPECT_EQ(s.get().code, 200);
    EXPECT_EQ(s.asked_at(101) - s.asked_at(100), ms(10) + row.delay) << row.failures;
    // One window after the recovery it is what it was.
    s.run_for(kHour);
    first_get(s, s.requests() + 1, status_answer(503));
    const size_t next = s.server->log().size();
    EXPECT_EQ(s.get().code, 200);
    EXPECT_EQ(s.asked_at(next + 1) - s.asked_at(next) - ms(10), ms(100)) << row.failures;
  }
}

// --- what is repeated ----------------------------------------------------------------------------

TEST(Retry, EachRowOfTheTable) {
  struct Row {
    const char* what;
    HttpAnswer answer;
    const char* method;
    bool declared;
    uint64_t seen;
  };
  HttpAnswer cut = status_answer(200);
  cut.text = "0123456789";
  cut.fault = HttpFault::Close;
  cut.fault_at = 5;
  HttpAnswer garbage;
  garbage.raw = "nonsense\r\n\r\n";
  const Row rows[] = {
      {"reset", fault_answer(HttpFault::Reset), "GET", false, 2},
      {"reset", fault_answer(HttpFault::Reset), "DELETE", false, 2},
      {"reset", fault_answer(HttpFault::Reset), "POST", false, 1},
      {"reset", fault_answer(HttpFault::Reset), "POST", true, 2},
      {"end", fault_answer(HttpFault::Close), "GET", false, 2},
      {"end", fault_answer(HttpFault::Close), "POST", false, 1},
      {"silence", fault_answer(HttpFault::Silence), "GET", false, 2},
      {"silence", fault_answer(HttpFault::Silence), "POST", false, 1},
      {"silence", fault_answer(HttpFault::Silence), "POST", true, 2},
      {"part of a response", cut, "GET", false, 1},
      {"no HTTP", garbage, "GET", false, 2},
      {"502", status_answer(502), "GET", false, 2},
      {"503", status_answer(503), "HEAD", false, 2},
      {"504", status_answer(504), "PUT", false, 2},
      {"503", status_answer(503), "POST", false, 1},
      {"503", status_answer(503), "POST", true, 2},
      {"500", status_answer(500), "GET", false, 1},
      {"429", status_answer(429), "GET", false, 1},
      {"404", status_answer(404), "GET", false, 1},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.what) + " " + row.method + (row.declared ? " declared" : ""));
    Outage s(Wire::Http1, kPlain + OptionList{{"first_byte.timeout", "1s"}});
    first_get(s, 1, row.answer);
    Ask ask{.method = row.method, .id = "x", .idempotent = row.declared};
    if (ask.method == "POST" || ask.method == "PUT") ask.body = "body";
    const Reply reply = s.perform(s.site, ask);
    EXPECT_EQ(s.requests(), row.seen);
    EXPECT_EQ(reply.sends, row.seen);
    EXPECT_EQ(s.metric("pool.retries.made"), static_cast<int64_t>(row.seen) - 1);
    if (row.seen == 2) {
      EXPECT_EQ(reply.code, 200) << reply.report;
      EXPECT_EQ(s.metric("pool.retries.succeeded"), 1);
      EXPECT_EQ(s.metric("pool.retries.tokens"), 100);
    } else if (row.answer.fault == HttpFault::None && row.answer.status >= 400) {
      EXPECT_EQ(reply.code, row.answer.status);
    } else {
      EXPECT_LT(reply.status, 0);
    }
  }
}

TEST(Retry, ADialThatFailsIsRepeatedForAnyRequest) {
  Outage s(Wire::Http1, kPlain);
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  const conpool_op op = s.start(s.site, {.method = "POST", .id = "x", .body = "b"});
  s.run_for(ms(50));
  s.network.host("192.0.2.1").syn = io::SimSyn::Answer;
  const Reply& reply = s.finish(op);
  EXPECT_EQ(reply.code, 200) << reply.report;
  EXPECT_EQ(s.server->seen("x"), 1u);
  EXPECT_EQ(reply.took(), ms(10 + 100 + 20));
}

TEST(Retry, WhatNoOtherTryCanHelpIsNot) {
  {
    Outage s(Wire::TlsHttp1, kPlain);
    conpool_endpoint* strict = s.endpoint("https://origin.test", kPlain);
    EXPECT_EQ(s.ask({}, strict).name(), "E_TLS_CERTIFICATE");
    EXPECT_EQ(s.metric("pool.retries.made"), 0);
  }
  Outage s(Wire::Http1, kPlain + OptionList{{"endpoint.max_connections", "1"}});
  s.dns.nxdomain("missing.test", 300);
  EXPECT_EQ(s.ask({}, s.endpoint("http://missing.test", kPlain)).name(), "E_DNS_NOT_FOUND");
  s.fault(HttpFault::Silence);
  EXPECT_EQ(status_name(s.get({{"total.timeout", "100ms"}}).status), "E_TIMEOUT");
  const conpool_op held = s.begin();
  s.run_for(ms(50));
  EXPECT_EQ(s.ask({{"pool.exhausted", "fail"}}).name(), "E_POOL_EXHAUSTED");
  EXPECT_EQ(s.ask({{"queue.timeout", "50ms"}}).name(), "E_QUEUE_TIMEOUT");
  conpool_op_cancel(held);
  EXPECT_EQ(s.end_of(held).name(), "E_CANCELLED");
  EXPECT_EQ(s.force("open"), 0);
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.metric("pool.retries.made"), 0);
}

TEST(Retry, ARefusedStreamIsRepeatedEvenForAPost) {
  Outage s(Wire::H2c, kPlain + OptionList{{"retry.refused", "0"}}, {}, {.refuse_streams = 2});
  const Reply reply = s.perform(s.site, {.method = "POST", .id = "x", .body = "b"});
  EXPECT_EQ(reply.code, 200) << reply.report;
  EXPECT_EQ(reply.sends, 3u);
  EXPECT_EQ(s.server->seen("x"), 1u);
  EXPECT_EQ(s.metric("pool.retries.made"), 2);
}

TEST(Retry, TheReadoutTellsIt) {
  Outage s(Wire::Http1, kPlain);
  first_get(s, 2, status_answer(503));
  conpool_request* request = nullptr;
  ASSERT_EQ(conpool_request_new_at(s.site, "GET", "/", 1, &request, nullptr), 0);
  conpool_op op = 0;
  ASSERT_EQ(conpool_request_start(request, nullptr, CONPOOL_WHOLE, nullptr, 0, &op, nullptr), 0);
  conpool_request_free(request);
  conpool_event event{};
  ASSERT_EQ(conpool_op_wait(op, kMinute, &event), 0);
  char* text = nullptr;
  ASSERT_EQ(conpool_response_describe(static_cast<conpool_response*>(event.object), &text), 0);
  const std::string told(text);
  conpool_text_free(text);
  conpool_event_dispose(&event);
  EXPECT_NE(told.find("the retry policy"), std::string::npos) << told;
  EXPECT_NE(s.events().find("\"request.retry\""), std::string::npos);
  EXPECT_NE(s.events().find("\"text\":\"status 503\""), std::string::npos) << s.events();
}

TEST(Retry, TheErrorNamesTheEarlierSends) {
  Outage s(Wire::Http1, kPlain);
  s.server->set_answer_chooser([](const HttpRequest& request) {
    return request.ordinal == 0 ? status_answer(503) : fault_answer(HttpFault::Reset);
  });
  const Reply reply = s.get();
  EXPECT_EQ(status_name(reply.status), "E_HTTP_NO_RESPONSE");
  // One more for the connection that had served the first send and might have been stale.
  EXPECT_EQ(reply.sends, 4u);
  EXPECT_NE(reply.report.find("after 4 sends"), std::string::npos) << reply.report;
  EXPECT_NE(reply.report.find("192.0.2.1:80: status 503, started at 10ms"), std::string::npos)
      << reply.report;
  EXPECT_NE(s.events().find("\"text\":\"status 503\""), std::string::npos) << s.events();
}

// --- Retry-After and the deadline ----------------------------------------------------------------

TEST(Retry, RetryAfterTakesTheDelaysPlace) {
  struct Row {
    const char* after;
    const char* date;
    Nanos delay;
  };
  const char* at_noon = "Fri, 20 Nov 2026 12:00:00 GMT";
  for (const Row& row : {Row{"3", "", 3 * kSecond}, Row{"0", "", 0}, Row{"600", "", 10 * kSecond},
                         Row{"99999999999999999999", "", 10 * kSecond},
                         Row{"Fri, 20 Nov 2026 12:00:07 GMT", at_noon, 7 * kSecond},
                         Row{"Fri, 20 Nov 2026 11:00:00 GMT", at_noon, 0},
                         Row{"Fri, 20 Nov 2027 12:00:00 GMT", at_noon, 10 * kSecond},
                         Row{"soon", "", ms(100)}, Row{"-1", "", ms(100)}, Row{"", "", ms(100)}}) {
    Outage s(Wire::Http1, kPlain + OptionList{{"retry.after_max", "10s"}});
    first_get(s, 1, after_answer(503, row.after, row.date));
    EXPECT_EQ(s.get().code, 200);
    EXPECT_EQ(s.asked_at(1) - s.asked_at(0), ms(10) + row.delay) << row.after;
  }
}

TEST(Retry, WhatWouldComeAfterTheDeadlineIsNotWaitedFor) {
  for (const int32_t how : {int32_t{CONPOOL_WHOLE}, int32_t{CONPOOL_STREAM}}) {
    Outage s(Wire::Http1, kPlain);
    first_get(s, 1, after_answer(503, "5"));
    const Reply reply = s.perform(s.site, {.how = how, .options = {{"total.timeout", "5s"}}});
    EXPECT_EQ(reply.status, 0) << reply.report;
    EXPECT_EQ(reply.code, 503);
    EXPECT_EQ(reply.body, "x");
    EXPECT_EQ(reply.took(), ms(20));
    EXPECT_EQ(s.metric("pool.retries.too_late"), 1);
    EXPECT_EQ(s.metric("pool.retries.tokens"), 100);
  }
  Outage s(Wire::Http1, kPlain + OptionList{{"retry.base", "2s"}});
  s.fault(HttpFault::Reset);
  const Reply reply = s.get({{"total.timeout", "1s"}});
  EXPECT_EQ(status_name(reply.status), "E_HTTP_NO_RESPONSE");
  EXPECT_EQ(reply.took(), ms(20));
  EXPECT_NE(reply.line.find("not sent again: its delay of 2s would end after the deadline"),
            std::string::npos)
      << reply.line;
}

TEST(Retry, TheTimeToReadADiscardedResponseIsPartOfTheDelay) {
  Outage s(Wire::Http1, kPlain);
  HttpAnswer bad = after_answer(503, "1");
  bad.text = std::string(100, 'b');
  bad.piece = 10;
  bad.piece_delay = ms(60);
  first_get(s, 1, bad);
  const Reply reply = s.get({{"total.timeout", "1050ms"}});
  EXPECT_EQ(reply.code, 200) << reply.report;
  EXPECT_EQ(s.asked_at(1) - s.asked_at(0), kSecond + ms(10));
}

// --- bodies --------------------------------------------------------------------------------------

TEST(Retry, NobodySeesAResponseThatIsDiscarded) {
  for (const Wire wire : {Wire::Http1, Wire::H2}) {
    for (const int32_t how : {int32_t{CONPOOL_WHOLE}, int32_t{CONPOOL_STREAM}}) {
      Outage s(wire, kPlain);
      HttpAnswer bad = status_answer(503);
      bad.text = std::string(20'000, 'b');
      bad.framing = HttpFraming::Chunked;
      bad.trailers = {{"x-bad", "1"}};
      first_get(s, 2, bad);
      const Reply reply = s.perform(s.site, {.how = how});
      EXPECT_EQ(reply.code, 200) << reply.report;
      EXPECT_EQ(reply.body, "x");
      EXPECT_EQ(reply.events, how == CONPOOL_STREAM ? "HCF" : "F");
      EXPECT_TRUE(reply.trailers.empty());
      EXPECT_EQ(s.server->counts().accepted, 1u);
      EXPECT_EQ(s.requests(), 3u);
    }
  }
}

TEST(Retry, ForALongBodyThatNobodyGetsTheConnectionIsGivenUp) {
  for (const Wire wire : {Wire::Http1, Wire::H2c}) {
    Outage s(wire, kPlain);
    HttpAnswer bad = status_answer(503);
    bad.text = std::string(64 * 1024 + 1, 'b');
    first_get(s, 1, bad);
    const Reply reply = s.get();
    EXPECT_EQ(reply.code, 200) << reply.report;
    EXPECT_EQ(reply.sends, 2u);
    EXPECT_EQ(s.server->counts().accepted, is_h2(wire) ? 1u : 2u);
    bad.text = std::string(64 * 1024, 'b');
    Outage kept(wire, kPlain);
    first_get(kept, 1, bad);
    EXPECT_EQ(kept.get().code, 200);
    EXPECT_EQ(kept.server->counts().accepted, 1u);
  }
}

TEST(Retry, ADiscardedBodyThatStallsOrBreaksOffIsFollowedByTheRetryToo) {
  for (const HttpFault fault : {HttpFault::Silence, HttpFault::Reset, HttpFault::Close}) {
    for (const Wire wire : {Wire::Http1, Wire::H2c}) {
      Outage s(wire, kPlain + OptionList{{"stall.timeout", "1s"}});
      HttpAnswer bad = status_answer(503);
      bad.text = "0123456789";
      bad.fault = fault;
      bad.fault_at = 5;
      first_get(s, 1, bad);
      const Reply reply = s.get();
      EXPECT_EQ(reply.code, 200) << wire_name(wire) << reply.report;
      EXPECT_EQ(reply.sends, 2u);
    }
  }
}

TEST(Retry, BodiesFromMemoryAndFilesAreSentAgainAndPiecesAreNot) {
  Outage s(Wire::Http1, kPlain);
  const std::string body(100'000, 'p');
  first_get(s, 2, status_answer(503));
  EXPECT_EQ(s.perform(s.site, {.method = "PUT", .body = body}).code, 200);
  for (const auto& request : s.server->log()) {
    EXPECT_EQ(request->body_size, body.size());
    EXPECT_EQ(request->body_hash, origin::hash_of(body));
  }

  const std::string path =
      (std::filesystem::temp_directory_path() / ("retry-body-" + std::to_string(getpid())))
          .string();
  const int file = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::write(file, body.data(), body.size()), static_cast<ssize_t>(body.size()));
  ::unlink(path.c_str());
  Outage from_file(Wire::H2c, kPlain);
  first_get(from_file, 2, status_answer(503));
  conpool_request* request = nullptr;
  ASSERT_EQ(conpool_request_new_at(from_file.site, "PUT", "/", 1, &request, nullptr), 0);
  ASSERT_EQ(conpool_request_body_fd(request, file, 0, -1), 0);
  conpool_op op = 0;
  ASSERT_EQ(conpool_request_start(request, nullptr, CONPOOL_WHOLE, nullptr, 0, &op, nullptr), 0);
  conpool_request_free(request);
  ::close(file);
  EXPECT_EQ(from_file.end_of(op).code, 200);
  EXPECT_EQ(from_file.requests(), 3u);
  for (const auto& seen : from_file.server->log())
    EXPECT_EQ(seen->body_hash, origin::hash_of(body));

  Outage pieces(Wire::Http1, kPlain);
  first_get(pieces, 2, status_answer(503));
  const conpool_op put = pieces.start(pieces.site, {.method = "PUT", .pieces = -1});
  (void)pieces.write_piece(put, "one", true);
  EXPECT_EQ(pieces.finish(put).code, 503);
  EXPECT_EQ(pieces.requests(), 1u);
}

// --- the pause -----------------------------------------------------------------------------------

struct Paused : Outage {
  Paused() : Outage(Wire::Http1, kPlain + OptionList{{"retry.base", "1s"}}) {
    answer(503);
    op = start(site, {.id = "x"});
    run_for(ms(500));
    EXPECT_EQ(metric("pool.retries.made"), 1);
    EXPECT_EQ(metric("pool.requests.running"), 1);
  }
  conpool_op op = 0;
};

TEST(RetryPause, HoldsNoConnection) {
  Paused s;
  EXPECT_EQ(s.metric("pool.leases.active"), 0);
  EXPECT_EQ(s.metric("pool.waiters.waiting"), 0);
}

TEST(RetryPause, CancelEndsIt) {
  Paused s;
  const Time at = s.now();
  conpool_op_cancel(s.op);
  const Reply& reply = s.finish(s.op, kSecond);
  EXPECT_EQ(status_name(reply.status), "E_CANCELLED");
  EXPECT_EQ(reply.at, at);
  EXPECT_EQ(reply.proof, uint64_t{CONPOOL_PROOF_MAYBE_PROCESSED});
  s.run_for(10 * kSecond);
  EXPECT_EQ(s.requests(), 1u);
  EXPECT_EQ(s.metric("pool.requests.running"), 0);
}

TEST(RetryPause, ClosingThePoolEndsIt) {
  for (const Nanos drain : {Nanos{0}, 10 * kSecond}) {
    Paused s;
    const Time at = s.now();
    const conpool_op closing = s.close_pool(drain);
    const Reply& reply = s.finish(s.op, kSecond);
    EXPECT_EQ(status_name(reply.status), "E_CLOSED");
    EXPECT_EQ(reply.at, at);
    EXPECT_EQ(s.wait(closing).status, 0);
    EXPECT_EQ(s.requests(), 1u);
  }
}

TEST(RetryPause, FreeingThePoolEndsIt) {
  Paused s;
  s.close();
}

TEST(RetryPause, ThePoolClosesWhileAResponseIsDiscarded) {
  Outage s(Wire::Http1, kPlain);
  HttpAnswer bad = status_answer(503);
  bad.text = std::string(50'000, 'b');
  bad.piece = 10'000;
  bad.piece_delay = ms(100);
  s.server->set_answer(bad);
  const conpool_op op = s.start(s.site, {});
  s.run_for(ms(100));
  const conpool_op closing = s.close_pool(10 * kSecond);
  const Reply& reply = s.finish(op, 20 * kSecond);
  EXPECT_EQ(status_name(reply.status), "E_CLOSED") << reply.report;
  EXPECT_EQ(s.wait(closing).status, 0);
  EXPECT_EQ(s.requests(), 1u);
}

TEST(RetryPause, ARetryThatIsNotMadeGivesItsTokensBack) {
  Outage s(Wire::Http1, kPlain);
  HttpAnswer bad = status_answer(503);
  bad.text = std::string(50'000, 'b');
  bad.piece = 10'000;
  bad.piece_delay = ms(100);
  s.server->set_answer(bad);
  const conpool_op op = s.start(s.site, {});
  s.run_for(ms(100));  // the response is being discarded
  EXPECT_LT(s.metric("pool.retries.tokens"), 100);
  EXPECT_EQ(conpool_op_cancel(op), 0);
  EXPECT_EQ(status_name(s.finish(op).status), "E_CANCELLED");
  EXPECT_EQ(s.metric("pool.retries.tokens"), 100);
}

TEST(RetryPause, ABreakerThatOpensMeanwhileRefusesTheRetry) {
  Outage s(Wire::Http1, kPlain + OptionList{{"retry.base", "1s"},
                                            {"breaker.mode", "on"},
                                            {"breaker.open_jitter", "0"}});
  s.answer(503);
  const conpool_op op = s.start(s.site, {});
  s.run_for(ms(500));
  for (int i = 0; i < 9; ++i)
    (void)s.get({{"retry.attempts", "1"}});
  EXPECT_EQ(s.metric("pool.breaker.open"), 1);
  const Reply& reply = s.finish(op);
  EXPECT_EQ(status_name(reply.status), "E_BREAKER_OPEN");
  EXPECT_NE(reply.report.find("status 503"), std::string::npos) << reply.report;
  EXPECT_EQ(s.requests(), 10u);
}

// --- the budget ----------------------------------------------------------------------------------

TEST(RetryBudget, AFullOutageAddsTwentySendsInAll) {
  struct Row {
    const char* what;
    HttpAnswer answer;
    uint64_t most;
  };
  for (const Row& row : {Row{"503", status_answer(503), 20}, Row{"500", status_answer(500), 0},
                         Row{"reset", fault_answer(HttpFault::Reset), 20},
                         Row{"silence", fault_answer(HttpFault::Silence), 10}}) {
    SCOPED_TRACE(row.what);
    Outage s(Wire::Http1, kPlain + OptionList{{"first_byte.timeout", "100ms"}});
    s.server->set_answer(row.answer);
    for (int i = 0; i < 200; ++i)
      (void)s.get();
    EXPECT_EQ(s.requests(), 200 + row.most);
    EXPECT_EQ(s.metric("pool.retries.made"), static_cast<int64_t>(row.most));
    EXPECT_EQ(s.metric("pool.retries.tokens"), row.most == 0 ? 100 : 0);
    if (row.most > 0) {
      EXPECT_EQ(s.metric("pool.retries.over_budget"), row.most == 20 ? 190 : 195);
    }
  }
}

TEST(RetryBudget, WithoutTokensAResponseIsDeliveredAndAnErrorSaysWhy) {
  Outage s(Wire::Http1, kPlain + OptionList{{"retry.budget", "0"}});
  s.answer(503);
  EXPECT_EQ(s.get().code, 503);
  EXPECT_EQ(s.requests(), 1u);
  s.run_for(kMinute);  // its connection is gone
  s.fault(HttpFault::Reset);
  const Reply reply = s.get();
  EXPECT_NE(reply.line.find("not sent again: the retry budget is used up"), std::string::npos)
      << reply.line;
  EXPECT_EQ(s.requests(), 2u);
}

TEST(RetryBudget, AtThirtyPercentOfErrorsRetriesThatFailAreBounded) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Outage s(Wire::Http1, kPlain + OptionList{{"retry.base", "1ms"}}, {{"events.level", "error"}},
             {}, seed);
    Rng rng(seed);
    s.server->set_answer_chooser([&rng](const HttpRequest&) {
      return status_answer(rng.between(1, 100) <= 30 ? 503 : 200);
    });
    int64_t good = 0;
    for (int i = 0; i < 2000; ++i)
      good += s.get().code == 200 ? 1 : 0;
    const int64_t failed_retries =
        s.metric("pool.retries.made") - s.metric("pool.retries.succeeded");
    EXPECT_LE(failed_retries * 5, good + 100);
    EXPECT_GT(s.metric("pool.retries.succeeded"), 400);
  }
}

}  // namespace
}  // namespace conpool::sim
