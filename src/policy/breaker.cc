// The breaker's window, openings and trials.
#include "policy/breaker.h"

#include <algorithm>
#include <cassert>

namespace conpool::policy {
namespace {

[[maybe_unused]] bool is_legal(Breaker::State from, Breaker::State to) {
  using State = Breaker::State;
  switch (from) {
    case State::Closed:
      return to == State::Open;
    case State::Open:
      return to == State::HalfOpen;
    case State::HalfOpen:
      return to == State::Closed || to == State::Open;
  }
  return false;
}

BreakerOptions reconciled(BreakerOptions options) {
  options.window_calls = std::max<uint32_t>(1, options.window_calls);
  options.min_calls = std::clamp<uint32_t>(options.min_calls, 1, options.window_calls);
  options.open = std::min(options.open, options.open_max);
  options.trials = std::max<uint32_t>(1, options.trials);
  options.trial_successes = std::max<uint32_t>(1, options.trial_successes);
  options.trial_calls = std::max(options.trial_calls, options.trial_successes);
  return options;
}

}  // namespace

BreakerOptions breaker_options(const Values& values) {
  BreakerOptions options;
  options.on = static_cast<BreakerMode>(values.breaker_mode) == BreakerMode::On;
  options.window_calls = static_cast<uint32_t>(values.breaker_window_calls);
  options.window = values.breaker_window;
  options.min_calls = static_cast<uint32_t>(values.breaker_min_calls);
  options.failure_rate = static_cast<uint32_t>(values.breaker_failure_rate);
  options.consecutive = static_cast<uint32_t>(values.breaker_consecutive);
  options.open = values.breaker_open;
  options.open_max = values.breaker_open_max;
  options.open_factor = static_cast<uint32_t>(values.breaker_open_factor);
  options.open_jitter = static_cast<uint32_t>(values.breaker_open_jitter);
  options.trials = static_cast<uint32_t>(values.breaker_trials);
  options.trial_successes = static_cast<uint32_t>(values.breaker_trial_successes);
  options.trial_calls = static_cast<uint32_t>(values.breaker_trial_calls);
  options.trial_lease = values.breaker_trial_lease;
  return options;
}

Breaker::Breaker(const BreakerOptions& options, uint64_t seed)
    : options_(reconciled(options)), rng_(seed) {}

Time Breaker::advance(Time now) {
  now_ = std::max(now_, now);
  return now_;
}

// --- calls ---------------------------------------------------------------------------------------

CallPermit Breaker::admit(Time now) {
  advance(now);
  if (state_ == State::Open && force_ == Force::Auto && now_ >= opens_until_) {
    transition(State::HalfOpen);
  }
  switch (state_) {
    case State::Closed:
      return {.generation = generation_};
    case State::Open:
      return {};
    case State::HalfOpen:
      break;
  }
  expire_leases();
  if (trials_.size() >= options_.trials) return {};
  trials_.push_back({next_trial_, deadline_after(now_, options_.trial_lease)});
  return {.generation = generation_, .trial = next_trial_++};
}

void Breaker::report(CallPermit& permit, CallOutcome outcome, Time now) {
  advance(now);
  const CallPermit ended = permit;
  permit = {};
  if (ended.generation != generation_) return;
  if (ended.trial != 0) return_lease(ended.trial);
  if (outcome == CallOutcome::Ignored) return;
  const bool failed = outcome == CallOutcome::Failure;
  record(failed);
  if (ended.trial != 0) {
    end_trial(failed);
  } else if (failed && options_.on && force_ == Force::Auto && tripped()) {
    open();
  }
}

void Breaker::record(bool failed) {
  expire_calls();
  if (calls_.size() >= options_.window_calls) {
    failures_ -= calls_.front().failed ? 1 : 0;
    calls_.pop_front();
  }
  calls_.push_back({now_, failed});
  failures_ += failed ? 1 : 0;
  consecutive_ = failed ? std::max(consecutive_, consecutive_ + 1) : 0;
}

bool Breaker::tripped() const {
  if (options_.consecutive != 0 && consecutive_ >= options_.consecutive) return true;
  return calls_.size() >= options_.min_calls &&
         uint64_t{failures_} * 100 >= uint64_t{options_.failure_rate} * calls_.size();
}

void Breaker::expire_calls() {
  while (!calls_.empty() && now_ - calls_.front().at >= options_.window) {
    failures_ -= calls_.front().failed ? 1 : 0;
    calls_.pop_front();
  }
}

void Breaker::empty_window() {
  calls_.clear();
  failures_ = 0;
  consecutive_ = 0;
}

Breaker::Window Breaker::window(Time now) {
  advance(now);
  expire_calls();
  return {static_cast<uint32_t>(calls_.size()), failures_};
}

// --- trials --------------------------------------------------------------------------------------

void Breaker::end_trial(bool failed) {
  ++(failed ? trial_bad_ : trial_good_);
  if (trial_good_ >= options_.trial_successes) {
    close();
  } else if (trial_bad_ > options_.trial_calls - options_.trial_successes) {
    open();
  }
}

void Breaker::return_lease(uint64_t trial) {
  std::erase_if(trials_, [&](const Trial& lease) { return lease.id == trial; });
}

void Breaker::expire_leases() {
  std::erase_if(trials_, [&](const Trial& lease) { return lease.ends <= now_; });
}

Time Breaker::retry_at(Time now) const {
  if (force_ == Force::Open) return kNever;
  const Time present = std::max(now_, now);
  Time at = now;
  if (state_ == State::Open) {
    at = opens_until_;
  } else if (state_ == State::HalfOpen && trials_.size() >= options_.trials) {
    // Leases all last equally long, so the first made is the first to end.
    at = trials_.front().ends;
  }
  return at <= present ? now : at;
}

// --- states --------------------------------------------------------------------------------------

void Breaker::transition(State next) {
  assert(is_legal(state_, next));
  enter(next);
}

void Breaker::enter(State next) {
  state_ = next;
  ++generation_;
  trials_.clear();
  trial_good_ = 0;
  trial_bad_ = 0;
}

void Breaker::open() {
  decay();
  const Nanos longest = grown_open_time();
  const auto random = static_cast<uint64_t>(longest / 100 * options_.open_jitter +
                                            longest % 100 * options_.open_jitter / 100);
  open_time_ = longest - static_cast<Nanos>(rng_.up_to(random));
  opens_until_ = deadline_after(now_, open_time_);
  // Steps that would not lengthen it would only delay its fall.
  if (longest < options_.open_max && options_.open_factor > 1) ++openings_;
  decays_at_ = kNever;
  ++opened_;
  transition(State::Open);
}

void Breaker::close() {
  empty_window();
  decays_at_ = deadline_after(now_, options_.open);
  ++closed_;
  transition(State::Closed);
}

void Breaker::decay() {
  while (openings_ > 0 && decays_at_ <= now_) {
    --openings_;
    decays_at_ = deadline_after(decays_at_, options_.open);
  }
}

Nanos Breaker::grown_open_time() const {
  Nanos time = options_.open;
  for (uint32_t i = 0; i < openings_; ++i) {
    time = time > options_.open_max / options_.open_factor ? options_.open_max
                                                           : time * options_.open_factor;
  }
  return time;
}

void Breaker::force(Force force, Time now) {
  advance(now);
  if (force == force_) return;
  force_ = force;
  enter(force == Force::Open ? State::Open : State::Closed);
  empty_window();
  openings_ = 0;
  decays_at_ = kNever;
  opens_until_ = 0;
}

}  // namespace conpool::policy
