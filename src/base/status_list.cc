// Statuses and ranges of statuses.
#include "base/status_list.h"

#include <charconv>
#include <optional>
#include <string>

#include "base/settings.h"
#include "base/text.h"

namespace conpool {
namespace {

constexpr int kMost = 599;

struct Range {
  int first = 0;
  int last = 0;
};

std::optional<int> status_of(std::string_view text, int least) {
  int status = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), status);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  if (text.size() != 3 || status < least || status > kMost) return std::nullopt;
  return status;
}

std::optional<Range> range_of(std::string_view item, int least) {
  const size_t dash = item.find('-');
  const std::optional<int> first = status_of(item.substr(0, dash), least);
  const std::optional<int> last =
      dash == std::string_view::npos ? first : status_of(item.substr(dash + 1), least);
  if (!first || !last || *first > *last) return std::nullopt;
  return Range{*first, *last};
}

}  // namespace

Result<void> check_status_list(std::string_view list, int least) {
  for (const std::string_view item : list_items(list)) {
    if (range_of(item, least)) continue;
    return fail(Status::E_OPTION_RANGE, in_quotes(item, 32) + " is neither a status from " +
                                            std::to_string(least) +
                                            " to 599 nor a range of them; write 503 or 500-599");
  }
  return {};
}

bool status_list_has(std::string_view list, int status) {
  for (const std::string_view item : list_items(list)) {
    const std::optional<Range> range = range_of(item, kLeastStatus);
    if (range && status >= range->first && status <= range->last) return true;
  }
  return false;
}

}  // namespace conpool
