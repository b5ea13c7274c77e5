// What HTTP/2 servers may do to requests under way: no request proven unprocessed fails, none but
// an idempotent one reaches a server twice, and each error carries its proof.
#include "sim/http_world.h"

namespace conpool::sim {
namespace {

using origin::H2Goaway;
using origin::H2Opening;
using origin::H2SettingsChange;

constexpr uint64_t kMaybe = CONPOOL_PROOF_MAYBE_PROCESSED;
constexpr uint64_t kNotProcessed = CONPOOL_PROOF_NOT_PROCESSED;

struct Fleet : HttpWorld {
  // The first connection is served by this script; the later ones by the default.
  explicit Fleet(Wire on, HttpScript first = {}, const OptionList& options = {}) : wire(on) {
    network.host("*").latency = ms(5);
    open();
    server = &serve_on(wire);
    first.http2 = is_h2(wire);
    server->set_script_chooser(
        [first](uint64_t number) { return number == 0 ? first : HttpScript{}; });
    site = target(wire, options);
  }
  // POSTs, which must never be processed twice.
  std::vector<conpool_op> post_many(size_t count) {
    std::vector<conpool_op> ops;
    for (size_t i = 0; i < count; ++i)
      ops.push_back(start(site, {.method = "POST",
                                 .target = "/echo",
                                 .id = std::to_string(i),
                                 .body = "body " + std::to_string(i)}));
    return ops;
  }
  void expect_all_fine(const std::vector<conpool_op>& ops) {
    for (size_t i = 0; i < ops.size(); ++i) {
      const Reply& reply = finish(ops[i]);
      EXPECT_TRUE(reply.ok()) << i << ": " << reply.report;
      EXPECT_EQ(reply.body, "body " + std::to_string(i));
      EXPECT_EQ(server->seen(std::to_string(i)), 1u);
    }
    EXPECT_EQ(server->http_counts().repeated, 0u);
    EXPECT_EQ(server->http_counts().bad_requests, 0u) << server->http_counts().first_problem;
  }

  const Wire wire;
  HttpServer* server;
  conpool_endpoint* site;
};

HttpAnswer slow_echo(const HttpRequest&) {
  HttpAnswer answer;
  answer.body = origin::HttpBody::Echo;
  answer.head_delay = ms(50);
  return answer;
}

// --- GOAWAY --------------------------------------------------------------------------------------

TEST(HttpGoaway, EveryKindLosesNoRequest) {
  const std::vector<std::vector<H2Goaway>> kinds = {
      // graceful, in two steps
      {{.after_requests = 3, .last_id = H2Goaway::kEvery, .close = false},
       {.after_requests = 3, .delay = ms(10)}},
      // the streams above go elsewhere
      {{.after_requests = 10, .last_id = 9}},
      {{.after_requests = 10, .delay = ms(20), .last_id = 1}},
      {{.after_requests = 1, .last_id = 0}},
      {{.after_requests = 10, .last_id = 0, .error = 2, .debug = "overloaded"}},
      // at once, before a request came
      {{.after_requests = 0, .last_id = 0}},
      // twice, the second time with less
      {{.after_requests = 10, .last_id = 15, .close = false},
       {.after_requests = 10, .delay = ms(20), .last_id = 7}},
      // with an error, and what was taken is still answered
      {{.after_requests = 10, .error = 11}},
  };
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    SCOPED_TRACE(kind);
    Fleet fleet(Wire::H2c, {.goaways = kinds[kind]});
    fleet.server->set_answer_chooser(slow_echo);
    const std::vector<conpool_op> ops = fleet.post_many(10);
    fleet.expect_all_fine(ops);
    EXPECT_EQ(fleet.server->http_counts().goaways_sent, kinds[kind].size());
    EXPECT_LE(fleet.server->counts().accepted, 3u);
    EXPECT_TRUE(fleet.perform(fleet.site, {}).ok());
    fleet.run_for(kSecond);
    EXPECT_EQ(fleet.server->counts().open, 1u);
  }
}

TEST(HttpGoaway, TheSuccessorIsDialedAtOnceEvenAtLimitOne) {
  Fleet fleet(Wire::H2c, {.goaways = {{.after_requests = 1}}}, {{"endpoint.max_connections", "1"}});
  HttpAnswer long_one;
  long_one.text = "late";
  long_one.head_delay = 2 * kSecond;
  fleet.server->set_answer(long_one);
  const conpool_op first = fleet.start(fleet.site, {});
  fleet.run_for(ms(100));
  fleet.server->set_answer(HttpAnswer{});
  const Reply second = fleet.perform(fleet.site, {});
  EXPECT_TRUE(second.ok()) << second.report;
  EXPECT_LT(second.took(), ms(100));
  EXPECT_EQ(fleet.finish(first).body, "late");
}

TEST(HttpGoaway, InTheMiddleOfABodyTheBodyIsFinished) {
  Fleet fleet(Wire::H2c, {.goaways = {{.after_requests = 1, .delay = ms(30)}}});
  HttpAnswer answer;
  answer.text = std::string(100, 'x');
  answer.piece = 10;
  answer.piece_delay = ms(10);
  fleet.server->set_answer(answer);
  const Reply reply = fleet.perform(fleet.site, {});
  EXPECT_EQ(reply.body, answer.text) << reply.report;
  EXPECT_EQ(fleet.server->http_counts().goaways_sent, 1u);
}

TEST(HttpGoaway, ServersThatAlwaysGoAwayEndTheRequestWithItsProof) {
  Fleet fleet(Wire::H2c);
  fleet.server->set_script({.goaways = {{.after_requests = 1, .last_id = 0}}});
  const Reply reply =
      fleet.perform(fleet.site, {.method = "POST", .target = "/delay/10", .id = "x", .body = "b"});
  EXPECT_EQ(status_name(reply.status), "E_H2_GOAWAY");
  EXPECT_EQ(reply.proof, kNotProcessed);
  EXPECT_EQ(reply.sends, 4u);  // retry.refused = 3
  EXPECT_EQ(fleet.server->seen("x"), 0u);
}

TEST(HttpGoaway, ServersThatServeOneRequestPerConnectionServeAll) {
  Fleet fleet(Wire::H2c, {}, {{"h2.max_connections", "1"}});
  fleet.server->set_script({.goaways = {{.after_requests = 1, .delay = ms(20), .last_id = 1}}});
  fleet.server->set_answer_chooser([](const HttpRequest& request) {
    HttpAnswer answer = slow_echo(request);
    answer.head_delay = request.on_its_connection == 0 ? ms(5) : ms(50);
    return answer;
  });
  const std::vector<conpool_op> ops = fleet.post_many(12);
  fleet.expect_all_fine(ops);
  EXPECT_EQ(fleet.server->counts().accepted, 12u);
  EXPECT_EQ(fleet.reply(ops.back()).sends, 12u);
}

// What was refused is sent again even where the connection is closed before that was told.
TEST(HttpGoaway, AClosedConnectionsRefusedRequestsGoElsewhere) {
  Fleet fleet(Wire::H2c, {.goaways = {{.after_requests = 5, .last_id = 0}}},
              {{"endpoint.max_draining", "0"}});
  fleet.server->set_answer_chooser(slow_echo);
  fleet.expect_all_fine(fleet.post_many(5));
  EXPECT_EQ(fleet.metric("pool.resends.goaway"), 5);
}

// --- RST_STREAM ----------------------------------------------------------------------------------

HttpAnswer reset_with(uint32_t code, int64_t at) {
  HttpAnswer answer;
  answer.text = "abcdef";
  answer.fault = HttpFault::ResetStream;
  answer.fault_at = at;
  answer.h2_error = code;
  return answer;
}

TEST(HttpReset, EachCodeEndsItsRequestAlone) {
  for (uint32_t code = 0; code <= 14; ++code) {
    if (code == 7 || code == 13) continue;
    for (const int64_t at : {-1, 0, 3}) {
      SCOPED_TRACE(std::to_string(code) + " at " + std::to_string(at));
      Fleet fleet(Wire::H2c);
      fleet.server->set_answer_chooser([&](const HttpRequest& request) {
        return request.id == "0" ? reset_with(code, at) : slow_echo(request);
      });
      const std::vector<conpool_op> ops = fleet.post_many(3);
      const Reply& reply = fleet.finish(ops[0]);
      EXPECT_EQ(status_name(reply.status), "E_H2_STREAM_RESET");
      EXPECT_EQ(reply.proof, kMaybe);
      EXPECT_EQ(reply.sends, 1u);
      EXPECT_EQ(reply.body, at == 3 ? "abc" : "");
      for (const size_t other : {1, 2})
        EXPECT_TRUE(fleet.finish(ops[other]).ok()) << fleet.reply(ops[other]).report;
      EXPECT_EQ(fleet.server->counts().accepted, 1u);
      EXPECT_EQ(fleet.server->http_counts().repeated, 0u);
    }
  }
}

TEST(HttpReset, RefusedStreamsAreSentAgainWithinTheirCap) {
  for (const uint64_t refused : {1u, 2u, 3u, 4u}) {
    Fleet fleet(Wire::H2c, {.refuse_streams = refused});
    const Reply reply =
        fleet.perform(fleet.site, {.method = "POST", .target = "/echo", .id = "x", .body = "body"});
    if (refused <= 3) {
      EXPECT_EQ(reply.body, "body") << reply.report;
      EXPECT_EQ(reply.sends, refused + 1);
      EXPECT_EQ(fleet.server->seen("x"), 1u);
    } else {
      EXPECT_EQ(status_name(reply.status), "E_H2_REFUSED");
      EXPECT_EQ(reply.proof, kNotProcessed);
      EXPECT_EQ(fleet.server->seen("x"), 0u);
    }
    EXPECT_EQ(fleet.metric("pool.resends.refused"), int64_t(std::min<uint64_t>(refused, 3)));
  }
}

TEST(HttpReset, ManyRefusedAtOnceAllSucceed) {
  Fleet fleet(Wire::H2c, {.refuse_streams = 20});
  fleet.server->set_answer_chooser(slow_echo);
  fleet.expect_all_fine(fleet.post_many(20));
}

TEST(HttpReset, ARefusedBodyInPiecesIsNotSentAgain) {
  Fleet fleet(Wire::H2c, {.refuse_streams = 1});
  Ask ask{.method = "POST", .target = "/echo"};
  ask.pieces = -1;
  const conpool_op op = fleet.start(fleet.site, ask);
  fleet.write_piece(op, "abc", false);
  const Reply& reply = fleet.finish(op);
  EXPECT_EQ(status_name(reply.status), "E_H2_REFUSED");
  EXPECT_EQ(reply.proof, kNotProcessed);
}

// --- SETTINGS ------------------------------------------------------------------------------------

TEST(HttpSettings, TheLimitMayFallToNothingAndRise) {
  HttpScript script;
  script.settings.max_concurrent = 10;
  script.settings_changes = {
      H2SettingsChange{.after_requests = 5, .settings = {.max_concurrent = 0}},
      H2SettingsChange{.after_requests = 5, .delay = ms(300), .settings = {.max_concurrent = 2}},
      H2SettingsChange{.after_requests = 9, .settings = {.max_concurrent = 50}}};
  Fleet fleet(Wire::H2c, script, {{"h2.max_connections", "1"}});
  fleet.server->set_answer_chooser(slow_echo);
  fleet.expect_all_fine(fleet.post_many(40));
  EXPECT_EQ(fleet.server->http_counts().over_limit, 0u);
  EXPECT_EQ(fleet.server->counts().accepted, 1u);
}

TEST(HttpSettings, ASmallWindowAndItsGrowthLoseNothing) {
  HttpScript script;
  script.settings.initial_window = 10;
  script.settings_changes = {
      H2SettingsChange{.after_requests = 1, .delay = ms(50), .settings = {.initial_window = 0}},
      H2SettingsChange{
          .after_requests = 1, .delay = ms(200), .settings = {.initial_window = 70'000}}};
  Fleet fleet(Wire::H2c, script);
  const std::string body = origin::pattern(0, 50'000);
  const Reply reply =
      fleet.perform(fleet.site, {.method = "POST", .target = "/echo", .body = body});
  EXPECT_TRUE(reply.body == body) << reply.report;
}

TEST(HttpSettings, ARequestWaitsForASlotNoLongerThanItsTime) {
  HttpScript script;
  script.settings.max_concurrent = 0;
  Fleet fleet(Wire::H2c, script, {{"h2.max_connections", "1"}});
  Ask ask;
  ask.options = {{"queue.timeout", "1s"}, {"total.timeout", "3s"}};
  const Reply reply = fleet.perform(fleet.site, ask);
  EXPECT_LT(reply.status, 0);
  EXPECT_NE(reply.proof, kMaybe) << reply.report;
  EXPECT_LE(reply.took(), 3 * kSecond);
}

// --- connections that are cut --------------------------------------------------------------------

TEST(HttpCut, AtEachByteNoRequestProvenUnprocessedFails) {
  size_t failed = 0;
  for (uint64_t cut = 1; cut < 400; ++cut) {
    SCOPED_TRACE(cut);
    HttpScript script;
    script.cut_after_sent = cut;
    script.ending = cut % 2 == 0 ? origin::Ending::Close : origin::Ending::Reset;
    Fleet fleet(Wire::H2c, script);
    const std::vector<conpool_op> ops = fleet.post_many(5);
    for (size_t i = 0; i < ops.size(); ++i) {
      const Reply& reply = fleet.finish(ops[i]);
      EXPECT_TRUE(reply.ok() ? reply.body == "body " + std::to_string(i) : reply.proof == kMaybe)
          << reply.report;
      EXPECT_LE(fleet.server->seen(std::to_string(i)), 1u);
      failed += reply.ok() ? 0 : 1;
    }
    // The cut may come in this one's response; then not in the next.
    EXPECT_TRUE(fleet.perform(fleet.site, {}).ok() || fleet.perform(fleet.site, {}).ok());
  }
  EXPECT_GT(failed, 0u);
}

TEST(HttpCut, AtEachByteThatTheServerReceives) {
  for (uint64_t cut = 1; cut < 500; cut += 3) {
    SCOPED_TRACE(cut);
    HttpScript script;
    script.cut_after_received = cut;
    script.ending = cut % 2 == 0 ? origin::Ending::Close : origin::Ending::Reset;
    Fleet fleet(cut % 4 < 2 ? Wire::H2c : Wire::Http1, script);
    const std::vector<conpool_op> ops = fleet.post_many(3);
    for (size_t i = 0; i < ops.size(); ++i) {
      const Reply& reply = fleet.finish(ops[i]);
      const uint64_t seen = fleet.server->seen(std::to_string(i));
      const bool unheard = status_name(reply.status) == "E_H2_PREFACE" && seen == 0;
      EXPECT_TRUE(reply.ok() || reply.proof == kMaybe || unheard) << reply.report;
      EXPECT_LE(seen, 1u);
    }
  }
}

// --- HTTP/1.1 after all --------------------------------------------------------------------------

TEST(HttpFallback, AServerThatDemandsHttp1GetsItAndIsRemembered) {
  Fleet fleet(Wire::H2, {.http1_required = true}, {{"http.memory", "10min"}});
  fleet.expect_all_fine(fleet.post_many(10));
  EXPECT_EQ(fleet.server->http_counts().http2_connections, 1u);
  EXPECT_EQ(fleet.server->http_counts().http2_requests, 10u);
  EXPECT_EQ(fleet.server->http_counts().http1_requests, 10u);
  fleet.run_for(5 * kMinute);
  EXPECT_TRUE(fleet.perform(fleet.site, {}).ok());
  EXPECT_EQ(fleet.server->http_counts().http2_connections, 1u);
  // Once per lifetime of the memory: then HTTP/2 is tried again.
  fleet.run_for(10 * kMinute);
  EXPECT_TRUE(fleet.perform(fleet.site, {}).ok());
  EXPECT_EQ(fleet.server->http_counts().http2_connections, 2u);
}

TEST(HttpFallback, AServerThatCannotDoTheHttp2ItAgreedToGetsHttp1) {
  for (const H2Opening opening : {H2Opening::DieBeforeSettings, H2Opening::Http1Bytes}) {
    for (const origin::Ending ending : {origin::Ending::Close, origin::Ending::Reset}) {
      HttpScript script;
      script.opening = opening;
      script.ending = ending;
      Fleet fleet(Wire::H2, script);
      fleet.server->set_script(script);  // of every HTTP/2 connection
      fleet.expect_all_fine(fleet.post_many(10));
      EXPECT_EQ(fleet.server->http_counts().http2_connections, 1u);
      EXPECT_EQ(fleet.server->http_counts().http1_requests, 10u);
      EXPECT_TRUE(fleet.perform(fleet.site, {}).ok());
      EXPECT_EQ(fleet.server->http_counts().http2_connections, 1u);
    }
  }
}

TEST(HttpFallback, WithPriorKnowledgeThereIsNone) {
  for (const H2Opening opening : {H2Opening::DieBeforeSettings, H2Opening::Http1Bytes}) {
    HttpScript script;
    script.opening = opening;
    Fleet fleet(Wire::H2c, script);
    fleet.server->set_script(script);
    const Reply reply =
        fleet.perform(fleet.site, {.method = "POST", .target = "/echo", .id = "x", .body = "b"});
    EXPECT_LT(reply.status, 0);
    EXPECT_NE(reply.proof, kMaybe) << reply.report;
    EXPECT_EQ(reply.sends, 4u);  // retry.refused = 3
    EXPECT_EQ(fleet.server->http_counts().http1_connections, 0u);
  }
}

TEST(HttpFallback, WithPriorKnowledgeTheNextConnectionMayDoBetter) {
  for (const H2Opening opening : {H2Opening::DieBeforeSettings, H2Opening::Http1Bytes}) {
    Fleet fleet(Wire::H2c, {.opening = opening});
    fleet.expect_all_fine(fleet.post_many(5));
    EXPECT_EQ(fleet.metric("pool.resends.preface"), 5);
  }
}

TEST(HttpFallback, AnOriginThatSwitchesItsProtocolLosesNoRequest) {
  Fleet fleet(Wire::H2);
  fleet.server->set_script({.close_after_requests = 5});
  size_t sent = 0;
  for (int round = 0; round < 6; ++round) {
    const bool h2 = round % 2 == 0;
    fleet.set_alpn(
        *fleet.server, {"origin.test"},
        h2 ? std::vector<std::string>{"h2", "http/1.1"} : std::vector<std::string>{"http/1.1"});
    fleet.server->end_connections(origin::Ending::Close);
    fleet.run_for(kSecond);
    std::vector<conpool_op> ops;
    for (int i = 0; i < 20; ++i)
      ops.push_back(fleet.start(
          fleet.site,
          {.method = "POST", .target = "/echo", .id = std::to_string(sent++), .body = "b"}));
    for (const conpool_op op : ops) {
      const Reply& reply = fleet.finish(op);
      EXPECT_TRUE(reply.ok()) << round << ": " << reply.report;
      EXPECT_EQ(reply.version, h2 ? 20 : 11);
    }
  }
  for (size_t i = 0; i < sent; ++i)
    EXPECT_EQ(fleet.server->seen(std::to_string(i)), 1u);
}

TEST(HttpFallback, ASilentHttp2ServerTimesOut) {
  HttpScript script;
  script.opening = H2Opening::Silence;
  Fleet fleet(Wire::H2c, script);
  fleet.server->set_script(script);
  Ask ask;
  ask.options = {{"total.timeout", "5s"}, {"first_byte.timeout", "1s"}};
  const Reply reply = fleet.perform(fleet.site, ask);
  EXPECT_LT(reply.status, 0);
  EXPECT_LE(reply.took(), 5 * kSecond);
}

}  // namespace
}  // namespace conpool::sim
