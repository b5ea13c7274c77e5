// Socket addresses: conversion from and to the system's form, texts, and strict parsing.
#include "base/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "base/text.h"

namespace conpool {
namespace {

constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);
static_assert(SocketAddress::kUnixPathBytes + 1 == sizeof(sockaddr_un{}.sun_path));

// Exactly four decimal labels of 0..255 without leading zeros.
std::optional<std::array<uint8_t, 4>> parse_dotted_quad(std::string_view text) {
  std::array<uint8_t, 4> ip{};
  for (size_t label = 0; label < 4; ++label) {
    size_t digits = 0;
    unsigned value = 0;
    while (digits < text.size() && digits < 4 && is_digit(text[digits])) {
      value = value * 10 + static_cast<unsigned>(text[digits] - '0');
      ++digits;
    }
    if (digits == 0 || digits > 3 || value > 255 || (digits > 1 && text[0] == '0')) return {};
    ip[label] = static_cast<uint8_t>(value);
    text.remove_prefix(digits);
    if (label == 3) break;
    if (text.empty() || text[0] != '.') return {};
    text.remove_prefix(1);
  }
  if (!text.empty()) return {};
  return ip;
}

std::optional<uint32_t> parse_scope(std::string_view text) {
  uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) {
    return number == 0 ? std::nullopt : std::optional<uint32_t>(number);
  }
  if (text.empty() || text.size() >= IF_NAMESIZE || text.find('\0') != text.npos) return {};
  number = if_nametoindex(std::string(text).c_str());
  return number == 0 ? std::nullopt : std::optional<uint32_t>(number);
}

Unexpected bad_address(std::string_view text, std::string_view remedy) {
  return fail(Status::E_BAD_ADDRESS,
              in_quotes(text) + " is not an IP address: " + std::string(remedy));
}

Result<SocketAddress> parse_v6(std::string_view text, std::string_view whole, uint16_t port) {
  size_t percent = text.find('%');
  std::string ip_part(text.substr(0, percent));
  std::array<uint8_t, 16> ip{};
  if (ip_part.size() > INET6_ADDRSTRLEN || ip_part.find('\0') != ip_part.npos ||
      inet_pton(AF_INET6, ip_part.c_str(), ip.data()) != 1) {
    return bad_address(whole, "write IPv6 as in 2001:db8::1");
  }
  if (percent == text.npos) return SocketAddress::v6(ip, port);
  std::optional<uint32_t> scope = parse_scope(text.substr(percent + 1));
  if (!scope) {
    return bad_address(whole,
                       "after '%' stands the number or the name of an interface of this machine");
  }
  return SocketAddress::v6(ip, port, *scope);
}

Unexpected bad_unix(std::string_view what) {
  return fail(Status::E_BAD_ADDRESS, "socket address " + std::string(what));
}

Result<SocketAddress> from_unix(const sockaddr* address, socklen_t size) {
  if (size < kPathOffset || size > sizeof(sockaddr_un)) return bad_unix("has the wrong size");
  const char* path = reinterpret_cast<const char*>(address) + kPathOffset;
  size_t length = size - kPathOffset;
  if (length > 0 && path[0] == '\0') {
    return SocketAddress::unix_path("@" + std::string(path + 1, length - 1));
  }
  return SocketAddress::unix_path(std::string(path, strnlen(path, length)));
}

}  // namespace

SocketAddress SocketAddress::v4(std::array<uint8_t, 4> ip, uint16_t port) {
  SocketAddress address;
  address.family_ = Family::V4;
  address.port_ = port;
  std::copy(ip.begin(), ip.end(), address.ip_.begin());
  return address;
}

SocketAddress SocketAddress::v6(std::array<uint8_t, 16> ip, uint16_t port, uint32_t scope_id) {
  SocketAddress address;
  address.family_ = Family::V6;
  address.port_ = port;
  address.scope_id_ = scope_id;
  address.ip_ = ip;
  return address;
}

SocketAddress SocketAddress::unix_path(std::string path) {
  SocketAddress address;
  address.family_ = Family::Unix;
  address.path_ = std::move(path);
  return address;
}

Result<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address, socklen_t size) {
  if (address == nullptr || size < sizeof(address->sa_family)) {
    return bad_unix("has the wrong size");
  }
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof(in));
    std::array<uint8_t, 4> ip{};
    std::memcpy(ip.data(), &in.sin_addr, ip.size());
    return v4(ip, ntohs(in.sin_port));
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof(in));
    std::array<uint8_t, 16> ip{};
    std::memcpy(ip.data(), &in.sin6_addr, ip.size());
    return v6(ip, ntohs(in.sin6_port), in.sin6_scope_id);
  }
  if (address->sa_family == AF_UNIX) return from_unix(address, size);
  if (address->sa_family == AF_INET || address->sa_family == AF_INET6) {
    return bad_unix("has the wrong size");
  }
  return bad_unix("is of family " + std::to_string(address->sa_family) +
                  "; known are IPv4, IPv6 and unix");
}

SocketAddress SocketAddress::with_port(uint16_t port) const {
  SocketAddress copy = *this;
  if (family_ == Family::V4 || family_ == Family::V6) copy.port_ = port;
  return copy;
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage* out) const {
  std::memset(out, 0, sizeof(*out));
  if (family_ == Family::V4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port_);
    std::memcpy(&in.sin_addr, ip_.data(), sizeof(in.sin_addr));
    std::memcpy(out, &in, sizeof(in));
    return sizeof(in);
  }
  if (family_ == Family::V6) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port_);
    in.sin6_scope_id = scope_id_;
    std::memcpy(&in.sin6_addr, ip_.data(), sizeof(in.sin6_addr));
    std::memcpy(out, &in, sizeof(in));
    return sizeof(in);
  }
  if (family_ != Family::Unix || path_.size() > kUnixPathBytes) return 0;
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  bool abstract = !path_.empty() && path_[0] == '@';
  if (!abstract && path_.find('\0') != path_.npos) return 0;
  std::memcpy(un.sun_path, path_.data(), path_.size());
  if (abstract) un.sun_path[0] = '\0';
  std::memcpy(out, &un, sizeof(un));
  size_t terminator = abstract || path_.empty() ? 0 : 1;
  return static_cast<socklen_t>(kPathOffset + path_.size() + terminator);
}

std::string SocketAddress::ip_text() const {
  char buffer[INET6_ADDRSTRLEN] = "";
  if (family_ == Family::V4) {
    inet_ntop(AF_INET, ip_.data(), buffer, sizeof(buffer));
    return buffer;
  }
  if (family_ == Family::V6) {
    inet_ntop(AF_INET6, ip_.data(), buffer, sizeof(buffer));
    return scope_id_ == 0 ? buffer : std::string(buffer) + "%" + std::to_string(scope_id_);
  }
  return text();
}

std::string SocketAddress::text() const {
  switch (family_) {
    case Family::V4:
      return ip_text() + ":" + std::to_string(port_);
    case Family::V6:
      return "[" + ip_text() + "]:" + std::to_string(port_);
    case Family::Unix:
      return "unix:" + escaped(path_);
    case Family::None:
      break;
  }
  return "none";
}

size_t SocketAddress::hash() const {
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  auto mix = [&hash](uint64_t byte) { hash = (hash ^ byte) * 0x100000001b3ULL; };
  mix(static_cast<uint64_t>(family_));
  mix(port_);
  mix(scope_id_);
  for (uint8_t byte : ip_)
    mix(byte);
  for (char c : path_)
    mix(static_cast<unsigned char>(c));
  return hash;
}

Result<SocketAddress> parse_ip_literal(std::string_view text, uint16_t port) {
  if (text.empty()) return bad_address(text, "it is empty");
  if (text.front() == '[') {
    if (text.back() != ']') return bad_address(text, "the closing ']' is missing");
    return parse_v6(text.substr(1, text.size() - 2), text, port);
  }
  if (text.find(':') != text.npos) return parse_v6(text, text, port);
  std::optional<std::array<uint8_t, 4>> ip = parse_dotted_quad(text);
  if (!ip) {
    return bad_address(text,
                       "write IPv4 as four decimal numbers of 0 to 255 without leading zeros, "
                       "as in 192.0.2.1");
  }
  return SocketAddress::v4(*ip, port);
}

Result<SocketAddress> parse_address_and_port(std::string_view text) {
  size_t colon = text.rfind(':');
  size_t bracket = text.rfind(']');
  bool bracketed = !text.empty() && text.front() == '[';
  if (!bracketed && colon != text.npos && text.find(':') != colon) {
    return bad_address(text,
                       "an IPv6 address with a port stands in brackets, as in [2001:db8::1]:443");
  }
  if (colon == text.npos || (bracketed && (bracket == text.npos || colon < bracket))) {
    Result<SocketAddress> bare = parse_ip_literal(text);
    if (!bare) return bare;
    return fail(Status::E_BAD_PORT, in_quotes(text) + " has no port: write it as in 192.0.2.1:443");
  }
  Result<SocketAddress> address = parse_ip_literal(text.substr(0, colon));
  if (!address) return address;
  Result<uint16_t> port = parse_port(text.substr(colon + 1));
  if (!port) return fail(std::move(port).error());
  return address->with_port(*port);
}

Result<uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool decimal = error == std::errc() && end == text.data() + text.size() && text[0] != '0';
  if (!decimal || value > 65535) {
    return fail(Status::E_BAD_PORT,
                in_quotes(text) + " is not a port: write a decimal number from 1 to 65535");
  }
  return static_cast<uint16_t>(value);
}

}  // namespace conpool
