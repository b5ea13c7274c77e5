// A whole pool with HTTP servers in the simulated world, driven through the public functions alone.
#pragma once

#include <optional>

#include "origin/http_server.h"
#include "sim/world.h"

namespace conpool::sim {

using origin::HttpAnswer;
using origin::HttpFault;
using origin::HttpFields;
using origin::HttpFraming;
using origin::HttpProtocol;
using origin::HttpRequest;
using origin::HttpScript;
using origin::HttpServer;

// What runs between the client and the server of a test.
enum class Wire : uint8_t { Http1, TlsHttp1, H2c, H2 };
inline constexpr Wire kWires[] = {Wire::Http1, Wire::TlsHttp1, Wire::H2c, Wire::H2};

inline const char* wire_name(Wire wire) {
  constexpr const char* kNames[] = {"http1", "TLS http1", "h2c", "h2"};
  return kNames[static_cast<size_t>(wire)];
}
inline bool is_h2(Wire wire) {
  return wire == Wire::H2c || wire == Wire::H2;
}
inline bool is_tls(Wire wire) {
  return wire == Wire::TlsHttp1 || wire == Wire::H2;
}

// One request to make.
struct Ask {
  std::string method = "GET";
  std::string target = "/";
  std::string id;  // x-request-id
  HttpFields fields;
  HttpFields trailers;
  std::optional<std::string> body;
  std::optional<int64_t> pieces;  // body in pieces of this announced length, or -1
  bool idempotent = false;
  int32_t how = CONPOOL_STREAM;
  OptionList options;  // of scope request
};

// What came of it.
struct Reply {
  bool ended = false;
  conpool_status status = 0;
  std::string line;
  std::string report;
  std::string events;  // a letter per event, equal neighbours once: I(nterim) H C T F
  uint64_t sends = 0;
  uint64_t proof = 0;
  int code = 0;
  int version = 0;
  HttpFields fields;
  HttpFields trailers;
  std::vector<int> interims;
  std::string body;
  uint64_t chunks = 0;
  uint64_t finals = 0;
  Time started = 0;
  Time at = 0;

  bool ok() const { return ended && status == 0; }
  Nanos took() const { return at - started; }
};

std::string status_name(conpool_status status);

class HttpWorld : public SimPool {
 public:
  explicit HttpWorld(uint64_t seed = 1) : SimPool(seed) {}
  ~HttpWorld();
  void open(const OptionList& options = {});
  void close();

  // --- servers. After open().
  HttpServer& serve_http(const std::string& where, HttpScript script = {});
  HttpServer& serve_https(const std::string& where, const std::vector<std::string>& names,
                          const std::vector<std::string>& alpn, HttpScript script = {});
  // Another offer of ALPN for connections accepted from now on.
  void set_alpn(HttpServer& server, const std::vector<std::string>& names,
                const std::vector<std::string>& alpn);
  // "origin.test", served on this wire at 192.0.2.1, and its endpoint.
  HttpServer& serve_on(Wire wire, HttpScript script = {});
  conpool_endpoint* target(Wire wire, const OptionList& options = {});

  // --- requests
  conpool_op start(conpool_endpoint* endpoint, const Ask& ask);
  // A piece of the body of a request; kept by the world. Its op ends among the other events.
  conpool_op write_piece(conpool_op request, const std::string& bytes, bool last);
  // Takes events as they come, for this long at most; false when none came.
  bool take(Nanos timeout);
  Reply& reply(conpool_op op) { return replies_[op]; }
  // Runs until the request ended.
  Reply& finish(conpool_op op, Nanos limit = 10 * kMinute);
  // Until all started requests have.
  void finish_all(Nanos limit = 10 * kMinute);
  Reply perform(conpool_endpoint* endpoint, const Ask& ask) { return finish(start(endpoint, ask)); }
  // Ended without an event of its own: e.g. a write's; the status once it came.
  std::optional<conpool_status> write_status(conpool_op op) const;
  // Ends when so many connections stand by, or fails.
  conpool_status preconnect(conpool_endpoint* endpoint, uint32_t count);

  // While true, chunks are kept until free_chunks().
  bool hold_chunks = false;
  size_t held_chunks() const { return chunks_.size(); }
  void free_chunks();
  // The oldest of them.
  void free_chunk();

 private:
  void take(conpool_event* event);
  origin::StreamFactory secure(const std::vector<std::string>& names,
                               const std::vector<std::string>& alpn);

  conpool_queue* queue_ = nullptr;
  std::vector<std::unique_ptr<HttpServer>> http_servers_;
  std::map<conpool_op, Reply> replies_;
  std::map<conpool_op, conpool_status> writes_;
  std::map<conpool_op, std::unique_ptr<std::string>> bodies_;
  std::vector<conpool_chunk*> chunks_;
};

}  // namespace conpool::sim
