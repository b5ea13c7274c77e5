// Codel: whether a line of waiters stands rather than flows (after CoDel, RFC 8289 §4). Pure.
//
// A line flows while, at least once per `interval`, it empties, or somebody leaves it within
// `target` of his arrival, or its oldest waiter has waited no longer than that. One that has done
// none of this for a whole interval stands: serving in order then makes everybody late, while
// newest-first keeps those that still can be on time on time. Served newest-first, somebody always
// leaves early; that proves nothing, so a line that stands does so until it empties or its oldest
// waiter is a young one.
#pragma once

#include "base/time.h"

namespace conpool::policy {

class Codel {
 public:
  Codel(Nanos target, Nanos interval) : target_(target), interval_(interval) {}

  // A waiter left the line for a connection after `waited`.
  void served(Time now, Nanos waited);
  // Nobody waits.
  void emptied(Time now);
  // Somebody waits, the oldest one for this long.
  void looked(Time now, Nanos oldest_waited);
  bool standing() const { return standing_; }

 private:
  void above(Time now);
  void below();

  Nanos target_;
  Nanos interval_;
  Time above_since_ = kNever;  // since when every wait was above the target
  bool standing_ = false;
};

}  // namespace conpool::policy
