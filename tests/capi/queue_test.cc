// The queue's contract: each event once, one op's events in order, the descriptor, wake, close; and
// the drive by the caller.
#include <poll.h>

#include <set>

#include "support.h"

namespace capi_test {
namespace {

bool readable(int fd, int timeout_ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN) != 0;
}

class Queues : public testing::Test {
 protected:
  Server server_{Server::echo};
  PoolPtr pool_ = make_pool();
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
  QueuePtr queue_ = make_queue(pool_);
};

TEST_F(Queues, NothingComesOfNothing) {
  conpool_event event{};
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, 0), 0);
  const int64_t start = monotonic_ns();
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, 20 * kMs), 0);
  EXPECT_GE(monotonic_ns() - start, 20 * kMs);
}

TEST_F(Queues, EventsTellOpAndUserData) {
  const conpool_op op = start_acquire(endpoint_, queue_, 0xfedcba9876543210);
  Event event = next_event(queue_);
  EXPECT_EQ(event->op, op);
  EXPECT_EQ(event->user_data, 0xfedcba9876543210);
  EXPECT_EQ(event->flags & CONPOOL_EVENT_FINAL, uint32_t{CONPOOL_EVENT_FINAL});
  EXPECT_EQ(conpool_op_cancel(op), CONPOOL_E_STALE);
}

TEST_F(Queues, BatchesHoldManyOps) {
  std::set<conpool_op> started;
  for (int i = 0; i < 16; ++i)
    started.insert(start_acquire(endpoint_, queue_));
  conpool_event events[64];
  while (!started.empty()) {
    const int32_t count = conpool_queue_next(queue_.get(), events, 64, kLong);
    ASSERT_GT(count, 0);
    for (int32_t i = 0; i < count; ++i) {
      EXPECT_EQ(started.erase(events[i].op), 1u);
      conpool_event_dispose(&events[i]);
    }
  }
}

TEST_F(Queues, TheDescriptorIsLevelTriggered) {
  const int fd = conpool_queue_fd(queue_.get());
  ASSERT_GE(fd, 0);
  EXPECT_EQ(conpool_queue_fd(queue_.get()), fd);
  EXPECT_FALSE(readable(fd));
  start_acquire(endpoint_, queue_);
  start_acquire(endpoint_, queue_);
  ASSERT_TRUE(readable(fd, 30000));
  EXPECT_TRUE(readable(fd));  // still
  int seen = 0;
  while (seen < 2) {
    ASSERT_TRUE(readable(fd, 30000));
    conpool_event event{};
    seen += conpool_queue_next(queue_.get(), &event, 1, 0);
    conpool_event_dispose(&event);
  }
  EXPECT_FALSE(readable(fd));
  conpool_queue_close(queue_.get());
  EXPECT_TRUE(readable(fd));  // the end is something to hear of
}

TEST_F(Queues, ADescriptorMadeLateTellsOfWhatIsThere) {
  start_acquire(endpoint_, queue_);
  conpool_event event{};
  EXPECT_TRUE(eventually([&] { return server_.accepted() == 1; }));
  EXPECT_TRUE(readable(conpool_queue_fd(queue_.get()), 30000));
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, 0), 1);
  conpool_event_dispose(&event);
}

TEST_F(Queues, WakeEndsOneWait) {
  conpool_event event{};
  conpool_queue_wake(queue_.get());
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, kLong), 0);
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, 0), 0);
  std::thread waker([&] { conpool_queue_wake(queue_.get()); });
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, kLong), 0);
  waker.join();
}

TEST_F(Queues, ConsumersShareEachEventOnce) {
  constexpr int kConsumers = 4;
  constexpr int kOps = 2000;
  std::atomic<int> left{kOps};
  std::vector<std::atomic<int>> seen(kOps);
  std::vector<std::thread> consumers;
  for (int i = 0; i < kConsumers; ++i) {
    consumers.emplace_back([&] {
      conpool_event events[8];
      for (;;) {
        const int32_t count = conpool_queue_next(queue_.get(), events, 8, kLong);
        if (count < 0) return;
        for (int32_t j = 0; j < count; ++j) {
          ++seen[events[j].user_data];
          if (events[j].status == CONPOOL_OK) {
            conpool_connection_release(static_cast<conpool_connection*>(events[j].object),
                                       CONPOOL_REUSABLE);
            events[j].object = nullptr;
          }
          conpool_event_dispose(&events[j]);
          --left;
        }
      }
    });
  }
  for (int i = 0; i < kOps; ++i) {
    conpool_op op = 0;
    while (conpool_endpoint_acquire(endpoint_.get(), nullptr, queue_.get(),
                                    static_cast<uint64_t>(i), &op) != CONPOOL_OK)
      std::this_thread::yield();
    if (i % 7 == 0) conpool_op_cancel(op);
  }
  EXPECT_TRUE(eventually([&] { return left == 0; })) << left;
  conpool_queue_close(queue_.get());
  for (std::thread& consumer : consumers)
    consumer.join();
  for (int i = 0; i < kOps; ++i)
    EXPECT_EQ(seen[static_cast<size_t>(i)], 1) << i;
}

TEST_F(Queues, CloseWakesConsumersAndEndsOps) {
  Server silent(Server::silent);
  const EndpointPtr quiet = make_endpoint(pool_, silent.url(), {{"endpoint.max_connections", "1"}});
  conpool_connection* c = lease(quiet);
  const conpool_op waiter = start_acquire(quiet, queue_);
  const conpool_op read = start_read(c, queue_);
  start_acquire(endpoint_, queue_);
  EXPECT_TRUE(eventually([&] { return server_.accepted() == 1; }));
  std::thread consumer([other = make_queue(pool_).release()] {
    // A consumer of a queue that nobody fills.
    conpool_event event{};
    EXPECT_EQ(conpool_queue_next(other, &event, 1, 0), 0);
    conpool_queue_free(other);
  });
  consumer.join();
  std::atomic<bool> closed{false};
  std::thread blocked([&] {
    conpool_event event{};
    for (;;) {
      const int32_t count = conpool_queue_next(queue_.get(), &event, 1, kLong);
      if (count == CONPOOL_E_CLOSED) break;
      if (count == 1) conpool_event_dispose(&event);
      if (count < 0) ADD_FAILURE() << count;
    }
    closed = true;
  });
  conpool_queue_close(queue_.get());
  conpool_queue_close(queue_.get());  // twice
  blocked.join();
  EXPECT_TRUE(closed);
  EXPECT_TRUE(eventually([&] {
    return conpool_op_cancel(waiter) == CONPOOL_E_STALE &&
           conpool_op_cancel(read) == CONPOOL_E_STALE;
  }));
  conpool_connection_release(c, CONPOOL_BROKEN);
  // The lease that nobody took was given back: the endpoint works on.
  conpool_connection_release(lease(endpoint_), CONPOOL_REUSABLE);
}

TEST_F(Queues, FreeWithOpsInFlight) {
  for (int i = 0; i < 200; ++i) {
    QueuePtr queue = make_queue(pool_);
    for (int j = 0; j < 4; ++j)
      start_acquire(endpoint_, queue);
    if (i % 3 == 0) {
      conpool_event event{};
      if (conpool_queue_next(queue.get(), &event, 1, kMs) == 1) conpool_event_dispose(&event);
    }
  }
  conpool_connection_release(lease(endpoint_), CONPOOL_REUSABLE);
  EXPECT_TRUE(eventually([&] { return metric(pool_, "pool.ops.running") == 0; }));
}

TEST_F(Queues, OneWaitsForAnOp) {
  Server silent(Server::silent);
  conpool_connection* c = lease(make_endpoint(pool_, silent.url()));
  const conpool_op read = start_read(c);
  std::thread waiter([&] {
    conpool_event event{};
    EXPECT_EQ(conpool_op_wait(read, kLong, &event), CONPOOL_OK);
    EXPECT_EQ(event.status, CONPOOL_E_CANCELLED);
    conpool_event_dispose(&event);
  });
  conpool_event event{};
  EXPECT_TRUE(eventually([&] { return conpool_op_wait(read, 0, &event) == CONPOOL_E_BUSY; }));
  conpool_op_cancel(read);
  waiter.join();
  EXPECT_EQ(conpool_op_wait(read, 0, &event), CONPOOL_E_STALE);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

// --- the drive by the caller -------------------------------------------------------------------

class Driven : public testing::Test {
 protected:
  Server server_{Server::lines};
  PoolPtr pool_ = make_pool({{"loop.drive", "caller"}});
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
  QueuePtr queue_ = make_queue(pool_);
};

TEST_F(Driven, OneThreadDoesAll) {
  for (int i = 0; i < 100; ++i) {
    start_acquire(endpoint_, queue_, 1);
    Event event = next_event(queue_);
    ASSERT_EQ(event->status, CONPOOL_OK) << event.report();
    EXPECT_EQ(event->value[0], i == 0 ? 0u : 1u);
    conpool_connection* c = event.connection();
    start_write(c, "hi\n", queue_);
    EXPECT_EQ(next_event(queue_)->status, CONPOOL_OK);
    start_read(c, queue_);
    EXPECT_EQ(next_event(queue_).bytes(), "+hi\n");
    conpool_connection_release(c, CONPOOL_REUSABLE);
  }
}

TEST_F(Driven, WaitingForOneOpRunsTheLoopToo) {
  conpool_connection* c = lease(endpoint_);
  EXPECT_EQ(write_all(c, "hi\n")->status, CONPOOL_OK);
  EXPECT_EQ(read_exactly(c, 4), "+hi\n");
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(Driven, TheDescriptorTellsOfWork) {
  const int fd = conpool_queue_fd(queue_.get());
  ASSERT_GE(fd, 0);
  start_acquire(endpoint_, queue_);
  conpool_event event{};
  int turns = 0;
  for (; turns < 1000; ++turns) {
    ASSERT_TRUE(readable(fd, 30000));
    if (conpool_queue_next(queue_.get(), &event, 1, 0) == 1) break;
  }
  ASSERT_EQ(event.status, CONPOOL_OK);
  EXPECT_LT(turns, 100);
  // Nothing to do: the host may sleep.
  EXPECT_TRUE(eventually([&] {
    conpool_event more{};
    conpool_queue_next(queue_.get(), &more, 1, 0);
    return !readable(fd);
  }));
  conpool_event_dispose(&event);
}

TEST_F(Driven, TheDescriptorTellsOfTimers) {
  // A host that only polls must notice that an op's time is over.
  Server silent(Server::silent);
  const EndpointPtr quiet = make_endpoint(pool_, silent.url(), {{"stall.timeout", "60ms"}});
  conpool_connection* c = lease(quiet);
  const int fd = conpool_queue_fd(queue_.get());
  const int64_t start = monotonic_ns();
  start_read(c, queue_);
  conpool_event event{};
  while (conpool_queue_next(queue_.get(), &event, 1, 0) == 0)
    ASSERT_TRUE(readable(fd, 30000));
  EXPECT_EQ(event.status, CONPOOL_E_STALL_TIMEOUT);
  EXPECT_GE(monotonic_ns() - start, 60 * kMs);
  conpool_event_dispose(&event);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST_F(Driven, TimeoutsAreKept) {
  conpool_event event{};
  const int64_t start = monotonic_ns();
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, 30 * kMs), 0);
  EXPECT_GE(monotonic_ns() - start, 30 * kMs);
}

TEST_F(Driven, AnotherThreadMayCancelAndWake) {
  Server silent(Server::silent);
  conpool_connection* c = lease(make_endpoint(pool_, silent.url()));
  const conpool_op read = start_read(c, queue_);
  std::thread other([&] { conpool_op_cancel(read); });
  EXPECT_EQ(next_event(queue_)->status, CONPOOL_E_CANCELLED);
  other.join();
  std::thread waker([&] { conpool_queue_wake(queue_.get()); });
  conpool_event event{};
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, kLong), 0);
  waker.join();
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST_F(Driven, FreedWithWorkInFlight) {
  for (int i = 0; i < 50; ++i) {
    PoolPtr pool = make_pool({{"loop.drive", "caller"}});
    const EndpointPtr endpoint = make_endpoint(pool, server_.url());
    QueuePtr queue = make_queue(pool);
    for (int j = 0; j < 3; ++j)
      start_acquire(endpoint, queue);
    conpool_event event{};
    for (int j = 0; j < i % 5; ++j) {
      if (conpool_queue_next(queue.get(), &event, 1, 0) == 1) conpool_event_dispose(&event);
    }
    if (i % 2 == 0) queue.reset();
    pool.reset();
    if (queue == nullptr) continue;
    // Its ops have ended, and their events are still there.
    int32_t got = 0;
    while ((got = conpool_queue_next(queue.get(), &event, 1, 0)) == 1)
      conpool_event_dispose(&event);
    EXPECT_TRUE(got == 0 || got == CONPOOL_E_CLOSED) << got;
  }
}

}  // namespace
}  // namespace capi_test
