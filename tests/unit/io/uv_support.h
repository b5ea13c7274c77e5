// What the tests of the real world share: a loop, handlers that record, raw sockets.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "io/uv/uv_loop.h"

namespace conpool::io {

inline Time clock_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<Time>(now.tv_sec) * kSecond + now.tv_nsec;
}

inline SocketAddress loopback(uint16_t port = 0) {
  return SocketAddress::v4({127, 0, 0, 1}, port);
}

inline SocketAddress loopback6(uint16_t port = 0) {
  std::array<uint8_t, 16> ip{};
  ip[15] = 1;
  return SocketAddress::v6(ip, port);
}

inline int open_descriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr)
    ++count;
  closedir(dir);
  return count;
}

// Records everything a stream tells; keeps the bytes unless told to count only.
struct Recorder final : StreamHandler {
  bool connected = false;
  bool eof = false;
  bool keep = true;
  int writable = 0;
  size_t bytes = 0;
  size_t reads = 0;
  std::string data;
  std::vector<Slice> slices;  // filled when `hold` is on
  bool hold = false;
  std::vector<Failure> failures;
  Callback<void()> when_data;

  void on_connected() override { connected = true; }
  void on_data(Slice slice) override {
    EXPECT_FALSE(slice.empty());
    ++reads;
    bytes += slice.size();
    if (keep) data += as_text(slice.span());
    if (hold) slices.push_back(std::move(slice));
    if (when_data) when_data();
  }
  void on_eof() override { eof = true; }
  void on_writable() override { ++writable; }
  void on_failed(const Failure& failure) override { failures.push_back(failure); }
  bool failed() const { return !failures.empty(); }
};

struct Acceptor final : ListenHandler {
  std::vector<std::unique_ptr<Stream>> streams;
  void on_accepted(std::unique_ptr<Stream> stream) override {
    streams.push_back(std::move(stream));
  }
};

class UvTest : public testing::Test {
 protected:
  UvTest() {
    Result<std::unique_ptr<Loop>> made = make_uv_loop();
    EXPECT_TRUE(made.has_value());
    loop_ = std::move(*made);
  }
  ~UvTest() override { EXPECT_EQ(loop_ ? loop_->live_handles() : 0, 0u); }

  // Runs turns until `done`, at most ten seconds.
  template <typename F>
  bool run_until(F&& done) {
    const Time limit = clock_now() + 10 * kSecond;
    while (!done()) {
      if (clock_now() >= limit) return false;
      loop_->run_turn(limit);
    }
    return true;
  }
  // Runs turns for at least this long.
  void run_for(Nanos duration) {
    const Time limit = clock_now() + duration;
    while (clock_now() < limit)
      loop_->run_turn(limit);
  }

  std::unique_ptr<Stream> start_connect(const SocketAddress& peer, StreamHandler* handler,
                                        const ConnectOptions& options = {}) {
    Result<std::unique_ptr<Stream>> stream = loop_->connect(peer, options);
    EXPECT_TRUE(stream.has_value()) << (stream ? "" : stream.error().detail);
    if (!stream) return nullptr;
    (*stream)->set_handler(handler);
    return std::move(*stream);
  }

  std::unique_ptr<Listener> start_listen(const SocketAddress& address, ListenHandler* handler) {
    Result<std::unique_ptr<Listener>> listener = loop_->listen(address, 64, handler);
    EXPECT_TRUE(listener.has_value()) << (listener ? "" : listener.error().detail);
    return listener ? std::move(*listener) : nullptr;
  }

  std::unique_ptr<Loop> loop_;
};

// Both ends of one connection on one loop.
class UvPairTest : public UvTest {
 protected:
  void connect_pair(const SocketAddress& address = loopback(), const ConnectOptions& options = {}) {
    listener_ = start_listen(address, &acceptor_);
    ASSERT_TRUE(listener_);
    client_ = start_connect(listener_->address(), &at_client_, options);
    ASSERT_TRUE(client_);
    ASSERT_TRUE(run_until([&] { return at_client_.connected && acceptor_.streams.size() == 1; }));
    server_ = std::move(acceptor_.streams.front());
    acceptor_.streams.clear();
    server_->set_handler(&at_server_);
  }
  static iovec part(const std::string& text) {
    return {const_cast<char*>(text.data()), text.size()};
  }
  static size_t write(Stream& stream, const std::string& text) {
    const iovec one = part(text);
    Result<size_t> accepted = stream.writev({&one, 1});
    EXPECT_TRUE(accepted.has_value());
    return accepted ? *accepted : 0;
  }

  Acceptor acceptor_;
  Recorder at_client_;
  Recorder at_server_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;

  void TearDown() override {
    client_.reset();
    server_.reset();
    listener_.reset();
    acceptor_.streams.clear();
  }
};

}  // namespace conpool::io
