// TCP and unix streams over uv_poll.
#pragma once

#include "io/stream.h"
#include "io/uv/loop_core.h"

namespace conpool::io::uv {

// Invariants: a descriptor is open exactly while the state is Connecting or Open; every call on it
// is MSG_DONTWAIT, so that a lent descriptor in blocking mode cannot stall the loop. O_NONBLOCK
// belongs to the open file description, which a lent duplicate shares: reclaim sets it again.
//
// Switching reading off leaves the descriptor watched until it becomes readable once, so that a
// stream switched off and on again in quick succession costs no system call.
class UvStream final : public Stream, private PollOwner {
 public:
  static Result<std::unique_ptr<Stream>> connect(UvLoop& loop, const SocketAddress& peer,
                                                 const ConnectOptions& options);
  static Result<std::unique_ptr<Stream>> accepted(UvLoop& loop, Fd fd, const SocketAddress& peer);
  ~UvStream() override;

  void set_handler(StreamHandler* handler) override;
  void read(bool on) override;
  Result<size_t> writev(std::span<const iovec> parts) override;
  Result<bool> flush() override;
  Result<void> shutdown_write() override;
  Peek peek() override;
  Result<int> lend(bool blocking) override;
  Peek reclaim() override;
  StreamFacts facts() const override;
  void close(bool abort) override;
  bool closed() const override { return state_ == State::Closed; }

 private:
  enum class State : uint8_t {
    Connecting,  // connect() is under way
    Open,        // established, perhaps half-closed or lent
    Failed,      // ended by an error that was reported
    Closed,      // ended by the owner
  };

  UvStream(UvLoop& loop, Fd fd, const SocketAddress& peer, State state);
  Result<void> start_watching();
  void transition(State next);
  void on_poll(int status, int events) override;
  void on_poll_thrown(Status status) noexcept override;
  void finish_connect();
  void receive(bool error_pending);
  void update_watch();
  void release();
  void report_failure(Failure failure);
  Unexpected end_with(Failure failure);
  Result<void> check_writable() const;

  UvLoop& loop_;
  LiveMark live_;
  Fd fd_;
  PollHandle::Ptr poll_;
  StreamHandler* handler_ = nullptr;
  SocketAddress peer_;
  SocketAddress local_;
  State state_;
  bool reading_ = false;
  bool want_write_ = false;  // on_writable is owed
  bool eof_ = false;
  bool write_ended_ = false;
  bool lent_ = false;
  int peeked_error_ = 0;  // consumed from the socket by peek, not reported yet
};

}  // namespace conpool::io::uv
