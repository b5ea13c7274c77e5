// Slots, ids, cancel, limits, waiting without a queue.
#include "ops/op.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "fakes.h"
#include "ops/slab.h"

namespace {
thread_local bool forbid_allocation = false;
thread_local int forbidden_allocations = 0;

void* allocate(size_t size) {
  if (forbid_allocation) ++forbidden_allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t size) {
  return allocate(size);
}
void* operator new[](size_t size) {
  return allocate(size);
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  if (forbid_allocation) ++forbidden_allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

namespace conpool::ops {
namespace {

// A task that records its cancels and, when told, finishes.
struct RecordingTask final : Task {
  void cancel(Op& op, Status reason) override {
    ++cancels;
    last = reason;
    if (finish) op.finish(reason, nullptr);
  }
  int cancels = 0;
  Status last = Status::OK;
  bool finish = true;
};

struct OpTest : testing::Test {
  Op* begin(Queue* queue = nullptr, int64_t limit = 1000) {
    auto op = Op::begin(port, queue, CONPOOL_EVENT_WRITE, 7, port.in_flight, limit);
    return op ? *op : nullptr;
  }
  // Begins, submits and runs an op whose task is `task`.
  uint64_t running() {
    Op* op = begin();
    uint64_t id = op->id();
    static RecordingTask* current;
    static Op* started;
    current = &task;
    op->submit([](Op& o) {
      o.set_task(current);
      started = &o;
    });
    port.drain();
    last = started;
    return id;
  }
  void TearDown() override {
    EXPECT_EQ(port.in_flight, 0);
    EXPECT_EQ(port.references, 0);
    EXPECT_EQ(alive, 0);
  }
  FakePort port;
  RecordingTask task;
  Op* last = nullptr;
  std::atomic<int> alive{0};
  conpool_event event{};
};

TEST_F(OpTest, IdsAreNeverZeroAndNewForEachUseOfASlot) {
  Op* first = begin();
  uint64_t id = first->id();
  EXPECT_NE(id, 0u);
  first->abandon();
  Op* second = begin();
  ASSERT_EQ(first, second);  // the slot freed last is the warmest
  EXPECT_NE(second->id(), id);
  EXPECT_EQ(second->id() & 0xffffffff, id & 0xffffffff);
  EXPECT_EQ((second->id() >> 32), (id >> 32) + 1);
  EXPECT_EQ(Op::cancel(id), Status::E_STALE);
  EXPECT_FALSE(second->cancel_requested());
  second->abandon();
}

TEST_F(OpTest, IdsThatNeverWereAreStale) {
  for (uint64_t id : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 32, uint64_t{0xfffffff0},
                      uint64_t{Slab::kChunkSlots * Slab::kChunks}, uint64_t{5} << 32 | 4000000}) {
    EXPECT_EQ(Op::cancel(id), Status::E_STALE) << id;
    EXPECT_EQ(Op::wait(id, 0, &event), Status::E_STALE) << id;
    EXPECT_EQ(Op::detach(id), Status::E_STALE) << id;
  }
}

TEST_F(OpTest, LimitIsExact) {
  std::vector<Op*> ops;
  for (int i = 0; i < 3; ++i)
    ops.push_back(begin(nullptr, 3));
  auto refused = Op::begin(port, nullptr, 1, 0, port.in_flight, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, Status::E_OPS_LIMIT);
  EXPECT_EQ(port.in_flight, 3);
  ops.back()->abandon();
  EXPECT_EQ(port.in_flight, 2);
  ops.back() = begin(nullptr, 3);
  ASSERT_NE(ops.back(), nullptr);
  for (Op* op : ops)
    op->abandon();
}

TEST_F(OpTest, SlabGrowsByMoreThanAChunk) {
  std::vector<Op*> ops;
  for (size_t i = 0; i < 3 * Slab::kChunkSlots; ++i)
    ops.push_back(begin(nullptr, 100000));
  std::vector<uint64_t> ids;
  for (Op* op : ops)
    ids.push_back(op->id());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
  for (Op* op : ops)
    op->abandon();
}

TEST_F(OpTest, AbandonDropsArgumentsAndCount) {
  auto target = std::make_shared<int>(1);
  Op* op = begin();
  op->arguments().target = target;
  EXPECT_EQ(target.use_count(), 2);
  op->abandon();
  EXPECT_EQ(target.use_count(), 1);
}

TEST_F(OpTest, FinishDropsArgumentsBeforeFinalIsSeen) {
  auto target = std::make_shared<int>(1);
  Op* op = begin();
  uint64_t id = op->id();
  op->arguments().target = target;
  op->submit([](Op& o) { o.finish(Status::OK, nullptr); });
  port.drain();
  EXPECT_EQ(target.use_count(), 1);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
}

TEST_F(OpTest, FinalCarriesEverything) {
  Op* op = begin();
  uint64_t id = op->id();
  static Object* object;
  object = new CountedObject(alive);
  op->submit([](Op& o) { o.finish(Status::E_TIMEOUT, object, 11, 12, CONPOOL_EVENT_EOF); });
  port.time = 4711;
  port.drain();
  ASSERT_EQ(Op::wait(id, 0, &event), Status::OK);
  EXPECT_EQ(event.kind, CONPOOL_EVENT_WRITE);
  EXPECT_EQ(event.flags, CONPOOL_EVENT_FINAL | CONPOOL_EVENT_EOF);
  EXPECT_EQ(event.op, id);
  EXPECT_EQ(event.user_data, 7u);
  EXPECT_EQ(event.status, static_cast<int32_t>(Status::E_TIMEOUT));
  EXPECT_EQ(event.reserved, 0u);
  EXPECT_EQ(event.time_ns, 4711);
  EXPECT_EQ(event.object, object);
  EXPECT_EQ(event.value[0], 11u);
  EXPECT_EQ(event.value[1], 12u);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::E_STALE);
  dispose(&event);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(event.object, nullptr);
  dispose(&event);
}

TEST_F(OpTest, CancelReachesTheTaskOnce) {
  uint64_t id = running();
  int posts = port.posts;
  EXPECT_EQ(Op::cancel(id), Status::OK);
  EXPECT_EQ(Op::cancel(id), Status::OK);
  EXPECT_EQ(port.posts, posts + 1);
  EXPECT_EQ(task.cancels, 0);
  port.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(task.last, Status::E_CANCELLED);
  EXPECT_EQ(Op::cancel(id), Status::OK);  // FINAL is not delivered yet
  ASSERT_EQ(Op::wait(id, 0, &event), Status::OK);
  EXPECT_EQ(event.status, static_cast<int32_t>(Status::E_CANCELLED));
  EXPECT_EQ(Op::cancel(id), Status::E_STALE);
}

TEST_F(OpTest, CancelInFlightKeepsTheSlotFromReuse) {
  uint64_t id = running();
  Op* slot = last;
  EXPECT_EQ(Op::cancel(id), Status::OK);
  slot->finish(Status::OK, nullptr);
  ASSERT_EQ(Op::wait(id, 0, &event), Status::OK);
  EXPECT_EQ(event.status, 0);
  EXPECT_EQ(port.in_flight, 0);  // the count does not wait for the mail
  EXPECT_EQ(port.references, 1);
  Op* other = begin();
  EXPECT_NE(other, slot);
  EXPECT_EQ(Op::cancel(id), Status::E_STALE);
  port.drain();
  EXPECT_EQ(task.cancels, 0);
  Op* again = begin();
  EXPECT_EQ(again, slot);
  other->abandon();
  again->abandon();
}

TEST_F(OpTest, CancelBeforeSubmitIsPostedBySubmit) {
  Op* op = begin();
  uint64_t id = op->id();
  EXPECT_EQ(Op::cancel(id), Status::OK);
  EXPECT_EQ(port.posts, 0);
  static RecordingTask* current;
  current = &task;
  op->submit([](Op& o) {
    EXPECT_TRUE(o.cancel_requested());
    o.set_task(current);
  });
  EXPECT_EQ(port.posts, 2);
  port.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
}

// A port that, while a submit is being posted, lets another thread's cancel go first.
TEST_F(OpTest, CancelThatOvertakesTheSubmitReachesTheTask) {
  struct Overtaken final : FakePort {
    void post(MailNode& node) noexcept override {
      if (std::exchange(id, 0) != 0) {
        EXPECT_EQ(Op::cancel(saved), Status::OK);
        drain();
      }
      FakePort::post(node);
    }
    uint64_t id = 0, saved = 0;
  } overtaken;
  auto op = Op::begin(overtaken, nullptr, 1, 0, overtaken.in_flight, 10);
  ASSERT_TRUE(op);
  uint64_t id = overtaken.id = overtaken.saved = (*op)->id();
  static RecordingTask* current;
  current = &task;
  (*op)->submit([](Op& o) { o.set_task(current); });
  EXPECT_EQ(task.cancels, 0);
  overtaken.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
  EXPECT_EQ(overtaken.references, 0);
}

TEST_F(OpTest, CancelWithoutTaskIsRemembered) {
  Op* op = begin();
  uint64_t id = op->id();
  static Op* started;
  op->submit([](Op& o) { started = &o; });
  port.drain();
  Op::cancel(id);
  port.drain();
  EXPECT_TRUE(started->cancel_requested());
  started->finish(Status::E_CANCELLED, nullptr);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
}

TEST_F(OpTest, OpStartedByTheLoopIsCancelled) {
  Op* op = begin();
  uint64_t id = op->id();
  op->start();
  op->set_task(&task);
  Op::cancel(id);
  port.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
}

TEST_F(OpTest, WaitTimesOutAndMayBeRepeated) {
  uint64_t id = running();
  EXPECT_EQ(Op::wait(id, 0, &event), Status::E_TIMEOUT);
  Time before = monotonic_now();
  EXPECT_EQ(Op::wait(id, 5 * kMillisecond, &event), Status::E_TIMEOUT);
  EXPECT_GE(monotonic_now() - before, 5 * kMillisecond);
  last->finish(Status::OK, nullptr);
  EXPECT_EQ(Op::wait(id, kNever, &event), Status::OK);
}

TEST_F(OpTest, WaitIsWokenFromAnotherThreadAndHasRoomForOne) {
  uint64_t id = running();
  std::atomic<bool> waiting{false};
  std::thread waiter([&] {
    conpool_event mine{};
    waiting = true;
    Status status;
    do {
      status = Op::wait(id, -1, &mine);
    } while (status == Status::E_BUSY);  // the test's own look, below
    EXPECT_EQ(status, Status::OK);
    EXPECT_EQ(mine.op, id);
  });
  while (!waiting)
    std::this_thread::yield();
  while (Op::wait(id, 0, &event) != Status::E_BUSY)
    std::this_thread::yield();
  EXPECT_EQ(Op::detach(id), Status::E_BUSY);
  last->finish(Status::OK, nullptr);
  waiter.join();
  EXPECT_EQ(Op::wait(id, 0, &event), Status::E_STALE);
}

TEST_F(OpTest, DetachCancelsAndFinishFrees) {
  task.finish = false;
  uint64_t id = running();
  EXPECT_EQ(Op::detach(id), Status::OK);
  EXPECT_EQ(Op::detach(id), Status::E_STALE);
  EXPECT_EQ(Op::wait(id, 0, &event), Status::E_STALE);
  port.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(port.in_flight, 1);
  last->finish(Status::E_CANCELLED, new CountedObject(alive));
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(port.in_flight, 0);
}

TEST_F(OpTest, SecondDetachWhileTheFirstIsCarriedOut) {
  struct Late final : Object {
    explicit Late(uint64_t op) : id(op) {}
    void dispose() noexcept override {
      EXPECT_EQ(Op::detach(id), Status::E_STALE);
      delete this;
    }
    uint64_t id;
  };
  task.finish = false;
  uint64_t id = running();
  EXPECT_EQ(Op::detach(id), Status::OK);
  port.drain();
  last->finish(Status::OK, new Late(id));  // disposed before the slot goes back
}

TEST_F(OpTest, DetachOfAFinishedOpFreesAtOnce) {
  uint64_t id = running();
  last->finish(Status::OK, new CountedObject(alive));
  EXPECT_EQ(Op::detach(id), Status::OK);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(port.in_flight, 0);
}

TEST_F(OpTest, OpWithAQueueCannotBeWaitedFor) {
  Queue* queue = *Queue::make(nullptr);
  Op* op = begin(queue);
  EXPECT_EQ(Op::wait(op->id(), 0, &event), Status::E_WRONG_STATE);
  EXPECT_EQ(Op::detach(op->id()), Status::E_WRONG_STATE);
  op->abandon();
  queue->unref();
}

TEST_F(OpTest, CallerDriveWaitRunsTurns) {
  FakeDrive drive(port);
  port.drive = &drive;
  uint64_t id = running();
  drive.steps = {[] {}, [] {}, [this] { last->finish(Status::OK, nullptr); }};
  EXPECT_EQ(Op::wait(id, 0, &event), Status::E_TIMEOUT);
  EXPECT_EQ(drive.turns, 1);
  EXPECT_EQ(Op::wait(id, -1, &event), Status::OK);
  EXPECT_EQ(drive.turns, 3);
  id = running();
  drive.status = Status::E_BUSY;
  EXPECT_EQ(Op::wait(id, -1, &event), Status::E_BUSY);
  drive.status = Status::E_CLOSED;
  EXPECT_EQ(Op::wait(id, -1, &event), Status::E_CLOSED);
  drive.status = Status::OK;
  Time before = port.time;
  EXPECT_EQ(Op::wait(id, 50, &event), Status::E_TIMEOUT);
  EXPECT_EQ(port.time, before + 50);
  last->finish(Status::OK, nullptr);
  EXPECT_EQ(Op::wait(id, 50, &event), Status::OK);
}

TEST_F(OpTest, NothingAfterBeginAllocates) {
  Queue* queue = *Queue::make(nullptr);
  auto op = [&](Queue* q) { return begin(q); };
  Op* polled = op(queue);
  Op* waited = op(nullptr);
  Op* closed = op(queue);
  Op* streamed = op(queue);
  static Op* started[4];
  static size_t count;
  count = 0;
  uint64_t polled_id = polled->id(), waited_id = waited->id();
  std::vector<Object*> objects;
  for (int i = 0; i < 6; ++i)
    objects.push_back(new CountedObject(alive));
  conpool_event events[8];

  forbid_allocation = true;
  for (Op* each : {polled, waited, closed, streamed}) {
    each->submit([](Op& o) { started[count++] = &o; });
  }
  port.drain();
  Op::cancel(polled_id);
  Op::cancel(waited_id);
  port.drain();
  started[0]->finish(Status::OK, objects[0]);
  started[1]->finish(Status::OK, objects[1]);
  started[3]->post(1, Status::OK, objects[2]);
  int32_t delivered = queue->next(events, 8, 0);
  dispose(&events[0]);
  dispose(&events[1]);
  started[3]->post(1, Status::OK, objects[3]);
  Status waited_for = Op::wait(waited_id, 0, &event);
  dispose(&event);
  queue->wake();
  queue->close();
  port.drain();
  started[2]->finish(Status::OK, objects[4]);
  started[3]->finish(Status::OK, objects[5]);
  queue->unref();
  forbid_allocation = false;
  EXPECT_EQ(forbidden_allocations, 0);
  EXPECT_EQ(delivered, 2);
  EXPECT_EQ(waited_for, Status::OK);
}

#ifndef NDEBUG
TEST_F(OpTest, FinishTwiceIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  uint64_t id = running();
  last->finish(Status::OK, nullptr);
  EXPECT_DEATH(last->finish(Status::OK, nullptr), "finished_");
  EXPECT_EQ(Op::wait(id, 0, &event), Status::OK);
}
#endif

}  // namespace
}  // namespace conpool::ops
