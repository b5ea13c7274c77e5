// Glitches: a token bucket for frames that cost work and move nothing.
//
// nghttp2 1.52 accepts any number of PING, SETTINGS, PRIORITY, unknown or empty frames; each such
// frame spends a token here, and a peer that has none left floods the connection.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace conpool::h2 {

class Glitches {
 public:
  // `burst` tokens at the start and at most; `rate` come back per second.
  Glitches(int64_t burst, int64_t rate) : most_(burst * kSecond), rate_(rate), left_(most_) {}

  // One odd frame came. False when no token was left for it.
  bool spend(Time now);
  uint64_t count() const { return count_; }

 private:
  int64_t most_;  // in billionths of a token, so that a nanosecond's share is a whole number
  int64_t rate_;
  int64_t left_;
  Time filled_ = 0;
  uint64_t count_ = 0;
};

// How many frames of a kind are in order because of what we did ourselves: an answer to each is
// expected, so it is no glitch. Bounded, so that an old connection owes a peer no endless supply.
class Credit {
 public:
  explicit Credit(uint32_t most) : most_(most) {}
  void add(uint32_t count) { left_ = most_ - left_ < count ? most_ : left_ + count; }
  bool spend() {
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  uint32_t most_;
  uint32_t left_ = 0;
};

}  // namespace conpool::h2
