// Core: one pool's loop and all that lives on it; what every handle of the pool refers to.
//
// Threads. The loop's thread (or, with loop.drive = caller, the thread inside run_turn) owns
// everything below "loop thread". Other threads post mail, or ask by call(). The core is counted:
// handles, ops and queues keep it, the loop and its objects end with shut_down(), whatever still
// refers to the core.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>

#include "fault/injector.h"
#include "io/uv/loop_thread.h"
#include "observe/counters.h"
#include "observe/events.h"
#include "observe/metrics.h"
#include "ops/mailbox.h"
#include "ops/op.h"
#include "ops/port.h"
#include "pool/application_resolver.h"
#include "pool/endpoint.h"
#include "resolver/order.h"
#include "tls/context.h"

namespace conpool::pool {

// Where a pool runs: the real world, or a simulated one.
struct World {
  std::unique_ptr<io::Loop> loop;
  std::shared_ptr<tls::Library> library;
  bool simulated = false;  // has no thread of its own
  // What else lives on the loop: simulated servers. Goes before the loop, after the pool's own.
  std::shared_ptr<void> neighbours = nullptr;
};

class Core final : public ops::Port, public ops::Drive {
 public:
  // Starts the loop's thread unless the drive is the caller's. One reference is the caller's.
  static Result<Core*> make(World world, SettingsPtr settings);

  // --- ops::Port and ops::Drive, any thread
  void post(ops::MailNode& node) noexcept override;
  Time now() const noexcept override;
  ops::Drive* caller_drive() noexcept override { return caller() ? this : nullptr; }
  void ref() noexcept override { references_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept override;
  bool caller() const noexcept override { return caller_; }
  Status run_turn(Time until) noexcept override;
  void interrupt() noexcept override;
  int fd() noexcept override;
  void add_pending(int delta) noexcept override;

  // --- any thread
  const Settings& settings() const { return *settings_; }
  bool closed() const { return closing_.load(std::memory_order_acquire); }
  void refuse_new_ops() { closing_.store(true, std::memory_order_release); }
  // The loop is gone: mail that still comes is run by whoever posts it.
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  std::atomic<int64_t>& ops_in_flight() { return ops_in_flight_; }
  int64_t ops_limit() const { return settings_->values().pool_max_ops; }
  observe::EventRing& ring() { return ring_; }
  Time created_at() const { return created_at_; }
  // Checks that a TLS context can be made of the spec's settings; remembers those that could.
  Result<void> check_tls(const EndpointSpec& spec);
  // Runs `function` on the loop between two of its steps, and waits for it. E_CLOSED once the pool
  // is freed; E_BUSY while another thread drives (loop.drive = caller).
  Status call(Callback<void()> function);
  // Ends the loop: everything closes at once, every op ends. Once, by the thread that frees the
  // pool.
  void shut_down();

  // --- loop thread
  io::Loop& loop() { return *loop_; }
  Rng& rng() { return rng_; }
  observe::Emitter events() { return observe::Emitter(&ring_); }
  observe::Metrics& figures() { return figures_; }
  resolver::Resolver& resolver() { return *resolver_; }
  resolver::AddressOrder& address_order() { return *address_order_; }
  ApplicationResolver& application() { return *application_; }
  const dial::Environment& dial_environment() { return *dial_environment_; }
  const std::shared_ptr<raw::PinnedBytes>& pinned() { return pinned_; }
  Result<std::shared_ptr<tls::Context>> tls_context(const Settings& settings);
  uint64_t next_connection_id() { return next_connection_++; }
  uint64_t next_request() { return next_request_++; }
  fault::Injector* faults() { return faults_.get(); }  // null without fault.plan
  // The endpoint of the spec's key; made at the first use.
  Result<Endpoint*> endpoint(const std::shared_ptr<const EndpointSpec>& spec);
  // At the limit the longest-idle connection of another endpoint makes room, if somebody waits.
  bool take_permit(Endpoint& asker, bool for_waiter);
  void return_permit();
  void offer_permits();
  void connection_closed();
  void use_resolver_queue(ops::Queue* queue, uint64_t user_data);
  void close(ops::Op* op, Nanos drain_timeout);
  observe::MetricNode figures_tree();

 private:
  struct PendingClose final : ops::Task {
    explicit PendingClose(ops::Op* op_in, Core& core_in) : op(op_in), core(core_in) {}
    void cancel(ops::Op& cancelled, Status reason) override;
    ops::Op* op;
    Core& core;
  };
  Status call_between_turns(Callback<void()>& function);
  struct Waiting;  // a call() on its way

  Core(World world, SettingsPtr settings, fault::Plan plan);
  ~Core();
  void drain_after_end() noexcept;
  void loop_wake() noexcept;
  void finish_close_if_empty();
  bool forget_unused_endpoints();

  const SettingsPtr settings_;
  const bool caller_;
  std::atomic<int64_t> references_{1};
  std::atomic<int64_t> ops_in_flight_{0};
  std::atomic<bool> closing_{false};
  std::atomic<bool> ended_{false};
  std::atomic<int64_t> pending_events_{0};
  std::atomic<bool> fd_asked_{false};  // a host loop may poll the descriptor
  // Caller's drive: what a thread does with the loop just now.
  enum class Use : uint8_t { None, Turn, Visit };
  std::atomic<Use> running_{Use::None};
  std::atomic<int> visitors_{0};  // threads in call(); turns let them go first
  std::atomic<bool> ending_{false};
  std::atomic<Time> virtual_now_{0};       // the simulated world's clock, for other threads
  std::atomic<std::thread::id> driver_{};  // caller's drive: the thread in the loop's turn
  const bool simulated_;
  ops::Mailbox mailbox_;
  std::recursive_mutex end_mutex_;  // who drains the mailbox after the end
  std::mutex wake_mutex_;           // the loop is not freed while another thread wakes it
  std::mutex tls_mutex_;
  std::set<uint64_t> usable_tls_;  // settings ids
  std::shared_ptr<tls::Library> library_;
  observe::EventRing ring_;
  Time created_at_ = 0;

  // --- loop thread
  std::unique_ptr<io::Loop> loop_;
  std::shared_ptr<void> neighbours_;
  Rng rng_;
  observe::Metrics figures_{observe::MetricScope::POOL};
  std::unique_ptr<fault::Injector> faults_;  // before whatever connects
  std::unique_ptr<resolver::Resolver> resolver_;
  std::unique_ptr<resolver::AddressOrder> address_order_;
  std::unique_ptr<ApplicationResolver> application_;
  std::unique_ptr<tls::ContextCache> contexts_;
  std::unique_ptr<dial::SocketBudget> sockets_;
  std::shared_ptr<raw::PinnedBytes> pinned_;
  std::unique_ptr<dial::Environment> dial_environment_;
  std::map<uint64_t, std::unique_ptr<Endpoint>> endpoints_;  // by id: the order of their making
  std::unordered_map<std::string, Endpoint*> by_key_;
  std::vector<std::unique_ptr<PendingClose>> closes_;
  uint64_t next_endpoint_ = 1;
  uint64_t next_connection_ = 1;
  uint64_t next_request_ = 1;
  int64_t permits_used_ = 0;
  std::deque<uint64_t> wanting_;  // endpoints that were refused a permit, in the order of asking
  size_t sweep_at_ = 256;         // endpoints at which unused ones are forgotten
  bool permit_round_due_ = false;
  bool empty_check_due_ = false;

  std::unique_ptr<io::LoopThread> thread_;
};

}  // namespace conpool::pool
