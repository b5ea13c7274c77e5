// Query: one name and family asked of the DNS servers until one answers. A machine.
#pragma once

#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/time.h"
#include "resolver/answer.h"
#include "resolver/servers.h"

namespace conpool::resolver {

struct QueryRules {
  Nanos resolve_timeout = kSecond;  // one server's time
  int64_t retries = 3;              // rounds through the servers after the first
  Time deadline = kNever;
};

// The least time between the starts of the first two rounds; it doubles, up to resolve_timeout. It
// keeps an unreachable server from being asked in a tight loop.
inline constexpr Nanos kRoundGap = 200 * kMillisecond;

// What the driver must do next. Every step but Stay replaces the exchange that may be running.
struct QueryStep {
  enum class Kind : uint8_t {
    Stay,    // nothing to do
    Ask,     // start an exchange with `server`
    Pause,   // drop the exchange and wait for the deadline
    Finish,  // drop the exchange; outcome() is set
  };
  Kind kind = Kind::Stay;
  SocketAddress server = {};
  Nanos timeout = 0;
};

// A round asks one server after the other: the next one on silence, unreachability, an answer that
// is malformed, and rcodes that tell of the server's own trouble. The first answer about the name,
// positive or negative, ends the query. A round in which every server answered with trouble ends it
// as well, for asking again at once gives the same (RFC 9520 §3.1 limits such retries); after a
// round in which one stayed silent or unreachable the next round begins, until the retries are used
// up. The deadline ends everything with E_DNS_TIMEOUT.
class Query {
 public:
  enum class State : uint8_t {
    Ready,    // not started
    Asking,   // an exchange runs
    Pausing,  // between two rounds
    Done,     // outcome() holds
  };

  Query(std::string name, Family family, QueryRules rules, Servers& servers);

  QueryStep start(Time now);
  // The exchange's end: a raw message of any content, or its failure.
  QueryStep on_answer(const Result<std::vector<uint8_t>>& message, Time now);
  QueryStep on_time(Time now);
  // Another lookup joins: its time and its retries count where they are more.
  void extend(const QueryRules& rules);

  State state() const { return state_; }
  Time next_deadline() const;
  const Outcome& outcome() const { return outcome_; }
  const std::vector<QueryTry>& tries() const { return tries_; }
  const std::string& name() const { return name_; }
  Family family() const { return family_; }

 private:
  void transition(State to);
  QueryStep begin_round(Time now);
  QueryStep ask_next(Time now);
  QueryStep end_round(Time now);
  QueryStep finish(Outcome outcome);
  QueryStep fail_try(Failure failure, Time now);
  void end_try(const Failure& failure, Time now);
  void remember(const Failure& failure);

  std::string name_;
  Family family_;
  QueryRules rules_;
  Servers& servers_;
  State state_ = State::Ready;
  std::vector<SocketAddress> order_;  // of this round
  size_t next_ = 0;                   // index of the server to ask next
  int64_t round_ = 0;
  Time round_started_ = 0;
  Nanos gap_ = kRoundGap;
  bool silence_ = false;                 // a server of this round did not answer
  Time step_ends_ = kNever;              // of the running try or the pause
  Failure worst_{.status = Status::OK};  // the most telling failure so far
  std::vector<QueryTry> tries_;
  Outcome outcome_;
};

}  // namespace conpool::resolver
