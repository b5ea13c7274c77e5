// Plain socket calls: owned descriptors, options, and what an errno means to the rooms above.
#pragma once

#include <utility>

#include "base/address.h"
#include "base/result.h"
#include "io/loop.h"

namespace conpool::io::uv {

// Owns one file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void reset() noexcept;
  int give() { return std::exchange(fd_, -1); }  // the caller owns it from here

 private:
  int fd_ = -1;
};

// What went wrong while a connection was being made.
Failure connect_failure(int os_error, Family family);
// What went wrong on an established connection.
Failure stream_failure(int os_error);
// What went wrong with a system call that belongs to no peer; `what` names it.
Failure system_failure(int os_error, std::string what);

// A non-blocking CLOEXEC socket. SOCK_STREAM sockets of IP have TCP_NODELAY set.
Result<Fd> open_socket(Family family, int type);
// Keepalive and TCP_USER_TIMEOUT; ignored for unix sockets.
void set_connection_options(int fd, Family family, const ConnectOptions& options);
bool set_blocking(int fd, bool blocking);
// The pending error of a socket, which this call consumes; 0 = none.
int take_socket_error(int fd);
// Empty addresses where the kernel has none.
SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);
Nanos smoothed_rtt(int fd);

Result<SocketAddress> source_address_towards(const SocketAddress& peer);

}  // namespace conpool::io::uv
