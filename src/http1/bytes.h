// Which bytes may stand where (RFC 9110 §5.5, §5.6), and lists of items.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/text.h"

namespace conpool::http1 {

namespace bytes {

inline constexpr uint8_t kToken = 1;
inline constexpr uint8_t kValue = 2;

constexpr std::array<uint8_t, 256> make_table() {
  std::array<uint8_t, 256> table{};
  for (size_t c = 0; c < table.size(); ++c) {
    const bool visible = c > 0x20 && c < 0x7f;
    if (c == '\t' || c == ' ' || visible || c >= 0x80) table[c] |= kValue;
    constexpr std::string_view kDelimiters = "\"(),/:;<=>?@[\\]{}";
    if (visible && kDelimiters.find(static_cast<char>(c)) == std::string_view::npos) {
      table[c] |= kToken;
    }
  }
  return table;
}

inline constexpr std::array<uint8_t, 256> kTable = make_table();

}  // namespace bytes

inline bool is_token_byte(char c) {
  return (bytes::kTable[static_cast<uint8_t>(c)] & bytes::kToken) != 0;
}
// In a field's value or a reason phrase.
inline bool is_value_byte(char c) {
  return (bytes::kTable[static_cast<uint8_t>(c)] & bytes::kValue) != 0;
}
inline bool is_space(char c) {
  return c == ' ' || c == '\t';
}

// The non-empty items of a comma-separated list (RFC 9110 §5.6.1), without space around them.
template <typename Call>
void for_each_item(std::string_view list, Call call) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    while (!item.empty() && is_space(item.front()))
      item.remove_prefix(1);
    while (!item.empty() && is_space(item.back()))
      item.remove_suffix(1);
    if (!item.empty()) call(item);
  }
}

}  // namespace conpool::http1
