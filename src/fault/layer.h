// Layer: a stream over another that may hold back what came, and decides when it is told.
#pragma once

#include <deque>
#include <memory>

#include "base/timer.h"
#include "io/loop.h"
#include "io/stream.h"

namespace conpool::fault {

// Vocabulary: bytes wait from their coming until the owner is told; behind the last of them an end
// may wait: the peer's FIN, or a failure.
//
// Invariants. The owner is told only while it reads, in the order of coming, and from events,
// timers and deferred calls alone, so never from inside a call of its own. The lower stream reads
// only while the owner does and nothing waits: what is held back is no more than one read.
//
// Lifecycle: Open → Failed | Closed. Failed: the owner knows; only close is left.
class Layer : public io::Stream, protected io::StreamHandler {
 public:
  ~Layer() override;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  void set_handler(io::StreamHandler* handler) override;
  void read(bool on) override;
  Result<bool> flush() override;
  io::Peek peek() override;
  io::Peek reclaim() override;
  void idle(bool on) override;
  void close(bool abort) override;
  bool closed() const override { return state_ == State::Closed; }

 protected:
  enum class State : uint8_t { Open, Failed, Closed };
  enum class End : uint8_t { None, Eof, Failure };

  // Without a lower stream until adopt().
  explicit Layer(io::Loop& loop);
  void adopt(std::unique_ptr<io::Stream> lower);

  // --- what subclasses take in
  void add(Slice bytes);
  void add_eof();
  void add_failure(Failure failure);
  // From events and timers.
  void tell();
  // From anywhere.
  void tell_later();
  // Reads on while the owner does and nothing waits; to be called when a reason not to is gone.
  void follow_reading();
  // For a call of the owner: the failure is the call's answer, and nothing is told any more.
  Unexpected fail_now(Failure failure);
  Result<void> usable();

  // --- what they may change
  // When the next of what waits may be told; kNever holds it until tell() is called again.
  virtual Time due() { return 0; }
  // How many of these bytes may be told now.
  virtual size_t share(size_t waiting) { return waiting; }
  virtual bool wants_bytes() const { return true; }
  // The failure that waited is about to be told.
  virtual void failing() {}

  // --- io::StreamHandler
  void on_connected() override;
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override;
  void on_failed(const Failure& failure) override;

  io::Loop& loop() { return loop_; }
  io::Stream* lower() { return lower_.get(); }
  const io::Stream* lower() const { return lower_.get(); }
  State state() const { return state_; }
  bool open() const { return state_ == State::Open; }
  bool ended() const { return end_ != End::None; }
  bool anything_waits() const { return !waiting_.empty(); }
  io::StreamHandler* handler() { return handler_; }
  void owe_writable() { owes_writable_ = true; }

 private:
  void tell_end();
  void tell_writable();

  io::Loop& loop_;
  std::unique_ptr<io::Stream> lower_;
  io::StreamHandler* handler_ = nullptr;
  State state_ = State::Open;
  std::deque<Slice> waiting_;
  End end_ = End::None;
  Failure failure_;
  Timer timer_;
  bool reading_ = false;
  bool lower_reading_ = false;
  bool telling_ = false;
  bool later_ = false;
  bool told_end_ = false;
  bool owes_connected_ = false;
  bool owes_writable_ = false;
  std::shared_ptr<Layer*> self_;  // lets deferred calls notice that the stream is gone
};

}  // namespace conpool::fault
