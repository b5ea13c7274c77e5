// Whether a request that failed is sent again by itself. Pure.
//
// The rule: never when the server may have acted on it, unless acting twice has the effect of
// once; never after a byte of a response; never when its body cannot be given again; and each
// reason has a limit of its own.
//
//   what is known                                  idempotent           otherwise
//   nothing of it was handed to the kernel         again                again
//   the peer demands HTTP/1.1, or speaks no h2     again over HTTP/1.1  again over HTTP/1.1
//     but HTTP/2 alone is allowed                as not processed     as not processed
//   the peer said that it did not process it       again                again
//     and went away after it had served others     again, not counted   again, not counted
//   a used connection ended without a byte of the  again, on a new      fails
//   response                                       connection
//   anything else                                  fails                fails
//
// (RFC 9110 §9.2.2, RFC 9112 §9.3.1, RFC 9113 §8.7.)
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace conpool::client {

// Why it is sent again. Retry is the retry policy's (call_retry.cc), not decided here.
enum class Resend : uint8_t { No, Unsent, Stale, Refused, Goaway, Http1, Preface, Retry };

// How one sending ended.
struct SendEnd {
  Status status = Status::OK;
  Proof proof = Proof::MaybeProcessed;
  bool stale = false;        // the used connection ended without a byte of the response
  bool needs_http1 = false;  // must be sent over HTTP/1.1, and may be
  bool served = false;       // the connection has completed exchanges
  bool answered = false;     // a byte of a response came, interim ones included
};

struct ResendRules {
  bool idempotent = false;     // by its method, or declared
  bool body_again = true;      // there is none, it can be read again, or nothing of it was taken
  uint32_t stale_limit = 1;    // retry.stale
  uint32_t refused_limit = 3;  // retry.refused
};

class Resends {
 public:
  explicit Resends(const ResendRules& rules) : rules_(rules) {}
  void body_was_taken() { rules_.body_again = false; }
  // Decides, and counts.
  Resend decide(const SendEnd& end);

 private:
  ResendRules rules_;
  uint32_t unsent_ = 0;
  uint32_t stale_ = 0;
  uint32_t refused_ = 0;
  uint32_t http1_ = 0;
};

// "the used connection had ended", for events and readouts.
const char* resend_text(Resend reason);
// RFC 9110 §9.2.2.
bool idempotent_method(std::string_view method);

}  // namespace conpool::client
