// Field lines in one block.
#include "session/http.h"

#include <algorithm>

namespace conpool::session {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

void Fields::add(std::string_view name, std::string_view value) {
  lines_.push_back({static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()),
                    static_cast<uint32_t>(value.size())});
  text_ += name;
  text_ += '\0';
  text_ += value;
  text_ += '\0';
}

void Fields::reserve(size_t lines, size_t bytes) {
  lines_.reserve(lines);
  text_.reserve(bytes + kEnds * lines);
}

void Fields::clear() {
  lines_.clear();
  text_.clear();
}

Field Fields::operator[](size_t index) const {
  const Line& line = lines_[index];
  const std::string_view text = text_;
  return {text.substr(line.at, line.name_size),
          text.substr(line.at + line.name_size + 1, line.value_size)};
}

std::optional<std::string_view> Fields::find(std::string_view name, size_t nth) const {
  for (size_t i = 0; i < lines_.size(); ++i) {
    const Field field = (*this)[i];
    if (same_name(field.name, name) && nth-- == 0) return field.value;
  }
  return std::nullopt;
}

}  // namespace conpool::session
