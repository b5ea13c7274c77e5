// The public handle types and how they map to the core's objects.
#pragma once

#include <memory>

#include "base/settings.h"
#include "capi/guard.h"
#include "client/request.h"
#include "client/response.h"
#include "pool/application_resolver.h"
#include "pool/core.h"
#include "raw/chunk.h"

struct conpool_config {
  conpool::Config config;
  uint32_t born = conpool::ops::fork_generation();
};

struct conpool_pool {
  conpool::pool::Core* core;
  uint32_t born = conpool::ops::fork_generation();
};

struct conpool_endpoint {
  conpool::pool::Core* core;
  std::shared_ptr<const conpool::pool::EndpointSpec> spec;
  std::shared_ptr<const conpool::Values> values;  // with this handle's request-scope values
  uint32_t born = conpool::ops::fork_generation();
};

struct conpool_queue {
  conpool::pool::Core* core;  // referenced
  conpool::ops::Queue* queue;
  uint32_t born = conpool::ops::fork_generation();
};

struct conpool_request {
  conpool::pool::Core* core;  // referenced
  std::unique_ptr<conpool::client::Request> request;
  uint32_t born = conpool::ops::fork_generation();
};

namespace conpool::capi {

// The five kinds of objects that events carry: the handle is the object's ops::Object part.
template <typename T, typename Handle>
T* object_of(Handle* handle) {
  return static_cast<T*>(
      reinterpret_cast<ops::Object*>(const_cast<std::remove_const_t<Handle>*>(handle)));
}
inline const ops::ErrorObject* error_of(const conpool_error* error) {
  return object_of<ops::ErrorObject>(error);
}
inline pool::Lease* lease_of(const conpool_connection* connection) {
  return object_of<pool::Lease>(connection);
}
inline raw::Chunk* chunk_of(const conpool_chunk* chunk) {
  return object_of<raw::Chunk>(chunk);
}
inline pool::Question* question_of(const conpool_lookup* lookup) {
  return object_of<pool::Question>(lookup);
}
inline const client::Response* response_of(const conpool_response* response) {
  return object_of<client::Response>(response);
}
template <typename Handle>
Handle* handle_of(ops::Object* object) {
  return reinterpret_cast<Handle*>(object);
}

// True for handles that fork() copied into this process.
template <typename Handle>
bool inherited(const Handle* handle) {
  return handle->born != ops::fork_generation();
}
inline bool inherited_object(const ops::Object* object) {
  return object->born() != ops::fork_generation();
}

// Whether ops of `core` may report to the queue; NULL always may. The queue of a pool that the
// caller drives is served by that pool's turns alone.
inline Status check_queue(const conpool_queue* queue, pool::Core& core) {
  if (queue == nullptr) return Status::OK;
  if (inherited(queue)) return Status::E_FORKED;
  return queue->core == &core ? Status::OK : Status::E_INVALID;
}

}  // namespace conpool::capi
