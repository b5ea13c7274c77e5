// DNS answers: a strict parser of one message, as the answer to one question (RFC 1035, 2181,
// 2308).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace conpool::resolver {

inline constexpr uint16_t kTypeA = 1;
inline constexpr uint16_t kTypeAaaa = 28;

constexpr uint16_t rr_type(Family family) {
  return family == Family::V6 ? kTypeAaaa : kTypeA;
}

struct DnsAnswer {
  // OK: `addresses` has at least one. E_DNS_NO_DATA, E_DNS_NOT_FOUND: a negative answer.
  // E_DNS_SERVER_FAILURE, E_DNS_REFUSED: the server's own trouble. E_DNS_BAD_ANSWER: not to be
  // believed.
  Failure failure{.status = Status::E_DNS_BAD_ANSWER};
  std::vector<SocketAddress> addresses;  // port 0, without duplicates, at most kAddressesPerName
  // Seconds. Positive: the least of the CNAME chain and the addresses. Negative: of the chain and
  // the SOA record (RFC 2308 §5); 0 when the answer has none.
  uint32_t ttl = 0;
  uint32_t unusable = 0;  // addresses dropped because nothing can be connected to them

  Status status() const { return failure.status; }
};

// `name` is absolute, without the trailing dot. The id and the server's address are the carrier's
// business.
DnsAnswer parse_dns_answer(std::span<const uint8_t> message, std::string_view name, Family family);

// Whether a stream can be connected to it: not the unspecified address, multicast, broadcast or a
// mapped IPv4 address (an AAAA record that hides one would evade IPv4's rules).
bool usable_address(const SocketAddress& address);

}  // namespace conpool::resolver
