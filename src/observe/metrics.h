// Readouts: figures and facts as a neutral tree, and its text forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "observe/counters.h"

namespace conpool::observe {

// Something to tell about an endpoint, an address or a connection beside its figures: ("state",
// "cooling").
struct Fact {
  std::string name;
  std::variant<int64_t, std::string> value;
};

// One scope's values at one time: made on the loop's thread, rendered on any.
struct MetricNode {
  MetricNode() = default;
  MetricNode(MetricScope scope_in, std::string label_in)
      : scope(scope_in), label(std::move(label_in)) {}
  MetricNode(const Metrics& metrics, std::string label_in)
      : scope(metrics.scope()),
        label(std::move(label_in)),
        has_figures(true),
        values(metrics.values()),
        histograms(metrics.histograms()) {}

  MetricScope scope = MetricScope::POOL;
  std::string label;  // what names it among its siblings: "https://h:443", "192.0.2.1:443", "17"
  bool has_figures = false;  // a connection has facts only
  CounterValues values{};
  std::vector<Histogram> histograms;
  std::vector<Fact> facts;
  std::vector<MetricNode> children;  // of a narrower scope
};

// Whether the node tells this row of counters.def: its scope shows it, and its protocol was used
// there. Figures of a protocol that was never used are absent, not zero.
bool is_told(const MetricNode& node, size_t counter);

// "pool.connections.open=3" and "endpoint.connections.open{endpoint=\"tcp://h:1\"}=3", a line each.
std::string metrics_text(const MetricNode& root);
// {"pool":{"label":"","facts":{…},"figures":{"connections.open":3,…},"histograms":{…},
//  "endpoints":[{"label":"tcp://h:1",…,"addresses":[{…,"connections":[…]}]}]}}
std::string metrics_json(const MetricNode& root);
// OpenMetrics 1.0. Facts, and with them connections, are left out: they would make a series each.
std::string metrics_openmetrics(const MetricNode& root);

}  // namespace conpool::observe
