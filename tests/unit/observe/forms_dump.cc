// Prints each text form of seeded random records and figures, for forms_test.py to parse back.
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "base/rng.h"
#include "observe/events.h"
#include "observe/metrics.h"

namespace conpool::observe {
namespace {

std::string random_text(Rng& rng, size_t limit) {
  std::string text;
  const size_t size = rng.up_to(limit);
  for (size_t i = 0; i < size; ++i)
    text.push_back(static_cast<char>(rng.up_to(255)));
  return text;
}

void dump_events(std::string_view form, uint64_t seed) {
  Rng rng(seed);
  EventRing ring(300, EventLevel::DEBUG);
  for (int i = 0; i < 400; ++i) {
    const std::string text = random_text(rng, 80);
    const auto kind = static_cast<EventKind>(i % static_cast<int>(kEventKinds));
    ring.emit({.kind = kind,
               .time = static_cast<Time>(rng.up_to(uint64_t{1} << 60)),
               .endpoint = rng.up_to(3),
               .connection = rng.up_to(3),
               .op = rng.up_to(1) == 0 ? 0 : rng.next(),
               .status = rng.up_to(1) == 0 ? Status::OK : Status::E_TIMEOUT,
               .os_error = static_cast<int>(rng.up_to(200)),
               .first = static_cast<int64_t>(rng.next()),
               .second = static_cast<int64_t>(rng.next()),
               .duration = static_cast<Nanos>(rng.up_to(1) == 0 ? 0 : rng.up_to(1 << 30)),
               .text = text,
               .name = kind == EventKind::Application ? "own" : ""});
  }
  const auto records = ring.snapshot().records;
  const std::string out = form == "jsonl"   ? events_jsonl(records)
                          : form == "trace" ? events_trace(records)
                                            : events_text(records, 0);
  std::fwrite(out.data(), 1, out.size(), stdout);
}

void fill(Rng& rng, Metrics& metrics) {
  for (size_t i = 0; i < kCounterCount; ++i) {
    if (metrics.scope() == kCounterTable[i].scope) {
      metrics.add(static_cast<Counter>(i), static_cast<int64_t>(rng.up_to(1000)));
    }
  }
  for (int i = 0; i < 100; ++i) {
    metrics.record(static_cast<HistogramId>(rng.up_to(kHistogramCount - 1)),
                   static_cast<Nanos>(rng.up_to(uint64_t{1} << rng.up_to(40))));
  }
}

void dump_metrics(std::string_view form, uint64_t seed) {
  Rng rng(seed);
  Metrics pool(MetricScope::POOL);
  std::vector<std::unique_ptr<Metrics>> scopes;
  fill(rng, pool);
  MetricNode root(pool, "");
  for (int e = 0; e < 3; ++e) {
    Metrics& endpoint =
        *scopes.emplace_back(std::make_unique<Metrics>(MetricScope::ENDPOINT, &pool));
    fill(rng, endpoint);
    std::vector<MetricNode> addresses;
    for (int a = 0; a < 2; ++a) {
      Metrics& address =
          *scopes.emplace_back(std::make_unique<Metrics>(MetricScope::ADDRESS, &endpoint));
      fill(rng, address);
      addresses.emplace_back(address, "10.0.0." + std::to_string(a) + random_text(rng, 10));
      addresses.back().facts.push_back({"state", random_text(rng, 30)});
      MetricNode connection(MetricScope::CONNECTION, std::to_string(a));
      connection.facts.push_back({"age_ns", static_cast<int64_t>(rng.next() >> 1)});
      addresses.back().children.push_back(std::move(connection));
    }
    root.children.emplace_back(endpoint, "e" + std::to_string(e) + random_text(rng, 40));
    root.children.back().children = std::move(addresses);
  }
  root.values = pool.values();
  root.histograms = pool.histograms();
  const std::string out = form == "json"   ? metrics_json(root)
                          : form == "text" ? metrics_text(root)
                                           : metrics_openmetrics(root);
  std::fwrite(out.data(), 1, out.size(), stdout);
  while (!scopes.empty())
    scopes.pop_back();  // children go before their parents
}

}  // namespace
}  // namespace conpool::observe

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s events|metrics FORM SEED\n", argv[0]);
    return 2;
  }
  const uint64_t seed = std::stoull(argv[3]);
  if (std::strcmp(argv[1], "events") == 0) {
    conpool::observe::dump_events(argv[2], seed);
  } else {
    conpool::observe::dump_metrics(argv[2], seed);
  }
  return 0;
}
