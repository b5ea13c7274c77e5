// Requests as HTTP/1.1 writes them: the head as one string, chunk framing for the body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "session/http.h"

namespace conpool::http1 {

// The whole head: request line, Host, the fields, how the body is framed, the empty line. The
// caller checked every part of `head`. A body of known size has Content-Length unless trailers
// follow it; every other one is chunked. `body_size` counts with `has_body` only.
std::string encode_head(const session::RequestHead& head, std::optional<uint64_t> body_size,
                        bool has_body);
// Whether encode_head announced chunks.
inline bool is_chunked(const session::RequestHead& head, std::optional<uint64_t> body_size) {
  return !body_size || !head.trailers.empty();
}
// Whether encode_head asked for 100 (Continue): never for an empty body (RFC 9110 §10.1.1).
inline bool expects_continue(const session::RequestHead& head, std::optional<uint64_t> body_size,
                             bool has_body) {
  return head.expect_continue && has_body && body_size != 0;
}

// Appends a chunk's first line.
void append_chunk_line(std::string* out, uint64_t size);
// Appends the last chunk, the trailers and the empty line (RFC 9112 §7.1).
void append_last_chunk(std::string* out, const session::Fields& trailers);

}  // namespace conpool::http1
