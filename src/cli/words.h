// Numbers and lines as people read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conpool::cli {

// "0s", "462us", "24.2ms", "1.5s": three digits, as the library writes them below 1000 s.
std::string duration_text(int64_t nanoseconds);

// "4 connections", "1 lease".
std::string count_text(uint64_t count, std::string_view noun);

// Rows with their columns aligned, two spaces apart and two before the first. A number column
// would be padded on its left; the ones here are texts.
std::string table(const std::vector<std::vector<std::string>>& rows);

// `text` in lines of at most `width` columns, each begun with `indent`.
std::string wrapped(std::string_view text, std::string_view indent, size_t width);

// What a user wrote, for a line that says what is wrong with it: in quotes and on one line,
// whatever is in it, and cut short where it is long.
std::string in_quotes(std::string_view text);

// The text with its control characters written out: "\n", "\u001b".
std::string on_one_line(std::string_view text);

void print(std::string_view text);        // on stdout
void print_error(std::string_view text);  // on stderr
void flush_output();                      // of stdout

// Why stdout does not take what is printed, once it did not.
std::optional<std::string> output_failure();

}  // namespace conpool::cli
