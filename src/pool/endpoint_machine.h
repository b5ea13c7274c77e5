// EndpointMachine: the accounts of one endpoint. Who waits, what is open, what is dialed, who gets
// what. Pure.
//
// Vocabulary. A connection has `capacity` places and `leases` taken ones. Waiters wait in the order
// of their arrival. A dial is started for the first waiter that has none; its connection goes to
// whoever is first when it arrives. A waiter is covered while, counted from the front, there is a
// dial (or a check) under way for it.
//
// Invariants, asserted after every event: open = idle + active + full + held; open + dialing ≤ the
// limit; draining connections lie outside it. Each open or dialing connection holds one permit of
// the pool's total limit.
//
// Failed dials. A failed dial fails the waiters that were present at its start and that nothing
// covers any more, unless an open connection may still come back to them; a new dial for those that
// stay waits for the redial delay.
//
// Size. Connections are dialed for waiters that nothing covers; ahead of them up to `min`, and with
// rate sizing up to what Demand says, `warm_step` dials at a time. Idle ones close down to `min`.
//
// Renewal. A connection that reaches its age limit while it is in use stays until its successor
// stands, for kRenewalGrace at most; it does not count against the limit for that time. One that
// drains because its peer goes away leaves a gap that is filled at once when it was the last one.
//
// Order. First come, first served; with codel the newest waiter goes first while the line stands.
//
// Lifecycle: events change state and append actions; the driver runs the actions afterwards, in
// order. Grants and dials are decided in dispatch(), which the driver calls at the end of a turn in
// which anything happened.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/list.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/time.h"
#include "base/timer.h"
#include "policy/codel.h"
#include "pool/demand.h"
#include "session/session.h"

namespace conpool::pool {

struct WaiterTag {};
struct ConnectionTag {};

// An op that waits. Owned by the driver; in the machine from add_waiter until it is granted, failed
// or removed.
struct WaiterRecord : ListNode<WaiterTag> {
  uint64_t number = 0;  // order of arrival
  Time arrived = 0;
  Time queue_deadline = kNever;  // for a waiter that nothing covers
  Time dial_deadline = kNever;   // for a waiter that is covered
  Time total_deadline = kNever;
  uint64_t dial = 0;     // the dial under way that was started for it
  Time redial_at = 0;    // no new dial for it before
  bool resting = false;  // its dial rests until its next round
  // Wants a connection that was idle for no longer than the one that just turned out to be dead:
  // set before it enters the line, which notes the time.
  bool fresh_only = false;
  bool fail_when_full = false;  // rather than wait for a place
  Time fresh_after = 0;
  Time granted_at = 0;
  uint64_t use = 0;  // of its connection: its lease number, from 1
  Timer timer;
};

enum class ConnectionState : uint8_t {
  New,       // not yet in the accounts
  Idle,      // open, no lease
  Active,    // open, leases, and places left
  Full,      // open, no place left (or none given now)
  Held,      // open, no new lease until a question to the peer is answered
  Draining,  // no new leases ever; running ones go on
  Closed,    // out of the accounts
};

// Owned by the driver.
struct ConnectionRecord : ListNode<ConnectionTag> {
  ConnectionState state = ConnectionState::New;
  session::Capacity capacity;
  uint32_t leases = 0;
  bool held = false;
  bool checking = false;        // held by the active check
  Nanos check_after = -1;       // idle time from which a check is due; -1: as the limits say
  Nanos idle_limit = kNever;    // the peer closes it after so long, by what is known
  int64_t check_places = 0;     // places that wait for the check's end
  bool leases_bounded = false;  // its leases have deadlines of their own: a drain waits for them
  bool renewing = false;        // waits for its successor
  Time opened = 0;
  Time retire_at = kNever;  // its age limit
  Time idle_since = 0;
  Time checked_at = 0;  // last use or passed check
  Time drain_deadline = kNever;
  uint64_t uses = 0;
  Timer timer;
};

struct MachineLimits {
  int64_t max_connections = 16;
  int64_t max_waiters = 1024;
  int64_t max_draining = 16;
  int64_t min_idle = 0;
  int64_t min = 0;  // connections that do not close for being idle
  int64_t warm_step = INT64_MAX;
  bool by_rate = false;
  bool codel = false;
  Nanos codel_target = 5 * kMillisecond;
  Nanos codel_interval = 100 * kMillisecond;
  Nanos idle_timeout = 55 * kSecond;
  Nanos max_age = 10 * kMinute;  // 0 = unlimited
  int64_t age_jitter = 10;       // percent
  int64_t max_uses = 0;          // 0 = unlimited
  Nanos drain_timeout = 30 * kSecond;
  Nanos check_after = kNever;  // kNever = no active check
};

// A connection nobody has used yet is worth a lease this long, however soon its peer closes idle
// ones: otherwise nothing that is dialed could ever be used.
inline constexpr Nanos kFreshFor = kSecond;

// Delay before a dial is started again for waiters that stayed after a failed one, and for warming.
inline constexpr Nanos kRedialDelay = 250 * kMillisecond;
inline constexpr Nanos kRedialDelayMax = 30 * kSecond;

// How long a connection may outlive its age limit while its successor is dialed, and for how long
// after its last use it is worth one.
inline constexpr Nanos kRenewalGrace = 30 * kSecond;
inline constexpr Nanos kRenewalIdle = 10 * kSecond;
// Leases that must stand before a waiter on each place, first in, first out, before it is told that
// it would come too late.
inline constexpr int64_t kForeseenTurns = 8;

enum class CloseReason : uint8_t {
  Idle,
  Age,
  Uses,
  Stale,
  Broken,
  Dead,
  Drained,
  DrainTimeout,
  DrainLimit,
  Evicted,
  Vanished,
  Shutdown
};

struct Action {
  enum class Kind : uint8_t {
    Grant,      // waiter gets a place on connection
    StartDial,  // dial; waiter is its sponsor, or null for warming
    AbortDials,
    AbortDial,   // dial; then call dial_aborted
    Check,       // ask connection the active check's question, then call check_done
    FailWaiter,  // status; with dial != 0: by the failure of that dial. Null: it has left
    Close,       // connection; abort tells whether to reset
    Renewing,    // tells that connection's successor is being dialed
  };
  Kind kind;
  WaiterRecord* waiter = nullptr;
  ConnectionRecord* connection = nullptr;
  uint64_t dial = 0;
  Status status = Status::OK;
  CloseReason reason = CloseReason::Idle;
};

// What a dial will probably bring.
struct Forecast {
  // Places of one connection. While the protocol is not known one dial decides for everybody:
  // kUndecided.
  int64_t places = 1;
  int64_t max_connections = INT64_MAX;  // of this protocol, below the endpoint's own limit
  bool multiplexed() const { return places > 1; }
  static constexpr int64_t kUndecided = int64_t{1} << 40;
};

// What the machine asks of its surroundings while it decides. Answers at once; calls nothing back.
class Environment {
 public:
  // `for_waiter`: somebody waits; warming gets only what is free.
  virtual bool take_permit(bool for_waiter) = 0;
  virtual void return_permit() = 0;
  // Whether an idle connection shows no sign of death or unread bytes.
  virtual bool usable(ConnectionRecord& connection) = 0;

 protected:
  ~Environment() = default;
};

struct MachineCounts {
  int64_t idle = 0;
  int64_t active = 0;
  int64_t full = 0;
  int64_t held = 0;
  int64_t dialing = 0;
  int64_t draining = 0;
  int64_t waiters = 0;
  int64_t open() const { return idle + active + full + held; }
};

class EndpointMachine {
 public:
  EndpointMachine(const MachineLimits& limits, Environment& environment, uint64_t seed);
  EndpointMachine(const EndpointMachine&) = delete;
  EndpointMachine& operator=(const EndpointMachine&) = delete;

  // --- waiters. Deadlines are set by the driver before.
  void add_waiter(WaiterRecord& waiter, Time now);
  // A waiter whose lease ended as not processed goes back to its first position.
  void requeue(WaiterRecord& waiter, Time now);
  void remove_waiter(WaiterRecord& waiter);
  // Gives it its position in the order of arrival, if it has none yet.
  void number(WaiterRecord& waiter, Time now);
  // Fails one that is not in the line.
  void refuse(WaiterRecord& waiter, Status status);
  // All leave the line, untold, in their order; dials go on.
  std::vector<WaiterRecord*> take_waiters();

  // --- dials
  void set_forecast(const Forecast& forecast) { forecast_ = forecast; }
  // At least so many connections are to be opened, once, whoever waits.
  void warm_to(int64_t connections) { warm_target_ = connections; }
  // Whether connections are dialed that nobody waits for.
  void let_warm(bool on) { may_warm_ = on; }
  // The last dispatch would have dialed for nobody in particular, and was refused a permit.
  bool warming_refused() const { return warming_refused_; }
  // The protocol is known, and one connection serves many at once.
  bool multiplexed() const {
    return forecast_.multiplexed() && forecast_.places != Forecast::kUndecided;
  }
  void dial_succeeded(uint64_t dial, ConnectionRecord& connection, session::Capacity capacity,
                      Time now);
  // `shortage`: for want of something of this machine's, so that another dial at once would fail as
  // well.
  void dial_failed(uint64_t dial, Time now, bool shortage = false);
  // A dial whose round failed rests before it is repeated. False: the waiter that wished for it is
  // gone, so it has failed. A resting dial covers nobody but that waiter.
  bool rest_dial(uint64_t dial);
  void wake_dial(uint64_t dial);
  // Called off: no waiter fails by it.
  void dial_aborted(uint64_t dial, Time now);

  // --- connections
  void set_capacity(ConnectionRecord& connection, session::Capacity capacity);
  void set_held(ConnectionRecord& connection, bool held);
  // `held`: how long the place was taken.
  void lease_ended(ConnectionRecord& connection, bool reusable, Time now, Nanos held = 0);
  void check_done(ConnectionRecord& connection, bool passed, Time now);
  // Closes what was idle at `now`: a connection of the same age turned out to be dead.
  void drop_idle(Time now);
  // The transport is gone, or must go.
  void dead(ConnectionRecord& connection, CloseReason reason);
  // Its peer goes away: drains, and a successor is dialed where it was the last one in use.
  void goes_away(ConnectionRecord& connection, Time now);
  // No new leases; closes at once when it has none.
  void drain(ConnectionRecord& connection, CloseReason reason, Time now);

  // --- the pool's total limit
  bool wants_permit() const { return permit_wanted_; }
  ConnectionRecord* longest_idle() { return idle_.back(); }

  // --- time and turns
  // Decides grants, checks and dials. Call at a turn's end after any event, after a timer, and when
  // a permit is free.
  void dispatch(Time now);
  void on_timer(Time now);
  Time next_deadline() const { return timers_.earliest(); }

  // No new waiters; fails the waiting ones; closes idle connections; the rest drains until
  // `deadline`.
  void shut_down(Time deadline, Time now);
  bool shutting_down() const { return shutting_down_; }
  bool empty() const {
    return counts_.open() + counts_.dialing + counts_.draining + counts_.waiters == 0;
  }

  const MachineCounts& counts() const { return counts_; }
  int64_t most_connections() const { return limits_.max_connections; }
  // Actions collected since the last call. The buffer is reused: run them before the next event.
  std::vector<Action>& actions() { return actions_; }
  bool covers(const WaiterRecord& waiter);  // a dial or a check is under way for it

 private:
  struct Dial {
    uint64_t id;
    Time started;
    WaiterRecord* sponsor;
    bool resting = false;
  };
  using Connections = List<ConnectionRecord, ConnectionTag>;

  void transition(ConnectionRecord& connection, ConnectionState next);
  ConnectionState state_for(const ConnectionRecord& connection) const;
  int64_t* count_of(ConnectionState state);
  Connections* list_of(ConnectionState state);
  void close(ConnectionRecord& connection, CloseReason reason);
  void grant(WaiterRecord& waiter, ConnectionRecord& connection, Time now);
  ConnectionRecord* pick(const WaiterRecord& waiter, Time now);
  ConnectionRecord* least_busy(bool within_ideal, Time now);
  bool beyond_ideal();
  // Those that wait for their successor stand outside it.
  int64_t limit() const {
    return std::min(limits_.max_connections, forecast_.max_connections) + renewing_;
  }
  bool sized_down() const { return counts_.open() <= limits_.min; }
  bool in_use(const ConnectionRecord& connection, Time now) const;
  bool renew(ConnectionRecord& connection, CloseReason reason, Time now);
  void end_renewal(ConnectionRecord& connection);
  void retire_renewed(Time now);
  int64_t most_places();
  bool cannot_be_served(const WaiterRecord& waiter);
  void grant_in_order(Time now);
  void grant_newest_first(Time now);
  int64_t places_left();
  bool wants_more();
  Time idle_end(const ConnectionRecord& connection, bool kept) const;
  int64_t wanted_size() const;
  CloseReason const* worn_out(const ConnectionRecord& connection, Time now) const;
  void start_dials(Time now);
  void fail_overdue(Time now);
  bool start_dial(WaiterRecord* sponsor, Time now);
  void arm_connection(ConnectionRecord& connection);
  void on_connection_timer(ConnectionRecord& connection);
  void enter(WaiterRecord& waiter);
  void on_waiter_timer(WaiterRecord& waiter);
  void fail_waiter(WaiterRecord& waiter, Status status, uint64_t dial = 0);
  void unlink(WaiterRecord& waiter);
  int64_t covered_by_dials() const { return (counts_.dialing - resting_) * forecast_.places; }
  int64_t covering() const { return covered_by_dials() + checking_; }
  void end_check(ConnectionRecord& connection);
  // Of one connection: dials that bring one each.
  int64_t under_way() const { return counts_.dialing - resting_; }
  void count_failure();
  Nanos redial_delay();
  void check_invariants() const;

  const MachineLimits limits_;
  Environment& environment_;
  Rng rng_;
  TimerQueue timers_;
  Time now_ = 0;
  Timer redial_timer_;  // only wakes the driver: dispatch does the rest

  List<WaiterRecord, WaiterTag> waiters_;
  Connections idle_;  // newest first
  Connections active_;
  Connections full_;
  Connections held_;
  Connections draining_;  // oldest first
  std::vector<Dial> dials_;
  MachineCounts counts_;
  Forecast forecast_;
  Demand demand_;
  policy::Codel codel_;
  int64_t warm_target_ = 0;
  int64_t renewing_ = 0;   // open connections that wait for their successor
  bool fill_gap_ = false;  // the last one in use went away
  bool warming_refused_ = false;
  bool may_warm_ = true;
  int64_t checking_ = 0;  // places of connections whose check is under way
  int64_t resting_ = 0;   // dials between two rounds

  uint64_t next_dial_ = 1;
  uint64_t next_waiter_ = 1;
  uint32_t failed_in_a_row_ = 0;
  Time counted_failure_at_ = 0;
  Time warm_at_ = 0;
  // No new dial before: a connection died that nobody had used, and the next one might as well.
  Time settle_at_ = 0;
  bool permit_wanted_ = false;
  bool overdue_ = false;  // some waiter's queue deadline passed while it was covered
  bool shutting_down_ = false;
  std::vector<Action> actions_;
};

}  // namespace conpool::pool
