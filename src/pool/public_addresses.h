// Which addresses belong to the public Internet: the filter against names that point into private
// networks.
#pragma once

#include "base/address.h"

namespace conpool::pool {

// False for loopback, private, link-local, shared, documentation, multicast and reserved addresses,
// for IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4, Teredo) and for unix sockets.
bool is_public(const SocketAddress& address);

}  // namespace conpool::pool
