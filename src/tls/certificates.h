// Certificates made at run time: a small authority for the demo origin, simulated servers and
// tests.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/library.h"

namespace conpool::tls {

struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> names;  // DNS names; any bytes
  std::vector<std::string> ips;    // literals
  int64_t not_before = 0;          // seconds since 1970
  int64_t not_after = 0;
  bool authority = false;  // may sign others
  bool client = false;     // for client authentication instead of server authentication
};

// Keys are P-256. Not for production: serial numbers count up from one.
class Authority {
 public:
  static Result<std::unique_ptr<Authority>> make(std::shared_ptr<Library> library,
                                                 const std::string& common_name, int64_t not_before,
                                                 int64_t not_after);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  const std::string& certificate_pem() const { return certificate_pem_; }
  Result<Certificate> issue(const CertificateRequest& request);

 private:
  Authority() = default;

  std::shared_ptr<Library> library_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  std::string certificate_pem_;
  int64_t serial_ = 0;
};

// A certificate signed by its own key.
Result<Certificate> self_signed(const std::shared_ptr<Library>& library,
                                const CertificateRequest& request);

}  // namespace conpool::tls
