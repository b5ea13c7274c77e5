// The server on loopback and the short names.
#include "support.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace capi_test {

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

int count_fds() {
  DIR* folder = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(folder) != nullptr)
    ++count;
  closedir(folder);
  return count - 3;  // ".", ".." and the folder's own
}

bool eventually(const std::function<bool()>& condition) {
  const int64_t deadline = monotonic_ns() + kLong;
  while (!condition()) {
    if (monotonic_ns() > deadline) return false;
    std::this_thread::yield();
    poll(nullptr, 0, 1);
  }
  return true;
}

namespace {

sockaddr_storage loopback(int family, int port, socklen_t* size) {
  sockaddr_storage address{};
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    v6->sin6_addr = in6addr_loopback;
    *size = sizeof(sockaddr_in6);
  }
  return address;
}

// A socket bound to a loopback address; -1 when that is not possible.
int bound_socket(int family, int port) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t size = 0;
  const sockaddr_storage address = loopback(family, port, &size);
  if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

int port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET
                   ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                   : reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

}  // namespace

bool have_ipv6_loopback() {
  const int fd = bound_socket(AF_INET6, 0);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

// --- the server ------------------------------------------------------------------------------

Server::Server(Serve serve, int family, int backlog) : family_(family), serve_(std::move(serve)) {
  listener_ = bound_socket(family, 0);
  EXPECT_GE(listener_, 0);
  EXPECT_EQ(listen(listener_, backlog), 0);
  port_ = port_of(listener_);
  accepter_ = std::thread([this] { accept_loop(); });
}

Server::~Server() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    for (const int fd : sockets_)
      shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  accepter_.join();
  for (std::thread& thread : threads_)
    thread.join();
  close(listener_);
}

std::string Server::address() const {
  return (family_ == AF_INET ? "127.0.0.1:" : "[::1]:") + std::to_string(port_);
}

void Server::accept_loop() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_ || fd < 0) {
      if (fd >= 0) close(fd);
      if (ending_) return;
      continue;
    }
    ++accepted_;
    most_open_ = std::max(most_open_.load(), ++open_);
    sockets_.push_back(fd);
    threads_.emplace_back([this, fd] {
      serve_(fd);
      const std::lock_guard<std::mutex> inner(mutex_);
      sockets_.erase(std::find(sockets_.begin(), sockets_.end(), fd));
      close(fd);
      --open_;
    });
  }
}

void Server::echo(int fd) {
  char buffer[65536];
  for (;;) {
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got <= 0) return;
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t more = send(fd, buffer + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (more <= 0) return;
      sent += more;
    }
  }
}

void Server::silent(int fd) {
  char buffer[65536];
  while (recv(fd, buffer, sizeof(buffer), 0) > 0) {
  }
}

void Server::lines(int fd) {
  std::string pending;
  char buffer[4096];
  for (;;) {
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got <= 0) return;
    pending.append(buffer, static_cast<size_t>(got));
    for (size_t end = pending.find('\n'); end != pending.npos; end = pending.find('\n')) {
      const std::string answer = "+" + pending.substr(0, end + 1);
      pending.erase(0, end + 1);
      if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  }
}

ClosedPort::ClosedPort(bool both_families) {
  // Another program may hold the port in the other family: then another port.
  for (int i = 0; i < 100; ++i) {
    v4_ = bound_socket(AF_INET, 0);
    port_ = port_of(v4_);
    if (!both_families) return;
    v6_ = bound_socket(AF_INET6, port_);
    if (v6_ >= 0) return;
    close(v4_);
  }
}

ClosedPort::~ClosedPort() {
  if (v4_ >= 0) close(v4_);
  if (v6_ >= 0) close(v6_);
}

// --- short names -----------------------------------------------------------------------------

namespace {

std::string text_of(conpool_error* error) {
  const ErrorPtr owned(error);
  return owned == nullptr ? "" : conpool_error_line(error);
}

std::string taken(char* text) {
  std::string copy(text == nullptr ? "" : text);
  conpool_text_free(text);
  return copy;
}

}  // namespace

ConfigPtr make_config(const Options& options) {
  conpool_config* config = nullptr;
  EXPECT_EQ(conpool_config_new(&config), CONPOOL_OK);
  for (const auto& [name, value] : options) {
    conpool_error* error = nullptr;
    const conpool_status status =
        conpool_config_set(config, name.c_str(), value.data(), value.size(), &error);
    EXPECT_EQ(status, CONPOOL_OK) << text_of(error);
  }
  return ConfigPtr(config);
}

PoolPtr make_pool(const Options& options) {
  const ConfigPtr config = make_config(options);
  conpool_pool* pool = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_pool_new(config.get(), &pool, &error), CONPOOL_OK) << text_of(error);
  return PoolPtr(pool);
}

EndpointPtr make_endpoint(const PoolPtr& pool, const std::string& url, const Options& options) {
  const ConfigPtr config = make_config(options);
  conpool_endpoint* endpoint = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(
      conpool_endpoint_new(pool.get(), url.data(), url.size(), config.get(), &endpoint, &error),
      CONPOOL_OK)
      << text_of(error);
  return EndpointPtr(endpoint);
}

QueuePtr make_queue(const PoolPtr& pool) {
  conpool_queue* queue = nullptr;
  EXPECT_EQ(conpool_queue_new(pool.get(), &queue), CONPOOL_OK);
  return QueuePtr(queue);
}

std::string Event::bytes() const {
  if (raw.kind != CONPOOL_EVENT_READ || raw.status != CONPOOL_OK || raw.object == nullptr)
    return {};
  const auto* chunk = static_cast<const conpool_chunk*>(raw.object);
  return {reinterpret_cast<const char*>(conpool_chunk_data(chunk)), conpool_chunk_size(chunk)};
}

const conpool_error* Event::error() const {
  return raw.status == CONPOOL_OK ? nullptr : static_cast<const conpool_error*>(raw.object);
}
std::string Event::line() const {
  return conpool_error_line(error());
}
std::string Event::report() const {
  return conpool_error_report(error());
}

conpool_connection* Event::connection() {
  if (raw.kind != CONPOOL_EVENT_CONNECTION || raw.status != CONPOOL_OK) return nullptr;
  return static_cast<conpool_connection*>(std::exchange(raw.object, nullptr));
}

Event wait_for(conpool_op op) {
  Event event;
  EXPECT_EQ(conpool_op_wait(op, kLong, &event.raw), CONPOOL_OK);
  return event;
}

Event next_event(const QueuePtr& queue, int64_t timeout) {
  Event event;
  EXPECT_EQ(conpool_queue_next(queue.get(), &event.raw, 1, timeout), 1);
  return event;
}

conpool_op start_acquire(const EndpointPtr& endpoint, const QueuePtr& queue, uint64_t user_data,
                         const Options& options) {
  const ConfigPtr config = options.empty() ? nullptr : make_config(options);
  conpool_op op = 0;
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), config.get(), queue.get(), user_data, &op),
            CONPOOL_OK);
  return op;
}

Event acquire(const EndpointPtr& endpoint, const Options& options) {
  return wait_for(start_acquire(endpoint, nullptr, 0, options));
}

conpool_connection* lease(const EndpointPtr& endpoint, const Options& options) {
  Event event = acquire(endpoint, options);
  EXPECT_EQ(event->status, CONPOOL_OK) << event.report();
  return event.connection();
}

conpool_op start_read(conpool_connection* c, const QueuePtr& queue, uint64_t user_data,
                      size_t most) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_read(c, most, queue.get(), user_data, &op), CONPOOL_OK);
  return op;
}

conpool_op start_write(conpool_connection* c, std::string_view data, const QueuePtr& queue,
                       uint64_t user_data) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_write(c, data.data(), data.size(), queue.get(), user_data, &op),
            CONPOOL_OK);
  return op;
}

Event write_all(conpool_connection* c, std::string_view data) {
  return wait_for(start_write(c, data));
}
Event read_some(conpool_connection* c, size_t most) {
  return wait_for(start_read(c, nullptr, 0, most));
}

std::string read_exactly(conpool_connection* c, size_t size) {
  std::string all;
  while (all.size() < size) {
    const Event event = read_some(c, size - all.size());
    EXPECT_EQ(event->status, CONPOOL_OK) << event.report();
    if (event->status != CONPOOL_OK || event->object == nullptr) break;
    all += event.bytes();
  }
  return all;
}

std::string metrics(const PoolPtr& pool, const char* format) {
  char* text = nullptr;
  EXPECT_EQ(conpool_pool_metrics(pool.get(), format, &text), CONPOOL_OK);
  return taken(text);
}

std::string events(const PoolPtr& pool, const char* format) {
  char* text = nullptr;
  EXPECT_EQ(conpool_pool_events(pool.get(), format, &text), CONPOOL_OK);
  return taken(text);
}

std::string explain(const PoolPtr& pool, const EndpointPtr& endpoint) {
  char* text = nullptr;
  EXPECT_EQ(conpool_pool_explain(pool.get(), endpoint.get(), &text), CONPOOL_OK);
  return taken(text);
}

std::string describe(const char* what) {
  char* text = nullptr;
  EXPECT_EQ(conpool_describe(what, &text), CONPOOL_OK);
  return taken(text);
}

long long metric(const PoolPtr& pool, const std::string& name) {
  const std::string text = "\n" + metrics(pool, "text");
  const size_t at = text.find("\n" + name + "=");
  return at == text.npos ? -1 : std::stoll(text.substr(at + name.size() + 2));
}

}  // namespace capi_test
