// The driver of one endpoint: events into the machine, actions out of it.
#include "pool/endpoint.h"

#include <algorithm>
#include <cassert>

#include "ops/error_object.h"
#include "policy/call_outcome.h"
#include "pool/core.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;
using observe::HistogramId;

namespace {

constexpr Nanos kRefreshLeast = kSecond;
constexpr Nanos kRefreshMost = 30 * kSecond;
bool timed_out(Status status) {
  return status == Status::E_QUEUE_TIMEOUT || status == Status::E_TIMEOUT ||
         status == Status::E_DIAL_TIMEOUT;
}

constexpr size_t kMostAddressFigures = 256;  // beyond it those of vanished addresses are dropped

MachineLimits machine_limits(const Values& values) {
  MachineLimits limits;
  limits.max_connections = values.endpoint_max_connections;
  if (values.pool_max > 0)
    limits.max_connections = std::min(limits.max_connections, values.pool_max);
  limits.max_waiters = values.endpoint_max_waiters;
  limits.max_draining = values.endpoint_max_draining;
  limits.min_idle = std::min(values.pool_min_idle, limits.max_connections);
  limits.min = values.pool_min;
  limits.warm_step = values.pool_warm_step;
  limits.by_rate = static_cast<PoolSizing>(values.pool_sizing) == PoolSizing::Rate;
  limits.codel = static_cast<QueueDiscipline>(values.queue_discipline) == QueueDiscipline::Codel;
  limits.codel_target = values.queue_target;
  limits.codel_interval = values.queue_interval;
  limits.idle_timeout = values.pool_idle_timeout;
  limits.max_age = values.pool_max_age;
  limits.age_jitter = values.pool_age_jitter;
  limits.max_uses = values.pool_max_uses;
  limits.drain_timeout = values.drain_timeout;
  limits.check_after = check_after(values, dial::Protocol::Raw);
  return limits;
}

}  // namespace

Endpoint::Endpoint(Core& core, uint64_t id, std::shared_ptr<const EndpointSpec> spec)
    : core_(core),
      id_(id),
      spec_(std::move(spec)),
      events_(core.events().with_endpoint(id)),
      figures_(observe::MetricScope::ENDPOINT, &core.figures()),
      balancer_(policy::balancer_options(values()), core.rng().next()),
      machine_(machine_limits(values()), *this, core.rng().next()),
      gate_(values(), core.rng().next(), events_, figures_),
      retry_budget_(policy::retry_budget_options(values())),
      memory_(values().http_memory) {
  timer_.set_callback([this] {
    machine_.on_timer(now());
    run_actions();
    touch();
  });
  refresh_timer_.set_callback([this] { refresh(); });
  parked_timer_.set_callback([this] { touch(); });
  figures_.set(Counter::RetryTokens, retry_budget_.tokens());
  events_.emit({.kind = EventKind::EndpointCreated,
                .time = now(),
                .first = static_cast<int64_t>(spec_->settings->id()),
                .text = spec_->name});
  set_up_health();
  if (!spec_->target.addresses.empty()) use_addresses(spec_->target.addresses);
  if (values().pool_min_idle > 0 || values().pool_min > 0) touch();
}

Endpoint::~Endpoint() {
  stop_checks();
  runs_.clear();
  for (auto& [id, connection] : connections_)
    connection->close(false);
}

io::Loop& Endpoint::loop() {
  return core_.loop();
}
Time Endpoint::now() {
  return core_.loop().now();
}
Rng& Endpoint::rng() {
  return core_.rng();
}
const dial::Environment& Endpoint::dial_environment() {
  return core_.dial_environment();
}
Result<std::shared_ptr<tls::Context>> Endpoint::tls_context() {
  return core_.tls_context(*spec_->settings);
}

observe::Metrics& Endpoint::figures_of(const SocketAddress& address) {
  std::unique_ptr<observe::Metrics>& figures = address_figures_[address];
  if (figures == nullptr)
    figures = std::make_unique<observe::Metrics>(observe::MetricScope::ADDRESS, &figures_);
  return *figures;
}

// --- turns
// -----------------------------------------------------------------------------------------

void Endpoint::touch() {
  if (touched_) return;
  touched_ = true;
  loop().defer([this] {
    touched_ = false;
    dispatch();
  });
}

// Another resolv.conf means another network: what was measured on the old one does not hold on it
// (RFC 8305 section 4).
void Endpoint::forget_old_network() {
  const uint64_t reloads = core_.resolver().counters().config_reloads;
  if (reloads == seen_reloads_) return;
  seen_reloads_ = reloads;
  balancer_.network_changed(now());
  core_.address_order().forget();
}

void Endpoint::dispatch() {
  forget_old_network();
  retry_paced();
  forecast();
  follow_breaker();
  machine_.dispatch(now());
  run_actions();
  end_preconnects(nullptr);
  arm_timer();
  arm_refresh();
}

void Endpoint::arm_timer() {
  Time deadline = machine_.next_deadline();
  for (const std::unique_ptr<DialRun>& run : runs_) {
    if (run->paced()) deadline = std::min(deadline, run->retry_at());
  }
  if (deadline != timer_.deadline()) loop().arm(timer_, deadline);
}

void Endpoint::retry_paced() {
  bool try_next = balancer_.generation() != paced_generation_;
  // By index: a run that begins may fail and leave the list.
  for (size_t i = 0; i < runs_.size(); ++i) {
    DialRun& run = *runs_[i];
    if (!run.paced() || (!try_next && now() < run.retry_at())) continue;
    run.try_begin();
    if (run.paced()) break;  // the balancer says wait: it would to the next one, too
    try_next = true;
  }
  paced_generation_ = balancer_.generation();
}

void Endpoint::run_actions() {
  // An action may cause events whose actions join the list: one loop runs them all, in order.
  if (running_actions_) return;
  running_actions_ = true;
  std::vector<Action>& actions = machine_.actions();
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action action = actions[i];
    switch (action.kind) {
      case Action::Kind::Grant:
        grant(static_cast<Waiter&>(*action.waiter), static_cast<Connection&>(*action.connection));
        break;
      case Action::Kind::StartDial:
        start_dial(action.dial, static_cast<Waiter*>(action.waiter));
        break;
      case Action::Kind::AbortDials:
        while (!runs_.empty())
          abort_run(*runs_.back());
        break;
      case Action::Kind::AbortDial:
        for (const std::unique_ptr<DialRun>& run : runs_) {
          if (run->id() != action.dial) continue;
          abort_run(*run);
          break;
        }
        break;
      case Action::Kind::Check:
        start_check(static_cast<Connection&>(*action.connection));
        break;
      case Action::Kind::FailWaiter:
        if (action.waiter != nullptr)
          fail_waiter(static_cast<Waiter&>(*action.waiter), action.status, action.dial);
        break;
      case Action::Kind::Renewing:
        renewing(static_cast<Connection&>(*action.connection));
        break;
      case Action::Kind::Close:
        close_connection(static_cast<Connection&>(*action.connection), action.reason);
        break;
    }
  }
  actions.clear();
  failed_dials_.clear();
  running_actions_ = false;
}

// --- waiters
// ---------------------------------------------------------------------------------------

void Endpoint::wait(Waiter& waiter) {
  const Values& v = *waiter.values;
  const Time start = now();
  if (waiter.ordinal == 0) waiter.ordinal = core_.next_request();
  waiter.fail_when_full = static_cast<WhenExhausted>(v.pool_exhausted) == WhenExhausted::Fail;
  waiter.queue_deadline = deadline_after(start, v.queue_timeout);
  start_dial_time(waiter, v.connect_retries);
  waiter.total_deadline = v.total_timeout == 0 ? kNever : deadline_after(start, v.total_timeout);
  enter(waiter, false);
}

void Endpoint::wait_again(Waiter& waiter) {
  end_rest(waiter);
  waiter.queue_deadline = deadline_after(now(), waiter.values->queue_timeout);
  start_dial_time(waiter, 0);
  enter(waiter, true);
}

// Its own dial may take all its rounds; the waiter stays with it.
void Endpoint::start_dial_time(Waiter& waiter, int64_t retries) {
  const Values& v = *waiter.values;
  waiter.dial_deadline = deadline_after(now(), v.dial_timeout);
  for (int64_t i = 0; i < retries; ++i) {
    waiter.dial_deadline =
        deadline_after(waiter.dial_deadline, v.dial_timeout + v.connect_retry_delay_max);
  }
}

void Endpoint::rest(Waiter& waiter) {
  if (!machine_.shutting_down()) return resting_.push_back(waiter);
  machine_.refuse(waiter, Status::E_CLOSED);
  touch();
}

void Endpoint::end_rest(Waiter& waiter) {
  waiter.ListNode<ParkedTag>::unlink();
  machine_.remove_waiter(waiter);  // refused, and not told yet
}

void Endpoint::enter_line(Waiter& waiter, bool again) {
  if (again) {
    machine_.requeue(waiter, now());
  } else {
    machine_.add_waiter(waiter, now());
  }
  if (waiter.ListNode<WaiterTag>::linked() && events_.wants(EventKind::WaiterQueued)) {
    events_.emit({.kind = EventKind::WaiterQueued,
                  .time = now(),
                  .op = waiter.op_id,
                  .first = machine_.counts().waiters});
  }
  touch();
}

void Endpoint::leave(Waiter& waiter, Status reason) {
  if (waiter.ListNode<ParkedTag>::linked()) {
    unpark(waiter);
  } else {
    machine_.remove_waiter(waiter);
  }
  report(waiter, policy::CallOutcome::Ignored);
  figures_.add(Counter::WaitersCancelled);
  events_.emit({.kind = EventKind::WaiterCancelled,
                .time = now(),
                .op = waiter.op_id,
                .status = reason,
                .first = now() - waiter.arrived});
  touch();
}

void Endpoint::grant(Waiter& waiter, Connection& connection) {
  const Nanos waited = now() - waiter.arrived;
  connection.begin_lease(waiter);
  figures_.record(HistogramId::QueueWait, waited);
  if (events_.wants(EventKind::ConnectionLeased)) {
    events_.emit({.kind = EventKind::ConnectionLeased,
                  .time = now(),
                  .connection = connection.id(),
                  .op = waiter.op_id,
                  .first = static_cast<int64_t>(waiter.use),
                  .second = waited});
  }
  ++waiter.leases_got;
  inject_faults(waiter, connection);
  waiter.granted(connection, waiter.use > 1);
}

void Endpoint::inject_faults(const Waiter& waiter, const Connection& connection) {
  fault::Injector* faults = core_.faults();
  if (faults == nullptr) return;
  faults->before_send({.endpoint = spec_->target.text,
                       .peer = connection.address(),
                       .stream = connection.facts()->tapped,
                       .request = waiter.ordinal,
                       .attempt = waiter.leases_got,
                       .alone = connection.leases <= 1,
                       .endpoint_id = id_,
                       .connection_id = connection.id(),
                       .op = waiter.op_id});
}

// "10 open, 0 idle, 0 dialing, limit 10; 3 waiting; the oldest lease is 2.5s old".
std::string Endpoint::state_text() const {
  const MachineCounts& counts = machine_.counts();
  Time oldest = kNever;
  for (const auto& [id, connection] : connections_)
    oldest = std::min(oldest, connection->oldest_lease());
  std::string text = std::to_string(counts.open()) + " open, " +
                     std::to_string(counts.active + counts.full) + " active, " +
                     std::to_string(counts.idle) + " idle, " +
                     (counts.held > 0 ? std::to_string(counts.held) + " checked or held, " : "") +
                     std::to_string(counts.dialing) + " dialing, limit " +
                     std::to_string(machine_.most_connections()) + "; " +
                     std::to_string(counts.waiters + parked_count_) + " waiting";
  if (oldest != kNever)
    text += "; the oldest lease is " + duration_text(core_.loop().now() - oldest) + " old";
  if (machine_.wants_permit()) {
    text += "; all " + std::to_string(core_.settings().values().pool_max_connections) +
            " connections of the pool are taken (pool.max_connections)";
  }
  return text;
}

// It left before its time: nothing could have come any more.
bool Endpoint::left_early(Status status, const Waiter& waiter) {
  return status == Status::E_QUEUE_TIMEOUT && now() < waiter.queue_deadline;
}

ErrorPtr Endpoint::error_for(Status status, const Waiter& waiter) {
  if (status == Status::E_BREAKER_OPEN) return breaker_error();
  auto error = std::make_shared<Error>();
  error->cause.status = status;
  error->phase = Phase::Queue;
  switch (status) {
    case Status::E_WAITERS_LIMIT:
      error->cause.detail = std::to_string(machine_.counts().waiters + parked_count_) +
                            " ops wait already (endpoint.max_waiters = " +
                            std::to_string(values().endpoint_max_waiters) + ")";
      break;
    case Status::E_QUEUE_TIMEOUT:
    case Status::E_TIMEOUT:
    case Status::E_DIAL_TIMEOUT:
      error->cause.detail = "waited " + duration_text(now() - waiter.arrived);
      if (left_early(status, waiter))
        error->cause.detail += ", and no place can come before its deadline";
      error->cause.detail += " (" + state_text() + ")";
      break;
    case Status::E_POOL_EXHAUSTED:
      error->cause.detail = state_text();
      break;
    default:
      break;
  }
  error->context.push_back("waiting for a connection to " + spec_->target.text);
  if ((timed_out(status) || status == Status::E_POOL_EXHAUSTED) && last_failed_dial_ != nullptr) {
    error->context.push_back("the last dial failed: " + last_failed_dial_->line());
    for (const Attempt& attempt : last_failed_dial_->attempts)
      error->add_attempt(attempt);
  }
  return error;
}

void Endpoint::fail_waiter(Waiter& waiter, Status status, uint64_t dial) {
  ErrorPtr error;
  if (dial != 0) {
    error = failed_dials_.at(dial);
    status = error->cause.status;
    report(waiter, policy::outcome_of_dial(error->cause), error->line());
    figures_.add(Counter::WaitersFailed);
  } else {
    error = error_for(status, waiter);
    // Only a dial that hangs says something of the server.
    const bool hung = status == Status::E_DIAL_TIMEOUT;
    report(waiter, hung ? policy::CallOutcome::Failure : policy::CallOutcome::Ignored,
           hung ? error->line() : std::string());
    if (status == Status::E_WAITERS_LIMIT) {
      figures_.add(Counter::WaitersRefused);
      events_.emit({.kind = EventKind::LimitReached,
                    .time = now(),
                    .op = waiter.op_id,
                    .first = values().endpoint_max_waiters,
                    .text = "endpoint.max_waiters"});
    } else if (timed_out(status)) {
      figures_.add(left_early(status, waiter) ? Counter::WaitersShed : Counter::WaitersTimedOut);
    }
  }
  events_.emit(
      {.kind = dial == 0 && timed_out(status) ? EventKind::WaiterTimedOut : EventKind::WaiterFailed,
       .time = now(),
       .op = waiter.op_id,
       .status = status,
       .first = now() - waiter.arrived});
  waiter.failed(error);
}

// --- dials
// -----------------------------------------------------------------------------------------

void Endpoint::start_dial(uint64_t id, Waiter* sponsor) {
  std::shared_ptr<const Values> values_for =
      sponsor != nullptr ? sponsor->values
                         : std::shared_ptr<const Values>(spec_->settings, &values());
  runs_.push_back(std::make_unique<DialRun>(*this, id, std::move(values_for)));
  DialRun& run = *runs_.back();
  for (const std::unique_ptr<DialRun>& other : runs_) {
    if (other.get() != &run && other->paced()) return;  // in line behind it
  }
  run.try_begin();
}

void Endpoint::abort_run(DialRun& run) {
  const uint64_t id = run.id();
  run.abort();
  remove_run(run);
  machine_.dial_aborted(id, now());
  touch();
}

void Endpoint::remove_run(DialRun& run) {
  const auto at =
      std::find_if(runs_.begin(), runs_.end(), [&run](const auto& r) { return r.get() == &run; });
  assert(at != runs_.end());
  std::unique_ptr<DialRun> gone = std::move(*at);
  runs_.erase(at);
  loop().discard(std::unique_ptr<io::Discardable>(gone.release()));
}

void Endpoint::count_opened(const dial::Established& established, observe::Metrics& at) {
  figures_.add(Counter::DialsDone);
  figures_.record(HistogramId::DialTime, established.timing.total);
  if (established.timing.secured > 0) {
    figures_.record(HistogramId::TlsTime,
                    established.timing.secured - established.timing.connected);
  }
  at.add(Counter::AttemptsWon);
  at.add(Counter::ConnectionsOpened);
  if (established.tls.has_value())
    at.add(established.tls->resumed ? Counter::TlsResumed : Counter::TlsFull);
  if (established.protocol == dial::Protocol::Http1) at.add(Counter::Http1Opened);
  if (established.protocol == dial::Protocol::Http2) at.add(Counter::H2Opened);
}

void Endpoint::dial_succeeded(DialRun& run, dial::Established established) {
  const uint64_t dial = run.id();
  remove_run(run);
  observe::Metrics& at = figures_of(established.address);
  count_opened(established, at);
  last_failed_dial_.reset();
  const uint64_t id = core_.next_connection_id();
  auto owned = std::make_unique<Connection>(*this, id, std::move(established), at);
  Connection& connection = *owned;
  connections_.emplace(id, std::move(owned));
  note_protocol(connection);
  connection.start();
  machine_.dial_succeeded(dial, connection, connection.session().capacity(), now());
  events_.emit({.kind = EventKind::ConnectionOpened,
                .time = now(),
                .connection = id,
                .first = machine_.counts().open(),
                .text = connection.facts()->address});
  end_preconnects(nullptr);
  run_actions();
  touch();
  core_.offer_permits();
}

void Endpoint::dial_failed(DialRun& run, std::shared_ptr<Error> error) {
  const uint64_t dial = run.id();
  remove_run(run);
  events_.emit({.kind = EventKind::DialFailed,
                .time = now(),
                .status = error->cause.status,
                .os_error = error->cause.os_error,
                .first = static_cast<int64_t>(dial),
                .second = machine_.counts().waiters,
                .text = error->context.empty() ? "" : error->context.front()});
  const bool tried = error->phase == Phase::Connect || error->phase == Phase::Tls;
  if (tried && !spec_->target.host.name.empty()) core_.resolver().mark_suspect(spec_->target.host);
  if (error->cause.status == Status::E_DIAL_TIMEOUT) figures_.add(Counter::ErrorETIMEDOUT);
  last_failed_dial_ = error;
  end_preconnects(error);
  const bool shortage = policy::local_shortage(error->cause);
  failed_dials_.emplace(dial, std::move(error));
  machine_.dial_failed(dial, now(), shortage);
  run_actions();
  touch();
}

// --- connections
// -------------------------------------------------------------------------------------

void Endpoint::lease_ended(Connection& connection, bool reusable, const Waiter& waiter) {
  figures_.record(HistogramId::LeaseTime, now() - waiter.granted_at);
  const EventKind kind = reusable ? EventKind::ConnectionReturned : EventKind::ConnectionBroken;
  if (events_.wants(kind)) {
    events_.emit({.kind = kind,
                  .time = now(),
                  .connection = connection.id(),
                  .first = static_cast<int64_t>(connection.uses)});
  }
  machine_.lease_ended(connection, reusable, now(), now() - waiter.granted_at);
  run_actions();
  touch();
  core_.offer_permits();
}

void Endpoint::capacity_changed(Connection& connection, session::Capacity capacity) {
  // What the peer set, not what is left of it: a connection that drains has no places.
  if (connection.protocol() == dial::Protocol::Http2) {
    const uint32_t limit = connection.http().figures().peer_limit;
    if (limit > 0) memory_.note_stream_limit(limit);
  }
  machine_.set_capacity(connection, capacity);
  touch();
}

void Endpoint::hold_changed(Connection& connection, bool held) {
  machine_.set_held(connection, held);
  touch();
}

void Endpoint::renewing(const Connection& connection) {
  figures_of(connection.address()).add(Counter::ConnectionsRenewed);
  events_.emit({.kind = EventKind::ConnectionRenewing,
                .time = now(),
                .connection = connection.id(),
                .first = now() - connection.opened});
}

void Endpoint::connection_drains(Connection& connection) {
  machine_.goes_away(connection, now());
  run_actions();
  touch();
}

void Endpoint::emit(EventKind kind, const Connection& connection) {
  events_.emit({.kind = kind, .time = now(), .connection = connection.id()});
}

void Endpoint::connection_died(Connection& connection, const Failure& why) {
  const bool unsolicited = why.status == Status::E_UNSOLICITED;
  connection.figures().add(unsolicited                                 ? Counter::ClosedUnsolicited
                           : why.status == Status::E_CONNECTION_CLOSED ? Counter::ClosedPeer
                                                                       : Counter::ClosedError);
  events_.emit(
      {.kind = unsolicited ? EventKind::ConnectionUnsolicited : EventKind::ConnectionPeerClosed,
       .time = now(),
       .connection = connection.id(),
       .status = why.status,
       .os_error = why.os_error,
       .first = now() - connection.idle_since});
  if (connection.protocol() == dial::Protocol::Raw)
    connection.report_holders(policy::CallOutcome::Failure, failure_text(why));
  const bool ended = why.status == Status::E_CONNECTION_CLOSED;
  if (ended && spec_->kind == Kind::Http && !connection.leased() && connection.uses > 0)
    memory_.note_idle_close(now(), now() - connection.idle_since);
  machine_.dead(connection, CloseReason::Dead);
  run_actions();
  touch();
}

void Endpoint::close_connection(Connection& connection, CloseReason reason) {
  static constexpr Counter kCounters[] = {
      Counter::ClosedIdle,    Counter::ClosedAge,          Counter::ClosedUses,
      Counter::ClosedPeer,    Counter::ClosedBroken,       Counter::ConnectionsClosed,
      Counter::ClosedDrained, Counter::ClosedDrainExpired, Counter::ClosedDrained,
      Counter::ClosedYielded, Counter::ClosedVanished,     Counter::ClosedPool};
  const Counter counter = kCounters[static_cast<size_t>(reason)];
  if (counter != Counter::ConnectionsClosed)
    connection.figures().add(counter);  // Dead was counted with its cause
  connection.figures().add(Counter::ConnectionsClosed);
  figures_.record(HistogramId::ConnectionAge, now() - connection.opened);
  emit_close(connection, reason);
  const bool leased = connection.leased();
  if (leased) ++broken_by_shutdown_;
  // A leased connection that has to go is reset: its peer must not take the cut for an end.
  connection.close(leased && connection.protocol() != dial::Protocol::Http2);
  balancer_.connection_closed(connection.address());
  const auto at = connections_.find(connection.id());
  assert(at != connections_.end());
  std::unique_ptr<Connection> gone = std::move(at->second);
  connections_.erase(at);
  loop().discard(std::unique_ptr<io::Discardable>(gone.release()));
  touch();
  core_.connection_closed();
}

void Endpoint::emit_close(const Connection& connection, CloseReason reason) {
  static constexpr std::string_view kReasons[] = {"idle",
                                                  "age",
                                                  "uses",
                                                  "stale",
                                                  "broken",
                                                  "dead",
                                                  "drained",
                                                  "drain deadline",
                                                  "drain limit",
                                                  "made room",
                                                  "address vanished",
                                                  "pool closed"};
  events_.emit({.kind = EventKind::ConnectionClosed,
                .time = now(),
                .connection = connection.id(),
                .first = static_cast<int64_t>(connection.uses),
                .second = now() - connection.opened,
                .text = kReasons[static_cast<size_t>(reason)]});
}

void Endpoint::evict_longest_idle() {
  ConnectionRecord* oldest = machine_.longest_idle();
  assert(oldest != nullptr);
  machine_.dead(*oldest, CloseReason::Evicted);
  run_actions();
}

void Endpoint::shut_down(Time deadline) {
  stop_checks();
  refresh_.reset();
  refresh_timer_.cancel();
  end_preconnects(make_error({.status = Status::E_CLOSED}, Phase::Queue,
                             {"connecting to " + spec_->target.text}));
  machine_.shut_down(deadline, now());
  parked_timer_.cancel();
  while (Waiter* waiter = parked_.front())
    fail_parked(*waiter, Status::E_CLOSED);
  while (Waiter* waiter = resting_.pop_front())
    machine_.refuse(*waiter, Status::E_CLOSED);
  run_actions();
  touch();
}

bool Endpoint::take_permit(bool for_waiter) {
  return core_.take_permit(*this, for_waiter);
}
void Endpoint::return_permit() {
  core_.return_permit();
}
bool Endpoint::usable(ConnectionRecord& connection) {
  // One that came in this very turn is lent as it is: the caller then reads the peer's end. Dialing
  // again instead would hammer a server that accepts and closes.
  if (connection.uses == 0 && connection.opened == now()) return true;
  return static_cast<Connection&>(connection).usable();
}

// --- addresses
// -----------------------------------------------------------------------------------------

bool Endpoint::needs_lookup() const {
  if (!spec_->target.addresses.empty()) return false;
  // A resolver that fails or is slow costs nothing while the last answer stands: the refresh brings
  // the next one.
  if (refresh_ != nullptr && !book_.empty()) return false;
  return !book_.last_good();
}

void Endpoint::note_answer(Family family, const resolver::FamilyAnswer& answer) {
  forget_old_network();
  if (answer.addresses.has_value() && !answer.stale) refresh_delay_ = 0;
  if (!book_.note(family, answer)) {
    if (!book_.empty() && known_.empty()) use_addresses(book_.all());
    return;
  }
  use_addresses(book_.all());
  drain_vanished();
}

void Endpoint::use_addresses(const std::vector<SocketAddress>& addresses) {
  std::vector<policy::SortedAddress> sorted;
  std::vector<SocketAddress> next;
  const std::vector<resolver::OrderedAddress> order = core_.address_order().order(addresses);
  // Addresses of a name have no port yet; those of a list have their own.
  const std::vector<uint16_t> none{0};
  const std::vector<uint16_t>& ports = spec_->target.addresses.empty() ? spec_->target.ports : none;
  const uint32_t classes = order.empty() ? 0 : order.back().class_index + 1;
  uint32_t position = 0;
  // Port by port: an address on the second port is a choice of its own, after all on the first.
  for (const uint16_t port : ports) {
    for (const resolver::OrderedAddress& ordered : order) {
      SocketAddress address = port == 0 ? ordered.address : ordered.address.with_port(port);
      sorted.push_back({address, position * classes + ordered.class_index});
      next.push_back(std::move(address));
    }
    ++position;
  }
  for (const SocketAddress& address : next) {
    if (std::find(known_.begin(), known_.end(), address) != known_.end()) continue;
    figures_.add(Counter::AddressesAdded);
    events_.emit({.kind = EventKind::AddressAdded, .time = now(), .text = address.text()});
  }
  for (const SocketAddress& address : known_) {
    if (std::find(next.begin(), next.end(), address) != next.end()) continue;
    figures_.add(Counter::AddressesVanished);
    events_.emit({.kind = EventKind::AddressVanished,
                  .time = now(),
                  .first = balancer_.load(address),
                  .text = address.text()});
  }
  known_ = std::move(next);
  if (address_figures_.size() > kMostAddressFigures) {
    std::erase_if(address_figures_, [this](const auto& entry) {
      return std::find(known_.begin(), known_.end(), entry.first) == known_.end() &&
             !has_connection_to(entry.first);
    });
  }
  balancer_.set_addresses(now(), sorted);
  figures_.set(Counter::Addresses, static_cast<int64_t>(known_.size()));
  follow_addresses();
}

bool Endpoint::has_connection_to(const SocketAddress& address) const {
  return std::any_of(connections_.begin(), connections_.end(),
                     [&address](const auto& entry) { return entry.second->address() == address; });
}

void Endpoint::drain_vanished() {
  std::vector<Connection*> leaving;
  for (const auto& [id, connection] : connections_) {
    if (!balancer_.present(connection->address())) leaving.push_back(connection.get());
  }
  const bool at_once = static_cast<Vanished>(values().balance_vanished) == Vanished::Close;
  for (Connection* connection : leaving) {
    if (at_once) {
      machine_.dead(*connection, CloseReason::Vanished);
    } else {
      events_.emit({.kind = EventKind::ConnectionDraining,
                    .time = now(),
                    .connection = connection->id(),
                    .first = connection->leases,
                    .text = "its address vanished"});
      machine_.drain(*connection, CloseReason::Vanished, now());
    }
  }
  run_actions();
  touch();
}

// While the endpoint is in use its name is resolved again whenever an answer's time is over.
void Endpoint::arm_refresh() {
  if (!spec_->target.addresses.empty() || refresh_ != nullptr || machine_.shutting_down()) return;
  const MachineCounts& counts = machine_.counts();
  const bool busy = counts.open() + counts.waiters + counts.dialing > 0;
  Time deadline = kNever;
  if (busy && !book_.empty()) {
    deadline = std::max(book_.expires(), deadline_after(now(), 0));
    if (book_.last_good())
      deadline = deadline_after(now(), std::max(refresh_delay_, kRefreshLeast));
  }
  if (deadline == kNever) return refresh_timer_.cancel();
  if (refresh_timer_.armed() && refresh_timer_.deadline() <= deadline) return;
  loop().arm(refresh_timer_, deadline);
}

void Endpoint::refresh() {
  if (refresh_ != nullptr || machine_.shutting_down()) return;
  refresh_delay_ = std::clamp(refresh_delay_ * 2, kRefreshLeast, kRefreshMost);
  const resolver::LookupOptions options = resolver::LookupOptions::from(values());
  refresh_waits_ = (options.v6 ? 1 : 0) + (options.v4 ? 1 : 0);
  refresh_ = core_.resolver().lookup(spec_->target.host, options, this);
}

void Endpoint::on_family(Family family, resolver::FamilyAnswer answer) {
  note_answer(family, answer);
  if (--refresh_waits_ > 0) return;
  refresh_.reset();
  events_.emit({.kind = EventKind::EndpointResolved,
                .time = now(),
                .first = static_cast<int64_t>(known_.size())});
  // An answer that is over already (TTL 0) is asked for again after a while, not in a circle.
  loop().arm(refresh_timer_, std::max(book_.expires(), deadline_after(now(), refresh_delay_)));
  touch();
}

void Endpoint::on_update(Family family, resolver::FamilyAnswer answer) {
  note_answer(family, answer);
}

}  // namespace conpool::pool
