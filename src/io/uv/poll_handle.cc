// The one owner of libuv's poll handles.
#include "io/uv/poll_handle.h"

#include <cassert>
#include <new>

#include "io/uv/loop_core.h"
#include "io/uv/socket.h"

namespace conpool::io::uv {

Result<PollHandle::Ptr> PollHandle::make(UvLoop& loop, int fd, PollOwner* owner) {
  auto* handle = new PollHandle(loop, owner);
  const int rc = uv_poll_init(loop.uv(), &handle->poll_, fd);
  if (rc != 0) {
    delete handle;  // libuv knows nothing of a handle whose init failed
    return fail(system_failure(-rc, "watching a descriptor"));
  }
  handle->poll_.data = handle;
  return Ptr(handle);
}

void PollHandle::watch(int events) {
  if (events == events_) return;
  events_ = events;
  const int rc = uv_poll_start(&poll_, events, &PollHandle::on_event);
  assert(rc == 0);
  (void)rc;
  loop_.note_watch_changed();
}

void PollHandle::retire() noexcept {
  owner_ = nullptr;
  uv_poll_stop(&poll_);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), &PollHandle::on_closed);
}

void PollHandle::on_event(uv_poll_t* poll, int status, int events) noexcept {
  auto* self = static_cast<PollHandle*>(poll->data);
  if (status < 0) self->events_ = 0;
  PollOwner* owner = self->owner_;
  if (owner == nullptr) return;
  self->loop_.note_polled();
  try {
    owner->on_poll(status, events);
  } catch (const std::bad_alloc&) {
    owner->on_poll_thrown(Status::E_NOMEM);
  } catch (...) {
    owner->on_poll_thrown(Status::E_INTERNAL);
  }
}

void PollHandle::on_closed(uv_handle_t* handle) noexcept {
  delete static_cast<PollHandle*>(handle->data);
}

}  // namespace conpool::io::uv
