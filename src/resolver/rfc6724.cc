// Destination address selection: see the header.
#include "resolver/rfc6724.h"

#include <algorithm>
#include <array>
#include <bit>
#include <tuple>

namespace conpool::resolver {
namespace {

using Bytes = std::array<uint8_t, 16>;

struct Row {
  Bytes prefix;
  uint8_t bits;
  Policy policy;
};

constexpr uint8_t kScopeLinkLocal = 2;
constexpr uint8_t kScopeSiteLocal = 5;
constexpr uint8_t kScopeGlobal = 14;

// RFC 6724 §2.1, longest prefixes first.
constexpr Row kRfc6724[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, {50, 0}},  // ::1/128
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, {35, 4}},         // ::ffff:0:0/96
    {{}, 96, {1, 3}},                                                  // ::/96
    {{0x20, 0x01}, 32, {5, 5}},                                        // 2001::/32
    {{0x20, 0x02}, 16, {30, 2}},                                       // 2002::/16
    {{0x3f, 0xfe}, 16, {1, 12}},                                       // 3ffe::/16
    {{0xfe, 0xc0}, 10, {1, 11}},                                       // fec0::/10
    {{0xfc}, 7, {3, 13}},                                              // fc00::/7
    {{}, 0, {40, 1}},                                                  // ::/0
};
// draft-ietf-6man-rfc6724-update: unique local addresses before IPv4, 6to4 after it.
constexpr Row kUpdated[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, {50, 0}},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, {20, 4}},
    {{}, 96, {1, 3}},
    {{0x20, 0x01}, 32, {5, 5}},
    {{0x20, 0x02}, 16, {5, 2}},
    {{0x3f, 0xfe}, 16, {1, 12}},
    {{0xfe, 0xc0}, 10, {1, 11}},
    {{0xfc}, 7, {30, 13}},
    {{}, 0, {40, 1}},
};

// An IPv4 address in its mapped form, which is how the table names it.
Bytes table_form(const SocketAddress& address) {
  if (address.family() != Family::V4) return address.ip();
  Bytes bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::copy_n(address.ip().begin(), 4, bytes.begin() + 12);
  return bytes;
}

unsigned equal_bits(const Bytes& a, const Bytes& b) {
  unsigned bits = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const uint8_t difference = a[i] ^ b[i];
    if (difference != 0) return bits + static_cast<unsigned>(std::countl_zero(difference));
    bits += 8;
  }
  return bits;
}

// Rules 1 to 8 as a key: smaller is better. Every rule in it looks at one candidate alone, so the
// order is total and classes are well defined.
using ClassKey = std::tuple<bool, bool, bool, uint8_t, uint8_t>;

ClassKey class_key(const SelectionCandidate& candidate, PolicyTable table) {
  const SourceView& source = candidate.source;
  const Policy policy = policy_of(candidate.address, table);
  const uint8_t scope = scope_of(candidate.address);
  bool other_scope = false;
  bool other_label = false;
  if (source.kind == SourceView::Kind::Known) {
    other_scope = scope_of(source.address) != scope;
    other_label = policy_of(source.address, table).label != policy.label;
  }
  return {source.kind == SourceView::Kind::None, other_scope, other_label,
          static_cast<uint8_t>(255 - policy.precedence), scope};
}

struct Keyed {
  ClassKey class_;
  uint32_t history = 0;
  unsigned differing_bits = 0;  // rule 9, smaller is better
  size_t index = 0;
};

}  // namespace

Policy policy_of(const SocketAddress& address, PolicyTable table) {
  const Bytes bytes = table_form(address);
  const std::span<const Row> rows = table == PolicyTable::Updated ? std::span<const Row>(kUpdated)
                                                                  : std::span<const Row>(kRfc6724);
  for (const Row& row : rows) {
    if (equal_bits(bytes, row.prefix) >= row.bits) return row.policy;
  }
  return {};
}

uint8_t scope_of(const SocketAddress& address) {
  const auto& ip = address.ip();
  if (address.family() == Family::V4) {  // RFC 6724 §3.2
    const bool local = ip[0] == 127 || (ip[0] == 169 && ip[1] == 254);
    return local ? kScopeLinkLocal : kScopeGlobal;
  }
  if (ip[0] == 0xff) return ip[1] & 0x0f;
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) return kScopeLinkLocal;
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0xc0) return kScopeSiteLocal;
  const bool loopback =
      ip[15] == 1 && std::all_of(ip.begin(), ip.end() - 1, [](uint8_t b) { return b == 0; });
  return loopback ? kScopeLinkLocal : kScopeGlobal;  // §3.4
}

unsigned common_prefix_bits(const SocketAddress& a, const SocketAddress& b) {
  if (a.family() != Family::V6 || b.family() != Family::V6) return 0;
  return std::min(64U, equal_bits(a.ip(), b.ip()));
}

std::vector<Selected> select_destinations(std::span<const SelectionCandidate> candidates,
                                          PolicyTable table) {
  std::vector<Keyed> keyed;
  keyed.reserve(candidates.size());
  for (const SelectionCandidate& candidate : candidates) {
    const bool known = candidate.source.kind == SourceView::Kind::Known;
    keyed.push_back(
        {.class_ = class_key(candidate, table),
         .history = candidate.history,
         .differing_bits =
             known ? 64 - common_prefix_bits(candidate.address, candidate.source.address) : 64,
         .index = keyed.size()});
  }
  // Rule 10: stable. Members of one class are of one family: no row gives IPv4's precedence to
  // IPv6.
  std::stable_sort(keyed.begin(), keyed.end(), [](const Keyed& a, const Keyed& b) {
    return std::tie(a.class_, a.history, a.differing_bits) <
           std::tie(b.class_, b.history, b.differing_bits);
  });
  std::vector<Selected> selected;
  selected.reserve(keyed.size());
  uint32_t class_index = 0;
  for (size_t i = 0; i < keyed.size(); ++i) {
    if (i > 0 && keyed[i].class_ != keyed[i - 1].class_) ++class_index;
    selected.push_back({.index = keyed[i].index,
                        .class_index = class_index,
                        .usable = !std::get<0>(keyed[i].class_)});
  }
  return selected;
}

}  // namespace conpool::resolver
