// The race as a machine: events in, actions out, one step() after each event.
#include "racer/race.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace conpool::racer {
namespace {

bool is_running(Race::AttemptState state) {
  return state == Race::AttemptState::Connecting || state == Race::AttemptState::Standby ||
         state == Race::AttemptState::Securing;
}

[[maybe_unused]] bool is_legal(Race::State from, Race::State to) {
  using State = Race::State;
  switch (from) {
    case State::Created:
      return to == State::Resolving || to == State::Failed;
    case State::Resolving:
      return to != State::Created && to != State::Won;
    // Back to Resolving when the only answer was replaced by an empty one.
    case State::Delaying:
      return to == State::Racing || to == State::Resolving || to == State::Failed;
    case State::Racing:
      return to == State::Won || to == State::Failed;
    case State::Won:
    case State::Failed:
      return false;
  }
  return false;
}

Phase phase_of(const Race::AttemptRecord& attempt) {
  return attempt.failure.status == Status::E_HOP_FAILED ? Phase::Hop : attempt.phase;
}

std::string target_of(const SocketAddress& address) {
  return address.family() == Family::Unix ? address.text() : "tcp:" + address.text();
}

}  // namespace

RaceOptions race_options(const Values& values, bool uses_tls) {
  RaceOptions options;
  options.aaaa_timeout = values.aaaa_timeout;
  options.connect_delay = values.connect_delay;
  options.delay_min = values.race_delay_min;
  options.delay_max = values.race_delay_max;
  options.first_family_count = static_cast<uint32_t>(values.race_first_family_count);
  options.family = static_cast<RaceFamily>(values.race_family);
  options.max_concurrent = static_cast<uint32_t>(values.race_max_concurrent);
  options.max_candidates = static_cast<uint32_t>(values.race_max_candidates);
  options.until = static_cast<RaceUntil>(values.race_until);
  options.uses_tls = uses_tls;
  options.cert_error = static_cast<CertError>(values.race_cert_error);
  options.connect_timeout = values.connect_timeout;
  options.tls_timeout = values.tls_timeout;
  return options;
}

Race::Race(const RaceOptions& options, Time now)
    : options_(options), created_(now), order_(options.family, options.first_family_count) {
  options_.max_candidates = std::max(1u, options_.max_candidates);
  options_.connect_delay = std::max(kStartFloor, options_.connect_delay);
  options_.delay_min = std::max(kStartFloor, options_.delay_min);
  options_.delay_max = std::max(options_.delay_min, options_.delay_max);
  awaited(Family::V6).pending = options.await_v6 && options.family != RaceFamily::V4Only;
  awaited(Family::V4).pending = options.await_v4 && options.family != RaceFamily::V6Only;
}

// --- events ------------------------------------------------------------------------------------

void Race::start(Time now, std::span<const Candidate> list) {
  assert(state_ == State::Created);
  // The driver may hold a reference into attempts_ while an event adds one.
  attempts_.reserve(options_.max_candidates);
  next_start_ = now;
  order_.replace_all(list);
  if (!order_.empty()) first_answer_ = now;
  transition(State::Resolving);
  step(now);
}

void Race::on_answer(Time now, Family family, std::span<const Candidate> candidates) {
  if (done() || state_ == State::Created) return;
  order_.replace(family, candidates);
  if (candidates.empty()) {
    on_answer_failed(now, family, Failure{.status = Status::E_DNS_NO_DATA});
    return;
  }
  awaited(family).pending = false;
  awaited(family).failed = false;
  if (first_answer_ == kNever && !order_.empty()) first_answer_ = now;
  step(now);
}

void Race::on_answer_failed(Time now, Family family, Failure failure) {
  if (done() || state_ == State::Created) return;
  Awaited& answer = awaited(family);
  answer.pending = false;
  answer.failed = true;
  answer.failed_at = now;
  answer.failure = std::move(failure);
  step(now);
}

void Race::on_held(AttemptId id) {
  AttemptRecord* attempt = live(id);
  if (attempt == nullptr) return;
  attempt->deadline = kNever;
  attempt->slow = true;  // nobody is asked yet, so nobody is late
}

void Race::on_released(Time now, AttemptId id) {
  AttemptRecord* attempt = live(id);
  if (attempt == nullptr) return;
  attempt->started = now;
  attempt->deadline = deadline_after(now, options_.connect_timeout);
  attempt->slow = false;
  step(now);
}

void Race::on_connected(Time now, AttemptId id, Nanos rtt) {
  AttemptRecord* attempt = live(id);
  if (attempt == nullptr || attempt->state != AttemptState::Connecting) return;
  attempt->connected = now;
  attempt->rtt = rtt > 0 ? rtt : now - attempt->started;
  attempt->deadline = kNever;
  if (!options_.uses_tls || options_.until == RaceUntil::Tcp) {
    win(now, *attempt);
    return;
  }
  attempt->state = AttemptState::Standby;
  step(now);
}

void Race::on_ready(Time now, AttemptId id) {
  AttemptRecord* attempt = live(id);
  if (attempt == nullptr || attempt->state != AttemptState::Securing) return;
  win(now, *attempt);
}

void Race::on_failed(Time now, AttemptId id, Failure failure) {
  AttemptRecord* attempt = live(id);
  if (attempt == nullptr) return;
  fail_attempt(now, *attempt, std::move(failure));
  step(now);
}

void Race::on_timer(Time now) {
  step(now);
}

void Race::cancel(Time now, Failure reason) {
  if (done()) return;
  end_failed(now, std::move(reason), attempts_.empty() ? Phase::Dns : Phase::Connect, 0);
}

void Race::take_actions(std::vector<Action>* out) {
  out->clear();
  out->swap(actions_);
}

// --- one step ------------------------------------------------------------------------------------

void Race::step(Time now) {
  if (done() || state_ == State::Created) return;
  expire(now);
  lead_next(now);
  if (may_start(now)) start_one(now);
  if (state_ != State::Racing) {
    const State waiting = order_.empty() ? State::Resolving : State::Delaying;
    if (state_ != waiting) transition(waiting);
  }
  conclude_if_exhausted(now);
  arm();
}

void Race::expire(Time now) {
  for (AttemptRecord& attempt : attempts_) {
    if (!is_running(attempt.state)) continue;
    if (now >= attempt.deadline) {
      actions_.push_back({.kind = ActionKind::Close, .id = attempt.id});
      const bool securing = attempt.state == AttemptState::Securing;
      fail_attempt(now, attempt,
                   Failure{.status = securing ? Status::E_TLS_TIMEOUT : Status::E_CONNECT_TIMEOUT});
    } else if (attempt.state == AttemptState::Connecting && !attempt.slow &&
               now >= attempt.started + attempt.delay) {
      attempt.slow = true;
      actions_.push_back({.kind = ActionKind::Slow, .id = attempt.id});
    }
  }
}

// The leader's window ends, or its handshake failed: the oldest standby is the next to say
// ClientHello.
void Race::lead_next(Time now) {
  if (leader_ != 0 && now >= leader_until_) leader_ = 0;
  if (leader_ != 0) return;
  AttemptRecord* standby = first_standby();
  if (standby != nullptr) begin_tls(now, *standby);
}

void Race::begin_tls(Time now, AttemptRecord& attempt) {
  attempt.state = AttemptState::Securing;
  attempt.phase = Phase::Tls;
  attempt.deadline = deadline_after(now, options_.tls_timeout);
  leader_ = attempt.id;
  const Nanos most = std::max(attempt.delay, options_.delay_max);
  leader_until_ = now + std::clamp(3 * std::min(attempt.rtt, most), attempt.delay, most);
  next_start_ = std::max(next_start_, leader_until_);
  actions_.push_back({.kind = ActionKind::BeginTls, .id = attempt.id});
}

// The resolution delay holds back the first attempt only (RFC 8305 §3).
bool Race::may_start(Time now) const {
  if (!attempts_.empty() || !is_delayed()) return true;
  return first_answer_ != kNever && now >= deadline_after(first_answer_, options_.aaaa_timeout);
}

bool Race::is_delayed() const {
  return awaited(preferred()).pending && !order_.has(preferred());
}

bool Race::can_start() const {
  if (order_.next() == nullptr || attempts_.size() >= options_.max_candidates) return false;
  return options_.max_concurrent == 0 || running() < options_.max_concurrent ||
         oldest_connecting() != 0;
}

void Race::start_one(Time now) {
  if (!can_start() || now < next_start_) return;
  assert(last_start_ == kNever || now - last_start_ >= kStartFloor);
  if (options_.max_concurrent != 0 && running() >= options_.max_concurrent) {
    AttemptRecord& oldest = attempts_[oldest_connecting() - 1];
    oldest.state = AttemptState::GivenUp;
    oldest.ended = now;
    oldest.failure = Failure{.status = Status::E_CONNECT_TIMEOUT,
                             .detail = "given up after " + duration_text(now - oldest.started) +
                                       " to make room for the next address"};
    actions_.push_back({.kind = ActionKind::Close, .id = oldest.id});
  }
  AttemptRecord attempt;
  attempt.id = static_cast<AttemptId>(attempts_.size() + 1);
  attempt.candidate = *order_.next();
  attempt.started = now;
  attempt.deadline = deadline_after(now, options_.connect_timeout);
  order_.mark_tried();
  attempt.delay = delay_of(attempt.candidate);
  last_start_ = now;
  next_start_ = now + attempt.delay;
  actions_.push_back({.kind = ActionKind::Start, .id = attempt.id});
  attempts_.push_back(std::move(attempt));
  if (state_ != State::Racing) transition(State::Racing);
}

void Race::fail_attempt(Time now, AttemptRecord& attempt, Failure failure) {
  attempt.state = AttemptState::Failed;
  attempt.ended = now;
  attempt.failure = std::move(failure);
  const Status status = attempt.failure.status;
  // Broken TLS settings fail on every address alike.
  if ((status == Status::E_TLS_CERTIFICATE && options_.cert_error == CertError::Stop) ||
      status == Status::E_TLS_CONFIG) {
    end_failed(now, attempt.failure, phase_of(attempt), attempt.id);
    return;
  }
  // A failure calls for the next attempt at once, except while another one's handshake goes well.
  const Time soonest = last_start_ + kStartFloor;
  if (leader_ == attempt.id) {
    leader_ = 0;
    next_start_ = soonest;
  } else if (leader_ == 0) {
    next_start_ = std::min(next_start_, soonest);
  }
}

void Race::conclude_if_exhausted(Time now) {
  if (done() || running() > 0) return;
  if (order_.next() != nullptr && attempts_.size() < options_.max_candidates) return;
  if (awaited(Family::V6).pending || awaited(Family::V4).pending) return;
  const AttemptRecord* furthest = nullptr;
  for (const AttemptRecord& attempt : attempts_) {
    if (furthest == nullptr || failure_stage(attempt.failure) >= failure_stage(furthest->failure)) {
      furthest = &attempt;
    }
  }
  if (furthest != nullptr) {
    end_failed(now, furthest->failure, phase_of(*furthest), furthest->id);
    return;
  }
  const Awaited& v6 = awaited(Family::V6);
  const Awaited& v4 = awaited(Family::V4);
  Failure failure{.status = Status::E_DNS_NO_DATA, .detail = "no address of the wanted family"};
  if (v6.failed && v4.failed) {
    failure = combine_dns_failures(v6.failure, v4.failure);
  } else if (v6.failed || v4.failed) {
    failure = v6.failed ? v6.failure : v4.failure;
  }
  end_failed(now, std::move(failure), Phase::Dns, 0);
}

// --- ends ----------------------------------------------------------------------------------------

void Race::win(Time now, AttemptRecord& attempt) {
  attempt.state = AttemptState::Won;
  attempt.ended = now;
  attempt.deadline = kNever;
  winner_ = attempt.id;
  close_others(now, &attempt,
               Failure{.status = Status::E_CANCELLED, .detail = "another address was faster"});
  transition(State::Won);
  actions_.push_back({.kind = ActionKind::Won, .id = attempt.id});
}

void Race::end_failed(Time now, Failure failure, Phase phase, AttemptId id) {
  failure_ = std::move(failure);
  failure_phase_ = phase;
  failure_attempt_ = id;
  close_others(now, nullptr, failure_);
  transition(State::Failed);
  actions_.push_back({.kind = ActionKind::Failed, .id = id});
}

void Race::close_others(Time now, const AttemptRecord* winner, const Failure& reason) {
  for (AttemptRecord& attempt : attempts_) {
    if (!is_running(attempt.state)) continue;
    // Behind by its delay: the winner started that much later and still was faster; or nobody won
    // in all the time the dial had.
    const bool behind = winner != nullptr ? winner->started - attempt.started >= attempt.delay
                                          : attempt.slow && reason.status == Status::E_DIAL_TIMEOUT;
    attempt.state = behind ? AttemptState::LostSlow : AttemptState::Lost;
    attempt.ended = now;
    attempt.failure = reason;
    actions_.push_back({.kind = ActionKind::Close, .id = attempt.id});
  }
}

void Race::transition(State to) {
  assert(is_legal(state_, to));
  state_ = to;
}

// --- deadlines -----------------------------------------------------------------------------------

Time Race::deadline() const {
  if (done() || state_ == State::Created) return kNever;
  Time earliest = kNever;
  for (const AttemptRecord& attempt : attempts_) {
    if (!is_running(attempt.state)) continue;
    earliest = std::min(earliest, attempt.deadline);
    if (attempt.state == AttemptState::Connecting && !attempt.slow) {
      earliest = std::min(earliest, attempt.started + attempt.delay);
    }
    if (attempt.state == AttemptState::Standby) earliest = std::min(earliest, leader_until_);
  }
  if (!can_start()) return earliest;
  if (!attempts_.empty() || !is_delayed()) return std::min(earliest, next_start_);
  return std::min(earliest, deadline_after(first_answer_, options_.aaaa_timeout));
}

void Race::arm() {
  if (done()) return;
  const Time at = deadline();
  if (at == armed_) return;
  armed_ = at;
  actions_.push_back({.kind = ActionKind::Arm, .deadline = at});
}

// Until the next candidate is tried, too.
Nanos Race::delay_of(const Candidate& candidate) const {
  const Candidate* next = order_.next();
  const bool sound = !candidate.cooling && !candidate.last_resort;
  if (sound && next != nullptr && next->last_resort) return options_.delay_max;
  if (candidate.expected_delay <= 0) return options_.connect_delay;
  return std::clamp(candidate.expected_delay, options_.delay_min, options_.delay_max);
}

Family Race::preferred() const {
  switch (options_.family) {
    case RaceFamily::V6Only:
      return Family::V6;
    case RaceFamily::V4Only:
    case RaceFamily::V4First:
      return Family::V4;
    case RaceFamily::Auto:
    case RaceFamily::V6First:
      break;
  }
  return options_.v6_routable ? Family::V6 : Family::V4;
}

// --- attempts ------------------------------------------------------------------------------------

size_t Race::running() const {
  return static_cast<size_t>(
      std::count_if(attempts_.begin(), attempts_.end(),
                    [](const AttemptRecord& attempt) { return is_running(attempt.state); }));
}

Race::AttemptRecord* Race::live(AttemptId id) {
  if (done() || id == 0 || id > attempts_.size()) return nullptr;
  AttemptRecord& attempt = attempts_[id - 1];
  return is_running(attempt.state) ? &attempt : nullptr;
}

AttemptId Race::oldest_connecting() const {
  for (const AttemptRecord& attempt : attempts_) {
    if (attempt.state == AttemptState::Connecting) return attempt.id;
  }
  return 0;
}

Race::AttemptRecord* Race::first_standby() {
  AttemptRecord* first = nullptr;
  for (AttemptRecord& attempt : attempts_) {
    if (attempt.state != AttemptState::Standby) continue;
    if (first == nullptr || attempt.connected < first->connected) first = &attempt;
  }
  return first;
}

std::vector<Attempt> Race::ledger() const {
  std::vector<Attempt> entries;
  for (const Family family : {Family::V6, Family::V4}) {
    const Awaited& answer = awaited(family);
    if (!answer.failed) continue;
    Attempt entry;
    entry.phase = Phase::Dns;
    entry.target = family == Family::V6 ? "AAAA" : "A";
    entry.duration = answer.failed_at - created_;
    entry.failure = answer.failure;
    entries.push_back(std::move(entry));
  }
  for (const AttemptRecord& attempt : attempts_) {
    Attempt entry;
    entry.phase = phase_of(attempt);
    entry.target = target_of(attempt.candidate.address);
    entry.started = attempt.started - created_;
    entry.duration = attempt.ended == kNever ? 0 : attempt.ended - attempt.started;
    entry.failure = attempt.failure;
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace conpool::racer
