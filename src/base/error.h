// The error ledger: what failed, in what context, and every attempt that was made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/time.h"

namespace conpool {

// What became of a request when its op failed.
enum class Proof : uint8_t {
  NeverSent = 0,       // no byte of it was handed to the kernel
  NotProcessed = 1,    // sent, but the peer said that it did not process it
  MaybeProcessed = 2,  // sent; nobody can tell
};

// One try of something during the op: a DNS query or one address's connection.
struct Attempt {
  Phase phase = Phase::None;
  std::string target;  // "tcp:127.0.0.1:8088", "AAAA localhost @192.0.2.53:53"
  Nanos started = 0;   // since the op's (or dial's) start
  Nanos duration = 0;
  uint16_t round = 1;  // 1 + the number of dial retries before it
  Failure failure;     // status OK when this try itself succeeded
};

// Immutable once shared; several waiters share one.
struct Error {
  Failure cause;  // the innermost, most telling failure
  Phase phase = Phase::None;
  Proof proof = Proof::NeverSent;
  Nanos retry_after = -1;  // when a breaker may let it through, from the failure on; -1 = unknown
  // Inside out: "connecting to tcp:…", "connecting to localhost:8088", "after 3 retry attempts".
  std::vector<std::string> context;
  std::vector<Attempt> attempts;  // in the order of their start; limited to kMaxAttempts
  uint32_t attempts_dropped = 0;  // beyond the limit

  static constexpr size_t kMaxAttempts = 128;

  void add_attempt(Attempt attempt);
  // "connection refused (ECONNREFUSED), connecting to tcp:127.0.0.1:8088, after 3 retry attempts"
  std::string line() const;
  // The failure, the stack of contexts and the attempts, a line each and none at the end:
  //   connection refused (ECONNREFUSED)
  //     connecting to tcp:127.0.0.1:8088
  //     connecting to localhost:8088
  //     attempts:
  //       round 1: tcp:[::1]:8088: connection refused (ECONNREFUSED), started at 1.2ms, took 85us
  //       and 3 more, not kept
  std::string report() const;
};

using ErrorPtr = std::shared_ptr<const Error>;

// "connection refused (ECONNREFUSED)", with the detail appended as ": detail" when there is one.
std::string failure_text(const Failure& failure);
// For readers: "250ms", "1.5s", "12us", "0s"; rounded to three significant digits.
std::string duration_text(Nanos duration);
ErrorPtr make_error(Failure cause, Phase phase, std::vector<std::string> context = {});

}  // namespace conpool
