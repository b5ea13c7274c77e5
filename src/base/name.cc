// Host names: strict parsing with a worded reason for each refusal.
#include "base/name.h"

#include <algorithm>

#include "base/limits.h"
#include "base/text.h"

namespace conpool {
namespace {

Unexpected bad_name(std::string_view text, std::string_view reason) {
  return fail(Status::E_BAD_NAME, in_quotes(text) + " is not a host name: " + std::string(reason));
}

// What inet_aton and browsers would read as a number: decimal, or hexadecimal after "0x".
bool is_numeric(std::string_view label) {
  if (label.size() >= 2 && label[0] == '0' && to_lower(label[1]) == 'x') {
    return std::all_of(label.begin() + 2, label.end(), is_hex_digit);
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

// The reason to refuse a byte that no name may hold; empty when it may.
std::string byte_refusal(char c) {
  if (is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.') return {};
  if (c == '\0') return "it has a NUL byte; give the length without one";
  if (c == ' ') return "it has a space; remove it";
  auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x80) {
    return "it has the non-ASCII byte " + byte_text(byte) +
           "; write the A-label form, as in xn--bcher-kva.example";
  }
  if (c == '[' || c == ']')
    return "brackets belong around a whole IPv6 address, as in [2001:db8::1]";
  return "it has the byte " + byte_text(byte) + "; letters, digits, '-', '_' and '.' are allowed";
}

std::string label_refusal(std::string_view label) {
  if (label.empty()) return "it has an empty label; write one dot between two labels";
  if (label.size() > limits::kLabelBytes) {
    return "the label " + in_quotes(label, 16) + " has " + std::to_string(label.size()) +
           " bytes; a label has at most 63";
  }
  if (label.front() == '-') return "the label " + in_quotes(label) + " begins with '-'";
  if (label.back() == '-') return "the label " + in_quotes(label) + " ends with '-'";
  return {};
}

Result<Host> literal_host(SocketAddress address) {
  Host host;
  host.literal = true;
  host.address = std::move(address);
  return host;
}

// Texts with a colon: IPv6 literals, or a port that stands in the wrong place.
Result<Host> parse_with_colon(std::string_view text) {
  Result<SocketAddress> address = parse_ip_literal(text);
  if (address) return literal_host(*std::move(address));
  size_t first = text.find(':');
  if (text.front() != '[' && text.find(':', first + 1) == text.npos) {
    return bad_name(text, "a host has no ':'; the port is given apart from it");
  }
  if (text.find('%') != text.npos && text.find('%') + 1 < text.size()) {
    return bad_name(text, "after '%' stands the number or the name of an interface");
  }
  return bad_name(text, "it is not an IPv6 address either; write one as in 2001:db8::1");
}

}  // namespace

std::string Host::text() const {
  if (literal) return address.ip_text();
  return absolute ? name + "." : name;
}

Result<Host> parse_host(std::string_view text) {
  if (text.empty()) return bad_name(text, "it is empty");
  if (text == ".") return bad_name(text, "the root has no address");
  bool absolute = text.back() == '.';
  std::string_view name = absolute ? text.substr(0, text.size() - 1) : text;
  if (name.size() > limits::kHostNameBytes) {
    return bad_name(text, "it has " + std::to_string(name.size()) + " bytes; at most " +
                              std::to_string(limits::kHostNameBytes) + " are allowed");
  }
  if (text.find('\0') == text.npos && text.find(':') != text.npos) return parse_with_colon(text);
  for (char c : name) {
    std::string reason = byte_refusal(c);
    if (!reason.empty()) return bad_name(text, reason);
  }
  std::string_view rest = name;
  std::string_view last;
  for (bool more = true; more;) {
    size_t dot = rest.find('.');
    more = dot != rest.npos;
    last = rest.substr(0, dot);
    std::string reason = label_refusal(last);
    if (!reason.empty()) return bad_name(text, reason);
    if (more) rest.remove_prefix(dot + 1);
  }
  if (is_numeric(last)) {
    Result<SocketAddress> address = parse_ip_literal(name);
    if (!address) {
      return bad_name(text, "a numeric last label must belong to a dotted quad such as 127.0.0.1");
    }
    if (absolute) return bad_name(text, "an IP address has no dot at its end");
    return literal_host(*std::move(address));
  }
  Host host;
  host.absolute = absolute;
  host.name.resize(name.size());
  std::transform(name.begin(), name.end(), host.name.begin(), to_lower);
  return host;
}

}  // namespace conpool
