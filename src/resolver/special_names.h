// Names that never go to DNS: localhost (RFC 6761 §6.3), .invalid (§6.4) and .onion (RFC 7686 §2).
#pragma once

#include <string_view>

#include "base/address.h"

namespace conpool::resolver {

enum class SpecialName : uint8_t {
  None,
  Localhost,  // the loopback addresses, without any lookup
  Reserved,   // refused with E_DNS_RESERVED
};

// `name` is lower case and without the trailing dot.
constexpr SpecialName classify_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (last == "localhost") return SpecialName::Localhost;
  if (last == "invalid" || last == "onion") return SpecialName::Reserved;
  return SpecialName::None;
}

// ::1 or 127.0.0.1.
inline SocketAddress loopback_address(Family family) {
  if (family == Family::V4) return SocketAddress::v4({127, 0, 0, 1}, 0);
  return SocketAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 0);
}

}  // namespace conpool::resolver
