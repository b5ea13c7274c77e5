// Breaker: whether an endpoint's calls are let through, by how the last ones ended. Pure.
//
// Vocabulary
//   call        a request's send or a raw lease, from its admission to its outcome
//   window      the last window_calls outcomes that are younger than window
//   opening     one time of being open; `openings` steps make the open time grow, and fall again by
//               one for each base open time spent closed
//   generation  counts the states; a call that was admitted in an earlier one changes nothing, so
//               late results neither lengthen an opening nor spoil a recovery
//   trial       a call admitted while half-open. It is leased: its place comes free by its outcome,
//               when the call is ignored (cancelled, never sent), or after trial_lease; an outcome
//               that comes later still counts, as long as the breaker is half-open for it
//
// Rule: it opens when a failure arrives and at least min_calls outcomes are in the window with
// failure_rate percent of failures or more, or consecutive failures came in a row. No outcome, no
// opening. Half-open lets `trials` calls through at once; trial_successes good ones close it; it
// opens again once they can no longer come within trial_calls outcomes. Closing empties the window.
// Switched off (breaker.mode), it keeps its window and never opens by itself.
//
// Numbers that contradict each other: min_calls counts as window_calls at most (else the share of
// failures would never open it), trial_calls as trial_successes at least (else it would never
// close), open as open_max at most.
//
// Time only moves forward: a `now` before the last one counts as the last one.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/rng.h"
#include "base/settings.h"
#include "base/time.h"

namespace conpool::policy {

struct BreakerOptions {
  bool on = true;
  uint32_t window_calls = 100;
  Nanos window = 10 * kSecond;
  uint32_t min_calls = 20;
  uint32_t failure_rate = 50;  // percent
  uint32_t consecutive = 10;   // 0: not by failures in a row
  Nanos open = 5 * kSecond;
  Nanos open_max = 120 * kSecond;
  uint32_t open_factor = 2;
  uint32_t open_jitter = 50;  // percent of the open time that is random
  uint32_t trials = 1;
  uint32_t trial_successes = 3;
  uint32_t trial_calls = 5;
  Nanos trial_lease = 30 * kSecond;
};
BreakerOptions breaker_options(const Values& values);

enum class CallOutcome : uint8_t {
  Success,
  Failure,
  Ignored,  // says nothing of the server: cancelled, refused by us, a local shortage, a verdict
};

// What an admitted call holds until it reports.
struct CallPermit {
  uint64_t generation = 0;  // 0: none
  uint64_t trial = 0;       // 0: no trial
  bool held() const { return generation != 0; }
};

class Breaker {
 public:
  enum class State : uint8_t {
    Closed,    // all calls are let through
    Open,      // none is
    HalfOpen,  // trials are
  };
  enum class Force : uint8_t { Auto, Open, Closed };

  Breaker(const BreakerOptions& options, uint64_t seed);

  // Lets the call through (a held permit), or does not. An open time that has ended becomes
  // half-open here.
  CallPermit admit(Time now);
  // Once for each permit; the permit is empty afterwards.
  void report(CallPermit& permit, CallOutcome outcome, Time now);
  // Auto begins closed, with an empty window and no openings. What is in force already changes
  // nothing.
  void force(Force force, Time now);

  State state() const { return state_; }
  Force forced() const { return force_; }
  // When admit may let a call through: `now` if it would at once, the end of the open time or of
  // the first trial's lease, kNever while forced open.
  Time retry_at(Time now) const;
  // Of the present or the last opening.
  Nanos open_time() const { return open_time_; }
  uint64_t generation() const { return generation_; }
  uint64_t opened() const { return opened_; }  // how often, ever, by the rule: not by force
  uint64_t closed() const { return closed_; }  // how often by good trials
  uint64_t trials_made() const { return next_trial_ - 1; }
  uint32_t trials_running() const { return static_cast<uint32_t>(trials_.size()); }

  // What is in the window at `now`.
  struct Window {
    uint32_t calls = 0;
    uint32_t failures = 0;
  };
  Window window(Time now);

 private:
  struct Call {
    Time at;
    bool failed;
  };
  struct Trial {
    uint64_t id;
    Time ends;
  };

  Time advance(Time now);
  void transition(State next);
  void enter(State next);
  void open();
  void close();
  void empty_window();
  void record(bool failed);
  void end_trial(bool failed);
  void return_lease(uint64_t trial);
  bool tripped() const;
  void expire_calls();
  void expire_leases();
  void decay();
  Nanos grown_open_time() const;

  const BreakerOptions options_;
  Rng rng_;
  State state_ = State::Closed;
  Force force_ = Force::Auto;
  Time now_ = 0;  // the latest seen
  uint64_t generation_ = 1;
  std::deque<Call> calls_;
  uint32_t failures_ = 0;     // among calls_
  uint32_t consecutive_ = 0;  // failures in a row
  uint32_t openings_ = 0;     // steps of growth
  Time decays_at_ = kNever;   // when the next step falls, while closed
  Time opens_until_ = 0;
  Nanos open_time_ = 0;
  std::vector<Trial> trials_;
  uint64_t next_trial_ = 1;
  uint32_t trial_good_ = 0;
  uint32_t trial_bad_ = 0;
  uint64_t opened_ = 0;
  uint64_t closed_ = 0;
};

}  // namespace conpool::policy
