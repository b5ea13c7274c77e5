// Reads PEM texts.
#include "tls/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "tls/errors.h"

namespace conpool::tls {

namespace {

struct BioDeleter {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr open_text(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Without a callback OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

Result<std::vector<X509Ptr>> read_certificates(const Library& library, const std::string& pem,
                                               const std::string& what) {
  ErrorScope errors;
  const BioPtr text = open_text(pem);
  if (text == nullptr) return config_failure(what);
  std::vector<X509Ptr> certificates;
  for (;;) {
    X509* certificate = X509_new_ex(library.context(), nullptr);
    if (certificate == nullptr) return config_failure(what);
    X509Ptr owner(certificate);
    if (PEM_read_bio_X509(text.get(), &certificate, no_passphrase, nullptr) == nullptr) {
      owner.release();  // freed, or set to null, by the failed read
      if (certificate != nullptr) X509_free(certificate);
      break;
    }
    certificates.push_back(std::move(owner));
  }
  const unsigned long last = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (at_end && !certificates.empty()) return certificates;
  if (at_end) {
    ERR_clear_error();
    return config_failure(what + " has no certificate; PEM text (BEGIN CERTIFICATE) is expected");
  }
  return config_failure(what + ": certificate " + std::to_string(certificates.size() + 1) +
                        " cannot be read");
}

Result<KeyPtr> read_key(const Library& library, const std::string& pem, const std::string& what) {
  ErrorScope errors;
  const BioPtr text = open_text(pem);
  if (text == nullptr) return config_failure(what);
  KeyPtr key(PEM_read_bio_PrivateKey_ex(text.get(), nullptr, no_passphrase, nullptr,
                                        library.context(), nullptr));
  if (key == nullptr) {
    return config_failure(what + " has no usable key; an unencrypted PEM private key is expected");
  }
  return key;
}

Result<void> use_identity(const Library& library, SSL_CTX* context, const std::string& certificate,
                          const std::string& certificate_what, const std::string& key,
                          const std::string& key_what) {
  Result<std::vector<X509Ptr>> chain = read_certificates(library, certificate, certificate_what);
  if (!chain) return fail(chain.error());
  Result<KeyPtr> private_key = read_key(library, key, key_what);
  if (!private_key) return fail(private_key.error());
  ErrorScope errors;
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return config_failure(certificate_what + " cannot be used");
  }
  for (size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) != 1) {
      return config_failure(certificate_what + " cannot be used");
    }
  }
  if (SSL_CTX_use_PrivateKey(context, private_key->get()) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return config_failure(key_what + " does not belong to " + certificate_what);
  }
  return {};
}

Result<std::string> alpn_wire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return fail(Status::E_TLS_CONFIG,
                  "tls.alpn: \"" + protocol + "\" is not a protocol; 1 to 255 bytes are expected");
    }
    wire.push_back(static_cast<char>(protocol.size()));
    wire += protocol;
  }
  return wire;
}

}  // namespace conpool::tls
