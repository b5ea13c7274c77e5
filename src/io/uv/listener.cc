// Listening sockets.
#include "io/uv/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "io/uv/own_sockets.h"
#include "io/uv/stream.h"

namespace conpool::io::uv {
namespace {

void set_listen_options(int fd, Family family) {
  const int on = 1;
  if (family == Family::Unix) return;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // One family per listener, whatever the system's default says.
  if (family == Family::V6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
}

}  // namespace

Result<std::unique_ptr<Listener>> UvListener::open(UvLoop& loop, const SocketAddress& address,
                                                   int backlog, ListenHandler* handler) {
  if (address.family() == Family::None) {
    return fail(Status::E_BAD_ADDRESS, "an empty address cannot be listened on");
  }
  Result<Fd> fd = open_socket(address.family(), SOCK_STREAM);
  if (!fd) return fail(system_failure(fd.error().os_error, "listening on " + address.text()));
  set_listen_options(fd->get(), address.family());
  sockaddr_storage storage{};
  const socklen_t size = address.to_sockaddr(&storage);
  if (::bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    return fail(system_failure(errno, "listening on " + address.text()));
  }
  // From here on a unix path exists: the listener removes it, whatever comes.
  std::unique_ptr<UvListener> listener(new UvListener(
      loop, std::move(*fd), address.family() == Family::Unix ? address : local_address(fd->get()),
      handler));
  if (::listen(listener->fd_.get(), backlog) != 0) {
    return fail(system_failure(errno, "listening on " + address.text()));
  }
  Result<PollHandle::Ptr> poll = PollHandle::make(loop, listener->fd_.get(), listener.get());
  if (!poll) return fail(std::move(poll).error());
  listener->poll_ = std::move(*poll);
  listener->poll_->watch(UV_READABLE);
  return std::unique_ptr<Listener>(std::move(listener));
}

UvListener::UvListener(UvLoop& loop, Fd fd, const SocketAddress& address, ListenHandler* handler)
    : loop_(loop),
      live_(loop.mark_live()),
      fd_(std::move(fd)),
      address_(address),
      handler_(handler),
      retry_([this] { poll_->watch(UV_READABLE); }) {}

UvListener::~UvListener() {
  close();
}

void UvListener::close() {
  if (!fd_.open()) return;
  retry_.cancel();
  poll_.reset();
  fd_.reset();
  live_.reset();
  const std::string& path = address_.path();
  if (!path.empty() && path.front() != '@') (void)::unlink(path.c_str());
}

void UvListener::on_poll(int status, int) {
  for (int i = 0; i < kAcceptsPerEvent && fd_.open(); ++i) {
    if (!accept_one()) break;
  }
  if (status < 0 && poll_ && !retry_.armed()) loop_.arm(retry_, loop_.now() + kRetry);
}

void UvListener::on_poll_thrown(Status) noexcept {
  if (!poll_) return;
  poll_->watch(0);
  try {
    loop_.arm(retry_, loop_.now() + kRetry);
  } catch (...) {
    poll_->watch(UV_READABLE);
  }
}

bool UvListener::accept_one() {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  Fd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size,
                  SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.open()) {
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) return false;
    const bool exhausted =
        error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
    if (!exhausted) return true;  // accept(2): errors of the connection that is already gone
    poll_->watch(0);
    loop_.arm(retry_, loop_.now() + kRetry);
    return false;
  }
  own_socket(fd.get());
  if (address_.family() != Family::Unix) {
    const int on = 1;
    (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  SocketAddress peer = address_;
  if (address_.family() != Family::Unix) {
    Result<SocketAddress> known =
        SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
    if (known) peer = *known;
  }
  Result<std::unique_ptr<Stream>> stream = UvStream::accepted(loop_, std::move(fd), peer);
  if (stream) handler_->on_accepted(std::move(*stream));
  return true;
}

}  // namespace conpool::io::uv
