// What nghttp2 calls: guarded functions that pass everything on to the session.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>

namespace conpool::h2 {

class Session;

// A client session whose callbacks lead to `session`. Throws std::bad_alloc.
nghttp2_session* make_client(Session& session, uint32_t stream_limit);
// The body of the stream whose user data is an Exchange, for nghttp2_submit_request.
nghttp2_data_provider body_provider();

}  // namespace conpool::h2
