// pooler demo: an origin on loopback, a pool against it through the public interface, and both
// sides' counts.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "cli/demo_parts.h"
#include "cli/readouts.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "cli/words.h"
#include "origin/loopback.h"

namespace conpool::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kThreads = 8;
constexpr int kLeasesPerThread = 25;
constexpr int kMaxConnections = 4;
constexpr int kTlsConnections = 4;
constexpr auto kReplyDelay = std::chrono::milliseconds(1);
constexpr auto kSettleLimit = std::chrono::seconds(5);
constexpr char kRequest[] = "ping\n";
constexpr char kReply[] = "pong\n";

// What the leases did, as the callers saw it.
struct Observed {
  std::mutex mutex;
  std::vector<int64_t> latencies_ns;
  std::map<std::string, int> served;  // by address
  std::optional<Problem> problem;     // the first

  void add(int64_t latency_ns, const std::string& address) {
    const std::lock_guard lock(mutex);
    latencies_ns.push_back(latency_ns);
    ++served[address];
  }
  void fail(Problem what) {
    const std::lock_guard lock(mutex);
    if (!problem) problem = std::move(what);
  }
};

// Waits for an op that was started without a queue; false when it failed.
bool finish(conpool_status started, conpool_op op, conpool_event* event, std::string* reason) {
  conpool_status status = started;
  if (status == CONPOOL_OK) status = conpool_op_wait(op, CONPOOL_FOREVER, event);
  if (status != CONPOOL_OK) {
    *reason = conpool_status_text(status);
    return false;
  }
  if (event->status == CONPOOL_OK) return true;
  *reason = failure_report(static_cast<const conpool_error*>(event->object), event->status);
  conpool_event_dispose(event);
  return false;
}

// Writes the line and reads its answer; "" or what went wrong.
std::string exchange(conpool_connection* connection) {
  conpool_op op = 0;
  conpool_event event{};
  std::string reason;
  conpool_status started =
      conpool_connection_write(connection, kRequest, std::strlen(kRequest), nullptr, 0, &op);
  if (!finish(started, op, &event, &reason)) return reason;
  std::string answer;
  while (answer.size() < std::strlen(kReply)) {
    started = conpool_connection_read(connection, 0, nullptr, 0, &op);
    if (!finish(started, op, &event, &reason)) return reason;
    const Chunk chunk(static_cast<conpool_chunk*>(event.object));
    if (chunk == nullptr) return "the origin ended the connection";
    answer.append(reinterpret_cast<const char*>(conpool_chunk_data(chunk.get())),
                  conpool_chunk_size(chunk.get()));
  }
  return answer == kReply ? "" : "the origin answered something else than \"pong\"";
}

// One acquire, use, release; false once something failed.
bool use_once(conpool_endpoint* endpoint, int32_t how, Observed* observed) {
  const Clock::time_point begun = Clock::now();
  Acquired acquired = acquire(endpoint);
  if (acquired.connection == nullptr) {
    observed->fail(network_problem(failure_report(acquired.error.get(), acquired.status)));
    return false;
  }
  const std::string wrong = exchange(acquired.connection.get());
  if (!wrong.empty()) {
    observed->fail(network_problem(wrong));
    return false;
  }
  const std::string address = conpool_connection_address(acquired.connection.get());
  conpool_connection_release(acquired.connection.release(), how);
  observed->add(std::chrono::nanoseconds(Clock::now() - begun).count(), address);
  return true;
}

void use_from_threads(conpool_endpoint* endpoint, Observed* observed) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([endpoint, observed] {
      for (int lease = 0; lease < kLeasesPerThread; ++lease) {
        if (!use_once(endpoint, CONPOOL_REUSABLE, observed)) return;
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
}

// One side of a demo: an origin, the endpoint that names it, and what came of it.
struct Side {
  std::unique_ptr<origin::Loopback> origin;
  std::string url;
  Endpoint endpoint;
  Observed observed;
};

std::optional<Problem> start_origin(bool tls, Side* side) {
  origin::LoopbackOptions options;
  options.script.answer = origin::Answer::Lines;
  options.script.reply_delay = std::chrono::nanoseconds(kReplyDelay).count();
  options.tls = tls;
  auto started = origin::Loopback::start(std::move(options));
  if (!started) return cannot_listen(started.error());
  side->origin = std::move(*started);
  side->url =
      (tls ? "tls://localhost:" : "tcp://localhost:") + std::to_string(side->origin->port());
  return std::nullopt;
}

std::optional<Problem> name_endpoint(conpool_pool* pool, Side* side) {
  conpool_config* made = nullptr;
  conpool_error* reason = nullptr;
  conpool_endpoint* endpoint = nullptr;
  conpool_status status = conpool_config_new(&made);
  const Config config(made);
  const std::string& authority = side->origin->authority_pem();
  if (status == CONPOOL_OK && !authority.empty()) {
    status =
        conpool_config_set(config.get(), "tls.ca_pem", authority.data(), authority.size(), &reason);
  }
  if (status == CONPOOL_OK) {
    status = conpool_endpoint_new(pool, side->url.data(), side->url.size(), config.get(), &endpoint,
                                  &reason);
  }
  const Error error(reason);
  side->endpoint.reset(endpoint);
  if (status == CONPOOL_OK) return std::nullopt;
  return Problem{kBadArguments, failure_line(error.get(), status)};
}

Figures origin_figures(const Side& plain, const Side& secured) {
  const origin::LoopbackCounts a = plain.origin->counts();
  const origin::LoopbackCounts b = secured.origin->counts();
  const auto number = [](uint64_t value) { return static_cast<int64_t>(value); };
  return {{"connections", number(a.server.accepted + b.server.accepted)},
          {"requests", number(a.server.requests + b.server.requests)},
          {"bytes_in", number(a.server.bytes_in + b.server.bytes_in)},
          {"bytes_out", number(a.server.bytes_out + b.server.bytes_out)},
          {"tls_full", number(b.handshakes_full)},
          {"tls_resumed", number(b.handshakes_resumed)}};
}

Figures pool_figures(conpool_pool* pool) {
  const Metrics metrics = read_metrics(pool);
  return {{"connections", metric(metrics, "pool.connections.opened")},
          {"requests", metric(metrics, "pool.leases.granted")},
          {"bytes_in", metric(metrics, "pool.written.bytes")},
          {"bytes_out", metric(metrics, "pool.read.bytes")},
          {"tls_full", metric(metrics, "pool.tls.full")},
          {"tls_resumed", metric(metrics, "pool.tls.resumed")}};
}

std::string served_text(const Observed& observed) {
  std::string text;
  for (const auto& [address, leases] : observed.served) {
    text += (text.empty() ? "" : ", ") + address + " (" +
            count_text(static_cast<uint64_t>(leases), "lease") + ")";
  }
  return text;
}

void print_plain(conpool_pool* pool, Side* side) {
  const Metrics metrics = read_metrics(pool);
  const auto figure = [&](const char* name) { return endpoint_metric(metrics, side->url, name); };
  std::sort(side->observed.latencies_ns.begin(), side->observed.latencies_ns.end());
  const int64_t granted = figure("leases.granted");
  const int64_t reused = figure("leases.reused");
  char ratio[32];
  std::snprintf(
      ratio, sizeof ratio, "%.1f %%",
      granted == 0 ? 0.0 : 100.0 * static_cast<double>(reused) / static_cast<double>(granted));
  print(
      table({{"connections created", std::to_string(figure("connections.opened")) +
                                         ", most open at once " +
                                         std::to_string(side->origin->counts().server.most_open)},
             {"leases", std::to_string(granted) + ", " + std::to_string(reused) +
                            " of them on a used connection: reuse ratio " + ratio},
             {"latency", "p50 " + milliseconds(percentile(side->observed.latencies_ns, 50)) +
                             ", p95 " + milliseconds(percentile(side->observed.latencies_ns, 95)) +
                             " (acquire, write, read, release)"},
             {"served by", served_text(side->observed)}}));
}

void print_secured(const Side& side, const ConnectionFacts& first) {
  const origin::LoopbackCounts counts = side.origin->counts();
  std::vector<std::vector<std::string>> rows = {
      {"handshakes", std::to_string(counts.handshakes_full) + " full, " +
                         std::to_string(counts.handshakes_resumed) + " resumed"}};
  if (first.tls) {
    rows.push_back({"agreed on", first.tls->version + ", " + first.tls->cipher});
    rows.push_back({"certificate", first.tls->subject + ", issued by " + first.tls->issuer +
                                       (first.tls->verified ? ", verified" : "")});
  }
  rows.push_back({"served by", served_text(side.observed)});
  print(table(rows));
}

// Until the last dial has ended and the origins have accepted all that the pool connected: a
// connection may stand for a moment before its server takes it.
void settle(conpool_pool* pool, const Side& plain, const Side& secured) {
  const Clock::time_point limit = Clock::now() + kSettleLimit;
  while (Clock::now() < limit) {
    const Metrics metrics = read_metrics(pool);
    const uint64_t accepted =
        plain.origin->counts().server.accepted + secured.origin->counts().server.accepted;
    if (metric(metrics, "pool.connections.dialing") == 0 &&
        metric(metrics, "pool.connections.opened") == static_cast<int64_t>(accepted))
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Connections that are closed after one use: the first shakes hands in full, the next ones resume.
std::optional<Problem> run_secured(Side* side, ConnectionFacts* first) {
  for (int i = 0; i < kTlsConnections; ++i) {
    if (i == 0) {
      Acquired acquired = acquire(side->endpoint.get());
      if (acquired.connection == nullptr)
        return network_problem(failure_report(acquired.error.get(), acquired.status));
      *first = read_connection(acquired.connection.get());
      const std::string wrong = exchange(acquired.connection.get());
      if (!wrong.empty()) return network_problem(wrong);
      side->observed.add(first->dial_ns, first->address);
    } else if (!use_once(side->endpoint.get(), CONPOOL_BROKEN, &side->observed)) {
      return side->observed.problem;
    }
  }
  return std::nullopt;
}

std::optional<Problem> run_sides(conpool_pool* pool, Side* plain, Side* secured) {
  std::optional<Problem> problem = name_endpoint(pool, plain);
  if (!problem) problem = name_endpoint(pool, secured);
  if (problem) return problem;

  print(count_text(kThreads, "thread") + " share at most " +
        count_text(kMaxConnections, "connection") + " to localhost:" +
        std::to_string(plain->origin->port()) + ", where an origin of the demo's own answers\n");
  use_from_threads(plain->endpoint.get(), &plain->observed);
  if (plain->observed.problem) return plain->observed.problem;
  settle(pool, *plain, *secured);
  print_plain(pool, plain);

  print(count_text(kTlsConnections, "connection") + " one after the other to localhost:" +
        std::to_string(secured->origin->port()) + " over TLS, its authority made for this run\n");
  ConnectionFacts first;
  problem = run_secured(secured, &first);
  if (problem) return problem;
  print_secured(*secured, first);

  settle(pool, *plain, *secured);
  return compare("", origin_figures(*plain, *secured), pool_figures(pool));
}

}  // namespace

std::optional<Problem> run_demo(const Arguments& arguments) {
  Side plain;
  Side secured;
  std::optional<Problem> problem = start_origin(false, &plain);
  if (!problem) problem = start_origin(true, &secured);
  if (problem) return problem;
  OptionValues values = {{"endpoint.max_connections", std::to_string(kMaxConnections)},
                         {"total.timeout", "30s"}};
  if (arguments.verbose) values.emplace_back("events.level", "debug");
  Pool pool;
  problem = make_pool(values, &pool);
  if (problem) return problem;
  problem = run_sides(pool.get(), &plain, &secured);
  if (arguments.verbose) print_events(pool.get());
  if (!problem) problem = run_http_demo(arguments.verbose);
  return problem;
}

}  // namespace conpool::cli
