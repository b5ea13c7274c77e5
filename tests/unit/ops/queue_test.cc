// Delivery, order, withholding, the descriptor, wake, close, caller drive: one thread unless said
// otherwise.
#include "ops/queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace conpool::ops {
namespace {

constexpr int32_t kClosed = static_cast<int32_t>(Status::E_CLOSED);

struct RecordingTask final : Task {
  void cancel(Op& op, Status reason) override {
    ++cancels;
    last = reason;
    op.finish(reason, nullptr);
  }
  int cancels = 0;
  Status last = Status::OK;
};

struct QueueTest : testing::Test {
  void SetUp() override { queue = *Queue::make(nullptr); }
  void TearDown() override {
    queue->close();
    queue->unref();
    port.drain();
    EXPECT_EQ(port.in_flight, 0);
    EXPECT_EQ(port.references, 0);
    EXPECT_EQ(alive, 0);
  }
  // An op that the loop has begun to run.
  Op& run(uint64_t user_data = 0) {
    Op* op = *Op::begin(port, queue, CONPOOL_EVENT_READ, user_data, port.in_flight, 1000);
    static Op* started;
    op->submit([](Op& o) { started = &o; });
    port.drain();
    return *started;
  }
  Object* object() { return new CountedObject(alive); }
  void post(Op& op, uint64_t value) { op.post(CONPOOL_EVENT_READ, Status::OK, object(), value); }
  int32_t next(uint32_t capacity = 16, int64_t timeout = 0) {
    return queue->next(events, capacity, timeout);
  }
  // What a thread that holds nothing is given.
  int32_t next_elsewhere() {
    int32_t answer = -1;
    std::thread([&] { answer = queue->next(elsewhere, 16, 0); }).join();
    return answer;
  }

  FakePort port;
  Queue* queue = nullptr;
  std::atomic<int> alive{0};
  conpool_event events[16] = {};
  conpool_event elsewhere[16] = {};
};

TEST_F(QueueTest, ReadyOpsComeInFifoOrder) {
  Op& a = run(1);
  Op& b = run(2);
  Op& c = run(3);
  EXPECT_EQ(next(), 0);
  b.finish(Status::OK, nullptr);
  c.finish(Status::OK, nullptr);
  a.finish(Status::OK, nullptr);
  ASSERT_EQ(next(2), 2);
  EXPECT_EQ(events[0].user_data, 2u);
  EXPECT_EQ(events[1].user_data, 3u);
  EXPECT_EQ(port.in_flight, 1);  // freed with the delivery of FINAL
  ASSERT_EQ(next(2), 1);
  EXPECT_EQ(events[0].user_data, 1u);
}

TEST_F(QueueTest, NeedsRoomForAnEvent) {
  EXPECT_EQ(queue->next(events, 0, 0), static_cast<int32_t>(Status::E_INVALID));
  EXPECT_EQ(queue->next(nullptr, 1, 0), static_cast<int32_t>(Status::E_INVALID));
}

TEST_F(QueueTest, EventsOfAnOpComeInOrderAndFinalLast) {
  Op& op = run(5);
  post(op, 1);
  post(op, 2);
  op.finish(Status::OK, nullptr, 3);
  ASSERT_EQ(next(), 3);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(events[i].value[0], i + 1);
    EXPECT_EQ(events[i].user_data, 5u);
    EXPECT_EQ(events[i].flags, i == 2 ? uint32_t{CONPOOL_EVENT_FINAL} : 0u);
    EXPECT_EQ(events[i].time_ns, port.time);
  }
  EXPECT_EQ(port.in_flight, 0);
  for (auto& event : events)
    dispose(&event);
}

TEST_F(QueueTest, FinalFlagIsNotForPost) {
  Op& op = run();
  op.post(1, Status::OK, object(), 0, 0, CONPOOL_EVENT_FINAL | CONPOOL_EVENT_EOF);
  ASSERT_EQ(next(), 1);
  EXPECT_EQ(events[0].flags, uint32_t{CONPOOL_EVENT_EOF});
  dispose(&events[0]);
  op.finish(Status::OK, nullptr);
}

TEST_F(QueueTest, WithheldUntilEveryDeliveredEventIsDisposed) {
  Op& op = run();
  post(op, 1);
  post(op, 2);
  ASSERT_EQ(next(), 2);
  post(op, 3);
  EXPECT_EQ(next_elsewhere(), 0);
  dispose(&events[0]);
  EXPECT_EQ(next_elsewhere(), 0);
  dispose(&events[0]);  // twice counts once
  EXPECT_EQ(next_elsewhere(), 0);
  dispose(&events[1]);
  ASSERT_EQ(next_elsewhere(), 1);
  EXPECT_EQ(elsewhere[0].value[0], 3u);
  op.finish(Status::OK, nullptr);
  EXPECT_EQ(next(), 0);  // now another thread has it
  dispose(&elsewhere[0]);
  ASSERT_EQ(next(), 1);
}

TEST_F(QueueTest, WithheldUntilTheSameThreadCallsAgain) {
  Op& op = run();
  post(op, 1);
  post(op, 2);
  op.finish(Status::OK, nullptr);
  ASSERT_EQ(next(1), 1);
  conpool_event first = events[0];
  EXPECT_EQ(next_elsewhere(), 0);
  ASSERT_EQ(next(1), 1);
  EXPECT_EQ(events[0].value[0], 2u);
  dispose(&first);  // late: releases its object, and not the newer delivery
  EXPECT_EQ(next_elsewhere(), 0);
  dispose(&events[0]);
  ASSERT_EQ(next_elsewhere(), 1);
  EXPECT_EQ(elsewhere[0].flags, uint32_t{CONPOOL_EVENT_FINAL});
}

TEST_F(QueueTest, ACallReleasesEvenWhenItDeliversNothing) {
  Op& op = run();
  post(op, 1);
  ASSERT_EQ(next(), 1);
  EXPECT_EQ(next(), 0);
  post(op, 2);
  ASSERT_EQ(next_elsewhere(), 1);
  dispose(&events[0]);
  dispose(&elsewhere[0]);
  op.finish(Status::OK, nullptr);
}

TEST_F(QueueTest, AWithheldOpHoldsUpNoOther) {
  Op& a = run(1);
  Op& b = run(2);
  post(a, 1);
  ASSERT_EQ(next(), 1);
  post(a, 2);
  post(b, 1);
  ASSERT_EQ(next_elsewhere(), 1);
  EXPECT_EQ(elsewhere[0].user_data, 2u);
  dispose(&events[0]);
  dispose(&elsewhere[0]);
  a.finish(Status::OK, nullptr);
  b.finish(Status::OK, nullptr);
}

TEST_F(QueueTest, AReleasedOpQueuesBehindTheReadyOnes) {
  Op& a = run(1);
  Op& b = run(2);
  post(a, 1);
  ASSERT_EQ(next(), 1);
  post(a, 2);
  b.finish(Status::OK, nullptr);
  dispose(&events[0]);
  a.finish(Status::OK, nullptr);
  ASSERT_EQ(next(), 3);
  EXPECT_EQ(events[0].user_data, 2u);
  EXPECT_EQ(events[1].user_data, 1u);
  dispose(&events[1]);
}

TEST_F(QueueTest, DisposeAfterTheOpIsOverIsHarmless) {
  Op& op = run();
  post(op, 1);
  ASSERT_EQ(next(), 1);
  op.finish(Status::OK, nullptr);
  conpool_event first = events[0];
  ASSERT_EQ(next(), 1);
  Op& other = run();  // the same slot in a new use
  EXPECT_EQ(&other, &op);
  post(other, 1);
  ASSERT_EQ(next_elsewhere(), 1);
  dispose(&first);
  post(other, 2);
  EXPECT_EQ(next(), 0);
  dispose(&elsewhere[0]);
  ASSERT_EQ(next(), 1);
  dispose(&events[0]);
  other.finish(Status::OK, nullptr);
}

TEST_F(QueueTest, DisposeTakesAnything) {
  dispose(nullptr);
  conpool_event zero{};
  dispose(&zero);
  conpool_event odd{};
  odd.kind = 0xffffffff;
  odd.op = ~uint64_t{0};
  odd.reserved = 17;
  odd.object = object();
  dispose(&odd);
  dispose(&odd);
  EXPECT_EQ(alive, 0);
}

TEST_F(QueueTest, LoopBeginsAnOpAndFinishesItAtOnce) {
  Op* op = *Op::begin(port, queue, CONPOOL_EVENT_LOOKUP, 9, port.in_flight, 10);
  op->finish(Status::OK, object());
  ASSERT_EQ(next(), 1);
  EXPECT_EQ(events[0].kind, uint32_t{CONPOOL_EVENT_LOOKUP});
  EXPECT_EQ(events[0].user_data, 9u);
  dispose(&events[0]);
}

// --- the descriptor --------------------------------------------------------------------------

TEST_F(QueueTest, DescriptorFollowsEveryTransition) {
  int fd = queue->fd();
  ASSERT_GE(fd, 0);
  EXPECT_EQ(queue->fd(), fd);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(readable(fd));
  Op& a = run();
  Op& b = run();
  EXPECT_FALSE(readable(fd));
  a.finish(Status::OK, nullptr);
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(readable(fd));
  post(b, 1);
  EXPECT_EQ(next(1), 1);
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(next(1), 1);
  EXPECT_FALSE(readable(fd));  // delivered, though withheld
  post(b, 2);
  EXPECT_TRUE(readable(fd));  // its holder gets it by calling next
  dispose(&events[0]);
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(next(1), 1);
  EXPECT_FALSE(readable(fd));
  queue->wake();
  EXPECT_FALSE(readable(fd));
  EXPECT_EQ(next(), 0);
  b.finish(Status::OK, nullptr);
  EXPECT_TRUE(readable(fd));
  dispose(&events[0]);
  EXPECT_EQ(next(), 1);
  EXPECT_FALSE(readable(fd));
  queue->close();
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(next(), kClosed);
  EXPECT_TRUE(readable(fd));
}

TEST_F(QueueTest, DescriptorMadeLateTellsTheTruth) {
  Op& op = run();
  op.finish(Status::OK, nullptr);
  EXPECT_TRUE(readable(queue->fd()));
  EXPECT_EQ(next(), 1);
  EXPECT_FALSE(readable(queue->fd()));
}

TEST_F(QueueTest, DescriptorOfAClosedQueue) {
  queue->close();
  EXPECT_TRUE(readable(queue->fd()));
}

// --- sleeping and waking ---------------------------------------------------------------------

TEST_F(QueueTest, TimeoutPasses) {
  Time before = monotonic_now();
  EXPECT_EQ(next(1, 3 * kMillisecond), 0);
  EXPECT_GE(monotonic_now() - before, 3 * kMillisecond);
}

TEST_F(QueueTest, SleeperIsWokenByFinish) {
  Op& op = run(4);
  std::thread consumer([&] {
    EXPECT_EQ(next(16, -1), 1);
    EXPECT_EQ(events[0].user_data, 4u);
  });
  op.finish(Status::OK, nullptr);
  consumer.join();
}

TEST_F(QueueTest, SleeperIsWokenByDispose) {
  Op& op = run();
  post(op, 1);
  ASSERT_EQ(next(), 1);
  op.finish(Status::OK, nullptr);
  std::thread consumer([&] { EXPECT_EQ(queue->next(elsewhere, 16, -1), 1); });
  dispose(&events[0]);
  consumer.join();
}

TEST_F(QueueTest, WhoeverLeavesWorkBehindWakesTheNext) {
  Op& a = run(1);
  Op& b = run(2);
  post(a, 1);
  post(b, 1);
  ASSERT_EQ(next(), 2);
  conpool_event first[2] = {events[0], events[1]};
  a.finish(Status::OK, nullptr);
  b.finish(Status::OK, nullptr);
  std::atomic<bool> started{false};
  std::thread consumer([&] {
    started = true;
    EXPECT_EQ(queue->next(elsewhere, 16, -1), 1);
    EXPECT_EQ(elsewhere[0].user_data, 2u);
  });
  // The consumer sleeps by now, most likely; the outcome is the same when it does not.
  for (int i = 0; !started || i < 1000; ++i)
    std::this_thread::yield();
  ASSERT_EQ(next(1), 1);  // releases both, takes one
  EXPECT_EQ(events[0].user_data, 1u);
  consumer.join();
  dispose(&first[0]);
  dispose(&first[1]);
}

TEST_F(QueueTest, AConsumerMayFreeItsQueueWhileAnotherSleeps) {
  Queue* other = *Queue::make(nullptr);
  std::atomic<bool> started{false};
  std::thread consumer([&] {
    conpool_event mine{};
    other->ref();
    started = true;
    other->next(&mine, 1, -1);
    other->unref();
  });
  while (!started)
    std::this_thread::yield();
  other->close();
  other->unref();
  consumer.join();
}

TEST_F(QueueTest, EachWakeEndsOneCall) {
  queue->wake();
  queue->wake();
  EXPECT_EQ(next(1, -1), 0);
  EXPECT_EQ(next(1, -1), 0);
  std::vector<std::thread> consumers;
  for (int i = 0; i < 3; ++i) {
    consumers.emplace_back([this] {
      conpool_event mine{};
      EXPECT_EQ(queue->next(&mine, 1, -1), 0);
    });
  }
  for (int i = 0; i < 3; ++i)
    queue->wake();
  for (auto& consumer : consumers)
    consumer.join();
  EXPECT_EQ(next(1, 1), 0);
}

TEST_F(QueueTest, WakeGivesWayToEvents) {
  Op& op = run();
  queue->wake();
  op.finish(Status::OK, nullptr);
  EXPECT_EQ(next(1, -1), 1);
  EXPECT_EQ(next(1, -1), 0);
}

// --- close -----------------------------------------------------------------------------------

TEST_F(QueueTest, CloseRefusesNewOps) {
  queue->close();
  auto op = Op::begin(port, queue, 1, 0, port.in_flight, 10);
  ASSERT_FALSE(op);
  EXPECT_EQ(op.error().status, Status::E_CLOSED);
  EXPECT_EQ(port.in_flight, 0);
  queue->close();
  queue->wake();
  EXPECT_EQ(next(1, -1), kClosed);
}

TEST_F(QueueTest, CloseInEveryState) {
  RecordingTask task;
  Op& idle = run();
  idle.set_task(&task);
  Op& deaf = run();
  Op& ready = run();
  Op& done = run();
  Op& held = run();
  Op& held_done = run();
  Op* begun = *Op::begin(port, queue, 1, 0, port.in_flight, 100);
  Op* posted = *Op::begin(port, queue, 1, 0, port.in_flight, 100);
  Op* dropped = *Op::begin(port, queue, 1, 0, port.in_flight, 100);
  static int ran;
  ran = 0;
  auto late = [](Op& o) {
    EXPECT_TRUE(o.cancel_requested());
    ++ran;
    o.finish(Status::E_CLOSED, nullptr);
  };
  posted->submit(late);
  post(held, 1);
  post(held_done, 1);
  ASSERT_EQ(next(), 2);
  post(held, 2);
  held_done.finish(Status::OK, object());
  post(ready, 1);
  post(ready, 2);
  post(done, 1);
  done.finish(Status::OK, object());
  queue->close();
  EXPECT_EQ(alive, 2);  // the two that were delivered
  EXPECT_EQ(next(), kClosed);
  begun->submit(late);
  dropped->abandon();
  port.drain();
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(task.last, Status::E_CLOSED);
  EXPECT_EQ(port.in_flight, 3);  // deaf, ready, held
  post(deaf, 1);
  EXPECT_EQ(alive, 2);
  deaf.finish(Status::OK, object());
  ready.finish(Status::OK, nullptr);
  held.finish(Status::OK, nullptr);
  EXPECT_EQ(alive, 2);
  dispose(&events[0]);
  dispose(&events[1]);
}

TEST_F(QueueTest, CloseWakesEverybody) {
  std::vector<std::thread> consumers;
  std::atomic<int> asleep{0};
  for (int i = 0; i < 4; ++i) {
    consumers.emplace_back([&] {
      conpool_event mine{};
      ++asleep;
      EXPECT_EQ(queue->next(&mine, 1, -1), kClosed);
    });
  }
  while (asleep != 4)
    std::this_thread::yield();
  queue->close();
  for (auto& consumer : consumers)
    consumer.join();
}

TEST_F(QueueTest, CancelledByTheCallerFirstKeepsItsReason) {
  RecordingTask task;
  Op& op = run();
  op.set_task(&task);
  Op::cancel(op.id());
  queue->close();
  port.drain();
  EXPECT_EQ(task.cancels, 1);
  EXPECT_EQ(task.last, Status::E_CANCELLED);
}

// --- caller drive ----------------------------------------------------------------------------

struct CallerQueueTest : QueueTest {
  CallerQueueTest() : drive(port) { port.drive = &drive; }
  void SetUp() override {
    queue = *Queue::make(&drive);
    EXPECT_EQ(drive.references, 1);
  }
  void TearDown() override {
    QueueTest::TearDown();
    EXPECT_EQ(drive.references, 0);
    EXPECT_EQ(drive.pending, 0);
    EXPECT_EQ(drive.errors, 0);
  }
  FakeDrive drive;
};

TEST_F(CallerQueueTest, NextRunsTurnsUntilThereIsSomething) {
  Op& op = run();
  drive.steps = {[] {}, [] {}, [&] { op.finish(Status::OK, nullptr); }, [] { FAIL(); }};
  EXPECT_EQ(next(1, -1), 1);
  EXPECT_EQ(drive.turns, 3);
  drive.steps.clear();
}

TEST_F(CallerQueueTest, TimeoutZeroIsOneTurn) {
  Op& op = run();
  drive.steps = {[] {}, [&] { op.finish(Status::OK, nullptr); }};
  Time before = port.time;
  EXPECT_EQ(next(1, 0), 0);
  EXPECT_EQ(drive.turns, 1);
  EXPECT_EQ(port.time, before);
  EXPECT_EQ(next(1, 0), 1);
}

TEST_F(CallerQueueTest, TimeoutIsOfTheLoopsClock) {
  Time before = port.time;
  EXPECT_EQ(next(1, 5 * kSecond), 0);
  EXPECT_EQ(port.time, before + 5 * kSecond);
}

TEST_F(CallerQueueTest, WhatIsThereIsDeliveredWithoutATurn) {
  run().finish(Status::OK, nullptr);
  drive.status = Status::E_BUSY;
  EXPECT_EQ(next(), 1);
  EXPECT_EQ(drive.turns, 0);
}

TEST_F(CallerQueueTest, RefusalsOfTheDriveAreAnswers) {
  drive.status = Status::E_BUSY;
  EXPECT_EQ(next(1, -1), static_cast<int32_t>(Status::E_BUSY));
  drive.status = Status::E_CLOSED;
  EXPECT_EQ(next(1, -1), kClosed);
  drive.status = Status::OK;
}

TEST_F(CallerQueueTest, DriveKnowsOfUndeliveredEvents) {
  EXPECT_EQ(queue->fd(), drive.fd());
  EXPECT_FALSE(readable(drive.fd()));
  Op& a = run();
  Op& b = run();
  a.finish(Status::OK, nullptr);
  b.finish(Status::OK, nullptr);
  EXPECT_EQ(drive.pending, 1);
  EXPECT_TRUE(readable(drive.fd()));
  EXPECT_EQ(next(1), 1);
  EXPECT_EQ(drive.pending, 1);
  EXPECT_EQ(next(1), 1);
  EXPECT_EQ(drive.pending, 0);
  EXPECT_FALSE(readable(drive.fd()));
  run().finish(Status::OK, nullptr);
  queue->close();
  EXPECT_EQ(drive.pending, 0);
}

TEST_F(CallerQueueTest, WakeAndCloseEndTheDriversSleep) {
  drive.steps = {[this] {
    std::thread([this] { queue->wake(); }).join();
    EXPECT_EQ(drive.interrupts, 1);
  }};
  EXPECT_EQ(next(1, -1), 0);
  EXPECT_EQ(drive.turns, 1);
  drive.steps = {[this] {
    std::thread([this] { queue->close(); }).join();
    EXPECT_EQ(drive.interrupts, 1);
  }};
  EXPECT_EQ(next(1, -1), kClosed);
}

TEST_F(CallerQueueTest, ASecondDriverIsRefused) {
  drive.steps = {[this] {
    EXPECT_EQ(next_elsewhere(), static_cast<int32_t>(Status::E_BUSY));
    run().finish(Status::OK, nullptr);
    EXPECT_EQ(drive.interrupts, 0);  // the driver itself needs none
  }};
  EXPECT_EQ(next(1, -1), 1);
}

}  // namespace
}  // namespace conpool::ops
