// The thread that drives a loop, and the exit handler that parks all of them.
#pragma once

#include <pthread.h>

#include <atomic>
#include <memory>

#include "base/result.h"
#include "io/loop.h"

namespace conpool::io {

// A thread named "conpool" with all signals blocked that runs turns until it is stopped.
//
// The loop must outlive the thread. When the process is exiting (park_all_loops_at_exit) the thread
// never comes back: stop_and_join then answers false, and the loop and all that lives on it must be
// left alone, for good.
class LoopThread {
 public:
  // E_SYSTEM when the system starts no thread.
  static Result<std::unique_ptr<LoopThread>> start(Loop& loop);
  // Stops and joins if nobody did. A parked thread keeps what it uses.
  ~LoopThread();

  // Any thread but the loop's own. Returns after the current turn: true when the thread has ended,
  // false when it was parked for the exit of the process. A second call answers the same.
  bool stop_and_join();
  bool is_current() const;
  // True once the thread rests for the exit of the process: it never runs a turn again.
  bool parked() const;

 private:
  struct Shared;
  explicit LoopThread(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  static void* thread_main(void* argument) noexcept;

  std::shared_ptr<Shared> shared_;
  pthread_t thread_{};
  bool ended_ = false;   // stop_and_join was called
  bool joined_ = false;  // its answer
  friend struct LoopRegistry;
};

// Registers, once per process, an exit handler that stops every loop thread between two turns: it
// waits, at most one second, until each sleeps for ever, so that none is inside OpenSSL when the
// exit handlers that were registered earlier take its state apart. Call it after OpenSSL was
// initialised.
void park_all_loops_at_exit();

}  // namespace conpool::io
