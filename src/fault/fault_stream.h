// FaultStream: a connection of the pool as a plan has it.
#pragma once

#include <vector>

#include "fault/layer.h"
#include "fault/plan.h"

namespace conpool::fault {

// What a stream asks of whoever made it. It may go first: then the stream only passes on.
class StreamOwner {
 public:
  virtual Result<std::unique_ptr<io::Stream>> open(const SocketAddress& peer,
                                                   const io::ConnectOptions& options) = 0;
  // A ClientHello left on this stream, and its answer becomes an alert.
  virtual void alerted(uint64_t stream) = 0;
  virtual void forget(uint64_t stream) = 0;
  virtual void forget_http2(uint64_t stream) = 0;

 protected:
  ~StreamOwner() = default;
};

// How a connection begins.
struct Opening {
  enum class Way : uint8_t { Plain, Refused, Never };
  Way way = Way::Plain;
  Nanos delay = 0;
  std::optional<uint32_t> alert;  // the answer to its ClientHello
};

// Vocabulary. A fault is armed for a send and begins to count at the first byte written after that:
// what came before belongs to an earlier answer. A stream is deaf once what the peer says does not
// matter any more: half-open, or behind an end that was put in.
//
// Without anything armed it passes everything on as it is.
class FaultStream final : public Layer {
 public:
  static constexpr size_t kMostArmed = 64;     // sends that share the connection, each with a fault
  static constexpr size_t kPiece = 16 * 1024;  // told at once by a slow peer, at most

  FaultStream(io::Loop& loop, StreamOwner& owner, uint64_t id, const SocketAddress& peer);
  ~FaultStream() override;

  // One of the two, first: with the lower stream that was connected at once, or without.
  void begin(std::unique_ptr<io::Stream> lower, std::optional<uint32_t> alert);
  void begin(const Opening& opening, const io::ConnectOptions& options);
  void owner_gone() { owner_ = nullptr; }

  // A send begins. `alone`: no other shares the connection, so what was armed for earlier ones is
  // over.
  void begin_send(bool alone);
  bool arm(const Rule& rule, Nanos delay);  // false: too many are

  Result<size_t> writev(std::span<const iovec> parts) override;
  Result<void> shutdown_write() override;
  io::Peek peek() override;
  Result<int> lend(bool blocking) override;
  io::StreamFacts facts() const override;
  void close(bool abort) override;

 private:
  struct Armed {
    Kind kind;
    uint64_t after;
    uint64_t rate;
    Nanos delay;
    bool counts = false;
    bool spent = false;
    uint64_t seen = 0;  // bytes of the peer since it counts
  };

  void connect();
  bool closes_now() const;
  void look_for_hello(std::span<const iovec> parts);
  void count_from_here();
  void answer_hello();
  void apply(Slice data);
  void leave();

  // --- Layer
  Time due() override;
  size_t share(size_t waiting) override;
  bool wants_bytes() const override { return !deaf_; }
  void failing() override;
  void on_data(Slice data) override;
  void on_eof() override;
  void on_failed(const Failure& failure) override;

  StreamOwner* owner_;
  const uint64_t id_;
  const SocketAddress peer_;
  io::ConnectOptions options_;
  Timer opening_timer_;
  std::vector<Armed> armed_;
  std::optional<uint32_t> alert_;  // until the ClientHello was seen
  bool alert_due_ = false;
  bool deaf_ = false;
  bool lower_gone_ = false;  // it failed while nobody was to know
  Time hold_until_ = 0;
  uint64_t rate_ = 0;  // bytes per second; 0 = as they come
  Time next_at_ = 0;
};

}  // namespace conpool::fault
