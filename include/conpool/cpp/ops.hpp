// conpool for C++: ops, the events that tell of them, queues, and connections.
#pragma once

#include <conpool/conpool.h>
#include <unistd.h>
#include <conpool/cpp/result.hpp>
#include <conpool/cpp/values.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

namespace conpool {

class Connection;

// --- events, queues, ops

// One event of a queue, which is disposed of when it is destroyed; a connection that nobody took
// goes back to its pool then. Default made it is empty: what Queue::next answers when none came.
class Event {
 public:
  Event() noexcept = default;
  // Takes over an event that a C function filled in.
  explicit Event(const conpool_event& raw) noexcept : raw_(raw) {}
  Event(Event&& other) noexcept : raw_(std::exchange(other.raw_, conpool_event{})) {}
  Event& operator=(Event&& other) noexcept {
    if (this != &other) {
      dispose();
      raw_ = std::exchange(other.raw_, conpool_event{});
    }
    return *this;
  }
  ~Event() { dispose(); }

  explicit operator bool() const noexcept { return raw_.kind != CONPOOL_EVENT_NONE; }
  // CONPOOL_EVENT_*; kinds of newer libraries are to be ignored.
  std::uint32_t kind() const noexcept { return raw_.kind; }
  bool is_final() const noexcept { return (raw_.flags & CONPOOL_EVENT_FINAL) != 0; }
  bool is_eof() const noexcept { return (raw_.flags & CONPOOL_EVENT_EOF) != 0; }
  conpool_op op() const noexcept { return raw_.op; }
  std::uint64_t user_data() const noexcept { return raw_.user_data; }
  conpool_status status() const noexcept { return raw_.status; }
  // CLOCK_MONOTONIC when it happened.
  Nanos time() const noexcept { return Nanos(raw_.time_ns); }
  // Two numbers, by kind; index 0 or 1.
  std::uint64_t value(std::size_t index = 0) const noexcept { return raw_.value[index]; }
  // For C functions; what it carries is to be taken by take() before it is used.
  const conpool_event& raw() const noexcept { return raw_; }

  // Takes what the event carries: a Connection, Chunk, Response or Lookup; std::uint64_t is its
  // first number, and void nothing. A failed event gives its Error; one of another kind
  // CONPOOL_E_UNSUPPORTED. At the end of a stream the chunk is empty.
  template <typename T>
  Result<T> take();

 private:
  template <typename Raw>
  Raw* object() noexcept {
    return static_cast<Raw*>(std::exchange(raw_.object, nullptr));
  }
  void dispose() noexcept {
    if (raw_.kind == CONPOOL_EVENT_CONNECTION && raw_.status == CONPOOL_OK &&
        raw_.object != nullptr)
      conpool_connection_release(object<conpool_connection>(), CONPOOL_REUSABLE);
    conpool_event_dispose(&raw_);
  }
  conpool_event raw_{};
};

// Where ops report. Made by Pool::queue. Any thread, any number of consumers: each event comes
// once, and what belongs to one op is with one consumer at a time.
class Queue : public detail::Handle<conpool_queue, conpool_queue_free> {
 public:
  using Handle::Handle;
  // The next event, waiting for it at most so long; an empty one when none came in time, or when
  // somebody called wake().
  Result<Event> next(Nanos timeout = kForever) const {
    conpool_event event{};
    const std::int32_t count = conpool_queue_next(raw(), &event, 1, timeout.count());
    if (count < 0) return Error(count);
    return count == 0 ? Event() : Event(event);
  }
  // Up to as many events as there is room for, at most 64; answers how many.
  Result<std::size_t> next(std::span<Event> events, Nanos timeout = kForever) const {
    std::array<conpool_event, 64> batch;
    const auto room = static_cast<std::uint32_t>(std::min(events.size(), batch.size()));
    const std::int32_t count = conpool_queue_next(raw(), batch.data(), room, timeout.count());
    if (count < 0) return Error(count);
    const auto taken = static_cast<std::size_t>(count);
    for (std::size_t i = 0; i < taken; ++i)
      events[i] = Event(batch[i]);
    return taken;
  }
  // Readable exactly while next() has something to give; for poll, epoll and their like. The
  // queue's: never read, write or close it.
  Result<int> fd() const {
    const std::int32_t fd = conpool_queue_fd(raw());
    if (fd < 0) return Error(fd);
    return static_cast<int>(fd);
  }
  // Makes one next() return early.
  void wake() const noexcept { conpool_queue_wake(raw()); }
  // Cancels the queue's ops; no event comes any more, and what they borrowed is the caller's again.
  void close() const noexcept { conpool_queue_close(raw()); }
};

// Where a started op reports: `{queue, number}`. The number comes back as Event::user_data.
struct Report {
  const Queue& queue;
  std::uint64_t user_data = 0;
};

// Asks an op that reports to a queue to end soon. Any thread.
inline Result<void> cancel(conpool_op op) {
  return detail::done(conpool_op_cancel(op));
}

namespace detail {

// Of a pool with loop.drive = caller, while another thread drives it, and with it all ops to their
// ends. The library's waits answer CONPOOL_E_BUSY then, and nothing else tells when to come again.
inline void let_driver_go_on() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace detail

// An op that was started and is waited for later. Destroying it cancels the op and waits for its
// end, so that what it borrowed is free. Of a pool with loop.drive = caller, waiting runs the loop.
template <typename T>
class [[nodiscard]] Op {
 public:
  Op() noexcept = default;
  // Takes over an op that was started without a queue; `keeps` lives until its end.
  explicit Op(conpool_op id, std::shared_ptr<const void> keeps = nullptr) noexcept
      : id_(id), keeps_(std::move(keeps)) {}
  Op(Op&& other) noexcept
      : id_(std::exchange(other.id_, 0)),
        event_(std::move(other.event_)),
        keeps_(std::move(other.keeps_)) {}
  Op& operator=(Op&& other) noexcept {
    if (this != &other) {
      finish();
      id_ = std::exchange(other.id_, 0);
      event_ = std::move(other.event_);
      keeps_ = std::move(other.keeps_);
    }
    return *this;
  }
  ~Op() { finish(); }

  // Names it for conpool::cancel; 0 once its end was seen.
  conpool_op id() const noexcept { return id_; }
  // Asks it to end soon; get() still tells how. Any thread.
  void cancel() const noexcept { conpool_op_cancel(id_); }
  // True when it ended within this time. Fails with CONPOOL_E_BUSY where another thread drives the
  // loop.
  Result<bool> wait_for(Nanos timeout) {
    if (id_ == 0) return true;
    conpool_event event{};
    const conpool_status status = conpool_op_wait(id_, timeout.count(), &event);
    if (status == CONPOOL_E_TIMEOUT) return false;
    if (status != CONPOOL_OK) return Error(status);
    id_ = 0;
    keeps_.reset();
    event_ = Event(event);
    return true;
  }
  // Waits for its end and takes the result; CONPOOL_E_STALE when that was taken before.
  Result<T> get() {
    Result<bool> ended = wait_for(kForever);
    if (!ended) return std::move(ended).error();
    if (!event_) return Error(CONPOOL_E_STALE);
    Event event = std::move(event_);
    return event.take<T>();
  }

 private:
  void finish() noexcept {
    if (id_ == 0) return;
    cancel();
    while (wait_for(kForever).status() == CONPOOL_E_BUSY)
      detail::let_driver_go_on();
  }
  conpool_op id_ = 0;
  Event event_;
  std::shared_ptr<const void> keeps_;
};

namespace detail {

// Starts an op without a queue: start(queue, user_data, &op).
template <typename T, typename Start>
Result<Op<T>> started(Start start, std::shared_ptr<const void> keeps = nullptr) {
  conpool_op op = 0;
  const conpool_status status = start(nullptr, 0, &op);
  if (status != CONPOOL_OK) return not_begun(status);
  return Op<T>(op, std::move(keeps));
}
template <typename Start>
Result<conpool_op> started(const Report& report, Start start) {
  conpool_op op = 0;
  const conpool_status status = start(report.queue.raw(), report.user_data, &op);
  if (status != CONPOOL_OK) return not_begun(status);
  return op;
}
template <typename T>
Result<T> finished(Result<Op<T>> op) {
  if (!op) return std::move(op).error();
  return op->get();
}

inline void break_connection(conpool_connection* connection) {
  conpool_connection_release(connection, CONPOOL_BROKEN);
}

// The starts of a connection's ops, as detail::started takes them.
inline auto reader(const Handle<conpool_connection, break_connection>& of, std::size_t size_max) {
  return [raw = of.raw(), size_max](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_connection_read(raw, size_max, queue, data, op);
  };
}
inline auto writer(const Handle<conpool_connection, break_connection>& of, std::string_view bytes) {
  return [raw = of.raw(), bytes](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_connection_write(raw, chars(bytes), bytes.size(), queue, data, op);
  };
}
inline auto shutter(const Handle<conpool_connection, break_connection>& of) {
  return [raw = of.raw()](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_connection_shutdown_write(raw, queue, data, op);
  };
}

}  // namespace detail

// --- connections

// A connection's descriptor, lent to code that reads and writes itself. Closes it when destroyed.
class Loan {
 public:
  Loan(int fd, Chunk early) noexcept : fd_(fd), early_(std::move(early)) {}
  Loan(Loan&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), early_(std::move(other.early_)) {}
  Loan& operator=(Loan&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
      early_ = std::move(other.early_);
    }
    return *this;
  }
  ~Loan() { close(); }

  int fd() const noexcept { return fd_; }
  // Bytes that were received already and come before what the descriptor gives; empty without.
  const Chunk& early() const noexcept { return early_; }
  // Gives the descriptor up to the caller, who closes it.
  [[nodiscard]] int detach_fd() noexcept { return std::exchange(fd_, -1); }
  void close() noexcept {
    if (const int fd = std::exchange(fd_, -1); fd >= 0) ::close(fd);
  }

 private:
  int fd_;
  Chunk early_;
};

// One lease of one connection. Destroyed without release() it is closed, for nobody said that it is
// in order.
class Connection : public detail::Handle<conpool_connection, detail::break_connection> {
 public:
  Connection() noexcept = default;
  explicit Connection(conpool_connection* raw, bool reused = false) noexcept
      : Handle(raw), reused_(reused) {}

  // True when it had been leased before.
  bool reused() const noexcept { return reused_; }

  // Reads as soon as there is a byte, at most `size_max` of them (0: as many as came). The chunk is
  // empty at the end of the stream. Reads and writes: any thread.
  Result<Chunk> read(std::size_t size_max = 0) const {
    return detail::finished(start_read(size_max));
  }
  Result<Op<Chunk>> start_read(std::size_t size_max = 0) const {
    return detail::started<Chunk>(detail::reader(*this, size_max));
  }
  Result<conpool_op> start_read(const Report& report, std::size_t size_max = 0) const {
    return detail::started(report, detail::reader(*this, size_max));
  }
  // Writes all of it; answers how much that was. The bytes are borrowed until the op's end.
  Result<std::uint64_t> write(std::string_view bytes) const {
    return detail::finished(start_write(bytes));
  }
  Result<Op<std::uint64_t>> start_write(std::string_view bytes) const {
    return detail::started<std::uint64_t>(detail::writer(*this, bytes));
  }
  Result<conpool_op> start_write(const Report& report, std::string_view bytes) const {
    return detail::started(report, detail::writer(*this, bytes));
  }
  // Ends our direction, after all writes started before.
  Result<std::uint64_t> shutdown_write() const { return detail::finished(start_shutdown_write()); }
  Result<Op<std::uint64_t>> start_shutdown_write() const {
    return detail::started<std::uint64_t>(detail::shutter(*this));
  }
  Result<conpool_op> start_shutdown_write(const Report& report) const {
    return detail::started(report, detail::shutter(*this));
  }

  // Lends its descriptor, blocking or not. Until release() the library does not touch it.
  Result<Loan> lend(bool blocking = true) const {
    std::int32_t fd = -1;
    conpool_chunk* early = nullptr;
    const conpool_status status = conpool_connection_lend(raw(), blocking ? 1 : 0, &fd, &early);
    if (status != CONPOOL_OK) return Error(status);
    return Loan(fd, Chunk(early));
  }
  // Ends the lease: nothing of it is under way, the next one gets the connection.
  void release() noexcept {
    if (*this) conpool_connection_release(detach(), CONPOOL_REUSABLE);
  }
  // Ends the lease and closes the connection.
  void close() noexcept { reset(); }
  // "192.0.2.1:443".
  const char* address() const noexcept { return conpool_connection_address(raw()); }
  // Its facts as JSON.
  Result<std::string> describe() const {
    return detail::text([&](char** out) { return conpool_connection_describe(raw(), out); });
  }

 private:
  bool reused_ = false;
};

template <typename T>
Result<T> Event::take() {
  const std::uint32_t kind = raw_.kind;
  if (raw_.status != CONPOOL_OK) {
    const bool told = kind == CONPOOL_EVENT_RESPONSE;
    return Error(raw_.status, object<conpool_error>(),
                 told ? static_cast<std::int32_t>(raw_.value[1]) : CONPOOL_PROOF_MAYBE_PROCESSED);
  }
  if constexpr (std::is_void_v<T>) {
    return Result<void>();
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return raw_.value[0];
  } else if constexpr (std::is_same_v<T, Connection>) {
    if (kind == CONPOOL_EVENT_CONNECTION)
      return Connection(object<conpool_connection>(), raw_.value[0] != 0);
  } else if constexpr (std::is_same_v<T, Chunk>) {
    if (kind == CONPOOL_EVENT_READ || kind == CONPOOL_EVENT_CHUNK)
      return Chunk(object<conpool_chunk>());
  } else if constexpr (std::is_same_v<T, Response>) {
    if (kind == CONPOOL_EVENT_RESPONSE || kind == CONPOOL_EVENT_HEAD ||
        kind == CONPOOL_EVENT_TRAILERS || kind == CONPOOL_EVENT_INTERIM)
      return Response(object<conpool_response>());
  } else {
    static_assert(std::is_same_v<T, Lookup>, "no event carries this");
    if (kind == CONPOOL_EVENT_LOOKUP) return Lookup(object<conpool_lookup>());
  }
  return Error(CONPOOL_E_UNSUPPORTED);
}

}  // namespace conpool
