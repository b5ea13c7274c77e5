// Closing: a pool's end at every moment, gracefully and not.
#include "support.h"

namespace capi_test {
namespace {

Event close_pool(const PoolPtr& pool, int64_t drain) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_pool_close(pool.get(), drain, nullptr, 0, &op), CONPOOL_OK);
  return wait_for(op);
}

TEST(Close, OfAnEmptyPool) {
  const PoolPtr pool = make_pool();
  const Event event = close_pool(pool, 0);
  EXPECT_EQ(event->kind, uint32_t{CONPOOL_EVENT_CLOSED});
  EXPECT_EQ(event->status, CONPOOL_OK);
  EXPECT_EQ(event->value[0], 0u);
}

TEST(Close, TwiceIsHarmlessAndLaterCallsAreRefused) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection_release(lease(endpoint), CONPOOL_REUSABLE);
  EXPECT_EQ(close_pool(pool, 0)->status, CONPOOL_OK);
  EXPECT_EQ(close_pool(pool, 0)->status, CONPOOL_OK);
  EXPECT_EQ(close_pool(pool, kLong)->status, CONPOOL_OK);
  conpool_op op = 77;
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, nullptr, 0, &op), CONPOOL_E_CLOSED);
  EXPECT_EQ(op, 77u);
  conpool_endpoint* out = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_endpoint_new(pool.get(), "tcp://127.0.0.1:1", CONPOOL_NUL_TERMINATED, nullptr,
                                 &out, &error),
            CONPOOL_E_CLOSED);
  const ErrorPtr owned(error);
  EXPECT_NE(std::string(conpool_error_line(error)).find("the pool was closed"), std::string::npos);
  EXPECT_TRUE(eventually([&] { return server.open() == 0; }));
  EXPECT_EQ(metric(pool, "pool.connections.open"), 0);
}

TEST(Close, WithoutDrainBreaksLeasesAndEndsTheirOps) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"endpoint.max_connections", "2"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* first = lease(endpoint);
  conpool_connection* second = lease(endpoint);
  const conpool_op read = start_read(first);
  const conpool_op waiter = start_acquire(endpoint);
  const Event closed = close_pool(pool, 0);
  EXPECT_EQ(closed->status, CONPOOL_OK);
  EXPECT_EQ(closed->value[0], 2u);
  EXPECT_EQ(wait_for(read)->status, CONPOOL_E_CLOSED);
  EXPECT_EQ(wait_for(waiter)->status, CONPOOL_E_CLOSED);
  EXPECT_EQ(read_some(second)->status, CONPOOL_E_CLOSED);
  conpool_connection_release(first, CONPOOL_REUSABLE);
  conpool_connection_release(second, CONPOOL_REUSABLE);
  EXPECT_TRUE(eventually([&] { return server.open() == 0; }));
}

TEST(Close, DrainLetsLeasesEnd) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  conpool_connection* c = lease(endpoint);
  conpool_op op = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), kLong, queue.get(), 9, &op), CONPOOL_OK);
  EXPECT_EQ(write_all(c, "still")->status, CONPOOL_OK);
  EXPECT_EQ(read_exactly(c, 5), "still");
  conpool_event none{};
  EXPECT_EQ(conpool_queue_next(queue.get(), &none, 1, 0), 0);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  const Event event = next_event(queue);
  EXPECT_EQ(event->op, op);
  EXPECT_EQ(event->user_data, 9u);
  EXPECT_EQ(event->kind, uint32_t{CONPOOL_EVENT_CLOSED});
  EXPECT_EQ(event->value[0], 0u);
}

TEST(Close, DrainHasADeadline) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const conpool_op read = start_read(c);
  const int64_t start = monotonic_ns();
  const Event closed = close_pool(pool, 50 * kMs);
  EXPECT_GE(monotonic_ns() - start, 50 * kMs);
  EXPECT_EQ(closed->value[0], 1u);
  EXPECT_EQ(wait_for(read)->status, CONPOOL_E_CLOSED);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Close, TheShorterDrainCounts) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  conpool_op patient = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), CONPOOL_FOREVER, nullptr, 0, &patient), CONPOOL_OK);
  EXPECT_EQ(close_pool(pool, 0)->value[0], 1u);
  EXPECT_EQ(wait_for(patient)->status, CONPOOL_OK);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Close, ALongerDrainDoesNotUndoAShorter) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  conpool_op first = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), 50 * kMs, nullptr, 0, &first), CONPOOL_OK);
  conpool_op second = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), CONPOOL_FOREVER, nullptr, 0, &second), CONPOOL_OK);
  EXPECT_EQ(wait_for(first)->status, CONPOOL_OK);
  EXPECT_EQ(wait_for(second)->status, CONPOOL_OK);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Close, UnreportedAndCancelled) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  EXPECT_EQ(conpool_pool_close(pool.get(), kLong, nullptr, 0, nullptr), CONPOOL_OK);
  conpool_op op = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), kLong, nullptr, 0, &op), CONPOOL_OK);
  EXPECT_EQ(conpool_op_cancel(op), CONPOOL_OK);
  EXPECT_EQ(wait_for(op)->status, CONPOOL_E_CANCELLED);
  // The close itself goes on.
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, nullptr, 0, &op), CONPOOL_E_CLOSED);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_TRUE(eventually([&] { return server.open() == 0; }));
}

TEST(Close, WhileDialsAreUnderWay) {
  Server server(Server::echo);
  for (int i = 0; i < 50; ++i) {
    const PoolPtr pool = make_pool();
    const EndpointPtr endpoint = make_endpoint(pool, server.url());
    std::vector<conpool_op> ops;
    for (int j = 0; j < 8; ++j)
      ops.push_back(start_acquire(endpoint));
    if (i % 2 == 0) {
      EXPECT_EQ(close_pool(pool, i % 4 == 0 ? 0 : kMs)->status, CONPOOL_OK);
    } else {
      conpool_op report = 0;
      EXPECT_EQ(conpool_pool_close(pool.get(), 0, nullptr, 0, &report), CONPOOL_OK);
      ops.push_back(report);
    }
    for (const conpool_op op : ops) {
      const Event event = wait_for(op);
      EXPECT_TRUE(event->status == CONPOOL_OK || event->status == CONPOOL_E_CLOSED)
          << conpool_status_name(event->status);
    }
  }
}

TEST(Free, BlockedWaitsReturn) {
  Server server(Server::silent);
  PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const conpool_op read = start_read(c);
  std::thread waiter([read] {
    conpool_event event{};
    EXPECT_EQ(conpool_op_wait(read, kLong, &event), CONPOOL_OK);
    EXPECT_EQ(event.status, CONPOOL_E_CLOSED);
    conpool_event_dispose(&event);
  });
  conpool_event event{};
  EXPECT_TRUE(eventually([&] { return conpool_op_wait(read, 0, &event) == CONPOOL_E_BUSY; }));
  pool.reset();
  waiter.join();
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Free, EventsAreStillTaken) {
  Server server(Server::silent);
  PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  conpool_connection* c = lease(endpoint);
  for (uint64_t i = 0; i < 3; ++i)
    start_read(c, queue, i);
  conpool_op close = 0;
  ASSERT_EQ(conpool_pool_close(pool.get(), kLong, queue.get(), 3, &close), CONPOOL_OK);
  pool.reset();
  int left = 4;
  while (left > 0) {
    const Event event = next_event(queue);
    EXPECT_EQ(event->status, event->user_data == 3 ? CONPOOL_OK : CONPOOL_E_CLOSED);
    --left;
  }
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Free, WhileOtherThreadsStartOps) {
  Server server(Server::echo);
  for (int round = 0; round < 20; ++round) {
    PoolPtr pool = make_pool();
    const EndpointPtr endpoint = make_endpoint(pool, server.url());
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&endpoint] {
        for (;;) {
          conpool_op op = 0;
          const conpool_status status =
              conpool_endpoint_acquire(endpoint.get(), nullptr, nullptr, 0, &op);
          if (status == CONPOOL_E_CLOSED) return;
          ASSERT_EQ(status, CONPOOL_OK);
          Event event = wait_for(op);
          if (conpool_connection* c = event.connection())
            conpool_connection_release(c, CONPOOL_REUSABLE);
        }
      });
    }
    EXPECT_TRUE(eventually([&] { return server.accepted() > round; }));
    pool.reset();
    for (std::thread& thread : threads)
      thread.join();
  }
}

}  // namespace
}  // namespace capi_test
