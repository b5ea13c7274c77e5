// Destination address selection (RFC 6724 §6) as a pure function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/settings.h"

namespace conpool::resolver {

// What is known about the source address the system would use towards a destination.
struct SourceView {
  enum class Kind : uint8_t {
    Known,
    None,     // no route: the destination is unusable (rule 1)
    Unknown,  // it could not be found out: rules that need it are left out
  };
  Kind kind = Kind::None;
  SocketAddress address = {};
};

struct SelectionCandidate {
  SocketAddress address;
  SourceView source;
  // Rank by history (measured round trips, earlier use), lower is better: it goes between rules 8
  // and 9 (RFC 8305 §4) and never makes a class of its own.
  uint32_t history = 0;
};

struct Selected {
  size_t index = 0;          // in the list given
  uint32_t class_index = 0;  // 0, 1, …: equal under rules 1 to 8; only these may be rebalanced
  bool usable = true;        // by rule 1; unusable ones are last, not dropped
};

// Rules 1, 2, 5, 6, 8, then history, 9 and 10. Rules 3, 4 and 7 need facts (deprecated, home and
// transition addresses) that only netlink tells. Rule 9 compares IPv6 only, and at most 64 bits:
// what follows is a host part and would undo the balance among servers of one network.
std::vector<Selected> select_destinations(std::span<const SelectionCandidate> candidates,
                                          PolicyTable table);

// Parts, for tests and explanations.
struct Policy {
  uint8_t precedence = 0;
  uint8_t label = 0;
};
Policy policy_of(const SocketAddress& address, PolicyTable table);
uint8_t scope_of(const SocketAddress& address);  // RFC 4291 §2.7's values: 2 link-local, 14 global
unsigned common_prefix_bits(const SocketAddress& a, const SocketAddress& b);  // at most 64

}  // namespace conpool::resolver
