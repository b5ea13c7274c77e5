// The blocks of addresses that are not public.
#include "pool/public_addresses.h"

#include <span>

namespace conpool::pool {
namespace {

struct Block {
  std::array<uint8_t, 16> prefix;
  unsigned bits;
};

// The IANA special-purpose registry, RFC 6890 and its updates.
constexpr Block kV4[] = {
    {{0}, 8},              // "this network"
    {{10}, 8},             // private, RFC 1918
    {{100, 64}, 10},       // shared, RFC 6598
    {{127}, 8},            // loopback
    {{169, 254}, 16},      // link-local
    {{172, 16}, 12},       // private
    {{192, 0, 0}, 24},     // protocol assignments
    {{192, 0, 2}, 24},     // documentation
    {{192, 88, 99}, 24},   // 6to4 relays
    {{192, 168}, 16},      // private
    {{198, 18}, 15},       // benchmarking
    {{198, 51, 100}, 24},  // documentation
    {{203, 0, 113}, 24},   // documentation
    {{224}, 4},            // multicast
    {{240}, 4},            // reserved, broadcast
};
// Only 2000::/3 is global unicast; these are its exceptions.
constexpr Block kV6[] = {
    {{0x20, 0x01, 0x00}, 23},        // protocol assignments, Teredo among them
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02}, 16},              // 6to4
    {{0x3f, 0xff, 0x00}, 20},        // documentation, RFC 9637
};

bool inside(const std::array<uint8_t, 16>& ip, const Block& block) {
  for (unsigned bit = 0; bit < block.bits; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(0x80u >> (bit % 8));
    if ((ip[bit / 8] & mask) != (block.prefix[bit / 8] & mask)) return false;
  }
  return true;
}

bool in_any(const std::array<uint8_t, 16>& ip, std::span<const Block> blocks) {
  for (const Block& block : blocks) {
    if (inside(ip, block)) return true;
  }
  return false;
}

}  // namespace

bool is_public(const SocketAddress& address) {
  switch (address.family()) {
    case Family::V4:
      return !in_any(address.ip(), kV4);
    case Family::V6:
      return (address.ip()[0] & 0xe0) == 0x20 && !in_any(address.ip(), kV6);
    default:
      return false;
  }
}

}  // namespace conpool::pool
