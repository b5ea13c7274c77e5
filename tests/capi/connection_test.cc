// Leases: acquire, read, write, shut down, lend, release; and who owns what for how long.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "json.h"
#include "support.h"

namespace capi_test {
namespace {

class Leases : public testing::Test {
 protected:
  Server server_{Server::echo};
  PoolPtr pool_ = make_pool();
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
};

TEST_F(Leases, AreReused) {
  Event first = acquire(endpoint_);
  ASSERT_EQ(first->status, CONPOOL_OK);
  EXPECT_EQ(first->kind, uint32_t{CONPOOL_EVENT_CONNECTION});
  EXPECT_EQ(first->flags, uint32_t{CONPOOL_EVENT_FINAL});
  EXPECT_EQ(first->value[0], 0u);
  EXPECT_EQ(first->reserved, 0u);
  EXPECT_GT(first->time_ns, 0);
  conpool_connection* c = first.connection();
  EXPECT_EQ(server_.address(), conpool_connection_address(c));
  conpool_connection_release(c, CONPOOL_REUSABLE);
  for (int i = 0; i < 20; ++i) {
    Event again = acquire(endpoint_);
    EXPECT_EQ(again->value[0], 1u);
    c = again.connection();
    EXPECT_EQ(write_all(c, "hello")->value[0], 5u);
    EXPECT_EQ(read_exactly(c, 5), "hello");
    conpool_connection_release(c, CONPOOL_REUSABLE);
  }
  EXPECT_EQ(server_.accepted(), 1);
}

TEST_F(Leases, BrokenOnesAreNotReused) {
  conpool_connection_release(lease(endpoint_), CONPOOL_BROKEN);
  Event again = acquire(endpoint_);
  EXPECT_EQ(again->value[0], 0u);
  conpool_connection* c = again.connection();
  EXPECT_TRUE(eventually([&] { return server_.accepted() == 2; }));
  // Bytes that nobody read make a reusable lease broken too.
  write_all(c, "left behind");
  EXPECT_EQ(read_exactly(c, 4), "left");
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_EQ(acquire(endpoint_)->value[0], 0u);
}

TEST_F(Leases, AnUnknownWayToReleaseBreaks) {
  conpool_connection_release(lease(endpoint_), 2);
  EXPECT_EQ(acquire(endpoint_)->value[0], 0u);
}

TEST_F(Leases, DisposingTheEventBreaksTheConnection) {
  {
    const Event event = acquire(endpoint_);
    ASSERT_EQ(event->status, CONPOOL_OK);
  }
  EXPECT_EQ(acquire(endpoint_)->value[0], 0u);
  EXPECT_TRUE(eventually([&] { return server_.open() == 0; }));
}

TEST_F(Leases, LargeTransfersBothWays) {
  conpool_connection* c = lease(endpoint_);
  std::string data(8 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<char>(i * 2654435761u >> 24);
  const conpool_op write = start_write(c, data);
  EXPECT_EQ(read_exactly(c, data.size()), data);
  const Event written = wait_for(write);
  EXPECT_EQ(written->status, CONPOOL_OK);
  EXPECT_EQ(written->kind, uint32_t{CONPOOL_EVENT_WRITE});
  EXPECT_EQ(written->value[0], data.size());
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(Leases, ReadsEndInTheOrderOfTheirStartAndAreBounded) {
  conpool_connection* c = lease(endpoint_);
  const QueuePtr queue = make_queue(pool_);
  for (uint64_t i = 0; i < 8; ++i)
    start_read(c, queue, i, 1);
  write_all(c, "abcdefgh");
  std::string all;
  for (uint64_t i = 0; i < 8; ++i) {
    const Event event = next_event(queue);
    EXPECT_EQ(event->user_data, i);
    EXPECT_EQ(event->value[0], 1u);
    all += event.bytes();
  }
  EXPECT_EQ(all, "abcdefgh");
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_EQ(acquire(endpoint_)->value[0], 1u);
}

TEST_F(Leases, WritesOfNothingEndToo) {
  conpool_connection* c = lease(endpoint_);
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_write(c, nullptr, 0, nullptr, 0, &op), CONPOOL_OK);
  const Event event = wait_for(op);
  EXPECT_EQ(event->status, CONPOOL_OK);
  EXPECT_EQ(event->value[0], 0u);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(Leases, ReleaseWithOpsRunningCancelsThemAndCloses) {
  conpool_connection* c = lease(endpoint_);
  const conpool_op read = start_read(c);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  const Event event = wait_for(read);
  EXPECT_EQ(event->status, CONPOOL_E_CANCELLED);
  EXPECT_NE(event.line().find("released"), std::string::npos) << event.line();
  EXPECT_EQ(acquire(endpoint_)->value[0], 0u);
}

TEST_F(Leases, FactsAsJson) {
  conpool_connection* c = lease(endpoint_);
  char* text = nullptr;
  ASSERT_EQ(conpool_connection_describe(c, &text), CONPOOL_OK);
  Json facts;
  std::string reason;
  EXPECT_TRUE(parse_json(text, &facts, &reason)) << reason << text;
  conpool_text_free(text);
  EXPECT_EQ(facts["address"].text, server_.address());
  EXPECT_EQ(facts["endpoint"].text, server_.url());
  EXPECT_FALSE(facts["reused"].truth);
  EXPECT_EQ(facts["uses"].number(), 1);
  EXPECT_GE(facts["age_ns"].number(), 0);
  EXPECT_EQ(facts["attempts"].items.size(), 1u);
  EXPECT_FALSE(facts.has("tls"));
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

// --- ends --------------------------------------------------------------------------------------

TEST(Ends, EofComesAfterTheBytes) {
  Server server([](int fd) { (void)!send(fd, "bye", 3, MSG_NOSIGNAL); });
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  EXPECT_EQ(read_exactly(c, 3), "bye");
  for (int i = 0; i < 3; ++i) {  // and it stays the end
    const Event event = read_some(c);
    EXPECT_EQ(event->status, CONPOOL_OK);
    EXPECT_EQ(event->object, nullptr);
    EXPECT_EQ(event->flags, uint32_t{CONPOOL_EVENT_FINAL | CONPOOL_EVENT_EOF});
    EXPECT_EQ(event->value[0], 0u);
  }
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_TRUE(eventually([&] {
    return metric(pool, "pool.connections.opened") == metric(pool, "pool.connections.closed");
  }));
}

TEST(Ends, HalfClose) {
  // Answers only once it has seen the end of the question.
  Server server([](int fd) {
    std::string all;
    char buffer[256];
    ssize_t got = 0;
    while ((got = recv(fd, buffer, sizeof(buffer), 0)) > 0)
      all.append(buffer, static_cast<size_t>(got));
    all = std::to_string(all.size()) + " bytes";
    (void)!send(fd, all.data(), all.size(), MSG_NOSIGNAL);
  });
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const conpool_op first = start_write(c, "12345");
  conpool_op end = 0;
  EXPECT_EQ(conpool_connection_shutdown_write(c, nullptr, 0, &end), CONPOOL_OK);
  EXPECT_EQ(wait_for(first)->status, CONPOOL_OK);
  const Event ended = wait_for(end);
  EXPECT_EQ(ended->status, CONPOOL_OK);
  EXPECT_EQ(ended->kind, uint32_t{CONPOOL_EVENT_WRITE});
  EXPECT_EQ(read_exactly(c, 7), "5 bytes");
  const Event refused = write_all(c, "more");
  EXPECT_EQ(refused->status, CONPOOL_E_WRONG_STATE);
  EXPECT_NE(refused.line().find("shut down"), std::string::npos) << refused.line();
  EXPECT_EQ(conpool_connection_shutdown_write(c, nullptr, 0, &end), CONPOOL_OK);
  EXPECT_EQ(wait_for(end)->status, CONPOOL_E_WRONG_STATE);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_EQ(acquire(endpoint)->value[0], 0u);
}

TEST(Ends, AResetIsAnErrorThatNamesThePeer) {
  std::atomic<bool> go{false};
  Server server([&](int fd) {
    eventually([&] { return go.load(); });
    const linger hard{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  });
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const conpool_op op = start_read(c);
  go = true;
  const Event event = wait_for(op);
  EXPECT_EQ(event->status, CONPOOL_E_CONNECTION_RESET);
  EXPECT_EQ(conpool_error_status(event.error()), CONPOOL_E_CONNECTION_RESET);
  EXPECT_EQ(conpool_error_os_errno(event.error()), ECONNRESET);
  EXPECT_EQ(conpool_error_phase(event.error()), CONPOOL_PHASE_RECEIVE);
  EXPECT_NE(event.line().find(server.address()), std::string::npos) << event.line();
  EXPECT_EQ(read_some(c)->status, CONPOOL_E_CONNECTION_RESET);
  const Event write = write_all(c, "x");
  EXPECT_EQ(write->status, CONPOOL_E_CONNECTION_RESET);
  EXPECT_EQ(conpool_error_proof(write.error()), CONPOOL_PROOF_NEVER_SENT);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST(Ends, WhatCameBeforeAResetIsStillRead) {
  std::atomic<bool> go{false};
  Server server([&](int fd) {
    (void)!send(fd, "last words", 10, MSG_NOSIGNAL);
    eventually([&] { return go.load(); });
    const linger hard{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  });
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  EXPECT_EQ(read_exactly(c, 1), "l");  // the rest is in the library's hands
  go = true;
  // A write notices the reset while no read runs.
  EXPECT_TRUE(eventually([&] { return write_all(c, "x")->status != CONPOOL_OK; }));
  EXPECT_EQ(read_exactly(c, 9), "ast words");
  EXPECT_EQ(read_some(c)->status, CONPOOL_E_CONNECTION_RESET);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

TEST(Ends, AStalledReadEndsInTime) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"stall.timeout", "50ms"}});
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const int64_t start = monotonic_ns();
  const Event event = read_some(c);
  EXPECT_EQ(event->status, CONPOOL_E_STALL_TIMEOUT);
  EXPECT_GE(monotonic_ns() - start, 50 * kMs);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Ends, AWriteToAPeerThatDoesNotReadStalls) {
  std::atomic<bool> done{false};
  Server server([&](int) { eventually([&] { return done.load(); }); });
  const PoolPtr pool = make_pool({{"stall.timeout", "100ms"}});
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const std::string data(64 << 20, 'x');
  const Event event = write_all(c, data);
  EXPECT_EQ(event->status, CONPOOL_E_STALL_TIMEOUT);
  EXPECT_GT(event->value[0], 0u);
  EXPECT_LT(event->value[0], data.size());
  EXPECT_EQ(conpool_error_proof(event.error()), CONPOOL_PROOF_MAYBE_PROCESSED);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  done = true;
}

TEST(Ends, PeersThatCloseRaiseNoSignal) {
  // SIGPIPE has its default action in this program: a raise would end it.
  Server server(Server::close_at_once);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  for (int i = 0; i < 50; ++i) {
    Event event = acquire(endpoint);
    conpool_connection* c = event.connection();
    if (c == nullptr) continue;  // the close was faster
    const std::string data(200000, 'x');
    for (int j = 0; j < 4; ++j)
      write_all(c, data);
    conpool_connection_release(c, CONPOOL_REUSABLE);
  }
}

// --- cancel ------------------------------------------------------------------------------------

TEST(Cancel, EveryKindOfOpAtOnce) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"endpoint.max_connections", "1"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  for (int round = 0; round < 50; ++round) {
    const conpool_op op = start_acquire(endpoint);
    EXPECT_EQ(conpool_op_cancel(op), CONPOOL_OK);
    EXPECT_EQ(conpool_op_cancel(op), CONPOOL_OK);  // idempotent
    Event event = wait_for(op);
    EXPECT_TRUE(event->status == CONPOOL_E_CANCELLED || event->status == CONPOOL_OK);
  }
  conpool_connection* c = lease(endpoint);
  const conpool_op waiter = start_acquire(endpoint);
  const conpool_op read = start_read(c);
  EXPECT_EQ(conpool_op_cancel(waiter), CONPOOL_OK);
  EXPECT_EQ(conpool_op_cancel(read), CONPOOL_OK);
  EXPECT_EQ(wait_for(waiter)->status, CONPOOL_E_CANCELLED);
  EXPECT_EQ(wait_for(read)->status, CONPOOL_E_CANCELLED);
  // A read that is cancelled takes nothing from the connection.
  EXPECT_EQ(write_all(c, "x")->status, CONPOOL_OK);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  Event again = acquire(endpoint);
  EXPECT_EQ(again->value[0], 1u);
}

TEST(Cancel, AWriteHalfDoneBreaksTheConnection) {
  std::atomic<bool> done{false};
  Server server([&](int) { eventually([&] { return done.load(); }); });
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  conpool_connection* c = lease(endpoint);
  const std::string data(64 << 20, 'x');
  const conpool_op write = start_write(c, data);
  const conpool_op later = start_write(c, "y");
  conpool_event event{};
  EXPECT_EQ(conpool_op_wait(write, 100 * kMs, &event), CONPOOL_E_TIMEOUT);
  EXPECT_EQ(conpool_op_cancel(write), CONPOOL_OK);
  const Event cut = wait_for(write);
  EXPECT_EQ(cut->status, CONPOOL_E_CANCELLED);
  EXPECT_GT(cut->value[0], 0u);
  EXPECT_EQ(conpool_error_proof(cut.error()), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_EQ(wait_for(later)->status, CONPOOL_E_WRONG_STATE);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  done = true;
  EXPECT_EQ(acquire(endpoint)->value[0], 0u);
}

TEST(Cancel, AShutdownBehindAWriteThatWaits) {
  std::atomic<bool> done{false};
  Server server([&](int) { eventually([&] { return done.load(); }); });
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const std::string data(64 << 20, 'x');
  const conpool_op write = start_write(c, data);
  conpool_op end = 0;
  ASSERT_EQ(conpool_connection_shutdown_write(c, nullptr, 0, &end), CONPOOL_OK);
  EXPECT_EQ(conpool_op_cancel(end), CONPOOL_OK);
  EXPECT_EQ(wait_for(end)->status, CONPOOL_E_CANCELLED);
  conpool_event event{};
  EXPECT_EQ(conpool_op_wait(write, 20 * kMs, &event), CONPOOL_E_TIMEOUT);  // goes on
  EXPECT_EQ(conpool_op_cancel(write), CONPOOL_OK);
  EXPECT_EQ(wait_for(write)->status, CONPOOL_E_CANCELLED);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  done = true;
}

TEST(Cancel, ReadsInAnyOrderAndTheOthersGoOn) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  conpool_connection* c = lease(make_endpoint(pool, server.url()));
  const conpool_op reads[] = {start_read(c, nullptr, 0, 1), start_read(c, nullptr, 0, 1),
                              start_read(c, nullptr, 0, 1)};
  conpool_op_cancel(reads[1]);
  EXPECT_EQ(wait_for(reads[1])->status, CONPOOL_E_CANCELLED);
  write_all(c, "ab");
  EXPECT_EQ(wait_for(reads[0]).bytes(), "a");
  EXPECT_EQ(wait_for(reads[2]).bytes(), "b");
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Cancel, ADialGoesOnForTheNext) {
  // The connection belongs to the endpoint: a cancelled acquire does not waste it.
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const conpool_op op = start_acquire(endpoint);
  conpool_op_cancel(op);
  Event event = wait_for(op);
  if (event->status == CONPOOL_OK) conpool_connection_release(event.connection(), CONPOOL_REUSABLE);
  conpool_connection_release(lease(endpoint), CONPOOL_REUSABLE);
  EXPECT_LE(server.accepted(), 1);
}

// --- ownership ---------------------------------------------------------------------------------

TEST(Ownership, ChunksAndErrorsOutliveThePool) {
  Server server(Server::echo);
  ClosedPort nobody;
  Event bytes, refusal;
  {
    PoolPtr pool = make_pool();
    EndpointPtr endpoint = make_endpoint(pool, server.url());
    conpool_connection* c = lease(endpoint);
    write_all(c, "kept");
    bytes = read_some(c);
    conpool_connection_release(c, CONPOOL_REUSABLE);
    refusal = acquire(make_endpoint(pool, nobody.url()));
  }
  EXPECT_EQ(bytes.bytes(), "kept");
  EXPECT_EQ(refusal->status, CONPOOL_E_CONNECT_REFUSED);
  EXPECT_NE(refusal.report().find("ECONNREFUSED"), std::string::npos);
}

TEST(Ownership, HandlesAreFreedInAnyOrder) {
  Server server(Server::echo);
  for (int order = 0; order < 24; ++order) {
    PoolPtr pool = make_pool();
    EndpointPtr endpoint = make_endpoint(pool, server.url());
    QueuePtr queue = make_queue(pool);
    conpool_connection* c = lease(endpoint);
    write_all(c, "x");
    Event bytes = read_some(c);
    start_read(c, queue);
    // The permutation of four frees that `order` counts.
    std::vector<int> left{0, 1, 2, 3};
    for (int rest = order, n = 4; n > 0; rest /= n, --n) {
      const int pick = left[static_cast<size_t>(rest % n)];
      left.erase(left.begin() + rest % n);
      if (pick == 0) pool.reset();
      if (pick == 1) endpoint.reset();
      if (pick == 2) queue.reset();
      if (pick == 3) conpool_connection_release(c, CONPOOL_REUSABLE);
    }
    EXPECT_EQ(bytes.bytes(), "x");
  }
}

TEST(Ownership, EverythingIsRefusedOnceThePoolIsGone) {
  Server server(Server::echo);
  PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  conpool_connection* c = lease(endpoint);
  pool.reset();
  conpool_op op = 77;
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, nullptr, 0, &op), CONPOOL_E_CLOSED);
  EXPECT_EQ(op, 77u);
  EXPECT_EQ(read_some(c)->status, CONPOOL_E_CLOSED);
  EXPECT_EQ(write_all(c, "x")->status, CONPOOL_E_CLOSED);
  start_read(c, queue, 5);
  const Event event = next_event(queue);
  EXPECT_EQ(event->status, CONPOOL_E_CLOSED);
  EXPECT_EQ(event->user_data, 5u);
  int32_t fd = -1;
  conpool_chunk* chunk = nullptr;
  EXPECT_EQ(conpool_connection_lend(c, 0, &fd, &chunk), CONPOOL_E_CLOSED);
  char* text = nullptr;
  EXPECT_EQ(conpool_connection_describe(c, &text), CONPOOL_OK);  // facts stay
  conpool_text_free(text);
  EXPECT_EQ(server.address(), conpool_connection_address(c));
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(Ownership, DisposeTwiceIsHarmless) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  Event event = acquire(endpoint);
  conpool_event_dispose(&event.raw);
  EXPECT_EQ(event->object, nullptr);
  conpool_event_dispose(&event.raw);
  const conpool_event zero{};
  conpool_event copy = zero;
  conpool_event_dispose(&copy);
}

TEST(Ownership, DescriptorsReturnToTheBaseline) {
  const int rounds = getenv("CONPOOL_SANITIZED") != nullptr ? 1000 : 10000;
  Server server(Server::lines);
  { const PoolPtr first = make_pool(); }  // what is opened once per process
  const int before = count_fds();
  {
    const PoolPtr pool = make_pool({{"pool.max_uses", "97"}});
    const EndpointPtr endpoint = make_endpoint(pool, server.url());
    for (int i = 0; i < rounds; ++i) {
      conpool_connection* c = lease(endpoint);
      write_all(c, "a\n");
      ASSERT_EQ(read_exactly(c, 3), "+a\n");
      conpool_connection_release(c, CONPOOL_REUSABLE);
    }
    EXPECT_EQ(metric(pool, "pool.connections.opened"), (rounds + 96) / 97);
    EXPECT_EQ(metric(pool, "pool.leases.granted"), rounds);
    EXPECT_TRUE(eventually([&] { return metric(pool, "pool.connections.open") <= 1; }));
  }
  EXPECT_TRUE(eventually([&] { return server.open() == 0; }));
  EXPECT_TRUE(eventually([&] { return count_fds() <= before; })) << count_fds() << " " << before;
}

// --- loans -------------------------------------------------------------------------------------

class Loans : public Leases {
 protected:
  void SetUp() override { connection_ = lease(endpoint_); }
  int lend(int32_t blocking) {
    int32_t fd = -1;
    conpool_chunk* chunk = nullptr;
    EXPECT_EQ(conpool_connection_lend(connection_, blocking, &fd, &chunk), CONPOOL_OK);
    early_.reset(chunk);
    return fd;
  }
  bool released_as_reusable() {
    conpool_connection_release(connection_, CONPOOL_REUSABLE);
    return acquire(endpoint_)->value[0] == 1;
  }
  conpool_connection* connection_ = nullptr;
  ChunkPtr early_;
};

TEST_F(Loans, ABlockingDescriptor) {
  const int fd = lend(1);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(early_, nullptr);
  EXPECT_EQ(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
  char buffer[4];
  EXPECT_EQ(recv(fd, buffer, 4, MSG_WAITALL), 4);
  close(fd);
  EXPECT_TRUE(released_as_reusable());
}

TEST_F(Loans, ANonBlockingDescriptor) {
  const int fd = lend(0);
  EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  char buffer[4];
  EXPECT_EQ(recv(fd, buffer, 4, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(fd);
  EXPECT_TRUE(released_as_reusable());
}

TEST_F(Loans, TheModeIsRestored) {
  close(lend(1));
  conpool_connection_release(connection_, CONPOOL_REUSABLE);
  connection_ = lease(endpoint_);
  const int fd = lend(0);
  EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  close(fd);
  EXPECT_TRUE(released_as_reusable());
}

TEST_F(Loans, WhatWasReceivedComesAlong) {
  write_all(connection_, "abcdef");
  EXPECT_EQ(read_exactly(connection_, 2), "ab");
  const int fd = lend(1);
  ASSERT_NE(early_, nullptr);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(conpool_chunk_data(early_.get())),
                        conpool_chunk_size(early_.get())),
            "cdef");
  close(fd);
  EXPECT_TRUE(released_as_reusable());
}

TEST_F(Loans, AnAnswerLeftUnreadIsNotPooled) {
  const int fd = lend(1);
  EXPECT_EQ(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
  char buffer[1];
  EXPECT_EQ(recv(fd, buffer, 1, MSG_WAITALL), 1);
  close(fd);
  EXPECT_FALSE(released_as_reusable());
}

TEST_F(Loans, NothingElseMayUseALentConnection) {
  const int fd = lend(1);
  const Event read = read_some(connection_);
  EXPECT_EQ(read->status, CONPOOL_E_WRONG_STATE);
  EXPECT_NE(read.line().find("lent"), std::string::npos) << read.line();
  EXPECT_EQ(write_all(connection_, "x")->status, CONPOOL_E_WRONG_STATE);
  int32_t second = -7;
  conpool_chunk* chunk = nullptr;
  EXPECT_EQ(conpool_connection_lend(connection_, 1, &second, &chunk), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(second, -7);
  close(fd);
  EXPECT_TRUE(released_as_reusable());
}

TEST_F(Loans, NotWhileOpsRun) {
  const conpool_op op = start_read(connection_);
  int32_t fd = -7;
  conpool_chunk* chunk = nullptr;
  EXPECT_EQ(conpool_connection_lend(connection_, 1, &fd, &chunk), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(fd, -7);
  conpool_op_cancel(op);
  wait_for(op);
  conpool_connection_release(connection_, CONPOOL_BROKEN);
}

TEST_F(Loans, ALoanOutlivesThePool) {
  const int fd = lend(1);
  endpoint_.reset();
  pool_.reset();
  // The descriptor is the program's own, and until the release the library touches nothing.
  EXPECT_EQ(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
  char buffer[4];
  EXPECT_EQ(recv(fd, buffer, 4, MSG_WAITALL), 4);
  close(fd);
  conpool_connection_release(connection_, CONPOOL_REUSABLE);
}

}  // namespace
}  // namespace capi_test
