/* What the examples take from their command lines, in C and in C++. */
#pragma once

#include <stdlib.h>

/* The number that an argument is, if it is digits alone and in this range; -1 if not. */
static inline int number_of(const char* text, int least, int most) {
  char* end = NULL;
  const long number = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;
  return end != NULL && *end == '\0' && number >= least && number <= most ? (int)number : -1;
}
