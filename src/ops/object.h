// Objects that events carry, and what conpool_event_dispose does.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "base/time.h"
#include "conpool/conpool.h"
#include "ops/fork.h"

namespace conpool::ops {

// Base of every object that an event may carry (connection, chunk, error, lookup). It is the first
// base of the public handle types, so the pointer in the event is the handle itself: convert to
// Object* before to void*, never from another base.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  // conpool_event_dispose on an event that still carries the object, or a closing queue. Any
  // thread; no lock of this room is held.
  virtual void dispose() noexcept = 0;
  // The fork generation of the process that made it.
  uint32_t born() const noexcept { return born_; }

 private:
  friend class Op;
  friend class Queue;
  // The event that carries this object before FINAL: it lives here, so that posting it cannot fail.
  struct Node {
    Object* next = nullptr;
    uint32_t kind = 0;
    uint32_t flags = 0;
    Status status = Status::OK;
    Time time = 0;
    uint64_t value[2] = {0, 0};
  };
  Node node_;
  const uint32_t born_ = fork_generation();
};

// Frees the object that the event carries, if any, and tells the op that its consumer is done with
// the event. Safe twice, on an event of any kind, on a zeroed event, and on nullptr. Any thread.
void dispose(conpool_event* event) noexcept;

}  // namespace conpool::ops
