// SplitMix64: the only source of randomness above io. One seed per pool; integers only, so that
// every platform draws the same numbers.
#pragma once

#include <cstdint>

namespace conpool {

class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // Uniform in [0, bound]; bound may be any value.
  uint64_t up_to(uint64_t bound) {
    if (bound == UINT64_MAX) return next();
    return static_cast<uint64_t>((static_cast<uint128>(next()) * (bound + 1)) >> 64);
  }

  // Uniform in [low, high].
  int64_t between(int64_t low, int64_t high) {
    uint64_t width = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    return static_cast<int64_t>(static_cast<uint64_t>(low) + up_to(width));
  }

 private:
  __extension__ using uint128 = unsigned __int128;
  uint64_t state_;
};

}  // namespace conpool
