// Host names: one normal form for DNS, SNI, the pool's key and the cache.
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace conpool {

// What a caller typed as a host: an IP literal or a DNS name.
struct Host {
  std::string name;       // lower case, without the trailing dot; empty for a literal
  bool absolute = false;  // the typed name ended in one dot: no search list
  bool literal = false;
  SocketAddress address;  // with port 0; set for a literal only
  // The form for texts and keys: name (with its dot when absolute) or the literal.
  std::string text() const;
};

// Rules (E_BAD_NAME, naming the input and what would be right):
//   1..253 bytes, labels of 1..63 bytes of letters, digits, '-' and '_', no label begins or ends
//   with '-'; one trailing dot means absolute; upper case becomes lower case; a numeric last label
//   must be a strict dotted quad ("1.2.3", "0x7f.1" and "2130706433" are refused); non-ASCII is
//   refused with the remedy (the A-label form, "xn--…"); NUL, spaces and anything else are refused.
//   An IP literal is accepted too, IPv6 with or without brackets.
Result<Host> parse_host(std::string_view text);

}  // namespace conpool
