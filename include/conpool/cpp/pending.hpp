// conpool for C++: what a dispatcher started, to be awaited or to be told to a function.
#pragma once

#include <conpool/conpool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <conpool/cpp/ops.hpp>
#include <conpool/cpp/result.hpp>
#include <conpool/cpp/waiter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace conpool {

namespace detail {

class DispatcherCore;

// What the user_data of an op points to, from its start to its FINAL event. The core's list owns it
// once no Pending holds it any more.
class Receiver {
 public:
  explicit Receiver(DispatcherCore& core);
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  virtual ~Receiver();
  // An event of the op; may destroy this.
  virtual void receive(Event event) = 0;
  // Tells what is known without an event; may destroy this.
  virtual void tell() {}
  // The dispatcher ends, and no event comes; may destroy this.
  virtual void abandon() noexcept = 0;

  std::uint64_t user_data() noexcept { return reinterpret_cast<std::uintptr_t>(this); }

  DispatcherCore* core;
  conpool_op op = 0;                  // 0: not started, or over
  bool borrows = false;               // memory of the program, until the end
  std::shared_ptr<const void> keeps;  // lives until the end
  Receiver* previous = nullptr;
  Receiver* next = nullptr;
};

// What a Dispatcher owns, at one place in memory.
class DispatcherCore {
 public:
  explicit DispatcherCore(Queue made) noexcept : queue(std::move(made)) {}
  ~DispatcherCore() {
    queue.reset();  // before what its ops borrowed is let go
    taken.clear();
    while (Receiver* receiver = first) {
      remove(*receiver);
      receiver->abandon();
    }
    if (wake_fd_ >= 0) ::close(wake_fd_);
    if (poll_fd_ >= 0) ::close(poll_fd_);
  }

  void add(Receiver& receiver) noexcept {
    receiver.next = first;
    if (first != nullptr) first->previous = &receiver;
    first = &receiver;
  }
  void remove(Receiver& receiver) noexcept {
    (receiver.previous != nullptr ? receiver.previous->next : first) = receiver.next;
    if (receiver.next != nullptr) receiver.next->previous = receiver.previous;
    receiver.previous = receiver.next = nullptr;
    receiver.core = nullptr;
  }
  void began(Receiver& receiver, conpool_op op) noexcept {
    receiver.op = op;
    ++running;
  }
  void ended(Receiver& receiver) noexcept {
    receiver.op = 0;
    receiver.keeps.reset();
    --running;
  }
  // Has its tell() called in the next run.
  void call_later(Receiver& receiver) {
    due.push_back(&receiver);
    raise();
  }
  // Cancels the receiver's op and waits until its FINAL event is out: among `taken` with those of
  // other ops, or in the hands of the program, which gives it to dispatch(). It destroys the
  // receiver. False: the queue is closed, and none will come.
  bool finish(Receiver& receiver) {
    if (conpool_op_cancel(receiver.op) == CONPOOL_E_STALE) return true;  // it has ended
    const auto ends = [&](const Event& event) {
      return event.user_data() == receiver.user_data() && event.is_final();
    };
    while (std::none_of(taken.begin(), taken.end(), ends)) {
      const Result<std::size_t> count = take(kForever);
      if (count.status() == CONPOOL_E_BUSY) {
        let_driver_go_on();
      } else if (!count) {
        ended(receiver);
        return false;
      }
    }
    raise();
    return true;
  }
  // Moves events from the queue to `taken`.
  Result<std::size_t> take(Nanos timeout) {
    std::array<Event, 64> batch;
    Result<std::size_t> count = queue.next(batch, timeout);
    for (std::size_t i = 0; count && i < *count; ++i)
      taken.push_back(std::move(batch[i]));
    return count;
  }
  // A descriptor for the queue's events and those that wait here.
  Result<int> fd() {
    if (poll_fd_ >= 0) return poll_fd_;
    const Result<int> queue_fd = queue.fd();
    if (!queue_fd) return Error(queue_fd.status());
    const int poll_fd = ::epoll_create1(EPOLL_CLOEXEC);
    const int wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poll_fd >= 0 && wake_fd >= 0 && watch(poll_fd, *queue_fd) && watch(poll_fd, wake_fd)) {
      poll_fd_ = poll_fd;
      wake_fd_ = wake_fd;
      raise();
      return poll_fd_;
    }
    const conpool_status status =
        errno == EMFILE || errno == ENFILE ? CONPOOL_E_FD_LIMIT : CONPOOL_E_SYSTEM;
    if (poll_fd >= 0) ::close(poll_fd);
    if (wake_fd >= 0) ::close(wake_fd);
    return Error(status);
  }
  // Makes the descriptor readable while something waits here.
  void raise() const noexcept {
    const std::uint64_t one = 1;
    if (wake_fd_ >= 0 && (!due.empty() || !taken.empty())) {
      static_cast<void>(::write(wake_fd_, &one, sizeof(one)) + 0);
    }
  }
  void lower() const noexcept {
    std::uint64_t count = 0;
    if (wake_fd_ >= 0) static_cast<void>(::read(wake_fd_, &count, sizeof(count)) + 0);
  }

  Queue queue;
  std::deque<Event> taken;    // from the queue, and not told yet
  std::deque<Receiver*> due;  // have something to tell without an event
  Receiver* first = nullptr;  // all of them
  std::size_t running = 0;    // ops that have not ended
  std::atomic<bool> stopped{false};

 private:
  static bool watch(int poll_fd, int fd) noexcept {
    epoll_event event{};
    event.events = EPOLLIN;
    return ::epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
  }
  int poll_fd_ = -1;
  int wake_fd_ = -1;
};

inline Receiver::Receiver(DispatcherCore& of) : core(&of) {
  of.add(*this);
}
inline Receiver::~Receiver() {
  if (core != nullptr) core->remove(*this);
}

// A function that takes a T, whatever it captured.
template <typename T>
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void call(T value) = 0;
};
template <typename T, typename Function>
std::unique_ptr<Handler<T>> handler_of(Function&& function) {
  class Made final : public Handler<T> {
   public:
    explicit Made(Function&& made) : function_(std::forward<Function>(made)) {}
    void call(T value) override { std::invoke(function_, std::move(value)); }

   private:
    std::decay_t<Function> function_;
  };
  return std::make_unique<Made>(std::forward<Function>(function));
}

// Begins an op for a receiver: start(Report) answers its id or why there is none.
template <typename Start>
Result<void> begin(Receiver& receiver, Start start) {
  DispatcherCore& core = *receiver.core;
  Result<conpool_op> op = start(Report{core.queue, receiver.user_data()});
  if (!op) return std::move(op).error();
  core.began(receiver, *op);
  return {};
}

// What a Pending or an AsyncStream holds: results of type T on their way from the queue to whoever
// awaits them, or to a function.
template <typename T>
class Held : public Receiver {
 public:
  using Receiver::Receiver;

  bool over() const noexcept { return op == 0; }
  // True when take() has something to tell.
  virtual bool ready() const noexcept = 0;
  virtual Result<T> take() = 0;
  // From now on the results go to this function.
  void hand_to(std::unique_ptr<Handler<Result<T>>> handler) {
    handler_ = std::move(handler);
    if (core == nullptr) return abandon();
    held_ = false;
    if (ready()) tell_later();
  }
  // Nobody wants them any more.
  void let_go() {
    held_ = false;
    waiters.drop();
    forget();
    if (!over() && core != nullptr) {
      if (!borrows) conpool_op_cancel(op);
      if (!borrows || core->finish(*this)) return;  // receive() or abandon() destroys it
    }
    delete this;
  }
  void abandon() noexcept override {
    op = 0;
    keeps.reset();
    if (!held_ || handler_ != nullptr) delete this;
  }

  Waiters waiters;

 protected:
  // Frees what was not taken.
  virtual void forget() noexcept = 0;
  void tell_later() {
    if (!std::exchange(due_, true)) core->call_later(*this);
  }
  bool held_ = true;
  bool due_ = false;  // the core will call tell()
  std::unique_ptr<Handler<Result<T>>> handler_;
};

// Ends what a Pending or an AsyncStream holds together with it.
struct LetGo {
  template <typename State>
  void operator()(State* state) const {
    state->let_go();
  }
};

// What co_await waits with.
template <typename T>
class Awaiter {
 public:
  explicit Awaiter(Held<T>* state) noexcept : state_(state) {}
  bool await_ready() const noexcept { return state_ == nullptr || state_->ready(); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept {
    state_->waiters.put(waiter_, coroutine);
  }
  Result<T> await_resume() const {
    if (state_ == nullptr) return Error(CONPOOL_E_STALE);
    return state_->take();
  }

 private:
  Held<T>* state_;
  Waiter waiter_;
};

// An op of one event.
template <typename T>
class PendingState final : public Held<T> {
 public:
  using Held<T>::Held;

  bool ready() const noexcept override { return this->over(); }
  void fail(Error error) noexcept { error_ = std::move(error); }
  Result<T> take() override {
    if (error_.status() != CONPOOL_OK) return std::move(error_);
    if (!event_) return Error(this->core == nullptr ? CONPOOL_E_CLOSED : CONPOOL_E_STALE);
    Event event = std::move(event_);
    return event.take<T>();
  }

  void receive(Event event) override {
    if (!event.is_final()) return;  // a kind of a newer library
    this->core->ended(*this);
    event_ = std::move(event);
    if (this->handler_ != nullptr) return tell();
    if (!this->held_) return this->let_go();
    this->waiters.resume();
  }
  void tell() override {
    const std::unique_ptr<Handler<Result<T>>> handler = std::move(this->handler_);
    Result<T> result = take();
    delete this;
    handler->call(std::move(result));
  }

 private:
  void forget() noexcept override { event_ = Event(); }
  Event event_;
  Error error_;
};

}  // namespace detail

// An op that a dispatcher started. Await it in any type of coroutine, once, or give it a function.
// A coroutine that awaits one which is destroyed, or replaced, stays suspended.
template <typename T>
class [[nodiscard]] Pending {
 public:
  using State = detail::PendingState<T>;
  explicit Pending(std::unique_ptr<State> state) noexcept : state_(state.release()) {}

  // Calls function(Result<T>) when the op has ended, from the dispatcher's next run on.
  template <typename Function>
  void then(Function&& function) && {
    if (state_ == nullptr) return;
    auto handler = detail::handler_of<Result<T>>(std::forward<Function>(function));
    state_.release()->hand_to(std::move(handler));
  }
  // True once the result is there.
  bool done() const noexcept { return state_ == nullptr || state_->over(); }
  // Names the op for conpool::cancel and for body_write; 0 once it is over.
  conpool_op op() const noexcept { return state_ == nullptr ? 0 : state_->op; }
  // Asks the op to end soon; its result still comes.
  void cancel() const noexcept { conpool_op_cancel(op()); }

  // The result, once it is there; CONPOOL_E_STALE when it was taken before.
  Result<T> result() {
    if (state_ == nullptr) return Error(CONPOOL_E_STALE);
    return state_->take();
  }

  using Awaiter = detail::Awaiter<T>;
  Awaiter operator co_await() noexcept { return Awaiter(state_.get()); }

 private:
  std::unique_ptr<State, detail::LetGo> state_;
};

namespace detail {

// A streamed response.
class StreamState final : public Held<Event> {
 public:
  using Held::Held;

  bool ready() const noexcept override { return !events_.empty() || over(); }
  Result<Event> take() override {
    if (events_.empty()) return complete_ ? Result<Event>(Event()) : Error(CONPOOL_E_CLOSED);
    Event event = std::move(events_.front());
    events_.pop_front();
    if (event.is_final() && event.status() != CONPOOL_OK) return event.take<Response>().error();
    return event;
  }

  void receive(Event event) override {
    if (event.is_final()) {
      core->ended(*this);
      complete_ = true;
    }
    if (handler_ != nullptr) {
      events_.push_back(std::move(event));
      if (!due_ && !telling_) tell();
    } else if (!held_) {
      if (over()) let_go();
    } else {
      events_.push_back(std::move(event));
      waiters.resume();
    }
  }
  // One part at a time: whatever the function throws, the others are told later. So are those that
  // come while the function runs the dispatcher: it is not called inside itself.
  void tell() override {
    due_ = false;
    if (telling_) return;
    if (events_.empty()) {
      if (over()) delete this;
      return;
    }
    Result<Event> event = take();
    if (events_.empty() && over()) {
      const std::unique_ptr<Handler<Result<Event>>> handler = std::move(handler_);
      delete this;
      return handler->call(std::move(event));
    }
    const Telling telling{*this};
    handler_->call(std::move(event));
  }

 private:
  struct Telling {
    explicit Telling(StreamState& of) noexcept : state(of) { state.telling_ = true; }
    Telling(const Telling&) = delete;
    Telling& operator=(const Telling&) = delete;
    ~Telling() {
      state.telling_ = false;
      if (!state.events_.empty()) state.tell_later();
    }
    StreamState& state;
  };
  void forget() noexcept override { events_.clear(); }
  bool telling_ = false;   // the function runs
  bool complete_ = false;  // FINAL came
  std::deque<Event> events_;
};

}  // namespace detail

// A request whose response comes in parts, started by a dispatcher. Destroying it cancels what is
// left. Parts that are not taken hold the server back.
class AsyncStream {
 public:
  explicit AsyncStream(std::unique_ptr<detail::StreamState> state) noexcept
      : state_(state.release()) {}

  // Awaits the next part, as Stream::next: an empty event when the response is over.
  using Next = detail::Awaiter<Event>;
  Next next() const noexcept { return Next(state_.get()); }
  // Calls function(Result<Event>) for each part, the FINAL one included.
  template <typename Function>
  void each(Function&& function) && {
    if (state_ == nullptr) return;
    auto handler = detail::handler_of<Result<Event>>(std::forward<Function>(function));
    state_.release()->hand_to(std::move(handler));
  }
  // Names the op for Dispatcher::body_write; 0 once it is over.
  conpool_op op() const noexcept { return state_ == nullptr ? 0 : state_->op; }
  // next() still tells how it ended.
  void cancel() const noexcept { conpool_op_cancel(op()); }

 private:
  std::unique_ptr<detail::StreamState, detail::LetGo> state_;
};

}  // namespace conpool
