// Streams and listeners of the simulated world.
#include "io/sim/sockets.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace conpool::io::sim {

SimStream::SimStream(std::shared_ptr<World> world, std::shared_ptr<Connection> connection,
                     Side side)
    : world_(std::move(world)),
      connection_(std::move(connection)),
      side_(side),
      connected_(side == kServer) {
  end().stream = this;
  if (side == kClient) {
    connection_->hold(side);
    ++world_->live.client_streams;
  } else {
    ++world_->live.server_streams;
  }
}

SimStream::~SimStream() {
  close(false);
}

void SimStream::set_handler(StreamHandler* handler) {
  handler_ = handler;
  wake_if_pending();
}

void SimStream::read(bool on) {
  reading_ = on;
  wake_if_pending();
}

// Level-triggered, like a poll: whatever waits is told in the next turn.
void SimStream::wake_if_pending() {
  if (!listening() || failed_) return;
  const End& own = end();
  const bool dead = own.state == End::State::Dead || !holds_;
  const bool connect = !connected_ && (dead || own.state == End::State::Open);
  const bool input =
      connected_ && reading_ && !eof_told_ && (own.unread > 0 || own.fin_received || dead);
  const bool room = connected_ && want_writable_ && (dead || connection_->writable(side_));
  if (connect || input || room) connection_->mark_ready(side_);
}

Failure SimStream::failure() const {
  if (!holds_)
    return Failure{.status = Status::E_CONNECTION_CLOSED, .detail = "the process was ended"};
  return connected_ ? stream_failure(end().error)
                    : connect_failure(end().error, end().peer.family());
}

Result<size_t> SimStream::writev(std::span<const iovec> parts) {
  Result<void> usable = check_usable();
  if (!usable) return fail(usable.error());
  if (write_ended_) return fail(Status::E_WRONG_STATE, "the sending direction was ended");
  size_t offered = 0;
  for (const iovec& part : parts)
    offered += part.iov_len;
  const size_t accepted = connection_->write(side_, parts);
  want_writable_ = accepted < offered;
  return accepted;
}

Result<void> SimStream::check_usable() {
  if (closed_ || failed_) return fail(Status::E_CLOSED, "the stream is closed");
  if (lent_) return fail(Status::E_WRONG_STATE, "the stream is lent");
  if (end().state != End::State::Dead && holds_) return {};
  failed_ = true;
  const Failure cause = failure();
  let_go(false);
  return fail(cause);
}

Result<void> SimStream::shutdown_write() {
  if (end().state == End::State::SynSent) return fail(Status::E_WRONG_STATE, "not connected yet");
  Result<void> usable = check_usable();
  if (!usable || write_ended_) return usable;
  write_ended_ = true;
  want_writable_ = false;
  connection_->shutdown_write(side_);
  return {};
}

Peek SimStream::peek() {
  if (closed_ || failed_ || !holds_) return Peek::Failed;
  const End& own = end();
  if (own.unread > 0) return Peek::Data;
  if (own.fin_received) return Peek::Eof;
  return own.state == End::State::Dead ? Peek::Failed : Peek::Quiet;
}

Result<int> SimStream::lend(bool) {
  if (!world_->lending)
    return fail(Status::E_UNSUPPORTED, "a connection of the simulated world has no descriptor");
  if (closed_ || lent_ || end().state != End::State::Open) {
    return fail(Status::E_WRONG_STATE, "only an open stream can be lent");
  }
  lent_ = true;
  const int fd = world_->next_fd++;
  world_->lent[fd] = std::make_unique<SimSocketImpl>(*world_, connection_, side_);
  return fd;
}

Peek SimStream::reclaim() {
  lent_ = false;
  wake_if_pending();
  return peek();
}

StreamFacts SimStream::facts() const {
  return StreamFacts{.local = end().local, .peer = end().peer, .rtt = connection_->rtt()};
}

void SimStream::close(bool abort) {
  if (closed_) return;
  closed_ = true;
  handler_ = nullptr;
  let_go(abort);
}

void SimStream::let_go(bool abort) {
  if (!std::exchange(live_, false)) return;
  --(side_ == kClient ? world_->live.client_streams : world_->live.server_streams);
  end().stream = nullptr;
  if (holds_) connection_->release(side_, abort);
}

void SimStream::taken_away() {
  holds_ = false;
  connection_->mark_ready(side_);
}

// As one poll event in the real world: connect, or one read, or a failure; then room to write.
void SimStream::dispatch() {
  if (!listening() || failed_) return;
  const bool dead = end().state == End::State::Dead || !holds_;
  if (!connected_) {
    if (dead) {
      tell_failure();
    } else if (end().state == End::State::Open) {
      connected_ = true;
      handler_->on_connected();
    }
  } else {
    if (reading_) tell_input(dead);
    if (!listening() || failed_) return;
    // A broken stream counts as writable: the next writev tells why.
    if (want_writable_ && (dead || connection_->writable(side_))) {
      want_writable_ = false;
      handler_->on_writable();
    }
  }
  wake_if_pending();
}

void SimStream::tell_input(bool dead) {
  if (end().unread > 0) {
    const size_t waiting = std::min(end().unread, Slab::kSize);
    handler_->on_data(connection_->read(side_, connection_->piece_size(side_, waiting)));
  } else if (end().fin_received) {
    if (!std::exchange(eof_told_, true)) handler_->on_eof();
  } else if (dead) {
    tell_failure();
  }
}

void SimStream::tell_failure() {
  failed_ = true;
  const Failure cause = failure();
  let_go(false);
  handler_->on_failed(cause);
}

// --- listener --------------------------------------------------------------------------

SimListener::SimListener(std::shared_ptr<World> world, const SocketAddress& address,
                         ListenHandler* handler)
    : world_(std::move(world)),
      address_(address),
      handler_(handler),
      shared_(std::make_shared<Shared>()) {
  shared_->listener = this;
  world_->listeners[address_] = this;
  ++world_->live.listeners;
  world_->note(Note::Listen, address_.port());
}

void SimListener::close() {
  if (shared_->listener == nullptr) return;
  shared_->listener = nullptr;
  world_->listeners.erase(address_);
  --world_->live.listeners;
  world_->note(Note::Unlisten, address_.port());
}

void SimListener::accept(std::shared_ptr<Connection> connection) {
  world_->ready([shared = shared_, connection = std::move(connection)] {
    SimListener* self = shared->listener;
    if (self == nullptr) {  // closed with this connection in its backlog: the kernel resets it
      connection->release(kServer, true);
      return;
    }
    auto stream = std::make_unique<SimStream>(self->world_, connection, kServer);
    self->handler_->on_accepted(std::move(stream));
  });
}

SimListener* find_listener(World& world, const SocketAddress& address) {
  auto found = world.listeners.find(address);
  if (found == world.listeners.end() && address.family() == Family::V4) {
    found = world.listeners.find(SocketAddress::v4({}, address.port()));
  } else if (found == world.listeners.end() && address.family() == Family::V6) {
    found = world.listeners.find(SocketAddress::v6({}, address.port()));
  }
  if (found == world.listeners.end()) found = world.listeners.find(SocketAddress());
  return found == world.listeners.end() ? nullptr : found->second;
}

// --- lent ------------------------------------------------------------------------------

size_t SimSocketImpl::write(std::string_view bytes) {
  if (closed_) return 0;
  const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  return connection_->write(side_, {&part, 1});
}

std::string SimSocketImpl::read(size_t limit) {
  std::string bytes;
  while (!closed_ && bytes.size() < limit && connection_->end(side_).unread > 0) {
    const Slice piece = connection_->read(side_, limit - bytes.size());
    bytes.append(as_text(piece.span()));
  }
  return bytes;
}

bool SimSocketImpl::eof() const {
  const End& end = connection_->end(side_);
  return end.fin_received && end.unread == 0;
}

bool SimSocketImpl::failed() const {
  return connection_->end(side_).state == End::State::Dead;
}

void SimSocketImpl::close() {
  if (closed_) return;
  closed_ = true;
  --world_.live.lent;
  connection_->release(side_, false);
}

}  // namespace conpool::io::sim
