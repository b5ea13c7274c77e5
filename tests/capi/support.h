// What the contract tests share: a server on loopback, and short names for the C functions.
//
// Only the public header is used: these tests see the library as any program does.
#pragma once

#include <conpool/conpool.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace capi_test {

constexpr int64_t kMs = 1000000;
constexpr int64_t kSecond = 1000 * kMs;
constexpr int64_t kLong = 30 * kSecond;  // a deadline that only a hang reaches

int64_t monotonic_ns();
// Open descriptors of this process.
int count_fds();
// Calls `condition` until it is true; false after kLong.
bool eventually(const std::function<bool()>& condition);

// A listening socket on a free port of 127.0.0.1 or ::1, and a thread for each connection.
// The connection's socket is closed when `serve` returns; on destruction all sockets are shut down
// and all threads joined.
class Server {
 public:
  using Serve = std::function<void(int fd)>;
  explicit Server(Serve serve, int family = 2 /* AF_INET */, int backlog = 128);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return port_; }
  std::string address() const;  // "127.0.0.1:port"
  std::string url() const { return "tcp://" + address(); }
  int accepted() const { return accepted_; }
  int open() const { return open_; }  // connections being served now
  int most_open() const { return most_open_; }

  // What connections may do.
  static void echo(int fd);    // sends back what comes, until the end
  static void silent(int fd);  // reads and never answers
  static void close_at_once(int) {}
  // Reads lines and answers each with "+line\n".
  static void lines(int fd);

 private:
  void accept_loop();
  int family_;
  int listener_ = -1;
  int port_ = 0;
  Serve serve_;
  std::atomic<int> accepted_{0};
  std::atomic<int> open_{0};
  std::atomic<int> most_open_{0};
  std::mutex mutex_;
  bool ending_ = false;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::thread accepter_;
};

// A port on which nobody listens: bound and never listened on while the object lives.
class ClosedPort {
 public:
  explicit ClosedPort(bool both_families = false);
  ~ClosedPort();
  int port() const { return port_; }
  std::string url(const std::string& host = "127.0.0.1") const {
    return "tcp://" + host + ":" + std::to_string(port_);
  }

 private:
  int v4_ = -1;
  int v6_ = -1;
  int port_ = 0;
};

bool have_ipv6_loopback();

// --- the library's objects, freed at the end of the scope
using Options = std::vector<std::pair<std::string, std::string>>;

struct FreePool {
  void operator()(conpool_pool* p) const { conpool_pool_free(p); }
};
struct FreeEndpoint {
  void operator()(conpool_endpoint* e) const { conpool_endpoint_free(e); }
};
struct FreeQueue {
  void operator()(conpool_queue* q) const { conpool_queue_free(q); }
};
struct FreeConfig {
  void operator()(conpool_config* c) const { conpool_config_free(c); }
};
struct FreeError {
  void operator()(conpool_error* e) const { conpool_error_free(e); }
};
struct FreeChunk {
  void operator()(conpool_chunk* c) const { conpool_chunk_free(c); }
};
using PoolPtr = std::unique_ptr<conpool_pool, FreePool>;
using EndpointPtr = std::unique_ptr<conpool_endpoint, FreeEndpoint>;
using QueuePtr = std::unique_ptr<conpool_queue, FreeQueue>;
using ConfigPtr = std::unique_ptr<conpool_config, FreeConfig>;
using ErrorPtr = std::unique_ptr<conpool_error, FreeError>;
using ChunkPtr = std::unique_ptr<conpool_chunk, FreeChunk>;

ConfigPtr make_config(const Options& options);
PoolPtr make_pool(const Options& options = {});
EndpointPtr make_endpoint(const PoolPtr& pool, const std::string& url, const Options& options = {});
QueuePtr make_queue(const PoolPtr& pool);

// An event that disposes of what it carries.
class Event {
 public:
  Event() = default;
  ~Event() { conpool_event_dispose(&raw); }
  Event(Event&& other) noexcept : raw(std::exchange(other.raw, conpool_event{})) {}
  Event& operator=(Event&& other) noexcept {
    if (this != &other) {
      conpool_event_dispose(&raw);
      raw = std::exchange(other.raw, conpool_event{});
    }
    return *this;
  }
  conpool_event* operator->() { return &raw; }
  const conpool_event* operator->() const { return &raw; }
  // The bytes of a chunk; only for reads that succeeded.
  std::string bytes() const;
  // The error's one line and report; "" without one.
  std::string line() const;
  std::string report() const;
  const conpool_error* error() const;
  // Takes the connection out of a successful acquire.
  conpool_connection* connection();
  conpool_event raw{};
};

// Waits for an op without a queue; fails the test when it does not end.
Event wait_for(conpool_op op);
// Takes the next event of the queue.
Event next_event(const QueuePtr& queue, int64_t timeout = kLong);

// The leases, ops and texts of the C functions; each fails the test when the call is refused.
Event acquire(const EndpointPtr& endpoint, const Options& options = {});
conpool_connection* lease(const EndpointPtr& endpoint, const Options& options = {});
conpool_op start_acquire(const EndpointPtr& endpoint, const QueuePtr& queue = nullptr,
                         uint64_t user_data = 0, const Options& options = {});
conpool_op start_read(conpool_connection* c, const QueuePtr& queue = nullptr,
                      uint64_t user_data = 0, size_t most = 0);
conpool_op start_write(conpool_connection* c, std::string_view data,
                       const QueuePtr& queue = nullptr, uint64_t user_data = 0);
Event write_all(conpool_connection* c, std::string_view data);
Event read_some(conpool_connection* c, size_t most = 0);
std::string read_exactly(conpool_connection* c, size_t size);

std::string metrics(const PoolPtr& pool, const char* format);
std::string events(const PoolPtr& pool, const char* format);
std::string explain(const PoolPtr& pool, const EndpointPtr& endpoint);
std::string describe(const char* what);
// The number of a "name=value" line of the text metrics; -1 when there is none.
long long metric(const PoolPtr& pool, const std::string& name);

}  // namespace capi_test
