// OpenSSL's error queue as text.
#include "tls/errors.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace conpool::tls {

namespace {

constexpr size_t kMaxText = 512;

void append_reason(unsigned long code, const char* data, int flags, std::string* text) {
  const char* reason = ERR_reason_error_string(code);
  std::string one = reason != nullptr ? reason : "error " + std::to_string(ERR_GET_REASON(code));
  if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') {
    one += std::string(" (") + data + ")";
  }
  if (text->find(one) != std::string::npos || text->size() + one.size() > kMaxText) return;
  if (!text->empty()) *text += "; ";
  *text += one;
}

}  // namespace

QueuedError take_errors() {
  QueuedError result;
  const char* data = nullptr;
  int flags = 0;
  bool from_tls = false;
  while (unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    const int reason = ERR_GET_REASON(code);
    if (reason == ERR_R_MALLOC_FAILURE) result.out_of_memory = true;
    if (reason == ERR_R_INTERNAL_ERROR) result.internal = true;
    const bool tls = ERR_GET_LIB(code) == ERR_LIB_SSL;
    if (tls && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
      result.alert = reason - SSL_AD_REASON_OFFSET;
    }
    if (result.code == 0 || (tls && !from_tls)) result.code = code;
    from_tls = from_tls || tls;
    append_reason(code, data, flags, &result.text);
  }
  return result;
}

ErrorScope::ErrorScope() {
  ERR_clear_error();
}
ErrorScope::~ErrorScope() {
  ERR_clear_error();
}

Unexpected config_failure(const std::string& what) {
  const QueuedError error = take_errors();
  if (error.out_of_memory) return fail(Status::E_NOMEM, what);
  return fail(Status::E_TLS_CONFIG, error.text.empty() ? what : what + ": " + error.text);
}

}  // namespace conpool::tls
