// Streams over non-blocking sockets.
#include "io/uv/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace conpool::io::uv {

Result<std::unique_ptr<Stream>> UvStream::connect(UvLoop& loop, const SocketAddress& peer,
                                                  const ConnectOptions& options) {
  if (peer.family() == Family::None) {
    return fail(Status::E_BAD_ADDRESS, "an empty address cannot be connected to");
  }
  Result<Fd> fd = open_socket(peer.family(), SOCK_STREAM);
  if (!fd) return fail(std::move(fd).error());
  set_connection_options(fd->get(), peer.family(), options);
  sockaddr_storage storage{};
  const socklen_t size = peer.to_sockaddr(&storage);
  int rc;
  do {
    rc = ::connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), size);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno != EINPROGRESS) return fail(connect_failure(errno, peer.family()));

  std::unique_ptr<UvStream> stream(new UvStream(loop, std::move(*fd), peer, State::Connecting));
  Result<void> watching = stream->start_watching();
  if (!watching) return fail(std::move(watching.error()));
  return std::unique_ptr<Stream>(std::move(stream));
}

Result<std::unique_ptr<Stream>> UvStream::accepted(UvLoop& loop, Fd fd, const SocketAddress& peer) {
  std::unique_ptr<UvStream> stream(new UvStream(loop, std::move(fd), peer, State::Open));
  stream->local_ = local_address(stream->fd_.get());
  Result<void> watching = stream->start_watching();
  if (!watching) return fail(std::move(watching.error()));
  return std::unique_ptr<Stream>(std::move(stream));
}

UvStream::UvStream(UvLoop& loop, Fd fd, const SocketAddress& peer, State state)
    : loop_(loop), live_(loop.mark_live()), fd_(std::move(fd)), peer_(peer), state_(state) {}

UvStream::~UvStream() {
  close(false);
}

Result<void> UvStream::start_watching() {
  Result<PollHandle::Ptr> poll = PollHandle::make(loop_, fd_.get(), this);
  if (!poll) return fail(std::move(poll).error());
  poll_ = std::move(*poll);
  update_watch();
  return {};
}

void UvStream::transition(State next) {
  assert((next == State::Open && state_ == State::Connecting) ||
         (next == State::Failed && (state_ == State::Connecting || state_ == State::Open)) ||
         (next == State::Closed && state_ != State::Closed));
  state_ = next;
}

void UvStream::on_poll(int status, int events) {
  if (handler_ == nullptr || lent_) {
    poll_->watch(0);  // until there is somebody to tell
    return;
  }
  if (state_ == State::Connecting) {
    finish_connect();
    return;
  }
  const bool error_pending = status < 0;
  if (error_pending) events = UV_READABLE | UV_WRITABLE;
  if ((events & UV_READABLE) != 0 && reading_ && !eof_) receive(error_pending);
  // A broken stream counts as writable: the next writev tells why.
  if ((events & UV_WRITABLE) != 0 && want_write_ && state_ == State::Open && !lent_) {
    want_write_ = false;
    if (handler_ != nullptr) handler_->on_writable();
  }
  update_watch();
}

void UvStream::on_poll_thrown(Status status) noexcept {
  if (state_ != State::Connecting && state_ != State::Open) return;
  try {
    report_failure(Failure{.status = status});
  } catch (...) {
    release();  // the handler had its chance
  }
}

void UvStream::finish_connect() {
  const int error = take_socket_error(fd_.get());
  if (error != 0) {
    report_failure(connect_failure(error, peer_.family()));
    return;
  }
  const SocketAddress connected_to = peer_address(fd_.get());
  if (connected_to.family() == Family::None) {
    // It was established and reset before anybody looked.
    report_failure(connect_failure(ECONNRESET, peer_.family()));
    return;
  }
  local_ = local_address(fd_.get());
  if (peer_.family() != Family::Unix && local_ == connected_to) {
    // A simultaneous open of a local port with itself: nobody listens there.
    report_failure(connect_failure(ECONNREFUSED, peer_.family()));
    return;
  }
  transition(State::Open);
  handler_->on_connected();
  update_watch();
}

void UvStream::receive(bool error_pending) {
  const std::span<uint8_t> space = loop_.read_buffer().space();
  ssize_t size;
  do {
    size = ::recv(fd_.get(), space.data(), space.size(), MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size > 0) {
    handler_->on_data(loop_.read_buffer().commit(static_cast<size_t>(size)));
    return;
  }
  int error = size < 0 ? errno : peeked_error_;
  if (error == EAGAIN || error == EWOULDBLOCK) {
    if (!error_pending) return;
    error = take_socket_error(fd_.get());
    if (error == 0) error = EIO;  // else epoll would report the same nothing for ever
  }
  if (error != 0) {
    report_failure(stream_failure(error));
    return;
  }
  eof_ = true;
  handler_->on_eof();
}

void UvStream::update_watch() {
  if (!poll_) return;
  int events = 0;
  if (state_ == State::Connecting) {
    events = UV_WRITABLE;
  } else if (!lent_) {
    if (reading_ && !eof_) events |= UV_READABLE;
    if (want_write_) events |= UV_WRITABLE;
  }
  poll_->watch(events);
}

void UvStream::release() {
  poll_.reset();
  fd_.reset();
  live_.reset();
}

Unexpected UvStream::end_with(Failure failure) {
  transition(State::Failed);
  release();
  return fail(std::move(failure));
}

void UvStream::report_failure(Failure failure) {
  transition(State::Failed);
  release();
  if (handler_ != nullptr) handler_->on_failed(failure);
}

void UvStream::set_handler(StreamHandler* handler) {
  handler_ = handler;
  if (handler != nullptr) update_watch();
}

void UvStream::read(bool on) {
  reading_ = on;
  if (on && state_ == State::Open) update_watch();
}

Result<void> UvStream::check_writable() const {
  if (state_ == State::Open && !lent_ && !write_ended_) return {};
  if (lent_) return fail(Status::E_WRONG_STATE, "the stream is lent");
  if (write_ended_) return fail(Status::E_WRONG_STATE, "the sending direction was ended");
  return fail(Status::E_CLOSED, "the stream is closed");
}

Result<size_t> UvStream::writev(std::span<const iovec> parts) {
  if (state_ == State::Connecting) {
    want_write_ = true;  // told after on_connected
    return size_t{0};
  }
  if (Result<void> check = check_writable(); !check) return fail(std::move(check.error()));
  if (peeked_error_ != 0) return end_with(stream_failure(peeked_error_));
  size_t accepted = 0;
  while (!parts.empty()) {
    const auto batch = parts.first(std::min<size_t>(parts.size(), IOV_MAX));
    size_t offered = 0;
    for (const iovec& part : batch)
      offered += part.iov_len;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(batch.data());
    message.msg_iovlen = batch.size();
    ssize_t sent;
    do {
      sent = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return end_with(stream_failure(errno));
    if (sent > 0) accepted += static_cast<size_t>(sent);
    if (sent < 0 || static_cast<size_t>(sent) < offered) {
      want_write_ = true;
      update_watch();
      break;
    }
    parts = parts.subspan(batch.size());
  }
  return accepted;
}

Result<bool> UvStream::flush() {
  if (state_ == State::Failed || state_ == State::Closed) {
    return fail(Status::E_CLOSED, "the stream is closed");
  }
  return true;
}

Result<void> UvStream::shutdown_write() {
  if (state_ == State::Connecting) return fail(Status::E_WRONG_STATE, "not connected yet");
  if (write_ended_ && state_ == State::Open) return {};
  if (Result<void> check = check_writable(); !check) return check;
  if (::shutdown(fd_.get(), SHUT_WR) != 0) {
    // ENOTCONN: a reset that nobody has read yet.
    return end_with(stream_failure(errno == ENOTCONN ? ECONNRESET : errno));
  }
  write_ended_ = true;
  want_write_ = false;
  return {};
}

Peek UvStream::peek() {
  if (state_ == State::Connecting) return Peek::Quiet;
  if (state_ != State::Open || peeked_error_ != 0) return Peek::Failed;
  if (eof_) return Peek::Eof;
  uint8_t byte;
  ssize_t size;
  do {
    size = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size > 0) return Peek::Data;
  if (size == 0) return Peek::Eof;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Peek::Quiet;
  peeked_error_ = errno;  // the kernel tells it once
  return Peek::Failed;
}

Result<int> UvStream::lend(bool blocking) {
  if (lent_) return fail(Status::E_WRONG_STATE, "the stream is lent already");
  if (state_ == State::Connecting) return fail(Status::E_WRONG_STATE, "not connected yet");
  if (state_ != State::Open) return fail(Status::E_CLOSED, "the stream is closed");
  Fd duplicate(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate.open()) return fail(system_failure(errno, "duplicating a descriptor to lend it"));
  if (!set_blocking(duplicate.get(), blocking)) {
    return fail(system_failure(errno, "setting the blocking mode of a lent descriptor"));
  }
  lent_ = true;
  update_watch();
  return duplicate.give();
}

Peek UvStream::reclaim() {
  if (lent_) {
    lent_ = false;
    if (state_ == State::Open && !set_blocking(fd_.get(), false)) peeked_error_ = errno;
  }
  const Peek found = peek();
  update_watch();
  return found;
}

StreamFacts UvStream::facts() const {
  StreamFacts facts{.local = local_, .peer = peer_};
  if (state_ == State::Open && peer_.family() != Family::Unix) facts.rtt = smoothed_rtt(fd_.get());
  return facts;
}

void UvStream::close(bool abort) {
  if (state_ == State::Closed) return;
  transition(State::Closed);
  if (abort && fd_.open()) {
    const linger reset{.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  release();
}

}  // namespace conpool::io::uv
