// The raw session: a connection's bytes, lent whole to one lease at a time.
//
// Lifecycle. Idle → (Checking →) Leased → (Lent →) Idle …, and Dead from each. Idle: reading is on,
// and any byte, end or failure ends the session at once, since nobody asked for it; before the
// first lease, bytes are a greeting and kept for that lease. Checking: the active check's question
// is under way. Leased: reads and writes run in the order of their start; what comes while no read
// waits is kept, up to kBufferedBytes, then reading stops. Lent: the descriptor is with the
// application; nothing is touched.
//
// A connection that fails while leased keeps its place until the lease is released: the lease holds
// it.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/callback.h"
#include "base/error.h"
#include "io/loop.h"
#include "ops/op.h"
#include "raw/chunk.h"
#include "session/session.h"

namespace conpool::raw {

// What failures of a lease's reads and writes say about where they happened.
struct Place {
  std::string address;   // "tcp:127.0.0.1:8088"
  std::string endpoint;  // "localhost:8088"
};

// The active check of an idle connection: `send` must be answered by exactly `expect`.
struct Question {
  std::string send;
  std::string expect;
  Nanos timeout = kSecond;
};

struct Lent {
  int fd = -1;
  Chunk* early = nullptr;  // bytes that came before the loan; may be null
};

class Session final : public session::Session, private io::StreamHandler, private PinnedWaiter {
 public:
  static constexpr size_t kBufferedBytes = 64 * 1024;

  Session(io::Loop& loop, std::unique_ptr<io::Stream> stream, std::shared_ptr<PinnedBytes> pinned,
          Place place, Question question = {});
  ~Session() override;

  // --- session::Session
  void start(session::Owner& owner) override;
  session::Capacity capacity() const override { return {}; }
  io::Peek peek() override { return stream_->peek(); }
  void idle(bool idle) override { stream_->idle(idle); }
  void close(bool abort) override;
  io::StreamFacts facts() const override { return stream_->facts(); }
  void check(Callback<void(Result<void>)> done) override;
  uint64_t bytes_in() const override { return bytes_in_; }
  uint64_t bytes_out() const override { return bytes_out_; }

  // --- leases. Loop thread.
  void begin_lease(Nanos stall_timeout);
  // Ends what still runs with E_CANCELLED. Answers whether the connection may be lent again.
  session::LeaseEnd end_lease(bool reusable);
  void read(ops::Op& op, size_t size_max);
  void write(ops::Op& op, const uint8_t* data, size_t size);
  void shutdown_write(ops::Op& op);
  // E_WRONG_STATE while ops run or after a failure, E_UNSUPPORTED for TLS.
  Result<Lent> lend(bool blocking);

 private:
  enum class State : uint8_t { New, Idle, Checking, Leased, Lent, Dead };

  struct PendingRead {
    ops::Op* op;
    size_t size_max;
  };
  struct PendingWrite {
    ops::Op* op;
    const uint8_t* data;
    size_t size;
    size_t accepted = 0;
    bool shutdown = false;  // ends our direction; carries no bytes
  };
  // Routes an op's cancel to the session.
  class Canceller final : public ops::Task {
   public:
    explicit Canceller(Session& session) : session_(session) {}
    void cancel(ops::Op& op, Status reason) override { session_.cancel_op(op, reason); }

   private:
    Session& session_;
  };

  void transition(State next);

  // --- io::StreamHandler
  void on_connected() override {}
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override { pump_writes(); }
  void on_failed(const Failure& failure) override { fail_session(failure); }
  void on_unpinned() override;

  bool leased() const { return state_ == State::Leased; }
  void keep(Slice data);
  const char* why_not_write() const;  // nullptr: writing is possible
  void serve_reads();
  void finish_read(const PendingRead& read);
  void update_reading();
  void pump_writes();
  bool write_some();
  void finish_written();
  void fail_session(const Failure& failure);
  void fail_reads(const Failure& failure);
  void fail_writes(const Failure& failure);
  void cancel_op(ops::Op& op, Status reason);
  void die(const Failure& failure);
  void check_data(const Slice& data);
  void end_check(Result<void> result);
  void arm_stall(Timer& timer, bool waiting);
  ErrorPtr error_of(const Failure& failure, Phase phase, size_t sent) const;

  io::Loop& loop_;
  std::unique_ptr<io::Stream> stream_;
  std::shared_ptr<PinnedBytes> pinned_;
  Place place_;
  const Question question_;
  Canceller canceller_{*this};
  session::Owner* owner_ = nullptr;
  State state_ = State::New;

  std::deque<PendingRead> reads_;
  std::deque<Slice> buffered_;
  size_t buffered_bytes_ = 0;
  bool used_ = false;  // a lease began: from now on nobody asks for bytes between two leases
  bool eof_ = false;
  bool reading_ = false;
  bool waits_for_pins_ = false;

  std::deque<PendingWrite> writes_;
  size_t unflushed_ =
      0;  // writes at the front of writes_ that were accepted whole and wait for the flush
  bool shutdown_started_ = false;
  bool cut_ = false;     // a write ended half-way: nothing may follow it
  bool broken_ = false;  // a transfer was cut short: never lend again
  std::optional<Failure> failure_;

  Nanos stall_timeout_ = 0;
  Timer read_stall_;
  Timer write_stall_;

  size_t check_matched_ = 0;
  Callback<void(Result<void>)> check_done_;
  Timer check_timer_;

  uint64_t bytes_in_ = 0;
  uint64_t bytes_out_ = 0;
};

}  // namespace conpool::raw
