// Op slots: what a caller started, from submit to FINAL.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/list.h"
#include "base/result.h"
#include "base/settings.h"
#include "base/time.h"
#include "conpool/conpool.h"
#include "ops/mailbox.h"
#include "ops/object.h"
#include "ops/port.h"

namespace conpool::ops {

class Op;
class Queue;
class Slab;

// The loop's side of an op: what the loop is to do when the op is cancelled. Loop thread only.
class Task {
 public:
  // E_CANCELLED, or E_CLOSED when the op's queue was closed. At most once per op; must lead to
  // finish(), at once or later.
  virtual void cancel(Op& op, Status reason) = 0;

 protected:
  ~Task() = default;
};

// What the submitting call hands to the loop. Plain fields: the meaning belongs to the op's kind.
struct OpArguments {
  std::shared_ptr<void> target;             // endpoint or connection state, kept alive by the op
  std::shared_ptr<const Values> overrides;  // request-scope options, or null
  const uint8_t* data = nullptr;            // borrowed from the caller until FINAL
  size_t size = 0;
  int64_t number = 0;
};

struct OpSubmitMail : MailNode {};
struct OpCancelMail : MailNode {};
struct OpReadyTag {};
struct OpHeldTag {};
struct OpMemberTag {};

// Vocabulary. A slot is a place in a process-wide, type-stable slab that is never freed; an op is
// one use of a slot; its id is the use's generation and the slot's index + 1, so 0 is never an id
// and a stale id is recognised. A pin keeps a slot from being used again for a moment; a cancel on
// its way to the loop is a pin. A slot is released when its op is over (its id is stale from then
// on) and recycled when its last pin is gone.
//
// Invariants. Everything that is needed later lives in the slot (both mail nodes, queue links,
// FINAL), so only begin() can fail for memory; nothing else allocates. Exactly one of these
// releases a slot: the call of next() or wait() that delivers FINAL, abandon(), detach() or
// finish() of a detached op, close() or finish() of an op of a closed queue. in_flight goes down
// right then.
//
// Lifecycle. begin (any thread) → submit → [loop: run → set_task, post …] → finish → FINAL
// delivered → released. The loop itself may begin an op too: begin → finish, or begin → start → … →
// finish.
class alignas(64) Op : private OpSubmitMail,
                       private OpCancelMail,
                       public ListNode<OpReadyTag>,
                       public ListNode<OpHeldTag>,
                       public ListNode<OpMemberTag> {
 public:
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  // --- any thread --------------------------------------------------------------------------------
  // Takes a slot. `queue` may be null: the op is then waited for with wait(), or detached. Counts
  // against `limit` ops of `in_flight`, which lives as long as the port. E_OPS_LIMIT, E_NOMEM, or
  // E_CLOSED when the queue is closed. The op references port and queue until its slot is recycled.
  static Result<Op*> begin(Port& port, Queue* queue, uint32_t kind, uint64_t user_data,
                           std::atomic<int64_t>& in_flight, int64_t limit);
  // Posts the op: `run` is called once on the loop with the op. The caller holds a reference to the
  // port for the length of this call, and touches the op no more afterwards (take id() before).
  void submit(void (*run)(Op&)) noexcept;
  // Gives a slot back that was begun but never submitted or started.
  void abandon() noexcept;
  // Asks the loop to end the op; never blocks, idempotent; FINAL still comes, cancelled or not.
  // E_STALE for an id whose FINAL was delivered or that never was.
  static Status cancel(uint64_t id) noexcept;
  // For an op begun without a queue: blocks until FINAL, fills *out and frees the slot.
  // `timeout_ns` < 0 = no limit. With a caller's drive it runs loop turns instead of sleeping;
  // timeout 0 then runs one turn. E_TIMEOUT: the op goes on and may be waited for again. E_BUSY:
  // another thread waits for it, or drives the loop. E_STALE: no such op, or detached.
  // E_WRONG_STATE: the op has a queue. E_CLOSED: the pool went without finishing the op.
  static Status wait(uint64_t id, int64_t timeout_ns, conpool_event* out) noexcept;
  // For an op begun without a queue that nobody will wait for: cancels it; the slot is freed when
  // it finishes. E_BUSY while a thread waits; E_STALE; E_WRONG_STATE as wait.
  static Status detach(uint64_t id) noexcept;
  // True for a live op that fork() copied into this process: its loop is the parent's.
  static bool inherited(uint64_t id) noexcept;
  // Of an op that the caller knows to be live: begun by it and not submitted, or on the loop.
  uint64_t id() const noexcept;
  OpArguments& arguments() { return arguments_; }

  // --- loop thread
  // ---------------------------------------------------------------------------------
  uint32_t kind() const { return kind_; }
  uint64_t user_data() const { return user_data_; }
  // The op's cancel goes here. A cancel that came while there was no task is only remembered: look
  // at cancel_requested() when the task is set after `run` returned.
  void set_task(Task* task) { task_ = task; }
  bool cancel_requested() const noexcept;
  // Marks an op that the loop began itself as running, so that a cancel reaches its task.
  void start() noexcept;
  // An event before FINAL, carried by the object's own node: the object must not be null, nor in
  // another event, and the op must have a queue. The object now belongs to the event.
  void post(uint32_t kind, Status status, Object* object, uint64_t value0 = 0, uint64_t value1 = 0,
            uint32_t flags = 0) noexcept;
  // FINAL (the flag is added), of the kind given to begin. `object` may be null. Exactly once;
  // nothing may touch the op after it. Drops the arguments first, so their destructors run on the
  // loop.
  void finish(Status status, Object* object, uint64_t value0 = 0, uint64_t value1 = 0,
              uint32_t flags = 0) noexcept;

 private:
  friend class Queue;
  friend class Slab;
  friend void dispose(conpool_event* event) noexcept;

  // state_: generation in the upper half; these flags and the count of pins in the lower.
  static constexpr uint64_t kLive = 1;             // begun and not recycled
  static constexpr uint64_t kSubmitted = 2;        // a cancel may be posted
  static constexpr uint64_t kCancelRequested = 4;  // once; posted at once, or by submit()
  static constexpr uint64_t kReasonClosed = 8;     // the cancel came from the queue's close
  static constexpr uint64_t kReleased = 16;        // over: the last pin recycles
  static constexpr uint64_t kClaimed = 32;         // one thread is in wait() or detach()
  static constexpr uint64_t kPin = 256;
  static constexpr uint64_t kPinMask = 0xffffff00;

  // outcome_: arbiter between finish() and the thread that waits or detaches; also the futex.
  enum Outcome : uint32_t { kRunning, kAsleep, kDone, kDetached };

  Op() = default;
  static Status claim(uint64_t id, Op** out) noexcept;  // pins and claims, or says why not
  void unclaim() noexcept;                              // unclaims and unpins
  static Op* pin(uint64_t id) noexcept;                 // nullptr when stale
  void unpin() noexcept;
  void release() noexcept;
  void recycle() noexcept;
  // Marks the cancel. True: the slot is pinned for its cancel node and the caller must call
  // post_cancel().
  bool request_cancel(uint64_t generation, uint64_t reason, Status* status) noexcept;
  void post_cancel() noexcept;
  static void run_submit(MailNode& node);
  static void run_cancel(MailNode& node);
  void deliver_cancel();
  void fill_final(conpool_event* event) const noexcept;
  Status sleep_for_outcome(int64_t timeout_ns) noexcept;
  Status turn_for_outcome(Drive& drive, int64_t timeout_ns) noexcept;

  std::atomic<uint64_t> state_{0};
  std::atomic<uint32_t> outcome_{kRunning};
  std::atomic<uint32_t> next_free_{0};  // index + 1 of the next slot on the slab's free list
  std::atomic<uint32_t> born_{0};       // the fork generation of the process that began it
  uint32_t index_ = 0;                  // of this slot; set once
  uint32_t kind_ = 0;
  uint64_t user_data_ = 0;
  Port* port_ = nullptr;
  Queue* queue_ = nullptr;
  std::atomic<int64_t>* in_flight_ = nullptr;
  Op* chain_ = nullptr;  // a list of ops private to one call (of next or close)

  // The loop's own.
  void (*run_)(Op&) = nullptr;
  Task* task_ = nullptr;
  bool started_ = false;  // run was called
  bool finished_ = false;
  bool cancel_early_ = false;  // the cancel's mail was read before the submit's
  OpArguments arguments_;

  // FINAL: written by finish(), read after the queue's mutex or outcome_ was.
  Status status_ = Status::OK;
  uint32_t flags_ = 0;
  Time time_ = 0;
  Object* object_ = nullptr;
  uint64_t value_[2] = {0, 0};

  // Guarded by the queue's mutex.
  Object* first_event_ = nullptr;  // undelivered events before FINAL
  Object* last_event_ = nullptr;
  bool final_pending_ = false;  // FINAL is there and was not delivered
  uint32_t delivery_ = 0;       // the number of the last delivery, in its events' `reserved`
  uint32_t undisposed_ = 0;     // events of that delivery that the consumer still has
  uint64_t holder_ = 0;         // the thread that has them; 0 = not withheld
};

}  // namespace conpool::ops
