// Demand: how many connections an endpoint's calls keep busy. Pure, integers only.
//
// Little's law: calls arrive every `interval` and hold a place for `held`, so held / interval
// places are busy on average. Both are exponential averages over about kMemory samples; a silence
// longer than the average interval counts as an interval, and a long one means that nothing is
// needed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace conpool::pool {

class Demand {
 public:
  static constexpr uint32_t kLeastSamples = 8;  // below it nothing is known

  void arrived(Time now) {
    if (last_arrival_ != kNever) {
      average(&interval_, now - last_arrival_, arrivals_);
      if (arrivals_ < UINT32_MAX) ++arrivals_;
    }
    last_arrival_ = now;
  }
  void served(Nanos held) {
    average(&held_, held, served_);
    if (served_ < UINT32_MAX) ++served_;
  }
  bool known() const { return arrivals_ >= kLeastSamples && served_ >= kLeastSamples; }
  Nanos held() const { return held_; }
  // Places that arrivals and lease times need, one spare included; 0 while nothing is known.
  int64_t places(Time now) const {
    if (!known()) return 0;
    const Nanos silence = now - last_arrival_;
    if (silence > std::max({kMemory * interval_, held_, kSecond})) return 0;
    const Nanos interval = std::max<Nanos>({interval_, silence, 1});
    return (held_ + interval - 1) / interval + 1;
  }

 private:
  static constexpr int64_t kMemory = 16;

  static void average(Nanos* value, Nanos sample, uint32_t samples) {
    sample = std::clamp<Nanos>(sample, 0, kHour);
    const int64_t weight = std::min<int64_t>(kMemory, int64_t{samples} + 1);
    *value += (sample - *value) / weight;
  }

  Time last_arrival_ = kNever;
  Nanos interval_ = 0;
  Nanos held_ = 0;
  uint32_t arrivals_ = 0;
  uint32_t served_ = 0;
};

}  // namespace conpool::pool
