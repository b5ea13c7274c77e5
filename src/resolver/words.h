// Lines and words of configuration files.
#pragma once

#include <algorithm>
#include <string_view>

namespace conpool::resolver {

// Takes the text's first line off it, without the line's end.
inline std::string_view take_line(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// Takes the next word off the line; empty at its end. Words are separated by blanks and tabs.
inline std::string_view take_word(std::string_view* line) {
  const size_t begin = std::min(line->find_first_not_of(" \t"), line->size());
  line->remove_prefix(begin);
  const size_t end = std::min(line->find_first_of(" \t"), line->size());
  const std::string_view word = line->substr(0, end);
  line->remove_prefix(end);
  return word;
}

}  // namespace conpool::resolver
