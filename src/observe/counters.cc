// Counters, gauges and histograms.
#include "observe/counters.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>

namespace conpool::observe {

// Values below 2^kSubBits have a bucket each. Above, the leading bit tells the power of two and the
// next kSubBits bits the bucket inside it.
size_t Histogram::bucket_of(uint64_t value) {
  constexpr uint64_t kLeast = uint64_t{1} << kSubBits;
  if (value < kLeast) return value;
  const int power = std::bit_width(value) - 1;
  const uint64_t inside = (value >> (power - kSubBits)) - kLeast;
  return (static_cast<size_t>(power - kSubBits + 1) << kSubBits) + inside;
}

uint64_t Histogram::bucket_end(size_t bucket) {
  constexpr uint64_t kLeast = uint64_t{1} << kSubBits;
  if (bucket < kLeast) return bucket;
  const int shift = static_cast<int>(bucket >> kSubBits) - 1;
  const uint64_t inside = bucket & (kLeast - 1);
  return ((kLeast + inside + 1) << shift) - 1;
}

void Histogram::record(Nanos value) {
  constexpr Nanos kGreatest = (Nanos{1} << kMaxBits) - 1;
  value = std::clamp<Nanos>(value, 0, kGreatest);
  if (buckets_.empty()) buckets_.resize(kBuckets);
  ++buckets_[bucket_of(static_cast<uint64_t>(value))];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  ++count_;
  sum_ = value > std::numeric_limits<int64_t>::max() - sum_ ? std::numeric_limits<int64_t>::max()
                                                            : sum_ + value;
}

void Histogram::merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (buckets_.empty()) buckets_.resize(kBuckets);
  for (size_t i = 0; i < kBuckets; ++i)
    buckets_[i] += other.buckets_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  sum_ = other.sum_ > std::numeric_limits<int64_t>::max() - sum_
             ? std::numeric_limits<int64_t>::max()
             : sum_ + other.sum_;
}

Nanos Histogram::percentile(int per_mille) const {
  assert(per_mille >= 0 && per_mille <= 1000);
  if (count_ == 0) return 0;
  const uint64_t share = static_cast<uint64_t>(per_mille);
  // ceil(count × share / 1000) without overflow, at least the first value.
  const uint64_t whole = count_ / 1000 * share;
  const uint64_t rank = std::max<uint64_t>(1, whole + (count_ % 1000 * share + 999) / 1000);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min<Nanos>(static_cast<Nanos>(bucket_end(i)), max_);
  }
  return max_;
}

uint64_t Histogram::count_below_power(int bits) const {
  assert(bits >= kSubBits && bits <= kMaxBits);
  if (buckets_.empty()) return 0;
  const size_t end = static_cast<size_t>(bits - kSubBits + 1) << kSubBits;
  uint64_t count = 0;
  for (size_t i = 0; i < end; ++i)
    count += buckets_[i];
  return count;
}

Metrics::~Metrics() {
  if (parent_ == nullptr) return;
  for (size_t i = 0; i < kCounterCount; ++i) {
    if (kCounterTable[i].kind == CounterKind::GAUGE && values_[i] != 0) {
      parent_->sub(static_cast<Counter>(i), values_[i]);
    }
  }
}

void Metrics::add(Counter counter, int64_t n) {
  const size_t index = static_cast<size_t>(counter);
  assert(kCounterTable[index].kind == CounterKind::GAUGE || n >= 0);
  assert(scope_ <= kCounterTable[index].scope);
  for (Metrics* metrics = this; metrics != nullptr; metrics = metrics->parent_) {
    metrics->values_[index] += n;
    assert(metrics->values_[index] >= 0);
  }
}

void Metrics::record(HistogramId id, Nanos value) {
  const size_t index = static_cast<size_t>(id);
  for (Metrics* metrics = this; metrics != nullptr; metrics = metrics->parent_) {
    if (metrics->scope_ > kHistogramTable[index].scope) continue;
    if (metrics->histograms_.empty()) metrics->histograms_.resize(kHistogramCount);
    metrics->histograms_[index].record(value);
  }
}

const Histogram& Metrics::histogram(HistogramId id) const {
  static const Histogram kEmpty;
  return histograms_.empty() ? kEmpty : histograms_[static_cast<size_t>(id)];
}

}  // namespace conpool::observe
