// The classes of failures.
#include "policy/call_outcome.h"

#include <cerrno>

namespace conpool::policy {

bool local_shortage(const Failure& failure) {
  switch (failure.os_error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
      return true;
    default:
      return failure.status == Status::E_FD_LIMIT || failure.status == Status::E_NOMEM;
  }
}

CallOutcome outcome_of_dial(const Failure& failure) {
  if (local_shortage(failure)) return CallOutcome::Ignored;
  switch (failure.status) {
    case Status::E_TLS_CERTIFICATE:
    case Status::E_TLS_CONFIG:
      return CallOutcome::Ignored;
    default:
      break;
  }
  switch (status_class(failure.status)) {
    case StatusClass::CONNECT:
    case StatusClass::TLS:
      return CallOutcome::Failure;
    default:
      return CallOutcome::Ignored;
  }
}

bool hung_up(const Failure& failure, const FailedSend& send) {
  if (!send.fresh || send.stale || local_shortage(failure)) return false;
  switch (failure.status) {
    case Status::E_HTTP_NO_RESPONSE:
    case Status::E_CONNECTION_CLOSED:
    case Status::E_CONNECTION_RESET:
    case Status::E_CONNECTION_FAILED:
      return true;
    default:
      return false;
  }
}

CallOutcome outcome_of_send(const Failure& failure, const FailedSend& send) {
  if (send.stale || local_shortage(failure)) return CallOutcome::Ignored;
  if (send.proof != Proof::MaybeProcessed) {
    // A peer that accepts and ends at once is down, even though nothing was lost with it.
    const bool down = status_class(failure.status) == StatusClass::CONNECT ||
                      failure.status == Status::E_H2_PREFACE;
    return send.fresh && down ? CallOutcome::Failure : CallOutcome::Ignored;
  }
  switch (failure.status) {
    case Status::E_HTTP_BODY_LIMIT:
    case Status::E_HTTP_BODY_SOURCE:
    case Status::E_HTTP_BODY_LENGTH:
      return CallOutcome::Ignored;
    default:
      return of_connection(failure.status) ? CallOutcome::Failure : CallOutcome::Ignored;
  }
}

}  // namespace conpool::policy
