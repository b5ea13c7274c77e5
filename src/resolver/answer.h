// Answers: what a query ended with, and what a lookup tells about one family.
#pragma once

#include <string>
#include <vector>

#include "base/address.h"
#include "base/error.h"
#include "base/result.h"
#include "base/time.h"

namespace conpool::resolver {

// The end of one query for one name and family, whoever answered it.
struct Outcome {
  Failure failure{.status = Status::OK};  // OK: `addresses` has at least one
  std::vector<SocketAddress> addresses;
  Nanos ttl = 0;          // as told, not yet clamped; of addresses and of negative answers
  bool cacheable = true;  // false for this machine's own trouble, such as a lack of descriptors

  bool positive() const { return failure.status == Status::OK; }
  bool negative() const { return is_negative(failure.status); }
  // A statement about the name, as against a failure to get one.
  static bool is_negative(Status status) {
    return status == Status::E_DNS_NOT_FOUND || status == Status::E_DNS_NO_DATA;
  }
};

// One try of a query on the wire, in absolute times.
struct QueryTry {
  std::string target;  // "AAAA example.test @192.0.2.53:53"
  Time started = 0;
  Time ended = kNever;  // kNever while it runs
  Failure failure{.status = Status::OK};
};

// "AAAA" or "A".
inline const char* family_type_name(Family family) {
  return family == Family::V6 ? "AAAA" : "A";
}

// What is known about one family of a name.
struct FamilyAnswer {
  // Addresses with port 0, never an empty set; or why there are none.
  Result<std::vector<SocketAddress>> addresses = fail(Status::E_INTERNAL);
  Time expires = 0;  // until when the answer holds; kNever for hosts file, localhost and literals
  bool from_cache = false;  // no query was needed for it
  bool stale = false;       // past its TTL (RFC 8767), or of a name marked as suspect
  std::string name;         // the absolute name asked for: one of the search list's expansions
  // Queries made on the wire since the lookup began, with times since the lookup's start.
  std::vector<Attempt> attempts;
};

}  // namespace conpool::resolver
