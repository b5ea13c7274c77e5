// A TCP connection between two simulated sockets.
#include "io/sim/tcp.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/rng.h"
#include "io/sim/sockets.h"

namespace conpool::io::sim {

namespace {

constexpr Nanos kFirstSynRetry = kSecond;  // RFC 6298 §2.1
constexpr uint32_t kSynRetries = 6;        // Linux: tcp_syn_retries
constexpr Nanos kRetransmit = 200 * kMillisecond;
constexpr Nanos kMaxRetransmit = 120 * kSecond;
constexpr uint32_t kRetries = 15;                      // Linux: tcp_retries2
constexpr Nanos kKeepaliveGivesUp = 9 * 75 * kSecond;  // Linux: 9 probes, 75 s apart
constexpr size_t kSegment = Slab::kSize;

// Kinds of choices, so that one packet's loss and jitter are independent.
enum : uint64_t { kChooseSynLoss = 1, kChooseLoss = 2, kChooseJitter = 3, kChoosePiece = 4 };

Side other(Side side) {
  return side == kClient ? kServer : kClient;
}
Nanos backoff(uint32_t retries) {
  return std::min(kMaxRetransmit, kRetransmit << std::min(retries, 20u));
}

}  // namespace

Connection::Connection(World& world, uint64_t id, const ConnectOptions& options,
                       const SocketAddress& source, const SocketAddress& destination)
    : world_(world), id_(id), options_(options), ordinal_(world.next_ordinal(destination)) {
  ends_[kClient].state = End::State::SynSent;
  ends_[kClient].local = ends_[kServer].peer = source;
  ends_[kClient].peer = ends_[kServer].local = destination;
  first_syn_ = world.now();
}

const Rule& Connection::rule() {
  if (rule_ == nullptr || rule_generation_ != world_.rules_generation()) {
    rule_ = &world_.rule(ends_[kServer].local);
    rule_generation_ = world_.rules_generation();
  }
  return *rule_;
}

SimHost Connection::host() {
  return rule().host;
}

uint64_t Connection::choice(Side side, uint64_t ordinal, uint64_t what) {
  return world_.choice(rule().number, ordinal_ * 2 + side, ordinal * 8 + what);
}

bool Connection::dropped(Side side, uint64_t packet, uint32_t attempt, uint64_t what) {
  const uint32_t loss = rule().host.loss;
  return loss != 0 && choice(side, packet * 32 + attempt, what) % 1'000'000 < loss;
}

Time Connection::arrival(Side from, size_t size) {
  const SimHost& host = rule().host;
  End& end = ends_[from];
  const uint64_t packet = end.packets++;
  Time leaves = world_.now();
  if (host.bandwidth != 0) {
    leaves = std::max(leaves, end.link_free);
    leaves += static_cast<Nanos>(size * static_cast<uint64_t>(kSecond) / host.bandwidth);
    end.link_free = leaves;
  }
  Time arrives = leaves + host.latency;
  if (host.jitter > 0) {
    arrives += static_cast<Nanos>(
        Rng(choice(from, packet, kChooseJitter)).up_to(static_cast<uint64_t>(host.jitter)));
  }
  for (uint32_t attempt = 0; attempt < kRetries && dropped(from, packet, attempt, kChooseLoss);
       ++attempt) {
    world_.note(Note::Lost, id_, packet);
    arrives += backoff(attempt);
  }
  end.last_arrival = std::max(arrives, end.last_arrival);
  return end.last_arrival;
}

// --- the handshake ---------------------------------------------------------------------

void Connection::start() {
  touch();
  send_syn(0);
}

void Connection::fail_later(int error, Nanos delay) {
  at(world_.now() + delay, [error](Connection& self) {
    if (self.ends_[kClient].state != End::State::SynSent || self.ends_[kClient].holders == 0)
      return;
    self.world_.note(Note::Unreachable, self.id_, static_cast<uint64_t>(error));
    self.world_.connection(self.id_).outcome = SimOutcome::Unreachable;
    self.die(kClient, error);
  });
}

void Connection::send_syn(uint32_t retry) {
  const SimHost& host = rule().host;
  End& client = ends_[kClient];
  world_.syns.push_back({world_.now(), client.local, client.peer, id_, retry});
  world_.note(Note::Syn, id_, retry, world_.tracing ? client.peer.text() : std::string());
  if (retry < kSynRetries) {
    syn_timer_ = world_.at(world_.now() + (kFirstSynRetry << retry), [self = shared_from_this(),
                                                                      retry] {
      if (self->ends_[kClient].state == End::State::SynSent && self->ends_[kClient].holders > 0) {
        self->send_syn(retry + 1);
      }
    });
  }
  if (retry < host.lose_syns || dropped(kClient, retry, 0, kChooseSynLoss)) {
    world_.note(Note::SynLost, id_, retry);
    return;
  }
  Nanos jitter = 0;
  if (host.jitter > 0) {
    jitter = static_cast<Nanos>(Rng(choice(kClient, retry + (1ULL << 40), kChooseJitter))
                                    .up_to(static_cast<uint64_t>(host.jitter)));
  }
  at(world_.now() + host.latency + jitter, [](Connection& self) { self.syn_arrives(); });
}

void Connection::syn_arrives() {
  const SimHost& host = rule().host;
  if (answered_) return;  // a repeated SYN whose first copy was only slow
  if (host.vanished || host.syn == SimSyn::Drop || host.syn == SimSyn::Unreachable) {
    world_.note(Note::SynLost, id_);
    return;
  }
  answered_ = true;
  const Time answer = world_.now() + host.answer_delay + host.latency;
  const bool stall = host.syn == SimSyn::Stall;
  if (host.syn == SimSyn::Refuse ||
      (!stall && find_listener(world_, ends_[kServer].local) == nullptr)) {
    at(answer, [](Connection& self) { self.rst_answers_syn(); });
    return;
  }
  ends_[kServer].state = End::State::SynReceived;
  ends_[kServer].last_arrival = answer;
  at(answer, [stall](Connection& self) { self.syn_ack_arrives(stall); });
}

void Connection::rst_answers_syn() {
  if (ends_[kClient].state != End::State::SynSent || ends_[kClient].holders == 0) return;
  world_.note(Note::Refused, id_);
  world_.connection(id_).outcome = SimOutcome::Refused;
  die(kClient, ECONNREFUSED);
}

void Connection::syn_ack_arrives(bool stall) {
  End& client = ends_[kClient];
  if (rule().host.vanished) {
    answered_ = false;  // lost: the next SYN is answered again
    return;
  }
  if (client.state != End::State::SynSent || client.holders == 0) {
    // Nobody is here any more. The RST reaches the server before its accept: Linux drops the
    // request.
    world_.note(Note::LateSynAck, id_);
    world_.connection(id_).late_answer = true;
    ends_[kServer].state = End::State::Dead;
    return;
  }
  world_.cancel(syn_timer_);
  client.state = End::State::Open;
  rtt_ = world_.now() - first_syn_;
  touch();
  world_.count_connecting(-1);
  world_.note(Note::SynAck, id_);
  world_.connection(id_).established = world_.now();
  world_.connection(id_).outcome = SimOutcome::Established;
  at(arrival(kClient, 0), [stall](Connection& self) { self.ack_arrives(stall); });
  watch_keepalive();
  watch_idle();
  mark_ready(kClient);
  pump(kClient);
}

void Connection::ack_arrives(bool stall) {
  End& server = ends_[kServer];
  if (server.state != End::State::SynReceived) return;
  SimListener* listener = stall ? nullptr : find_listener(world_, server.local);
  if (!stall && listener == nullptr) {
    send_rst(kServer);
    server.state = End::State::Dead;
    return;
  }
  server.state = End::State::Open;
  server.holders = 1;
  world_.note(Note::Accept, id_);
  world_.connection(id_).accepted = world_.now();
  if (listener != nullptr) listener->accept(shared_from_this());
}

// --- calls of the holders --------------------------------------------------------------

size_t Connection::room(Side side) {
  const size_t buffer = rule().host.send_buffer;
  return buffer > ends_[side].unacked ? buffer - ends_[side].unacked : 0;
}

bool Connection::writable(Side side) {
  return ends_[side].state == End::State::Open && room(side) * 3 >= rule().host.send_buffer &&
         room(side) > 0;
}

size_t Connection::write(Side side, std::span<const iovec> parts) {
  End& end = ends_[side];
  if (end.state != End::State::Open) return 0;
  size_t left = room(side);
  size_t accepted = 0;
  for (const iovec& part : parts) {
    const uint8_t* data = static_cast<const uint8_t*>(part.iov_base);
    size_t size = std::min(part.iov_len, left);
    left -= size;
    accepted += size;
    while (size > 0) {
      const size_t step = std::min(size, kSegment);
      end.unsent.push_back(Slice::copy_of({data, step}));
      data += step;
      size -= step;
    }
  }
  if (accepted > 0) {
    if (end.unacked == 0) end.unacked_since = world_.now();
    end.unacked += accepted;
    watch_user_timeout(side);
    pump(side);
  }
  return accepted;
}

void Connection::shutdown_write(Side side) {
  ends_[side].fin_wanted = true;
  pump(side);
}

Slice Connection::read(Side side, size_t limit) {
  End& end = ends_[side];
  limit = std::min({limit, end.unread, kSegment});
  if (limit == 0) return {};
  Slice piece;
  Slice& first = end.received.front();
  if (first.size() >= limit) {
    piece = first.sub(0, limit);
    first.remove_prefix(limit);
    if (first.empty()) end.received.pop_front();
  } else {
    std::vector<uint8_t> bytes;
    bytes.reserve(limit);
    while (bytes.size() < limit) {
      Slice& next = end.received.front();
      const size_t step = std::min(next.size(), limit - bytes.size());
      bytes.insert(bytes.end(), next.data(), next.data() + step);
      next.remove_prefix(step);
      if (next.empty()) end.received.pop_front();
    }
    piece = Slice::copy_of(bytes);
  }
  end.unread -= limit;
  // The peer learns of the room one way later.
  const Side peer = other(side);
  if (!ends_[peer].unsent.empty() || !ends_[peer].lost.empty()) {
    at(world_.now() + rule().host.latency, [peer](Connection& self) { self.pump(peer); });
  }
  return piece;
}

void Connection::release(Side side, bool abort) {
  End& end = ends_[side];
  assert(end.holders > 0);
  if (--end.holders > 0) return;
  world_.note(abort ? Note::Abort : Note::Close, id_, side);
  SimConnection& record = world_.connection(id_);
  (side == kClient ? record.client_closed : record.server_closed) = world_.now();
  if (end.state == End::State::SynSent) {
    world_.cancel(syn_timer_);
    world_.count_connecting(-1);
    if (record.outcome == SimOutcome::Connecting) record.outcome = SimOutcome::Abandoned;
    return;
  }
  if (end.state != End::State::Open) return;
  if (abort || end.unread > 0) {
    send_rst(side);
    end.state = End::State::Dead;
    end.error = ECONNRESET;
    end.unsent.clear();
    end.lost.clear();
    end.received.clear();
    end.unread = 0;
    return;
  }
  end.fin_wanted = true;
  pump(side);
}

void Connection::mark_ready(Side side) {
  End& end = ends_[side];
  if (end.ready || end.stream == nullptr) return;
  end.ready = true;
  world_.ready([self = shared_from_this(), side] {
    End& own = self->ends_[side];
    own.ready = false;
    if (own.stream != nullptr) own.stream->dispatch();
  });
}

size_t Connection::piece_size(Side side, size_t waiting) {
  switch (rule().host.pieces) {
    case SimPieces::Whole:
      return waiting;
    case SimPieces::Bytes:
      return 1;
    case SimPieces::Random:
      break;
  }
  return 1 +
         static_cast<size_t>(Rng(choice(side, pieces_[side]++, kChoosePiece)).up_to(waiting - 1));
}

// --- packets ---------------------------------------------------------------------------

void Connection::pump(Side from) {
  End& end = ends_[from];
  End& peer = ends_[other(from)];
  const Side to = other(from);
  while (end.state == End::State::Open && !end.retry_pending) {
    const bool data = !end.lost.empty() || !end.unsent.empty();
    const bool fin = !data && end.fin_wanted && (!end.fin_sent || end.fin_lost);
    if (!data && !fin) return;
    if (rule().host.vanished) {
      retry_later(from);
      return;
    }
    if (fin) {
      end.fin_sent = true;
      end.fin_lost = false;
      world_.note(Note::Fin, id_, from);
      at(arrival(from, 0), [to](Connection& self) { self.fin_arrives(to); });
      return;
    }
    const size_t buffer = rule().host.receive_buffer;
    const size_t taken = peer.unread + end.in_flight;
    if (taken >= buffer) return;
    std::deque<Slice>& queue = end.lost.empty() ? end.unsent : end.lost;
    Slice packet = queue.front();
    if (packet.size() > buffer - taken) {
      packet = packet.sub(0, buffer - taken);
      queue.front().remove_prefix(packet.size());
    } else {
      queue.pop_front();
    }
    end.in_flight += packet.size();
    const Time arrives = arrival(from, packet.size());
    world_.at(arrives, [self = shared_from_this(), to, packet = std::move(packet)]() mutable {
      self->data_arrives(to, std::move(packet));
    });
  }
}

void Connection::retry_later(Side from) {
  End& end = ends_[from];
  world_.note(Note::Lost, id_, end.packets);
  if (end.retries >= kRetries) {
    die(from, ETIMEDOUT);
    return;
  }
  end.retry_pending = true;
  at(world_.now() + backoff(end.retries++), [from](Connection& self) {
    self.ends_[from].retry_pending = false;
    self.pump(from);
  });
}

void Connection::data_arrives(Side to, Slice data) {
  const Side from = other(to);
  End& end = ends_[to];
  End& sender = ends_[from];
  sender.in_flight -= data.size();
  if (rule().host.vanished || !sender.lost.empty()) {
    world_.note(Note::Lost, id_, data.size());
    sender.lost.push_back(std::move(data));
    pump(from);
    return;
  }
  if (end.state != End::State::Open) return;
  sender.retries = 0;
  touch();
  if (end.holders == 0) {  // RFC 9293 §3.10.7.1: closed, all data is answered by RST
    send_rst(to);
    die(to, ECONNRESET);
    return;
  }
  const bool cut = reset_by_rule(to, &data);
  const size_t size = data.size();
  if (size > 0) {
    world_.note(Note::Data, id_ * 2 + to, size);
    end.bytes_received += size;
    SimConnection& record = world_.connection(id_);
    (to == kClient ? record.bytes_down : record.bytes_up) += size;
    end.unread += size;
    end.received.push_back(std::move(data));
    mark_ready(to);
  }
  if (cut) {
    send_rst(to);
    rst_arrives(to);
    return;
  }
  at(world_.now() + rule().host.latency,
     [from, size](Connection& self) { self.ack_data(from, size); });
}

bool Connection::reset_by_rule(Side to, Slice* data) {
  const SimHost& host = rule().host;
  const uint64_t limit = to == kClient ? host.reset_after_down : host.reset_after_up;
  const uint64_t before = ends_[to].bytes_received;
  if (limit == SimHost::kNoLimit || before + data->size() < limit) return false;
  *data = data->sub(0, static_cast<size_t>(limit > before ? limit - before : 0));
  return true;
}

void Connection::ack_data(Side from, size_t size) {
  End& end = ends_[from];
  if (end.state != End::State::Open) return;
  end.unacked -= std::min(size, end.unacked);
  end.unacked_since = world_.now();
  if (writable(from)) mark_ready(from);
  pump(from);
}

void Connection::fin_arrives(Side to) {
  const Side from = other(to);
  End& end = ends_[to];
  if (rule().host.vanished || !ends_[from].lost.empty()) {
    ends_[from].fin_lost = true;
    pump(from);
    return;
  }
  if (end.state != End::State::Open) return;
  touch();
  end.fin_received = true;
  mark_ready(to);
}

void Connection::send_rst(Side from) {
  if (rule().host.vanished) return;
  world_.note(Note::Rst, id_, from);
  const Side to = other(from);
  at(arrival(from, 0), [to](Connection& self) { self.rst_arrives(to); });
}

void Connection::rst_arrives(Side to) {
  End& end = ends_[to];
  if (end.state != End::State::Open && end.state != End::State::SynReceived) return;
  if (rule().host.vanished) return;
  world_.connection(id_).reset = true;
  if (rule().host.reset_discards) {
    end.received.clear();
    end.unread = 0;
  }
  // Linux (tcp_reset): a socket that already saw the peer's FIN answers EPIPE.
  die(to, end.fin_received ? EPIPE : ECONNRESET);
}

void Connection::die(Side side, int error) {
  End& end = ends_[side];
  if (end.state == End::State::Dead) return;
  if (end.state == End::State::SynSent) {
    world_.cancel(syn_timer_);
    if (end.holders > 0) world_.count_connecting(-1);
  }
  if (error == ETIMEDOUT) world_.note(Note::TimedOut, id_, side);
  end.state = End::State::Dead;
  end.error = error;
  end.unsent.clear();
  end.lost.clear();
  end.unacked = 0;
  mark_ready(side);
}

// --- clocks ----------------------------------------------------------------------------

void Connection::watch_user_timeout(Side side) {
  End& end = ends_[side];
  if (side != kClient || options_.user_timeout <= 0 || end.watch_pending) return;
  end.watch_pending = true;
  at(end.unacked_since + options_.user_timeout, [side](Connection& self) {
    End& own = self.ends_[side];
    own.watch_pending = false;
    if (own.state != End::State::Open || own.unacked == 0) return;
    if (self.world_.now() - own.unacked_since >= self.options_.user_timeout) {
      self.die(side, ETIMEDOUT);
    } else {
      self.watch_user_timeout(side);
    }
  });
}

// The client's keepalive: a peer that stopped answering is noticed after the idle time and then the
// user timeout (or all probes). Probes themselves are not modelled as packets.
void Connection::watch_keepalive() {
  if (options_.keepalive <= 0) return;
  const Nanos patience = options_.user_timeout > 0 ? options_.user_timeout : kKeepaliveGivesUp;
  Time next = last_activity_ + options_.keepalive;
  if (next <= world_.now()) {
    const bool heard = !rule().host.vanished;
    if (heard)
      unheard_since_ = kNever;
    else if (unheard_since_ == kNever)
      unheard_since_ = world_.now();
    next = world_.now() + (heard ? options_.keepalive : patience);
  }
  at(next, [patience](Connection& self) {
    End& client = self.ends_[kClient];
    if (client.state != End::State::Open || client.holders == 0) return;
    const bool vanished = self.rule().host.vanished;
    if (vanished && self.unheard_since_ != kNever &&
        self.world_.now() - self.unheard_since_ >= patience) {
      self.die(kClient, ETIMEDOUT);
      return;
    }
    self.watch_keepalive();
  });
}

void Connection::watch_idle() {
  const Nanos limit = rule().host.idle_close;
  if (limit <= 0) return;
  at(last_activity_ + limit, [](Connection& self) {
    const Nanos now_limit = self.rule().host.idle_close;
    End& server = self.ends_[kServer];
    if (now_limit <= 0 || server.state != End::State::Open || server.fin_wanted) return;
    if (self.world_.now() - self.last_activity_ < now_limit) {
      self.watch_idle();
      return;
    }
    // The server's process went away: its kernel closes the socket.
    if (server.stream != nullptr) server.stream->taken_away();
    while (server.holders > 0)
      self.release(kServer, false);
  });
}

}  // namespace conpool::io::sim
