// Text for messages: quoting of untrusted bytes, so that no input can break or flood a line.
#pragma once

#include <string>
#include <string_view>

namespace conpool {

// Bytes of an input that a message repeats at most; what was cut off is shown as "...".
inline constexpr size_t kQuotedBytes = 80;

// "like \"this\"" between double quotes: backslash, quotes and every byte outside printable ASCII
// escaped (\n, \xHH), cut after `limit` bytes of input. (Not `quoted`: a std::string would find
// std::quoted first.)
std::string in_quotes(std::string_view text, size_t limit = kQuotedBytes);
// Without the quotes and the cut; distinct inputs give distinct results.
std::string escaped(std::string_view text);
// One byte as it appears in a message: 'a', or \x1f.
std::string byte_text(unsigned char byte);
// Only control bytes escaped: for text that was composed here but may carry a peer's words.
std::string without_control_bytes(std::string_view text);

// Without the spaces at both ends.
std::string_view trimmed(std::string_view text);

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
inline bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
inline char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

}  // namespace conpool
