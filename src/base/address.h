// Socket addresses as values: IPv4, IPv6 with scope, unix paths.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace conpool {

enum class Family : uint8_t { None, V4, V6, Unix };

class SocketAddress {
 public:
  SocketAddress() = default;
  static SocketAddress v4(std::array<uint8_t, 4> ip, uint16_t port);
  static SocketAddress v6(std::array<uint8_t, 16> ip, uint16_t port, uint32_t scope_id = 0);
  static SocketAddress unix_path(std::string path);  // a leading '@' names an abstract socket
  static constexpr size_t kUnixPathBytes = 107;      // that a unix path may have, '@' included
  static Result<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t size);

  Family family() const { return family_; }
  uint16_t port() const { return port_; }
  uint32_t scope_id() const { return scope_id_; }
  // The 4 or 16 address bytes; the rest of the array is zero.
  const std::array<uint8_t, 16>& ip() const { return ip_; }
  const std::string& path() const { return path_; }
  SocketAddress with_port(uint16_t port) const;
  SocketAddress without_port() const { return with_port(0); }

  // Returns the size written; storage is large enough for each family. 0 when there is none to
  // write: family None, or a unix path that is too long or holds a NUL.
  socklen_t to_sockaddr(sockaddr_storage* out) const;
  // "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%2]:443", "unix:/path".
  std::string text() const;
  // Without port and brackets: "192.0.2.1", "2001:db8::1", "fe80::1%2".
  std::string ip_text() const;

  auto operator<=>(const SocketAddress&) const = default;
  bool operator==(const SocketAddress&) const = default;
  size_t hash() const;

 private:
  Family family_ = Family::None;
  uint16_t port_ = 0;
  uint32_t scope_id_ = 0;
  std::array<uint8_t, 16> ip_{};
  std::string path_;
};

struct SocketAddressHash {
  size_t operator()(const SocketAddress& address) const { return address.hash(); }
};

// An IP literal without port: strict dotted quad, or IPv6 (with or without brackets, "%scope" by
// name or number, 0 excluded). A v4-mapped one stays IPv6. E_BAD_ADDRESS, naming the text,
// otherwise.
Result<SocketAddress> parse_ip_literal(std::string_view text, uint16_t port = 0);
// "192.0.2.1:443" or "[2001:db8::1]:443"; E_BAD_ADDRESS or E_BAD_PORT.
Result<SocketAddress> parse_address_and_port(std::string_view text);
// 1..65535 in decimal; E_BAD_PORT, naming the text, otherwise.
Result<uint16_t> parse_port(std::string_view text);

}  // namespace conpool
