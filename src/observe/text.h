// Small helpers of the text forms: UTF-8, JSON strings, decimal times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace conpool::observe {

// The longest prefix of at most `size` bytes that does not end inside a UTF-8 sequence.
std::string_view cut_utf8(std::string_view text, size_t size);

// Appends `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string* out, std::string_view text);

// Appends `text` with everything but printable ASCII and UTF-8 replaced by '?': for terminals and
// logs.
void append_plain(std::string* out, std::string_view text);

void append_int(std::string* out, int64_t value);
void append_uint(std::string* out, uint64_t value);

// `value` / 10^decimals, exact: append_scaled(out, 1500, 3) writes "1.500".
void append_scaled(std::string* out, int64_t value, int decimals);

}  // namespace conpool::observe
