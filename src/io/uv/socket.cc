// Socket calls and what their errors mean.
#include "io/uv/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "io/shortage.h"
#include "io/uv/own_sockets.h"

namespace conpool::io::uv {
namespace {

// Probes sent after the idle time, and the probes a dead peer may miss.
constexpr int kKeepaliveProbes = 3;
constexpr int64_t kMaxKeepaliveSeconds = 32767;  // MAX_TCP_KEEPIDLE of Linux

int socket_domain(Family family) {
  switch (family) {
    case Family::V4:
      return AF_INET;
    case Family::V6:
      return AF_INET6;
    case Family::Unix:
      return AF_UNIX;
    case Family::None:
      break;
  }
  return AF_UNSPEC;
}

void set_int(int fd, int level, int option, int value) {
  // Best effort: a refused option changes when a dead peer is noticed, not whether bytes flow.
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

bool is_fd_limit(int os_error) {
  return os_error == EMFILE || os_error == ENFILE;
}
bool is_memory(int os_error) {
  return os_error == ENOMEM || os_error == ENOBUFS;
}

}  // namespace

void Fd::reset() noexcept {
  // EINTR still closes on Linux: a second close could hit another thread's descriptor.
  if (fd_ >= 0) (void)close_socket(std::exchange(fd_, -1));
}

Failure connect_failure(int os_error, Family family) {
  Failure failure{
      .status = Status::E_CONNECT_FAILED, .os_error = os_error, .detail = shortage_text(os_error)};
  switch (os_error) {
    case ECONNREFUSED:
      failure.status = Status::E_CONNECT_REFUSED;
      break;
    case EAGAIN:  // unix(7): the listener's queue is full
      failure.status = Status::E_CONNECT_REFUSED;
      failure.detail = "the listener's queue is full";
      break;
    case ETIMEDOUT:
      failure.status = Status::E_CONNECT_TIMEOUT;
      break;
    case ECONNRESET:
    case EPIPE:
      failure.status = Status::E_CONNECT_RESET;
      break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAFNOSUPPORT:
      failure.status = Status::E_CONNECT_UNREACHABLE;
      break;
    case EINVAL:  // a blackhole route, or a link-local address without a scope
    case EACCES:  // a prohibit route, or a broadcast address
    case EPERM:   // a packet filter
      if (family != Family::Unix) failure.status = Status::E_CONNECT_UNREACHABLE;
      break;
    default:
      if (is_fd_limit(os_error)) failure.status = Status::E_FD_LIMIT;
      if (is_memory(os_error)) failure.status = Status::E_NOMEM;
      break;
  }
  return failure;
}

Failure stream_failure(int os_error) {
  Failure failure{.status = Status::E_CONNECTION_FAILED, .os_error = os_error};
  if (os_error == ECONNRESET) failure.status = Status::E_CONNECTION_RESET;
  if (os_error == EPIPE) failure.status = Status::E_CONNECTION_CLOSED;
  if (is_fd_limit(os_error)) failure.status = Status::E_FD_LIMIT;
  if (is_memory(os_error)) failure.status = Status::E_NOMEM;
  return failure;
}

Failure system_failure(int os_error, std::string what) {
  Status status = Status::E_SYSTEM;
  if (is_fd_limit(os_error)) status = Status::E_FD_LIMIT;
  if (is_memory(os_error)) status = Status::E_NOMEM;
  return Failure{.status = status, .os_error = os_error, .detail = std::move(what)};
}

Result<Fd> open_socket(Family family, int type) {
  Fd fd(::socket(socket_domain(family), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.open()) return fail(connect_failure(errno, family));
  own_socket(fd.get());
  if (type == SOCK_STREAM && family != Family::Unix) set_int(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

void set_connection_options(int fd, Family family, const ConnectOptions& options) {
  if (family == Family::Unix) return;
  if (options.keepalive > 0) {
    const int64_t seconds =
        std::clamp<int64_t>((options.keepalive + kSecond - 1) / kSecond, 1, kMaxKeepaliveSeconds);
    const int idle = static_cast<int>(seconds);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, idle / kKeepaliveProbes));
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
  }
  if (options.user_timeout > 0) {
    const int64_t milliseconds = std::min<int64_t>(
        (options.user_timeout + kMillisecond - 1) / kMillisecond, std::numeric_limits<int>::max());
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(milliseconds));
  }
}

bool set_blocking(int fd, bool blocking) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return false;
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0;
}

int take_socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size)
      .value_or(SocketAddress());
}

SocketAddress peer_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size)
      .value_or(SocketAddress());
}

Nanos smoothed_rtt(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return static_cast<Nanos>(info.tcpi_rtt) * kMicrosecond;
}

Result<SocketAddress> source_address_towards(const SocketAddress& peer) {
  if (peer.family() != Family::V4 && peer.family() != Family::V6) {
    return fail(Status::E_UNSUPPORTED,
                "only IP addresses have a source address, not " + peer.text());
  }
  // Connecting a datagram socket only asks the routing table: no packet leaves.
  Result<Fd> fd = open_socket(peer.family(), SOCK_DGRAM);
  if (!fd) return fail(std::move(fd).error());
  constexpr uint16_t kDiscardPort = 9;
  sockaddr_storage storage{};
  const socklen_t size =
      (peer.port() == 0 ? peer.with_port(kDiscardPort) : peer).to_sockaddr(&storage);
  if (::connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    Failure failure = connect_failure(errno, peer.family());
    if (failure.status == Status::E_CONNECT_FAILED) failure.status = Status::E_CONNECT_UNREACHABLE;
    return fail(std::move(failure));
  }
  return local_address(fd->get()).without_port();
}

}  // namespace conpool::io::uv
