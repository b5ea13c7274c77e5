// What was established, for readouts on any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dial/dial.h"

namespace conpool::pool {

// Immutable once the connection stands.
struct ConnectionFacts {
  uint64_t id = 0;
  std::string endpoint;
  SocketAddress peer;
  std::string address;  // of the peer, as conpool_connection_address tells it
  dial::Protocol protocol = dial::Protocol::Raw;
  uint64_t tapped = 0;  // StreamFacts::tapped
  SocketAddress local;
  Time opened = 0;
  Nanos rtt = 0;
  dial::Timing timing;
  std::vector<Attempt> attempts;
  std::optional<tls::TlsFacts> tls;
};

}  // namespace conpool::pool
