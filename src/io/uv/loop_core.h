// UvLoop: turns, time, wake-ups and the memory that reads land in.
#pragma once

#include <uv.h>

#include <atomic>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "io/loop.h"
#include "io/uv/poll_handle.h"
#include "io/uv/socket.h"

namespace conpool::io::uv {

class DnsChannels;
class JobBoard;

// The slab that reads of all streams land in, one after another. A slice that stays keeps its slab
// alive; the rest of it is still used until less than kLeastSpace is left.
class ReadBuffer {
 public:
  static constexpr size_t kLeastSpace = 4096;

  ReadBuffer() = default;
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;
  ~ReadBuffer();

  std::span<uint8_t> space();  // at least kLeastSpace; throws std::bad_alloc
  Slice commit(size_t size);   // the first `size` bytes of the last space

 private:
  Slab* slab_ = nullptr;
  size_t used_ = 0;
};

// Counts one live handle of a loop for as long as it exists.
class LiveMark {
 public:
  LiveMark() = default;
  explicit LiveMark(size_t* count) : count_(count) { ++*count_; }
  LiveMark(LiveMark&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  LiveMark& operator=(LiveMark&& other) noexcept {
    if (this != &other) {
      reset();
      count_ = std::exchange(other.count_, nullptr);
    }
    return *this;
  }
  ~LiveMark() { reset(); }
  void reset() {
    if (count_ != nullptr) --*std::exchange(count_, nullptr);
  }

 private:
  size_t* count_ = nullptr;
};

// Vocabulary: `armed` is the time the timerfd is set to; `mail` is a wake() whose handler has not
// run; `watched outside` means that somebody asked for fd() and sleeps on it instead of in
// run_turn.
//
// Invariants:
//  - now() is read from CLOCK_MONOTONIC after the poll and before its first callback; the timerfd
//  uses
//    the same clock with absolute times, so that no timer fires early.
//  - armed_ is never later than the earliest deadline while the loop sleeps. It may be earlier (a
//    cancelled timer): that costs one empty turn, and arming again each time would cost more.
//  - libuv registers descriptors with epoll inside uv_run only. While watched outside, a change
//  after
//    the poll makes fd() readable, so that another turn registers it.
class UvLoop final : public Loop, private PollOwner {
 public:
  static Result<std::unique_ptr<Loop>> make();
  ~UvLoop() override;

  uint64_t random_seed() override;
  void run_turn(Time until) override;
  void wake() override;
  int fd() override;
  Result<std::unique_ptr<Stream>> start_connect(const SocketAddress& peer,
                                                const ConnectOptions& options) override;
  Result<std::unique_ptr<Listener>> listen(const SocketAddress& address, int backlog,
                                           ListenHandler* handler) override;
  Result<SocketAddress> source_address(const SocketAddress& peer) override;
  std::unique_ptr<DnsExchange> start_exchange(DnsQuery query, DnsCallback done) override;
  std::unique_ptr<Job> start_job(Callback<void()> work, Callback<void()> done) override;
  SystemLookup system_lookup() override;
  std::optional<FileStamp> file_stamp(const std::string& path) override;
  Result<std::string> read_file(const std::string& path, size_t limit) override;
  size_t live_handles() const override { return live_; }

  // --- for the handles of this world ---
  uv_loop_t* uv() { return &uv_; }
  ReadBuffer& read_buffer() { return read_buffer_; }
  LiveMark mark_live() { return LiveMark(&live_); }
  void note_watch_changed() { watch_changed_ = true; }
  void note_polled();
  // Any thread: ends the sleep of run_turn without running the wake handler.
  void nudge();

 private:
  UvLoop();
  Result<void> open();
  void on_poll(int status, int events) override;  // of the timerfd
  void on_poll_thrown(Status status) noexcept override;
  static void on_async(uv_async_t* async) noexcept;
  bool take_mail();  // of this thread: true when there was some
  void arm_timer_fd(Time deadline);
  void publish_readiness();

  uv_loop_t uv_{};
  uv_async_t async_{};
  bool uv_open_ = false;
  bool async_open_ = false;
  Fd timer_fd_;
  PollHandle::Ptr timer_poll_;
  Time armed_ = kNever;
  bool polled_ = false;
  bool watch_changed_ = false;
  bool watched_outside_ = false;
  bool mail_from_inside_ = false;
  std::atomic<bool> mail_{false};
  size_t live_ = 0;
  ReadBuffer read_buffer_;
  std::unique_ptr<DnsChannels> dns_;
  std::shared_ptr<JobBoard> jobs_;
};

}  // namespace conpool::io::uv
