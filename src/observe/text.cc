// Small helpers of the text forms: UTF-8, JSON strings, decimal times.
#include "observe/text.h"

#include <charconv>

namespace conpool::observe {

namespace {

bool continues(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80;
}

// Bytes of the well-formed sequence at `at` (Unicode 15, table 3-7), or 0.
size_t sequence_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4 || !continues(text, at + 1)) return 0;
  if (first < 0xe0) return 2;
  const uint8_t second = byte(at + 1);
  if (!continues(text, at + 2)) return 0;
  if (first < 0xf0) {
    const bool overlong = first == 0xe0 && second < 0xa0;
    const bool surrogate = first == 0xed && second > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (!continues(text, at + 3)) return 0;
  const bool overlong = first == 0xf0 && second < 0x90;
  const bool beyond = first == 0xf4 && second > 0x8f;
  return overlong || beyond ? 0 : 4;
}

void append_json_control(std::string* out, uint8_t byte) {
  switch (byte) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      break;
  }
  static constexpr char kHex[] = "0123456789abcdef";
  out->append("\\u00");
  out->push_back(kHex[byte >> 4]);
  out->push_back(kHex[byte & 15]);
}

}  // namespace

std::string_view cut_utf8(std::string_view text, size_t size) {
  if (text.size() <= size) return text;
  size_t end = size;
  // At most three bytes back: text that is no UTF-8 at all is cut where it is.
  for (int i = 0; i < 3 && end > 0 && continues(text, end); ++i)
    --end;
  if (continues(text, end)) end = size;
  return text.substr(0, end);
}

void append_json_string(std::string* out, std::string_view text) {
  out->push_back('"');
  for (size_t i = 0; i < text.size();) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const size_t size = sequence_at(text, i);
    if (size == 0) {
      out->append("\xef\xbf\xbd");
      ++i;
    } else if (size == 1 && (byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f)) {
      append_json_control(out, byte);
      ++i;
    } else {
      out->append(text.substr(i, size));
      i += size;
    }
  }
  out->push_back('"');
}

void append_plain(std::string* out, std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const size_t size = sequence_at(text, i);
    // U+0080 to U+009F are controls as well: terminals obey them.
    const bool control = byte < 0x20 || byte == 0x7f ||
                         (size == 2 && byte == 0xc2 && static_cast<uint8_t>(text[i + 1]) < 0xa0);
    if (size == 0 || control) {
      out->push_back('?');
    } else {
      out->append(text.substr(i, size));
    }
    i += size == 0 ? 1 : size;
  }
}

void append_int(std::string* out, int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, end.ptr);
}

void append_uint(std::string* out, uint64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, end.ptr);
}

void append_scaled(std::string* out, int64_t value, int decimals) {
  uint64_t magnitude = static_cast<uint64_t>(value);
  if (value < 0) {
    out->push_back('-');
    magnitude = 0 - magnitude;
  }
  uint64_t scale = 1;
  for (int i = 0; i < decimals; ++i)
    scale *= 10;
  append_uint(out, magnitude / scale);
  if (decimals == 0) return;
  out->push_back('.');
  std::string rest;
  append_uint(&rest, magnitude % scale);
  out->append(static_cast<size_t>(decimals) - rest.size(), '0');
  out->append(rest);
}

}  // namespace conpool::observe
