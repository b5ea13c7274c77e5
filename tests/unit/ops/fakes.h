// Stand-ins for the loop: one that the test turns by hand, one with a thread of its own, and
// counted objects.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "ops/op.h"
#include "ops/queue.h"

namespace conpool::ops {

inline bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

// Counts its disposals, once each.
class CountedObject : public Object {
 public:
  explicit CountedObject(std::atomic<int>& alive) : alive_(alive) { ++alive_; }
  ~CountedObject() override { --alive_; }
  void dispose() noexcept override { delete this; }

 private:
  std::atomic<int>& alive_;
};

// Turned by drain(), on the test's thread. References are counted, never acted on.
class FakePort : public Port {
 public:
  virtual ~FakePort() = default;
  void post(MailNode& node) noexcept override {
    ++posts;
    box.push(node);
  }
  Time now() const noexcept override { return time; }
  Drive* caller_drive() noexcept override { return drive; }
  void ref() noexcept override { ++references; }
  void unref() noexcept override { --references; }
  size_t drain() { return box.drain(); }

  Mailbox box;
  std::atomic<int> posts{0};
  std::atomic<int> references{0};
  std::atomic<int64_t> in_flight{0};
  Time time = 1000;
  Drive* drive = nullptr;
};

// A caller's drive over a FakePort: each turn drains the mailbox and runs one scripted step; a turn
// without either moves the time to `until`.
class FakeDrive final : public Drive {
 public:
  explicit FakeDrive(FakePort& port) : port_(port), fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~FakeDrive() { ::close(fd_); }
  bool caller() const noexcept override { return true; }
  Status run_turn(Time until) noexcept override {
    ++turns;
    if (status != Status::OK) return status;
    bool worked = port_.drain() != 0;
    if (!steps.empty()) {
      auto step = std::move(steps.front());
      steps.erase(steps.begin());
      step();
      worked = true;
    }
    if (!worked && interrupts == 0 && until != kNever && until > port_.time) port_.time = until;
    interrupts = 0;
    return Status::OK;
  }
  void interrupt() noexcept override { ++interrupts; }
  int fd() noexcept override { return fd_; }
  void add_pending(int delta) noexcept override {
    pending += delta;
    uint64_t count = 1;
    ssize_t moved = delta > 0 ? ::write(fd_, &count, 8) : ::read(fd_, &count, 8);
    if (moved != 8) ++errors;
  }
  Time now() const noexcept override { return port_.time; }
  void ref() noexcept override { ++references; }
  void unref() noexcept override { --references; }

  std::vector<std::function<void()>> steps;
  Status status = Status::OK;
  int turns = 0;
  int pending = 0;
  int errors = 0;
  std::atomic<int> interrupts{0};
  std::atomic<int> references{0};

 private:
  FakePort& port_;
  int fd_;
};

// A loop with a thread: drains its mailbox, runs a step after each turn, sleeps on a condition
// variable. Stopping drains what is left; later posts are run by whoever posts.
class ThreadPort final : public Port {
 public:
  explicit ThreadPort(std::function<bool()> step = {}) : step_(std::move(step)) {
    thread_ = std::thread([this] { run(); });
  }
  ~ThreadPort() { stop(); }
  void post(MailNode& node) noexcept override {
    if (!box_.push(node)) return;
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
    if (stopped_) {
      box_.drain();
    } else {
      wake_.notify_one();
    }
  }
  Time now() const noexcept override { return monotonic_now(); }
  Drive* caller_drive() noexcept override { return nullptr; }
  void ref() noexcept override { references.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept override { references.fetch_sub(1, std::memory_order_acq_rel); }
  void stop() {
    if (!thread_.joinable()) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = woken_ = true;
      wake_.notify_one();
    }
    thread_.join();
  }

  std::atomic<int64_t> references{0};
  std::atomic<int64_t> in_flight{0};

 private:
  void run() {
    for (;;) {
      box_.drain();
      bool more = step_ && step_();
      std::unique_lock<std::mutex> lock(mutex_);
      if (!woken_ && !stopping_ && !more) wake_.wait(lock, [this] { return woken_; });
      if (stopping_ && !more && box_.empty()) {
        stopped_ = true;
        return;
      }
      woken_ = false;
    }
  }

  Mailbox box_;
  std::function<bool()> step_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
  bool stopping_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace conpool::ops
