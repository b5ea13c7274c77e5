// When the breaker opens, whom it refuses with what, and how it is forced.
#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

TEST(Breaker, TenFailuresInARowOpenItAndTheNextIsRefusedAtOnce) {
  for (const Wire wire : {Wire::Http1, Wire::H2c, Wire::H2}) {
    SCOPED_TRACE(wire_name(wire));
    Outage s(wire);
    s.fail(9);
    EXPECT_EQ(s.metric("pool.breaker.opened"), 0);
    const Time opened = s.fail(1);
    EXPECT_EQ(s.metric("pool.breaker.opened"), 1);
    EXPECT_EQ(s.metric("pool.breaker.open"), 1);

    const Ended first = s.ask();
    EXPECT_EQ(first.name(), "E_BREAKER_OPEN");
    EXPECT_EQ(first.at, opened);
    EXPECT_EQ(first.retry_after, 5 * kSecond);
    EXPECT_NE(first.line.find("next trial in 5s"), std::string::npos) << first.line;
    EXPECT_NE(first.line.find("the last failure was: status 503"), std::string::npos);

    s.run_for(ms(1234));
    const Ended second = s.ask();
    EXPECT_EQ(second.at, s.now());
    EXPECT_EQ(second.retry_after, opened + 5 * kSecond - s.now());
    EXPECT_EQ(second.retry_after, ms(3766));
    EXPECT_EQ(s.requests(), 10u);
    EXPECT_EQ(s.metric("pool.breaker.refused"), 2);
    EXPECT_EQ(s.get().proof, uint64_t{CONPOOL_PROOF_NEVER_SENT});
    EXPECT_TRUE(s.explains("breaker: open for the 1. time, next trial in 3.77s")) << s.explain();
  }
}

TEST(Breaker, HalfOfTwentyOpensItAndNotOneLess) {
  Outage s(Wire::Http1);
  s.server->set_answer_chooser([](const HttpRequest& request) {
    return status_answer(request.ordinal % 2 == 0 ? 200 : 503);
  });
  for (int i = 0; i < 19; ++i)
    (void)s.get();
  EXPECT_EQ(s.metric("pool.breaker.opened"), 0);
  EXPECT_EQ(s.get().code, 503);
  EXPECT_EQ(s.metric("pool.breaker.opened"), 1);
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
}

TEST(Breaker, AFailureEveryThirdTimeNeverOpensIt) {
  Outage s(Wire::Http1);
  s.server->set_answer_chooser([](const HttpRequest& request) {
    return status_answer(request.ordinal % 3 == 0 ? 503 : 200);
  });
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(s.get().ok()) << i;
  EXPECT_EQ(s.metric("pool.breaker.opened"), 0);
}

TEST(Breaker, ThreeGoodTrialsCloseIt) {
  for (const Wire wire : {Wire::Http1, Wire::H2}) {
    Outage s(wire);
    s.fail();
    s.answer(200);
    s.run_for(5 * kSecond);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(s.metric("pool.breaker.closed"), 0);
      EXPECT_TRUE(s.get().ok());
    }
    EXPECT_EQ(s.metric("pool.breaker.closed"), 1);
    EXPECT_EQ(s.metric("pool.breaker.trials"), 3);
    EXPECT_EQ(s.metric("pool.breaker.half_open"), 0);
    EXPECT_TRUE(s.explains("breaker: closed, 0 of the last 0 calls failed")) << s.explain();
  }
}

// --- what counts ---------------------------------------------------------------------------------

TEST(Breaker, StatusesCountAsTheOptionSays) {
  struct Row {
    uint16_t status;
    int64_t bad;
    int64_t good;
  };
  for (const Row& row :
       {Row{500, 1, 0}, Row{502, 1, 0}, Row{503, 1, 0}, Row{504, 1, 0}, Row{200, 0, 1},
        Row{302, 0, 1}, Row{404, 0, 1}, Row{501, 0, 1}, Row{429, 0, 0}}) {
    Outage s(Wire::Http1);
    s.answer(row.status);
    EXPECT_EQ(s.get().code, row.status);
    EXPECT_EQ(s.metric("pool.calls.failed"), row.bad) << row.status;
    EXPECT_EQ(s.metric("pool.calls.succeeded"), row.good) << row.status;
  }
  for (const char* list : {"404,418-420", ""}) {
    Outage s(Wire::Http1, kExact + OptionList{{"breaker.statuses", list}});
    for (const uint16_t status : {404, 419, 503}) {
      s.answer(status);
      (void)s.get();
    }
    const bool named = *list != '\0';
    EXPECT_EQ(s.metric("pool.calls.failed"), named ? 2 : 0);
    EXPECT_EQ(s.metric("pool.calls.succeeded"), named ? 1 : 3);
  }
}

TEST(Breaker, ASuccessThatTookTooLongIsAFailure) {
  Outage s(Wire::Http1, kExact + OptionList{{"breaker.slow", "100ms"}});
  s.answer(200, ms(90));
  EXPECT_TRUE(s.get().ok());  // 100 ms on its connection, to the millisecond
  EXPECT_EQ(s.metric("pool.calls.succeeded"), 1);
  s.answer(200, ms(91));
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(s.get().ok());
  EXPECT_EQ(s.metric("pool.calls.failed"), 10);
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
}

TEST(Breaker, AReaderThatTakesItsTimeMakesNoSlowServer) {
  Outage s(Wire::Http1, kExact + OptionList{{"breaker.slow", "100ms"}});
  HttpAnswer large = status_answer(200);
  large.text = std::string(1 << 20, 'x');
  s.server->set_answer(large);
  s.hold_chunks = true;
  const conpool_op op = s.start(s.site, {});
  const Time until = s.now() + kSecond;
  while (s.now() < until)
    (void)s.take(ms(50));
  s.hold_chunks = false;
  s.free_chunks();
  EXPECT_TRUE(s.finish(op).ok());
  EXPECT_GE(s.reply(op).took(), kSecond);
  EXPECT_EQ(s.metric("pool.calls.succeeded"), 1);
}

TEST(Breaker, AServerThatSpeaksNoHttp2Counts) {
  Outage s(Wire::Http1, kExact + OptionList{{"http.version", "h2"}});
  EXPECT_EQ(status_name(s.get().status), "E_H2_PREFACE");
  // Each send has a connection of its own, and counts: the tenth opens it.
  for (int i = 0; i < 9; ++i)
    (void)s.get();
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.server->counts().accepted, 10u);
  EXPECT_EQ(s.metric("pool.calls.failed"), 10);
}

TEST(Breaker, BrokenSendsOfNewConnectionsCount) {
  struct Row {
    const char* what;
    Wire wire;
    HttpAnswer answer;
    const char* status;
  };
  HttpAnswer garbage;
  garbage.raw = "HTTP/1.1 two hundred\r\n\r\n";
  HttpAnswer cut;
  cut.text = "0123456789";
  cut.fault = HttpFault::Close;
  cut.fault_at = 5;
  const Row rows[] = {
      {"reset", Wire::Http1, fault_answer(HttpFault::Reset), "E_HTTP_NO_RESPONSE"},
      {"end", Wire::Http1, fault_answer(HttpFault::Close), "E_HTTP_NO_RESPONSE"},
      {"silence", Wire::Http1, fault_answer(HttpFault::Silence), "E_HTTP_FIRST_BYTE_TIMEOUT"},
      {"silence", Wire::H2c, fault_answer(HttpFault::Silence), "E_HTTP_FIRST_BYTE_TIMEOUT"},
      {"stream reset", Wire::H2c, fault_answer(HttpFault::ResetStream), ""},
      {"cut body", Wire::Http1, cut, "E_HTTP_TRUNCATED"},
      {"bad bytes", Wire::Http1, garbage, ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.what) + " " + wire_name(row.wire));
    Outage s(row.wire, kExact + OptionList{{"first_byte.timeout", "100ms"}});
    s.server->set_answer(row.answer);
    for (int i = 0; i < 10; ++i) {
      const Reply reply = s.get();
      EXPECT_LT(reply.status, 0);
      if (*row.status != '\0') {
        EXPECT_EQ(status_name(reply.status), row.status) << reply.report;
      }
    }
    EXPECT_EQ(s.metric("pool.calls.failed"), 10);
    const Ended refused = s.ask();
    EXPECT_EQ(refused.name(), "E_BREAKER_OPEN");
    EXPECT_NE(refused.line.find("the last failure was: "), std::string::npos) << refused.line;
  }
}

TEST(Breaker, DialsThatFailCountOncePerOpThatWaitedForThem) {
  for (const io::SimSyn syn : {io::SimSyn::Refuse, io::SimSyn::Drop, io::SimSyn::Unreachable}) {
    Outage s(Wire::Http1, kExact + OptionList{{"connect.timeout", "200ms"}});
    s.network.host("192.0.2.1").syn = syn;
    s.network.host("192.0.2.1").error = 113;  // EHOSTUNREACH
    int asked = 0;
    while (s.metric("pool.breaker.opened") == 0 && asked < 20) {
      EXPECT_LT(s.get().status, 0);
      ++asked;
      s.run_for(kSecond);
    }
    EXPECT_EQ(asked, 10);
    EXPECT_EQ(s.metric("pool.calls.failed"), 10);
  }
}

TEST(Breaker, ATlsHandshakeThatBreaksOffCounts) {
  Outage s(Wire::TlsHttp1);
  s.server->set_stream_factory(
      [](std::unique_ptr<io::Stream>) { return std::unique_ptr<io::Stream>(); });
  for (int i = 0; i < 10; ++i) {
    EXPECT_LT(s.get().status, 0);
    s.run_for(kSecond);
  }
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
}

TEST(Breaker, WhatSaysNothingOfTheServerDoesNotCount) {
  Outage s(Wire::Http1);
  const auto expect_untouched = [&](const char* what) {
    EXPECT_EQ(s.metric("pool.calls.failed"), 0) << what;
    EXPECT_EQ(s.metric("pool.breaker.opened"), 0) << what;
  };
  s.fault(HttpFault::Silence);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(status_name(s.get({{"total.timeout", "50ms"}}).status), "E_TIMEOUT");
  expect_untouched("a deadline of the caller's own");
  for (int i = 0; i < 12; ++i) {
    const conpool_op op = s.begin();
    s.run_for(ms(20));
    conpool_op_cancel(op);
    EXPECT_EQ(s.end_of(op).name(), "E_CANCELLED");
  }
  expect_untouched("cancel");
  s.answer(429);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(s.get().code, 429);
  expect_untouched("429");

  s.dns.nxdomain("missing.test", 300);
  conpool_endpoint* missing = s.endpoint("http://missing.test", kExact);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(s.ask({}, missing).name(), "E_DNS_NOT_FOUND");
  expect_untouched("a name that does not exist");
  for (const int error : {24, 23, 99, 105, 12}) {  // EMFILE ENFILE EADDRNOTAVAIL ENOBUFS ENOMEM
    conpool_endpoint* short_of =
        s.endpoint("http://192.0.2.1", kExact + OptionList{{"partition", std::to_string(error)}});
    for (int i = 0; i < 12; ++i) {
      s.network.fail_connects(1, error);
      EXPECT_LT(s.ask({}, short_of).status, 0);
      s.run_for(kMinute);
    }
    s.network.fail_connects(0, error);
    expect_untouched("a shortage of this machine");
  }
}

TEST(Breaker, ARefusedCertificateDoesNotCount) {
  Outage s(Wire::TlsHttp1);
  conpool_endpoint* strict = s.endpoint("https://origin.test", kExact);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(s.ask({}, strict).name(), "E_TLS_CERTIFICATE");
  EXPECT_EQ(s.metric("pool.calls.failed"), 0);
}

TEST(Breaker, SwitchedOffItNeverOpensByItselfAndCanBeForced) {
  Outage s(Wire::Http1, {{"breaker.mode", "off"}});
  s.fail(40);
  EXPECT_EQ(s.metric("pool.breaker.opened"), 0);
  EXPECT_EQ(s.force("open"), 0);
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.force("auto"), 0);
  EXPECT_EQ(s.ask().code, 503);
}

// --- late results --------------------------------------------------------------------------------

TEST(Breaker, LateResultsNeitherLengthenItsTimeNorSpoilARecovery) {
  Outage s(Wire::H2c);
  // Slow ones first: they end long after it has opened, half of them badly.
  s.server->set_answer_chooser([](const HttpRequest& request) {
    if (request.target == "/quick") return status_answer(503);
    const auto n = static_cast<int64_t>(request.ordinal);
    return status_answer(n % 2 == 0 ? 503 : 200, ms(1000 + 250 * n));
  });
  const std::vector<conpool_op> slow = s.start_many(24);
  s.run_for(ms(100));
  const std::vector<conpool_op> quick = s.start_many(10, {.target = "/quick"});
  for (const conpool_op op : quick)
    EXPECT_EQ(s.finish(op).code, 503);
  const Time opened = s.now();
  EXPECT_EQ(s.metric("pool.breaker.opened"), 1);
  const int64_t counted = s.metric("pool.calls.failed") + s.metric("pool.calls.succeeded");
  s.run_until(opened + ms(4000));
  EXPECT_EQ(s.ask().retry_after, ms(1000));
  EXPECT_EQ(s.metric("pool.breaker.opened"), 1);

  // Half-open now: the late ones are no trials. The trial itself hangs.
  s.run_until(opened + ms(5000));
  const conpool_op trial = s.begin({{"first_byte.timeout", "20s"}, {"total.timeout", "20s"}});
  s.run_for(ms(1));
  EXPECT_EQ(s.metric("pool.breaker.half_open"), 1);
  for (const conpool_op op : slow)
    EXPECT_TRUE(s.finish(op).ok());
  EXPECT_EQ(s.metric("pool.breaker.half_open"), 1);
  EXPECT_EQ(s.metric("pool.breaker.opened"), 1);
  EXPECT_EQ(s.metric("pool.calls.failed") + s.metric("pool.calls.succeeded"), counted);
  (void)s.end_of(trial);
}

TEST(Breaker, AResendOfAnEarlierCallAsksAgain) {
  // Five streams hang; ten fail and open it; then the server goes away without having looked at
  // the five: sent again, they would be five more calls of an endpoint that is closed to all.
  HttpScript script;
  script.goaways.push_back({.after_requests = 15, .delay = ms(200), .last_id = 1});
  Outage s(Wire::H2c, kExact, {}, script);
  s.server->set_answer_chooser([](const HttpRequest& request) {
    return request.target == "/bad" ? status_answer(503) : status_answer(200, 10 * kSecond);
  });
  const std::vector<conpool_op> held = s.start_many(5);
  s.run_for(ms(50));
  const std::vector<conpool_op> bad = s.start_many(10, {.target = "/bad"});
  for (const conpool_op op : bad)
    EXPECT_EQ(s.finish(op).code, 503);
  EXPECT_EQ(s.metric("pool.breaker.open"), 1);
  size_t refused = 0;
  for (size_t i = 1; i < held.size(); ++i) {
    const Reply& reply = s.finish(held[i], kSecond);
    refused += status_name(reply.status) == "E_BREAKER_OPEN" ? 1 : 0;
    EXPECT_EQ(reply.proof, uint64_t{CONPOOL_PROOF_NOT_PROCESSED}) << reply.report;
  }
  EXPECT_EQ(refused, 4u);
  EXPECT_EQ(s.requests(), 15u);
  EXPECT_EQ(s.server->counts().accepted, 1u);
  (void)s.finish(held[0]);
}

// --- endpoints, force, readouts ------------------------------------------------------------------

TEST(Breaker, EndpointsOfOtherSettingsHaveTheirOwn) {
  Outage s(Wire::Http1);
  conpool_endpoint* same = s.target(Wire::Http1, kExact);
  conpool_endpoint* other = s.target(Wire::Http1, kExact + OptionList{{"partition", "b"}});
  conpool_endpoint* third = s.target(Wire::Http1, {{"breaker.open", "7s"}});
  s.fail();
  EXPECT_EQ(s.ask({}, same).name(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.ask({}, other).code, 503);
  EXPECT_EQ(s.ask({}, third).code, 503);
}

TEST(Breaker, ForcedOpenItRefusesUntilItIsGivenBack) {
  Outage s(Wire::Http1);
  s.answer(200);
  EXPECT_TRUE(s.get().ok());
  EXPECT_EQ(s.force("open"), 0);
  s.run_for(kHour);
  const Ended refused = s.ask();
  EXPECT_EQ(refused.name(), "E_BREAKER_OPEN");
  EXPECT_EQ(refused.retry_after, -1);
  EXPECT_NE(refused.line.find("forced open by the application"), std::string::npos);
  EXPECT_TRUE(s.explains("breaker: open (forced)")) << s.explain();
  EXPECT_EQ(s.metric("pool.breaker.open"), 1);
  EXPECT_EQ(s.metric("pool.breaker.opened"), 0);

  EXPECT_EQ(s.force("closed"), 0);
  EXPECT_EQ(s.metric("pool.breaker.open"), 0);
  EXPECT_EQ(s.metric("pool.breaker.closed"), 0);
  // The forcing is told, and not a second time as an opening or a closing by the rule.
  EXPECT_EQ(s.events().find("breaker.opened"), std::string::npos);
  EXPECT_EQ(s.events().find("breaker.closed"), std::string::npos);
  s.fail(30);
  EXPECT_TRUE(s.explains("breaker: closed (forced), 30 of the last 30 calls failed"));
  EXPECT_EQ(s.force("auto"), 0);
  EXPECT_TRUE(s.explains("breaker: closed, 0 of the last 0")) << s.explain();
  s.fail(10);
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
  EXPECT_EQ(s.force("auto"), 0);  // in force already
  EXPECT_EQ(s.ask().name(), "E_BREAKER_OPEN");
  EXPECT_NE(s.events().find("breaker.forced"), std::string::npos);
}

TEST(Breaker, BadStatesAreRefusedByName) {
  Outage s(Wire::Http1);
  for (const char* bad : {"", "half", "Open", "open ", "closed\n"})
    EXPECT_EQ(status_name(s.force(bad)), "E_INVALID") << bad;
  EXPECT_EQ(status_name(s.force(nullptr)), "E_INVALID");
  EXPECT_TRUE(s.explains("breaker: closed"));
  EXPECT_EQ(s.wait(s.close_pool(0)).status, 0);
  EXPECT_EQ(status_name(s.force("open")), "E_CLOSED");
}

TEST(Breaker, ItsTimeIsSpreadOverTheShareThatTheOptionSays) {
  Nanos least = kNever;
  Nanos most = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Outage s(Wire::Http1, {}, {}, {}, seed);
    s.fail();
    const Nanos open = s.ask().retry_after;
    least = std::min(least, open);
    most = std::max(most, open);
  }
  EXPECT_GE(least, ms(2500));
  EXPECT_LT(least, ms(2800));
  EXPECT_GT(most, ms(4700));
  EXPECT_LE(most, ms(5000));
}

TEST(Breaker, ForcedOpenWithWaitersPresentItEmptiesTheLineAtOnce) {
  Outage s(Wire::Http1, kExact + OptionList{{"endpoint.max_connections", "1"}});
  s.answer(200, ms(500));
  const conpool_op running = s.begin();
  std::vector<conpool_op> waiting;
  for (int i = 0; i < 20; ++i)
    waiting.push_back(s.begin());
  const conpool_op patient = s.begin({{"breaker.wait", "true"}});
  s.run_for(ms(100));
  const Time forced = s.now();
  EXPECT_EQ(s.force("open"), 0);
  for (const conpool_op op : waiting) {
    const Ended ended = s.end_of(op, ms(1));
    EXPECT_EQ(ended.name(), "E_BREAKER_OPEN");
    EXPECT_EQ(ended.at, forced);
  }
  EXPECT_EQ(s.end_of(running).code, 200);  // what has a connection runs on
  EXPECT_EQ(s.metric("pool.waiters.parked"), 1);
  EXPECT_EQ(s.force("closed"), 0);
  EXPECT_EQ(s.end_of(patient, kSecond).code, 200);
}

TEST(Breaker, PreconnectWhileOpenFailsAsRequestsDo) {
  Outage s(Wire::Http1, kExact + OptionList{{"pool.idle_timeout", "1s"}});
  s.fail();
  s.run_for(ms(1500));  // no connection is left
  const size_t dialed = s.syns().size();
  EXPECT_EQ(status_name(s.preconnect(s.site, 3)), "E_BREAKER_OPEN");
  EXPECT_EQ(s.syns().size(), dialed);
}

TEST(Breaker, NothingIsDialedAheadWhileItIsNotClosed) {
  Outage s(Wire::Http1, kExact + OptionList{{"pool.min", "3"}, {"pool.min_idle", "1"}});
  s.run_for(kSecond);
  EXPECT_EQ(s.server->counts().open, 3u);
  s.fail();
  s.server->end_connections(origin::Ending::Close);
  s.run_for(ms(50));
  const size_t dialed = s.syns().size();
  s.run_for(4 * kSecond);
  EXPECT_EQ(s.syns().size(), dialed);
  EXPECT_EQ(s.server->counts().open, 0u);
  s.answer(200);
  s.run_for(kSecond);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(s.server->counts().open, i == 0 ? 0u : 1u) << "half-open: trials alone dial";
    EXPECT_TRUE(s.get().ok());
  }
  s.run_for(kSecond);
  EXPECT_EQ(s.server->counts().open, 3u);
}

TEST(Breaker, AServerThatFlapsGetsLongerPausesAndOneThatRecoversShortOnes) {
  Outage s(Wire::Http1);
  Time opened = s.fail();
  for (const Nanos open : {5 * kSecond, 10 * kSecond, 20 * kSecond, 40 * kSecond, 80 * kSecond,
                           120 * kSecond, 120 * kSecond}) {
    EXPECT_EQ(s.ask().retry_after, open);
    s.run_until(opened + open);
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(s.get().code, 503);
    opened = s.now();
  }
  s.run_for(120 * kSecond);
  s.answer(200);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(s.get().ok());
  EXPECT_EQ(s.metric("pool.breaker.closed"), 1);
  // Five steps of growth, one falls for each five healthy seconds.
  s.run_for(10 * kSecond);
  s.fail();
  const Nanos after_ten = s.ask().retry_after;
  EXPECT_EQ(after_ten, 40 * kSecond);
  s.run_for(after_ten);
  s.answer(200);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(s.get().ok());
  s.run_for(kMinute);
  s.fail();
  EXPECT_EQ(s.ask().retry_after, 5 * kSecond);
}

}  // namespace
}  // namespace conpool::sim
