// A whole pool in the simulated world, driven through the public functions alone.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capi/pool_world.h"
#include "io/sim/dns_script.h"
#include "origin/server.h"
#include "tls/certificates.h"
#include "tls/server_stream.h"

namespace conpool::sim {

using OptionList = std::vector<std::pair<std::string, std::string>>;

inline constexpr int64_t kWallClock = 1'780'000'000;  // what certificates are judged by
inline constexpr const char* kDnsServer = "192.0.2.53:53";

inline Nanos ms(int64_t count) {
  return count * kMillisecond;
}

// What an op came to. Frees what its event carried, except for a connection.
struct Outcome {
  conpool_status status = 0;
  uint32_t kind = 0;
  uint32_t flags = 0;
  uint64_t value = 0;
  Time time = 0;
  std::string data;    // of a read
  std::string line;    // of an error
  std::string report;  // of an error
  std::vector<std::string> attempts;
  conpool_connection* connection = nullptr;

  bool ok() const { return status == 0; }
  bool eof() const { return (flags & CONPOOL_EVENT_EOF) != 0; }
};

// Makes an Outcome of a delivered event and disposes of it.
Outcome take_outcome(conpool_event* event);

class SimPool {
 public:
  explicit SimPool(uint64_t seed = 1);
  // Closes what is still open and checks that nothing is left.
  ~SimPool();
  SimPool(const SimPool&) = delete;
  SimPool& operator=(const SimPool&) = delete;

  // Creates the pool; these options come over the harness's own (our DNS server, no files, a seed).
  void open(const OptionList& options = {});
  // Ends servers and pool; nothing may be live afterwards.
  void close();

  // --- servers. After open().
  origin::Server& serve(const std::string& where, origin::Script script = {});
  // With TLS, a certificate for these names, signed by authority_pem().
  origin::Server& serve_tls(const std::string& where, std::vector<std::string> names,
                            origin::Script script = {});
  const std::string& authority_pem();
  // What such a server presents.
  std::shared_ptr<tls::ServerContext> server_context(std::vector<std::string> names,
                                                     std::vector<std::string> alpn = {});
  // A process that dies and starts again: the old connections are reset, new ones accepted.
  void end_servers();

  // --- the public functions, with failures as test failures
  conpool_endpoint* endpoint(const std::string& url, const OptionList& options = {});
  conpool_endpoint* endpoint_of(const std::string& scheme, const std::string& addresses,
                                const OptionList& options = {});
  conpool_op acquire(conpool_endpoint* endpoint, const OptionList& options = {});
  conpool_op read(conpool_connection* connection, size_t size_max = 0);
  conpool_op write(conpool_connection* connection, const std::string& bytes);  // kept by the world
  conpool_op shutdown_write(conpool_connection* connection);
  conpool_op close_pool(Nanos drain);
  Outcome wait(conpool_op op, Nanos limit = 10 * kMinute);
  bool ended(conpool_op op, Outcome* out);  // looks only; no turn passes at another time
  Outcome lease(conpool_endpoint* endpoint, const OptionList& options = {}) {
    return wait(acquire(endpoint, options));
  }
  // Writes, and reads until as many bytes came back.
  std::string exchange(conpool_connection* connection, const std::string& bytes);

  // --- time
  Time now() const { return network.now(); }
  void run_until(Time until);
  void run_for(Nanos time) { run_until(now() + time); }

  // --- readouts
  std::string events(const char* format = "jsonl");
  int64_t metric(const std::string& name);  // of the pool; 0 for an unknown one
  std::string metrics(const char* format = "text");
  // Every attempt's first SYN as "250 192.0.2.1:443", milliseconds after `from`.
  std::vector<std::string> syns(Time from = 0) const;
  // Every DNS query as "0 AAAA www.test".
  std::vector<std::string> queries(Time from = 0) const;

  io::SimNetwork network;
  io::DnsScript dns;
  conpool_pool* pool = nullptr;
  io::Loop* loop = nullptr;
  std::shared_ptr<tls::Library> library;

 private:
  const uint64_t seed_;
  std::unique_ptr<tls::Authority> authority_;
  std::vector<std::unique_ptr<origin::Server>> servers_;
  std::vector<conpool_endpoint*> endpoints_;
  std::vector<std::unique_ptr<std::string>> written_;
  conpool_queue* clock_ = nullptr;  // an empty queue: waiting in it lets time pass
};

// Frees itself.
class ConfigOf {
 public:
  explicit ConfigOf(const OptionList& options);
  ~ConfigOf() { conpool_config_free(config_); }
  ConfigOf(const ConfigOf&) = delete;
  ConfigOf& operator=(const ConfigOf&) = delete;
  const conpool_config* get() const { return config_; }

 private:
  conpool_config* config_ = nullptr;
};

inline std::string address_of(const Outcome& lease) {
  return lease.connection == nullptr ? "" : conpool_connection_address(lease.connection);
}

}  // namespace conpool::sim
