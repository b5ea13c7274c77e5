// Op slots: what a caller started, from submit to FINAL.
//
// Vocabulary. A slot is a place in a process-wide, type-stable slab; an op id is generation and slot, so a
// stale id is recognised and harmless. The submitting thread fills a slot and posts its mail node; the loop's
// thread runs it, produces its events, and finishes it exactly once. The slot holds everything that is needed
// later (mail nodes for submit and cancel, queue links, FINAL), so that only beginning an op can fail for memory.
//
// Lifecycle. begin (any thread) → submit → [loop: post events…] → finish (loop) → FINAL taken by a consumer,
// a waiter, or a closing queue → free. A cancel that is on its way to the loop delays the free.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/callback.h"
#include "base/list.h"
#include "base/result.h"
#include "base/settings.h"
#include "base/time.h"
#include "conpool/conpool.h"
#include "ops/mailbox.h"

namespace conpool::ops {

class Queue;
class Op;

// Base of every object that an event may carry (connection, chunk, error, lookup). It is the first base
// of the public handle types, so the pointer in the event is the handle itself.
class Object {
 public:
  virtual ~Object() = default;
  // conpool_event_dispose on an event that still carries the object. Any thread.
  virtual void dispose() noexcept = 0;
};

// The loop's side of an op: what the loop is to do when the op is cancelled. Loop thread only.
class Task {
 public:
  virtual void cancel(Op& op, Status reason) = 0;  // E_CANCELLED or E_CLOSED; must lead to finish(), at once or later

 protected:
  ~Task() = default;
};

// Where ops are posted: one per pool core. Outlives every op that refers to it.
class Port {
 public:
  // Any thread. Wakes the loop when it may sleep.
  virtual void post(MailNode& node) noexcept = 0;
  virtual Time now() const noexcept = 0;  // CLOCK_MONOTONIC or virtual, for event time stamps; any thread
  virtual void ref() noexcept = 0;
  virtual void unref() noexcept = 0;

 protected:
  ~Port() = default;
};

// What the submitting call hands to the loop. Plain fields: the meaning belongs to the op's kind.
struct OpArguments {
  std::shared_ptr<void> target;             // endpoint or connection state, kept alive by the op
  std::shared_ptr<const Values> overrides;  // request-scope options, or null
  const uint8_t* data = nullptr;            // borrowed from the caller until FINAL
  size_t size = 0;
  int64_t number = 0;
};

class Op {
 public:
  // --- any thread --------------------------------------------------------------------------------
  // Takes a slot. `queue` may be null: the op is then waited for with wait(). Counts against `limit`
  // ops of `in_flight`. E_OPS_LIMIT, E_NOMEM, or E_CLOSED when the queue is closed.
  static Result<Op*> begin(Port& port, Queue* queue, uint32_t kind, uint64_t user_data,
                           std::atomic<int64_t>& in_flight, int64_t limit);
  // Posts the op: `run` is called once on the loop with the op.
  void submit(void (*run)(Op&)) noexcept;
  // Gives a slot back that was begun but never submitted.
  void abandon() noexcept;
  // E_STALE for an id that names no running op. Idempotent; FINAL still comes.
  static Status cancel(uint64_t id) noexcept;
  uint64_t id() const noexcept;

  // --- loop thread ---------------------------------------------------------------------------------
  OpArguments& arguments() { return arguments_; }
  uint64_t user_data() const { return user_data_; }
  // The op's cancel goes here. Without a task a cancel is remembered: see cancel_requested().
  void set_task(Task* task) { task_ = task; }
  bool cancel_requested() const;
  // An event before FINAL; its node is the object's own. (Unused until streaming bodies.)
  // FINAL. `object` may be null. Exactly once; nothing may touch the op after it.
  void finish(Status status, Object* object, uint64_t value0 = 0, uint64_t value1 = 0,
              uint32_t flags = 0) noexcept;

  // --- one waiting thread, for an op begun without a queue --------------------------------------------
  // (ops/wait.h) 

 private:
  friend class Queue;
  friend class SlotSlab;
  OpArguments arguments_;
  uint64_t user_data_ = 0;
  Task* task_ = nullptr;
};

}  // namespace conpool::ops
