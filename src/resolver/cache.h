// DNS cache: one entry per name and family; positive, negative and failed answers with their lives.
#pragma once

#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/settings.h"
#include "base/time.h"

namespace conpool::resolver {

struct CacheRules {
  Nanos min_ttl = kSecond;
  Nanos max_ttl = 5 * kMinute;
  Nanos negative_max = kMinute;
  Nanos failure_min = kSecond;
  Nanos failure_max = 30 * kSecond;
  Nanos stale_max = kHour;
  int64_t prefetch_percent = 10;
  size_t capacity = 2048;

  static CacheRules from(const Values& values);
};

inline constexpr Nanos kPrefetchLeastTtl = 10 * kSecond;  // shorter answers are not refreshed ahead
inline constexpr Nanos kSuspectRefreshGap = kSecond;  // least time between refreshes of a suspect

// What find() says about a name and family.
struct CacheFinding {
  enum class Kind : uint8_t {
    Miss,      // nothing usable: ask
    Fresh,     // `addresses` hold until `expires`; `refresh`: ask as well, in the background
    Stale,     // ask; `addresses` may serve while that is slow or fails
    Standing,  // stale, and asking failed a moment ago: `addresses` serve, nothing is asked
    Negative,  // `failure` holds until `expires` (RFC 2308)
    Failed,    // `failure` of the last query, not repeated before `expires` (RFC 9520)
  };
  Kind kind = Kind::Miss;
  std::vector<SocketAddress> addresses;
  Failure failure;
  Time expires = 0;
  bool refresh = false;
};

// One entry, for readouts.
struct CachedAnswer {
  std::string name;
  Family family = Family::None;
  CacheFinding::Kind kind = CacheFinding::Kind::Miss;
  std::vector<SocketAddress> addresses;
  Failure failure;
  Time inserted = 0;
  Time expires = 0;
  bool suspect = false;
};

// An entry holds up to two things: an answer (addresses, or the fact that there are none) and the
// failure of the last query. A failure leaves the answer in place; a new answer replaces both. A
// negative answer replaces addresses, so that nothing stale is served over it (RFC 8767 §4).
//
// Times are monotonic. Entries go least recently used first; capacity 0 keeps nothing.
class Cache {
 public:
  explicit Cache(CacheRules rules) : rules_(rules) {}

  CacheFinding find(const std::string& name, Family family, Time now);

  // Each answers until when the result holds.
  Time put_addresses(const std::string& name, Family family, std::vector<SocketAddress> addresses,
                     Nanos ttl, Time now);
  Time put_negative(const std::string& name, Family family, Failure failure, Nanos ttl, Time now);
  Time put_failure(const std::string& name, Family family, Failure failure, Time now);

  // The next find() is Stale, unless the answer is younger than kSuspectRefreshGap.
  void mark_suspect(const std::string& name, Family family, Time now);
  void flush();

  const CacheRules& rules() const { return rules_; }
  size_t size() const { return entries_.size(); }
  // Appends the entry, if there is one. Does not touch the order of use.
  void read_out(const std::string& name, Family family, Time now,
                std::vector<CachedAnswer>* out) const;

 private:
  struct Key {
    std::string name;
    Family family;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Entry {
    Key key;
    bool answered = false;                 // an answer is held
    std::vector<SocketAddress> addresses;  // empty: the answer is negative
    Failure negative;
    Time inserted = 0;
    Time expires = 0;
    bool suspect = false;
    Time suspect_asked = 0;  // when find() last sent a suspect to be asked again
    uint32_t failures = 0;   // in a row
    Failure failure;
    Time retry_at = 0;  // no query before it
  };
  using Order = std::list<Entry>;

  Entry* peek(const std::string& name, Family family);
  Entry& touch(const std::string& name, Family family);
  void answer(Entry& entry, Time now, Time expires);
  void trim();
  bool stale_usable(const Entry& entry, Time now) const;

  CacheRules rules_;
  Order order_;  // most recently used first
  std::unordered_map<Key, Order::iterator, KeyHash> entries_;
};

}  // namespace conpool::resolver
