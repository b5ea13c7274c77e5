// conpool for C++: requests, streams, endpoints and pools.
#pragma once

#include <conpool/conpool.h>
#include <conpool/cpp/ops.hpp>
#include <conpool/cpp/result.hpp>
#include <conpool/cpp/values.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace conpool {

namespace detail {

// The starts of ops, as detail::started takes them.
inline auto acquirer(conpool_endpoint* raw, const Config& options) {
  return [raw, &options](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_endpoint_acquire(raw, options.raw(), queue, data, op);
  };
}
inline auto preconnecter(conpool_endpoint* raw, std::uint32_t count, const Config& options) {
  return [raw, count, &options](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_endpoint_preconnect(raw, count, options.raw(), queue, data, op);
  };
}
inline auto closer(conpool_pool* raw, Nanos drain_timeout) {
  return [raw, drain_timeout](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_pool_close(raw, drain_timeout.count(), queue, data, op);
  };
}
inline auto piece(conpool_op request, std::string_view bytes, bool last) {
  return [=](conpool_queue* queue, std::uint64_t data, conpool_op* op) {
    return conpool_body_write(request, chars(bytes), bytes.size(), last ? 1 : 0, queue, data, op);
  };
}

}  // namespace detail

// --- requests

// What is asked of an HTTP server. It is built, then started as often as wanted; the first start
// freezes it. Made by Pool::request and Endpoint::request.
class Request : public detail::Handle<conpool_request, conpool_request_free> {
 public:
  using Handle::Handle;

  Result<void> header(std::string_view name, std::string_view value) {
    return detail::done_or_told([&](conpool_error** error) {
      return conpool_request_header(raw(), detail::chars(name), name.size(), detail::chars(value),
                                    value.size(), error);
    });
  }
  Result<void> trailer(std::string_view name, std::string_view value) {
    return detail::done_or_told([&](conpool_error** error) {
      return conpool_request_trailer(raw(), detail::chars(name), name.size(), detail::chars(value),
                                     value.size(), error);
    });
  }
  // The whole body. Ops that report to a Queue need this object until they end; all others keep the
  // body alive themselves.
  Result<void> body(std::string bytes) {
    auto kept = std::make_shared<const std::string>(std::move(bytes));
    Result<void> set = detail::done(conpool_request_body(raw(), kept->data(), kept->size()));
    if (set) body_ = std::move(kept);
    return set;
  }
  // The whole body without a copy: neither change nor free it before each op that sends it has
  // ended.
  Result<void> body_borrowed(std::string_view bytes) {
    Result<void> set =
        detail::done(conpool_request_body(raw(), detail::chars(bytes), bytes.size()));
    borrows_ = borrows_ || set;
    return set;
  }
  // From a regular file: `size` bytes, or all that follow.
  Result<void> body_fd(int fd, std::int64_t offset = 0, std::int64_t size = -1) {
    return detail::done(conpool_request_body_fd(raw(), fd, offset, size));
  }
  // In pieces, of this length together or of an unknown one (-1): see Stream.
  Result<void> body_stream(std::int64_t size = -1) {
    return detail::done(conpool_request_body_stream(raw(), size));
  }
  // Declares that sending it twice has the effect of once.
  Result<void> idempotent(bool yes = true) {
    return detail::done(conpool_request_idempotent(raw(), yes ? 1 : 0));
  }

  // Sends it and waits for the whole response. Starting: any thread.
  Result<Response> perform(const Config& options = {}) const {
    conpool_response* response = nullptr;
    conpool_error* error = nullptr;
    const conpool_status status = conpool_perform(raw(), options.raw(), &response, &error);
    if (status != CONPOOL_OK) return Error(status, error);
    return Response(response);
  }
  Result<Op<Response>> start(const Config& options = {}) const {
    Result<conpool_op> op = start_at(nullptr, 0, CONPOOL_WHOLE, options);
    if (!op) return std::move(op).error();
    return Op<Response>(*op, body_);
  }
  // `how` is CONPOOL_WHOLE or CONPOOL_STREAM.
  Result<conpool_op> start(const Report& report, std::int32_t how = CONPOOL_WHOLE,
                           const Config& options = {}) const {
    return start_at(report.queue.raw(), report.user_data, how, options);
  }
  // For code that starts it by itself: the body, to be kept until the op's end, and whether the
  // body is the program's own.
  std::shared_ptr<const void> keeps() const noexcept { return body_; }
  bool borrows() const noexcept { return borrows_; }

 private:
  Result<conpool_op> start_at(conpool_queue* queue, std::uint64_t user_data, std::int32_t how,
                              const Config& options) const {
    conpool_op op = 0;
    conpool_error* error = nullptr;
    const conpool_status status =
        conpool_request_start(raw(), options.raw(), how, queue, user_data, &op, &error);
    if (status != CONPOOL_OK) return detail::not_begun(status, error);
    return op;
  }
  std::shared_ptr<const std::string> body_;
  bool borrows_ = false;
};

// A piece of the body of a running request (Request::body_stream), reported to a queue. The bytes
// are borrowed until the piece's end. Any thread.
inline Result<conpool_op> start_body_write(const Report& report, conpool_op request,
                                           std::string_view bytes, bool last) {
  return detail::started(report, detail::piece(request, bytes, last));
}
inline Result<Op<std::uint64_t>> start_body_write(conpool_op request, std::string_view bytes,
                                                  bool last) {
  return detail::started<std::uint64_t>(detail::piece(request, bytes, last));
}

// A request whose response comes in parts, and whose body may go out in pieces. Destroying it
// cancels what is left. Made by Pool::stream.
class Stream {
 public:
  Stream(Queue queue, conpool_op op, std::shared_ptr<const void> keeps) noexcept
      : keeps_(std::move(keeps)), queue_(std::move(queue)), op_(op) {}

  Stream(Stream&& other) noexcept
      : keeps_(std::move(other.keeps_)),
        queue_(std::move(other.queue_)),
        op_(std::exchange(other.op_, 0)),
        over_(std::exchange(other.over_, true)) {}
  Stream& operator=(Stream&& other) noexcept {
    if (this != &other) {
      queue_.reset();  // before what its ops borrowed is let go
      keeps_ = std::move(other.keeps_);
      queue_ = std::move(other.queue_);
      op_ = std::exchange(other.op_, 0);
      over_ = std::exchange(other.over_, true);
    }
    return *this;
  }

  // The next part: INTERIM…, HEAD, CHUNK…, TRAILERS, then the FINAL RESPONSE, each by its kind; the
  // failure of the request as an error. An empty event: none came in time, or the response is over.
  Result<Event> next(Nanos timeout = kForever) {
    if (over_ && queue_) return Event();
    Result<Event> event = queue_.next(timeout);
    if (event && event->is_final()) over_ = true;
    if (event && event->is_final() && event->status() != CONPOOL_OK)
      return event->take<Response>().error();
    return event;
  }
  // True once the final event was taken, and of one that was moved from.
  bool over() const noexcept { return over_; }
  // Sends a piece of the body and waits until the connection has taken it. The last one may be
  // empty.
  Result<std::uint64_t> write(std::string_view bytes, bool last = false) const {
    return detail::finished(start_body_write(op_, bytes, last));
  }
  // next() still tells how it ended. Any thread.
  void cancel() const noexcept { conpool_op_cancel(op_); }
  // Names it for start_body_write. For the host's own loop: the queue.
  conpool_op op() const noexcept { return op_; }
  const Queue& queue() const noexcept { return queue_; }

 private:
  std::shared_ptr<const void> keeps_;  // outlives the queue, whose end returns what is borrowed
  Queue queue_;
  conpool_op op_;
  bool over_ = false;
};

// --- endpoints

// What is connected to. Made by Pool::endpoint and its kin.
class Endpoint : public detail::Handle<conpool_endpoint, conpool_endpoint_free> {
 public:
  using Handle::Handle;

  // A connection for this program alone, until it is released. Any thread.
  Result<Connection> acquire(const Config& options = {}) const {
    return detail::finished(start_acquire(options));
  }
  Result<Op<Connection>> start_acquire(const Config& options = {}) const {
    return detail::started<Connection>(detail::acquirer(raw(), options));
  }
  Result<conpool_op> start_acquire(const Report& report, const Config& options = {}) const {
    return detail::started(report, detail::acquirer(raw(), options));
  }
  // Opens connections before they are needed; answers how many are open then. Any thread.
  Result<std::uint64_t> preconnect(std::uint32_t count, const Config& options = {}) const {
    return detail::finished(start_preconnect(count, options));
  }
  Result<Op<std::uint64_t>> start_preconnect(std::uint32_t count,
                                             const Config& options = {}) const {
    return detail::started<std::uint64_t>(detail::preconnecter(raw(), count, options));
  }
  Result<conpool_op> start_preconnect(const Report& report, std::uint32_t count,
                                      const Config& options = {}) const {
    return detail::started(report, detail::preconnecter(raw(), count, options));
  }
  // A request to an endpoint of scheme "http" or "https"; the target is "/path?query". Any thread.
  Result<Request> request(const char* method, std::string_view target) const {
    return detail::made_or_told<Request, conpool_request>(
        [&](conpool_request** out, conpool_error** error) {
          return conpool_request_new_at(raw(), method, detail::chars(target), target.size(), out,
                                        error);
        });
  }
  // "open", "closed" or "auto". Any thread.
  Result<void> force_breaker(const char* state) const {
    return detail::done(conpool_endpoint_force_breaker(raw(), state));
  }
};

// --- pools

// A part of the recorded events.
struct EventsPart {
  std::string text;
  std::uint64_t next = 0;  // the number to go on with
  std::uint64_t lost = 0;  // asked for, and overwritten before
};

// The loop and everything on it: connections, names, limits. Its functions: any thread.
class Pool : public detail::Handle<conpool_pool, conpool_pool_free> {
 public:
  using Handle::Handle;

  static Result<Pool> create(const Config& options = {}) {
    return detail::made_or_told<Pool, conpool_pool>([&](conpool_pool** out, conpool_error** error) {
      return conpool_pool_new(options.raw(), out, error);
    });
  }

  // "https://host:8443", "tcp://host:6379", "tls://host:5432", "unix:/path".
  Result<Endpoint> endpoint(std::string_view url, const Config& options = {}) const {
    return endpoint_by([&](conpool_endpoint** out, conpool_error** error) {
      return conpool_endpoint_new(raw(), detail::chars(url), url.size(), options.raw(), out, error);
    });
  }
  // By host name and ports; the scheme is "http", "https", "tcp" or "tls".
  Result<Endpoint> endpoint_host(const char* scheme, std::string_view host,
                                 std::span<const std::uint16_t> ports,
                                 const Config& options = {}) const {
    return endpoint_by([&](conpool_endpoint** out, conpool_error** error) {
      return conpool_endpoint_new_host(raw(), scheme, detail::chars(host), host.size(),
                                       ports.data(), ports.size(), options.raw(), out, error);
    });
  }
  // By addresses: "192.0.2.1:443,[2001:db8::1]:443". No name is resolved.
  Result<Endpoint> endpoint_addresses(const char* scheme, std::string_view addresses,
                                      const Config& options = {}) const {
    return endpoint_by([&](conpool_endpoint** out, conpool_error** error) {
      return conpool_endpoint_new_addresses(raw(), scheme, detail::chars(addresses),
                                            addresses.size(), options.raw(), out, error);
    });
  }
  Result<Request> request(const char* method, std::string_view url,
                          const Config& options = {}) const {
    return detail::made_or_told<Request, conpool_request>(
        [&](conpool_request** out, conpool_error** error) {
          return conpool_request_new(raw(), method, detail::chars(url), url.size(), options.raw(),
                                     out, error);
        });
  }
  // Fetches a URL: a request without a header of its own, made and performed.
  Result<Response> get(std::string_view url, const Config& options = {}) const {
    Result<Request> made = request("GET", url, options);
    if (!made) return std::move(made).error();
    return made->perform();
  }
  // Starts a request whose response comes in parts.
  Result<Stream> stream(const Request& request, const Config& options = {}) const {
    Result<Queue> made = queue();
    if (!made) return std::move(made).error();
    Result<conpool_op> op = request.start({*made, 0}, CONPOOL_STREAM, options);
    if (!op) return std::move(op).error();
    return Stream(std::move(*made), *op, request.keeps());
  }
  Result<Queue> queue() const {
    return detail::made<Queue, conpool_queue>(
        [&](conpool_queue** out) { return conpool_queue_new(raw(), out); });
  }

  // Closes gracefully: what runs may end within this time. Answers how many leases had to be
  // broken.
  Result<std::uint64_t> close(Nanos drain_timeout) const {
    return detail::finished(start_close(drain_timeout));
  }
  Result<Op<std::uint64_t>> start_close(Nanos drain_timeout) const {
    return detail::started<std::uint64_t>(detail::closer(raw(), drain_timeout));
  }
  Result<conpool_op> start_close(const Report& report, Nanos drain_timeout) const {
    return detail::started(report, detail::closer(raw(), drain_timeout));
  }

  // Counters, gauges and latencies as "text", "json" or "openmetrics".
  Result<std::string> metrics(const char* format = "text") const {
    return detail::text([&](char** out) { return conpool_pool_metrics(raw(), format, out); });
  }
  // The recorded events as "jsonl", "text" or "trace".
  Result<std::string> events(const char* format = "jsonl") const {
    return detail::text([&](char** out) { return conpool_pool_events(raw(), format, out); });
  }
  // Those from a number on, at most `limit` (0: all).
  Result<EventsPart> events_since(std::uint64_t since, std::uint64_t limit = 0,
                                  const char* format = "jsonl") const {
    EventsPart part;
    Result<std::string> text = detail::text([&](char** out) {
      return conpool_pool_events_since(raw(), format, since, limit, &part.next, &part.lost, out);
    });
    if (!text) return std::move(text).error();
    part.text = std::move(*text);
    return part;
  }
  // Records an event of the program's own; CONPOOL_LEVEL_*.
  Result<void> event(std::int32_t level, std::string_view name, std::string_view text = {}) const {
    return detail::done(conpool_pool_event(raw(), level, detail::chars(name), name.size(),
                                           detail::chars(text), text.size()));
  }
  // What the pool knows of an endpoint and would do, in words.
  Result<std::string> explain(const Endpoint& endpoint) const {
    return detail::text(
        [&](char** out) { return conpool_pool_explain(raw(), endpoint.raw(), out); });
  }
  // Makes the program the pool's resolver (dns.backend = queue): lookups come as events.
  Result<void> set_resolver(const Report& report) const {
    return detail::done(conpool_pool_set_resolver(raw(), report.queue.raw(), report.user_data));
  }
  Result<void> unset_resolver() const {
    return detail::done(conpool_pool_set_resolver(raw(), nullptr, 0));
  }

 private:
  template <typename Call>
  Result<Endpoint> endpoint_by(Call call) const {
    return detail::made_or_told<Endpoint, conpool_endpoint>(call);
  }
};

}  // namespace conpool
