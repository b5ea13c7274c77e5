// Request: what is asked, built field by field and frozen by its first start.
//
// Lifecycle: make → add… → freeze (the first start) → any number of starts. After freeze nothing
// can be changed; what was frozen is shared by all calls and outlives the request.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/body.h"
#include "pool/spec.h"
#include "session/http.h"

namespace conpool::client {

struct FrozenRequest {
  std::shared_ptr<const pool::EndpointSpec> spec;
  std::shared_ptr<const Values> values;  // with the request-scope values of its config
  session::RequestHead head;
  std::string text;  // "GET https://example.org/path", for texts
  BodyKind body = BodyKind::None;
  std::optional<uint64_t> body_size;
  const uint8_t* data = nullptr;  // BodyKind::Memory
  FileRange file;                 // BodyKind::File
  bool idempotent = false;
  mutable std::atomic<bool> pieces_running{false};  // BodyKind::Pieces: one call at a time
};

// One thread at a time, but freeze() any.
class Request {
 public:
  // E_BAD_METHOD, E_BAD_URL, E_UNSUPPORTED (method CONNECT, an endpoint that is not of HTTP).
  static Result<std::unique_ptr<Request>> make(std::shared_ptr<const pool::EndpointSpec> spec,
                                               std::shared_ptr<const Values> values,
                                               std::string_view method, std::string_view target);

  // E_BAD_FIELD; each E_WRONG_STATE once it is frozen.
  Result<void> add_header(std::string_view name, std::string_view value);
  Result<void> add_trailer(std::string_view name, std::string_view value);
  Result<void> set_body(const uint8_t* data, size_t size);
  Result<void> set_body_file(int fd, int64_t offset, int64_t size);
  Result<void> set_body_pieces(std::optional<uint64_t> size);
  Result<void> set_idempotent(bool idempotent);

  // E_BAD_FIELD, E_BAD_BODY for parts that contradict each other; it can then still be changed.
  // Any thread.
  Result<std::shared_ptr<const FrozenRequest>> freeze();

 private:
  Request() = default;
  Result<void> check_changeable() const;
  Result<void> check_whole() const;
  Result<void> count(size_t* bytes, size_t fields, std::string_view what, size_t size) const;

  std::atomic<bool> frozen_{false};
  std::mutex mutex_;  // of the first freeze
  std::shared_ptr<FrozenRequest> parts_;
  std::optional<uint64_t> content_length_;
  bool has_host_ = false;
  std::optional<bool> declared_idempotent_;
  size_t header_bytes_ = 0;
  size_t trailer_bytes_ = 0;
};

}  // namespace conpool::client
