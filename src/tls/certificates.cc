// Makes keys and certificates at run time.
#include "tls/certificates.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/errors.h"
#include "tls/pem.h"

namespace conpool::tls {

namespace {

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* object) const noexcept { Free(object); }
};
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES, GENERAL_NAMES_free>>;
using UsagePtr =
    std::unique_ptr<EXTENDED_KEY_USAGE, Freed<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free>>;
using BasicPtr =
    std::unique_ptr<BASIC_CONSTRAINTS, Freed<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;

bool add_name(GENERAL_NAMES* names, int type, const void* data, size_t size) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* value = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
  if (name == nullptr || value == nullptr ||
      ASN1_STRING_set(value, data, static_cast<int>(size)) != 1) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return false;
  }
  GENERAL_NAME_set0_value(name, type, value);
  if (sk_GENERAL_NAME_push(names, name) > 0) return true;
  GENERAL_NAME_free(name);
  return false;
}

bool add_names(X509* certificate, const CertificateRequest& request) {
  if (request.names.empty() && request.ips.empty()) return true;
  const NamesPtr names(GENERAL_NAMES_new());
  if (names == nullptr) return false;
  for (const std::string& name : request.names) {
    if (!add_name(names.get(), GEN_DNS, name.data(), name.size())) return false;
  }
  for (const std::string& ip : request.ips) {
    unsigned char bytes[16];
    const bool v4 = inet_pton(AF_INET, ip.c_str(), bytes) == 1;
    if (!v4 && inet_pton(AF_INET6, ip.c_str(), bytes) != 1) return false;
    if (!add_name(names.get(), GEN_IPADD, bytes, v4 ? 4 : 16)) return false;
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) == 1;
}

bool add_purpose(X509* certificate, const CertificateRequest& request) {
  const BasicPtr basic(BASIC_CONSTRAINTS_new());
  if (basic == nullptr) return false;
  basic->ca = request.authority ? 0xff : 0;
  if (X509_add1_ext_i2d(certificate, NID_basic_constraints, basic.get(), 1, 0) != 1) return false;
  if (request.authority) return true;
  const UsagePtr usage(EXTENDED_KEY_USAGE_new());
  if (usage == nullptr) return false;
  ASN1_OBJECT* object = OBJ_nid2obj(request.client ? NID_client_auth : NID_server_auth);
  if (sk_ASN1_OBJECT_push(usage.get(), object) <= 0) return false;
  return X509_add1_ext_i2d(certificate, NID_ext_key_usage, usage.get(), 0, 0) == 1;
}

bool set_common_name(X509_NAME* name, const std::string& text) {
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

// Signed by `signer`'s key; by its own when `issuer` is null.
X509Ptr sign(const Library& library, const CertificateRequest& request, int64_t serial,
             EVP_PKEY* key, X509* issuer, EVP_PKEY* signer) {
  X509Ptr certificate(X509_new_ex(library.context(), nullptr));
  X509* raw = certificate.get();
  if (raw == nullptr || X509_set_version(raw, X509_VERSION_3) != 1 ||
      ASN1_INTEGER_set_int64(X509_get_serialNumber(raw), serial) != 1 ||
      !set_common_name(X509_get_subject_name(raw), request.common_name) ||
      X509_set_issuer_name(raw, X509_get_subject_name(issuer != nullptr ? issuer : raw)) != 1 ||
      ASN1_TIME_set(X509_getm_notBefore(raw), static_cast<time_t>(request.not_before)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(raw), static_cast<time_t>(request.not_after)) == nullptr ||
      X509_set_pubkey(raw, key) != 1 || !add_purpose(raw, request) || !add_names(raw, request) ||
      X509_sign(raw, signer, EVP_sha256()) == 0) {
    return nullptr;
  }
  return certificate;
}

KeyPtr make_key(const Library& library) {
  return KeyPtr(EVP_PKEY_Q_keygen(library.context(), nullptr, "EC", "P-256"));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string certificate_pem(X509* certificate) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (out == nullptr || PEM_write_bio_X509(out.get(), certificate) != 1) return {};
  return text_of(out.get());
}

std::string key_pem(EVP_PKEY* key) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (out == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return {};
  }
  return text_of(out.get());
}

Result<Certificate> as_pem(X509* certificate, EVP_PKEY* key) {
  Certificate pem{certificate_pem(certificate), key_pem(key)};
  if (pem.certificate_pem.empty() || pem.key_pem.empty()) {
    return config_failure("a certificate cannot be written");
  }
  return pem;
}

}  // namespace

Authority::~Authority() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

Result<std::unique_ptr<Authority>> Authority::make(std::shared_ptr<Library> library,
                                                   const std::string& common_name,
                                                   int64_t not_before, int64_t not_after) {
  ErrorScope errors;
  std::unique_ptr<Authority> authority(new Authority);
  authority->library_ = std::move(library);
  const CertificateRequest request{.common_name = common_name,
                                   .not_before = not_before,
                                   .not_after = not_after,
                                   .authority = true};
  KeyPtr key = make_key(*authority->library_);
  if (key == nullptr) return config_failure("a key cannot be made");
  X509Ptr certificate =
      sign(*authority->library_, request, ++authority->serial_, key.get(), nullptr, key.get());
  if (certificate == nullptr) return config_failure("an authority cannot be made");
  authority->certificate_pem_ = conpool::tls::certificate_pem(certificate.get());
  authority->key_ = key.release();
  authority->certificate_ = certificate.release();
  return authority;
}

Result<Certificate> Authority::issue(const CertificateRequest& request) {
  ErrorScope errors;
  const KeyPtr key = make_key(*library_);
  if (key == nullptr) return config_failure("a key cannot be made");
  const X509Ptr certificate = sign(*library_, request, ++serial_, key.get(), certificate_, key_);
  if (certificate == nullptr) return config_failure("a certificate cannot be issued");
  return as_pem(certificate.get(), key.get());
}

Result<Certificate> self_signed(const std::shared_ptr<Library>& library,
                                const CertificateRequest& request) {
  ErrorScope errors;
  const KeyPtr key = make_key(*library);
  if (key == nullptr) return config_failure("a key cannot be made");
  const X509Ptr certificate = sign(*library, request, 1, key.get(), nullptr, key.get());
  if (certificate == nullptr) return config_failure("a certificate cannot be made");
  return as_pem(certificate.get(), key.get());
}

}  // namespace conpool::tls
