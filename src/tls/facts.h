// What a handshake established, and what certificates say, as values and as bounded text.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <string>

namespace conpool::tls {

struct TlsFacts {
  std::string version;      // "TLSv1.3"
  std::string cipher;       // "TLS_AES_128_GCM_SHA256"
  std::string alpn;         // what the peer chose; empty = none
  std::string server_name;  // the SNI that was sent; empty for IP literals
  bool resumed = false;
  bool verified = false;  // false under tls.insecure
  std::string peer_subject;
  std::string peer_issuer;
  std::string peer_not_before;  // "2026-01-31T12:00:00Z"
  std::string peer_not_after;
};

inline constexpr size_t kMaxNameText = 256;  // bytes of a subject or issuer in a text
inline constexpr size_t kMaxNames = 8;       // alternative names in a text

// One line; bytes that are not printable ASCII are written as \xHH.
std::string name_text(const X509_NAME* name);
std::string time_text(const ASN1_TIME* time);
// "subject CN=a, issuer CN=b, names a.example b.example, valid 2026-… to 2027-…".
std::string certificate_text(X509* certificate);
TlsFacts read_facts(SSL* ssl);

}  // namespace conpool::tls
