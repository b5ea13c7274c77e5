// Text forms of the metrics tree: name=value lines and JSON.
#include "observe/metrics.h"

#include "observe/text.h"

namespace conpool::observe {

namespace {

std::string_view scope_name(MetricScope scope) {
  switch (scope) {
    case MetricScope::POOL:
      return "pool";
    case MetricScope::ENDPOINT:
      return "endpoint";
    case MetricScope::ADDRESS:
      return "address";
    case MetricScope::CONNECTION:
      return "connection";
  }
  return "pool";
}

constexpr struct {
  std::string_view name;
  int per_mille;
} kPercentiles[] = {{"p50_ns", 500}, {"p90_ns", 900}, {"p99_ns", 990}};

// The names and numbers a histogram is told by.
template <typename Tell>
void tell_histogram(const Histogram& histogram, Tell tell) {
  tell("count", static_cast<int64_t>(histogram.count()));
  tell("sum_ns", histogram.sum());
  tell("min_ns", histogram.min());
  for (const auto& percentile : kPercentiles) {
    tell(percentile.name, histogram.percentile(percentile.per_mille));
  }
  tell("max_ns", histogram.max());
}

// "{endpoint=\"…\",address=\"…\"}": the path from the pool to a node.
void append_label(std::string* out, std::string_view name, std::string_view value) {
  if (!out->empty()) out->push_back(',');
  out->append(name).push_back('=');
  append_json_string(out, value);
}

void append_name(std::string* out, const MetricNode& node, std::string_view name,
                 const std::string& labels) {
  out->append(scope_name(node.scope)).append(".").append(name);
  if (!labels.empty()) out->append("{").append(labels).append("}");
  out->push_back('=');
}

void append_fact(std::string* out, const Fact& fact) {
  if (const auto* number = std::get_if<int64_t>(&fact.value)) {
    append_int(out, *number);
  } else {
    append_json_string(out, std::get<std::string>(fact.value));
  }
}

void append_text_node(std::string* out, const MetricNode& node, std::string labels) {
  if (node.scope != MetricScope::POOL) append_label(&labels, scope_name(node.scope), node.label);
  for (const Fact& fact : node.facts) {
    append_name(out, node, fact.name, labels);
    append_fact(out, fact);
    out->push_back('\n');
  }
  for (size_t i = 0; node.has_figures && i < kCounterCount; ++i) {
    if (!is_told(node, i)) continue;
    append_name(out, node, kCounterTable[i].name, labels);
    append_int(out, node.values[i]);
    out->push_back('\n');
  }
  for (size_t i = 0; i < node.histograms.size(); ++i) {
    if (node.histograms[i].count() == 0) continue;
    tell_histogram(node.histograms[i], [&](std::string_view part, int64_t value) {
      append_name(out, node, std::string(kHistogramTable[i].name).append(".").append(part), labels);
      append_int(out, value);
      out->push_back('\n');
    });
  }
  for (const MetricNode& child : node.children)
    append_text_node(out, child, labels);
}

void append_key(std::string* out, std::string_view key) {
  if (out->back() != '{') out->push_back(',');
  append_json_string(out, key);
  out->push_back(':');
}

void append_json_histograms(std::string* out, const MetricNode& node) {
  out->push_back('{');
  for (size_t i = 0; i < node.histograms.size(); ++i) {
    if (node.histograms[i].count() == 0) continue;
    append_key(out, kHistogramTable[i].name);
    out->push_back('{');
    tell_histogram(node.histograms[i], [out](std::string_view part, int64_t value) {
      append_key(out, part);
      append_int(out, value);
    });
    out->push_back('}');
  }
  out->push_back('}');
}

void append_json_node(std::string* out, const MetricNode& node);

void append_json_children(std::string* out, const MetricNode& node, MetricScope scope,
                          std::string_view name) {
  bool any = false;
  for (const MetricNode& child : node.children) {
    if (child.scope != scope) continue;
    if (!any) {
      append_key(out, name);
      out->push_back('[');
    } else {
      out->append(",\n");
    }
    any = true;
    append_json_node(out, child);
  }
  if (any) out->push_back(']');
}

void append_json_node(std::string* out, const MetricNode& node) {
  out->push_back('{');
  append_key(out, "label");
  append_json_string(out, node.label);
  append_key(out, "facts");
  out->push_back('{');
  for (const Fact& fact : node.facts) {
    append_key(out, fact.name);
    append_fact(out, fact);
  }
  out->push_back('}');
  if (node.has_figures) {
    append_key(out, "figures");
    out->push_back('{');
    for (size_t i = 0; i < kCounterCount; ++i) {
      if (!is_told(node, i)) continue;
      append_key(out, kCounterTable[i].name);
      append_int(out, node.values[i]);
    }
    out->push_back('}');
    append_key(out, "histograms");
    append_json_histograms(out, node);
  }
  append_json_children(out, node, MetricScope::ENDPOINT, "endpoints");
  append_json_children(out, node, MetricScope::ADDRESS, "addresses");
  append_json_children(out, node, MetricScope::CONNECTION, "connections");
  out->push_back('}');
}

}  // namespace

bool is_told(const MetricNode& node, size_t counter) {
  const CounterInfo& info = kCounterTable[counter];
  if (node.scope > info.scope) return false;
  const auto used = [&node](Counter opened) {
    return node.values[static_cast<size_t>(opened)] > 0;
  };
  if (info.name.starts_with("http1.")) return used(Counter::Http1Opened);
  if (info.name.starts_with("h2.")) return used(Counter::H2Opened);
  if (info.name.starts_with("errors.")) return node.values[counter] > 0;
  return true;
}

std::string metrics_text(const MetricNode& root) {
  std::string out;
  append_text_node(&out, root, {});
  return out;
}

std::string metrics_json(const MetricNode& root) {
  std::string out = "{";
  append_key(&out, scope_name(root.scope));
  append_json_node(&out, root);
  out.append("}\n");
  return out;
}

}  // namespace conpool::observe
