// conpool for C++: a queue whose events go to functions, or resume coroutines, on the thread that
// runs it.
//
//   conpool::Dispatcher io = conpool::Dispatcher::create(pool).value();
//   io.get(pool, url).then([](conpool::Result<conpool::Response> got) { … });
//   io.run();                                     until everything that was started has ended
//
//   conpool::Task<int> work(conpool::Dispatcher& io) {
//     conpool::Result<conpool::Connection> lease = co_await io.acquire(endpoint);
//     …
//   }
//   io.run(work(io));                             until the task has returned
//
// Each function that starts an op answers a Pending<T> at once: await it, or give it a function
// with then(). A Pending that is destroyed before it ended cancels its op; one whose op borrows
// memory (a write, a body) waits for the op's end first, so that the memory is free. A failed start
// is told in the same way as a failed op.
//
// A dispatcher and what it started belong to one thread at a time; only stop() is for any thread.
// Functions and coroutines run inside run(), run_once() and dispatch(), and may start and destroy
// anything but the dispatcher itself. They may run it, too; the parts of a stream wait meanwhile
// for their function to return. What a function throws comes out of run(), which may be called
// again. Destroying a dispatcher cancels its ops: functions that were not called yet are destroyed,
// coroutines stay suspended until their owner destroys them, and a Pending awaited later answers
// CONPOOL_E_CLOSED. One that was moved from can only be destroyed, or assigned to.
#pragma once

#include <conpool/conpool.h>
#include <conpool/cpp/objects.hpp>
#include <conpool/cpp/ops.hpp>
#include <conpool/cpp/pending.hpp>
#include <conpool/cpp/result.hpp>
#include <conpool/cpp/task.hpp>
#include <conpool/cpp/values.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace conpool {

namespace detail {

// What running a task answers: a Result as it is, anything else as Result<T>.
template <typename T>
struct Flat {
  using type = Result<T>;
};
template <typename T>
struct Flat<Result<T>> {
  using type = Result<T>;
};

}  // namespace detail

// A queue and who its events are for.
class Dispatcher {
 public:
  static Result<Dispatcher> create(const Pool& pool) {
    Result<Queue> queue = pool.queue();
    if (!queue) return std::move(queue).error();
    return Dispatcher(std::make_unique<detail::DispatcherCore>(std::move(*queue)));
  }
  explicit Dispatcher(std::unique_ptr<detail::DispatcherCore> core) noexcept
      : core_(std::move(core)) {}

  // --- starting; as the functions of the same name of Pool, Request, Endpoint and Connection

  Pending<Response> get(const Pool& pool, std::string_view url, const Config& options = {}) {
    Result<Request> request = pool.request("GET", url, options);
    if (!request) return failed<Response>(std::move(request).error());
    return perform(*request);
  }
  Pending<Response> perform(const Request& request, const Config& options = {}) {
    return begun<Response>(
        [&](const Report& report) { return request.start(report, CONPOOL_WHOLE, options); },
        request.borrows(), request.keeps());
  }
  Result<AsyncStream> stream(const Request& request, const Config& options = {}) {
    auto state = std::make_unique<detail::StreamState>(*core_);
    state->borrows = request.borrows();
    state->keeps = request.keeps();
    Result<void> begun = detail::begin(*state, [&](const Report& report) {
      return request.start(report, CONPOOL_STREAM, options);
    });
    if (!begun) return std::move(begun).error();
    return AsyncStream(std::move(state));
  }
  // A piece of the body of a request that was started (AsyncStream::op, Pending::op).
  Pending<std::uint64_t> body_write(conpool_op request, std::string_view bytes, bool last) {
    return begun<std::uint64_t>(
        [&](const Report& report) { return start_body_write(report, request, bytes, last); }, true);
  }
  Pending<Connection> acquire(const Endpoint& endpoint, const Config& options = {}) {
    return begun<Connection>(
        [&](const Report& report) { return endpoint.start_acquire(report, options); });
  }
  Pending<std::uint64_t> preconnect(const Endpoint& endpoint, std::uint32_t count,
                                    const Config& options = {}) {
    return begun<std::uint64_t>(
        [&](const Report& report) { return endpoint.start_preconnect(report, count, options); });
  }
  Pending<Chunk> read(const Connection& connection, std::size_t size_max = 0) {
    return begun<Chunk>(
        [&](const Report& report) { return connection.start_read(report, size_max); });
  }
  Pending<std::uint64_t> write(const Connection& connection, std::string_view bytes) {
    return begun<std::uint64_t>(
        [&](const Report& report) { return connection.start_write(report, bytes); }, true);
  }
  Pending<std::uint64_t> shutdown_write(const Connection& connection) {
    return begun<std::uint64_t>(
        [&](const Report& report) { return connection.start_shutdown_write(report); });
  }
  Pending<std::uint64_t> close(const Pool& pool, Nanos drain_timeout) {
    return begun<std::uint64_t>(
        [&](const Report& report) { return pool.start_close(report, drain_timeout); });
  }
  // Any op of conpool.h that ends with one event: start(Report) answers its id. `borrows`: it uses
  // memory that is this program's until its end.
  template <typename T, typename Start>
  Pending<T> start(Start start, bool borrows = true) {
    return begun<T>(std::move(start), borrows);
  }
  // Calls function(Lookup) for each name that the pool asks for (dns.backend = queue), until
  // Pool::unset_resolver or the end of the dispatcher.
  template <typename Function>
  Result<void> set_resolver(const Pool& pool, Function&& function) {
    class Resolver final : public detail::Receiver {
     public:
      Resolver(detail::DispatcherCore& of, Function&& made)
          : Receiver(of), function_(std::forward<Function>(made)) {}
      void receive(Event event) override {
        if (Result<Lookup> lookup = event.take<Lookup>()) {
          std::invoke(function_, std::move(*lookup));
        }
      }
      void abandon() noexcept override { delete this; }

     private:
      std::decay_t<Function> function_;
    };
    auto resolver = std::make_unique<Resolver>(*core_, std::forward<Function>(function));
    Result<void> set = pool.set_resolver({core_->queue, resolver->user_data()});
    // Questions may come as long as the queue lives: the core's list owns it now.
    if (set) static_cast<void>(resolver.release());
    return set;
  }

  // --- running

  // Waits for events at most so long, and tells them; answers how many. 0: none came in time, or
  // stop() was called.
  Result<std::size_t> run_once(Nanos timeout = kForever) {
    const Raised raised{*core_};
    std::size_t told = tell_due();
    if (core_->taken.empty()) {
      const Result<std::size_t> count = core_->take(told > 0 ? Nanos(0) : timeout);
      if (!count) return Error(count.status());
    }
    told += tell_taken();
    return told + tell_due();
  }
  // Until everything that was started has ended, or stop().
  Result<void> run() {
    while (!idle()) {
      if (core_->stopped.exchange(false)) return {};
      const Result<std::size_t> told = run_once();
      if (!told) return Error(told.status());
    }
    return {};
  }
  // Until the task has returned; its result, a Result<X> as it is and any other T as Result<T>.
  // After stop() the task is cancelled and CONPOOL_E_CANCELLED the answer; when it waits and
  // nothing is under way here that could wake it, CONPOOL_E_WRONG_STATE.
  template <typename T>
  typename detail::Flat<T>::type run(Task<T> task) {
    task.start();
    while (!task.done()) {
      if (core_->stopped.exchange(false)) return Error(CONPOOL_E_CANCELLED);
      if (idle()) return Error(CONPOOL_E_WRONG_STATE);
      const Result<std::size_t> told = run_once();
      if (!told) return Error(told.status());
    }
    if constexpr (std::is_void_v<T>) {
      task.result();
      return {};
    } else {
      return task.result();
    }
  }
  // Makes the run() that goes on, or the next one, return soon. Any thread.
  void stop() const noexcept {
    core_->stopped = true;
    core_->queue.wake();
  }
  // For a loop of the program's own: readable while run_once(0) has something to tell.
  Result<int> fd() { return core_->fd(); }
  // True when nothing that was started is left.
  bool idle() const noexcept {
    return core_->running == 0 && core_->due.empty() && core_->taken.empty();
  }
  // The queue, for programs that take its events themselves and give them to dispatch() in their
  // order, all of them before the dispatcher is destroyed. Its ops are the dispatcher's alone:
  // start none on it by hand.
  const Queue& queue() const noexcept { return core_->queue; }
  // Takes over a batch of its events and tells them, together with what else waits here. What a
  // function throws comes out of it; run_once(Nanos(0)) tells the rest.
  void dispatch(std::span<Event> events) {
    const Raised raised{*core_};
    for (Event& event : events)
      core_->taken.push_back(std::move(event));
    static_cast<void>(tell_due());
    static_cast<void>(tell_taken());
    static_cast<void>(tell_due());
  }
  // Tells one. A write that is destroyed meanwhile waits for its end and may set events of others
  // aside: run_once(Nanos(0)) and the dispatch() of a batch tell those, and fd() is readable.
  static void dispatch(Event event) {
    auto* receiver = reinterpret_cast<detail::Receiver*>(event.user_data());
    if (receiver != nullptr) receiver->receive(std::move(event));
  }

 private:
  // Whatever a function throws, the descriptor tells afterwards what is left.
  struct Raised {
    const detail::DispatcherCore& core;
    ~Raised() {
      core.lower();
      core.raise();
    }
  };

  std::size_t tell_taken() {
    const std::size_t count = core_->taken.size();
    for (std::size_t left = count; left > 0 && !core_->taken.empty(); --left) {
      Event event = std::move(core_->taken.front());
      core_->taken.pop_front();
      dispatch(std::move(event));
    }
    return count;
  }
  std::size_t tell_due() {
    const std::size_t count = core_->due.size();
    for (std::size_t left = count; left > 0 && !core_->due.empty(); --left) {
      detail::Receiver* receiver = core_->due.front();
      core_->due.pop_front();
      receiver->tell();
    }
    return count;
  }
  template <typename T>
  Pending<T> failed(Error error) {
    auto state = std::make_unique<detail::PendingState<T>>(*core_);
    state->fail(std::move(error));
    return Pending<T>(std::move(state));
  }
  template <typename T, typename Start>
  Pending<T> begun(Start start, bool borrows = false, std::shared_ptr<const void> keeps = nullptr) {
    auto state = std::make_unique<detail::PendingState<T>>(*core_);
    state->borrows = borrows;
    state->keeps = std::move(keeps);
    Result<void> begun = detail::begin(*state, std::move(start));
    if (!begun) state->fail(std::move(begun).error());
    return Pending<T>(std::move(state));
  }
  std::unique_ptr<detail::DispatcherCore> core_;
};

}  // namespace conpool
