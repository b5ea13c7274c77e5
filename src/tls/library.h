// The process's own OpenSSL: a private library context, and a seeded one for the simulated world.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace conpool::tls {

// One OSSL_LIB_CTX with its providers and its source of randomness. Every TLS object of conpool is
// made inside one, never inside the host program's default context.
//
// process(): made by the first call of the process and never freed, because loops may still run
// while the process exits. Call it BEFORE registering the exit handler that parks loops: OpenSSL
// registers its own cleanup during this call, and exit handlers run in reverse order.
//
// seeded(): a context of its own whose every random byte comes from a seed, so that handshakes
// repeat byte for byte. For one thread, and never for real connections.
class Library {
 public:
  // `system_policy`: load the system's openssl.cnf; the first call decides. Thread-safe.
  // E_TLS_CONFIG when OpenSSL cannot be initialised.
  static Result<std::shared_ptr<Library>> process(bool system_policy);
  // `unix_time` is the wall clock that certificates are judged by, in seconds; it stands still.
  static Result<std::shared_ptr<Library>> seeded(uint64_t seed, int64_t unix_time);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  OSSL_LIB_CTX* context() const { return context_; }
  bool is_seeded() const { return seeded_; }
  // Seconds since 1970 that certificates are judged by; 0 = the system's clock.
  int64_t unix_time() const { return unix_time_; }
  // Frees what OpenSSL keeps for the calling thread; the last thing a loop's thread does.
  void thread_stop();

 private:
  Library() = default;

  OSSL_LIB_CTX* context_ = nullptr;
  OSSL_PROVIDER* default_provider_ = nullptr;
  OSSL_PROVIDER* seeded_provider_ = nullptr;
  bool seeded_ = false;
  int64_t unix_time_ = 0;
};

// Of the OpenSSL that runs.
std::string openssl_version();

}  // namespace conpool::tls
