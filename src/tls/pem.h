// PEM texts as OpenSSL objects of one library.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/library.h"

namespace conpool::tls {

struct X509Deleter {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using X509Ptr = std::unique_ptr<X509, X509Deleter>;
struct KeyDeleter {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyDeleter>;

// Every certificate of the text, at least one. `what` names the option in the error.
Result<std::vector<X509Ptr>> read_certificates(const Library& library, const std::string& pem,
                                               const std::string& what);
// A key without a passphrase; it never asks for one.
Result<KeyPtr> read_key(const Library& library, const std::string& pem, const std::string& what);
// Certificate, chain and key into a context.
Result<void> use_identity(const Library& library, SSL_CTX* context, const std::string& certificate,
                          const std::string& certificate_what, const std::string& key,
                          const std::string& key_what);
// The protocols in ALPN's wire form (RFC 7301 §3.1); E_TLS_CONFIG when one is empty or too long.
Result<std::string> alpn_wire(const std::vector<std::string>& protocols);

}  // namespace conpool::tls
