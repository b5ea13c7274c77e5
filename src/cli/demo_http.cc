// The demo's HTTP part: the same requests over HTTP/1.1 and over HTTP/2 to one origin, and what it
// took.
#include <algorithm>
#include <chrono>
#include <thread>

#include "cli/demo_parts.h"
#include "cli/handles.h"
#include "cli/readouts.h"
#include "cli/setup.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kRequests = 100;
constexpr int kMaxConnections = 8;
constexpr uint32_t kEvents = 64;
constexpr auto kReplyDelay = std::chrono::milliseconds(2);
constexpr auto kSettleLimit = std::chrono::seconds(5);

// One protocol's requests, and what came of them.
struct Side {
  const char* option;  // http.version
  const char* name;
  int32_t version;  // that each response must have
  std::vector<int64_t> latencies_ns;
};

std::optional<Problem> make_request(conpool_pool* pool, const std::string& url,
                                    const std::string& authority, const Side& side, Request* out) {
  conpool_config* made = nullptr;
  conpool_error* reason = nullptr;
  conpool_request* request = nullptr;
  conpool_status status = conpool_config_new(&made);
  const Config config(made);
  if (status == CONPOOL_OK) {
    status =
        conpool_config_set(config.get(), "tls.ca_pem", authority.data(), authority.size(), &reason);
  }
  if (status == CONPOOL_OK) {
    status = conpool_config_set(config.get(), "http.version", side.option, CONPOOL_NUL_TERMINATED,
                                &reason);
  }
  if (status == CONPOOL_OK) {
    status =
        conpool_request_new(pool, "GET", url.data(), url.size(), config.get(), &request, &reason);
  }
  const Error error(reason);
  out->reset(request);
  if (status == CONPOOL_OK) return std::nullopt;
  return refusal(error.get(), status, "");
}

// "" for the answer that was to come.
std::string judge(const conpool_event& event, const Side& side) {
  if (event.status != CONPOOL_OK)
    return failure_report(static_cast<const conpool_error*>(event.object), event.status);
  const auto* response = static_cast<const conpool_response*>(event.object);
  if (conpool_response_status(response) != 200 ||
      conpool_response_version(response) != side.version)
    return std::string("the origin answered something else than 200 over ") + side.name;
  return "";
}

// All at once; the pool decides how many connections that takes.
std::optional<Problem> burst(conpool_pool* pool, conpool_request* request, Side* side) {
  conpool_queue* made = nullptr;
  if (conpool_queue_new(pool, &made) != CONPOOL_OK) return network_problem("no memory");
  const Queue queue(made);
  const Clock::time_point begun = Clock::now();
  for (uint64_t i = 0; i < kRequests; ++i) {
    conpool_op op = 0;
    conpool_error* reason = nullptr;
    const conpool_status status =
        conpool_request_start(request, nullptr, CONPOOL_WHOLE, queue.get(), i, &op, &reason);
    const Error error(reason);
    if (status != CONPOOL_OK) return network_problem(failure_report(error.get(), status));
  }
  conpool_event events[kEvents];
  while (side->latencies_ns.size() < kRequests) {
    const int32_t count = conpool_queue_next(queue.get(), events, kEvents, CONPOOL_FOREVER);
    if (count < 0) return network_problem(conpool_status_text(count));
    std::string wrong;
    for (int32_t i = 0; i < count; ++i) {
      if (wrong.empty()) wrong = judge(events[i], *side);
      conpool_event_dispose(&events[i]);
      side->latencies_ns.push_back(std::chrono::nanoseconds(Clock::now() - begun).count());
    }
    if (!wrong.empty()) return network_problem(wrong);
  }
  return std::nullopt;
}

Figures origin_figures(origin::Loopback* origin) {
  const origin::LoopbackCounts counts = origin->counts();
  const auto number = [](uint64_t value) { return static_cast<int64_t>(value); };
  return {{"h1_connections", number(counts.http.http1_connections)},
          {"h1_requests", number(counts.http.http1_requests)},
          {"h2_connections", number(counts.http.http2_connections)},
          {"h2_requests", number(counts.http.http2_requests)},
          {"tls", number(counts.handshakes_full + counts.handshakes_resumed)}};
}

Figures pool_figures(conpool_pool* pool) {
  const Metrics metrics = read_metrics(pool);
  const int64_t streams = metric(metrics, "pool.h2.total_streams");
  return {{"h1_connections", metric(metrics, "pool.http1.opened")},
          {"h1_requests", metric(metrics, "pool.requests.sent") - streams},
          {"h2_connections", metric(metrics, "pool.h2.opened")},
          {"h2_requests", streams},
          {"tls", metric(metrics, "pool.tls.full") + metric(metrics, "pool.tls.resumed")}};
}

// Until the last dial has ended and the origin has counted what the pool has.
void settle(conpool_pool* pool, origin::Loopback* origin) {
  const Clock::time_point limit = Clock::now() + kSettleLimit;
  while (Clock::now() < limit) {
    if (metric(read_metrics(pool), "pool.connections.dialing") == 0 &&
        pool_figures(pool) == origin_figures(origin))
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string connections_text(conpool_pool* pool, const Side& side) {
  const char* name = side.version == 20 ? "pool.h2.opened" : "pool.http1.opened";
  return count_text(static_cast<uint64_t>(metric(read_metrics(pool), name)), "connection");
}

std::optional<Problem> run_sides(conpool_pool* pool, origin::Loopback* origin) {
  Side sides[] = {{"http1", "HTTP/1.1", 11, {}}, {"h2", "HTTP/2", 20, {}}};
  const std::string url = "https://localhost:" + std::to_string(origin->port()) + "/bytes/1000";
  print(count_text(kRequests, "request") + " at once to " + url + ", over each protocol\n");
  std::vector<std::vector<std::string>> rows;
  for (Side& side : sides) {
    Request request;
    std::optional<Problem> problem =
        make_request(pool, url, origin->authority_pem(), side, &request);
    if (!problem) problem = burst(pool, request.get(), &side);
    if (problem) return problem;
    settle(pool, origin);
    // They came in the order of their answers.
    rows.push_back({side.name, connections_text(pool, side),
                    "p50 " + milliseconds(percentile(side.latencies_ns, 50)) + ", p95 " +
                        milliseconds(percentile(side.latencies_ns, 95)) +
                        " (connect, TLS, request, answer)"});
  }
  print(table(rows));
  return compare("http ", origin_figures(origin), pool_figures(pool));
}

}  // namespace

std::optional<Problem> run_http_demo(bool verbose) {
  origin::LoopbackOptions options;
  options.tls = true;
  options.http.emplace();
  options.http->answers = [](const origin::HttpRequest& request) {
    origin::HttpAnswer answer = origin::demo_answer(request);
    answer.head_delay = std::chrono::nanoseconds(kReplyDelay).count();
    return answer;
  };
  auto started = origin::Loopback::start(std::move(options));
  if (!started) return cannot_listen(started.error());
  OptionValues values = {{"endpoint.max_connections", std::to_string(kMaxConnections)},
                         {"total.timeout", "30s"}};
  if (verbose) values.emplace_back("events.level", "debug");
  Pool pool;
  std::optional<Problem> problem = make_pool(values, &pool);
  if (problem) return problem;
  problem = run_sides(pool.get(), started->get());
  if (verbose) print_events(pool.get());
  return problem;
}

}  // namespace conpool::cli
