// The addresses a name stands for now.
#include "pool/address_book.h"

#include <algorithm>

namespace conpool::pool {

bool AddressBook::note(Family family, const resolver::FamilyAnswer& answer) {
  Part& part = family == Family::V6 ? v6_ : v4_;
  if (answer.addresses.has_value()) {
    part.failed = answer.stale;
    part.expires = answer.expires;
    if (part.addresses == *answer.addresses) return false;
    part.addresses = *answer.addresses;
    return true;
  }
  const Status status = answer.addresses.error().status;
  if (status == Status::E_DNS_NOT_FOUND || status == Status::E_DNS_NO_DATA) {
    const bool changed = !part.addresses.empty();
    part = {.addresses = {}, .expires = answer.expires, .failed = false};
    return changed;
  }
  part.failed = true;
  return false;
}

std::vector<SocketAddress> AddressBook::all() const {
  std::vector<SocketAddress> all = v6_.addresses;
  all.insert(all.end(), v4_.addresses.begin(), v4_.addresses.end());
  return all;
}

Time AddressBook::expires() const {
  Time first = kNever;
  if (!v6_.addresses.empty()) first = std::min(first, v6_.expires);
  if (!v4_.addresses.empty()) first = std::min(first, v4_.expires);
  return first;
}

}  // namespace conpool::pool
