// The bucket of odd frames.
#include "h2/glitches.h"

#include <algorithm>

namespace conpool::h2 {

bool Glitches::spend(Time now) {
  ++count_;
  const Nanos full_after = (most_ - left_) / rate_ + 1;
  const Nanos passed = std::clamp<Nanos>(now - filled_, 0, full_after);
  left_ = std::min(most_, left_ + passed * rate_);
  filled_ = now;
  if (left_ < kSecond) return false;
  left_ -= kSecond;
  return true;
}

}  // namespace conpool::h2
