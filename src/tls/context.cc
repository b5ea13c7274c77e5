// Builds client contexts from the tls.* options.
#include "tls/context.h"

#include <openssl/ssl.h>

#include <atomic>
#include <cstdio>

#include "tls/client_stream.h"
#include "tls/errors.h"
#include "tls/pem.h"

namespace conpool::tls {

namespace {

std::atomic<uint64_t> next_serial{1};

// "tls.ca_file (/path)" when the text came from a file, else "tls.ca_pem".
std::string source(std::string_view option, const std::string& file) {
  const std::string name(option);
  return file.empty() ? name + "_pem" : name + "_file (" + file + ")";
}

// Puts AES-128 first (it is the cheapest) without adding what the system's policy has removed.
void prefer_aes128(SSL_CTX* context) {
  std::string suites;
  STACK_OF(SSL_CIPHER)* ciphers = SSL_CTX_get_ciphers(context);
  bool has_aes128 = false;
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers, i);
    if (std::string_view(SSL_CIPHER_get_version(cipher)) != "TLSv1.3") continue;
    const std::string name = SSL_CIPHER_get_name(cipher);
    if (name == "TLS_AES_128_GCM_SHA256") {
      has_aes128 = true;
    } else {
      suites += ":" + name;
    }
  }
  if (has_aes128) SSL_CTX_set_ciphersuites(context, ("TLS_AES_128_GCM_SHA256" + suites).c_str());
}

std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view part = list.substr(0, comma);
    while (!part.empty() && part.front() == ' ')
      part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ')
      part.remove_suffix(1);
    parts.emplace_back(part);
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return parts;
}

std::string fingerprint(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return {};
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%02x", digest[i]);
    text += hex;
  }
  return text;
}

}  // namespace

std::span<uint8_t> Scratch::space(size_t least) {
  if (slab_ != nullptr) {
    if (slab_->unique()) used_ = 0;
    if (slab_->capacity() - used_ < least) reset();
  }
  if (slab_ == nullptr) slab_ = Slab::make(least > Slab::kSize ? least : Slab::kSize);
  return {slab_->data() + used_, slab_->capacity() - used_};
}

Slice Scratch::take(size_t size) {
  Slice slice(slab_, slab_->data() + used_, size);
  used_ += size;
  return slice;
}

void Scratch::reset() {
  if (slab_ != nullptr) std::exchange(slab_, nullptr)->unref();
  used_ = 0;
}

Context::~Context() {
  SSL_CTX_free(context_);
}

Result<std::shared_ptr<Context>> make_context(std::shared_ptr<Library> library,
                                              const Values& values) {
  std::shared_ptr<Context> context(new Context);
  context->library_ = std::move(library);
  context->serial_ = next_serial.fetch_add(1, std::memory_order_relaxed);
  const Result<void> done = context->configure(values);
  if (!done) return fail(done.error());
  return context;
}

Result<void> Context::configure(const Values& values) {
  ErrorScope errors;
  insecure_ = values.tls_insecure != 0;
  resumption_ = values.tls_resumption != 0;
  context_ = SSL_CTX_new_ex(library_->context(), nullptr, TLS_client_method());
  if (context_ == nullptr) return config_failure("a TLS context cannot be made");
  const bool only13 = values.tls_min_version == static_cast<int64_t>(TlsMinVersion::V1_3);
  const long wanted = only13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  // The system's policy may ask for more than we do, never for less.
  if (SSL_CTX_get_min_proto_version(context_) < wanted &&
      SSL_CTX_set_min_proto_version(context_, static_cast<int>(wanted)) != 1) {
    return config_failure("tls.min_version cannot be set");
  }
  SSL_CTX_set_options(context_, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_clear_options(context_, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
  SSL_CTX_clear_mode(context_, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_mode(context_, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  prefer_aes128(context_);
  if (const Result<void> trust = load_trust(values); !trust) return trust;
  if (const Result<void> identity = load_identity(values); !identity) return identity;
  if (const Result<void> alpn = set_alpn(values); !alpn) return alpn;
  install_client_verbs(context_, insecure_);
  return {};
}

Result<void> Context::load_trust(const Values& values) {
  if (insecure_) return {};
  if (values.tls_ca_pem.empty()) {
    if (SSL_CTX_set_default_verify_paths(context_) != 1) {
      return config_failure(
          "the system's trusted certificates cannot be loaded; tls.ca_file names others");
    }
    return {};
  }
  const std::string what = source("tls.ca", values.tls_ca_file);
  Result<std::vector<X509Ptr>> certificates = read_certificates(*library_, values.tls_ca_pem, what);
  if (!certificates) return fail(certificates.error());
  X509_STORE* store = SSL_CTX_get_cert_store(context_);
  for (const X509Ptr& certificate : *certificates) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) {
      return config_failure(what + " cannot be used");
    }
  }
  return {};
}

Result<void> Context::load_identity(const Values& values) {
  if (values.tls_cert_pem.empty() && values.tls_key_pem.empty()) return {};
  const std::string certificate = source("tls.cert", values.tls_cert_file);
  const std::string key = source("tls.key", values.tls_key_file);
  if (values.tls_cert_pem.empty() || values.tls_key_pem.empty()) {
    return fail(Status::E_TLS_CONFIG,
                "a client certificate needs both tls.cert_pem and tls.key_pem "
                "(or their _file forms); one is missing");
  }
  Result<void> used =
      use_identity(*library_, context_, values.tls_cert_pem, certificate, values.tls_key_pem, key);
  if (!used) return used;
  client_fingerprint_ = fingerprint(SSL_CTX_get0_certificate(context_));
  return {};
}

Result<void> Context::set_alpn(const Values& values) {
  alpn_ = split_list(values.tls_alpn);
  if (alpn_.empty()) return {};
  Result<std::string> wire = alpn_wire(alpn_);
  if (!wire) return fail(wire.error());
  // 0 is success here, unlike everywhere else.
  if (SSL_CTX_set_alpn_protos(context_, reinterpret_cast<const unsigned char*>(wire->data()),
                              static_cast<unsigned int>(wire->size())) != 0) {
    return config_failure("tls.alpn cannot be set");
  }
  return {};
}

Result<std::shared_ptr<Context>> ContextCache::get(uint64_t settings_id, const Values& values) {
  const auto found = contexts_.find(settings_id);
  if (found != contexts_.end()) {
    if (!found->second->spoiled()) return found->second;
    contexts_.erase(found);
  }
  Result<std::shared_ptr<Context>> context = make_context(library_, values);
  if (context) contexts_.emplace(settings_id, *context);
  return context;
}

}  // namespace conpool::tls
