// Counters, gauges and histograms of a pool, its endpoints and their addresses.
//
// Vocabulary. A figure is one row of counters.def; a scope is a place that has figures of its own.
// Sets of figures form a tree: what is added at an address is added at its endpoint and at the pool
// too, so a sum never differs from its parts. A set that goes away takes its gauges out of the
// sums, while what it counted stays in them. Threads: the loop's only. Readers are given values
// (metrics.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace conpool::observe {

enum class CounterKind : uint8_t { COUNTER, GAUGE };
enum class Unit : uint8_t { NONE, BYTES };
// From the whole to the part; a narrower scope has the greater value.
enum class MetricScope : uint8_t { POOL, ENDPOINT, ADDRESS, CONNECTION };

enum class Counter : uint16_t {
#define COUNTER(name, dotted, kind, unit, scope, help) name,
#include "observe/counters.def"
};
enum class HistogramId : uint16_t {
#define HISTOGRAM(name, dotted, scope, help) name,
#include "observe/counters.def"
};

struct CounterInfo {
  std::string_view name;
  CounterKind kind;
  Unit unit;
  MetricScope scope;  // the narrowest that shows it
  std::string_view help;
};
struct HistogramInfo {
  std::string_view name;
  MetricScope scope;
  std::string_view help;
};

inline constexpr CounterInfo kCounterTable[] = {
#define COUNTER(name, dotted, kind, unit, scope, help) \
  {dotted, CounterKind::kind, Unit::unit, MetricScope::scope, help},
#include "observe/counters.def"
};
inline constexpr HistogramInfo kHistogramTable[] = {
#define HISTOGRAM(name, dotted, scope, help) {dotted, MetricScope::scope, help},
#include "observe/counters.def"
};
inline constexpr size_t kCounterCount = std::size(kCounterTable);
inline constexpr size_t kHistogramCount = std::size(kHistogramTable);

// A distribution of durations in log-linear buckets: eight to each power of two, so that a
// percentile is at most 12.5 % above the true one and never below it. Memory is taken by the first
// value.
class Histogram {
 public:
  static constexpr int kSubBits = 3;
  static constexpr int kMaxBits = 43;  // 2^43 ns is over two hours; longer durations count as that
  static constexpr size_t kBuckets = ((kMaxBits - kSubBits) + 1) << kSubBits;

  void record(Nanos value);  // a negative duration counts as 0
  void merge(const Histogram& other);

  uint64_t count() const { return count_; }
  int64_t sum() const { return sum_; }  // saturates
  Nanos min() const { return count_ == 0 ? 0 : min_; }
  Nanos max() const { return max_; }
  // The least bucket bound that `per_mille` of the values do not exceed, at most max(); 0 without
  // values.
  Nanos percentile(int per_mille) const;
  // How many values are below 2^bits ns; exact for bits in [kSubBits, kMaxBits].
  uint64_t count_below_power(int bits) const;

 private:
  static size_t bucket_of(uint64_t value);
  static uint64_t bucket_end(size_t bucket);  // the greatest value in it

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  int64_t sum_ = 0;
  Nanos min_ = 0;
  Nanos max_ = 0;
};

using CounterValues = std::array<int64_t, kCounterCount>;

// The figures of one scope. The parent must outlive it.
class Metrics {
 public:
  explicit Metrics(MetricScope scope, Metrics* parent = nullptr) : scope_(scope), parent_(parent) {}
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Here and at every parent. A gauge may go down (n < 0), never below zero; a counter may not.
  void add(Counter counter, int64_t n = 1);
  void sub(Counter counter, int64_t n = 1) { add(counter, -n); }
  // Sets a gauge, and changes the parents' by the difference.
  void set(Counter counter, int64_t value) { add(counter, value - get(counter)); }
  int64_t get(Counter counter) const { return values_[static_cast<size_t>(counter)]; }

  // Recorded where the histogram's scope is or above: an address has no histograms.
  void record(HistogramId id, Nanos value);
  const Histogram& histogram(HistogramId id) const;

  MetricScope scope() const { return scope_; }
  const CounterValues& values() const { return values_; }
  // Empty when nothing was recorded.
  const std::vector<Histogram>& histograms() const { return histograms_; }

 private:
  MetricScope scope_;
  Metrics* parent_;
  CounterValues values_{};
  std::vector<Histogram> histograms_;
};

}  // namespace conpool::observe
