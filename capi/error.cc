// Errors: what failed, and all that was tried.
#include "capi/handles.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

const Attempt* attempt_at(const conpool_error* error, size_t index) {
  if (error == nullptr) return nullptr;
  const std::vector<Attempt>& attempts = error_of(error)->error().attempts;
  return index < attempts.size() ? &attempts[index] : nullptr;
}

}  // namespace

conpool_status conpool_error_status(const conpool_error* error) noexcept {
  return error == nullptr ? CONPOOL_OK : code(error_of(error)->error().cause.status);
}

int32_t conpool_error_phase(const conpool_error* error) noexcept {
  return error == nullptr ? CONPOOL_PHASE_NONE
                          : static_cast<int32_t>(error_of(error)->error().phase);
}

int32_t conpool_error_proof(const conpool_error* error) noexcept {
  return error == nullptr ? CONPOOL_PROOF_NEVER_SENT
                          : static_cast<int32_t>(error_of(error)->error().proof);
}

int32_t conpool_error_os_errno(const conpool_error* error) noexcept {
  return error == nullptr ? 0 : error_of(error)->error().cause.os_error;
}

int64_t conpool_error_h2_code(const conpool_error* error) noexcept {
  if (error == nullptr) return -1;
  const Failure& cause = error_of(error)->error().cause;
  const int32_t status = code(cause.status);
  const bool of_h2 = status <= CONPOOL_E_H2_PROTOCOL && status >= CONPOOL_E_H2_HTTP_1_1_REQUIRED;
  return of_h2 ? static_cast<int64_t>(cause.h2_error) : -1;
}

int64_t conpool_error_tls_verify(const conpool_error* error) noexcept {
  return error == nullptr ? 0 : error_of(error)->error().cause.tls_verify;
}

int64_t conpool_error_retry_after(const conpool_error* error) noexcept {
  return error == nullptr ? -1 : error_of(error)->error().retry_after;
}

const char* conpool_error_line(const conpool_error* error) noexcept {
  const char* text = "";
  if (error != nullptr) {
    guard([&] {
      text = error_of(error)->line().c_str();
      return 0;
    });
  }
  return text;
}

const char* conpool_error_report(const conpool_error* error) noexcept {
  const char* text = "";
  if (error != nullptr) {
    guard([&] {
      text = error_of(error)->report().c_str();
      return 0;
    });
  }
  return text;
}

size_t conpool_error_attempt_count(const conpool_error* error) noexcept {
  return error == nullptr ? 0 : error_of(error)->error().attempts.size();
}

const char* conpool_error_attempt_target(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? nullptr : attempt->target.c_str();
}

conpool_status conpool_error_attempt_status(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? code(Status::E_INVALID) : code(attempt->failure.status);
}

int32_t conpool_error_attempt_phase(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? CONPOOL_PHASE_NONE : static_cast<int32_t>(attempt->phase);
}

int32_t conpool_error_attempt_os_errno(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? 0 : attempt->failure.os_error;
}

int64_t conpool_error_attempt_started(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? 0 : attempt->started;
}

int64_t conpool_error_attempt_duration(const conpool_error* error, size_t index) noexcept {
  const Attempt* attempt = attempt_at(error, index);
  return attempt == nullptr ? 0 : attempt->duration;
}

void conpool_error_free(conpool_error* error) noexcept {
  if (error != nullptr && !inherited_object(object_of<ops::Object>(error)))
    object_of<ops::ErrorObject>(error)->dispose();
}
