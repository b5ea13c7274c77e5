// Op slots: begin, submit, cancel, finish, wait; and the life of a slot.
//
// Memory orders. state_ is changed by read-modify-writes with acquire and release alike: whoever
// recycles a slot must see everything that the owners of the other pins did before they let go, and
// a new use must be seen whole by a thread that pins it. FINAL travels from the loop to its taker
// through the queue's mutex, or through outcome_.
#include "ops/op.h"

#include <cassert>
#include <new>

#include "ops/fork.h"
#include "ops/futex.h"
#include "ops/queue.h"
#include "ops/slab.h"

namespace conpool::ops {

namespace {

constexpr auto kBoth = std::memory_order_acq_rel;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelaxed = std::memory_order_relaxed;

uint64_t generation_of(uint64_t word) {
  return word >> 32;
}  // of an id, and of state_
Op* slot_of(uint64_t id) {
  return Slab::at((id & 0xffffffff) - 1);
}  // id 0 wraps to an index without slot

// Compare-and-swap rather than add-and-check: an op that is refused must not, for a moment, make
// the count look higher to another thread that is still below the limit.
bool count_one_more(std::atomic<int64_t>& in_flight, int64_t limit) {
  int64_t count = in_flight.load(kRelaxed);
  do {
    if (count >= limit) return false;
  } while (!in_flight.compare_exchange_weak(count, count + 1, kRelaxed, kRelaxed));
  return true;
}

}  // namespace

// --- beginning and submitting ----------------------------------------------------------------

Result<Op*> Op::begin(Port& port, Queue* queue, uint32_t kind, uint64_t user_data,
                      std::atomic<int64_t>& in_flight, int64_t limit) {
  if (!count_one_more(in_flight, limit)) return fail(Status::E_OPS_LIMIT);
  Op* op = Slab::take();
  if (op == nullptr) {
    in_flight.fetch_sub(1, kRelaxed);
    return fail(Status::E_NOMEM);
  }
  op->born_.store(fork_generation(), kRelaxed);
  op->kind_ = kind;
  op->user_data_ = user_data;
  op->port_ = &port;
  op->queue_ = queue;
  op->in_flight_ = &in_flight;
  port.ref();
  if (queue != nullptr) queue->ref();
  op->state_.store(op->state_.load(kRelaxed) | kLive, std::memory_order_release);
  if (queue != nullptr && !queue->join(*op)) {
    op->release();
    return fail(Status::E_CLOSED);
  }
  return op;
}

void Op::submit(void (*run)(Op&)) noexcept {
  run_ = run;
  OpSubmitMail::run = run_submit;
  uint64_t state = state_.load(kRelaxed);
  uint64_t next;
  do {
    assert((state & kLive) != 0 && (state & kSubmitted) == 0);
    next = state | kSubmitted;
    if ((state & kCancelRequested) != 0) next += kPin;
  } while (!state_.compare_exchange_weak(state, next, kBoth, kRelaxed));
  // From here on the op may be over, and its slot in another use, at any time; unless our cancel
  // pins it.
  port_->post(static_cast<OpSubmitMail&>(*this));
  if ((state & kCancelRequested) != 0) post_cancel();
}

void Op::abandon() noexcept {
  assert((state_.load(kRelaxed) & (kLive | kSubmitted)) == kLive);
  arguments_ = OpArguments{};
  if (queue_ != nullptr) queue_->leave(*this);
  release();
}

void Op::start() noexcept {
  assert(!started_);
  started_ = true;
  state_.fetch_or(kSubmitted, kBoth);
}

uint64_t Op::id() const noexcept {
  return generation_of(state_.load(kRelaxed)) << 32 | (uint64_t{index_} + 1);
}

// --- cancelling ------------------------------------------------------------------------------

Status Op::cancel(uint64_t id) noexcept {
  Op* op = slot_of(id);
  if (op == nullptr) return Status::E_STALE;
  Status status = Status::OK;
  if (op->request_cancel(generation_of(id), 0, &status)) op->post_cancel();
  return status;
}

// One compare-and-swap checks the generation, marks the cancel and pins the slot for its mail. So
// the mail is posted at most once per op, and the slot is not used again before the loop has read
// it.
bool Op::request_cancel(uint64_t generation, uint64_t reason, Status* status) noexcept {
  uint64_t state = state_.load(kAcquire);
  uint64_t next;
  do {
    bool live = generation_of(state) == generation && (state & (kLive | kReleased)) == kLive;
    *status = live ? Status::OK : Status::E_STALE;
    if (!live || (state & kCancelRequested) != 0) return false;
    next = state | kCancelRequested | reason;
    if ((state & kSubmitted) != 0) next += kPin;  // else submit() will post the mail
  } while (!state_.compare_exchange_weak(state, next, kBoth, kAcquire));
  return (state & kSubmitted) != 0;
}

void Op::post_cancel() noexcept {
  // The loop may read the mail at once and let go of the op's own reference to the port.
  Port* port = port_;
  port->ref();
  OpCancelMail::run = run_cancel;
  port->post(static_cast<OpCancelMail&>(*this));
  port->unref();
}

bool Op::cancel_requested() const noexcept {
  return (state_.load(kAcquire) & kCancelRequested) != 0;
}

// --- on the loop -----------------------------------------------------------------------------

void Op::run_submit(MailNode& node) {
  Op& op = static_cast<Op&>(static_cast<OpSubmitMail&>(node));
  op.started_ = true;
  bool early =
      op.cancel_early_;  // read before run, which may end the op; a cancel's pin keeps the slot
  op.run_(op);
  if (early) op.deliver_cancel();
}

void Op::run_cancel(MailNode& node) {
  Op& op = static_cast<Op&>(static_cast<OpCancelMail&>(node));
  if (!op.started_) {
    // A cancel overtook the submit: another thread knew the id before submit() had posted.
    op.cancel_early_ = true;
    return;
  }
  op.deliver_cancel();
}

void Op::deliver_cancel() {
  if (!finished_ && task_ != nullptr) {
    bool closed = (state_.load(kRelaxed) & kReasonClosed) != 0;
    task_->cancel(*this, closed ? Status::E_CLOSED : Status::E_CANCELLED);
  }
  unpin();
}

void Op::post(uint32_t kind, Status status, Object* object, uint64_t value0, uint64_t value1,
              uint32_t flags) noexcept {
  assert(!finished_ && object != nullptr && queue_ != nullptr);
  object->node_ = {nullptr, kind,         flags & ~uint32_t{CONPOOL_EVENT_FINAL},
                   status,  port_->now(), {value0, value1}};
  queue_->post(*this, object);
}

void Op::finish(Status status, Object* object, uint64_t value0, uint64_t value1,
                uint32_t flags) noexcept {
  assert(!finished_ && (state_.load(kRelaxed) & (kLive | kReleased)) == kLive);
  finished_ = true;
  task_ = nullptr;
  arguments_ = OpArguments{};
  status_ = status;
  flags_ = flags | CONPOOL_EVENT_FINAL;
  time_ = port_->now();
  object_ = object;
  value_[0] = value0;
  value_[1] = value1;
  if (queue_ != nullptr) {
    queue_->finish(*this);
    return;
  }
  // The exchange is the last access: a waiter that sees kDone frees the slot. kDetached stays, so
  // that a second detach(), which may have pinned the slot before we release it, does not take the
  // op for its own.
  uint32_t before = outcome_.load(kAcquire);
  while (before != kDetached && !outcome_.compare_exchange_weak(before, kDone, kBoth, kAcquire)) {
  }
  if (before == kAsleep) futex_wake(outcome_);
  if (before == kDetached) {
    if (object != nullptr) object->dispose();
    release();
  }
}

// --- waiting ---------------------------------------------------------------------------------

Status Op::claim(uint64_t id, Op** out) noexcept {
  Op* op = pin(id);
  if (op == nullptr) return Status::E_STALE;
  if (op->queue_ != nullptr) {
    op->unpin();
    return Status::E_WRONG_STATE;
  }
  if ((op->state_.fetch_or(kClaimed, kBoth) & kClaimed) != 0) {
    op->unpin();
    return Status::E_BUSY;
  }
  if (op->outcome_.load(kAcquire) == kDetached) {
    op->unclaim();
    return Status::E_STALE;
  }
  *out = op;
  return Status::OK;
}

void Op::unclaim() noexcept {
  state_.fetch_and(~kClaimed, kBoth);
  unpin();
}

Status Op::wait(uint64_t id, int64_t timeout_ns, conpool_event* out) noexcept {
  Op* op = nullptr;
  Status status = claim(id, &op);
  if (status != Status::OK) return status;
  Drive* drive = op->port_->caller_drive();
  status = drive == nullptr ? op->sleep_for_outcome(timeout_ns)
                            : op->turn_for_outcome(*drive, timeout_ns);
  if (status != Status::OK) {
    op->unclaim();
    return status;
  }
  op->fill_final(out);
  op->release();
  op->unpin();
  return Status::OK;
}

Status Op::sleep_for_outcome(int64_t timeout_ns) noexcept {
  if (outcome_.load(kAcquire) == kDone) return Status::OK;
  if (timeout_ns == 0) return Status::E_TIMEOUT;
  Time deadline = timeout_ns < 0 ? kNever : deadline_after(monotonic_now(), timeout_ns);
  for (;;) {
    uint32_t seen = kRunning;
    outcome_.compare_exchange_strong(seen, kAsleep, kBoth, kAcquire);
    if (seen == kDone) return Status::OK;
    if (futex_wait(outcome_, kAsleep, deadline)) continue;
    seen = kAsleep;
    return outcome_.compare_exchange_strong(seen, kRunning, kBoth, kAcquire) ? Status::E_TIMEOUT
                                                                             : Status::OK;
  }
}

Status Op::turn_for_outcome(Drive& drive, int64_t timeout_ns) noexcept {
  Time deadline = timeout_ns < 0    ? kNever
                  : timeout_ns == 0 ? 0
                                    : deadline_after(drive.now(), timeout_ns);
  for (;;) {
    if (outcome_.load(kAcquire) == kDone) return Status::OK;
    Status status = drive.run_turn(deadline);
    if (outcome_.load(kAcquire) == kDone) return Status::OK;
    if (status != Status::OK) return status;
    if (timeout_ns >= 0 && drive.now() >= deadline) return Status::E_TIMEOUT;
  }
}

Status Op::detach(uint64_t id) noexcept {
  Op* op = nullptr;
  Status status = claim(id, &op);
  if (status != Status::OK) return status;
  uint32_t seen = kRunning;
  if (!op->outcome_.compare_exchange_strong(seen, kDetached, kBoth, kAcquire)) {
    if (op->object_ != nullptr) op->object_->dispose();
    op->release();
    op->unpin();
    return Status::OK;
  }
  if (op->request_cancel(generation_of(id), 0, &status)) op->post_cancel();
  op->unclaim();
  return Status::OK;
}

bool Op::inherited(uint64_t id) noexcept {
  const Op* op = slot_of(id);
  if (op == nullptr) return false;
  const uint64_t state = op->state_.load(kAcquire);
  return generation_of(state) == generation_of(id) && (state & (kLive | kReleased)) == kLive &&
         op->born_.load(kRelaxed) != fork_generation();
}

void Op::fill_final(conpool_event* event) const noexcept {
  event->kind = kind_;
  event->flags = flags_;
  event->op = id();
  event->user_data = user_data_;
  event->status = static_cast<conpool_status>(status_);
  event->reserved = 0;
  event->time_ns = time_;
  event->object = object_;
  event->value[0] = value_[0];
  event->value[1] = value_[1];
}

// --- the life of a slot ----------------------------------------------------------------------

Op* Op::pin(uint64_t id) noexcept {
  Op* op = slot_of(id);
  if (op == nullptr) return nullptr;
  uint64_t state = op->state_.load(kAcquire);
  do {
    bool live = generation_of(state) == generation_of(id) && (state & (kLive | kReleased)) == kLive;
    if (!live) return nullptr;
  } while (!op->state_.compare_exchange_weak(state, state + kPin, kBoth, kAcquire));
  return op;
}

void Op::unpin() noexcept {
  uint64_t before = state_.fetch_sub(kPin, kBoth);
  if ((before & kReleased) != 0 && (before & kPinMask) == kPin) recycle();
}

// The id is stale from here on. The count goes down first: once kReleased is set another thread's
// unpin may recycle the slot and let go of the port, which keeps the counter alive.
void Op::release() noexcept {
  in_flight_->fetch_sub(1, std::memory_order_release);
  uint64_t before = state_.fetch_or(kReleased, kBoth);
  assert((before & kReleased) == 0);
  if ((before & kPinMask) == 0) recycle();
}

void Op::recycle() noexcept {
  Port* port = port_;
  Queue* queue = queue_;
  outcome_.store(kRunning, kRelaxed);
  port_ = nullptr;
  queue_ = nullptr;
  in_flight_ = nullptr;
  chain_ = nullptr;
  task_ = nullptr;
  object_ = nullptr;
  started_ = finished_ = cancel_early_ = false;
  delivery_ = undisposed_ = 0;
  holder_ = 0;
  // A plain store: no flag is set that would let a pin or a cancel change the word, and the
  // generation is new.
  uint64_t generation = (generation_of(state_.load(kRelaxed)) + 1) & 0xffffffff;
  state_.store(generation << 32, std::memory_order_release);
  Slab::give(*this);
  if (queue != nullptr) queue->unref();
  port->unref();
}

// --- events ----------------------------------------------------------------------------------

void dispose(conpool_event* event) noexcept {
  if (event == nullptr) return;
  Object* object = static_cast<Object*>(event->object);
  uint32_t delivery = event->reserved;
  event->object = nullptr;
  event->reserved = 0;
  if (object != nullptr) object->dispose();
  if (delivery == 0) return;
  // Only events before FINAL carry a delivery's number. The pin keeps op and queue while we tell
  // them.
  Op* op = Op::pin(event->op);
  if (op == nullptr) return;
  if (op->queue_ != nullptr) op->queue_->disposed(*op, delivery);
  op->unpin();
}

}  // namespace conpool::ops
