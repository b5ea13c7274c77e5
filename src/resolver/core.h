// Resolver::Core: glues lookups, flights, cache and configuration together. Included by this room
// alone.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/list.h"
#include "resolver/cache.h"
#include "resolver/flight.h"
#include "resolver/lookup_machine.h"
#include "resolver/resolver.h"
#include "resolver/servers.h"
#include "resolver/system_config.h"

namespace conpool::resolver {

inline constexpr size_t kFlights = 16384;  // queries under way; more lookups are refused

// Vocabulary
//   lookup   one caller's interest in a host: a LookupMachine and the handler to tell
//   flight   a query under way for one name and family; lookups join it
// Invariants
//   - at most one flight per name and family on the configuration in force; flights of an earlier
//   one
//     are retired: they serve the lookups that joined them, and feed nothing else
//   - a lookup points at the flights it joined, a flight's joiners point back; both ends are
//   cleared together
//   - handlers run only in run(), which Loop::defer calls, and in the order in which answers were
//   known
//   - a finished flight stays in the graveyard until run(): it may be inside a callback of its
//   exchange
class Resolver::Core final : public FlightOwner, public std::enable_shared_from_this<Core> {
 public:
  Core(io::Loop& loop, const Values& values);
  ~Core();

  std::unique_ptr<Lookup> lookup(const Host& host, LookupOptions options, LookupHandler* handler);
  void set_application(ApplicationResolver* application);
  void mark_suspect(const Host& host);
  void flush() { cache_.flush(); }
  std::vector<CachedAnswer> cached(const Host& host);
  std::vector<SocketAddress> servers();
  const Counters& counters() const { return counters_; }
  void close();

 private:
  struct AllLookups;
  class Joiner;
  struct Seat {  // a flight and those who wait for it
    std::unique_ptr<Flight> flight;
    std::vector<Joiner*> joiners;
  };
  using Key = std::pair<std::string, Family>;
  struct Delivery {
    Joiner* joiner;
    Family family;
    FamilyAnswer answer;
    bool update;
  };

  void on_finished(Flight& flight, Outcome outcome) override;

  void refresh();
  bool answer_locally(Joiner& joiner, const Host& host, const LookupOptions& options);
  std::vector<std::string> names_of(const Host& host) const;
  void perform(Joiner& joiner, std::vector<LookupAction>& actions);
  void join(Joiner& joiner, const LookupAction& action);
  std::unique_ptr<Flight> make_flight(const std::string& name, Family family,
                                      const QueryRules& rules);
  std::unique_ptr<Seat> take_seat(Flight& flight);
  Time remember(const Flight& flight, const Outcome& outcome, bool current);
  void count(const FamilyAnswer& answer);
  void count(const Flight& flight);
  void on_lookup_time(Joiner& joiner);
  void deliver(Joiner& joiner, Family family, FamilyAnswer answer, bool update);
  void schedule();
  void run();
  void leave(Joiner& joiner);

  io::Loop& loop_;
  const DnsBackend backend_;
  const Nanos system_ttl_;
  const Nanos stale_after_;
  const bool optimistic_;
  Cache cache_;
  SystemConfig config_;
  Servers servers_;
  ApplicationResolver* application_ = nullptr;
  Counters counters_;
  std::map<Key, std::unique_ptr<Seat>> flights_;
  std::vector<std::unique_ptr<Seat>> retired_;
  std::vector<std::unique_ptr<Flight>> graveyard_;
  List<Joiner, AllLookups> lookups_;
  std::deque<Delivery> deliveries_;
  bool scheduled_ = false;
  bool closed_ = false;
};

// One lookup. Owned by the caller; knows the core until either goes.
class Resolver::Core::Joiner final : public Lookup, public ListNode<AllLookups> {
 public:
  Joiner(Core& core, LookupHandler* handler, Time started)
      : core_(&core),
        handler_(handler),
        started_(started),
        timer_([this] { core_->on_lookup_time(*this); }) {}
  ~Joiner() override {
    if (core_ != nullptr) core_->leave(*this);
  }

 private:
  friend class Core;
  // Per family: the flight joined, how many of its tries were told, and tries not told yet.
  struct Side {
    Seat* seat = nullptr;
    size_t told = 0;
    std::vector<Attempt> attempts;
  };
  Side& side(Family family) { return sides_[family == Family::V6 ? 0 : 1]; }
  // Takes over the flight's tries that this lookup has not told yet; running ones only when asked
  // to, as timed out.
  void note_tries(Family family, const Flight& flight, Time now, bool running_too);

  Core* core_;
  LookupHandler* handler_;
  Time started_;
  Timer timer_;
  QueryRules rules_;
  std::unique_ptr<LookupMachine> machine_;  // none for local answers
  Side sides_[2];
};

}  // namespace conpool::resolver
