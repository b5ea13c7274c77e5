// Blocking functions on threads of their own that can be abandoned.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

#include "io/loop.h"

namespace conpool::io::uv {

class UvLoop;

// Vocabulary: a job waits (in `waiting_`), runs (on a detached thread), is done (in `done_`, its
// callback not yet called) or abandoned.
//
// Invariants, under `mutex_`: threads_ counts all threads and is at most kMaxThreads, which only
// jobs that hang and are abandoned again and again can reach: then new jobs wait. running_ counts
// the threads whose job was not abandoned and is at most kMaxRunning; a thread takes the next
// waiting job when it ends one, unless it was abandoned: then it gave its place to another thread.
// loop_ is null once the loop is gone; threads hold the board alive.
class JobBoard : public std::enable_shared_from_this<JobBoard> {
 public:
  static constexpr size_t kMaxRunning = 16;
  static constexpr size_t kMaxThreads = 128;
  static constexpr Nanos kThreadRetry = 100 * kMillisecond;

  static std::shared_ptr<JobBoard> make(UvLoop& loop);
  ~JobBoard();

  // --- on the loop's thread ---
  std::unique_ptr<Job> start(Callback<void()> work, Callback<void()> done);
  void finish_done();  // calls the callbacks of jobs that ended
  void leave();        // the loop ends

 private:
  enum class State : uint8_t { Waiting, Running, Done, Abandoned };
  struct Task {
    State state = State::Waiting;
    Callback<void()> work;         // touched by the job's thread alone once it runs
    class UvJob* owner = nullptr;  // loop's thread only
  };
  using TaskPtr = std::shared_ptr<Task>;
  friend class UvJob;

  explicit JobBoard(UvLoop& loop);
  void abandon(const TaskPtr& task);
  void staff();  // starts threads for waiting jobs
  bool start_thread();
  void work_until_idle();
  static void* thread_main(void* argument) noexcept;

  std::mutex mutex_;
  UvLoop* loop_;
  std::list<TaskPtr> waiting_;
  std::list<TaskPtr> done_;
  size_t running_ = 0;
  size_t threads_ = 0;
  std::atomic<bool> any_done_{false};
  Timer retry_;  // loop's thread only: when no thread could be started
};

}  // namespace conpool::io::uv
