// The BIO between OpenSSL and a TlsStream: reads the slice at hand, appends to the pending output.
#pragma once

#include <openssl/bio.h>

#include <cstddef>

namespace conpool::tls {

// What the BIO calls; both may throw, the BIO's trampolines catch.
class BioEnd {
 public:
  // Bytes copied; 0 = none at hand now.
  virtual size_t bio_read(char* out, size_t size) = 0;
  // False = refused for good.
  virtual bool bio_write(const char* data, size_t size) = 0;
  virtual void bio_no_memory() noexcept = 0;

 protected:
  ~BioEnd() = default;
};

// Null when memory is short.
BIO* make_bio(OSSL_LIB_CTX* library, BioEnd* end);

}  // namespace conpool::tls
