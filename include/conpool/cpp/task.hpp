// conpool for C++: the plainest coroutine that can await ops.
//
//   conpool::Task<int> status_of(conpool::Dispatcher& io, conpool::Pool& pool, std::string url) {
//     conpool::Result<conpool::Response> got = co_await io.get(pool, url);
//     co_return got ? got->status() : 0;
//   }
//
// A task begins when it is awaited, or started, and belongs to who holds the Task: destroying it
// destroys the coroutine where it is suspended, and cancels the ops that it awaits. All of this
// happens on the thread of its dispatcher. Tasks may await each other as deep as memory goes; only
// destroying such a chain before it is done takes stack for each level, as nested calls do.
//
// With g++ before 13, give what a coroutine call takes a name first: of an expression with
// `co_await` it destroys some temporaries twice (aggregates such as `f(Options{"x"})`, lambdas with
// captures).
#pragma once

#include <conpool/cpp/waiter.hpp>

#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace conpool {

template <typename T>
class Task;

namespace detail {

// A mistake in the program, which ends with the reason.
[[noreturn]] inline void no_result(bool empty) noexcept {
  std::fputs(empty ? "conpool: the result of an empty Task was asked for: it was moved from, or "
                     "never made by a coroutine\n"
                   : "conpool: result() of a Task that is not done\n",
             stderr);
  std::abort();
}

// What promises of all results share: who waits, and the exception that ended the task.
class PromiseBase {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  auto final_suspend() noexcept {
    struct Final {
      std::coroutine_handle<> waiter;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> done) const noexcept {
        return !waiter || Turns::follow(done, waiter) ? std::noop_coroutine() : waiter;
      }
      void await_resume() const noexcept {}
    };
    return Final{waiters.take()};
  }
  // Without exceptions, too: a program may have parts that are built so, and others.
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

  Waiters waiters;
  bool started = false;

 private:
  std::exception_ptr exception_;
};

// The promise of a Task<T>; below, of one that returns nothing.
template <typename T>
class Promise : public PromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    rethrow();
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class Promise<void> : public PromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const { rethrow(); }
};

}  // namespace detail

// A coroutine that returns a T, which is not a reference. One thread at a time.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using value_type = T;

  Task() noexcept = default;
  explicit Task(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (coroutine_) coroutine_.destroy();
      coroutine_ = std::exchange(other.coroutine_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  // Runs it to where it first waits; the rest goes on by itself. Tasks that are started one after
  // another and awaited afterwards run at the same time. Starting again does nothing.
  void start() {
    if (!coroutine_ || std::exchange(coroutine_.promise().started, true)) return;
    detail::Turns::run(coroutine_);
  }
  // True once it returned.
  bool done() const noexcept { return coroutine_ && coroutine_.done(); }
  // Takes what it returned, or throws what it threw. Once, and only when it is done.
  T result() {
    if (!done()) detail::no_result(!coroutine_);
    return coroutine_.promise().take();
  }

  // What co_await waits with.
  class Awaiter {
   public:
    explicit Awaiter(std::coroutine_handle<promise_type> task) noexcept : task_(task) {}
    bool await_ready() const noexcept {
      if (!task_) detail::no_result(true);
      return task_.done();
    }
    bool await_suspend(std::coroutine_handle<> waiter) {
      promise_type& promise = task_.promise();
      if (!promise.started && detail::Turns::follow(waiter, task_)) {
        promise.started = true;
      } else {
        if (!std::exchange(promise.started, true)) detail::Turns::run(task_);
        if (task_.done()) return false;
      }
      promise.waiters.put(waiter_, waiter);
      return true;
    }
    T await_resume() const { return task_.promise().take(); }

   private:
    std::coroutine_handle<promise_type> task_;  // the Task may be moved meanwhile
    detail::Waiter waiter_;
  };
  // Begins it, unless it was started, waits until it is done, and takes its result; one coroutine
  // at a time. Whoever waits may be destroyed first, and the task moved or destroyed meanwhile:
  // destroyed, it leaves who waits suspended. Awaiting an empty task, default made or moved from,
  // ends the program with a sentence.
  Awaiter operator co_await() noexcept { return Awaiter(coroutine_); }

 private:
  std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
Task<T> detail::Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace conpool
