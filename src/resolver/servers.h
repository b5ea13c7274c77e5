// DNS servers and which of them answered lately.
#pragma once

#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace conpool::resolver {

inline constexpr Nanos kServerPenalty = 30 * kSecond;  // how long a silent server goes last

// Keeps the configured order; servers that failed to answer within the last kServerPenalty, and did
// not answer since, go last (RFC 8305 §3.1). All stay in the list: none is given up.
class Servers {
 public:
  void set(std::vector<SocketAddress> servers);
  std::vector<SocketAddress> order(Time now) const;
  // By address, because a query may still run on the list before this one.
  void answered(const SocketAddress& server);
  void silent(const SocketAddress& server, Time now);
  size_t size() const { return servers_.size(); }

 private:
  struct Server {
    SocketAddress address;
    Time silent_until = 0;
  };
  Server* find(const SocketAddress& address);
  std::vector<Server> servers_;
};

}  // namespace conpool::resolver
