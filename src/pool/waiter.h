// Waiter: who asks for a place on a connection, and what it is told.
#pragma once

#include <memory>

#include "base/error.h"
#include "base/settings.h"
#include "policy/breaker.h"
#include "pool/endpoint_machine.h"

namespace conpool::pool {

class Connection;

struct HolderTag {};
struct ParkedTag {};

// Lifecycle: Endpoint::wait → granted or failed, once; later than wait(), and never from inside a
// call into the endpoint. After granted the place is the waiter's until it calls
// Connection::end_lease or is told detached. A place that ended without the request having been
// processed may be followed by Endpoint::wait_again, which gives the waiter its first position in
// the line back. While the endpoint's breaker is open a waiter is refused, or parked (breaker.wait)
// until it may try.
//
// The waiter outlives all of this: whoever owns it calls Endpoint::leave before it ends.
class Waiter : public WaiterRecord, public ListNode<HolderTag>, public ListNode<ParkedTag> {
 public:
  // `reused`: the connection had a lease before.
  virtual void granted(Connection& connection, bool reused) = 0;
  // It has left the line without a place.
  virtual void failed(const ErrorPtr& error) = 0;
  // The connection closed under it. What ran on its session was ended before.
  virtual void detached() = 0;

  // Its op, for events; 0 without one.
  uint64_t op_id = 0;
  // Which one of the pool it is, from 1 on in the order of asking, and how many leases it got.
  uint64_t ordinal = 0;
  uint32_t leases_got = 0;
  // The values of its own: timeouts, retries. Set before wait().
  std::shared_ptr<const Values> values;
  // The breaker's; held from the line on until the outcome of the call is reported
  // (Endpoint::report).
  policy::CallPermit permit;

 protected:
  ~Waiter() = default;
};

}  // namespace conpool::pool
