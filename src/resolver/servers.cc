// DNS servers: see the header.
#include "resolver/servers.h"

#include <algorithm>

namespace conpool::resolver {

void Servers::set(std::vector<SocketAddress> servers) {
  servers_.clear();
  for (SocketAddress& address : servers)
    servers_.push_back(Server{std::move(address)});
}

std::vector<SocketAddress> Servers::order(Time now) const {
  std::vector<SocketAddress> good;
  std::vector<SocketAddress> silent;
  for (const Server& server : servers_) {
    (now < server.silent_until ? silent : good).push_back(server.address);
  }
  good.insert(good.end(), silent.begin(), silent.end());
  return good;
}

void Servers::answered(const SocketAddress& server) {
  if (Server* known = find(server)) known->silent_until = 0;
}

void Servers::silent(const SocketAddress& server, Time now) {
  if (Server* known = find(server)) known->silent_until = deadline_after(now, kServerPenalty);
}

Servers::Server* Servers::find(const SocketAddress& address) {
  const auto found = std::find_if(servers_.begin(), servers_.end(),
                                  [&](const Server& server) { return server.address == address; });
  return found == servers_.end() ? nullptr : &*found;
}

}  // namespace conpool::resolver
