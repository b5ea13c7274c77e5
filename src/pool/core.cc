// The core of a pool: mail, permits, endpoints, and the beginning and end of it all.
#include "pool/core.h"

#include <sched.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/limits.h"
#include "ops/error_object.h"
#include "ops/futex.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;

namespace {

constexpr Nanos kLookAgain = 100 * kMillisecond;  // whether the loop was parked meanwhile
constexpr size_t kLeastSweep = 256;               // endpoints from which unused ones are looked for

}  // namespace

// --- beginning
// ---------------------------------------------------------------------------------------

Result<Core*> Core::make(World world, SettingsPtr settings) {
  if (const Result<void> good = resolver::Resolver::check(settings->values()); !good)
    return fail(Failure(good.error()));
  Result<fault::Plan> plan = fault::Plan::parse(settings->values().fault_plan);
  if (!plan) return fail(std::move(plan.error()));
  Core* core = new Core(std::move(world), std::move(settings), std::move(*plan));
  if (!core->caller_) {
    Result<std::unique_ptr<io::LoopThread>> thread = io::LoopThread::start(*core->loop_);
    if (!thread) {
      core->shut_down();
      core->unref();
      return fail(std::move(thread.error()));
    }
    core->thread_ = std::move(*thread);
  }
  return core;
}

Core::Core(World world, SettingsPtr settings, fault::Plan plan)
    : settings_(std::move(settings)),
      caller_(world.simulated ||
              static_cast<LoopDrive>(settings_->values().loop_drive) == LoopDrive::Caller),
      simulated_(world.simulated),
      library_(std::move(world.library)),
      ring_(static_cast<size_t>(settings_->values().events_capacity),
            static_cast<observe::EventLevel>(settings_->values().events_level)),
      loop_(std::move(world.loop)),
      neighbours_(std::move(world.neighbours)),
      rng_(settings_->values().pool_seed != 0 ? static_cast<uint64_t>(settings_->values().pool_seed)
                                              : loop_->random_seed()) {
  const Values& values = settings_->values();
  created_at_ = loop_->now();
  virtual_now_ = created_at_;
  if (!plan.rules.empty()) {
    const uint64_t seed = values.fault_seed != 0  ? static_cast<uint64_t>(values.fault_seed)
                          : values.pool_seed != 0 ? static_cast<uint64_t>(values.pool_seed)
                                                  : loop_->random_seed();
    faults_ = std::make_unique<fault::Injector>(std::move(plan), seed, *loop_, events(), figures_);
  }
  resolver_ = std::make_unique<resolver::Resolver>(*loop_, values);
  address_order_ = std::make_unique<resolver::AddressOrder>(
      *loop_, static_cast<PolicyTable>(values.dns_policy_table));
  application_ = std::make_unique<ApplicationResolver>(*this, ops_in_flight_, ops_limit());
  contexts_ = std::make_unique<tls::ContextCache>(library_);
  sockets_ = std::make_unique<dial::SocketBudget>(values.pool_max_racing);
  pinned_ = std::make_shared<raw::PinnedBytes>(*this, values.pool_max_pinned);
  dial_environment_ = std::make_unique<dial::Environment>(
      dial::Environment{*loop_, *resolver_, *sockets_, std::make_shared<tls::SessionCache>(),
                        pinned_, faults_.get()});
  loop_->set_wake_handler([this] { mailbox_.drain(); });
  events().emit({.kind = EventKind::PoolCreated, .time = created_at_});
}

Core::~Core() = default;

void Core::unref() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// --- mail and turns
// ----------------------------------------------------------------------------------

void Core::post(ops::MailNode& node) noexcept {
  const bool first = mailbox_.push(node);
  // Pairs with shut_down, which sets ended_ and then drains: one of the two sees the other's write.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (ended_.load(std::memory_order_relaxed)) {
    drain_after_end();
  } else if (first) {
    loop_wake();
  }
}

void Core::loop_wake() noexcept {
  const std::lock_guard<std::mutex> lock(wake_mutex_);
  if (loop_ != nullptr) loop_->wake();
}

void Core::drain_after_end() noexcept {
  const std::lock_guard<std::recursive_mutex> lock(end_mutex_);
  while (!mailbox_.empty())
    mailbox_.drain();
}

Time Core::now() const noexcept {
  if (!simulated_) return ops::monotonic_now();
  // Inside a turn the loop's own time is ahead of what was stored at the end of the last one.
  if (driver_.load(std::memory_order_relaxed) == std::this_thread::get_id()) return loop_->now();
  return virtual_now_.load(std::memory_order_relaxed);
}

Status Core::run_turn(Time until) noexcept {
  // Who only looks (call) is done soon; who runs a turn may sleep in it.
  for (;;) {
    Use idle = Use::None;
    if (visitors_.load(std::memory_order_acquire) == 0 &&
        running_.compare_exchange_strong(idle, Use::Turn, std::memory_order_acquire))
      break;
    if (ending_.load(std::memory_order_acquire)) return Status::E_CLOSED;
    if (idle == Use::Turn) return Status::E_BUSY;
    sched_yield();
  }
  Status status = Status::OK;
  if (ended_.load(std::memory_order_acquire)) {
    status = Status::E_CLOSED;
  } else {
    driver_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    loop_->run_turn(until);
    driver_.store(std::thread::id(), std::memory_order_relaxed);
    virtual_now_.store(loop_->now(), std::memory_order_relaxed);
  }
  running_.store(Use::None, std::memory_order_release);
  // A host loop that polls the descriptor must come back for events that are still undelivered. One
  // that does not would only be kept from sleeping by what waits in another queue.
  if (status == Status::OK && fd_asked_.load(std::memory_order_relaxed) &&
      pending_events_.load(std::memory_order_relaxed) > 0)
    loop_wake();
  return status;
}

void Core::interrupt() noexcept {
  loop_wake();
}

int Core::fd() noexcept {
  fd_asked_.store(true);
  if (pending_events_.load() > 0) loop_wake();
  const std::lock_guard<std::mutex> lock(wake_mutex_);
  if (loop_ == nullptr) return static_cast<int>(Status::E_CLOSED);
  // Virtual time passes inside the calls alone: there is nothing to poll for.
  return simulated_ ? static_cast<int>(Status::E_UNSUPPORTED) : loop_->fd();
}

void Core::add_pending(int delta) noexcept {
  if (pending_events_.fetch_add(delta, std::memory_order_relaxed) + delta > 0) loop_wake();
}

struct Core::Waiting : ops::MailNode {
  Callback<void()>* function = nullptr;
  std::atomic<uint32_t> done{0};  // 1: ran; 2: the loop has ended
  Core* core = nullptr;
};

// The caller's drive: runs the function on this thread, between two turns of whoever drives.
Status Core::call_between_turns(Callback<void()>& function) {
  visitors_.fetch_add(1, std::memory_order_acq_rel);
  for (;;) {
    Use idle = Use::None;
    if (running_.compare_exchange_strong(idle, Use::Visit, std::memory_order_acquire)) break;
    if (ending_.load(std::memory_order_acquire)) {
      visitors_.fetch_sub(1, std::memory_order_acq_rel);
      return Status::E_CLOSED;
    }
    loop_wake();
    sched_yield();
  }
  const bool ended = ended_.load(std::memory_order_acquire);
  if (!ended) {
    mailbox_.drain();
    function();
  }
  running_.store(Use::None, std::memory_order_release);
  visitors_.fetch_sub(1, std::memory_order_acq_rel);
  if (!ended) loop_wake();  // what it deferred runs in the next turn
  return ended ? Status::E_CLOSED : Status::OK;
}

Status Core::call(Callback<void()> function) {
  if (caller_) return call_between_turns(function);
  // On the heap: a loop that was parked for the exit of the process keeps it for ever.
  auto* waiting = new Waiting;
  waiting->function = &function;
  waiting->core = this;
  waiting->run = [](ops::MailNode& node) {
    auto& call = static_cast<Waiting&>(node);
    const bool ended = call.core->ended_.load(std::memory_order_acquire);
    if (!ended) (*call.function)();
    call.done.store(ended ? 2 : 1, std::memory_order_release);
    ops::futex_wake(call.done);
  };
  post(*waiting);
  uint32_t done = 0;
  while ((done = waiting->done.load(std::memory_order_acquire)) == 0) {
    if (ops::futex_wait(waiting->done, 0, ops::monotonic_now() + kLookAgain)) continue;
    if (thread_ != nullptr && thread_->parked()) return Status::E_CLOSED;
  }
  delete waiting;
  return done == 1 ? Status::OK : Status::E_CLOSED;
}

// --- endpoints and permits
// ---------------------------------------------------------------------------

Result<void> Core::check_tls(const EndpointSpec& spec) {
  if (!spec.target.uses_tls) return {};
  const uint64_t id = spec.settings->id();
  {
    const std::lock_guard<std::mutex> lock(tls_mutex_);
    if (usable_tls_.contains(id)) return {};
  }
  Result<std::shared_ptr<tls::Context>> context =
      tls::make_context(library_, spec.settings->values());
  if (!context) return fail(std::move(context.error()));
  const std::lock_guard<std::mutex> lock(tls_mutex_);
  if (usable_tls_.size() < limits::kEndpointsPerPool) usable_tls_.insert(id);
  return {};
}

Result<std::shared_ptr<tls::Context>> Core::tls_context(const Settings& settings) {
  return contexts_->get(settings.id(), settings.values());
}

Result<Endpoint*> Core::endpoint(const std::shared_ptr<const EndpointSpec>& spec) {
  const auto found = by_key_.find(spec->key);
  if (found != by_key_.end()) return found->second;
  if (endpoints_.size() >= sweep_at_) {
    forget_unused_endpoints();
    sweep_at_ = std::max(kLeastSweep, 2 * endpoints_.size());
  }
  if (endpoints_.size() >= limits::kEndpointsPerPool && !forget_unused_endpoints()) {
    return fail(
        Status::E_ENDPOINTS_LIMIT,
        "a pool holds at most " + std::to_string(limits::kEndpointsPerPool) + " endpoints in use");
  }
  auto owned = std::make_unique<Endpoint>(*this, next_endpoint_++, spec);
  Endpoint* endpoint = owned.get();
  by_key_.emplace(spec->key, endpoint);
  endpoints_.emplace(endpoint->id(), std::move(owned));
  figures_.add(Counter::Endpoints);
  return endpoint;
}

bool Core::forget_unused_endpoints() {
  const size_t before = endpoints_.size();
  std::erase_if(endpoints_, [this](const auto& entry) {
    if (!entry.second->forgettable()) return false;
    by_key_.erase(entry.second->spec().key);
    events().emit(
        {.kind = EventKind::EndpointRemoved, .time = loop_->now(), .endpoint = entry.second->id()});
    return true;
  });
  figures_.set(Counter::Endpoints, static_cast<int64_t>(endpoints_.size()));
  return endpoints_.size() < before;
}

bool Core::take_permit(Endpoint& asker, bool for_waiter) {
  const int64_t limit = settings_->values().pool_max_connections;
  if (permits_used_ >= limit) {
    // Work goes before checks.
    for (const auto& [id, endpoint] : endpoints_) {
      if (for_waiter && endpoint->yield_check()) break;
    }
  }
  if (permits_used_ >= limit) {
    if (!for_waiter) return false;  // nobody else's connection closes for one that nobody asked for
    // Idle connections starve nobody: the longest-idle one of another endpoint makes room.
    Endpoint* victim = nullptr;
    for (const auto& [id, endpoint] : endpoints_) {
      if (endpoint.get() == &asker) continue;
      const ConnectionRecord* idle = endpoint->longest_idle();
      if (idle == nullptr) continue;
      if (victim == nullptr || idle->idle_since < victim->longest_idle()->idle_since)
        victim = endpoint.get();
    }
    if (victim == nullptr) {
      figures_.add(Counter::PermitsRefused);
      events().emit({.kind = EventKind::PermitRefused,
                     .time = loop_->now(),
                     .endpoint = asker.id(),
                     .first = limit});
      if (!std::exchange(asker.listed, true)) wanting_.push_back(asker.id());
      return false;
    }
    victim->evict_longest_idle();
  }
  ++permits_used_;
  return true;
}

void Core::return_permit() {
  assert(permits_used_ > 0);
  --permits_used_;
  offer_permits();
}

// A permit is free, or an idle connection could make room: those who were refused ask again, after
// the waiters of the endpoint where it happened.
void Core::offer_permits() {
  if (permit_round_due_ || wanting_.empty()) return;
  permit_round_due_ = true;
  loop_->defer([this] {
    permit_round_due_ = false;
    // In the order of asking; one that still gets none is listed again.
    std::deque<uint64_t> wanting;
    wanting.swap(wanting_);
    for (const uint64_t id : wanting) {
      const auto asker = endpoints_.find(id);
      if (asker == endpoints_.end()) continue;
      asker->second->listed = false;
      asker->second->touch();
    }
  });
}

void Core::use_resolver_queue(ops::Queue* queue, uint64_t user_data) {
  application_->set_queue(queue, user_data);
  resolver_->set_application(queue == nullptr ? nullptr : application_.get());
}

// --- the end
// -----------------------------------------------------------------------------------------

void Core::connection_closed() {
  finish_close_if_empty();
}

void Core::close(ops::Op* op, Nanos drain_timeout) {
  const Time deadline = drain_timeout < 0 ? kNever : deadline_after(loop_->now(), drain_timeout);
  events().emit({.kind = EventKind::PoolClosing,
                 .time = loop_->now(),
                 .first = drain_timeout,
                 .second = permits_used_});
  if (op != nullptr) {
    closes_.push_back(std::make_unique<PendingClose>(op, *this));
    op->set_task(closes_.back().get());
  }
  for (const auto& [id, endpoint] : endpoints_)
    endpoint->shut_down(deadline);
  finish_close_if_empty();
}

void Core::PendingClose::cancel(ops::Op& cancelled, Status reason) {
  cancelled.finish(reason, nullptr);
  std::erase_if(core.closes_, [this](const auto& close) { return close.get() == this; });
}

void Core::finish_close_if_empty() {
  if (closes_.empty() || empty_check_due_) return;
  empty_check_due_ = true;
  loop_->defer([this] {
    empty_check_due_ = false;
    uint64_t broken = 0;
    for (const auto& [id, endpoint] : endpoints_) {
      if (!endpoint->empty()) return;
      broken += endpoint->broken_by_shutdown();
    }
    events().emit({.kind = EventKind::PoolClosed, .time = loop_->now()});
    std::vector<std::unique_ptr<PendingClose>> closes;
    closes.swap(closes_);
    for (const auto& close : closes)
      close->op->finish(Status::OK, nullptr, broken);
  });
}

void Core::shut_down() {
  closing_.store(true, std::memory_order_release);
  ending_.store(true, std::memory_order_release);
  if (thread_ != nullptr && !thread_->stop_and_join())
    return;  // the process is exiting: leave everything as it is
  if (caller_) {
    // No thread may be inside a turn from here on.
    for (Use idle = Use::None;
         !running_.compare_exchange_weak(idle, Use::Turn, std::memory_order_acquire);
         idle = Use::None)
      loop_wake();
  }
  mailbox_.drain();
  for (const auto& [id, endpoint] : endpoints_)
    endpoint->shut_down(loop_->now());
  for (const auto& close : closes_)
    close->op->finish(Status::OK, nullptr);
  closes_.clear();
  loop_->run_turn(loop_->now());
  // From here on whoever posts runs the mail; not while the machinery is taken apart.
  std::unique_lock<std::recursive_mutex> end_lock(end_mutex_);
  ended_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  drain_after_end();
  by_key_.clear();
  endpoints_.clear();
  resolver_.reset();
  application_.reset();
  neighbours_.reset();
  while (loop_->live_handles() > 0)
    loop_->run_turn(loop_->now() + kMillisecond);
  loop_->run_turn(loop_->now());
  contexts_.reset();
  dial_environment_.reset();
  pinned_.reset();
  faults_.reset();
  if (thread_ == nullptr && library_ != nullptr) library_->thread_stop();
  {
    const std::lock_guard<std::mutex> lock(wake_mutex_);
    loop_.reset();
  }
  end_lock.unlock();
  running_.store(Use::None, std::memory_order_release);
}

}  // namespace conpool::pool
