// Counters, gauges and histograms.
#include "observe/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/rng.h"

namespace conpool::observe {
namespace {

TEST(CounterTable, NamesAreUniqueAndFitOpenMetrics) {
  std::set<std::string_view> names;
  const auto check = [&](std::string_view name, std::string_view help) {
    EXPECT_TRUE(names.insert(name).second) << name;
    // Capitals are those of errno's names.
    EXPECT_EQ(name.substr(name.starts_with("errors.") ? 7 : 0)
                  .find_first_not_of(name.starts_with("errors.")
                                         ? "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         : "abcdefghijklmnopqrstuvwxyz0123456789_."),
              std::string_view::npos)
        << name;
    EXPECT_FALSE(name.ends_with("_total")) << name;
    EXPECT_FALSE(help.empty()) << name;
    EXPECT_EQ(help.find_first_of("\n\\\""), std::string_view::npos) << name;
  };
  for (const CounterInfo& info : kCounterTable) {
    check(info.name, info.help);
    EXPECT_EQ(info.unit == Unit::BYTES, info.name.ends_with("bytes")) << info.name;
  }
  for (const HistogramInfo& info : kHistogramTable)
    check(info.name, info.help);
}

TEST(Metrics, AnAdditionCountsAtEveryParent) {
  Metrics pool(MetricScope::POOL);
  Metrics endpoint(MetricScope::ENDPOINT, &pool);
  Metrics other(MetricScope::ENDPOINT, &pool);
  Metrics address(MetricScope::ADDRESS, &endpoint);
  address.add(Counter::ConnectionsIdle, 3);
  address.sub(Counter::ConnectionsIdle);
  other.add(Counter::ConnectionsIdle);
  endpoint.add(Counter::DialsStarted);
  EXPECT_EQ(address.get(Counter::ConnectionsIdle), 2);
  EXPECT_EQ(endpoint.get(Counter::ConnectionsIdle), 2);
  EXPECT_EQ(pool.get(Counter::ConnectionsIdle), 3);
  EXPECT_EQ(pool.get(Counter::DialsStarted), 1);
  EXPECT_EQ(address.get(Counter::DialsStarted), 0);
}

TEST(Metrics, SetMovesTheSumByTheDifference) {
  Metrics pool(MetricScope::POOL);
  Metrics a(MetricScope::ENDPOINT, &pool);
  Metrics b(MetricScope::ENDPOINT, &pool);
  a.set(Counter::Addresses, 4);
  b.set(Counter::Addresses, 3);
  a.set(Counter::Addresses, 1);
  EXPECT_EQ(pool.get(Counter::Addresses), 4);
}

TEST(Metrics, ALeavingScopeTakesItsGaugesAlongAndLeavesItsCounts) {
  Metrics pool(MetricScope::POOL);
  auto endpoint = std::make_unique<Metrics>(MetricScope::ENDPOINT, &pool);
  endpoint->add(Counter::Addresses, 4);
  endpoint->add(Counter::DialsStarted, 5);
  endpoint->record(HistogramId::DialTime, 7);
  endpoint.reset();
  EXPECT_EQ(pool.get(Counter::Addresses), 0);
  EXPECT_EQ(pool.get(Counter::DialsStarted), 5);
  EXPECT_EQ(pool.histogram(HistogramId::DialTime).count(), 1u);
}

TEST(Metrics, HistogramsStopAtTheirScope) {
  Metrics pool(MetricScope::POOL);
  Metrics endpoint(MetricScope::ENDPOINT, &pool);
  Metrics address(MetricScope::ADDRESS, &endpoint);
  address.record(HistogramId::ConnectTime, 5);
  EXPECT_TRUE(address.histograms().empty());
  EXPECT_EQ(endpoint.histogram(HistogramId::ConnectTime).count(), 1u);
  EXPECT_EQ(pool.histogram(HistogramId::ConnectTime).max(), 5);
  EXPECT_EQ(pool.histogram(HistogramId::DialTime).count(), 0u);
}

TEST(Histogram, EmptyAnswersZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.percentile(500), 0);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.count_below_power(20), 0u);
}

TEST(Histogram, OneValueIsEveryPercentile) {
  Histogram histogram;
  histogram.record(123'456'789);
  for (int per_mille : {0, 500, 990, 1000})
    EXPECT_EQ(histogram.percentile(per_mille), 123'456'789);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (Nanos value = 0; value < 8; ++value)
    histogram.record(value);
  EXPECT_EQ(histogram.percentile(500), 3);
  EXPECT_EQ(histogram.percentile(1000), 7);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.sum(), 28);
  EXPECT_EQ(histogram.count_below_power(3), 8u);
}

TEST(Histogram, OutOfRangeValuesCountAtTheEdge) {
  Histogram histogram;
  histogram.record(-5);
  histogram.record(kNever);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), (Nanos{1} << Histogram::kMaxBits) - 1);
  EXPECT_EQ(histogram.percentile(1000), histogram.max());
  EXPECT_EQ(histogram.count_below_power(Histogram::kMaxBits), 2u);
}

TEST(Histogram, CountsBelowAPowerAreExact) {
  Histogram histogram;
  for (int bits = 4; bits < Histogram::kMaxBits; ++bits) {
    histogram.record((Nanos{1} << bits) - 1);
    histogram.record(Nanos{1} << bits);
  }
  for (int bits = 4; bits < Histogram::kMaxBits; ++bits) {
    EXPECT_EQ(histogram.count_below_power(bits), static_cast<uint64_t>(2 * (bits - 4) + 1)) << bits;
  }
}

TEST(Histogram, SumSaturates) {
  Histogram a;
  for (int i = 0; i < 3; ++i)
    a.record(kNever);
  Histogram b;
  for (int i = 0; i < 20; ++i) {
    b.merge(a);
    a.merge(b);
  }
  EXPECT_EQ(a.sum(), kNever);
}

TEST(Histogram, PercentilesAreNeverLowAndAtMostAnEighthHigh) {
  Rng rng(11);
  for (int round = 0; round < 50; ++round) {
    Histogram histogram;
    Histogram halves[2];
    std::vector<Nanos> values;
    const int size = static_cast<int>(rng.between(1, 2000));
    const int bits = static_cast<int>(rng.between(1, 42));
    for (int i = 0; i < size; ++i) {
      const Nanos value = static_cast<Nanos>(rng.up_to((uint64_t{1} << bits) - 1));
      values.push_back(value);
      histogram.record(value);
      halves[i % 2].record(value);
    }
    halves[0].merge(halves[1]);
    std::sort(values.begin(), values.end());
    for (int per_mille : {1, 100, 500, 900, 990, 999, 1000}) {
      const size_t rank =
          std::max<size_t>(1, (values.size() * static_cast<size_t>(per_mille) + 999) / 1000);
      const Nanos exact = values[rank - 1];
      const Nanos told = histogram.percentile(per_mille);
      EXPECT_GE(told, exact);
      EXPECT_LE(told, exact + exact / 8);
      EXPECT_EQ(halves[0].percentile(per_mille), told);
    }
    EXPECT_EQ(halves[0].min(), values.front());
    EXPECT_EQ(halves[0].max(), values.back());
    EXPECT_EQ(halves[0].sum(), histogram.sum());
  }
}

}  // namespace
}  // namespace conpool::observe
