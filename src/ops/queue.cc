// Completion queues: delivery, withholding, sleeping, the descriptor, close.
#include "ops/queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>

#include "base/limits.h"

namespace conpool::ops {

namespace {

using Lock = std::unique_lock<std::mutex>;

bool undelivered(const Object* first_event, bool final_pending) {
  return first_event != nullptr || final_pending;
}

// After the mutex is unlocked, and the queue possibly gone: each op's slot goes back.
template <typename Release>
void for_each_in_chain(Op* op, Op* Op::*chain, Release release) {
  while (op != nullptr) {
    Op* next = op->*chain;
    release(*op);
    op = next;
  }
}

}  // namespace

Result<Queue*> Queue::make(Drive* drive) {
  Queue* queue = new (std::nothrow) Queue(drive);
  if (queue == nullptr) return fail(Status::E_NOMEM);
  return queue;
}

Queue::Queue(Drive* drive) noexcept
    : drive_(drive != nullptr && drive->caller() ? drive : nullptr) {
  if (drive_ != nullptr) drive_->ref();
}

// Every op and every sleeper holds a reference, so nothing is linked any more.
Queue::~Queue() {
  assert(ready_.empty() && members_.empty() && sleepers_.empty() && undelivered_ == 0);
  if (fd_ >= 0) ::close(fd_);
  if (drive_ != nullptr) drive_->unref();
}

void Queue::unref() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// --- from ops --------------------------------------------------------------------------------

bool Queue::join(Op& op) noexcept {
  Lock lock(mutex_);
  if (closed_) return false;
  members_.push_back(op);
  return true;
}

void Queue::leave(Op& op) noexcept {
  Lock lock(mutex_);
  static_cast<ListNode<OpMemberTag>&>(op).unlink();
}

void Queue::post(Op& op, Object* object) noexcept {
  Lock lock(mutex_);
  if (closed_) {
    lock.unlock();
    object->dispose();
    return;
  }
  bool first = !undelivered(op.first_event_, op.final_pending_);
  (op.first_event_ == nullptr ? op.first_event_ : op.last_event_->node_.next) = object;
  op.last_event_ = object;
  Wakeup wakeup;
  if (first) arrived_locked(op, &wakeup);
  unlock_and_wake(lock, wakeup);
}

void Queue::finish(Op& op) noexcept {
  Lock lock(mutex_);
  if (closed_) {
    lock.unlock();
    if (op.object_ != nullptr) op.object_->dispose();
    op.release();
    return;
  }
  bool first = !undelivered(op.first_event_, op.final_pending_);
  op.final_pending_ = true;
  Wakeup wakeup;
  if (first) arrived_locked(op, &wakeup);
  unlock_and_wake(lock, wakeup);  // a consumer may have freed the op by now
}

void Queue::disposed(Op& op, uint32_t delivery) noexcept {
  Lock lock(mutex_);
  // The number tells late news about an earlier delivery from news about this one.
  if (op.holder_ == 0 || op.delivery_ != delivery || --op.undisposed_ != 0) return;
  unhold_locked(op);
  Wakeup wakeup;
  if (!ready_.empty()) pick_locked(&wakeup);
  unlock_and_wake(lock, wakeup);
}

// --- under the mutex -------------------------------------------------------------------------

// The op has undelivered events, and had none.
void Queue::arrived_locked(Op& op, Wakeup* wakeup) noexcept {
  count_locked(+1);
  if (op.holder_ != 0) return;
  ready_.push_back(op);
  pick_locked(wakeup);
}

void Queue::unhold_locked(Op& op) noexcept {
  op.holder_ = 0;
  op.undisposed_ = 0;
  static_cast<ListNode<OpHeldTag>&>(op).unlink();
  --held_count_;
  if (undelivered(op.first_event_, op.final_pending_)) ready_.push_back(op);
}

void Queue::unhold_all_locked(uint64_t thread) noexcept {
  if (held_count_ == 0) return;
  List<Op, OpHeldTag>& held = held_[thread % kHolderLists];
  for (Op* op = held.front(); op != nullptr;) {
    Op* next = held.next(*op);
    if (op->holder_ == thread) unhold_locked(*op);
    op = next;
  }
}

// Moves events of an op that was just taken from the front of ready_. Chains it to *over when FINAL
// is among them, else withholds it.
uint32_t Queue::deliver_locked(Op& op, conpool_event* events, uint32_t capacity,
                               Op** over) noexcept {
  if (++op.delivery_ == 0) op.delivery_ = 1;
  uint32_t count = 0;
  for (; count < capacity && op.first_event_ != nullptr; ++count) {
    Object* object = op.first_event_;
    op.first_event_ = object->node_.next;
    const Object::Node& node = object->node_;
    events[count] = {node.kind,
                     node.flags,
                     op.id(),
                     op.user_data_,
                     static_cast<int32_t>(node.status),
                     op.delivery_,
                     node.time,
                     object,
                     {node.value[0], node.value[1]}};
  }
  if (count < capacity && op.final_pending_) {
    op.fill_final(&events[count++]);
    op.final_pending_ = false;
    static_cast<ListNode<OpMemberTag>&>(op).unlink();
    op.chain_ = *over;
    *over = &op;
    count_locked(-1);
    return count;
  }
  if (!undelivered(op.first_event_, op.final_pending_)) count_locked(-1);
  op.undisposed_ = count;
  op.holder_ = this_thread_number();
  held_[op.holder_ % kHolderLists].push_back(op);
  ++held_count_;
  return count;
}

// Chooses who must look again; one is enough, because whoever leaves work behind picks the next.
void Queue::pick_locked(Wakeup* wakeup) noexcept {
  if (Sleeper* sleeper = sleepers_.pop_front()) {
    // Stored while the sleeper cannot leave: from the unlock on it may be gone.
    sleeper->woken.store(1, std::memory_order_release);
    wakeup->sleeper = &sleeper->woken;
  }
  wakeup->interrupt = driver_ != 0 && driver_ != this_thread_number();
}

void Queue::count_locked(int change) noexcept {
  bool before = undelivered_ != 0;
  undelivered_ += static_cast<size_t>(change);
  bool after = undelivered_ != 0;
  if (before == after) return;
  if (drive_ != nullptr) drive_->add_pending(after ? +1 : -1);
  signal_locked();
}

// Under the mutex, so that the descriptor never tells of a state that has passed.
void Queue::signal_locked() noexcept {
  bool wanted = closed_ || undelivered_ != 0;
  if (fd_ < 0 || wanted == signalled_) return;
  uint64_t count = 1;
  ssize_t moved = wanted ? ::write(fd_, &count, sizeof(count)) : ::read(fd_, &count, sizeof(count));
  assert(moved == sizeof(count));
  static_cast<void>(moved);
  signalled_ = wanted;
}

void Queue::unlock_and_wake(Lock& lock, const Wakeup& wakeup) noexcept {
  if (wakeup.interrupt) ref();  // once unlocked, the queue is ours no longer
  lock.unlock();
  if (wakeup.sleeper != nullptr) futex_wake(*wakeup.sleeper);
  if (wakeup.interrupt) {
    drive_->interrupt();
    unref();
  }
}

// --- consumers -------------------------------------------------------------------------------

int32_t Queue::next(conpool_event* events, uint32_t capacity, int64_t timeout_ns) noexcept {
  if (events == nullptr || capacity == 0) return static_cast<int32_t>(Status::E_INVALID);
  capacity = std::min<uint32_t>(capacity, limits::kEventsPerBatch);
  return drive_ == nullptr ? next_sleeping(events, capacity, timeout_ns)
                           : next_turning(events, capacity, timeout_ns);
}

// True when next() has its answer; the lock is then released. False: there is nothing to say yet.
bool Queue::answer_and_unlock(Lock& lock, conpool_event* events, uint32_t capacity,
                              int32_t* answer) noexcept {
  unhold_all_locked(this_thread_number());
  uint32_t count = 0;
  Op* over = nullptr;
  while (count < capacity && !ready_.empty()) {
    count += deliver_locked(*ready_.pop_front(), events + count, capacity - count, &over);
  }
  *answer = static_cast<int32_t>(count);
  if (count == 0 && closed_) {
    *answer = static_cast<int32_t>(Status::E_CLOSED);
  } else if (count == 0) {
    if (wakes_ == 0) return false;
    --wakes_;
  }
  Wakeup wakeup;
  if (!ready_.empty() || wakes_ != 0) pick_locked(&wakeup);
  unlock_and_wake(lock, wakeup);
  for_each_in_chain(over, &Op::chain_, [](Op& op) { op.release(); });
  return true;
}

int32_t Queue::next_sleeping(conpool_event* events, uint32_t capacity,
                             int64_t timeout_ns) noexcept {
  int32_t answer = 0;
  Lock lock(mutex_);
  if (answer_and_unlock(lock, events, capacity, &answer) || timeout_ns == 0) return answer;
  ref();  // the handle may be freed, and with it closed, while we sleep
  Time deadline = timeout_ns < 0 ? kNever : deadline_after(monotonic_now(), timeout_ns);
  bool in_time = true;
  while (in_time) {
    Sleeper sleeper;
    sleepers_.push_front(sleeper);
    lock.unlock();
    while (in_time && sleeper.woken.load(std::memory_order_acquire) == 0) {
      in_time = futex_wait(sleeper.woken, 0, deadline);
    }
    lock.lock();
    sleeper.unlink();
    // Even when the time has passed: we may have been picked, and then nobody else was.
    if (answer_and_unlock(lock, events, capacity, &answer)) break;
  }
  if (lock.owns_lock()) lock.unlock();
  unref();
  return answer;
}

int32_t Queue::next_turning(conpool_event* events, uint32_t capacity, int64_t timeout_ns) noexcept {
  Time deadline = timeout_ns < 0    ? kNever
                  : timeout_ns == 0 ? 0
                                    : deadline_after(drive_->now(), timeout_ns);
  const uint64_t thread = this_thread_number();
  ref();
  int32_t answer = 0;
  Status status = Status::OK;
  bool last = false;
  Lock lock(mutex_);
  while (!answer_and_unlock(lock, events, capacity, &answer)) {
    if (driver_ != 0) status = Status::E_BUSY;
    if (last || status != Status::OK) {
      lock.unlock();
      answer = static_cast<int32_t>(status);
      break;
    }
    driver_ = thread;
    lock.unlock();
    status = drive_->run_turn(deadline);
    last = timeout_ns >= 0 && drive_->now() >= deadline;
    lock.lock();
    driver_ = 0;
  }
  unref();
  return answer;
}

void Queue::wake() noexcept {
  Lock lock(mutex_);
  if (closed_) return;
  ++wakes_;
  Wakeup wakeup;
  pick_locked(&wakeup);
  unlock_and_wake(lock, wakeup);
}

int32_t Queue::fd() noexcept {
  if (drive_ != nullptr) return drive_->fd();
  Lock lock(mutex_);
  if (fd_ < 0) {
    fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd_ < 0) {
      Status status = errno == EMFILE || errno == ENFILE ? Status::E_FD_LIMIT
                      : errno == ENOMEM                  ? Status::E_NOMEM
                                                         : Status::E_SYSTEM;
      return static_cast<int32_t>(status);
    }
    signal_locked();
  }
  return fd_;
}

// --- close -----------------------------------------------------------------------------------

// Unlinks what the op has delivered or not, and moves its events before FINAL to *objects.
void Queue::discard_locked(Op& op, Object** objects) noexcept {
  static_cast<ListNode<OpReadyTag>&>(op).unlink();
  static_cast<ListNode<OpHeldTag>&>(op).unlink();
  op.holder_ = 0;
  if (op.first_event_ != nullptr) {
    op.last_event_->node_.next = *objects;
    *objects = op.first_event_;
    op.first_event_ = nullptr;
  }
}

void Queue::close() noexcept {
  Object* objects = nullptr;
  Op* finished = nullptr;
  Op* cancelled = nullptr;
  Wakeup wakeup;
  Lock lock(mutex_);
  if (closed_) return;
  closed_ = true;
  while (Op* op = members_.pop_front()) {
    discard_locked(*op, &objects);
    Status status = Status::OK;
    Op** chain = nullptr;
    if (op->final_pending_) {
      op->final_pending_ = false;
      chain = &finished;
    } else if (op->request_cancel(op->id() >> 32, Op::kReasonClosed, &status)) {
      chain = &cancelled;  // pinned: it stays what it is until its mail is read
    }
    if (chain == nullptr) continue;
    op->chain_ = *chain;
    *chain = op;
  }
  held_count_ = 0;
  if (drive_ != nullptr && undelivered_ != 0) drive_->add_pending(-1);
  undelivered_ = 0;
  wakes_ = 0;
  signal_locked();
  while (!sleepers_.empty()) {
    // Under the mutex: there is no room to remember them all, and close is rare.
    pick_locked(&wakeup);
    futex_wake(*wakeup.sleeper);
  }
  wakeup = Wakeup{};
  pick_locked(&wakeup);
  unlock_and_wake(lock, wakeup);

  while (objects != nullptr) {
    Object* next = objects->node_.next;
    objects->dispose();
    objects = next;
  }
  for_each_in_chain(finished, &Op::chain_, [](Op& op) {
    if (op.object_ != nullptr) op.object_->dispose();
    op.release();
  });
  for_each_in_chain(cancelled, &Op::chain_, [](Op& op) { op.post_cancel(); });
}

}  // namespace conpool::ops
