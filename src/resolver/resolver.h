// Resolver: names to addresses for everything above; the driver of this room's machines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/callback.h"
#include "base/error.h"
#include "base/name.h"
#include "base/settings.h"
#include "io/loop.h"
#include "resolver/answer.h"
#include "resolver/cache.h"

namespace conpool::resolver {

// What one lookup may take; the request scope's options.
struct LookupOptions {
  Nanos resolve_timeout = kSecond;  // one query to one server
  int64_t resolve_retries = 3;      // how often the list of servers is gone through again
  Nanos dns_timeout = 5 * kSecond;  // the lookup as a whole
  bool v6 = true;                   // families wanted; at least one
  bool v4 = true;

  // From resolve_timeout, resolve_retries, dns.timeout and race.family.
  static LookupOptions from(const Values& values);
};

class LookupHandler {
 public:
  // Once per wanted family, in the order in which the answers became known.
  virtual void on_family(Family family, FamilyAnswer answer) = 0;
  // After on_family, while the Lookup lives: fresh answers after stale ones, or a late answer after
  // the lookup's own timeout. A refresh that fails is not reported.
  virtual void on_update(Family family, FamilyAnswer answer) = 0;

 protected:
  ~LookupHandler() = default;
};

// One caller's interest in a name. Destroying it detaches this caller only: queries that are under
// way go on and feed the cache (RFC 8305 §5). It may be destroyed inside its handler's calls.
class Lookup {
 public:
  virtual ~Lookup() = default;
};

// The application as resolver (dns.backend = queue).
class ApplicationResolver {
 public:
  // One question. Destroying it withdraws the question: its callback then never runs.
  class Ticket {
   public:
    virtual ~Ticket() = default;
  };
  using Done = Callback<void(Result<std::vector<SocketAddress>>)>;

  // `name` has its trailing dot when the caller typed one. `done` is called at most once, on the
  // loop's thread, never inside ask(). Failures keep their status when it is of class DNS; every
  // other one becomes E_DNS_APPLICATION with its detail.
  virtual std::unique_ptr<Ticket> ask(const std::string& name, Family family, Time deadline,
                                      Done done) = 0;

 protected:
  ~ApplicationResolver() = default;
};

struct Counters {
  uint64_t lookups = 0;
  uint64_t queries = 0;         // exchanges, system jobs and questions to the application
  uint64_t answers = 0;         // positive or negative ones
  uint64_t timeouts = 0;        // of single queries
  uint64_t failures = 0;        // of single queries, other than timeouts
  uint64_t joined = 0;          // families that joined a query already under way
  uint64_t cache_hits = 0;      // positive ones within their TTL
  uint64_t cache_negative = 0;  // negative answers and remembered failures
  uint64_t cache_misses = 0;
  uint64_t stale_served = 0;
  uint64_t refreshes = 0;       // queries started ahead of the TTL's end
  uint64_t config_reloads = 0;  // resolv.conf or hosts file read again
};

// Lives on the loop's thread. Destroying it ends all queries and every Lookup's calls; the Lookup
// objects may outlive it.
class Resolver {
 public:
  // `pool_values` gives the dns.* options of pool scope.
  Resolver(io::Loop& loop, const Values& pool_values);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // What the constructor would not understand: E_OPTION_TYPE for a bad item of dns.servers, naming
  // it.
  static Result<void> check(const Values& pool_values);

  // The first call to the handler comes from a later point of this turn (Loop::defer) at the
  // earliest.
  std::unique_ptr<Lookup> lookup(const Host& host, const LookupOptions& options,
                                 LookupHandler* handler);

  // nullptr takes it away; questions that are open then end as failures.
  void set_application(ApplicationResolver* application);

  // Every address of the name failed: the next lookup asks again, at most once per second.
  void mark_suspect(const Host& host);
  void flush();

  // What the cache holds for the name and its search expansions; for readouts.
  std::vector<CachedAnswer> cached(const Host& host);
  // The servers in the order a query would try them now.
  std::vector<SocketAddress> servers();
  const Counters& counters() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace conpool::resolver
