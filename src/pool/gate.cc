// The breaker of an endpoint, told to the readouts.
#include "pool/gate.h"

#include "base/error.h"
#include "policy/retry.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;
using policy::Breaker;

Gate::Gate(const Values& values, uint64_t seed, observe::Emitter events, observe::Metrics& figures)
    : breaker_(policy::breaker_options(values), seed),
      events_(events),
      figures_(figures),
      told_generation_(breaker_.generation()),
      taken_generation_(breaker_.generation()) {}

policy::CallPermit Gate::admit(Time now) {
  const policy::CallPermit permit = breaker_.admit(now);
  tell(now);
  if (permit.trial != 0) {
    figures_.add(Counter::BreakerTrials);
    events_.emit({.kind = EventKind::BreakerTrial,
                  .time = now,
                  .first = static_cast<int64_t>(permit.trial)});
  }
  return permit;
}

void Gate::report(policy::CallPermit& permit, policy::CallOutcome outcome, Time now) {
  if (!permit.held()) return;
  if (outcome != policy::CallOutcome::Ignored && holds(permit)) {
    figures_.add(outcome == policy::CallOutcome::Success ? Counter::CallsGood : Counter::CallsBad);
  }
  breaker_.report(permit, outcome, now);
  tell(now);
}

void Gate::force(Breaker::Force force, Time now) {
  breaker_.force(force, now);
  static constexpr std::string_view kNames[] = {"auto", "open", "closed"};
  events_.emit({.kind = EventKind::BreakerForced,
                .time = now,
                .text = std::string(kNames[static_cast<size_t>(force)])});
  tell(now);
}

// Emits the state it has come to. One call may pass through two: an open time that has ended
// becomes half-open and opens again only by a later report.
void Gate::tell(Time now) {
  if (breaker_.generation() == told_generation_) return;
  told_generation_ = breaker_.generation();
  const Breaker::State state = breaker_.state();
  const bool by_rule = told_opened_ != breaker_.opened() || told_closed_ != breaker_.closed() ||
                       state == Breaker::State::HalfOpen;
  told_opened_ = breaker_.opened();
  told_closed_ = breaker_.closed();
  figures_.set(Counter::BreakerOpen, state == Breaker::State::Open ? 1 : 0);
  figures_.set(Counter::BreakerHalfOpen, state == Breaker::State::HalfOpen ? 1 : 0);
  if (!by_rule) return;  // the event of the forcing tells it
  const auto opened = static_cast<int64_t>(breaker_.opened());
  switch (state) {
    case Breaker::State::Open:
      figures_.add(Counter::BreakerOpened, opened - figures_.get(Counter::BreakerOpened));
      events_.emit({.kind = EventKind::BreakerOpened,
                    .time = now,
                    .first = opened,
                    .second = breaker_.open_time()});
      break;
    case Breaker::State::HalfOpen:
      events_.emit({.kind = EventKind::BreakerHalfOpen, .time = now, .first = opened});
      break;
    case Breaker::State::Closed:
      figures_.add(Counter::BreakerClosed);
      events_.emit({.kind = EventKind::BreakerClosed, .time = now, .first = opened});
      break;
  }
}

bool Gate::take_change() {
  const bool changed = taken_generation_ != breaker_.generation();
  taken_generation_ = breaker_.generation();
  return changed;
}

uint32_t Gate::stretch(Time now) {
  const Breaker::Window window = breaker_.window(now);
  // One failed call of one counts, too: it is what spreads the first retries of many clients.
  return policy::adaptive_stretch(window.failures, window.calls);
}

std::string Gate::text(Time now) {
  const bool forced = breaker_.forced() != Breaker::Force::Auto;
  const std::string mark = forced ? " (forced)" : "";
  const Breaker::Window window = breaker_.window(now);
  const std::string share = ", " + std::to_string(window.failures) + " of the last " +
                            std::to_string(window.calls) + " calls failed";
  switch (breaker_.state()) {
    case Breaker::State::Closed:
      return "closed" + mark + share;
    case Breaker::State::HalfOpen:
      return "half-open, " + std::to_string(breaker_.trials_running()) + " trials under way";
    case Breaker::State::Open:
      break;
  }
  if (forced) return "open" + mark;
  const Time retry = breaker_.retry_at(now);
  return "open for the " + std::to_string(breaker_.opened()) + ". time, next trial in " +
         duration_text(std::max<Nanos>(0, retry - now));
}

}  // namespace conpool::pool
