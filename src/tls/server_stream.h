// ServerStream: the server's side of TLS, for the demo origin, simulated servers and tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/tls_stream.h"

namespace conpool::tls {

struct ServerOptions {
  std::string certificate_pem;  // the leaf first, then its chain
  std::string key_pem;
  std::vector<std::string> alpn;  // in order of preference
  bool alpn_required = false;     // refuse clients that offer none of them
  int min_version = 0;            // TLS1_2_VERSION …; 0 = 1.2
  int max_version = 0;            // 0 = the newest
  bool tickets = true;            // let clients resume
  std::string client_ca_pem;      // ask for a client certificate of these
  bool client_certificate_required = false;
};

class ServerContext {
 public:
  // E_TLS_CONFIG or E_NOMEM.
  static Result<std::shared_ptr<ServerContext>> make(std::shared_ptr<Library> library,
                                                     ServerOptions options);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  SSL_CTX* native() const { return context_; }
  Library& library() const { return *library_; }
  Scratch& scratch() { return scratch_; }

 private:
  friend struct ServerVerbs;
  ServerContext() = default;
  Result<void> configure();

  std::shared_ptr<Library> library_;
  ServerOptions options_;
  std::string alpn_wire_;
  SSL_CTX* context_ = nullptr;
  Scratch scratch_;
};

class ServerStream final : public TlsStream {
 public:
  // Over an accepted stream. The handler gets on_connected after the handshake, or on_failed.
  static Result<std::unique_ptr<ServerStream>> make(io::Loop& loop,
                                                    std::unique_ptr<io::Stream> lower,
                                                    std::shared_ptr<ServerContext> context);
  ~ServerStream() override;
  ServerContext& context() { return *context_; }

 private:
  ServerStream(io::Loop& loop, std::unique_ptr<io::Stream> lower,
               std::shared_ptr<ServerContext> context);
  Result<void> accept_handshake() override { return {}; }

  std::shared_ptr<ServerContext> context_;
};

}  // namespace conpool::tls
