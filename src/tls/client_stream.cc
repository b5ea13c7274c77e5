// The client's side: identity, verification, tickets.
#include "tls/client_stream.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <exception>

#include "base/limits.h"
#include "tls/errors.h"
#include "tls/pem.h"

namespace conpool::tls {

namespace {

constexpr unsigned int kHostFlags =
    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;

bool is_ip(const std::string& text) {
  unsigned char out[16];
  return inet_pton(AF_INET, text.c_str(), out) == 1 || inet_pton(AF_INET6, text.c_str(), out) == 1;
}

bool is_current(X509* certificate, int64_t unix_time) {
  time_t now = unix_time != 0 ? static_cast<time_t>(unix_time) : std::time(nullptr);
  return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
         X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

}  // namespace

// Guarded trampolines: OpenSSL is C and must not see an exception.
struct ClientVerbs {
  static ClientStream* stream_of(SSL* ssl) {
    return static_cast<ClientStream*>(SSL_get_app_data(ssl));
  }
  static int verify(int ok, X509_STORE_CTX* store) noexcept {
    auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    ClientStream* stream = ssl != nullptr ? stream_of(ssl) : nullptr;
    if (stream == nullptr) return 0;
    try {
      return stream->on_verified(ok == 1, store) ? 1 : 0;
    } catch (const std::exception&) {
      return 0;
    }
  }
  static int session(SSL* ssl, SSL_SESSION* session) noexcept {
    ClientStream* stream = stream_of(ssl);
    if (stream == nullptr) return 0;
    try {
      return stream->on_session(session) ? 1 : 0;
    } catch (const std::exception&) {
      return 0;
    }
  }
};

void install_client_verbs(SSL_CTX* context, bool insecure) {
  if (insecure) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, ClientVerbs::verify);
  }
  SSL_CTX_set_session_cache_mode(
      context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
  SSL_CTX_sess_set_new_cb(context, ClientVerbs::session);
}

std::string verify_name(std::string_view name, bool* literal) {
  std::string text(name);
  if (text.size() > 1 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  *literal = is_ip(text);
  if (*literal) return text;
  // A scope is local to this host: certificates do not know it.
  if (const size_t scope = text.find('%'); scope != std::string::npos) {
    if (is_ip(text.substr(0, scope))) {
      *literal = true;
      return text.substr(0, scope);
    }
  }
  if (!text.empty() && text.back() == '.') text.pop_back();
  for (char& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

ClientStream::ClientStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, ClientConfig config)
    : TlsStream(loop, std::move(lower), config.context->scratch()), config_(std::move(config)) {}

ClientStream::~ClientStream() {
  free_ssl();
}

Result<std::unique_ptr<ClientStream>> ClientStream::make(io::Loop& loop,
                                                         std::unique_ptr<io::Stream> lower,
                                                         ClientConfig config) {
  std::unique_ptr<Hop> hop = std::move(config.hop);
  std::unique_ptr<ClientStream> stream(new ClientStream(loop, std::move(lower), std::move(config)));
  Result<void> done = stream->prepare();
  if (done) done = stream->start(std::move(hop));
  if (!done) {
    const Failure failure = done.error();
    loop.discard(std::unique_ptr<io::Stream>(std::move(stream)));
    return fail(failure);
  }
  return stream;
}

Result<void> ClientStream::prepare() {
  Context& context = *config_.context;
  name_ = verify_name(config_.name, &literal_);
  if (name_.empty() && !context.insecure()) {
    return fail(Status::E_TLS_CONFIG,
                "there is no name to verify the peer by; tls.server_name must be set");
  }
  if (name_.size() > limits::kHostNameBytes || name_.find('\0') != std::string::npos) {
    return fail(Status::E_TLS_CONFIG, "the name to verify must have at most " +
                                          std::to_string(limits::kHostNameBytes) +
                                          " bytes and no NUL among them");
  }
  if (Result<void> made = make_ssl(context.library(), context.native(), false); !made) return made;
  SSL_set_app_data(native(), this);
  if (Result<void> named = set_identity(); !named) return named;
  if (Result<void> offer = set_alpn(); !offer) return offer;
  offer_ticket();
  return {};
}

Result<void> ClientStream::set_identity() {
  ErrorScope errors;
  const int64_t wall = config_.context->library().unix_time();
  X509_VERIFY_PARAM* param = SSL_get0_param(native());
  if (wall != 0) X509_VERIFY_PARAM_set_time(param, static_cast<time_t>(wall));
  bool done = true;
  if (!literal_ && !name_.empty()) done = SSL_set_tlsext_host_name(native(), name_.c_str()) == 1;
  if (done && !config_.context->insecure()) {
    X509_VERIFY_PARAM_set_hostflags(param, kHostFlags);
    done = literal_ ? X509_VERIFY_PARAM_set1_ip_asc(param, name_.c_str()) == 1
                    : X509_VERIFY_PARAM_set1_host(param, name_.data(), name_.size()) == 1;
  }
  if (!done) {  // the name's form is checked, so only memory can be short
    out_of_memory();
    return fail(Status::E_NOMEM, "inside TLS");
  }
  return {};
}

Result<void> ClientStream::set_alpn() {
  if (config_.alpn.empty()) return {};  // the context's own
  Result<std::string> wire = alpn_wire(config_.alpn);
  if (!wire) return fail(std::move(wire.error()));
  ErrorScope errors;
  if (SSL_set_alpn_protos(native(), reinterpret_cast<const unsigned char*>(wire->data()),
                          static_cast<unsigned int>(wire->size())) != 0) {
    return fail(Status::E_NOMEM);
  }
  return {};
}

// --- tickets

void ClientStream::offer_ticket() {
  const Context& context = *config_.context;
  if (config_.sessions == nullptr || config_.ticket_key.empty() || !context.resumption()) {
    config_.sessions = nullptr;
    return;
  }
  // What this stream knows itself is in the key whatever the caller put there.
  TicketFields own;
  own.kind = config_.ticket_key;
  own.settings_id = context.serial();
  own.verify_name = name_;
  own.sni = literal_ ? std::string() : name_;
  own.alpn = offered();
  own.client_fingerprint = context.client_fingerprint();
  key_ = ticket_key(own);
  SessionPtr session = config_.sessions->take(key_, loop().now());
  if (session == nullptr) return;
  X509* peer = SSL_SESSION_get0_peer(session.get());
  if (!context.insecure() &&
      (peer == nullptr || !is_current(peer, context.library().unix_time()))) {
    return;  // a full handshake tells what is wrong with the certificate now
  }
  ErrorScope errors;
  // The offer carries the ticket's age by the wall clock, which a replay must not see.
  if (context.library().is_seeded()) SSL_SESSION_set_time(session.get(), std::time(nullptr));
  SSL_set_session(native(), session.get());
}

bool ClientStream::on_session(ssl_session_st* session) {
  if (config_.sessions == nullptr || SSL_SESSION_is_resumable(session) != 1) return false;
  SessionDeleter deleter{config_.context->library_pointer()};
  if (state() == State::Open) {
    SSL_SESSION_up_ref(session);  // ours first, so that a throw below takes nothing of OpenSSL's
    config_.sessions->put(key_, SessionPtr(session, std::move(deleter)), loop().now());
  } else if (fresh_.size() < SessionCache::kPerKey) {
    SSL_SESSION_up_ref(session);
    fresh_.push_back(SessionPtr(session, std::move(deleter)));
  }
  return false;  // OpenSSL keeps its own reference
}

void ClientStream::keep_sessions() {
  if (config_.sessions == nullptr) return;
  // A TLS 1.2 session may be used again unless the server has just replaced it.
  if (fresh_.empty() && SSL_session_reused(native()) == 1 &&
      SSL_version(native()) < TLS1_3_VERSION) {
    fresh_.push_back(
        SessionPtr(SSL_get1_session(native()), SessionDeleter{config_.context->library_pointer()}));
  }
  for (SessionPtr& session : fresh_)
    config_.sessions->put(key_, std::move(session), loop().now());
  fresh_.clear();
}

// --- the verdict

bool ClientStream::on_verified(bool ok, X509_STORE_CTX* store) {
  if (ok || verify_error_ != 0) return ok;
  verify_error_ = X509_STORE_CTX_get_error(store);
  verify_detail_ = X509_verify_cert_error_string(static_cast<long>(verify_error_));
  if (verify_error_ == X509_V_ERR_HOSTNAME_MISMATCH ||
      verify_error_ == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    verify_detail_ += " for " + name_;
  }
  verify_detail_ += " (depth " + std::to_string(X509_STORE_CTX_get_error_depth(store)) +
                    "): " + certificate_text(X509_STORE_CTX_get_current_cert(store));
  return false;
}

Failure ClientStream::explain(Failure failure) {
  if (verify_error_ == 0) return failure;
  failure.status =
      verify_error_ == X509_V_ERR_OUT_OF_MEM ? Status::E_NOMEM : Status::E_TLS_CERTIFICATE;
  failure.tls_verify = verify_error_;
  failure.detail = verify_detail_;
  return failure;
}

Result<void> ClientStream::accept_handshake() {
  ErrorScope errors;
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(native(), &protocol, &size);
  if (size > 0) {
    const std::string chosen(reinterpret_cast<const char*>(protocol), size);
    const std::vector<std::string>& offer = offered();
    if (std::find(offer.begin(), offer.end(), chosen) == offer.end()) {
      return fail(Status::E_TLS_ALPN, "the peer chose a protocol that was not offered");
    }
  }
  if (!config_.context->insecure()) {
    if (Result<void> checked = recheck(); !checked) {
      if (config_.sessions != nullptr) config_.sessions->drop(key_);
      fresh_.clear();
      return checked;
    }
  }
  keep_sessions();
  return {};
}

// OpenSSL resumes a session of any name on a connection to any other, and one made without
// verification under verification: neither is noticed unless it is looked for.
Result<void> ClientStream::recheck() {
  const bool resumed = SSL_session_reused(native()) == 1;
  const std::string prefix = resumed ? "resumed session: " : "";
  X509* peer = SSL_get0_peer_certificate(native());
  const long result = SSL_get_verify_result(native());
  if (peer == nullptr || result != X509_V_OK) {
    return fail(
        Failure{.status = Status::E_TLS_CERTIFICATE,
                .tls_verify = result,
                .detail = prefix + (peer == nullptr ? "the peer has no certificate"
                                                    : X509_verify_cert_error_string(result))});
  }
  if (!resumed) return {};
  const int matches = literal_
                          ? X509_check_ip_asc(peer, name_.c_str(), kHostFlags)
                          : X509_check_host(peer, name_.data(), name_.size(), kHostFlags, nullptr);
  const char* hostname = SSL_SESSION_get0_hostname(SSL_get0_session(native()));
  const bool same_name = hostname == nullptr || (!literal_ && name_ == hostname);
  if (matches == 1 && same_name) return {};
  const int64_t code = literal_ ? X509_V_ERR_IP_ADDRESS_MISMATCH : X509_V_ERR_HOSTNAME_MISMATCH;
  return fail(Failure{.status = Status::E_TLS_CERTIFICATE,
                      .tls_verify = code,
                      .detail = prefix + "it belongs to another name than " + name_ + ": " +
                                certificate_text(peer)});
}

}  // namespace conpool::tls
