// What the retry policy repeats.
#include "client/retry.h"

namespace conpool::client {
namespace {

// Not the question of a resend (resend.cc), which asks at once whether another connection would
// help: a retry also follows dials that failed, and time may have mended names and descriptors
// meanwhile, but neither certificates nor what the same response would meet again.
bool another_try_may_help(Status status) {
  switch (status) {
    case Status::E_TLS_CERTIFICATE:
    case Status::E_TLS_CONFIG:
    case Status::E_HTTP_BODY_SOURCE:
    case Status::E_HTTP_BODY_LENGTH:
    case Status::E_HTTP_BODY_LIMIT:
    case Status::E_HTTP_HEADER_LIMIT:
    case Status::E_HTTP_INTERIM_LIMIT:
    case Status::E_HTTP_UPGRADED:
      return false;
    case Status::E_DNS_TIMEOUT:
    case Status::E_DNS_SERVER_FAILURE:
    case Status::E_DNS_UNREACHABLE:
    case Status::E_FD_LIMIT:
      return true;
    default:
      return of_connection(status);
  }
}

}  // namespace

bool may_retry(const FailedTry& end, bool idempotent) {
  if (end.answered || !another_try_may_help(end.failure.status)) return false;
  switch (end.proof) {
    case Proof::NeverSent:
      return true;
    case Proof::NotProcessed:
      // A server that ended without a word has not said so itself.
      return idempotent || end.failure.status == Status::E_H2_REFUSED ||
             end.failure.status == Status::E_H2_GOAWAY;
    case Proof::MaybeProcessed:
      break;
  }
  return idempotent;
}

bool was_timeout(Status status) {
  switch (status) {
    case Status::E_CONNECT_TIMEOUT:
    case Status::E_DIAL_TIMEOUT:
    case Status::E_TLS_TIMEOUT:
    case Status::E_STALL_TIMEOUT:
    case Status::E_HTTP_FIRST_BYTE_TIMEOUT:
    case Status::E_H2_PING_TIMEOUT:
    case Status::E_DNS_TIMEOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace conpool::client
