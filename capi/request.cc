// Requests: built, started, and the pieces of their bodies.
#include <sched.h>

#include "capi/endpoint_target.h"
#include "client/call.h"
#include "client/url.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

conpool_status wrap(pool::Core& core, Result<std::unique_ptr<client::Request>> made,
                    conpool_request** out, conpool_error** error) {
  if (!made) return refuse(error, std::move(made.error()));
  auto handle = std::make_unique<conpool_request>();
  handle->core = &core;
  handle->request = std::move(*made);
  core.ref();
  *out = handle.release();
  return code(Status::OK);
}

conpool_status check_texts(const void* owner, const char* what, const char* method,
                           const char* text, const char* text_what, conpool_request** out,
                           conpool_error** error) {
  const char* missing = owner == nullptr    ? what
                        : method == nullptr ? "method"
                        : text == nullptr   ? text_what
                        : out == nullptr    ? "out"
                                            : nullptr;
  if (missing == nullptr) return code(Status::OK);
  return refuse(error, {.status = Status::E_INVALID, .detail = std::string(missing) + " is NULL"});
}

// The status of a change to a request that has no worded error.
template <typename Change>
conpool_status change(conpool_request* request, Change&& make_change) {
  return guard([&] {
    if (request == nullptr) return code(Status::E_INVALID);
    if (inherited(request)) return code(Status::E_FORKED);
    const Result<void> changed = make_change(*request->request);
    return changed ? code(Status::OK) : code(changed.error().status);
  });
}

using AddField = Result<void> (client::Request::*)(std::string_view, std::string_view);

conpool_status add_field(conpool_request* request, AddField add, const char* name, size_t name_size,
                         const char* value, size_t value_size, conpool_error** error) {
  return guard([&] {
    if (request == nullptr || name == nullptr || value == nullptr) {
      const char* missing = request == nullptr ? "request is NULL"
                            : name == nullptr  ? "name is NULL"
                                               : "value is NULL";
      return refuse(error, {.status = Status::E_INVALID, .detail = missing});
    }
    if (inherited(request)) return refuse(error, {.status = Status::E_FORKED});
    const Result<void> added =
        ((*request->request).*add)(text_of(name, name_size), text_of(value, value_size));
    return added ? code(Status::OK) : refuse(error, added.error());
  });
}

conpool_status start(conpool_request* request, const conpool_config* config,
                     client::Delivery delivery, conpool_queue* queue, uint64_t user_data,
                     bool pieces_allowed, uint64_t* out_op, conpool_error** error) {
  if (inherited(request)) return refuse(error, {.status = Status::E_FORKED});
  pool::Core& core = *request->core;
  if (core.closed())
    return refuse(error, {.status = Status::E_CLOSED, .detail = "the pool was closed"});
  if (const Status bad = check_queue(queue, core); bad != Status::OK)
    return refuse(error, {.status = bad, .detail = "the queue belongs to another pool"});
  const Result<std::shared_ptr<const client::FrozenRequest>> frozen = request->request->freeze();
  if (!frozen) return refuse(error, frozen.error());
  if (!pieces_allowed && (*frozen)->body == client::BodyKind::Pieces) {
    return refuse(error, {.status = Status::E_WRONG_STATE,
                          .detail = "a body in pieces needs conpool_request_start, whose op takes "
                                    "them"});
  }
  std::shared_ptr<const Values> values = (*frozen)->values;
  if (const conpool_status bad = merge_request_values(config, &values, error); bad != 0) return bad;
  Result<void> started =
      client::Call::start(core, *frozen, std::move(values), delivery,
                          queue == nullptr ? nullptr : queue->queue, user_data, out_op);
  if (!started) return refuse(error, std::move(started.error()), (*frozen)->text);
  return code(Status::OK);
}

// The request's op, of which nobody else knows, to its end. While another thread drives the loop of
// a pool that its callers drive, the op is cancelled and that thread ends it: the caller's body
// must not be read any more once this returns.
Status wait_for_end(uint64_t op, conpool_event* event) {
  Status waited = ops::Op::wait(op, CONPOOL_FOREVER, event);
  if (waited != Status::E_BUSY) return waited;
  ops::Op::cancel(op);
  while ((waited = ops::Op::wait(op, CONPOOL_FOREVER, event)) == Status::E_BUSY)
    sched_yield();
  if (waited != Status::OK || event->status != code(Status::E_CANCELLED)) return waited;
  conpool_event_dispose(event);
  return Status::E_BUSY;
}

}  // namespace

// --- building ------------------------------------------------------------------------------------

conpool_status conpool_request_new(conpool_pool* pool, const char* method, const char* url,
                                   size_t size, const conpool_config* config, conpool_request** out,
                                   conpool_error** error) noexcept {
  return guard([&] {
    if (const conpool_status bad = check_texts(pool, "pool", method, url, "url", out, error);
        bad != 0)
      return bad;
    if (inherited(pool)) return refuse(error, {.status = Status::E_FORKED});
    pool::Core& core = *pool->core;
    if (core.closed())
      return refuse(error, {.status = Status::E_CLOSED, .detail = "the pool was closed"});
    Result<client::HttpUrl> parts = client::split_url(text_of(url, size));
    if (!parts) return refuse(error, std::move(parts.error()));
    EndpointTarget target;
    if (const conpool_status bad =
            make_target(core, pool::parse_endpoint_url(parts->endpoint), config, &target, error);
        bad != 0)
      return bad;
    return wrap(core,
                client::Request::make(std::move(target.spec), std::move(target.values), method,
                                      parts->target),
                out, error);
  });
}

conpool_status conpool_request_new_at(conpool_endpoint* endpoint, const char* method,
                                      const char* target, size_t size, conpool_request** out,
                                      conpool_error** error) noexcept {
  return guard([&] {
    if (const conpool_status bad =
            check_texts(endpoint, "endpoint", method, target, "target", out, error);
        bad != 0)
      return bad;
    if (inherited(endpoint)) return refuse(error, {.status = Status::E_FORKED});
    return wrap(
        *endpoint->core,
        client::Request::make(endpoint->spec, endpoint->values, method, text_of(target, size)), out,
        error);
  });
}

conpool_status conpool_request_header(conpool_request* request, const char* name, size_t name_size,
                                      const char* value, size_t value_size,
                                      conpool_error** error) noexcept {
  return add_field(request, &client::Request::add_header, name, name_size, value, value_size,
                   error);
}

conpool_status conpool_request_trailer(conpool_request* request, const char* name, size_t name_size,
                                       const char* value, size_t value_size,
                                       conpool_error** error) noexcept {
  return add_field(request, &client::Request::add_trailer, name, name_size, value, value_size,
                   error);
}

conpool_status conpool_request_body(conpool_request* request, const void* data,
                                    size_t size) noexcept {
  if (data == nullptr && size > 0) return code(Status::E_INVALID);
  return change(request, [&](client::Request& r) {
    return r.set_body(static_cast<const uint8_t*>(data), size);
  });
}

conpool_status conpool_request_body_fd(conpool_request* request, int32_t fd, int64_t offset,
                                       int64_t size) noexcept {
  return change(request, [&](client::Request& r) { return r.set_body_file(fd, offset, size); });
}

conpool_status conpool_request_body_stream(conpool_request* request, int64_t size) noexcept {
  if (size < -1) return code(Status::E_INVALID);
  return change(request, [&](client::Request& r) {
    return r.set_body_pieces(size < 0 ? std::nullopt
                                      : std::optional<uint64_t>(static_cast<uint64_t>(size)));
  });
}

conpool_status conpool_request_idempotent(conpool_request* request, int32_t idempotent) noexcept {
  return change(request, [&](client::Request& r) { return r.set_idempotent(idempotent != 0); });
}

void conpool_request_free(conpool_request* request) noexcept {
  if (request == nullptr || inherited(request)) return;
  pool::Core* core = request->core;
  delete request;
  core->unref();
}

// --- running -------------------------------------------------------------------------------------

conpool_status conpool_request_start(conpool_request* request, const conpool_config* config,
                                     int32_t how, conpool_queue* queue, uint64_t user_data,
                                     conpool_op* out_op, conpool_error** error) noexcept {
  return guard([&] {
    const char* wrong = request == nullptr  ? "request is NULL"
                        : out_op == nullptr ? "out_op is NULL"
                        : how != CONPOOL_WHOLE && how != CONPOOL_STREAM
                            ? "how is neither CONPOOL_WHOLE nor CONPOOL_STREAM"
                        : how == CONPOOL_STREAM && queue == nullptr
                            ? "CONPOOL_STREAM needs a queue for its events"
                            : nullptr;
    if (wrong != nullptr) return refuse(error, {.status = Status::E_INVALID, .detail = wrong});
    return start(request, config,
                 how == CONPOOL_STREAM ? client::Delivery::Stream : client::Delivery::Whole, queue,
                 user_data, true, out_op, error);
  });
}

conpool_status conpool_body_write(conpool_op op, const void* data, size_t size, int32_t last,
                                  conpool_queue* queue, uint64_t user_data,
                                  conpool_op* out_op) noexcept {
  return guard([&] {
    if (out_op == nullptr || (data == nullptr && size > 0)) return code(Status::E_INVALID);
    if (ops::Op::inherited(op)) return code(Status::E_FORKED);
    const std::shared_ptr<client::PieceFeed> feed = client::PieceFeed::find(op);
    if (feed == nullptr) return code(Status::E_STALE);
    if (const Status bad = check_queue(queue, static_cast<pool::Core&>(feed->port()));
        bad != Status::OK)
      return code(bad);
    return code(client::PieceFeed::write(feed, static_cast<const uint8_t*>(data), size, last != 0,
                                         queue == nullptr ? nullptr : queue->queue, user_data,
                                         out_op));
  });
}

conpool_status conpool_perform(conpool_request* request, const conpool_config* config,
                               conpool_response** out, conpool_error** error) noexcept {
  return guard([&] {
    if (request == nullptr || out == nullptr) {
      return refuse(error, {.status = Status::E_INVALID,
                            .detail = request == nullptr ? "request is NULL" : "out is NULL"});
    }
    uint64_t op = 0;
    if (const conpool_status bad =
            start(request, config, client::Delivery::Whole, nullptr, 0, false, &op, error);
        bad != 0)
      return bad;
    conpool_event event{};
    const Status waited = wait_for_end(op, &event);
    if (waited != Status::OK) {
      return refuse(
          error,
          {.status = waited,
           .detail = waited == Status::E_BUSY ? "another thread drives the pool's loop" : ""});
    }
    if (event.status == CONPOOL_OK) {
      *out = static_cast<conpool_response*>(event.object);
    } else if (error != nullptr && event.object != nullptr) {
      *error = static_cast<conpool_error*>(event.object);
    } else {
      conpool_event_dispose(&event);
    }
    return event.status;
  });
}
