// Window growth by measured bandwidth and delay.
#include "h2/window.h"

#include <algorithm>

namespace conpool::h2 {

uint32_t WindowGrowth::arrived(size_t bytes, Time now, Nanos rtt, size_t held) {
  if (window_ >= most_ || rtt <= 0) return 0;
  if (since_ == kNever) {
    since_ = now;
    bytes_ = bytes;
    return 0;
  }
  const Nanos passed = now - since_;
  if (passed < rtt) {
    bytes_ += bytes;
    return 0;
  }
  // Doubles are exact enough here and cannot overflow.
  const double per_trip =
      static_cast<double>(bytes_) * static_cast<double>(rtt) / static_cast<double>(passed);
  since_ = now;
  bytes_ = bytes;
  if (per_trip * 3 < static_cast<double>(window_) * 2 || held > window_ / 2) return 0;
  window_ = static_cast<uint32_t>(
      std::min({per_trip * 2, static_cast<double>(window_) * 2, static_cast<double>(most_)}));
  return window_;
}

}  // namespace conpool::h2
