// The library's readouts as values: a connection's facts, the table of options, metrics.
#pragma once

#include <conpool/conpool.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conpool::cli {

struct AttemptFacts {
  std::string phase;   // "dns", "connect", "tls", "hop"
  std::string target;  // "AAAA www.test @192.0.2.53:53", "tcp:192.0.2.1:443"
  int64_t round = 1;
  int64_t started_ns = 0;
  int64_t duration_ns = 0;
  std::string status;  // "OK", "E_CONNECT_REFUSED"
  std::string result;  // in words; empty for OK
};

struct TlsFacts {
  std::string version;
  std::string cipher;
  std::string alpn;
  std::string server_name;
  bool resumed = false;
  bool verified = false;
  std::string subject;
  std::string issuer;
  std::string not_before;
  std::string not_after;
};

struct ConnectionFacts {
  std::string endpoint;
  std::string address;
  std::string local;
  int64_t rtt_ns = 0;
  int64_t resolved_ns = 0;
  int64_t connected_ns = 0;
  int64_t secured_ns = 0;
  int64_t dial_ns = 0;
  std::vector<AttemptFacts> attempts;
  std::optional<TlsFacts> tls;
};

struct OptionFacts {
  std::string name;
  std::string type;
  std::string range;  // "0 to 100", "thread, caller"; empty for texts
  std::string default_value;
  std::string scope;
  std::string text;
};

ConnectionFacts read_connection(const conpool_connection* connection);
// What is known of a response and of how it came, in lines that begin with "* ".
std::string response_facts(const conpool_response* response);
// From its start to the end of its response.
int64_t response_total_ns(const conpool_response* response);
std::vector<OptionFacts> read_options();
// "connection refused" of "E_CONNECT_REFUSED"; of anything else itself.
std::string status_text(std::string_view name);

// One line "name=value" each: "pool.leases.granted", "endpoint.tls.full{endpoint=\"tls://h:1\"}".
using Metrics = std::map<std::string, std::string, std::less<>>;
Metrics read_metrics(conpool_pool* pool);
int64_t metric(const Metrics& metrics, const std::string& name);
int64_t endpoint_metric(const Metrics& metrics, const std::string& endpoint,
                        const std::string& name);

}  // namespace conpool::cli
