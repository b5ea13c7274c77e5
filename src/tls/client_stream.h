// ClientStream: TLS to a server whose certificate must prove the name that was asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/context.h"
#include "tls/session_cache.h"
#include "tls/tls_stream.h"

struct ssl_session_st;  // OpenSSL's SSL_SESSION

namespace conpool::tls {

struct ClientConfig {
  std::shared_ptr<Context> context;
  // The DNS name or IP literal to verify: tls.server_name, else the endpoint's host. A trailing dot
  // is dropped. A name is sent as SNI, a literal never is (RFC 6066 §3).
  std::string name;
  // From ticket_key(); with an empty key or no cache every handshake is a full one.
  std::string ticket_key;
  std::shared_ptr<SessionCache> sessions;
  std::unique_ptr<Hop> hop;  // run first; may be null
  // Application protocols to offer in place of the context's (tls.alpn); empty: the context's.
  std::vector<std::string> alpn;
};

// Gives a client context the callbacks for verification and new sessions.
void install_client_verbs(SSL_CTX* context, bool insecure);

// The name as it is verified: without the trailing dot and brackets. `literal` tells whether it is
// an IP address.
std::string verify_name(std::string_view name, bool* literal);

class ClientStream final : public TlsStream {
 public:
  // Starts on a lower stream that is connected; may be called inside its on_connected. On failure
  // the lower stream is closed. Everything later comes through the handler, set before the turn
  // ends: on_connected once the peer is verified, or on_failed.
  static Result<std::unique_ptr<ClientStream>> make(io::Loop& loop,
                                                    std::unique_ptr<io::Stream> lower,
                                                    ClientConfig config);
  ~ClientStream() override;

  Context& context() { return *config_.context; }

 private:
  friend struct ClientVerbs;
  ClientStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, ClientConfig config);
  Result<void> prepare();
  Result<void> set_identity();
  Result<void> set_alpn();
  const std::vector<std::string>& offered() const {
    return config_.alpn.empty() ? config_.context->alpn() : config_.alpn;
  }
  void offer_ticket();
  Result<void> accept_handshake() override;
  Result<void> recheck();
  Failure explain(Failure failure) override;
  void out_of_memory() override { config_.context->spoil(); }
  bool on_verified(bool ok, X509_STORE_CTX* store);
  bool on_session(ssl_session_st* session);
  void keep_sessions();

  ClientConfig config_;
  std::string name_;  // without the trailing dot
  bool literal_ = false;
  std::string key_;                // the caller's key with what this stream knows itself
  std::vector<SessionPtr> fresh_;  // sessions that came before the handshake was accepted
  int64_t verify_error_ = 0;       // the first one
  std::string verify_detail_;
};

}  // namespace conpool::tls
