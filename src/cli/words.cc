// Durations, tables and wrapped texts.
#include "cli/words.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace conpool::cli {
namespace {

constexpr size_t kQuotedBytes = 64;

int output_errno = 0;  // of the first write that failed; stdio keeps none

void note_output(bool good) {
  if (!good && output_errno == 0) output_errno = errno == 0 ? EIO : errno;
}

}  // namespace

std::string duration_text(int64_t nanoseconds) {
  static constexpr const char* kUnits[] = {"ns", "us", "ms", "s"};
  if (nanoseconds == 0) return "0s";
  double value = static_cast<double>(nanoseconds);
  size_t unit = 0;
  while (unit < 3 && value >= 999.5) {
    value /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  std::string digits = text;
  if (decimals > 0) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
  }
  return digits + kUnits[unit];
}

std::string count_text(uint64_t count, std::string_view noun) {
  std::string text = std::to_string(count) + " " + std::string(noun);
  if (count != 1) text += noun.back() == 's' ? "es" : "s";
  return text;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    // The last column of a row has nothing to align after it.
    for (size_t i = 0; i + 1 < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const std::vector<std::string>& row : rows) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i) {
      line += " " + row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 1, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string wrapped(std::string_view text, std::string_view indent, size_t width) {
  std::string out;
  std::string line(indent);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (line.size() > indent.size() && line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += ' ';
    line += word;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string in_quotes(std::string_view text) {
  using Json = nlohmann::json;
  size_t end = std::min(text.size(), kQuotedBytes);
  // Not through the middle of a character.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  const std::string dumped =
      Json(text.substr(0, end)).dump(-1, ' ', false, Json::error_handler_t::replace);
  return on_one_line(dumped) + (end < text.size() ? "…" : "");
}

std::string on_one_line(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    // U+0080 to U+009F in UTF-8: terminals obey them, too.
    const bool of_two = byte == 0xc2 && next >= 0x80 && next < 0xa0;
    if (byte >= 0x20 && byte != 0x7f && !of_two) {
      out += text[i];
      continue;
    }
    char written[8];
    std::snprintf(written, sizeof written, "\\u%04x", of_two ? unsigned{next} : unsigned{byte});
    out += byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : written;
    if (of_two) ++i;
  }
  return out;
}

void print(std::string_view text) {
  note_output(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void print_error(std::string_view text) {
  flush_output();  // so that the two stay in order on a terminal
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void flush_output() {
  note_output(std::fflush(stdout) == 0);
}

std::optional<std::string> output_failure() {
  if (output_errno == 0) return std::nullopt;
  return std::string(std::strerror(output_errno));
}

}  // namespace conpool::cli
