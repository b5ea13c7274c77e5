// The OpenMetrics 1.0 text form of the metrics tree.
#include <string>

#include "observe/metrics.h"
#include "observe/text.h"

namespace conpool::observe {

namespace {

// Histogram bounds: every power of two from 16 µs to 69 s. A bound is the greatest value below the
// power, because buckets end there and "le" includes its bound.
constexpr int kFirstBound = 14;
constexpr int kLastBound = 36;

// A node with figures and the labels that name it: made once, used by every family.
struct Series {
  const MetricNode* node;
  std::string labels;  // without braces; empty for the pool
};

// OpenMetrics escapes backslash, quote and line feed, and nothing else.
void append_label(std::string* out, std::string_view name, std::string_view value) {
  if (!out->empty()) out->push_back(',');
  out->append(name).append("=\"");
  std::string plain;
  for (char c : value) {
    if (c == '\\') {
      plain.append("\\\\");
    } else if (c == '"') {
      plain.append("\\\"");
    } else if (c == '\n') {
      plain.append("\\n");
    } else {
      plain.push_back(c);
    }
  }
  append_plain(out, plain);
  out->push_back('"');
}

void collect(const MetricNode& node, const std::string& labels, std::vector<Series>* out) {
  std::string own = labels;
  if (node.scope == MetricScope::ENDPOINT) append_label(&own, "endpoint", node.label);
  if (node.scope == MetricScope::ADDRESS) append_label(&own, "address", node.label);
  if (node.has_figures) out->push_back({&node, own});
  for (const MetricNode& child : node.children) {
    if (child.scope != MetricScope::CONNECTION) collect(child, own, out);
  }
}

std::string family_name(MetricScope scope, std::string_view dotted) {
  std::string name = "conpool_";
  name.append(scope == MetricScope::POOL       ? "pool_"
              : scope == MetricScope::ENDPOINT ? "endpoint_"
                                               : "address_");
  for (char c : dotted)
    name.push_back(c == '.' ? '_' : c);
  return name;
}

void append_header(std::string* out, const std::string& family, std::string_view type,
                   std::string_view unit, std::string_view help) {
  out->append("# TYPE ").append(family).append(" ").append(type).append("\n");
  if (!unit.empty()) out->append("# UNIT ").append(family).append(" ").append(unit).append("\n");
  out->append("# HELP ").append(family).append(" ").append(help).append("\n");
}

void append_sample(std::string* out, const std::string& name, const std::string& labels) {
  out->append(name);
  if (!labels.empty()) out->append("{").append(labels).append("}");
  out->push_back(' ');
}

void append_counter_family(std::string* out, const std::vector<Series>& all, MetricScope scope,
                           size_t index) {
  const CounterInfo& info = kCounterTable[index];
  const std::string family = family_name(scope, info.name);
  const bool grows = info.kind == CounterKind::COUNTER;
  bool any = false;
  for (const Series& series : all) {
    if (series.node->scope != scope || !is_told(*series.node, index)) continue;
    if (!any) {
      append_header(out, family, grows ? "counter" : "gauge",
                    info.unit == Unit::BYTES ? "bytes" : "", info.help);
      any = true;
    }
    append_sample(out, grows ? family + "_total" : family, series.labels);
    append_int(out, series.node->values[index]);
    out->push_back('\n');
  }
}

void append_histogram_samples(std::string* out, const std::string& family, const Series& series,
                              const Histogram& histogram) {
  for (int bits = kFirstBound; bits <= kLastBound; ++bits) {
    std::string bound;
    append_scaled(&bound, (int64_t{1} << bits) - 1, 9);
    std::string labels = series.labels;
    append_label(&labels, "le", bound);
    append_sample(out, family + "_bucket", labels);
    append_uint(out, histogram.count_below_power(bits));
    out->push_back('\n');
  }
  std::string labels = series.labels;
  append_label(&labels, "le", "+Inf");
  append_sample(out, family + "_bucket", labels);
  append_uint(out, histogram.count());
  out->push_back('\n');
  append_sample(out, family + "_count", series.labels);
  append_uint(out, histogram.count());
  out->push_back('\n');
  append_sample(out, family + "_sum", series.labels);
  append_scaled(out, histogram.sum(), 9);
  out->push_back('\n');
}

void append_histogram_family(std::string* out, const std::vector<Series>& all, MetricScope scope,
                             size_t index) {
  const std::string family = family_name(scope, kHistogramTable[index].name) + "_seconds";
  bool any = false;
  for (const Series& series : all) {
    if (series.node->scope != scope || series.node->histograms.empty()) continue;
    const Histogram& histogram = series.node->histograms[index];
    if (histogram.count() == 0) continue;
    if (!any) append_header(out, family, "histogram", "seconds", kHistogramTable[index].help);
    any = true;
    append_histogram_samples(out, family, series, histogram);
  }
}

}  // namespace

// All samples of a family stand together (OpenMetrics 1.0, "MetricFamily"), so the families are the
// outer loop.
std::string metrics_openmetrics(const MetricNode& root) {
  std::vector<Series> all;
  collect(root, {}, &all);
  std::string out;
  for (MetricScope scope : {MetricScope::POOL, MetricScope::ENDPOINT, MetricScope::ADDRESS}) {
    for (size_t i = 0; i < kCounterCount; ++i) {
      if (scope <= kCounterTable[i].scope) append_counter_family(&out, all, scope, i);
    }
    for (size_t i = 0; i < kHistogramCount; ++i) {
      if (scope <= kHistogramTable[i].scope) append_histogram_family(&out, all, scope, i);
    }
  }
  out.append("# EOF\n");
  return out;
}

}  // namespace conpool::observe
