// What the end of a call says of its server. Pure.
//
//   what happened                                       outcome
//   response with a status of breaker.statuses          failure
//   response 429 (Too Many Requests)                    ignored: it paces the caller
//   any other response; a raw lease released reusable   success
//   response that took longer than breaker.slow         failure
//   refused, unreachable, connect or dial timeout       failure (of those that waited for the dial)
//   TLS handshake that broke off                        failure
//   no response in time, stall, reset, end, bad framing failure
//   certificate refused                                 ignored: a verdict on a name, no outage
//   the name does not exist, or DNS failed              ignored: answers are cached on their own
//   unprocessed by the peer's word (RFC 9113 §8.7)      ignored
//   used connection ended before an answer              ignored: a race, not an outage
//   new connection ended, whatever of it was sent       failure
//   new connection does not speak HTTP/2 after all      failure
//   cancelled, deadline of the op, our own limits       ignored
//   descriptors, ports or memory of this machine        ignored
#pragma once

#include "base/error.h"
#include "policy/breaker.h"

namespace conpool::policy {

// A shortage of this machine, which says nothing of the peer.
bool local_shortage(const Failure& failure);
CallOutcome outcome_of_dial(const Failure& failure);
// How a send ended that brought no whole response.
struct FailedSend {
  Proof proof = Proof::MaybeProcessed;
  bool stale = false;  // the used connection ended without a byte of an answer
  bool fresh = false;  // it was the connection's first
};
CallOutcome outcome_of_send(const Failure& failure, const FailedSend& send);
// Whether the peer accepted a connection only to end it: as good as a refused one, and so the
// address's failure, too.
bool hung_up(const Failure& failure, const FailedSend& send);

}  // namespace conpool::policy
