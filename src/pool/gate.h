// Gate: one endpoint's breaker with its events and figures.
//
// A waiter passes it when it enters the endpoint's line and holds a permit until its call's outcome
// is known. What follows from a change of state (the line is emptied, parked waiters come back) is
// the endpoint's, at the end of the turn.
#pragma once

#include "observe/counters.h"
#include "observe/events.h"
#include "policy/breaker.h"

namespace conpool::pool {

class Gate {
 public:
  Gate(const Values& values, uint64_t seed, observe::Emitter events, observe::Metrics& figures);

  policy::CallPermit admit(Time now);
  void report(policy::CallPermit& permit, policy::CallOutcome outcome, Time now);
  // Of the present state: one of an earlier state lets nothing more through.
  bool holds(const policy::CallPermit& permit) const {
    return permit.generation == breaker_.generation();
  }
  void force(policy::Breaker::Force force, Time now);

  const policy::Breaker& breaker() const { return breaker_; }
  // Whether its state changed since the last call of this function.
  bool take_change();
  // Of the adaptive backoff, in thousandths.
  uint32_t stretch(Time now);
  std::string text(Time now);  // "closed", "open, next trial in 3.2s", …

 private:
  void tell(Time now);

  policy::Breaker breaker_;
  observe::Emitter events_;
  observe::Metrics& figures_;
  uint64_t told_opened_ = 0;
  uint64_t told_closed_ = 0;
  uint64_t told_generation_;
  uint64_t taken_generation_;
};

}  // namespace conpool::pool
