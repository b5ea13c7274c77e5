// Flights: queries under way, one per name and family, shared by every lookup that needs them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/timer.h"
#include "io/loop.h"
#include "resolver/answer.h"
#include "resolver/query.h"
#include "resolver/resolver.h"

namespace conpool::resolver {

class Flight;

class FlightOwner {
 public:
  // The flight is over. Its owner must not destroy it before the turn's end: it may be inside a
  // callback of what it owns.
  virtual void on_finished(Flight& flight, Outcome outcome) = 0;

 protected:
  ~FlightOwner() = default;
};

// Lives until its own end, whatever becomes of the lookups that wait for it. Finishes exactly once,
// and never inside start().
class Flight {
 public:
  Flight(io::Loop& loop, FlightOwner& owner, std::string name, Family family, QueryRules rules);
  virtual ~Flight() = default;
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  virtual void start() = 0;
  // Another lookup joins.
  void extend(const QueryRules& rules);
  virtual const std::vector<QueryTry>& tries() const { return tries_; }

  const std::string& name() const { return name_; }
  Family family() const { return family_; }

 protected:
  virtual void on_time() = 0;
  virtual void apply_extension(const QueryRules& rules) = 0;
  virtual Time next_deadline() const = 0;
  void rearm() { loop_.arm(timer_, next_deadline()); }
  void finish(Outcome outcome);
  bool finished() const { return finished_; }

  io::Loop& loop_;
  std::string name_;
  Family family_;
  QueryRules rules_;
  std::vector<QueryTry> tries_;

 private:
  FlightOwner& owner_;
  Timer timer_;
  bool finished_ = false;
};

// dns.backend = cares: drives a Query over io's exchanges.
class ServerFlight final : public Flight {
 public:
  ServerFlight(io::Loop& loop, FlightOwner& owner, std::string name, Family family,
               QueryRules rules, Servers& servers, Counters& counters);
  void start() override;
  const std::vector<QueryTry>& tries() const override { return query_.tries(); }

 private:
  void on_time() override;
  void apply_extension(const QueryRules& rules) override { query_.extend(rules); }
  Time next_deadline() const override { return query_.next_deadline(); }
  void on_answer(Result<std::vector<uint8_t>> message);
  void take(const QueryStep& step);

  Query query_;
  Counters& counters_;
  std::unique_ptr<io::DnsExchange> exchange_;
  std::unique_ptr<io::DnsExchange> ended_;  // kept until its callback has returned
};

// The backends that make one blocking or foreign call, which the deadline abandons.
class OneCallFlight : public Flight {
 public:
  OneCallFlight(io::Loop& loop, FlightOwner& owner, std::string name, Family family,
                QueryRules rules, Nanos ttl, Counters& counters)
      : Flight(loop, owner, std::move(name), family, rules), ttl_(ttl), counters_(counters) {}

 protected:
  void begin(const char* whom);
  void end(Result<std::vector<SocketAddress>> result);
  virtual void abandon() = 0;
  // How a failure that is no statement about DNS is reported.
  virtual Failure translate(Failure failure) const = 0;

 private:
  void on_time() override;
  void apply_extension(const QueryRules& rules) override;
  Time next_deadline() const override { return finished() ? kNever : rules_.deadline; }

  Nanos ttl_;
  Counters& counters_;
};

// dns.backend = system: getaddrinfo in a job.
class SystemFlight final : public OneCallFlight {
 public:
  using OneCallFlight::OneCallFlight;
  void start() override;

 private:
  void abandon() override { job_.reset(); }
  Failure translate(Failure failure) const override { return failure; }
  std::unique_ptr<io::Job> job_;
};

// dns.backend = queue: a question to the application.
class ApplicationFlight final : public OneCallFlight {
 public:
  ApplicationFlight(io::Loop& loop, FlightOwner& owner, std::string name, Family family,
                    QueryRules rules, Nanos ttl, Counters& counters,
                    ApplicationResolver& application)
      : OneCallFlight(loop, owner, std::move(name), family, rules, ttl, counters),
        application_(application) {}
  void start() override;
  // The application's resolver was taken away.
  void withdraw();

 private:
  void abandon() override { ticket_.reset(); }
  Failure translate(Failure failure) const override;
  ApplicationResolver& application_;
  std::unique_ptr<ApplicationResolver::Ticket> ticket_;
};

}  // namespace conpool::resolver
