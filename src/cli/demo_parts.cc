// Shows and compares figures.
#include "cli/demo_parts.h"

#include <conpool/conpool.h>

#include <algorithm>
#include <cstdio>

#include "cli/words.h"

namespace conpool::cli {
namespace {

std::string figures_text(const Figures& figures) {
  std::string text;
  for (const auto& [name, value] : figures)
    text += " " + name + "=" + std::to_string(value);
  return text;
}

// "" when they agree.
std::string difference(const Figures& counted, const Figures& metrics) {
  std::string text;
  for (size_t i = 0; i < counted.size(); ++i) {
    if (counted[i].second == metrics[i].second) continue;
    text += (text.empty() ? "" : ", ") + counted[i].first + ": the origin counted " +
            std::to_string(counted[i].second) + ", the pool " + std::to_string(metrics[i].second);
  }
  return text;
}

}  // namespace

std::optional<Problem> compare(const std::string& label, const Figures& counted,
                               const Figures& metrics) {
  print(label + "origin counted:" + figures_text(counted) + "\n");
  print(label + "pool metrics:  " + figures_text(metrics) + "\n");
  const std::string differs = difference(counted, metrics);
  if (!differs.empty()) return Problem{kDisagreement, "the counts differ: " + differs};
  print("both agree\n");
  return std::nullopt;
}

std::string milliseconds(int64_t nanoseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f ms", static_cast<double>(nanoseconds) / 1e6);
  return text;
}

// The value below which this many percent of the sorted values lie.
int64_t percentile(const std::vector<int64_t>& sorted, size_t percent) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
}

Problem network_problem(std::string text) {
  return {kNetworkFailed, std::move(text)};
}

Problem cannot_listen(const Failure& failure) {
  return network_problem(
      "the demo's origin cannot listen on loopback: " +
      std::string(conpool_status_text(static_cast<conpool_status>(failure.status))) + ": " +
      failure.detail);
}

}  // namespace conpool::cli
