// The decision to send a request again.
#include "client/resend.h"

#include "base/limits.h"

namespace conpool::client {
namespace {

// Of the pool or of the caller, not of the connection: another one would not help.
bool own_failure(Status status) {
  return !of_connection(status) || status == Status::E_HTTP_BODY_SOURCE ||
         status == Status::E_HTTP_BODY_LENGTH;
}

bool count(uint32_t* used, uint32_t limit) {
  if (*used >= limit) return false;
  ++*used;
  return true;
}

}  // namespace

Resend Resends::decide(const SendEnd& end) {
  if (own_failure(end.status) || end.answered || !rules_.body_again) return Resend::No;
  if (end.needs_http1 && end.proof != Proof::MaybeProcessed) {
    if (!count(&http1_, limits::kHttp1Resends)) return Resend::No;
    return end.status == Status::E_H2_HTTP_1_1_REQUIRED ? Resend::Http1 : Resend::Preface;
  }
  switch (end.proof) {
    case Proof::NeverSent:
      return count(&unsent_, limits::kUnsentResends) ? Resend::Unsent : Resend::No;
    case Proof::NotProcessed:
      // Servers that take a few requests per connection and go away get on with them.
      if (end.status == Status::E_H2_GOAWAY && end.served) return Resend::Goaway;
      if (!count(&refused_, rules_.refused_limit)) return Resend::No;
      if (end.status == Status::E_H2_PREFACE) return Resend::Preface;
      return end.status == Status::E_H2_GOAWAY ? Resend::Goaway : Resend::Refused;
    case Proof::MaybeProcessed:
      break;
  }
  const bool again = end.stale && rules_.idempotent && count(&stale_, rules_.stale_limit);
  return again ? Resend::Stale : Resend::No;
}

const char* resend_text(Resend reason) {
  switch (reason) {
    case Resend::No:
      break;
    case Resend::Unsent:
      return "the connection ended before a byte was sent";
    case Resend::Stale:
      return "the used connection ended without an answer";
    case Resend::Refused:
      return "the server did not process it";
    case Resend::Goaway:
      return "the server went away without processing it";
    case Resend::Http1:
      return "the server demands HTTP/1.1";
    case Resend::Preface:
      return "the server does not speak HTTP/2";
    case Resend::Retry:
      return "the retry policy";
  }
  return "";
}

bool idempotent_method(std::string_view method) {
  for (const std::string_view name : {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}) {
    if (method == name) return true;
  }
  return false;
}

}  // namespace conpool::client
