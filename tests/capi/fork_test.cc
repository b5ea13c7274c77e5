// fork(): the child answers E_FORKED, holds no connection open and disturbs nothing; exec leaks no
// descriptor.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "support.h"

namespace capi_test {
namespace {

// Runs `body` in a forked child; 0 when it returned nullptr, else its words are printed.
int in_child(const std::function<const char*()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const char* wrong = body();
    if (wrong != nullptr) {
      (void)!write(2, wrong, std::strlen(wrong));
      (void)!write(2, "\n", 1);
    }
    _exit(wrong == nullptr ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

#define REQUIRE(condition) \
  if (!(condition)) return #condition

int count_sockets() {
  int count = 0;
  for (int fd = 0; fd < 4096; ++fd) {
    struct stat facts {};
    count += fstat(fd, &facts) == 0 && S_ISSOCK(facts.st_mode) ? 1 : 0;
  }
  return count;
}

class Forks : public testing::TestWithParam<const char*> {
 protected:
  Server server_{Server::echo};
  // Most leases here end as broken.
  PoolPtr pool_ = make_pool({{"loop.drive", GetParam()}, {"breaker.mode", "off"}});
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
  QueuePtr queue_ = make_queue(pool_);
};

TEST_P(Forks, TheChildIsRefusedEverywhere) {
  const int fd = conpool_queue_fd(queue_.get());
  EXPECT_GE(fd, 0);
  conpool_connection* c = lease(endpoint_);
  const conpool_op waiting = start_read(c);
  start_acquire(endpoint_, queue_);
  write_all(c, "x");
  const ClosedPort nobody;
  Event refused = acquire(make_endpoint(pool_, nobody.url()));
  const ConfigPtr config = make_config({});
  const int status = in_child([&]() -> const char* {
    conpool_op op = 77;
    conpool_event event{};
    char* text = nullptr;
    conpool_error* error = nullptr;
    conpool_pool* pool = nullptr;
    conpool_endpoint* endpoint = nullptr;
    conpool_queue* queue = nullptr;
    int32_t lent = -1;
    conpool_chunk* chunk = nullptr;
    REQUIRE(conpool_config_set(config.get(), "partition", "x", 1, &error) == CONPOOL_E_FORKED);
    REQUIRE(conpool_error_status(error) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_new(config.get(), &pool, nullptr) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_close(pool_.get(), 0, nullptr, 0, &op) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_metrics(pool_.get(), "text", &text) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_events(pool_.get(), "text", &text) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_events_since(pool_.get(), "text", 0, 0, nullptr, nullptr, &text) ==
            CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_event(pool_.get(), 0, "a", 1, nullptr, 0) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_explain(pool_.get(), endpoint_.get(), &text) == CONPOOL_E_FORKED);
    REQUIRE(conpool_pool_set_resolver(pool_.get(), nullptr, 0) == CONPOOL_E_FORKED);
    const uint16_t port = 1;
    REQUIRE(conpool_endpoint_new(pool_.get(), "tcp://h:1", CONPOOL_NUL_TERMINATED, nullptr,
                                 &endpoint, nullptr) == CONPOOL_E_FORKED);
    REQUIRE(conpool_endpoint_new_host(pool_.get(), "tcp", "h", 1, &port, 1, nullptr, &endpoint,
                                      nullptr) == CONPOOL_E_FORKED);
    REQUIRE(conpool_endpoint_new_addresses(pool_.get(), "tcp", "127.0.0.1:1",
                                           CONPOOL_NUL_TERMINATED, nullptr, &endpoint,
                                           nullptr) == CONPOOL_E_FORKED);
    REQUIRE(conpool_endpoint_acquire(endpoint_.get(), nullptr, nullptr, 0, &op) ==
            CONPOOL_E_FORKED);
    REQUIRE(conpool_op_cancel(waiting) == CONPOOL_E_FORKED);
    REQUIRE(conpool_op_wait(waiting, 0, &event) == CONPOOL_E_FORKED);
    REQUIRE(conpool_queue_new(pool_.get(), &queue) == CONPOOL_E_FORKED);
    REQUIRE(conpool_queue_next(queue_.get(), &event, 1, 0) == CONPOOL_E_FORKED);
    REQUIRE(conpool_queue_fd(queue_.get()) == CONPOOL_E_FORKED);
    REQUIRE(conpool_connection_read(c, 0, nullptr, 0, &op) == CONPOOL_E_FORKED);
    REQUIRE(conpool_connection_write(c, "x", 1, nullptr, 0, &op) == CONPOOL_E_FORKED);
    REQUIRE(conpool_connection_shutdown_write(c, nullptr, 0, &op) == CONPOOL_E_FORKED);
    REQUIRE(conpool_connection_lend(c, 0, &lent, &chunk) == CONPOOL_E_FORKED);
    REQUIRE(conpool_connection_describe(c, &text) == CONPOOL_E_FORKED);
    REQUIRE(op == 77 && text == nullptr && lent == -1);
    // What is plain memory can still be read.
    REQUIRE(conpool_error_status(refused.error()) == CONPOOL_E_CONNECT_REFUSED);
    REQUIRE(std::strstr(conpool_error_report(refused.error()), "ECONNREFUSED") != nullptr);
    // And the frees do nothing.
    conpool_queue_wake(queue_.get());
    conpool_queue_close(queue_.get());
    conpool_queue_free(queue_.get());
    conpool_connection_release(c, CONPOOL_BROKEN);
    conpool_event_dispose(&refused.raw);
    conpool_endpoint_free(endpoint_.get());
    conpool_config_free(config.get());
    conpool_pool_free(pool_.get());
    return nullptr;
  });
  EXPECT_EQ(status, 0);
  // The parent goes on as if nothing had been.
  EXPECT_EQ(wait_for(waiting).bytes(), "x");
  EXPECT_EQ(write_all(c, "hello")->status, CONPOOL_OK);
  EXPECT_EQ(read_exactly(c, 5), "hello");
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_EQ(next_event(queue_)->status, CONPOOL_OK);
  EXPECT_EQ(conpool_config_set(config.get(), "partition", "x", 1, nullptr), CONPOOL_OK);
}

TEST_P(Forks, TheChildHoldsNoConnectionOpen) {
  conpool_connection* c = lease(endpoint_);
  ASSERT_TRUE(eventually([&] { return server_.open() == 1; }));  // its socket counts, too
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const int others = count_sockets() - 1;  // the server's own, which this process also has
  const pid_t child = fork();
  if (child == 0) {
    const bool right = count_sockets() == others;
    close(pipe_fds[1]);
    char byte;
    (void)!read(pipe_fds[0], &byte, 1);  // lives on until the parent has seen the end
    _exit(right ? 0 : 1);
  }
  // The peer sees the end at once, although the child lives.
  conpool_connection_release(c, CONPOOL_BROKEN);
  EXPECT_TRUE(eventually([&] {
    conpool_event event{};
    conpool_queue_next(queue_.get(), &event, 1, 0);  // the caller's drive needs a turn
    return server_.open() == 0;
  }));
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, WNOHANG), 0);
  close(pipe_fds[1]);
  close(pipe_fds[0]);
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(Forks, TheChildMayMakeItsOwn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "skipped: the sanitizers of GCC 12 do not let go of their own locks at fork(), "
                  "so a thread that the child makes may wait for ever";
#endif
  conpool_connection_release(lease(endpoint_), CONPOOL_REUSABLE);
  const std::string url = server_.url();
  const std::string drive = GetParam();
  const int status = in_child([&]() -> const char* {
    conpool_config* config = nullptr;
    REQUIRE(conpool_config_new(&config) == CONPOOL_OK);
    REQUIRE(conpool_config_set(config, "loop.drive", drive.data(), drive.size(), nullptr) ==
            CONPOOL_OK);
    conpool_pool* pool = nullptr;
    conpool_endpoint* endpoint = nullptr;
    REQUIRE(conpool_pool_new(config, &pool, nullptr) == CONPOOL_OK);
    REQUIRE(conpool_endpoint_new(pool, url.data(), url.size(), nullptr, &endpoint, nullptr) ==
            CONPOOL_OK);
    conpool_op op = 0;
    conpool_event event{};
    // A queue of the parent's is of no use to it.
    REQUIRE(conpool_endpoint_acquire(endpoint, nullptr, queue_.get(), 0, &op) == CONPOOL_E_FORKED);
    REQUIRE(conpool_endpoint_acquire(endpoint, nullptr, nullptr, 0, &op) == CONPOOL_OK);
    REQUIRE(conpool_op_wait(op, kLong, &event) == CONPOOL_OK);
    REQUIRE(event.status == CONPOOL_OK);
    conpool_connection_release(static_cast<conpool_connection*>(event.object), CONPOOL_REUSABLE);
    conpool_endpoint_free(endpoint);
    conpool_pool_free(pool);
    conpool_config_free(config);
    return nullptr;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(acquire(endpoint_)->value[0], 1u);
}

TEST_P(Forks, WhileTheLoopIsBusy) {
  // Forks at many moments of a loop at work.
  std::atomic<bool> done{false};
  std::thread worker([&] {
    while (!done) {
      Event event = acquire(endpoint_);
      conpool_connection* c = event.connection();
      ASSERT_NE(c, nullptr);
      write_all(c, "x");
      read_exactly(c, 1);
      conpool_connection_release(c, CONPOOL_BROKEN);
    }
  });
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(in_child([&]() -> const char* {
                conpool_op op = 0;
                REQUIRE(conpool_endpoint_acquire(endpoint_.get(), nullptr, nullptr, 0, &op) ==
                        CONPOOL_E_FORKED);
                return nullptr;
              }),
              0);
  }
  done = true;
  worker.join();
}

TEST_P(Forks, ExecLeaksNoDescriptor) {
  conpool_connection* c = lease(endpoint_);
  int32_t lent = -1;
  conpool_chunk* chunk = nullptr;
  ASSERT_EQ(conpool_connection_lend(c, 1, &lent, &chunk), CONPOOL_OK);
  EXPECT_GE(conpool_queue_fd(queue_.get()), 0);
  // Every descriptor that the library made closes on exec: nothing but the standard three is left.
  for (int fd = 3; fd < 4096; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
    char path[64], target[256] = {};
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    (void)!readlink(path, target, sizeof(target) - 1);
    const bool ours =
        std::strstr(target, "socket") != nullptr || std::strstr(target, "eventpoll") != nullptr ||
        std::strstr(target, "eventfd") != nullptr || std::strstr(target, "timerfd") != nullptr;
    EXPECT_FALSE(ours) << fd << " -> " << target;
  }
  close(lent);
  conpool_connection_release(c, CONPOOL_BROKEN);
}

INSTANTIATE_TEST_SUITE_P(Drives, Forks, testing::Values("thread", "caller"),
                         [](const auto& drive) { return std::string(drive.param); });

}  // namespace
}  // namespace capi_test
