// Quoting of untrusted bytes for messages.
#include "base/text.h"

namespace conpool {
namespace {

void append_hex(std::string* out, unsigned char byte) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out->append("\\x");
  out->push_back(kDigits[byte >> 4]);
  out->push_back(kDigits[byte & 15]);
}

bool is_control(unsigned char byte) {
  return byte < 0x20 || byte == 0x7f;
}

void append_escaped(std::string* out, std::string_view text) {
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (is_control(byte) || byte >= 0x80) {
      append_hex(out, byte);
    } else {
      out->push_back(c);
    }
  }
}

}  // namespace

std::string in_quotes(std::string_view text, size_t limit) {
  std::string out = "\"";
  append_escaped(&out, text.substr(0, limit));
  out.append(text.size() > limit ? "...\"" : "\"");
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  append_escaped(&out, text);
  return out;
}

std::string byte_text(unsigned char byte) {
  std::string out;
  if (is_control(byte) || byte >= 0x80) {
    append_hex(&out, byte);
    return out;
  }
  return {'\'', static_cast<char>(byte), '\''};
}

std::string without_control_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (is_control(byte)) {
      append_hex(&out, byte);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' '))
    text.remove_prefix(1);
  while (text.ends_with(' '))
    text.remove_suffix(1);
  return text;
}

}  // namespace conpool
