// WindowGrowth: when a receive window is too small for its path.
//
// A peer can have no more than one window under way, so it delivers at most a window per round
// trip. When what came in a round trip is close to the window, the window is the limit and not the
// path: it grows to twice the measured bandwidth × delay, up to its most. It never shrinks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace conpool::h2 {

class WindowGrowth {
 public:
  WindowGrowth(uint32_t window, uint32_t most) : window_(window), most_(most) {}

  // Bytes came. Answers the new size when the window has to grow, else 0. Without a measured round
  // trip (0) it stays.
  // Nor does it grow while its reader is behind: `held` bytes of it, more than half, are not read.
  uint32_t arrived(size_t bytes, Time now, Nanos rtt, size_t held);
  uint32_t window() const { return window_; }

 private:
  uint32_t window_;
  uint32_t most_;
  Time since_ = kNever;  // start of the sample
  uint64_t bytes_ = 0;   // in it
};

}  // namespace conpool::h2
