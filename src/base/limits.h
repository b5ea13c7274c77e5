// Limits that are not options: named here, documented in docs/limits.md, tested at their edge.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conpool::limits {

inline constexpr size_t kHostNameBytes = 253;  // RFC 1035 §2.3.4, without the root's dot
inline constexpr size_t kLabelBytes = 63;      // RFC 1035 §2.3.4
inline constexpr size_t kPortsPerEndpoint = 16;
inline constexpr size_t kAddressesPerEndpoint = 64;  // in a list the caller gives
inline constexpr size_t kAddressesPerName = 64;      // kept of one DNS answer
inline constexpr size_t kCnameHops = 16;
inline constexpr size_t kPartitionBytes = 256;
inline constexpr size_t kAlpnProtocolBytes = 255;     // RFC 7301 §3.1
inline constexpr size_t kOptionValueBytes = 1 << 20;  // a PEM bundle fits
inline constexpr size_t kEndpointsPerPool = 65536;
inline constexpr size_t kEventsPerBatch = 4096;
inline constexpr size_t kCheckBytes = 4096;          // sent or expected by the active check
inline constexpr size_t kConfigFileBytes = 1 << 20;  // resolv.conf, hosts

// Of a request's header, with method and target; and of its trailer.
inline constexpr size_t kRequestHeadBytes = 64 * 1024;
inline constexpr size_t kRequestFields = 256;
inline constexpr size_t kBodyBlockBytes = 256 * 1024;  // of a body from a file; two are read ahead
// Re-sends of one request.
inline constexpr uint32_t kUnsentResends = 8;  // before a byte of it was sent
inline constexpr uint32_t kHttp1Resends = 2;   // because HTTP/1.1 is demanded

}  // namespace conpool::limits
