// conpool for C++: who waits for a task or an op, and how they are resumed.
#pragma once

#include <coroutine>
#include <utility>

namespace conpool::detail {

// Resumes coroutines one after another. A task that awaits another one, or that is done and
// awaited, gives way to it here: neither many that are done at once nor many inside each other need
// stack, whatever the compiler makes of symmetric transfer (g++ nests before -O2, and under the
// address sanitizer).
class Turns {
 public:
  // Resumes it, and those that follow, until nobody does.
  static void run(std::coroutine_handle<> first) {
    Turns turns;
    for (turns.next_ = first; turns.next_;) {
      turns.running_ = std::exchange(turns.next_, nullptr);
      turns.running_.resume();
    }
  }
  // Has `next` resumed once `current` has suspended, which it is about to. False: not here was
  // `current` resumed, and its suspending leads somewhere else.
  // Not inlined: a coroutine may go on in another thread, where the address of `innermost` differs.
  [[gnu::noinline]] static bool follow(std::coroutine_handle<> current,
                                       std::coroutine_handle<> next) noexcept {
    if (innermost == nullptr || innermost->running_ != current) return false;
    innermost->next_ = next;
    return true;
  }

  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

 private:
  Turns() noexcept : outer_(std::exchange(innermost, this)) {}
  ~Turns() { innermost = outer_; }

  static inline thread_local Turns* innermost = nullptr;
  Turns* outer_;
  std::coroutine_handle<> running_;
  std::coroutine_handle<> next_;
};

class Waiters;

// A coroutine that waits for a task or an op, from the object in its frame. Whichever of the two is
// destroyed first tells the other.
class Waiter {
 public:
  Waiter() noexcept = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter();

 private:
  friend class Waiters;
  std::coroutine_handle<> coroutine_;
  Waiters* at_ = nullptr;  // nullptr: resumed, or never to be
};

// Where a task or an op finds the one coroutine that waits for it.
class Waiters {
 public:
  Waiters() noexcept = default;
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;
  ~Waiters() { drop(); }

  void put(Waiter& waiter, std::coroutine_handle<> coroutine) noexcept {
    drop();
    waiter.coroutine_ = coroutine;
    waiter.at_ = this;
    waiter_ = &waiter;
  }
  // Whoever waits stays suspended until its owner destroys it.
  void drop() noexcept {
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->at_ = nullptr;
  }
  // Who waits, to be resumed by the caller; null without.
  std::coroutine_handle<> take() noexcept {
    const std::coroutine_handle<> coroutine =
        waiter_ == nullptr ? std::coroutine_handle<>() : waiter_->coroutine_;
    drop();
    return coroutine;
  }
  // May destroy this.
  void resume() {
    if (const std::coroutine_handle<> coroutine = take()) Turns::run(coroutine);
  }

 private:
  Waiter* waiter_ = nullptr;
};

inline Waiter::~Waiter() {
  if (at_ != nullptr) at_->drop();
}

}  // namespace conpool::detail
