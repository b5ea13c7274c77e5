// AddressOrder: a name's addresses in RFC 6724 order, with the classes the balancer may reorder.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/settings.h"
#include "io/loop.h"
#include "resolver/rfc6724.h"

namespace conpool::resolver {

struct OrderedAddress {
  SocketAddress address;
  uint32_t class_index = 0;  // equal under RFC 6724's rules 1 to 8
  bool usable = true;        // false: the system knows no route
};

inline constexpr Nanos kSourceLife = kSecond;  // how long a source address is believed
inline constexpr size_t kSources = 1024;       // remembered destinations

// Asks the system for the source address of each destination, and remembers it for kSourceLife: a
// dial that is repeated, or many at once, ask once.
class AddressOrder {
 public:
  AddressOrder(io::Loop& loop, PolicyTable table) : loop_(loop), table_(table) {}

  // `history`, when given, has one rank per address (see SelectionCandidate).
  std::vector<OrderedAddress> order(std::span<const SocketAddress> addresses,
                                    std::span<const uint32_t> history = {});
  // The network changed.
  void forget();

 private:
  struct Known {
    SourceView source;
    Time asked = 0;
  };
  SourceView source_of(const SocketAddress& address);

  io::Loop& loop_;
  PolicyTable table_;
  std::unordered_map<SocketAddress, Known, SocketAddressHash> known_;
};

}  // namespace conpool::resolver
