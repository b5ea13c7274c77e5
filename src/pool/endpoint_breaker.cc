// The endpoint's side of its breaker: who enters the line, who is refused, who is parked.
#include <algorithm>

#include "policy/call_outcome.h"
#include "pool/core.h"
#include "pool/endpoint.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;
using policy::Breaker;
using policy::CallOutcome;

void Endpoint::report(Waiter& waiter, CallOutcome outcome, std::string cause) {
  if (!waiter.permit.held()) return;
  if (outcome == CallOutcome::Failure) last_cause_ = std::move(cause);
  gate_.report(waiter.permit, outcome, now());
  touch();
}

void Endpoint::force_breaker(Breaker::Force force) {
  gate_.force(force, now());
  touch();
}

// Into the line, if the breaker lets it.
void Endpoint::enter(Waiter& waiter, bool again) {
  // One that was let through before the breaker opened asks again with its next send.
  if (!gate_.holds(waiter.permit)) report(waiter, CallOutcome::Ignored);
  if (!waiter.permit.held() && !machine_.shutting_down()) {
    // Those that were parked before it go first.
    if (parked_count_ == 0 || waiter.values->breaker_wait == 0) waiter.permit = gate_.admit(now());
    if (!waiter.permit.held()) {
      touch();
      if (!park(waiter)) refuse(waiter);
      return;
    }
  }
  enter_line(waiter, again);
}

void Endpoint::refuse(Waiter& waiter) {
  figures_.add(Counter::BreakerRefused);
  machine_.refuse(waiter, Status::E_BREAKER_OPEN);
  touch();
}

Time Endpoint::parked_deadline(const Waiter& waiter) const {
  return std::min(waiter.queue_deadline, waiter.total_deadline);
}

// It is known already that no trial comes before its deadline.
bool Endpoint::comes_too_late(const Waiter& waiter) {
  const Breaker& breaker = gate_.breaker();
  return breaker.state() == Breaker::State::Open && breaker.forced() != Breaker::Force::Open &&
         breaker.retry_at(now()) >= parked_deadline(waiter);
}

// Parks it, unless it is not meant to wait, or could not be let through in time.
bool Endpoint::park(Waiter& waiter) {
  if (waiter.values->breaker_wait == 0 || machine_.shutting_down()) return false;
  if (comes_too_late(waiter)) {
    figures_.add(Counter::WaitersShed);
    return false;
  }
  if (parked_count_ >= values().endpoint_max_waiters) {
    machine_.refuse(waiter, Status::E_WAITERS_LIMIT);
    touch();
    return true;
  }
  machine_.number(waiter, now());
  // Mostly it is the last one.
  const Waiter* last = parked_.back();
  Waiter* position = last != nullptr && last->number < waiter.number ? nullptr : parked_.front();
  while (position != nullptr && position->number < waiter.number)
    position = parked_.next(*position);
  if (position == nullptr) {
    parked_.push_back(waiter);
  } else {
    parked_.insert_before(*position, waiter);
  }
  ++parked_count_;
  figures_.set(Counter::WaitersParked, parked_count_);
  return true;
}

// At the end of a turn: what a new state of the breaker means for those who wait.
void Endpoint::follow_breaker() {
  const Breaker::State state = gate_.breaker().state();
  if (gate_.take_change()) {
    machine_.let_warm(state == Breaker::State::Closed);
    if (state == Breaker::State::Open) empty_line();
  }
  // Nobody waits for those, so they are no trial.
  if (state != Breaker::State::Closed && !preconnects_.empty()) end_preconnects(breaker_error());
  admit_parked();
  arm_parked();
}

// All who wait in the line leave it at once: parked, or failed with the time of the next trial.
void Endpoint::empty_line() {
  for (WaiterRecord* record : machine_.take_waiters()) {
    auto& waiter = static_cast<Waiter&>(*record);
    gate_.report(waiter.permit, CallOutcome::Ignored, now());
    if (!park(waiter)) refuse(waiter);
  }
}

void Endpoint::admit_parked() {
  bool more = true;
  for (Waiter* waiter = parked_.front(); waiter != nullptr;) {
    Waiter* next = parked_.next(*waiter);
    if (now() >= parked_deadline(*waiter)) {
      fail_parked(*waiter,
                  now() >= waiter->total_deadline ? Status::E_TIMEOUT : Status::E_BREAKER_OPEN);
    } else if (comes_too_late(*waiter)) {
      figures_.add(Counter::WaitersShed);
      fail_parked(*waiter, Status::E_BREAKER_OPEN);
    } else if (more) {
      waiter->permit = gate_.admit(now());
      more = waiter->permit.held();
      if (more) {
        unpark(*waiter);
        start_dial_time(*waiter, waiter->values->connect_retries);
        enter_line(*waiter, true);
      }
    }
    waiter = next;
  }
  figures_.set(Counter::WaitersParked, parked_count_);
}

void Endpoint::unpark(Waiter& waiter) {
  waiter.ListNode<ParkedTag>::unlink();
  --parked_count_;
}

void Endpoint::fail_parked(Waiter& waiter, Status status) {
  unpark(waiter);
  if (status == Status::E_BREAKER_OPEN) figures_.add(Counter::BreakerRefused);
  machine_.refuse(waiter, status);
}

ErrorPtr Endpoint::breaker_error() {
  auto error = std::make_shared<Error>();
  error->cause.status = Status::E_BREAKER_OPEN;
  error->phase = Phase::Queue;
  const Time retry = gate_.breaker().retry_at(now());
  std::string& detail = error->cause.detail;
  if (retry == kNever) {
    detail = "forced open by the application";
  } else {
    error->retry_after = std::max<Nanos>(0, retry - now());
    const bool trying = gate_.breaker().state() == Breaker::State::HalfOpen;
    detail = trying ? "a trial is under way, the next one in " + duration_text(error->retry_after) +
                          " at the latest"
                    : "next trial in " + duration_text(error->retry_after);
  }
  if (!last_cause_.empty()) detail += "; the last failure was: " + last_cause_;
  error->context.push_back("waiting for a connection to " + spec_->target.text);
  return error;
}

void Endpoint::arm_parked() {
  Time deadline = kNever;
  for (Waiter* waiter = parked_.front(); waiter != nullptr; waiter = parked_.next(*waiter))
    deadline = std::min(deadline, parked_deadline(*waiter));
  if (parked_count_ > 0) deadline = std::min(deadline, gate_.breaker().retry_at(now()));
  if (deadline != parked_timer_.deadline()) loop().arm(parked_timer_, deadline);
}

}  // namespace conpool::pool
