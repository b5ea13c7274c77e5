// LookupMachine: what one lookup asks, waits for and answers: search list, cache, stale answers,
// deadline.
#pragma once

#include <string>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "resolver/answer.h"
#include "resolver/cache.h"

namespace conpool::resolver {

struct LookupPlan {
  std::vector<std::string> names;  // absolute names in the order of trying them; never empty
  bool v6 = true;
  bool v4 = true;
  Time started = 0;
  Time deadline = kNever;
  Nanos stale_after = 1800 * kMillisecond;
  bool optimistic = false;  // stale answers at once
};

struct LookupAction {
  enum class Kind : uint8_t {
    Ask,      // start or join the query for `name`; its outcome comes back through on_outcome
    Refresh,  // the same, ahead of the end of an answer that was given
    Answer,   // the family's answer
    Update,   // another one after it
  };
  Kind kind = Kind::Ask;
  Family family = Family::None;
  std::string name = {};
  FamilyAnswer answer = {};  // of Answer and Update
};

// Both families are looked up for one name of the list at a time, AAAA first, so that a host never
// gets its two families from two different expansions. A family's negative answer is held back
// while another name could still replace it; the list goes on only when all wanted families are
// negative. An address settles the name, and so does a failure: going on after one could reach
// another host.
//
// A family whose cached answer is stale waits for a fresh one for stale_after, and takes the stale
// one then, or when the query fails (RFC 8767 §5). A fresh negative answer always wins over a stale
// one.
class LookupMachine {
 public:
  enum class State : uint8_t {
    Idle,      // not wanted, or not asked yet
    Asking,    // a query runs
    Held,      // negative so far; another name may follow
    Answered,  // given to the caller
  };

  LookupMachine(Cache& cache, LookupPlan plan) : cache_(cache), plan_(std::move(plan)) {}

  void start(Time now, std::vector<LookupAction>* actions);
  // The end of a query this lookup asked for; `expires` is what the cache answered to it.
  void on_outcome(Family family, const Outcome& outcome, Time expires, Time now,
                  std::vector<LookupAction>* actions);
  void on_time(Time now, std::vector<LookupAction>* actions);

  Time next_deadline() const;
  State state(Family family) const { return of(family).state; }
  // Every wanted family has its answer.
  bool answered() const;

 private:
  struct Side {
    Family family = Family::None;
    bool wanted = false;
    State state = State::Idle;
    bool awaited = false;  // an outcome of `name` is to come
    bool no_data = false;  // one of the names exists without addresses of this family
    FamilyAnswer held;     // while Held
    bool has_stale = false;
    CacheFinding stale;  // to serve while Asking
    // What was given, to tell whether an update says something new.
    bool given_positive = false;
    bool given_stale = false;
    std::vector<SocketAddress> given;
  };

  Side& of(Family family) { return family == Family::V6 ? v6_ : v4_; }
  const Side& of(Family family) const { return family == Family::V6 ? v6_ : v4_; }
  void transition(Side& side, State to);
  const std::string& name() const { return plan_.names[index_]; }
  bool last_name() const { return index_ + 1 == plan_.names.size(); }

  void begin_name(Time now, std::vector<LookupAction>* actions);
  void begin_family(Side& side, Time now, std::vector<LookupAction>* actions);
  void advance(Time now, std::vector<LookupAction>* actions);
  void settle(std::vector<LookupAction>* actions);
  void time_out(Time now, std::vector<LookupAction>* actions);
  void negative(Side& side, FamilyAnswer answer, std::vector<LookupAction>* actions);
  void give(Side& side, FamilyAnswer answer, std::vector<LookupAction>* actions);
  void give_stale(Side& side, std::vector<LookupAction>* actions);
  void late(Side& side, const Outcome& outcome, FamilyAnswer answer,
            std::vector<LookupAction>* actions);
  FamilyAnswer from_cache(const CacheFinding& finding, bool stale) const;
  FamilyAnswer from_outcome(const Outcome& outcome, Time expires) const;
  Time stale_at() const { return deadline_after(plan_.started, plan_.stale_after); }

  Cache& cache_;
  LookupPlan plan_;
  size_t index_ = 0;
  bool settled_ = false;  // the current name is the one
  Side v6_{.family = Family::V6};
  Side v4_{.family = Family::V4};
};

}  // namespace conpool::resolver
