// Ops, queues and events.
#include "ops/queue.h"

#include "capi/handles.h"

using namespace conpool;
using namespace conpool::capi;

conpool_status conpool_op_cancel(conpool_op op) noexcept {
  if (ops::Op::inherited(op)) return code(Status::E_FORKED);
  return code(ops::Op::cancel(op));
}

conpool_status conpool_op_wait(conpool_op op, int64_t timeout_ns, conpool_event* out) noexcept {
  if (out == nullptr || timeout_ns < CONPOOL_FOREVER) return code(Status::E_INVALID);
  if (ops::Op::inherited(op)) return code(Status::E_FORKED);
  return code(ops::Op::wait(op, timeout_ns, out));
}

conpool_status conpool_queue_new(conpool_pool* pool, conpool_queue** out) noexcept {
  return guard([&] {
    if (pool == nullptr || out == nullptr) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    auto handle = std::make_unique<conpool_queue>();
    Result<ops::Queue*> queue = ops::Queue::make(pool->core->caller_drive());
    if (!queue) return code(queue.error().status);
    handle->queue = *queue;
    handle->core = pool->core;
    pool->core->ref();
    *out = handle.release();
    return code(Status::OK);
  });
}

int32_t conpool_queue_next(conpool_queue* queue, conpool_event* events, uint32_t capacity,
                           int64_t timeout_ns) noexcept {
  if (queue == nullptr || events == nullptr || timeout_ns < CONPOOL_FOREVER)
    return code(Status::E_INVALID);
  if (inherited(queue)) return code(Status::E_FORKED);
  return queue->queue->next(events, capacity, timeout_ns);
}

int32_t conpool_queue_fd(conpool_queue* queue) noexcept {
  if (queue == nullptr) return code(Status::E_INVALID);
  if (inherited(queue)) return code(Status::E_FORKED);
  return queue->queue->fd();
}

void conpool_queue_wake(conpool_queue* queue) noexcept {
  if (queue != nullptr && !inherited(queue)) queue->queue->wake();
}

void conpool_queue_close(conpool_queue* queue) noexcept {
  if (queue == nullptr || inherited(queue)) return;
  guard([&] {
    queue->queue->close();
    // Mail is read in order: after this call the loop has let go of what its writes borrowed.
    queue->core->call([] {});
    return 0;
  });
}

void conpool_queue_free(conpool_queue* queue) noexcept {
  if (queue == nullptr || inherited(queue)) return;
  conpool_queue_close(queue);
  pool::Core* core = queue->core;
  queue->queue->unref();
  delete queue;
  core->unref();
}

void conpool_event_dispose(conpool_event* event) noexcept {
  if (event == nullptr) return;
  if (event->object != nullptr && inherited_object(reinterpret_cast<ops::Object*>(event->object))) {
    event->object = nullptr;
    return;
  }
  ops::dispose(event);
}
