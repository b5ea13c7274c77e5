// The thread that drives a loop, and where it rests when the process exits.
#include "io/uv/loop_thread.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "io/uv/socket.h"

namespace conpool::io {

struct LoopThread::Shared {
  explicit Shared(Loop* the_loop) : loop(the_loop) {}
  Loop* loop;
  const pid_t pid = getpid();  // a forked child has the object, but not the thread
  std::atomic<bool> stop{false};
  bool ended = false;   // under the registry's mutex: the thread has left its last turn
  bool parked = false;  // under the registry's mutex: it never runs a turn again
};

// Every loop thread of one process. Leaked: threads and exit handlers may use it after the
// destructors of static objects ran. A forked child, which has none of the threads and may have
// inherited a locked mutex, makes its own.
struct LoopRegistry {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<LoopThread::Shared>> threads;
  std::atomic<bool> exiting{false};
  const pid_t pid = getpid();
  LoopRegistry* inherited = nullptr;  // of the parent process; kept, never looked at

  static LoopRegistry& get() {
    static std::atomic<LoopRegistry*> current{nullptr};
    LoopRegistry* registry = current.load(std::memory_order_acquire);
    if (registry != nullptr && registry->pid == getpid()) return *registry;
    auto fresh = std::make_unique<LoopRegistry>();
    fresh->inherited = registry;
    if (current.compare_exchange_strong(registry, fresh.get(), std::memory_order_acq_rel)) {
      return *fresh.release();
    }
    return *registry;  // another thread of this process was faster
  }
};

namespace {

constexpr auto kParkTimeout = std::chrono::seconds(1);

[[noreturn]] void sleep_for_ever() {
  for (;;)
    pause();  // all signals are blocked
}

void park_all() {
  LoopRegistry& registry = LoopRegistry::get();
  std::unique_lock lock(registry.mutex);
  registry.exiting.store(true, std::memory_order_release);
  for (const auto& thread : registry.threads) {
    if (!thread->ended) thread->loop->wake();
  }
  registry.changed.wait_for(lock, kParkTimeout, [&registry] {
    return std::all_of(registry.threads.begin(), registry.threads.end(),
                       [](const auto& thread) { return thread->parked || thread->ended; });
  });
}

}  // namespace

void* LoopThread::thread_main(void* argument) noexcept {
  const std::unique_ptr<std::shared_ptr<Shared>> held(
      static_cast<std::shared_ptr<Shared>*>(argument));
  Shared& shared = **held;
  LoopRegistry& registry = LoopRegistry::get();
  while (!shared.stop.load(std::memory_order_acquire) &&
         !registry.exiting.load(std::memory_order_acquire)) {
    shared.loop->run_turn(kNever);
  }
  std::unique_lock lock(registry.mutex);
  if (!shared.stop.load(std::memory_order_acquire)) {
    shared.parked = true;
    registry.changed.notify_all();
    lock.unlock();
    sleep_for_ever();
  }
  shared.ended = true;
  registry.changed.notify_all();
  return nullptr;
}

Result<std::unique_ptr<LoopThread>> LoopThread::start(Loop& loop) {
  auto shared = std::make_shared<Shared>(&loop);
  std::unique_ptr<LoopThread> self(new LoopThread(shared));
  auto held = std::make_unique<std::shared_ptr<Shared>>(shared);
  LoopRegistry& registry = LoopRegistry::get();
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.threads, [](const auto& thread) { return thread->ended; });
  registry.threads.reserve(registry.threads.size() + 1);

  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // The new thread inherits the mask, so that no signal can reach it first.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int rc = pthread_create(&self->thread_, nullptr, &LoopThread::thread_main, held.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (rc != 0) {
    self->ended_ = true;
    return fail(uv::system_failure(rc, "starting the loop's thread"));
  }
  (void)held.release();  // the thread's own
  pthread_setname_np(self->thread_, "conpool");
  registry.threads.push_back(std::move(shared));
  return self;
}

LoopThread::~LoopThread() {
  stop_and_join();
}

bool LoopThread::is_current() const {
  return pthread_equal(pthread_self(), thread_) != 0;
}

bool LoopThread::parked() const {
  const std::lock_guard lock(LoopRegistry::get().mutex);
  return shared_->parked;
}

bool LoopThread::stop_and_join() {
  if (ended_) return joined_;
  ended_ = true;
  if (shared_->pid != getpid()) return false;
  LoopRegistry& registry = LoopRegistry::get();
  {
    const std::lock_guard lock(registry.mutex);
    if (shared_->parked) {
      pthread_detach(thread_);
      return false;
    }
    // Under the lock: from here on the thread ends instead of parking.
    shared_->stop.store(true, std::memory_order_release);
    shared_->loop->wake();
  }
  pthread_join(thread_, nullptr);
  const std::lock_guard lock(registry.mutex);
  std::erase(registry.threads, shared_);
  joined_ = true;
  return true;
}

void park_all_loops_at_exit() {
  static const bool registered = [] {
    LoopRegistry::get();
    return std::atexit(&park_all) == 0;
  }();
  (void)registered;
}

}  // namespace conpool::io
