// OpenSSL's error queue: read whole, once, and left empty.
#pragma once

#include <string>

#include "base/result.h"

namespace conpool::tls {

// What the calling thread's queue held.
struct QueuedError {
  unsigned long code = 0;  // of the TLS layer when it said something, else the first
  std::string text;        // the reasons, oldest first; bounded
  bool out_of_memory = false;
  bool internal = false;  // OpenSSL does not know itself what went wrong
  int alert = -1;  // that the peer sent, or -1
};

// Empties the queue.
QueuedError take_errors();

// An SSL call judges its result by the queue, so it must begin empty; and what we leave there would
// mislead the program we run in.
class ErrorScope {
 public:
  ErrorScope();
  ~ErrorScope();
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;
};

// E_TLS_CONFIG with `what` and OpenSSL's reason, or E_NOMEM when that is the reason.
Unexpected config_failure(const std::string& what);

}  // namespace conpool::tls
