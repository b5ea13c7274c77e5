// Whether the retry policy may send a request again that failed. Pure; the delay and the budget are
// policy's (policy/retry.h).
//
//   what failed                                       may be repeated
//   the dial, or the send before any of it left       any request
//   the send, unprocessed by the peer's word          any request
//   the send, without a byte of the response          idempotent and declared requests
//   a status of retry.statuses                        idempotent and declared requests
//   a certificate, a name that does not exist, the    none
//     pool's own limits, the op's deadline, cancel
//   the send, after a byte of the response            none
//
// (RFC 9110 §9.2.2.)
#pragma once

#include "base/error.h"

namespace conpool::client {

struct FailedTry {
  Failure failure;
  Proof proof = Proof::NeverSent;
  bool answered = false;  // a byte of a response came
};
bool may_retry(const FailedTry& end, bool idempotent);
// Our patience ended: such a retry costs more of the budget.
bool was_timeout(Status status);

}  // namespace conpool::client
