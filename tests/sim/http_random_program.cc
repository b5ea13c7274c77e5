// The random programs of HTTP.
#include "sim/http_random_program.h"

#include <algorithm>

namespace conpool::sim {
namespace {

using origin::H2Goaway;
using origin::H2Opening;
using origin::HttpBody;

constexpr int kRecoveryRequests = 10;

bool with(Rng* rng, int percent) {
  return rng->between(1, 100) <= percent;
}

// One that belongs to this place of the program alone.
Rng rng_of(uint64_t seed, uint64_t rule, uint64_t ordinal) {
  Rng first(seed * 0x9e3779b97f4a7c15ULL + rule);
  return Rng(first.next() + ordinal * 0xbf58476d1ce4e5b9ULL);
}

}  // namespace

HttpRandomProgram::HttpRandomProgram(uint64_t seed)
    : seed_(seed), rng_(seed * 0x9e3779b97f4a7c15ULL + 7), world_(seed), tls_(seed % 20 == 0) {}

// --- the world -----------------------------------------------------------------------------------

OptionList HttpRandomProgram::options() {
  total_timeout_ = any(500, 20'000) * kMillisecond;
  hasty_ = chance(30);
  OptionList list{{"endpoint.max_connections", std::to_string(any(1, 6))},
                  {"endpoint.max_draining", std::to_string(hasty_ ? any(0, 4) : 16)},
                  {"h2.max_connections", std::to_string(any(1, 3))},
                  {"h2.max_streams", std::to_string(any(1, 100))},
                  {"h2.ideal_streams", std::to_string(any(1, 100))},
                  {"h2.stream_window", std::to_string(any(64, 512)) + "KiB"},
                  {"h2.ping_idle", time_text(0, 5'000)},
                  {"h2.ping_timeout", time_text(500, 2'000)},
                  {"total.timeout", std::to_string(total_timeout_ / kMillisecond) + "ms"},
                  {"queue.timeout", time_text(100, 10'000)},
                  {"first_byte.timeout", time_text(100, 5'000)},
                  {"stall.timeout", time_text(100, 5'000)},
                  {"dial.timeout", time_text(100, 10'000)},
                  {"connect.retries", std::to_string(any(0, 2))},
                  {"drain.timeout", hasty_ ? time_text(0, 5'000) : "30s"},
                  {"expect.timeout", time_text(1, 1'000)},
                  {"pool.idle_timeout", time_text(0, 10'000)},
                  {"pool.max_age", time_text(0, 20'000)},
                  {"pool.max_uses", std::to_string(chance(30) ? any(1, 20) : 0)},
                  {"retry.stale", std::to_string(any(0, 2))},
                  {"retry.refused", std::to_string(any(0, 4))},
                  {"http.memory", time_text(0, 60'000)},
                  {"retry.attempts", std::to_string(any(1, 3))},
                  {"breaker.open_max", "10s"},
                  {"retry.base", time_text(0, 500)},
                  {"breaker.mode", chance(70) ? "on" : "off"},
                  {"breaker.wait", chance(30) ? "true" : "false"},
                  {"breaker.open", time_text(1, 5'000)},
                  {"breaker.trials", std::to_string(any(1, 3))},
                  {"breaker.trial_lease", time_text(1'000, 10'000)},
                  {"queue.discipline", chance(20) ? "codel" : "fifo"},
                  {"pool.exhausted", chance(10) ? "fail" : "wait"},
                  {"events.level", "info"}};
  if (chance(20)) list.emplace_back("pool.min_idle", "1");
  if (chance(20)) list.emplace_back("pool.min", "1");
  if (chance(20)) list.emplace_back("pool.sizing", "rate");
  if (chance(20)) list.emplace_back("h2.ping_interval", time_text(1'000, 3'000));
  if (chance(20)) list.emplace_back("pool.max_pinned", "256KiB");
  if (tls_) list.emplace_back("tls.ca_pem", world_.authority_pem());
  return list;
}

void HttpRandomProgram::make_host(const std::string& address) {
  io::SimHost& host = world_.network.host(address);
  host.latency = any(10, 50'000) * 1000;
  if (chance(30)) host.jitter = any(0, 10'000) * 1000;
  if (chance(20)) host.loss = static_cast<uint32_t>(any(1, 50'000));
  if (chance(20)) host.bandwidth = static_cast<uint64_t>(any(10'000, 1'000'000));
  if (chance(20)) host.send_buffer = static_cast<size_t>(any(4, 64)) * 1024;
  if (chance(20)) host.receive_buffer = static_cast<size_t>(any(4, 64)) * 1024;
  host.pieces = chance(50) ? io::SimPieces::Whole : io::SimPieces::Random;
  if (chance(10)) host.reset_after_down = static_cast<uint64_t>(any(1, 50'000));
  if (chance(10)) host.reset_after_up = static_cast<uint64_t>(any(1, 50'000));
  if (chance(10)) host.idle_close = any(100, 5'000) * kMillisecond;
  host.reset_discards = chance(50);
}

HttpScript HttpRandomProgram::script(const Site& site, Rng rng) const {
  HttpScript script;
  script.http2 = site.wire == Wire::H2c;
  if (!faults_) return script;
  if (with(&rng, 20)) script.idle_timeout = rng.between(50, 5'000) * kMillisecond;
  if (with(&rng, 10)) script.close_after = rng.between(1, 10'000) * kMillisecond;
  if (with(&rng, 20)) script.close_after_requests = static_cast<uint64_t>(rng.between(1, 10));
  if (with(&rng, 15)) script.cut_after_sent = static_cast<uint64_t>(rng.between(1, 20'000));
  if (with(&rng, 10)) script.cut_after_received = static_cast<uint64_t>(rng.between(1, 20'000));
  if (with(&rng, 5)) script.stop_reading_after_requests = static_cast<uint64_t>(rng.between(1, 10));
  script.ending = with(&rng, 50) ? origin::Ending::Close : origin::Ending::Reset;
  script.settings.max_concurrent = static_cast<uint32_t>(rng.between(1, 20));
  if (with(&rng, 20)) script.settings.initial_window = static_cast<uint32_t>(rng.between(0, 1000));
  if (with(&rng, 30)) {
    script.settings_changes.push_back(
        {.after_requests = static_cast<uint64_t>(rng.between(1, 5)),
         .delay = rng.between(0, 500) * kMillisecond,
         .settings = {.max_concurrent = static_cast<uint32_t>(rng.between(0, 10)),
                      .initial_window = static_cast<uint32_t>(rng.between(100, 100'000))}});
  }
  if (with(&rng, 30)) {
    H2Goaway goaway{.after_requests = static_cast<uint64_t>(rng.between(0, 10)),
                    .delay = rng.between(0, 300) * kMillisecond};
    if (with(&rng, 40)) goaway.last_id = static_cast<int32_t>(rng.between(0, 8)) * 2 + 1;
    if (with(&rng, 20)) goaway.last_id = 0;
    if (with(&rng, 30)) goaway.error = static_cast<uint32_t>(rng.between(1, 13));
    script.goaways.push_back(goaway);
  }
  if (with(&rng, 20)) script.refuse_streams = static_cast<uint64_t>(rng.between(1, 5));
  if (with(&rng, 5)) script.http1_required = true;
  if (with(&rng, 10)) script.ack_pings = false;
  if (with(&rng, 3)) script.opening = static_cast<H2Opening>(rng.between(1, 3));
  return script;
}

HttpAnswer HttpRandomProgram::answer(const HttpRequest& request, Rng rng) const {
  HttpAnswer answer;
  answer.fields = {{"x-id", request.id}};
  answer.framing = with(&rng, 50) ? HttpFraming::Chunked : HttpFraming::Sized;
  if (with(&rng, 5)) {
    answer.framing = HttpFraming::Close;
    answer.fields.emplace_back("x-open-end", "1");
  }
  answer.piece = static_cast<size_t>(rng.between(1, 20'000));
  if (request.target == "/echo") {
    answer.body = HttpBody::Echo;
  } else {
    answer.body = HttpBody::Pattern;
    answer.pattern_size =
        static_cast<uint64_t>(with(&rng, 70) ? rng.between(0, 2'000) : rng.between(0, 200'000));
    answer.pattern_seed = static_cast<uint8_t>(request.id.size());
    answer.piece = std::max<size_t>(answer.piece, answer.pattern_size / 20);
    answer.fields.emplace_back("x-size", std::to_string(answer.pattern_size));
  }
  if (answer.framing == HttpFraming::Chunked && with(&rng, 30))
    answer.trailers = {{"x-trailer", request.id}};
  if (with(&rng, 10)) answer.interim = {{.status = 103}};
  if (with(&rng, 30)) answer.head_delay = rng.between(0, 300) * kMillisecond;
  if (with(&rng, 10)) answer.piece_delay = rng.between(0, 20) * kMillisecond;
  // A body that drips byte by byte takes longer than anybody waits, without any fault.
  if (answer.piece_delay > 0) answer.piece = std::max<size_t>(answer.piece, 500);
  if (!faults_) return answer;
  if (with(&rng, 10)) answer.keep_alive = false;
  if (with(&rng, 5)) answer.status = 503;
  if (with(&rng, 5)) answer.early = true;
  if (with(&rng, 15)) {
    answer.fault = static_cast<HttpFault>(rng.between(1, 4));
    answer.fault_at = with(&rng, 50) ? -1 : rng.between(0, 1'000);
    answer.h2_error = static_cast<uint32_t>(rng.between(1, 13));
    if (answer.fault_at >= 0 && answer.h2_error == 7) answer.h2_error = 2;
    if (answer.fault_at >= 0 && answer.h2_error == 13) answer.h2_error = 8;
  }
  return answer;
}

void HttpRandomProgram::make_site(size_t index) {
  Site site;
  site.address = "192.0.2." + std::to_string(index + 1);
  site.wire = static_cast<Wire>(2 * any(0, 1) + (tls_ ? 1 : 0));
  make_host(site.address);
  const std::string name = "site" + std::to_string(index) + ".test";
  world_.dns.a(name, {site.address}, 300);
  world_.dns.nodata(name, io::kDnsAaaa, 300);
  if (tls_) {
    const std::vector<std::string> alpn = is_h2(site.wire)
                                              ? std::vector<std::string>{"h2", "http/1.1"}
                                              : std::vector<std::string>{"http/1.1"};
    site.server = &world_.serve_https(site.address + ":443", {name}, alpn);
    site.endpoint = world_.endpoint("https://" + name);
  } else {
    site.server = &world_.serve_http(site.address + ":80");
    site.endpoint = world_.endpoint("http://" + name,
                                    {{"http.version", site.wire == Wire::H2c ? "h2" : "http1"}});
  }
  sites_.push_back(site);
  site.server->set_script_chooser([this, index](uint64_t number) {
    return script(sites_[index], rng_of(seed_, 100 + index, number));
  });
  site.server->set_answer_chooser([this, index](const HttpRequest& request) {
    return answer(request, rng_of(seed_, 200 + index, request.ordinal));
  });
}

void HttpRandomProgram::plan_faults() {
  const int64_t count = any(0, 8);
  for (int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(any(0, int64_t(sites_.size()) - 1));
    const int64_t what = any(0, 4);
    const Nanos pause = any(1, 3'000) * kMillisecond;
    world_.network.at(any(1, 15'000) * kMillisecond, [this, index, what, pause] {
      if (!faults_) return;
      Site& site = sites_[index];
      io::SimHost& host = world_.network.host(site.address);
      switch (what) {
        case 0:
          host.syn = host.syn == io::SimSyn::Answer ? io::SimSyn::Drop : io::SimSyn::Answer;
          break;
        case 1:
          host.vanished = !host.vanished;
          break;
        case 2:
          site.server->end_connections(origin::Ending::Close);
          break;
        case 3:
          site.server->end_connections(origin::Ending::Reset);
          break;
        default: {  // a restart
          const SocketAddress address =
              *parse_address_and_port(site.address + (tls_ ? ":443" : ":80"));
          site.server->kill();
          world_.network.after(pause, [&site, address] { (void)site.server->listen(address); });
          break;
        }
      }
    });
  }
}

// --- the program ---------------------------------------------------------------------------------

void HttpRandomProgram::start(Ask ask, size_t site, bool idempotent) {
  ask.id = "r" + std::to_string(started_.size());
  Started started{.ask = ask, .site = site, .idempotent = idempotent, .after_faults = !faults_};
  started.op = world_.start(sites_[site].endpoint, ask);
  started_.push_back(std::move(started));
}

void HttpRandomProgram::start_any() {
  Ask ask;
  static constexpr const char* kMethods[] = {"GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"};
  ask.method = kMethods[any(0, 6)];
  const bool safe = ask.method == "GET" || ask.method == "HEAD";
  if (!safe && chance(80)) {
    ask.target = chance(60) ? "/echo" : "/";
    const auto size = static_cast<size_t>(chance(70) ? any(0, 1'000) : any(0, 200'000));
    ask.body = origin::pattern(started_.size(), size, 1);
    if (chance(20)) ask.fields.emplace_back("expect", "100-continue");
    if (chance(20)) ask.trailers = {{"x-sum", "1"}};
    if (chance(20)) {
      ask.pieces = chance(50) ? -1 : static_cast<int64_t>(ask.body->size());
      ask.body.reset();
    }
  }
  if (chance(30)) ask.how = CONPOOL_WHOLE;
  ask.idempotent = ask.method == "POST" && chance(10);
  const bool idempotent = ask.method != "POST" || ask.idempotent;
  start(ask, static_cast<size_t>(any(0, int64_t(sites_.size()) - 1)), idempotent);
}

// The next piece of a body, or its end, for each request that has one.
void HttpRandomProgram::write_pieces() {
  for (Started& each : started_) {
    if (!each.ask.pieces || world_.reply(each.op).ended) continue;
    // An announced length is sent as one piece.
    const bool announced = *each.ask.pieces >= 0;
    const auto size = static_cast<size_t>(announced ? *each.ask.pieces : any(0, 5'000));
    const bool last = announced || chance(50);
    if (world_.write_piece(each.op, std::string(size, 'p'), last) != 0 && last)
      each.ask.pieces.reset();
  }
}

void HttpRandomProgram::cancel_any() {
  if (started_.empty()) return;
  Started& chosen = started_[static_cast<size_t>(any(0, int64_t(started_.size()) - 1))];
  if (world_.reply(chosen.op).ended) return;
  chosen.cancelled = true;
  (void)conpool_op_cancel(chosen.op);
}

void HttpRandomProgram::step() {
  const int64_t what = any(0, 99);
  if (what < 35) {
    const int64_t count = chance(10) ? any(1, 30) : 1;
    for (int64_t i = 0; i < count && started_.size() < 400; ++i)
      start_any();
  } else if (what < 45) {
    write_pieces();
  } else if (what < 50) {
    cancel_any();
  } else if (what < 53) {
    world_.hold_chunks = !world_.hold_chunks;
  } else if (what < 58) {
    world_.free_chunks();
  } else {
    (void)world_.take(chance(30) ? Nanos{0} : any(1, chance(80) ? 100 : 2'000) * kMillisecond);
  }
  judge_finished();
}

void HttpRandomProgram::judge_finished() {
  for (Started& each : started_) {
    if (!each.judged && world_.reply(each.op).ended) judge(each);
  }
}

void HttpRandomProgram::judge(Started& each) {
  each.judged = true;
  const Reply& reply = world_.reply(each.op);
  log_ += each.ask.id + " " + std::to_string(reply.at) + " " + status_name(reply.status) + " " +
          std::to_string(reply.code) + " " + std::to_string(reply.body.size()) + " " +
          std::to_string(reply.sends) + " " + std::to_string(reply.proof) + "\n";
  SCOPED_TRACE(each.ask.method + " " + each.ask.target + " " + each.ask.id + " " +
               wire_name(sites_[each.site].wire) + ": " + reply.report);
  const uint64_t processed = sites_[each.site].server->seen(each.ask.id);
  if (!each.after_faults) {
    EXPECT_LE(reply.took(), total_timeout_ + kMillisecond);
  }
  // What a server that did not say a word may have done nobody knows: see Resend::Preface.
  const bool wordless = world_.metric("pool.resends.preface") > 0 ||
                        status_name(reply.status) == "E_H2_PREFACE" ||
                        reply.report.find("does not speak HTTP/2") != std::string::npos;
  if (!each.idempotent && !wordless) {
    EXPECT_LE(processed, 1u);
  }
  if (reply.status != 0) {
    const bool closed = hasty_ && status_name(reply.status) == "E_CLOSED";
    EXPECT_FALSE(each.after_faults && !closed) << "failed without a fault";
    EXPECT_TRUE(each.cancelled || status_name(reply.status) != "E_CANCELLED");
    if (reply.proof != CONPOOL_PROOF_MAYBE_PROCESSED && !wordless) {
      EXPECT_EQ(processed, 0u);
    }
    return;
  }
  EXPECT_TRUE(reply.code == 200 || (reply.code == 503 && !each.after_faults)) << reply.code;
  EXPECT_GE(processed, 1u);
  EXPECT_EQ(origin::field_of(reply.fields, "x-id"), each.ask.id);
  if (!reply.trailers.empty()) {
    EXPECT_EQ(origin::field_of(reply.trailers, "x-trailer"), each.ask.id);
  }
  // HTTP/1.1 cannot tell the end of such a body from a cut.
  const bool open_end =
      reply.version == 11 && !origin::field_of(reply.fields, "x-open-end").empty();
  if (each.ask.method == "HEAD") {
    EXPECT_EQ(reply.body, "");
  } else if (each.ask.target == "/echo" && each.ask.body) {
    EXPECT_TRUE(open_end ? each.ask.body->starts_with(reply.body) : reply.body == *each.ask.body);
  } else if (each.ask.target != "/echo") {
    const std::string size = origin::field_of(reply.fields, "x-size");
    EXPECT_TRUE(open_end || std::to_string(reply.body.size()) == size);
    EXPECT_TRUE(reply.body ==
                origin::pattern(0, reply.body.size(), static_cast<uint8_t>(each.ask.id.size())));
  }
}

void HttpRandomProgram::stop_faults() {
  faults_ = false;
  for (Site& site : sites_) {
    io::SimHost& host = world_.network.host(site.address);
    const Nanos latency = host.latency;
    host = io::SimHost{};
    host.latency = latency;
    site.server->kill();
  }
  world_.run_for(5 * kSecond);  // servers that start again, resets that arrive
  for (Site& site : sites_) {
    site.server->stop_listening();
    EXPECT_TRUE(
        site.server->listen(*parse_address_and_port(site.address + (tls_ ? ":443" : ":80"))));
  }
  world_.hold_chunks = false;
  world_.free_chunks();
}

// Whatever was before: these succeed.
void HttpRandomProgram::recover() {
  for (size_t site = 0; site < sites_.size(); ++site) {
    for (int i = 0; i < kRecoveryRequests; ++i) {
      Ask ask;
      if (i % 3 == 1) ask = {.method = "PUT", .target = "/echo", .body = std::string(5'000, 'x')};
      ask.options = {
          {"total.timeout", "60s"}, {"queue.timeout", "60s"},      {"dial.timeout", "30s"},
          {"stall.timeout", "30s"}, {"first_byte.timeout", "30s"}, {"retry.stale", "2"},
          {"retry.refused", "4"},   {"breaker.wait", "true"},      {"pool.exhausted", "wait"}};
      start(ask, site, true);
    }
  }
}

void HttpRandomProgram::judge_servers() {
  for (const Site& site : sites_) {
    const origin::HttpCounts& counts = site.server->http_counts();
    EXPECT_EQ(counts.bad_requests, 0u) << counts.first_problem;
    EXPECT_EQ(counts.over_limit, 0u);
    log_ += std::to_string(counts.requests) + " " + std::to_string(counts.answered) + " " +
            std::to_string(counts.refused) + "\n";
  }
  EXPECT_EQ(world_.metric("pool.requests.running"), 0);
  EXPECT_EQ(world_.metric("pool.h2.active_streams"), 0);
  EXPECT_EQ(world_.metric("pool.requests.made"), int64_t(started_.size()));
  EXPECT_EQ(world_.metric("pool.requests.done") + world_.metric("pool.requests.failed"),
            int64_t(started_.size()));
}

std::string HttpRandomProgram::run() {
  world_.open(options());
  const int64_t count = any(1, 2);
  for (int64_t i = 0; i < count; ++i)
    make_site(static_cast<size_t>(i));
  plan_faults();
  const int64_t steps = any(20, 200);
  for (int64_t i = 0; i < steps && !::testing::Test::HasFailure(); ++i)
    step();
  world_.hold_chunks = false;
  world_.free_chunks();
  stop_faults();
  recover();
  world_.finish_all();
  judge_finished();
  judge_servers();
  log_ += std::to_string(world_.network.digest()) + "\n";
  world_.close();
  return log_;
}

}  // namespace conpool::sim
