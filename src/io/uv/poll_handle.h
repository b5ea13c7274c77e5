// The one owner type of uv_poll_t handles.
#pragma once

#include <uv.h>

#include <memory>

#include "base/result.h"

namespace conpool::io::uv {

class UvLoop;

// Receives the events of one descriptor. An exception that leaves on_poll becomes on_poll_thrown.
class PollOwner {
 public:
  // `status` < 0: the descriptor has an error pending, and libuv has stopped watching it.
  virtual void on_poll(int status, int events) = 0;
  virtual void on_poll_thrown(Status status) noexcept = 0;

 protected:
  ~PollOwner() = default;
};

// A uv_poll_t for one descriptor, for the life of that descriptor: never reused for another one,
// also when the number is the same. Order of the end: retire() stops watching, closes the uv handle
// and forgets the owner; the owner may then close the descriptor; the memory is freed by libuv's
// close callback in a later turn.
class PollHandle {
 public:
  struct Retire {
    void operator()(PollHandle* handle) const noexcept { handle->retire(); }
  };
  using Ptr = std::unique_ptr<PollHandle, Retire>;

  static Result<Ptr> make(UvLoop& loop, int fd, PollOwner* owner);
  PollHandle(const PollHandle&) = delete;
  PollHandle& operator=(const PollHandle&) = delete;

  // Watches exactly these of UV_READABLE and UV_WRITABLE; free when nothing changes.
  void watch(int events);

 private:
  PollHandle(UvLoop& loop, PollOwner* owner) : loop_(loop), owner_(owner) {}
  ~PollHandle() = default;
  void retire() noexcept;
  static void on_event(uv_poll_t* poll, int status, int events) noexcept;
  static void on_closed(uv_handle_t* handle) noexcept;

  uv_poll_t poll_{};
  UvLoop& loop_;
  PollOwner* owner_;
  int events_ = 0;
};

}  // namespace conpool::io::uv
