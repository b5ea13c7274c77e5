// What the loop does with submitted ops.
#include "pool/commands.h"

#include <new>

#include "ops/error_object.h"

namespace conpool::pool {
namespace {

void finish_with(ops::Op& op, Status status, std::string context = {}) {
  std::vector<std::string> contexts;
  if (!context.empty()) contexts.push_back(std::move(context));
  ops::finish_failed(op, make_error({.status = status}, Phase::Queue, std::move(contexts)));
}

// Memory that runs out on the loop fails the op that wanted it, and nothing else.
template <typename Function>
void guarded(ops::Op& op, Function&& function) noexcept {
  try {
    function();
  } catch (const std::bad_alloc&) {
    op.finish(Status::E_NOMEM, nullptr);
  }
}

template <typename Function>
void on_session(ops::Op& op, Function&& function) noexcept {
  guarded(op, [&] {
    const auto lease = std::static_pointer_cast<Lease>(op.arguments().target);
    Connection* connection = lease->connection();
    if (connection == nullptr)
      return finish_with(op, Status::E_CLOSED, "connected to " + lease->facts().endpoint);
    function(connection->raw());
  });
}

}  // namespace

void run_acquire(ops::Op& op) {
  guarded(op, [&op] {
    const auto target = std::static_pointer_cast<AcquireTarget>(op.arguments().target);
    Core& core = target->core;
    if (core.ended() || core.closed()) {
      return finish_with(op, Status::E_CLOSED,
                         "waiting for a connection to " + target->spec->target.text);
    }
    Result<Endpoint*> endpoint = core.endpoint(target->spec);
    if (!endpoint) return ops::finish_failed(op, make_error(endpoint.error(), Phase::Queue));
    target->lease->acquire(**endpoint, op, op.arguments().overrides);
  });
}

void run_preconnect(ops::Op& op) {
  guarded(op, [&op] {
    const auto target = std::static_pointer_cast<PreconnectTarget>(op.arguments().target);
    Core& core = target->core;
    if (core.ended() || core.closed())
      return finish_with(op, Status::E_CLOSED, "connecting to " + target->spec->target.text);
    Result<Endpoint*> endpoint = core.endpoint(target->spec);
    if (!endpoint) return ops::finish_failed(op, make_error(endpoint.error(), Phase::Queue));
    (*endpoint)->preconnect(op, static_cast<uint32_t>(op.arguments().number),
                            *op.arguments().overrides);
  });
}

void run_read(ops::Op& op) {
  on_session(op, [&op](raw::Session& session) {
    session.read(op, static_cast<size_t>(op.arguments().number));
  });
}

void run_write(ops::Op& op) {
  on_session(op, [&op](raw::Session& session) {
    session.write(op, op.arguments().data, op.arguments().size);
  });
}

void run_shutdown_write(ops::Op& op) {
  on_session(op, [&op](raw::Session& session) { session.shutdown_write(op); });
}

void run_close(ops::Op& op) {
  Core& core = *static_cast<Core*>(op.arguments().target.get());
  if (core.ended()) return op.finish(Status::OK, nullptr);
  guarded(op, [&] { core.close(&op, op.arguments().number); });
}

}  // namespace conpool::pool
