// Session: the protocol on a connection, as the pool sees it. The pool never asks which protocol it
// is.
#pragma once

#include <cstdint>

#include "base/callback.h"
#include "base/result.h"
#include "io/stream.h"

namespace conpool::session {

// Places for leases: `hard` may never be exceeded; the pool prefers to stay at `soft`. Both 0 means
// that none can be given now, which is not a drain: places may come back.
struct Capacity {
  uint32_t soft = 1;
  uint32_t hard = 1;
};

enum class LeaseEnd : uint8_t {
  Reusable,      // the place can be lent again
  Broken,        // the connection must not be used any more
  NotProcessed,  // the peer did not look at it: the op goes back to its first position in the queue
};

// What a session tells its connection in the pool. Never from inside a call into the session.
class Owner {
 public:
  virtual void on_capacity(Capacity capacity) = 0;
  // While held (a question to the peer is open) no new lease begins; running ones go on.
  virtual void on_hold(bool held) = 0;
  // The peer closes an idle connection after this long: said by itself (Keep-Alive: timeout=).
  virtual void on_idle_limit(Nanos limit) = 0;
  // No new leases ever; running ones go on.
  virtual void on_drain(const Failure& why) = 0;
  // The transport is gone; every lease was ended before.
  virtual void on_dead(const Failure& why) = 0;

 protected:
  ~Owner() = default;
};

class Session : public io::Discardable {
 public:
  // Once, before anything else. From here on the session reads.
  virtual void start(Owner& owner) = 0;
  virtual Capacity capacity() const = 0;
  // What a read would find on an idle connection. Anything but Quiet means that it must not be
  // lent.
  virtual io::Peek peek() = 0;
  // Asks the peer whether it still answers, before an idle connection is lent; `done` runs once,
  // later, unless the session is closed. Idle sessions only.
  virtual void check(Callback<void(Result<void>)> done) = 0;
  // Told when the last lease ended and before the first begins: buffers may be given back
  // meanwhile.
  virtual void idle(bool idle) = 0;
  // Ends everything that runs with E_CLOSED and closes the transport. No call to the owner comes
  // after it.
  virtual void close(bool abort) = 0;
  virtual io::StreamFacts facts() const = 0;
  // Moved so far, of leases alone.
  virtual uint64_t bytes_in() const = 0;
  virtual uint64_t bytes_out() const = 0;
};

}  // namespace conpool::session
