// SimulatedInternet: a network in virtual time in which every name and every port is a healthy
// server.
//
//   Result<std::unique_ptr<SimulatedInternet>> internet = SimulatedInternet::make(42);
//   std::unique_ptr<io::Loop> loop = (*internet)->start();
//   … loop->run_turn(…) …
//   (*internet)->end();          // before the loop goes
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/sim/sim_world.h"
#include "origin/any_server.h"
#include "tls/certificates.h"
#include "tls/server_stream.h"

namespace conpool::origin {

// Names. Each resolves to one IPv6 and one IPv4 address out of the blocks for documentation
// (RFC 3849, RFC 5737), picked by a hash of the name alone.
//
// Addresses. Whatever the address and port, a client that speaks HTTP/1.1, HTTP/2 or either inside
// TLS gets an HTTP server; one that speaks anything else gets its bytes back. TLS shows a
// certificate for the name or address that was asked for, signed by authority_pem().
//
// HTTP. The paths of demo_answer; on any other path 200 with a short text, and POST, PUT and PATCH
// get their own body back there. A response's head comes 1 to 4 ms after the request, by
// hash(seed, ordinal of the request).
//
// Everything follows from the seed and from what the clients do.
class SimulatedInternet {
 public:
  static constexpr Nanos kLatency = kMillisecond / 2;  // one way: a connect takes 1 ms
  static constexpr Nanos kServiceLeast = kMillisecond;
  static constexpr Nanos kServiceMost = 4 * kMillisecond;
  static constexpr uint32_t kTtl = 300;                // of DNS answers, in seconds
  static constexpr size_t kContexts = 1024;            // certificates kept
  static constexpr size_t kLogEntries = 1024;          // requests the server remembers
  static constexpr int64_t kUnixTime = 1'780'000'000;  // the clock that certificates are judged by

  // E_TLS_CONFIG or E_NOMEM.
  static Result<std::unique_ptr<SimulatedInternet>> make(uint64_t seed);
  ~SimulatedInternet();
  SimulatedInternet(const SimulatedInternet&) = delete;
  SimulatedInternet& operator=(const SimulatedInternet&) = delete;

  // The loop, with the servers on it. Once.
  Result<std::unique_ptr<io::Loop>> start();
  // The servers go: with resets, as processes that end.
  void end() { server_.reset(); }

  const std::shared_ptr<tls::Library>& library() const { return library_; }
  const std::string& authority_pem() const { return authority_->certificate_pem(); }
  io::SimNetwork& network() { return network_; }
  HttpServer& http() { return server_->http(); }

  static SocketAddress address_of(std::string_view name, Family family);

 private:
  explicit SimulatedInternet(uint64_t seed) : seed_(seed) {}
  std::shared_ptr<tls::ServerContext> context_for(const std::string& name);
  HttpAnswer answer(const HttpRequest& request) const;

  const uint64_t seed_;
  std::shared_ptr<tls::Library> library_;
  std::unique_ptr<tls::Authority> authority_;
  io::SimNetwork network_;
  std::map<std::string, std::shared_ptr<tls::ServerContext>> contexts_;
  std::unique_ptr<AnyServer> server_;
};

}  // namespace conpool::origin
