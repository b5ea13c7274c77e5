// resolv.conf (resolv.conf(5)) and lists of DNS servers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace conpool::resolver {

inline constexpr uint16_t kDnsPort = 53;
inline constexpr size_t kServers = 32;        // RFC 8305 §3.1 asks for no tight limit
inline constexpr size_t kSearchDomains = 32;  // what Kubernetes allows
inline constexpr int64_t kNdotsMost = 15;     // the C library's own caps, here and below
inline constexpr int64_t kTimeoutMost = 30;
inline constexpr int64_t kAttemptsMost = 5;

// Keywords begin a line; '#' and ';' in the first column begin a comment; unknown keywords, bad
// servers and bad domains are skipped and counted. The last of `domain` and `search` holds. Without
// either there is no search list: none is made up from the machine's own name.
struct ResolvConf {
  std::vector<SocketAddress> servers;  // with ports
  std::vector<std::string> search;     // lower case, without trailing dots
  int64_t ndots = 1;
  int64_t timeout_seconds =
      5;  // read for display; the options resolve_timeout and resolve_retries rule
  int64_t attempts = 2;
  size_t skipped_lines = 0;

  static ResolvConf parse(std::string_view text);
  bool operator==(const ResolvConf&) const = default;
};

// "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353", "fe80::1%eth0".
Result<SocketAddress> parse_server(std::string_view text);
// Comma-separated, blanks around items allowed. E_OPTION_TYPE names the bad item, E_OPTION_RANGE
// too many.
Result<std::vector<SocketAddress>> parse_server_list(std::string_view text);

}  // namespace conpool::resolver
