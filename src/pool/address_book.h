// AddressBook: the addresses an endpoint's name stands for now, from the answers of its lookups.
// Pure.
#pragma once

#include <optional>
#include <vector>

#include "base/address.h"
#include "resolver/resolver.h"

namespace conpool::pool {

// A failed lookup keeps the last good set; a negative answer empties its family (RFC 8767 §4).
class AddressBook {
 public:
  // True when the set of addresses changed.
  bool note(Family family, const resolver::FamilyAnswer& answer);
  // Both families, IPv6 first, in the order of the answers; port 0.
  std::vector<SocketAddress> all() const;
  bool empty() const { return v6_.addresses.empty() && v4_.addresses.empty(); }
  // When the first of the answers ends; kNever without one that ends.
  Time expires() const;
  // The last lookup of a family that has addresses failed: they are the last good ones.
  bool last_good() const {
    return (v6_.failed && !v6_.addresses.empty()) || (v4_.failed && !v4_.addresses.empty());
  }

 private:
  struct Part {
    std::vector<SocketAddress> addresses;
    Time expires = kNever;
    bool failed = false;
  };
  Part v6_;
  Part v4_;
};

}  // namespace conpool::pool
