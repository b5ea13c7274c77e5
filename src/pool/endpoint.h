// Endpoint: the driver of one endpoint's accounts. Owns its connections, dials, addresses and
// figures.
//
// Each event goes into the machine first; the machine's actions run right after it; what they cause
// is dispatched once, at the end of the turn (touch). Nothing here runs on any thread but the
// loop's.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "observe/counters.h"
#include "observe/events.h"
#include "observe/metrics.h"
#include "policy/balancer.h"
#include "policy/retry.h"
#include "pool/address_book.h"
#include "pool/connection.h"
#include "pool/dial_run.h"
#include "pool/endpoint_machine.h"
#include "pool/gate.h"
#include "pool/health_checker.h"
#include "pool/lease.h"
#include "pool/preconnect.h"
#include "pool/protocol_memory.h"
#include "pool/spec.h"

namespace conpool::pool {

class Core;

class Endpoint final : private Environment, private resolver::LookupHandler {
 public:
  Endpoint(Core& core, uint64_t id, std::shared_ptr<const EndpointSpec> spec);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  uint64_t id() const { return id_; }
  const EndpointSpec& spec() const { return *spec_; }
  const Values& values() const { return spec_->settings->values(); }

  // --- for the core
  // Dispatches at the end of this turn.
  void touch();
  bool wants_permit() const { return machine_.wants_permit(); }
  bool listed = false;  // in the core's line for permits
  const ConnectionRecord* longest_idle() { return machine_.longest_idle(); }
  void evict_longest_idle();
  // A check under way gives its permit back. False without one.
  bool yield_check();
  void shut_down(Time deadline);
  bool empty() const {
    return machine_.empty() && parked_count_ == 0 && runs_.empty() && preconnects_.empty();
  }
  // Nothing of it is in use, and nothing would be lost with it.
  bool forgettable() const { return empty() && spec_.use_count() == 1 && !touched_; }
  observe::MetricNode figures_node();
  std::string explain();
  uint64_t broken_by_shutdown() const { return broken_by_shutdown_; }

  // --- for those who want a place
  // Its deadlines run from now on, by its values.
  void wait(Waiter& waiter);
  // Back to its first position: its place ended before the peer looked at what it sent. Its total
  // deadline stays.
  void wait_again(Waiter& waiter);
  // What the call it got a place for came to; once, and not after leave() or failed().
  // `cause` of a failure is named in the errors of those that the breaker refuses.
  void report(Waiter& waiter, policy::CallOutcome outcome, std::string cause = {});
  void force_breaker(policy::Breaker::Force force);
  policy::RetryBudget& retry_budget() { return retry_budget_; }
  // Of the adaptive backoff, in thousandths.
  uint32_t retry_stretch() { return gate_.stretch(now()); }
  // Between two sends, until wait_again(); failed when the endpoint shuts down meanwhile.
  void rest(Waiter& waiter);
  void end_rest(Waiter& waiter);
  // Leaves the line untold.
  void leave(Waiter& waiter, Status reason);
  ErrorPtr error_for(Status status, const Waiter& waiter);
  // The server demands HTTP/1.1, or cannot do the HTTP/2 it agreed to: no new request goes over its
  // HTTP/2 connections, and dials offer http/1.1 only. False where http.version = h2 rules that
  // out.
  bool remember_http1_only();
  bool may_use_http1() const;
  // A used connection turned out to be dead: those that are idle just as long are, too.
  void drop_idle();
  // Ends the op once so many connections are open, or as many as can be.
  void preconnect(ops::Op& op, uint32_t count, const Values& own);

  // --- for its connections
  void lease_ended(Connection& connection, bool reusable, const Waiter& waiter);
  void idle_limit_told(Connection& connection, Nanos limit);
  void capacity_changed(Connection& connection, session::Capacity capacity);
  void hold_changed(Connection& connection, bool held);
  void connection_drains(Connection& connection);
  void emit(observe::EventKind kind, const Connection& connection);
  void connection_died(Connection& connection, const Failure& why);

  // --- for its dials
  bool rest_dial(uint64_t dial) { return machine_.rest_dial(dial); }
  void wake_dial(uint64_t dial) { machine_.wake_dial(dial); }
  policy::Balancer& balancer() { return balancer_; }
  bool needs_lookup() const;
  void note_answer(Family family, const resolver::FamilyAnswer& answer);
  const ProtocolMemory& memory() const { return memory_; }
  Result<std::shared_ptr<tls::Context>> tls_context();
  const dial::Environment& dial_environment();
  void dial_succeeded(DialRun& run, dial::Established established);
  void dial_failed(DialRun& run, std::shared_ptr<Error> error);

  // --- for its checks
  bool take_check_permit();
  void return_check_permit();
  void check_ended(const SocketAddress& address, const Result<void>& verdict, Nanos took);
  // What a connection brought first: an answer to one of its requests, or its end.
  void first_answer(const ConnectionFacts& connection, bool came);
  // Tells of what became of an address's health since it was `before`.
  void health_changed(const SocketAddress& address, policy::AddressHealth::State before);
  void tell_health(const SocketAddress& address);

  io::Loop& loop();
  Time now();
  Rng& rng();
  observe::Emitter events() const { return events_; }
  observe::Metrics& figures() { return figures_; }
  observe::Metrics& figures_of(const SocketAddress& address);

 private:
  // --- Environment
  bool take_permit(bool for_waiter) override;
  void return_permit() override;
  bool usable(ConnectionRecord& connection) override;

  // --- the breaker
  void enter(Waiter& waiter, bool again);
  bool park(Waiter& waiter);
  void refuse(Waiter& waiter);
  void follow_breaker();
  void empty_line();
  void admit_parked();
  void unpark(Waiter& waiter);
  void fail_parked(Waiter& waiter, Status status);
  ErrorPtr breaker_error();
  void arm_parked();
  Time parked_deadline(const Waiter& waiter) const;
  bool comes_too_late(const Waiter& waiter);
  void start_dial_time(Waiter& waiter, int64_t retries);

  // --- preconnects
  void end_preconnects(const ErrorPtr& failed);
  void end_preconnect(Preconnect& preconnect, const ErrorPtr& failed);
  void update_warm_target();
  void cancel_preconnect(Preconnect& preconnect, Status reason);
  friend class Preconnect;

  // --- resolver::LookupHandler, of the refresh
  void on_family(Family family, resolver::FamilyAnswer answer) override;
  void on_update(Family family, resolver::FamilyAnswer answer) override;

  void dispatch();
  void forget_old_network();
  void run_actions();
  void grant(Waiter& waiter, Connection& connection);
  void inject_faults(const Waiter& waiter, const Connection& connection);
  void start_dial(uint64_t id, Waiter* sponsor);
  void fail_waiter(Waiter& waiter, Status status, uint64_t dial);
  void enter_line(Waiter& waiter, bool again);
  void renewing(const Connection& connection);
  std::string state_text() const;
  bool left_early(Status status, const Waiter& waiter);
  void count_opened(const dial::Established& established, observe::Metrics& at);
  void note_protocol(Connection& connection);
  void forecast();
  Nanos usable_idle(Nanos limit, Nanos rtt) const;
  void close_connection(Connection& connection, CloseReason reason);
  void set_up_health();
  void follow_addresses();
  void stop_checks();
  void start_check(Connection& connection);
  void abort_run(DialRun& run);
  void remove_run(DialRun& run);
  void retry_paced();
  void arm_timer();
  void use_addresses(const std::vector<SocketAddress>& addresses);
  bool has_connection_to(const SocketAddress& address) const;
  void drain_vanished();
  void refresh();
  void arm_refresh();
  void emit_close(const Connection& connection, CloseReason reason);

  Core& core_;
  const uint64_t id_;
  const std::shared_ptr<const EndpointSpec> spec_;
  observe::Emitter events_;
  observe::Metrics figures_;
  std::map<SocketAddress, std::unique_ptr<observe::Metrics>> address_figures_;
  policy::Balancer balancer_;
  EndpointMachine machine_;
  Gate gate_;
  policy::RetryBudget retry_budget_;
  List<Waiter, ParkedTag> parked_;  // wait for the breaker, in the order of their arrival
  int64_t parked_count_ = 0;
  List<Waiter, ParkedTag> resting_;
  Timer parked_timer_;
  std::string last_cause_;  // of the last failure that the breaker counted
  ProtocolMemory memory_;
  std::vector<std::unique_ptr<Preconnect>> preconnects_;
  AddressBook book_;
  std::vector<SocketAddress> known_;  // with ports, as given to the balancer

  std::unique_ptr<ProbePlan> probes_;  // null where none are asked for
  std::unique_ptr<HealthChecker> checker_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<DialRun>> runs_;
  ErrorPtr last_failed_dial_;                  // until one succeeds
  std::map<uint64_t, ErrorPtr> failed_dials_;  // until the machine's actions on them have run
  uint64_t paced_generation_ = 0;

  std::unique_ptr<resolver::Lookup> refresh_;
  uint64_t seen_reloads_ = 0;  // of resolv.conf, when the addresses' histories began
  int refresh_waits_ = 0;      // families the running refresh still waits for
  Nanos refresh_delay_ = 0;
  Timer refresh_timer_;
  Timer timer_;
  bool touched_ = false;
  bool running_actions_ = false;
  uint64_t broken_by_shutdown_ = 0;
};

}  // namespace conpool::pool
