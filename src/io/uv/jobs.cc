// Blocking jobs on threads that can be left behind.
#include "io/uv/jobs.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "io/uv/loop_core.h"

namespace conpool::io::uv {

// The loop's side of a job.
class UvJob final : public Job {
 public:
  UvJob(std::shared_ptr<JobBoard> board, JobBoard::TaskPtr task, Callback<void()> done)
      : board_(std::move(board)), task_(std::move(task)), done_(std::move(done)) {
    task_->owner = this;
  }
  ~UvJob() override {
    if (task_) board_->abandon(task_);
  }
  void finish() {
    task_.reset();
    Callback<void()> done = std::move(done_);
    done();  // may destroy this job
  }

 private:
  std::shared_ptr<JobBoard> board_;
  JobBoard::TaskPtr task_;  // null once done
  Callback<void()> done_;
};

std::shared_ptr<JobBoard> JobBoard::make(UvLoop& loop) {
  return std::shared_ptr<JobBoard>(new JobBoard(loop));
}

JobBoard::JobBoard(UvLoop& loop) : loop_(&loop), retry_([this] { staff(); }) {}
JobBoard::~JobBoard() = default;

std::unique_ptr<Job> JobBoard::start(Callback<void()> work, Callback<void()> done) {
  auto task = std::make_shared<Task>();
  task->work = std::move(work);
  auto job = std::make_unique<UvJob>(shared_from_this(), task, std::move(done));
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(task));
  }
  staff();
  return job;
}

void JobBoard::staff() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() || running_ >= kMaxRunning || threads_ >= kMaxThreads) return;
      ++running_;
      ++threads_;
    }
    if (start_thread()) continue;
    const std::lock_guard lock(mutex_);
    --running_;
    --threads_;
    // A running thread takes the job later; without any, try again.
    if (running_ == 0) loop_->arm(retry_, deadline_after(loop_->now(), kThreadRetry));
    return;
  }
}

bool JobBoard::start_thread() {
  auto* self = new std::shared_ptr<JobBoard>(shared_from_this());
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // The new thread inherits the mask: the host's signals go to the host's threads.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int rc = pthread_create(&thread, &attributes, &JobBoard::thread_main, self);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (rc != 0) delete self;
  return rc == 0;
}

void* JobBoard::thread_main(void* argument) noexcept {
  pthread_setname_np(pthread_self(), "conpool-job");
  const std::unique_ptr<std::shared_ptr<JobBoard>> board(
      static_cast<std::shared_ptr<JobBoard>*>(argument));
  (*board)->work_until_idle();
  return nullptr;
}

void JobBoard::work_until_idle() {
  for (;;) {
    TaskPtr task;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() || loop_ == nullptr) {
        --running_;
        --threads_;
        return;
      }
      task = std::move(waiting_.front());
      waiting_.pop_front();
      task->state = State::Running;
    }
    try {
      task->work();
    } catch (...) {
      // The job's result stays what it was before: its owner sees that nothing was written.
    }
    task->work.reset();  // what it owns ends here, not on the loop
    const std::lock_guard lock(mutex_);
    if (task->state == State::Abandoned) {
      // The place was given away; perhaps there is another.
      if (running_ < kMaxRunning && !waiting_.empty()) {
        ++running_;
        continue;
      }
      --threads_;
      return;
    }
    task->state = State::Done;
    if (loop_ == nullptr) continue;
    done_.push_back(std::move(task));
    any_done_.store(true, std::memory_order_release);
    loop_->nudge();  // under the lock: the loop cannot go away before
  }
}

void JobBoard::finish_done() {
  if (!any_done_.exchange(false, std::memory_order_acquire)) return;
  for (;;) {
    TaskPtr task;
    {
      const std::lock_guard lock(mutex_);
      if (done_.empty()) return;
      task = std::move(done_.front());
      done_.pop_front();
    }
    task->owner->finish();
  }
}

void JobBoard::abandon(const TaskPtr& task) {
  TaskPtr unstarted;  // its work is freed outside of the lock
  {
    const std::lock_guard lock(mutex_);
    switch (task->state) {
      case State::Waiting:
        waiting_.remove(task);
        unstarted = task;
        break;
      case State::Running:
        --running_;
        break;
      case State::Done:
        done_.remove(task);
        break;
      case State::Abandoned:
        break;
    }
    task->state = State::Abandoned;
    if (loop_ == nullptr) return;
  }
  staff();
}

void JobBoard::leave() {
  const std::lock_guard lock(mutex_);
  loop_ = nullptr;
  retry_.cancel();
  done_.clear();
  waiting_.clear();
}

}  // namespace conpool::io::uv
