// Completion queues: how finished work reaches the application's threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/list.h"
#include "base/result.h"
#include "conpool/conpool.h"
#include "ops/futex.h"
#include "ops/op.h"
#include "ops/port.h"

namespace conpool::ops {

// Vocabulary. An op is ready when it has undelivered events and is not withheld; it is withheld
// while a consumer has events of it that are neither disposed nor followed by that thread's next
// call of next().
//
// Invariants. The queue links ops, each at most once, in the order in which they became ready. A
// delivery holds events of an op in order; no second delivery of the op happens while it is
// withheld, so N consumers run different ops in parallel and one op in order. FINAL withholds
// nothing: its op's slot is free when next() returns.
//
// The descriptor is readable while an op has undelivered events, withheld or not (a withheld op's
// holder gets them by calling next(), and a host loop with one thread would otherwise sleep for
// ever), and once the queue is closed.
//
// Locks. mutex_ is a leaf: under it no object is disposed, no task, port or slab is called, only
// Drive::add_pending. Sleepers are woken after it is unlocked.
//
// Lifecycle. make → … → close → the last reference (of the handle, of an op) frees it.
class Queue {
 public:
  // `drive`: the caller's drive whose turns next() runs; nullptr (or one that is not caller()) when
  // loops have threads. One reference belongs to the caller. E_NOMEM.
  static Result<Queue*> make(Drive* drive);
  void ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  // The caller's drive that it belongs to; nullptr when its consumers sleep.
  const Drive* drive() const noexcept { return drive_; }
  void unref() noexcept;

  // Moves up to `capacity` events into `events` and answers how many. Waits up to `timeout_ns` (<
  // 0: no limit) for the first. 0: the time passed, or wake(). E_CLOSED after close(); E_INVALID
  // without room for an event. With a caller's drive it runs turns of the loop while it waits
  // (timeout 0: one turn, without sleeping) and answers E_BUSY when another thread does. Releases
  // the ops that this thread's earlier call withheld.
  int32_t next(conpool_event* events, uint32_t capacity, int64_t timeout_ns) noexcept;
  // One blocked next() that has nothing to deliver, or else the next call that has nothing, returns
  // 0 early; each call of wake() counts. The descriptor does not tell.
  void wake() noexcept;
  // Made at the first call, level-triggered, CLOEXEC, the queue's own: never read, write or close
  // it. The loop's descriptor with a caller's drive. A negative status on failure: E_FD_LIMIT,
  // E_SYSTEM, E_NOMEM.
  int32_t fd() noexcept;
  // Refuses new ops, cancels the running ones with E_CLOSED, disposes undelivered events, wakes
  // everybody. Ops of a closed queue end without FINAL. Any thread, any number of times.
  void close() noexcept;

  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

 private:
  friend class Op;
  friend void dispose(conpool_event* event) noexcept;
  // Holders are spread over these lists, so that next() looks only at few ops of other threads.
  static constexpr size_t kHolderLists = 16;

  struct SleeperTag {};
  // A thread that sleeps in next(), on its own stack; woken by the one that unlinks it.
  struct Sleeper : ListNode<SleeperTag> {
    std::atomic<uint32_t> woken{0};
  };
  // Whom to wake once the mutex is unlocked.
  struct Wakeup {
    std::atomic<uint32_t>* sleeper = nullptr;
    bool interrupt = false;
  };

  explicit Queue(Drive* drive) noexcept;
  ~Queue();

  // For Op.
  bool join(Op& op) noexcept;  // false when closed
  void leave(Op& op) noexcept;
  void post(Op& op, Object* object) noexcept;
  void finish(Op& op) noexcept;
  void disposed(Op& op, uint32_t delivery) noexcept;

  // The suffix says: mutex_ is held.
  void arrived_locked(Op& op, Wakeup* wakeup) noexcept;
  void unhold_locked(Op& op) noexcept;
  void unhold_all_locked(uint64_t thread) noexcept;
  uint32_t deliver_locked(Op& op, conpool_event* events, uint32_t capacity, Op** over) noexcept;
  void discard_locked(Op& op, Object** objects) noexcept;
  void pick_locked(Wakeup* wakeup) noexcept;
  void count_locked(int change) noexcept;
  void signal_locked() noexcept;
  void unlock_and_wake(std::unique_lock<std::mutex>& lock, const Wakeup& wakeup) noexcept;

  bool answer_and_unlock(std::unique_lock<std::mutex>& lock, conpool_event* events,
                         uint32_t capacity, int32_t* answer) noexcept;
  int32_t next_sleeping(conpool_event* events, uint32_t capacity, int64_t timeout_ns) noexcept;
  int32_t next_turning(conpool_event* events, uint32_t capacity, int64_t timeout_ns) noexcept;

  std::atomic<uint32_t> references_{1};
  Drive* const drive_;  // nullptr: loops have threads

  std::mutex mutex_;
  bool closed_ = false;
  uint32_t wakes_ = 0;      // calls of wake() that no next() has answered
  size_t undelivered_ = 0;  // ops with undelivered events, ready or withheld
  size_t held_count_ = 0;   // ops in held_
  int fd_ = -1;             // eventfd, once asked for
  bool signalled_ = false;  // fd_ holds a count
  uint64_t driver_ = 0;     // the thread that runs turns in next(), with a caller's drive
  List<Op, OpReadyTag> ready_;
  List<Op, OpHeldTag> held_[kHolderLists];
  List<Op, OpMemberTag> members_;  // every op of this queue whose FINAL was not delivered
  List<Sleeper, SleeperTag>
      sleepers_;  // last in, first out: the warmest cache, and the rest may sleep on
};

}  // namespace conpool::ops
