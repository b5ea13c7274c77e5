// The summary and the figures of a run.
#include "cli/harness_report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace conpool::cli {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr char kErrors[] = "pool.errors.";

int64_t rounded(int64_t value, int64_t unit) {
  return (value + unit / 2) / unit;
}

std::string open_text(int64_t nanoseconds) {
  if (nanoseconds < kSecond / 2) return std::to_string(rounded(nanoseconds, kMillisecond)) + "ms";
  return std::to_string(rounded(nanoseconds, kSecond)) + "s";
}

// By errno; the two that are always told first stand in the order of their names, too.
std::map<std::string, int64_t> failures(const Metrics& metrics) {
  std::map<std::string, int64_t> found = {{"ECONNRESET", 0}, {"ETIMEDOUT", 0}};
  const std::string prefix = kErrors;
  for (auto at = metrics.lower_bound(prefix);
       at != metrics.end() && at->first.compare(0, prefix.size(), prefix) == 0; ++at) {
    const int64_t count = metric(metrics, at->first);
    if (count > 0) found[at->first.substr(prefix.size())] = count;
  }
  return found;
}

// The library's figures that --metrics tells, by their own names.
constexpr const char* kFigures[] = {
    "connections.active", "connections.idle", "connections.open", "connections.opened",
    "connections.closed", "attempts.started", "attempts.failed",  "requests.made",
    "requests.done",      "requests.failed",  "requests.sent",    "retries.made",
    "retries.succeeded",  "faults.injected",  "breaker.opened",   "breaker.closed",
    "breaker.trials",
};

template <typename Tell>
void tell_figures(RunFacts* facts, const Metrics& metrics, Tell tell) {
  std::sort(facts->times_ns.begin(), facts->times_ns.end());
  for (const char* name : kFigures)
    tell(name, metric(metrics, std::string("pool.") + name));
  tell("breaker.state", breaker_state(metrics));
  if (!facts->times_ns.empty()) {
    tell("latency.p50_ms", percentile_ms(facts->times_ns, 50));
    tell("latency.p95_ms", percentile_ms(facts->times_ns, 95));
    tell("latency.max_ms", percentile_ms(facts->times_ns, 100));
  }
  for (const auto& [name, count] : failures(metrics))
    tell("errors." + name, count);
}

std::string text_of(int64_t value) {
  return std::to_string(value);
}
const std::string& text_of(const std::string& value) {
  return value;
}

}  // namespace

int64_t percentile_ms(const std::vector<int64_t>& sorted_ns, int64_t percent) {
  if (sorted_ns.empty()) return 0;
  const auto size = static_cast<int64_t>(sorted_ns.size());
  const int64_t rank = std::max<int64_t>(1, (size * percent + 99) / 100);
  return rounded(sorted_ns[static_cast<size_t>(rank - 1)], kMillisecond);
}

std::string failures_text(const Metrics& metrics) {
  const std::map<std::string, int64_t> found = failures(metrics);
  std::string text = "ECONNRESET=" + std::to_string(found.at("ECONNRESET")) +
                     " ETIMEDOUT=" + std::to_string(found.at("ETIMEDOUT"));
  for (const auto& [name, count] : found) {
    if (name == "ECONNRESET" || name == "ETIMEDOUT") continue;
    text += " " + name + "=" + std::to_string(count);
  }
  return text;
}

std::string summary_text(RunFacts* facts, const Metrics& metrics) {
  std::string text;
  std::sort(facts->times_ns.begin(), facts->times_ns.end());
  if (!facts->times_ns.empty()) {
    text += "[pool] request latency p50=" + std::to_string(percentile_ms(facts->times_ns, 50)) +
            "ms p95=" + std::to_string(percentile_ms(facts->times_ns, 95)) + "ms\n";
  }
  // Where nothing ever stood, the cause was told already.
  if (facts->connected) text += "[pool] failures: " + failures_text(metrics) + "\n";
  for (const Opening& opening : facts->openings) {
    text += "[pool] circuit breaker OPEN for " + open_text(opening.open_ns) + "\n";
    if (opening.recovered)
      text += "[pool] recovered, pool size=" + std::to_string(opening.pool_size) + "\n";
  }
  return text;
}

std::string figures_text(RunFacts* facts, const Metrics& metrics) {
  std::string text;
  tell_figures(facts, metrics, [&text](const std::string& name, const auto& value) {
    text += name + "=" + text_of(value) + "\n";
  });
  return text;
}

std::string figures_json(RunFacts* facts, const Metrics& metrics) {
  nlohmann::ordered_json object;
  tell_figures(facts, metrics,
               [&object](const std::string& name, const auto& value) { object[name] = value; });
  return object.dump() + "\n";
}

std::string breaker_state(const Metrics& metrics) {
  if (metric(metrics, "pool.breaker.open") > 0) return "open";
  return metric(metrics, "pool.breaker.half_open") > 0 ? "half-open" : "closed";
}

}  // namespace conpool::cli
