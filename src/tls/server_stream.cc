// The server's side of TLS.
#include "tls/server_stream.h"

#include <openssl/ssl.h>

#include <ctime>

#include "tls/errors.h"
#include "tls/pem.h"

namespace conpool::tls {

// Guarded trampolines: none of them allocates in C++.
struct ServerVerbs {
  static int choose_alpn(SSL*, const unsigned char** out, unsigned char* out_size,
                         const unsigned char* offered, unsigned int size, void* context) noexcept {
    const auto* self = static_cast<const ServerContext*>(context);
    unsigned char* chosen = nullptr;
    const int result = SSL_select_next_proto(
        &chosen, out_size, reinterpret_cast<const unsigned char*>(self->alpn_wire_.data()),
        static_cast<unsigned int>(self->alpn_wire_.size()), offered, size);
    *out = chosen;
    if (result == OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_OK;
    return self->options_.alpn_required ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
  }

  // Tickets carry the wall clock; a replay must not see it. The life is long enough to be judged
  // by the real one.
  static int make_ticket(SSL* ssl, void* context) noexcept {
    const auto* self = static_cast<const ServerContext*>(context);
    SSL_SESSION* session = SSL_get0_session(ssl);
    SSL_SESSION_set_time(session, static_cast<long>(self->library_->unix_time()));
    SSL_SESSION_set_timeout(session, 0x70000000);
    return 1;
  }
};

Result<std::shared_ptr<ServerContext>> ServerContext::make(std::shared_ptr<Library> library,
                                                           ServerOptions options) {
  std::shared_ptr<ServerContext> context(new ServerContext);
  context->library_ = std::move(library);
  context->options_ = std::move(options);
  const Result<void> done = context->configure();
  if (!done) return fail(done.error());
  return context;
}

ServerContext::~ServerContext() {
  SSL_CTX_free(context_);
}

Result<void> ServerContext::configure() {
  ErrorScope errors;
  context_ = SSL_CTX_new_ex(library_->context(), nullptr, TLS_server_method());
  if (context_ == nullptr) return config_failure("a TLS context cannot be made");
  const int least = options_.min_version != 0 ? options_.min_version : TLS1_2_VERSION;
  if (SSL_CTX_set_min_proto_version(context_, least) != 1 ||
      SSL_CTX_set_max_proto_version(context_, options_.max_version) != 1) {
    return config_failure("the TLS versions cannot be set");
  }
  SSL_CTX_set_options(context_, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context_, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  Result<void> identity = use_identity(*library_, context_, options_.certificate_pem,
                                       "the certificate", options_.key_pem, "the key");
  if (!identity) return identity;
  Result<std::string> wire = alpn_wire(options_.alpn);
  if (!wire) return fail(wire.error());
  alpn_wire_ = std::move(*wire);
  if (!alpn_wire_.empty()) SSL_CTX_set_alpn_select_cb(context_, ServerVerbs::choose_alpn, this);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessions[] = "conpool";
  SSL_CTX_set_session_id_context(context_, kSessions, sizeof kSessions - 1);
  if (!options_.tickets) {
    SSL_CTX_set_options(context_, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context_, 0);
  }
  if (library_->is_seeded()) {
    SSL_CTX_set_session_ticket_cb(context_, ServerVerbs::make_ticket, nullptr, this);
  }
  if (options_.client_ca_pem.empty()) return {};
  Result<std::vector<X509Ptr>> authorities =
      read_certificates(*library_, options_.client_ca_pem, "the clients' authority");
  if (!authorities) return fail(authorities.error());
  for (const X509Ptr& authority : *authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context_, authority.get()) != 1) {
      return config_failure("the clients' authority cannot be used");
    }
  }
  const int must = options_.client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | must, nullptr);
  return {};
}

ServerStream::ServerStream(io::Loop& loop, std::unique_ptr<io::Stream> lower,
                           std::shared_ptr<ServerContext> context)
    : TlsStream(loop, std::move(lower), context->scratch()), context_(std::move(context)) {}

ServerStream::~ServerStream() {
  free_ssl();
}

Result<std::unique_ptr<ServerStream>> ServerStream::make(io::Loop& loop,
                                                         std::unique_ptr<io::Stream> lower,
                                                         std::shared_ptr<ServerContext> context) {
  std::unique_ptr<ServerStream> stream(
      new ServerStream(loop, std::move(lower), std::move(context)));
  ServerContext& own = *stream->context_;
  Result<void> done = stream->make_ssl(own.library(), own.native(), true);
  if (done) {
    const int64_t wall = own.library().unix_time();
    if (wall != 0) {
      X509_VERIFY_PARAM_set_time(SSL_get0_param(stream->native()), static_cast<time_t>(wall));
    }
    done = stream->start(nullptr);
  }
  if (!done) {
    const Failure failure = done.error();
    loop.discard(std::unique_ptr<io::Stream>(std::move(stream)));
    return fail(failure);
  }
  return stream;
}

}  // namespace conpool::tls
