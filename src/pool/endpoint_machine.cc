// The accounts of one endpoint; the rules stand in the header.
#include "pool/endpoint_machine.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace conpool::pool {

EndpointMachine::EndpointMachine(const MachineLimits& limits, Environment& environment,
                                 uint64_t seed)
    : limits_(limits),
      environment_(environment),
      rng_(seed),
      codel_(limits.codel_target, limits.codel_interval) {
  redial_timer_.set_callback([] {});
}

// --- waiters ---------------------------------------------------------------------------------

void EndpointMachine::number(WaiterRecord& waiter, Time now) {
  if (waiter.number != 0) return;
  waiter.arrived = now;
  waiter.number = next_waiter_++;
}

void EndpointMachine::refuse(WaiterRecord& waiter, Status status) {
  actions_.push_back({.kind = Action::Kind::FailWaiter, .waiter = &waiter, .status = status});
}

std::vector<WaiterRecord*> EndpointMachine::take_waiters() {
  std::vector<WaiterRecord*> taken;
  taken.reserve(static_cast<size_t>(counts_.waiters));
  while (WaiterRecord* waiter = waiters_.front()) {
    unlink(*waiter);
    taken.push_back(waiter);
  }
  return taken;
}

void EndpointMachine::add_waiter(WaiterRecord& waiter, Time now) {
  now_ = now;
  number(waiter, now);
  if (shutting_down_) return refuse(waiter, Status::E_CLOSED);
  demand_.arrived(now);
  if (waiter.fail_when_full && counts_.waiters >= places_left())
    return refuse(waiter, Status::E_POOL_EXHAUSTED);
  if (cannot_be_served(waiter)) return refuse(waiter, Status::E_QUEUE_TIMEOUT);
  // Those that an idle connection or a dial can serve do not count: 0 means to fail at once when
  // all is taken.
  if (counts_.waiters >= limits_.max_waiters &&
      counts_.waiters >= limits_.max_waiters + places_left())
    return refuse(waiter, Status::E_WAITERS_LIMIT);
  waiters_.push_back(waiter);
  enter(waiter);
}

// Places that nobody has taken, and those of connections that may still be dialed.
int64_t EndpointMachine::places_left() {
  int64_t places = counts_.idle;
  for (Connections* list : {&idle_, &active_}) {
    if (list == &idle_ && !forecast_.multiplexed()) continue;  // one place each
    for (ConnectionRecord* c = list->front(); c != nullptr; c = list->next(*c))
      places += static_cast<int64_t>(c->capacity.hard) - c->leases - (list == &idle_ ? 1 : 0);
  }
  const int64_t more = std::max<int64_t>(0, limit() - counts_.open());
  const int64_t each = forecast_.places == Forecast::kUndecided ? 1 : forecast_.places;
  return places + more * each;
}

// Places, taken or not, of all connections and of those that may still be dialed. How many one of
// the latter would bring is known where each has one alone.
int64_t EndpointMachine::most_places() {
  const int64_t each = forecast_.multiplexed() ? Forecast::kUndecided : 1;
  int64_t places = std::max<int64_t>(0, limit() - counts_.open()) * each;
  for (Connections* list : {&idle_, &active_, &full_, &held_}) {
    for (ConnectionRecord* c = list->front(); c != nullptr; c = list->next(*c))
      places += c->capacity.hard;
  }
  return std::max<int64_t>(1, places);
}

// Whether the line before it is so long that it would come too late even if places came free twice
// as fast as they did lately. First in, first out it is said of long lines alone: over many leases
// the average holds, over a few it may not.
bool EndpointMachine::cannot_be_served(const WaiterRecord& waiter) {
  const Time deadline = std::min(waiter.queue_deadline, waiter.total_deadline);
  if (!demand_.known() || counts_.waiters == 0 || deadline == kNever) return false;
  // Most lines are short whatever the number of places.
  if ((counts_.waiters + 1) * (demand_.held() / 2) <= deadline - now_) return false;
  const int64_t places = most_places();
  if (!limits_.codel && counts_.waiters < kForeseenTurns * places) return false;
  return (counts_.waiters + 1) * (demand_.held() / 2) / places > deadline - now_;
}

void EndpointMachine::enter(WaiterRecord& waiter) {
  ++counts_.waiters;
  if (waiter.fresh_only) waiter.fresh_after = now_;
  if (now_ >= waiter.queue_deadline) overdue_ = true;
  waiter.timer.set_callback([this, &waiter] { on_waiter_timer(waiter); });
  waiter.timer.arm(timers_,
                   std::min({waiter.queue_deadline, waiter.dial_deadline, waiter.total_deadline}));
}

void EndpointMachine::requeue(WaiterRecord& waiter, Time now) {
  now_ = now;
  if (shutting_down_) return refuse(waiter, Status::E_CLOSED);
  waiter.redial_at = 0;  // it comes back after a delay of its own, or for another reason
  WaiterRecord* position = waiters_.front();
  while (position != nullptr && position->number < waiter.number)
    position = waiters_.next(*position);
  if (position == nullptr) {
    waiters_.push_back(waiter);
  } else {
    waiters_.insert_before(*position, waiter);
  }
  enter(waiter);
}

void EndpointMachine::remove_waiter(WaiterRecord& waiter) {
  if (waiter.ListNode<WaiterTag>::linked()) return unlink(waiter);
  // Refused in this very turn, and not told yet.
  for (Action& action : actions_) {
    if (action.kind == Action::Kind::FailWaiter && action.waiter == &waiter)
      action.waiter = nullptr;
  }
}

void EndpointMachine::unlink(WaiterRecord& waiter) {
  waiter.ListNode<WaiterTag>::unlink();
  --counts_.waiters;
  waiter.timer.cancel();
  // The dial goes on: it belongs to the endpoint, not to the waiter that asked first.
  for (Dial& dial : dials_) {
    if (dial.sponsor != &waiter) continue;
    dial.sponsor = nullptr;
    // Its repetition was this waiter's wish alone.
    if (dial.resting) actions_.push_back({.kind = Action::Kind::AbortDial, .dial = dial.id});
  }
  waiter.dial = 0;
  if (waiter.resting) --resting_;
  waiter.resting = false;
}

void EndpointMachine::fail_waiter(WaiterRecord& waiter, Status status, uint64_t dial) {
  unlink(waiter);
  actions_.push_back(
      {.kind = Action::Kind::FailWaiter, .waiter = &waiter, .dial = dial, .status = status});
}

bool EndpointMachine::covers(const WaiterRecord& waiter) {
  if (waiter.resting) return true;
  int64_t left = covering();
  for (WaiterRecord* w = waiters_.front(); w != nullptr && left > 0; w = waiters_.next(*w)) {
    if (w->resting) continue;
    if (w == &waiter) return true;
    --left;
  }
  return false;
}

// The queue's deadline is left to dispatch, which first grants what this turn brought: a place that
// came in time must not be refused for the order of events in one turn.
void EndpointMachine::on_waiter_timer(WaiterRecord& waiter) {
  if (now_ >= waiter.total_deadline) return fail_waiter(waiter, Status::E_TIMEOUT);
  const bool covered = covers(waiter);
  if (covered && now_ >= waiter.dial_deadline) return fail_waiter(waiter, Status::E_DIAL_TIMEOUT);
  if (now_ >= waiter.queue_deadline) overdue_ = true;
  Time next = waiter.total_deadline;
  for (const Time deadline : {waiter.queue_deadline, waiter.dial_deadline}) {
    if (deadline > now_) next = std::min(next, deadline);
  }
  waiter.timer.arm(timers_, next);
}

// --- dials -----------------------------------------------------------------------------------

bool EndpointMachine::start_dial(WaiterRecord* sponsor, Time now) {
  if (!environment_.take_permit(sponsor != nullptr)) {
    permit_wanted_ = true;
    return false;
  }
  const uint64_t id = next_dial_++;
  dials_.push_back({id, now, sponsor});
  if (sponsor != nullptr) sponsor->dial = id;
  ++counts_.dialing;
  actions_.push_back({.kind = Action::Kind::StartDial, .waiter = sponsor, .dial = id});
  return true;
}

void EndpointMachine::start_dials(Time now) {
  permit_wanted_ = false;
  warming_refused_ = false;
  Time redial = kNever;
  for (WaiterRecord *w = waiters_.front(), *next = nullptr; w != nullptr; w = next) {
    next = waiters_.next(*w);
    if (covering() >= counts_.waiters - resting_ || counts_.open() + counts_.dialing >= limit())
      break;
    if (w->dial != 0) continue;
    const Time not_before = std::max(w->redial_at, settle_at_);
    if (not_before > now) {
      redial = std::min(redial, not_before);
      // No connection, no dial, and none before it must leave.
      if (counts_.open() + covering() == 0 &&
          not_before >= std::min(w->queue_deadline, w->total_deadline))
        fail_waiter(*w, Status::E_QUEUE_TIMEOUT);
      continue;
    }
    if (!start_dial(w, now)) return;
  }
  while (!shutting_down_ && may_warm_ && wants_more() &&
         counts_.open() + counts_.dialing < limit()) {
    const Time not_before = std::max(warm_at_, settle_at_);
    if (not_before > now) {
      redial = std::min(redial, not_before);
      break;
    }
    if (!start_dial(nullptr, now)) {
      warming_refused_ = true;
      permit_wanted_ = counts_.waiters > 0;  // warming does not queue for permits
      warm_at_ = deadline_after(now, kRedialDelay);
      redial = std::min(redial, warm_at_);
      break;
    }
  }
  redial_timer_.arm(timers_, redial);
}

// Whether a connection should be dialed that nobody waits for.
bool EndpointMachine::wants_more() {
  const bool undecided = forecast_.places == Forecast::kUndecided;
  if (undecided && under_way() > 0) return false;  // one dial decides
  const int64_t standing = counts_.open() + counts_.dialing;
  if (renewing_ > under_way()) return true;
  fill_gap_ = fill_gap_ && standing == 0;
  if (fill_gap_) return true;
  const auto ahead = std::count_if(dials_.begin(), dials_.end(),
                                   [](const Dial& dial) { return dial.sponsor == nullptr; });
  if (ahead < limits_.warm_step && standing < wanted_size()) return true;
  if (counts_.open() + counts_.dialing <
      (forecast_.multiplexed() && !undecided ? std::min<int64_t>(warm_target_, 1) : warm_target_))
    return true;
  const int64_t spare = std::max<int64_t>(0, covering() + resting_ - counts_.waiters);
  // Of a multiplexed connection the places count, not whether anybody else is on it.
  const int64_t ready = forecast_.multiplexed()
                            ? counts_.idle + counts_.active + std::min(spare, under_way())
                            : counts_.idle + spare;
  if (ahead < limits_.warm_step && ready < limits_.min_idle) return true;
  return beyond_ideal() && under_way() == 0;
}

// How many connections there should be, whoever waits.
int64_t EndpointMachine::wanted_size() const {
  const bool several = forecast_.multiplexed();  // Demand counts places, and a connection has many
  const bool keeps = limits_.idle_timeout > 0;
  const int64_t by_rate = limits_.by_rate && keeps && !several ? demand_.places(now_) : 0;
  return std::max(limits_.min, by_rate);
}

// Every connection has its ideal number of streams, and one has more.
bool EndpointMachine::beyond_ideal() {
  if (!forecast_.multiplexed() || counts_.idle + counts_.held > 0) return false;
  bool beyond = false;
  for (Connections* list : {&active_, &full_}) {
    for (ConnectionRecord* c = list->front(); c != nullptr; c = list->next(*c)) {
      if (c->leases < c->capacity.soft) return false;
      beyond = beyond || c->leases > c->capacity.soft;
    }
  }
  return beyond;
}

void EndpointMachine::dial_succeeded(uint64_t dial, ConnectionRecord& connection,
                                     session::Capacity capacity, Time now) {
  now_ = now;
  const auto found =
      std::find_if(dials_.begin(), dials_.end(), [dial](const Dial& d) { return d.id == dial; });
  assert(found != dials_.end());
  if (found->sponsor != nullptr) found->sponsor->dial = 0;
  dials_.erase(found);
  --counts_.dialing;
  warm_at_ = 0;
  connection.capacity = capacity;
  connection.opened = now;
  connection.checked_at = now;
  if (connection.check_after < 0) connection.check_after = limits_.check_after;
  if (limits_.max_age > 0) {
    const Nanos jitter = limits_.max_age / 100 * limits_.age_jitter;
    connection.retire_at = deadline_after(now, limits_.max_age + rng_.between(-jitter, jitter));
  }
  connection.timer.set_callback([this, &connection] { on_connection_timer(connection); });
  connection.idle_since = now;
  transition(connection, state_for(connection));  // the dial's permit goes over to the connection
  if (shutting_down_) {
    close(connection, CloseReason::Shutdown);
  } else {
    retire_renewed(now);
  }
  check_invariants();
}

void EndpointMachine::dial_failed(uint64_t dial, Time now, bool shortage) {
  now_ = now;
  const auto found =
      std::find_if(dials_.begin(), dials_.end(), [dial](const Dial& d) { return d.id == dial; });
  assert(found != dials_.end());
  const Dial failed = *found;
  dials_.erase(found);
  --counts_.dialing;
  environment_.return_permit();
  // Dials of one outage count once: those that began before its last counted failure.
  if (failed.started >= counted_failure_at_) count_failure();
  const Time redial_at = deadline_after(now, redial_delay());
  warm_at_ = redial_at;
  fill_gap_ = false;
  if (shortage) settle_at_ = std::max(settle_at_, redial_at);
  if (failed.sponsor != nullptr) {
    failed.sponsor->dial = 0;
    failed.sponsor->redial_at = redial_at;
  }
  const bool may_come_back = counts_.open() > 0;
  int64_t covered = covering();
  for (WaiterRecord* w = waiters_.front(); w != nullptr;) {
    WaiterRecord* next = waiters_.next(*w);
    if (w->resting) {
      // waits for its own dial's next round
    } else if (covered > 0) {
      --covered;
    } else if (!may_come_back && w->arrived <= failed.started) {
      fail_waiter(*w, Status::OK, dial);
    }
    w = next;
  }
  check_invariants();
}

// The delay grows with each failure since the last lease, and is spread by a fifth either way.
void EndpointMachine::count_failure() {
  ++failed_in_a_row_;
  counted_failure_at_ = now_;
}

Nanos EndpointMachine::redial_delay() {
  Nanos delay = kRedialDelay;
  for (uint32_t i = 1; i < failed_in_a_row_ && delay < kRedialDelayMax; ++i)
    delay = delay * 8 / 5;
  delay = std::min(delay, kRedialDelayMax);
  return delay + rng_.between(-delay / 5, delay / 5);
}

bool EndpointMachine::rest_dial(uint64_t dial) {
  const auto found =
      std::find_if(dials_.begin(), dials_.end(), [dial](const Dial& d) { return d.id == dial; });
  assert(found != dials_.end() && !found->resting);
  if (found->sponsor == nullptr) return false;
  found->resting = true;
  found->sponsor->resting = true;
  ++resting_;
  return true;
}

void EndpointMachine::wake_dial(uint64_t dial) {
  const auto found =
      std::find_if(dials_.begin(), dials_.end(), [dial](const Dial& d) { return d.id == dial; });
  assert(found != dials_.end() && found->resting && found->sponsor != nullptr);
  found->resting = false;
  found->sponsor->resting = false;
  --resting_;
}

void EndpointMachine::dial_aborted(uint64_t dial, Time now) {
  now_ = now;
  const auto found =
      std::find_if(dials_.begin(), dials_.end(), [dial](const Dial& d) { return d.id == dial; });
  assert(found != dials_.end() && found->sponsor == nullptr);
  dials_.erase(found);
  --counts_.dialing;
  environment_.return_permit();
  check_invariants();
}

// --- connections ---------------------------------------------------------------------------------

ConnectionState EndpointMachine::state_for(const ConnectionRecord& connection) const {
  if (connection.held || connection.checking) return ConnectionState::Held;
  if (connection.leases >= connection.capacity.hard) return ConnectionState::Full;
  return connection.leases == 0 ? ConnectionState::Idle : ConnectionState::Active;
}

int64_t* EndpointMachine::count_of(ConnectionState state) {
  switch (state) {
    case ConnectionState::Idle:
      return &counts_.idle;
    case ConnectionState::Active:
      return &counts_.active;
    case ConnectionState::Full:
      return &counts_.full;
    case ConnectionState::Held:
      return &counts_.held;
    case ConnectionState::Draining:
      return &counts_.draining;
    default:
      return nullptr;
  }
}

EndpointMachine::Connections* EndpointMachine::list_of(ConnectionState state) {
  switch (state) {
    case ConnectionState::Idle:
      return &idle_;
    case ConnectionState::Active:
      return &active_;
    case ConnectionState::Full:
      return &full_;
    case ConnectionState::Held:
      return &held_;
    case ConnectionState::Draining:
      return &draining_;
    default:
      return nullptr;
  }
}

void EndpointMachine::transition(ConnectionRecord& connection, ConnectionState next) {
  const ConnectionState before = connection.state;
  assert(before != ConnectionState::Closed);
  assert(before != ConnectionState::Draining || next == ConnectionState::Closed);
  if (before == next) return;
  connection.ListNode<ConnectionTag>::unlink();
  if (next == ConnectionState::Draining || next == ConnectionState::Closed) end_renewal(connection);
  if (int64_t* count = count_of(before)) --*count;
  if (int64_t* count = count_of(next)) ++*count;
  connection.state = next;
  if (Connections* list = list_of(next)) {
    if (next == ConnectionState::Idle) {
      list->push_front(connection);
    } else {
      list->push_back(connection);
    }
  }
  const bool was_open = before != ConnectionState::New && before != ConnectionState::Draining;
  if (was_open && (next == ConnectionState::Draining || next == ConnectionState::Closed))
    environment_.return_permit();
  arm_connection(connection);
}

void EndpointMachine::arm_connection(ConnectionRecord& connection) {
  Time deadline = kNever;
  // Without a lease it may still be full: a peer that gives no place at all for now.
  const bool unused = connection.state == ConnectionState::Idle ||
                      (connection.state == ConnectionState::Full && connection.leases == 0);
  if (unused) {
    deadline = std::min(connection.retire_at, idle_end(connection, false));
  } else if (connection.state == ConnectionState::Draining) {
    deadline = connection.drain_deadline;
  }
  connection.timer.arm(timers_, deadline);
}

void EndpointMachine::on_connection_timer(ConnectionRecord& connection) {
  if (connection.state == ConnectionState::Draining)
    return close(connection, CloseReason::DrainTimeout);
  const CloseReason* reason = worn_out(connection, now_);
  if (reason != nullptr && !renew(connection, *reason, now_)) return close(connection, *reason);
  // One that is kept for the endpoint's least size is looked at again later.
  if (connection.state == ConnectionState::Idle) {
    const Time again = deadline_after(now_, std::max(limits_.idle_timeout, kSecond));
    connection.timer.arm(timers_, std::min(connection.retire_at, again));
  }
}

// --- renewal -----------------------------------------------------------------------------------

bool EndpointMachine::in_use(const ConnectionRecord& connection, Time now) const {
  if (connection.leases > 0 || sized_down()) return true;
  return connection.uses > 0 && now - connection.idle_since < kRenewalIdle;
}

// In place of closing it for its age: true when it stays until its successor stands.
bool EndpointMachine::renew(ConnectionRecord& connection, CloseReason reason, Time now) {
  if (reason != CloseReason::Age || connection.renewing || shutting_down_ || !may_warm_ ||
      !in_use(connection, now))
    return false;
  connection.renewing = true;
  connection.retire_at = deadline_after(now, kRenewalGrace);
  ++renewing_;
  actions_.push_back({.kind = Action::Kind::Renewing, .connection = &connection});
  return true;
}

void EndpointMachine::end_renewal(ConnectionRecord& connection) {
  if (std::exchange(connection.renewing, false)) --renewing_;
}

// A connection has come: one that waited for it goes.
void EndpointMachine::retire_renewed(Time now) {
  if (renewing_ == 0) return;
  for (Connections* list : {&idle_, &active_, &full_, &held_}) {
    for (ConnectionRecord* c = list->front(); c != nullptr; c = list->next(*c)) {
      if (c->renewing) return drain(*c, CloseReason::Age, now);
    }
  }
}

void EndpointMachine::goes_away(ConnectionRecord& connection, Time now) {
  // A server that goes away after each use gains nothing by a successor that nobody waits for.
  const bool used = in_use(connection, now) && connection.uses > 1;
  drain(connection, CloseReason::Drained, now);
  if (used && multiplexed() && !shutting_down_ && counts_.open() + counts_.dialing == 0)
    fill_gap_ = true;
}

void EndpointMachine::close(ConnectionRecord& connection, CloseReason reason) {
  end_check(connection);
  const bool died = reason == CloseReason::Dead || reason == CloseReason::Stale;
  if (died && connection.uses == 0) {
    settle_at_ = std::max(settle_at_, deadline_after(connection.opened, kRedialDelay));
    if (now_ < settle_at_) {
      count_failure();
      warm_at_ = std::max(warm_at_, deadline_after(now_, redial_delay()));
    }
  }
  transition(connection, ConnectionState::Closed);
  actions_.push_back({.kind = Action::Kind::Close, .connection = &connection, .reason = reason});
}

void EndpointMachine::set_capacity(ConnectionRecord& connection, session::Capacity capacity) {
  connection.capacity = capacity;
  if (connection.state != ConnectionState::Draining &&
      connection.state != ConnectionState::Closed) {
    transition(connection, state_for(connection));
  }
}

void EndpointMachine::set_held(ConnectionRecord& connection, bool held) {
  connection.held = held;
  if (connection.state != ConnectionState::Draining &&
      connection.state != ConnectionState::Closed) {
    transition(connection, state_for(connection));
  }
}

void EndpointMachine::lease_ended(ConnectionRecord& connection, bool reusable, Time now,
                                  Nanos held) {
  now_ = now;
  demand_.served(held);
  assert(connection.leases > 0);
  --connection.leases;
  if (connection.state == ConnectionState::Closed) return;
  if (connection.state == ConnectionState::Draining) {
    if (connection.leases == 0) close(connection, CloseReason::Drained);
    return;
  }
  if (!reusable) {
    if (connection.leases == 0) return close(connection, CloseReason::Broken);
    return drain(connection, CloseReason::Broken, now);
  }
  if (connection.leases == 0) {
    connection.idle_since = now;
    connection.checked_at = now;
  }
  transition(connection, state_for(connection));
  arm_connection(connection);
  if (connection.state == ConnectionState::Idle) {
    const CloseReason* reason = worn_out(connection, now);
    if (reason != nullptr && !renew(connection, *reason, now)) close(connection, *reason);
  }
  check_invariants();
}

void EndpointMachine::end_check(ConnectionRecord& connection) {
  connection.checking = false;
  checking_ -= std::exchange(connection.check_places, 0);
}

void EndpointMachine::check_done(ConnectionRecord& connection, bool passed, Time now) {
  now_ = now;
  if (connection.state == ConnectionState::Closed) return;
  assert(connection.checking);
  if (!passed) return close(connection, CloseReason::Stale);
  end_check(connection);
  connection.checked_at = now;
  transition(connection, state_for(connection));
}

void EndpointMachine::drop_idle(Time now) {
  now_ = now;
  for (ConnectionRecord* c = idle_.front(); c != nullptr;) {
    ConnectionRecord* next = idle_.next(*c);
    if (c->idle_since < now && c->uses > 0) close(*c, CloseReason::Stale);
    c = next;
  }
  check_invariants();
}

void EndpointMachine::dead(ConnectionRecord& connection, CloseReason reason) {
  if (connection.state != ConnectionState::Closed) close(connection, reason);
}

void EndpointMachine::drain(ConnectionRecord& connection, CloseReason reason, Time now) {
  now_ = now;
  if (connection.state == ConnectionState::Draining || connection.state == ConnectionState::Closed)
    return;
  if (connection.leases == 0) return close(connection, reason);
  connection.drain_deadline =
      connection.leases_bounded ? kNever : deadline_after(now, limits_.drain_timeout);
  transition(connection, ConnectionState::Draining);
  if (counts_.draining > limits_.max_draining && !shutting_down_)
    close(*draining_.front(), CloseReason::DrainLimit);
  check_invariants();
}

// A connection that was just dialed is worth one lease even where none are kept.
Time EndpointMachine::idle_end(const ConnectionRecord& connection, bool kept) const {
  Nanos idle = kept ? connection.idle_limit : std::min(limits_.idle_timeout, connection.idle_limit);
  if (connection.uses == 0) {
    if (limits_.idle_timeout == 0) return kNever;
    idle = std::max(idle, std::min(limits_.idle_timeout, kFreshFor));
  }
  return deadline_after(connection.idle_since, idle);
}

// Why an idle connection must not be lent again, or nullptr.
const CloseReason* EndpointMachine::worn_out(const ConnectionRecord& connection, Time now) const {
  static constexpr CloseReason kAge = CloseReason::Age;
  static constexpr CloseReason kIdle = CloseReason::Idle;
  static constexpr CloseReason kUses = CloseReason::Uses;
  if (now >= connection.retire_at) return &kAge;
  if (limits_.max_uses > 0 && connection.uses >= static_cast<uint64_t>(limits_.max_uses))
    return &kUses;
  const bool kept = limits_.min > 0 && sized_down();
  return now >= idle_end(connection, kept) ? &kIdle : nullptr;
}

// --- dispatch ------------------------------------------------------------------------------------

// The running connection with the fewest leases that has room; of those that are old enough to go,
// none. Nearly always a handful: an exact choice costs less than two random ones.
ConnectionRecord* EndpointMachine::least_busy(bool within_ideal, Time now) {
  ConnectionRecord* best = nullptr;
  for (ConnectionRecord* c = active_.front(); c != nullptr;) {
    ConnectionRecord* next = active_.next(*c);
    const bool used_up = limits_.max_uses > 0 && c->uses >= static_cast<uint64_t>(limits_.max_uses);
    const bool aged = now >= c->retire_at && !renew(*c, CloseReason::Age, now);
    if (aged || used_up) {
      drain(*c, used_up ? CloseReason::Uses : CloseReason::Age, now);
    } else if ((!within_ideal || c->leases < c->capacity.soft) &&
               (best == nullptr || c->leases < best->leases)) {
      best = c;
    }
    c = next;
  }
  return best;
}

ConnectionRecord* EndpointMachine::pick(const WaiterRecord& waiter, Time now) {
  // A running connection with room below its soft limit first: fewer connections stay busy, the
  // rest can retire.
  if (ConnectionRecord* best = least_busy(true, now)) return best;
  while (ConnectionRecord* c = idle_.front()) {  // newest first: it is the least likely to be stale
    if (c->idle_since < waiter.fresh_after) break;
    const CloseReason* reason = worn_out(*c, now);
    if (reason != nullptr && !renew(*c, *reason, now)) {
      close(*c, *reason);
      continue;
    }
    if (!environment_.usable(*c)) {
      close(*c, CloseReason::Stale);
      continue;
    }
    // A check that passed in this turn lets one lease through, whatever check.after says.
    if (c->check_after != kNever && now - c->checked_at >= std::max<Nanos>(c->check_after, 1)) {
      c->checking = true;
      c->check_places = std::max<int64_t>(c->capacity.hard, 1);
      checking_ += c->check_places;
      transition(*c, ConnectionState::Held);
      actions_.push_back({.kind = Action::Kind::Check, .connection = c});
      if (checking_ >= counts_.waiters) return nullptr;
      continue;
    }
    return c;
  }
  return least_busy(false, now);
}

void EndpointMachine::grant(WaiterRecord& waiter, ConnectionRecord& connection, Time now) {
  unlink(waiter);
  if (limits_.codel) codel_.served(now, now - waiter.arrived);
  waiter.granted_at = now;
  failed_in_a_row_ = 0;
  ++connection.leases;
  waiter.use = ++connection.uses;
  connection.checked_at = now;
  transition(connection, state_for(connection));
  actions_.push_back({.kind = Action::Kind::Grant, .waiter = &waiter, .connection = &connection});
}

void EndpointMachine::grant_in_order(Time now) {
  for (WaiterRecord* w = waiters_.front(); w != nullptr && counts_.waiters > checking_;) {
    WaiterRecord* next = waiters_.next(*w);
    ConnectionRecord* connection = pick(*w, now);
    if (connection != nullptr) {
      grant(*w, *connection, now);
    } else if (w->fresh_after == 0 || idle_.front() == nullptr) {
      break;  // nothing for those behind it either
    }
    w = next;
  }
}

void EndpointMachine::grant_newest_first(Time now) {
  while (counts_.waiters > checking_) {
    WaiterRecord* newest = waiters_.back();
    ConnectionRecord* connection = newest == nullptr ? nullptr : pick(*newest, now);
    if (connection == nullptr) return;
    grant(*newest, *connection, now);
  }
}

void EndpointMachine::dispatch(Time now) {
  now_ = now;
  if (shutting_down_) return;
  // Nothing below may fail half-way for want of memory: a waiter would be lost.
  actions_.reserve(actions_.size() + static_cast<size_t>(2 * counts_.waiters + counts_.open()) + 8);
  if (limits_.codel && waiters_.front() == nullptr) codel_.emptied(now);
  if (limits_.codel && waiters_.front() != nullptr)
    codel_.looked(now, now - waiters_.front()->arrived);
  if (limits_.codel && codel_.standing()) {
    grant_newest_first(now);
  } else {
    grant_in_order(now);
  }
  start_dials(now);
  fail_overdue(now);
  // Where none are kept, one that was dialed for nobody goes as well: but not before all that were
  // asked for stand, since each would be dialed again.
  const bool keeps_none =
      limits_.idle_timeout == 0 && limits_.min_idle == 0 && limits_.min == 0 && warm_target_ == 0;
  while (keeps_none && idle_.front() != nullptr)
    close(*idle_.front(), CloseReason::Idle);
  check_invariants();
}

// Waiters whose time in the queue ended while something covered them, and nothing does any more;
// and those that would have to wait for the pool's total limit, and will not.
void EndpointMachine::fail_overdue(Time now) {
  if (!overdue_ && !permit_wanted_) return;
  overdue_ = false;
  int64_t covered = covered_by_dials();  // a check may take long, and says nothing of a new place
  for (WaiterRecord* w = waiters_.front(); w != nullptr;) {
    WaiterRecord* next = waiters_.next(*w);
    if (w->fail_when_full && permit_wanted_ && covered <= 0 && !w->resting) {
      fail_waiter(*w, Status::E_POOL_EXHAUSTED);
    } else if (now >= w->queue_deadline) {
      if (covered > 0 || w->resting) {
        overdue_ = true;
      } else {
        fail_waiter(*w, Status::E_QUEUE_TIMEOUT);
      }
    }
    if (covered > 0 && !w->resting) --covered;
    w = next;
  }
}

void EndpointMachine::on_timer(Time now) {
  now_ = now;
  timers_.fire_due(now);
}

void EndpointMachine::shut_down(Time deadline, Time now) {
  now_ = now;
  shutting_down_ = true;
  permit_wanted_ = false;
  redial_timer_.cancel();
  while (WaiterRecord* waiter = waiters_.front())
    fail_waiter(*waiter, Status::E_CLOSED);
  while (ConnectionRecord* c = idle_.front())
    close(*c, CloseReason::Shutdown);
  for (Connections* list : {&active_, &full_, &held_}) {
    while (ConnectionRecord* c = list->front())
      drain(*c, CloseReason::Shutdown, now);
  }
  for (ConnectionRecord* c = draining_.front(); c != nullptr;) {
    ConnectionRecord* next = draining_.next(*c);
    c->drain_deadline = std::min(c->drain_deadline, deadline);
    if (c->drain_deadline <= now) {
      close(*c, CloseReason::Shutdown);
    } else {
      arm_connection(*c);
    }
    c = next;
  }
  if (!dials_.empty()) actions_.push_back({.kind = Action::Kind::AbortDials});
}

void EndpointMachine::check_invariants() const {
  assert(counts_.idle >= 0 && counts_.active >= 0 && counts_.full >= 0 && counts_.held >= 0);
  assert(counts_.dialing == static_cast<int64_t>(dials_.size()));
  assert(counts_.open() + counts_.dialing <= limits_.max_connections + renewing_);
  assert(renewing_ >= 0 && renewing_ <= counts_.open());
  assert(resting_ >= 0 && resting_ <= counts_.dialing);
  assert(counts_.waiters >= 0 && counts_.draining >= 0 && checking_ >= 0);
}

}  // namespace conpool::pool
