// Race: the connection race of RFC 8305 with TLS inside it (Happy Eyeballs v3), as a pure machine.
//
// Vocabulary
//   candidate  an address with its port that may be tried; the caller orders them inside a family
//   attempt    one try of one candidate; attempts are numbered from 1 in the order of their start
//   delay      the connection attempt delay of a candidate (RFC 8305 §5): its measured one, clamped
//   to
//              [delay_min, delay_max], or connect_delay
//   leader     the attempt whose TLS handshake runs inside its window; while the window is open no
//              attempt starts and a second TCP success stands by without a ClientHello
//
// Order. Families are interleaved (first_family_count, RFC 8305 §4) inside each rank; ranks follow
// one another. A name with several ports gives the position of the port as rank, so every address
// is tried on the first port before any is tried on the second: one black-holed address then costs
// one slot, not one per port. A (address, port) pair is tried once at most. An answer replaces the
// earlier answer of its family (D1..D3): running attempts go on, untried candidates that vanished
// are dropped, and the complete list, tried ones included, is interleaved anew.
//
// Lifecycle: construct → start() → events → exactly one Won or Failed action. Everything after it
// is ignored. The driver calls take_actions() after each event and performs them in order; it may
// feed events back while it does so (a connect that fails at once), they only append to the next
// batch. It calls on_timer() at or after the deadline of the latest Arm; a spurious timer does no
// harm.
#pragma once

#include <span>
#include <vector>

#include "base/error.h"
#include "base/settings.h"
#include "racer/candidate_order.h"

namespace conpool::racer {

using AttemptId = uint32_t;  // 0 = none

struct RaceOptions {
  Nanos aaaa_timeout = 50 * kMillisecond;  // RFC 8305's resolution delay
  Nanos connect_delay = 250 * kMillisecond;
  Nanos delay_min = 100 * kMillisecond;  // bounds of a candidate's own delay
  Nanos delay_max = 2 * kSecond;         // also of the leader's window
  uint32_t first_family_count = 1;
  RaceFamily family = RaceFamily::Auto;
  uint32_t max_concurrent = 6;   // 0 = no limit
  uint32_t max_candidates = 32;  // attempts of one race
  RaceUntil until = RaceUntil::Tls;
  bool uses_tls = false;
  CertError cert_error = CertError::Stop;
  Nanos connect_timeout = 10 * kSecond;  // one attempt's TCP connect
  Nanos tls_timeout = 10 * kSecond;      // one attempt's handshake, hops before it included
  bool await_v6 = false;                 // an AAAA answer will come (never for literals and lists)
  bool await_v4 = false;
  // Without a route for IPv6 the race does not wait for AAAA answers (RFC 8305 §3, HEv3's preferred
  // family).
  bool v6_routable = true;
};

// The options of a race from settings; await_* and v6_routable are the caller's to fill.
RaceOptions race_options(const Values& values, bool uses_tls);

enum class ActionKind : uint8_t {
  Start,     // connect attempt `id` to attempt(id).candidate.address
  BeginTls,  // start the hop and the handshake on attempt `id`
  Close,     // close attempt `id`; its later events are ignored
  Slow,      // attempt `id` is unanswered for longer than its delay (once; news for the balancer)
  Won,       // terminal: attempt `id` won; every other one was closed before
  Failed,    // terminal: failure() and ledger() tell why
  Arm,       // call on_timer at `deadline` (kNever = not needed); replaces the earlier one
};

struct Action {
  ActionKind kind = ActionKind::Arm;
  AttemptId id = 0;
  Time deadline = kNever;
};

class Race {
 public:
  enum class State : uint8_t {
    Created,    // not started
    Resolving,  // no address yet
    Delaying,   // addresses of the second family wait for the first one's answer (resolution delay)
    Racing,     // an attempt has started
    Won,        // terminal
    Failed,     // terminal
  };
  enum class AttemptState : uint8_t {
    Connecting,  // SYN sent
    Standby,     // TCP is up, the leader's handshake goes first
    Securing,    // hop or handshake runs
    Won,         // the winner
    Failed,      // by itself, or at one of its deadlines
    GivenUp,     // closed to make room for the next one (max_concurrent)
    Lost,        // closed because the race ended
    LostSlow,  // closed likewise, although it had a head start of its delay or more over the winner
  };
  struct AttemptRecord {
    AttemptId id = 0;
    Candidate candidate;
    AttemptState state = AttemptState::Connecting;
    Phase phase = Phase::Connect;  // how far it came: Connect, then Tls
    Nanos delay = 0;
    Time started = 0;
    Time connected = kNever;  // when TCP was up
    Time ended = kNever;
    Time deadline = kNever;  // connect_timeout or tls_timeout
    Nanos rtt = 0;           // measured by its TCP connect
    bool slow = false;
    Failure failure{.status = Status::OK};
  };

  // A new attempt never starts within this time of the one before (RFC 8305 §5, no exception for
  // failures).
  static constexpr Nanos kStartFloor = 10 * kMillisecond;

  Race(const RaceOptions& options, Time now);

  // `list` holds the candidates known from the start: literals, address lists, cached answers need
  // none.
  void start(Time now, std::span<const Candidate> list = {});
  // The family's addresses, in the caller's order (RFC 6724, then the balancer's). An empty answer
  // counts as E_DNS_NO_DATA. When both answers are known at once, feed AAAA first.
  void on_answer(Time now, Family family, std::span<const Candidate> candidates);
  // The family has no answer; an earlier answer of it stands.
  void on_answer_failed(Time now, Family family, Failure failure);
  // The attempt waits for a socket (the driver's cap): its clock stands still until released.
  void on_held(AttemptId id);
  void on_released(Time now, AttemptId id);
  // TCP is up; rtt 0 = take the time since the start.
  void on_connected(Time now, AttemptId id, Nanos rtt = 0);
  // The handshake that BeginTls asked for is done.
  void on_ready(Time now, AttemptId id);
  void on_failed(Time now, AttemptId id, Failure failure);
  void on_timer(Time now);
  // Ends the race (the dial's deadline, close): Failed with `reason` as its failure.
  void cancel(Time now, Failure reason);

  // Swaps the pending actions into `out`, whose old content is dropped.
  void take_actions(std::vector<Action>* out);

  State state() const { return state_; }
  bool done() const { return state_ == State::Won || state_ == State::Failed; }
  // When on_timer is needed next; kNever once the race is over.
  Time deadline() const;
  AttemptId winner() const { return winner_; }
  const std::vector<AttemptRecord>& attempts() const { return attempts_; }
  const AttemptRecord& attempt(AttemptId id) const { return attempts_[id - 1]; }
  size_t running() const;
  // After Failed: the most telling failure (certificate > tls > refused > reset > timeout >
  // unreachable > dns; the later of two equal ones), its phase, and its attempt (0 when no attempt
  // brought it).
  const Failure& failure() const { return failure_; }
  Phase failure_phase() const { return failure_phase_; }
  AttemptId failure_attempt() const { return failure_attempt_; }
  // Failed lookups, then every attempt in the order of its start; `started` counts from the race's
  // start.
  std::vector<Attempt> ledger() const;

 private:
  struct Awaited {
    bool pending = false;
    bool failed = false;
    Time failed_at = 0;
    Failure failure;
  };
  void transition(State to);
  void step(Time now);
  void expire(Time now);
  void lead_next(Time now);
  void begin_tls(Time now, AttemptRecord& attempt);
  bool is_delayed() const;
  bool may_start(Time now) const;
  bool can_start() const;
  void start_one(Time now);
  void fail_attempt(Time now, AttemptRecord& attempt, Failure failure);
  void conclude_if_exhausted(Time now);
  void win(Time now, AttemptRecord& attempt);
  void end_failed(Time now, Failure failure, Phase phase, AttemptId id);
  void close_others(Time now, const AttemptRecord* winner, const Failure& reason);
  void arm();
  Nanos delay_of(const Candidate& candidate) const;
  Family preferred() const;
  Awaited& awaited(Family family) { return awaited_[family == Family::V6 ? 0 : 1]; }
  const Awaited& awaited(Family family) const { return awaited_[family == Family::V6 ? 0 : 1]; }
  AttemptRecord* live(AttemptId id);
  AttemptId oldest_connecting() const;  // 0 = none
  AttemptRecord* first_standby();

  RaceOptions options_;
  State state_ = State::Created;
  Time created_ = 0;
  CandidateOrder order_;
  Awaited awaited_[2];
  std::vector<AttemptRecord> attempts_;
  Time first_answer_ = kNever;  // the first one with an address
  Time last_start_ = kNever;    // kNever: none yet
  Time next_start_ = 0;         // the next attempt may start from here on
  AttemptId leader_ = 0;
  Time leader_until_ = kNever;
  AttemptId winner_ = 0;
  Failure failure_{.status = Status::OK};
  Phase failure_phase_ = Phase::None;
  AttemptId failure_attempt_ = 0;
  Time armed_ = kNever;
  std::vector<Action> actions_;
};

// How telling a failure is, for choosing the primary one; higher is further.
int failure_stage(const Failure& failure);
// One failure for two lookups that both failed (an answer says more than silence; "no address" more
// than "no such name", because RFC 4074 servers answer NXDOMAIN for AAAA of names that exist).
const Failure& combine_dns_failures(const Failure& v6, const Failure& v4);

}  // namespace conpool::racer
