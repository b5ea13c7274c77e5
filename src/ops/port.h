// Port and Drive: what ops need of the loop they run on. The pool's core implements both.
#pragma once

#include "base/status.h"
#include "base/time.h"
#include "ops/mailbox.h"

namespace conpool::ops {

// A loop as seen by the threads that call run_turn in its stead (`loop.drive` = caller). Counted: a
// queue keeps its drive alive.
class Drive {
 public:
  // False: the loop has a thread of its own, and none of the functions below but ref and unref is
  // called.
  virtual bool caller() const noexcept = 0;
  // Runs one turn on the calling thread, sleeping until an event, a timer, an interrupt or `until`
  // (an `until` that is not in the future: does not sleep). E_BUSY when another thread is in it;
  // E_CLOSED when the pool is gone.
  virtual Status run_turn(Time until) noexcept = 0;
  // Any thread: a sleeping run_turn, or else the next one, returns without sleeping on.
  virtual void interrupt() noexcept = 0;
  // Readable while run_turn has something to do or the sum of add_pending is above zero; a negative
  // status when there is none.
  virtual int fd() noexcept = 0;
  // +1 when a queue of this drive begins to hold undelivered events, -1 when it ends to. Any
  // thread. Called under the queue's mutex, so it takes no lock under which a queue or an op is
  // called.
  virtual void add_pending(int delta) noexcept = 0;
  virtual Time now()
      const noexcept = 0;  // of the loop's clock, virtual in the sim world; any thread
  virtual void ref() noexcept = 0;
  virtual void unref() noexcept = 0;

 protected:
  ~Drive() = default;
};

// Where ops are posted: one per loop. Counted: every op keeps its port alive until its slot is
// free.
class Port {
 public:
  // Any thread; wakes the loop when it may sleep. Every node that is posted is run exactly once,
  // one at a time, in the order of posting by one thread: by the loop, or, once the loop has ended,
  // by post() itself or the teardown (a late submit's `run` then finishes its op with E_CLOSED; a
  // late cancel merely lets go of its slot). The caller holds a reference to the port.
  virtual void post(MailNode& node) noexcept = 0;
  virtual Time now()
      const noexcept = 0;  // CLOCK_MONOTONIC or virtual, for event time stamps; any thread
  // The drive that wait() turns when the loop has no thread; nullptr when it has one.
  virtual Drive* caller_drive() noexcept = 0;
  virtual void ref() noexcept = 0;
  virtual void unref() noexcept = 0;

 protected:
  ~Port() = default;
};

}  // namespace conpool::ops
