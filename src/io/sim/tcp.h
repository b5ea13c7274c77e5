// TCP as the simulated sockets see it: two ends, bytes and packets between them, nothing above.
#pragma once

#include <array>
#include <deque>
#include <memory>

#include "io/sim/world.h"

namespace conpool::io::sim {

class SimStream;
class SimListener;

enum Side : uint8_t { kClient = 0, kServer = 1 };

// One socket: what its kernel would know.
//
// Bytes accepted by write go to `unsent`, from there (as far as the peer's receive buffer allows)
// on the way (`in_flight`), then to the peer's `received`. They count as `unacked` until the peer's
// acknowledgement has come back. Packets lost to a vanished host collect in `lost` and go first
// when it answers again.
struct End {
  enum class State : uint8_t {
    Idle,         // the server's end before its SYN was answered
    SynSent,      // the client's end
    SynReceived,  // the server's end until the client's ACK
    Open,
    Dead,  // reset or timed out; `error` tells
  };
  State state = State::Idle;
  SocketAddress local;
  SocketAddress peer;
  SimStream* stream =
      nullptr;           // whom events are told; nullptr when closed, or nobody reads (Stall)
  uint32_t holders = 0;  // descriptors: the stream, and a lent duplicate
  bool ready = false;    // is on the list of this poll

  // Out.
  std::deque<Slice> lost;
  std::deque<Slice> unsent;
  size_t unacked = 0;
  size_t in_flight = 0;
  Time unacked_since = 0;
  Time link_free = 0;
  Time last_arrival = 0;
  uint64_t packets = 0;
  uint32_t retries = 0;
  bool retry_pending = false;
  bool watch_pending = false;
  bool fin_wanted = false;
  bool fin_sent = false;
  bool fin_lost = false;

  // In.
  std::deque<Slice> received;
  size_t unread = 0;
  uint64_t bytes_received = 0;
  bool fin_received = false;
  int error = 0;  // errno that a call on this socket answers
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(World& world, uint64_t id, const ConnectOptions& options, const SocketAddress& source,
             const SocketAddress& destination);

  // --- calls of the sockets' holders ------------------------------------------------------------
  void start();  // sends the first SYN
  void fail_later(int error, Nanos delay);
  size_t write(Side side, std::span<const iovec> parts);
  void shutdown_write(Side side);
  // Takes up to `limit` bytes that have arrived, as one piece.
  Slice read(Side side, size_t limit);
  void hold(Side side) { ++ends_[side].holders; }
  // One descriptor less. The last one closes: FIN, or RST when asked or when bytes were left
  // unread.
  void release(Side side, bool abort);
  void mark_ready(Side side);

  End& end(Side side) { return ends_[side]; }
  const End& end(Side side) const { return ends_[side]; }
  SimHost host();
  World& world() { return world_; }
  uint64_t id() const { return id_; }
  size_t room(Side side);
  // Linux reports a socket as writable again when a third of its buffer is free.
  bool writable(Side side);
  Nanos rtt() const { return rtt_; }
  // Size of the next piece for on_data, of `waiting` bytes.
  size_t piece_size(Side side, size_t waiting);

 private:
  const Rule& rule();
  uint64_t choice(Side side, uint64_t ordinal, uint64_t what);
  bool dropped(Side side, uint64_t packet, uint32_t attempt, uint64_t what);
  // When a packet sent now arrives, behind all sent before it.
  Time arrival(Side from, size_t size);

  // The handshake.
  void send_syn(uint32_t retry);
  void syn_arrives();
  void syn_ack_arrives(bool stall);
  void ack_arrives(bool stall);
  void rst_answers_syn();

  // Packets.
  void pump(Side from);
  void retry_later(Side from);
  void data_arrives(Side to, Slice data);
  void ack_data(Side from, size_t size);
  void fin_arrives(Side to);
  void send_rst(Side from);
  void rst_arrives(Side to);
  void die(Side side, int error);
  bool reset_by_rule(Side to, Slice* data);

  // Clocks.
  void watch_user_timeout(Side side);
  void watch_keepalive();
  void watch_idle();
  void touch() { last_activity_ = world_.now(); }
  template <typename F>
  void at(Time time, F action) {
    world_.at(time, [self = shared_from_this(), action]() mutable { action(*self); });
  }

  World& world_;
  const uint64_t id_;
  const ConnectOptions options_;
  const uint64_t ordinal_;  // among the connections to this destination
  const Rule* rule_ = nullptr;
  uint64_t rule_generation_ = 0;
  std::array<End, 2> ends_;
  World::EventId syn_timer_ = 0;
  bool answered_ = false;  // a SYN reached the server
  Time first_syn_ = 0;
  Nanos rtt_ = 0;
  Time last_activity_ = 0;
  Time unheard_since_ = kNever;
  std::array<uint64_t, 2> pieces_{};
};

}  // namespace conpool::io::sim
