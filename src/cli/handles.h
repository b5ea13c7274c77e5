// The C ABI's handles with their ends tied to a scope.
#pragma once

#include <conpool/conpool.h>

#include <memory>

namespace conpool::cli {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* handle) const {
    kFree(handle);
  }
};

inline void release_broken(conpool_connection* connection) {
  conpool_connection_release(connection, CONPOOL_BROKEN);
}

using Config = std::unique_ptr<conpool_config, Freer<conpool_config_free>>;
using Pool = std::unique_ptr<conpool_pool, Freer<conpool_pool_free>>;
using Endpoint = std::unique_ptr<conpool_endpoint, Freer<conpool_endpoint_free>>;
using Queue = std::unique_ptr<conpool_queue, Freer<conpool_queue_free>>;
using Request = std::unique_ptr<conpool_request, Freer<conpool_request_free>>;
using Response = std::unique_ptr<conpool_response, Freer<conpool_response_free>>;
using Connection = std::unique_ptr<conpool_connection, Freer<release_broken>>;
using Error = std::unique_ptr<conpool_error, Freer<conpool_error_free>>;
using Chunk = std::unique_ptr<conpool_chunk, Freer<conpool_chunk_free>>;
using Text = std::unique_ptr<char, Freer<conpool_text_free>>;

}  // namespace conpool::cli
