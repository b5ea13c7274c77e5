// Whether a line of waiters stands: one time and one flag.
#include "policy/codel.h"

namespace conpool::policy {

void Codel::served(Time now, Nanos waited) {
  if (waited > target_) {
    above(now);
  } else if (!standing_) {
    below();
  }
}

void Codel::emptied(Time) {
  below();
}

void Codel::looked(Time now, Nanos oldest_waited) {
  if (oldest_waited > target_) {
    above(now);
  } else {
    below();
  }
}

void Codel::above(Time now) {
  if (above_since_ == kNever) above_since_ = now;
  if (now - above_since_ >= interval_) standing_ = true;
}

void Codel::below() {
  above_since_ = kNever;
  standing_ = false;
}

}  // namespace conpool::policy
