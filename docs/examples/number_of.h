// What the examples take from their command lines.
#pragma once

#include <charconv>
#include <cstring>
#include <system_error>

// The number that an argument is, if it is one in this range; -1 if not.
inline int number_of(const char* text, int least, int most) {
  int number = -1;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, number);
  return error == std::errc() && stopped == end && number >= least && number <= most ? number : -1;
}
