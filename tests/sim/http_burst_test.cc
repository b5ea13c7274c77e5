// First bursts, limits, preconnect, memory, idle connections and counts, as the servers see them.
#include <algorithm>

#include "sim/http_world.h"

namespace conpool::sim {
namespace {

struct Burst : HttpWorld {
  explicit Burst(Wire on, HttpScript script = {}, const OptionList& options = {},
                 Nanos latency = ms(5), const OptionList& pool_options = {})
      : wire(on) {
    network.host("*").latency = latency;
    open(pool_options);
    server = &serve_on(wire, std::move(script));
    site = target(wire, options);
  }
  std::vector<conpool_op> start_many(size_t count, const Ask& like = {}) {
    std::vector<conpool_op> ops;
    for (size_t i = 0; i < count; ++i) {
      Ask ask = like;
      ask.id = std::to_string(next_id_++);
      ops.push_back(start(site, ask));
    }
    return ops;
  }
  size_t finish_all_of(const std::vector<conpool_op>& ops) {
    size_t fine = 0;
    for (const conpool_op op : ops) {
      const Reply& reply = finish(op);
      EXPECT_TRUE(reply.ok()) << reply.report;
      fine += reply.ok() && reply.code == 200 ? 1 : 0;
    }
    return fine;
  }
  // All that both sides counted agrees.
  void check_counts() {
    const origin::HttpCounts& seen = server->http_counts();
    EXPECT_EQ(seen.bad_requests, 0u) << seen.first_problem;
    EXPECT_EQ(seen.over_limit, 0u);
    EXPECT_EQ(seen.repeated, 0u);
    EXPECT_EQ(metric("pool.requests.sent"), int64_t(seen.requests));
    EXPECT_EQ(metric("pool.http1.opened"), int64_t(seen.http1_connections));
    EXPECT_EQ(metric("pool.h2.opened"), int64_t(seen.http2_connections));
    EXPECT_EQ(metric("pool.h2.total_streams"), int64_t(seen.http2_requests));
    EXPECT_EQ(metric("pool.requests.running"), 0);
  }

  const Wire wire;
  HttpServer* server;
  conpool_endpoint* site;

 private:
  int next_id_ = 0;
};

const OptionList kEightConnections = {{"endpoint.max_connections", "8"}};

TEST(HttpBurst, HundredRequestsOnAColdPoolShareOneH2Connection) {
  for (const Wire wire : {Wire::H2c, Wire::H2}) {
    Burst world(wire, {}, {}, ms(30));
    EXPECT_EQ(world.finish_all_of(world.start_many(100)), 100u);
    EXPECT_EQ(world.server->counts().accepted, 1u) << wire_name(wire);
    EXPECT_EQ(world.server->http_counts().http2_connections, 1u);
    EXPECT_EQ(world.syns().size(), 1u);
    world.check_counts();
  }
}

TEST(HttpBurst, HundredRequestsToAnHttp1OriginUseItsEightConnections) {
  for (const Wire wire : {Wire::Http1, Wire::TlsHttp1}) {
    Burst world(wire, {}, kEightConnections, ms(30));
    EXPECT_EQ(world.finish_all_of(world.start_many(100)), 100u);
    EXPECT_EQ(world.server->counts().accepted, 8u) << wire_name(wire);
    EXPECT_EQ(world.server->counts().most_open, 8u);
    EXPECT_EQ(world.server->http_counts().most_streams, 0u);
    world.check_counts();
  }
}

TEST(HttpBurst, AColdH2BurstTakesLessTimeThanHttp1) {
  const auto time_of = [](Wire wire) {
    Burst world(wire, {}, kEightConnections, ms(15));
    const Time before = world.now();
    world.finish_all_of(world.start_many(100));
    return world.now() - before;
  };
  EXPECT_LT(time_of(Wire::H2), time_of(Wire::TlsHttp1));
}

HttpAnswer slow_text() {
  HttpAnswer answer;
  answer.text = "ok";
  answer.head_delay = ms(50);
  return answer;
}

TEST(HttpBurst, AThousandOpenFurtherConnectionsOnlyWhenStreamsSaturate) {
  Burst world(Wire::H2, {.settings = {.max_concurrent = 100}}, {}, ms(5));
  world.server->set_answer(slow_text());
  EXPECT_EQ(world.finish_all_of(world.start_many(1000)), 1000u);
  EXPECT_EQ(world.server->counts().accepted, 4u);
  EXPECT_EQ(world.server->http_counts().most_streams, 100u);
  world.check_counts();
}

TEST(HttpBurst, OneConnectionServesAThousandInTheirOrder) {
  Burst world(Wire::H2c, {.settings = {.max_concurrent = 10}}, {{"h2.max_connections", "1"}});
  world.server->set_answer(slow_text());
  EXPECT_EQ(world.finish_all_of(world.start_many(1000)), 1000u);
  EXPECT_EQ(world.server->counts().accepted, 1u);
  EXPECT_EQ(world.server->http_counts().most_streams, 10u);
  const auto& log = world.server->log();
  ASSERT_EQ(log.size(), 1000u);
  // The limit was not known at first: what the server refused for it comes a little later.
  size_t out_of_order = 0;
  for (size_t i = 0; i < log.size(); ++i)
    out_of_order += log[i]->id == std::to_string(i) ? 0 : 1;
  EXPECT_EQ(out_of_order, 0u);
  EXPECT_EQ(world.server->http_counts().over_limit, 0u);
}

TEST(HttpBurst, AWaitForAStreamThatTimesOutLeaksNoStream) {
  Burst world(Wire::H2c, {.settings = {.max_concurrent = 2}}, {{"h2.max_connections", "1"}});
  EXPECT_TRUE(world.perform(world.site, {}).ok());  // the limit is known
  HttpAnswer slow;
  slow.head_delay = ms(500);
  world.server->set_answer(slow);
  const std::vector<conpool_op> running = world.start_many(2);
  Ask hasty;
  hasty.options = {{"queue.timeout", "100ms"}};
  const Reply late = world.perform(world.site, hasty);
  EXPECT_EQ(status_name(late.status), "E_QUEUE_TIMEOUT");
  EXPECT_EQ(late.proof, uint64_t{CONPOOL_PROOF_NEVER_SENT});
  EXPECT_EQ(world.finish_all_of(running), 2u);
  EXPECT_EQ(world.finish_all_of(world.start_many(10)), 10u);
  EXPECT_EQ(world.server->http_counts().most_streams, 2u);
  EXPECT_EQ(world.server->http_counts().open_streams, 0u);
  EXPECT_EQ(world.metric("pool.h2.active_streams"), 0);
}

TEST(HttpBurst, TenThousandCancelsLeaveTheConnectionWorking) {
  Burst world(Wire::H2c, {}, {{"h2.max_connections", "1"}, {"pool.max_age", "0"}});
  EXPECT_TRUE(world.perform(world.site, {}).ok());
  for (int round = 0; round < 200; ++round) {
    const std::vector<conpool_op> ops = world.start_many(50, {.target = "/bytes/200000"});
    world.run_for(ms(round % 20));
    (void)world.take(Nanos{0});
    for (const conpool_op op : ops)
      (void)conpool_op_cancel(op);
    for (const conpool_op op : ops)
      (void)world.finish(op);
  }
  Reply last = world.perform(world.site, {.target = "/bytes/5000000"});
  EXPECT_TRUE(last.ok()) << last.report;
  EXPECT_EQ(last.body.size(), 5'000'000u);
  EXPECT_EQ(world.server->counts().accepted, 1u);
  EXPECT_EQ(world.server->http_counts().open_streams, 0u);
}

TEST(HttpBurst, TenThousandConnectionsLeaveNothingBehind) {
  for (const Wire wire : {Wire::Http1, Wire::H2c}) {
    Burst world(wire, {.close_after_requests = 1}, {}, ms(5), {{"events.level", "error"}});
    for (int round = 0; round < 10'000; ++round)
      ASSERT_TRUE(world.perform(world.site, {}).ok()) << round;
    world.run_for(kSecond);
    EXPECT_EQ(world.server->counts().accepted, 10'000u);
    EXPECT_EQ(world.server->counts().open, 0u);
    EXPECT_EQ(world.network.live().client_streams, 0u) << wire_name(wire);
    EXPECT_EQ(world.network.live().exchanges, 0u);
    world.check_counts();
  }
}

// --- preconnect and memory -----------------------------------------------------------------------

TEST(HttpBurst, PreconnectMakesTheFirstRequestDialNothing) {
  for (const Wire wire : kWires) {
    Burst world(wire, {}, kEightConnections);
    EXPECT_EQ(world.preconnect(world.site, 3), 0);
    const size_t dialed = world.syns().size();
    EXPECT_EQ(dialed, is_h2(wire) ? 1u : 3u) << wire_name(wire);
    const Time before = world.now();
    EXPECT_TRUE(world.perform(world.site, {}).ok());
    EXPECT_EQ(world.now() - before, ms(10)) << wire_name(wire);
    EXPECT_EQ(world.syns().size(), dialed) << wire_name(wire);
  }
}

TEST(HttpBurst, PreconnectFailsWithItsDial) {
  Burst world(Wire::Http1);
  world.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  EXPECT_EQ(status_name(world.preconnect(world.site, 1)), "E_CONNECT_REFUSED");
}

TEST(HttpBurst, ARememberedHttp1OriginIsDialedForAllAtOnce) {
  Burst world(Wire::TlsHttp1, {.close_after_requests = 1}, kEightConnections, ms(20));
  EXPECT_TRUE(world.perform(world.site, {}).ok());
  world.run_for(kSecond);
  const Time start = world.now();
  world.start_many(8);
  world.run_for(ms(10));
  EXPECT_EQ(world.syns(start).size(), 8u);
  world.finish_all();
}

TEST(HttpBurst, TheStreamLimitIsRemembered) {
  Burst world(Wire::H2, {.close_after_requests = 1, .settings = {.max_concurrent = 5}}, {}, ms(20));
  EXPECT_TRUE(world.perform(world.site, {}).ok());
  world.run_for(kSecond);
  EXPECT_EQ(world.server->counts().open, 0u);
  world.server->set_script({.settings = {.max_concurrent = 5}});
  world.server->set_answer(slow_text());
  EXPECT_EQ(world.finish_all_of(world.start_many(20)), 20u);
  EXPECT_EQ(world.server->http_counts().refused, 0u);
  EXPECT_EQ(world.server->http_counts().most_streams, 5u);
  world.check_counts();
}

TEST(HttpBurst, StatisticsOfAProtocolThatWasNotUsedAreAbsent) {
  Burst http1(Wire::Http1);
  EXPECT_TRUE(http1.perform(http1.site, {}).ok());
  EXPECT_EQ(http1.metrics().find("h2."), std::string::npos);
  Burst h2(Wire::H2c);
  EXPECT_TRUE(h2.perform(h2.site, {}).ok());
  EXPECT_EQ(h2.metrics().find("http1."), std::string::npos);
  EXPECT_NE(h2.metrics().find("h2.max_concurrent"), std::string::npos);
}

// --- idle connections ----------------------------------------------------------------------------

// The server closes at the moment at which the request sets out.
struct Race : Burst {
  Race() : Burst(Wire::Http1, {.idle_timeout = kSecond}, {}, ms(50)) {
    EXPECT_TRUE(perform(site, {}).ok());
    run_for(kSecond - ms(70));  // its FIN leaves 50 ms before it comes
  }
};

TEST(HttpIdle, AnIdempotentRequestIsSentAgainWhenItsConnectionHadEnded) {
  Race world;
  Ask ask;
  ask.id = "x";
  const Reply reply = world.perform(world.site, ask);
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_EQ(reply.sends, 2u);
  EXPECT_EQ(world.server->seen("x"), 1u);
  EXPECT_EQ(world.metric("pool.resends.stale"), 1);
}

TEST(HttpIdle, AnotherIsNotAndSaysSo) {
  Race world;
  Ask ask{.method = "POST", .id = "x", .body = "b"};
  const Reply reply = world.perform(world.site, ask);
  EXPECT_LT(reply.status, 0);
  EXPECT_EQ(reply.proof, uint64_t{CONPOOL_PROOF_MAYBE_PROCESSED});
  EXPECT_EQ(reply.sends, 1u);
  ask.id = "y";
  ask.idempotent = true;
  EXPECT_TRUE(world.perform(world.site, ask).ok());
}

TEST(HttpIdle, KeepAliveTimeoutIsHonoured) {
  Burst world(Wire::Http1, {.idle_timeout = 5 * kSecond}, {}, ms(50));
  HttpAnswer answer;
  answer.keep_alive_timeout = 5 * kSecond;
  world.server->set_answer(answer);
  EXPECT_TRUE(world.perform(world.site, {.method = "POST", .body = "x"}).ok());
  for (const Nanos pause : {ms(3900), ms(4050), ms(4900), ms(4950), ms(5000), ms(5100)}) {
    world.run_for(pause);
    const Reply reply = world.perform(world.site, {.method = "POST", .body = "x"});
    EXPECT_TRUE(reply.ok()) << pause << reply.report;
    EXPECT_EQ(reply.sends, 1u);
  }
  EXPECT_GT(world.server->counts().accepted, 1u);
  EXPECT_LT(world.server->counts().accepted, 7u);
}

TEST(HttpIdle, BackgroundPingsOutliveTheServersIdleLimit) {
  Burst world(Wire::H2c, {.idle_timeout = 10 * kSecond},
              {{"h2.ping_interval", "4s"}, {"pool.idle_timeout", "0"}, {"pool.max_age", "0"}});
  // pool.idle_timeout = 0 would not keep it.
  Burst kept(Wire::H2c, {.idle_timeout = 10 * kSecond},
             {{"h2.ping_interval", "4s"}, {"pool.idle_timeout", "24h"}, {"pool.max_age", "0"}});
  EXPECT_TRUE(kept.perform(kept.site, {}).ok());
  kept.run_for(5 * kMinute);
  EXPECT_EQ(kept.server->counts().open, 1u);
  EXPECT_GT(kept.server->http_counts().pings, 60u);
  EXPECT_TRUE(kept.perform(kept.site, {}).ok());
  EXPECT_EQ(kept.server->counts().accepted, 1u);
  EXPECT_TRUE(world.perform(world.site, {}).ok());
}

TEST(HttpIdle, AConnectionThatDoesNotAnswerItsPingIsReplacedBeforeARequestGoesOut) {
  Burst world(Wire::H2c, {.ack_pings = false}, {{"h2.ping_idle", "1s"}});
  EXPECT_TRUE(world.perform(world.site, {}).ok());
  world.run_for(5 * kSecond);
  world.server->set_script({});
  const Reply reply = world.perform(world.site, {.method = "POST", .id = "x", .body = "x"});
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_EQ(reply.sends, 1u);
  EXPECT_LE(reply.took(), 3 * kSecond);
  EXPECT_EQ(world.server->counts().accepted, 2u);
}

TEST(HttpIdle, WarmConnectionsThatDieComeBack) {
  for (const Wire wire : {Wire::Http1, Wire::H2c}) {
    Burst world(wire, {}, {{"pool.min_idle", "2"}});
    EXPECT_TRUE(world.perform(world.site, {}).ok());
    world.run_for(kSecond);
    const uint64_t open = wire == Wire::Http1 ? 2 : 1;
    EXPECT_GE(world.server->counts().open, open);
    world.server->end_connections(origin::Ending::Close);
    world.run_for(10 * kSecond);
    EXPECT_GE(world.server->counts().open, open) << wire_name(wire);
  }
}

TEST(HttpIdle, UnaskedBytesNeverReachALaterRequest) {
  for (int after = 0; after <= 40; ++after) {
    for (const Nanos pause : {Nanos{0}, ms(10), ms(30)}) {
      const Nanos unasked = after * kMillisecond / 2;
      if (unasked > pause) continue;  // comes when the next answer is due
      Burst world(Wire::Http1);
      HttpAnswer poisoned;
      poisoned.text = "first";
      poisoned.unsolicited = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
      poisoned.unsolicited_after = unasked;
      world.server->set_answer_chooser([poisoned](const HttpRequest& request) {
        HttpAnswer second;
        second.text = "second";
        return request.ordinal == 0 ? poisoned : second;
      });
      const Reply first = world.perform(world.site, {.method = "POST", .body = ""});
      EXPECT_EQ(first.body, "first");
      if (pause > 0) world.run_for(pause);
      const Reply second = world.perform(world.site, {});
      EXPECT_EQ(second.body, "second") << after << " " << second.report;
    }
  }
}

}  // namespace
}  // namespace conpool::sim
