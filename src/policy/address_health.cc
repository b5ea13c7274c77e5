// Health of one address: weights, cooldowns, ejections and probes.
#include "policy/address_health.h"

#include <algorithm>
#include <cassert>

#include "policy/backoff.h"
#include "policy/call_outcome.h"

namespace conpool::policy {
namespace {

constexpr Nanos kLongestSample = kHour;

uint32_t weight_of(Blame blame) {
  switch (blame) {
    case Blame::None:
      return 0;
    case Blame::Soft:
      return 1;
    case Blame::Failed:
      return 2;
    case Blame::Silent:
      return 6;
  }
  return 0;
}

[[maybe_unused]] bool is_legal(AddressHealth::State from, AddressHealth::State to) {
  using State = AddressHealth::State;
  switch (from) {
    case State::Healthy:
      return to == State::Suspect || to == State::Cooling;
    case State::Suspect:
      return to == State::Healthy || to == State::Cooling;
    case State::Cooling:
      return to == State::Probing || to == State::Healthy || to == State::Ejected;
    case State::Ejected:
      return to == State::Probing || to == State::Healthy || to == State::Cooling;
    case State::Probing:
      return to == State::Healthy || to == State::Cooling || to == State::Ejected;
  }
  return false;
}

}  // namespace

void RoundTrips::add(Nanos sample) {
  sample = std::clamp<Nanos>(sample, 0, kLongestSample);
  if (samples_ == 0) {
    smoothed_ = sample;
    variation_ = sample / 2;
  } else {
    const Nanos error = smoothed_ > sample ? smoothed_ - sample : sample - smoothed_;
    variation_ = (3 * variation_ + error) / 4;
    smoothed_ = (7 * smoothed_ + sample) / 8;
  }
  if (samples_ < UINT32_MAX) ++samples_;
}

Nanos RoundTrips::attempt_delay(Nanos least, Nanos most) const {
  if (samples_ < kSamplesForDelay) return 0;
  return std::clamp(smoothed_ + 4 * variation_, least, std::max(least, most));
}

Blame blame_of(const Failure& failure) {
  if (local_shortage(failure)) return Blame::None;
  switch (failure.status) {
    case Status::E_CONNECT_TIMEOUT:
    case Status::E_TLS_TIMEOUT:
      return Blame::Silent;
    case Status::E_TLS_CERTIFICATE:
    case Status::E_TLS_CONFIG:
    case Status::E_DIAL_TIMEOUT:
      return Blame::None;
    default:
      break;
  }
  switch (status_class(failure.status)) {
    case StatusClass::CONNECT:
    case StatusClass::TLS:
      return Blame::Failed;
    default:
      return Blame::None;
  }
}

Blame blame_of_check(const Failure& failure) {
  if (failure.status == Status::E_TIMEOUT) return Blame::Failed;
  if (status_class(failure.status) == StatusClass::HTTP) return Blame::Failed;
  return blame_of(failure);
}

void AddressHealth::probe_started() {
  transition(State::Probing);
}

void AddressHealth::probe_abandoned(Time now) {
  if (state_ != State::Probing) return;
  cooling_until_ = now;
  transition(ejected_ ? State::Ejected : State::Cooling);
}

void AddressHealth::slow() {
  ++slow_;
  if (state_ == State::Healthy) transition(State::Suspect);
}

void AddressHealth::slow_ended() {
  assert(slow_ > 0);
  --slow_;
  if (slow_ == 0 && state_ == State::Suspect) transition(State::Healthy);
}

void AddressHealth::connected(Time now) {
  last_connect_ = now;
  if (state_ == State::Suspect) transition(State::Healthy);
}

void AddressHealth::succeeded() {
  weight_ = 0;
  failures_ = 0;
  ejected_ = false;
  awaits_answer_ = false;
  if (state_ != State::Healthy) transition(State::Healthy);
}

void AddressHealth::opened(Time now, const HealthOptions& options, Rng& rng) {
  if (hung_up_ == 0) return succeeded();
  weight_ = 0;
  failures_ = 0;
  awaits_answer_ = true;
  cooling_until_ =
      deadline_after(now, reconnect_delay(options.cooldown, options.cooldown_max, hung_up_, rng));
  const State to = ejected_ ? State::Ejected : State::Cooling;
  if (state_ != to) transition(to);
}

bool AddressHealth::of_the_last_failure(Time now, Time started) const {
  const bool cools = state_ == State::Cooling || state_ == State::Ejected;
  return started < last_blamed_ || (cools && now < cooling_until_ && !awaits_answer_);
}

void AddressHealth::failed(Time now, Time started, Blame blame, const HealthOptions& options,
                           Rng& rng) {
  if (blame == Blame::None) return;
  last_connect_ = kNever;  // whatever it proved before, it is no longer so
  if (of_the_last_failure(now, started)) return;
  last_blamed_ = now;
  awaits_answer_ = false;
  weight_ = std::min(kMaxWeight, weight_ + weight_of(blame));
  if (blame != Blame::Soft && failures_ < UINT32_MAX) ++failures_;
  const uint32_t steps = std::max({weight_ / 2, checks_failed_, hung_up_});
  if (steps == 0) return;  // one soft failure tells too little to go last
  cooling_until_ =
      deadline_after(now, reconnect_delay(options.cooldown, options.cooldown_max, steps, rng));
  const State to = ejected_ ? State::Ejected : State::Cooling;
  if (state_ != to) transition(to);
}

void AddressHealth::answered() {
  if (hung_up_ == 0) return;
  hung_up_ = 0;
  succeeded();
}

void AddressHealth::hung_up(Time now, Time started, const HealthOptions& options, Rng& rng) {
  if (!of_the_last_failure(now, started) && hung_up_ < kMaxWeight) ++hung_up_;
  failed(now, started, Blame::Failed, options, rng);
}

void AddressHealth::check_passed(Time now) {
  checks_failed_ = 0;
  hung_up_ = 0;
  last_connect_ = now;
  succeeded();
}

void AddressHealth::check_failed(Time now, Blame blame, const HealthOptions& options, Rng& rng) {
  if (blame == Blame::None) return;
  if (!of_the_last_failure(now, now) && checks_failed_ < kMaxWeight) ++checks_failed_;
  failed(now, now, blame, options, rng);
}

void AddressHealth::eject() {
  ejected_ = true;
  transition(State::Ejected);
}

void AddressHealth::readmit() {
  ejected_ = false;
  if (state_ == State::Ejected) transition(State::Cooling);
}

void AddressHealth::flush() {
  const uint32_t slow = slow_;  // those attempts still run and end later
  *this = {};
  slow_ = slow;
}

void AddressHealth::transition(State to) {
  assert(is_legal(state_, to));
  state_ = to;
}

}  // namespace conpool::policy
