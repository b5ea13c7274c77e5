// HTTP-date (RFC 9110 §5.6.7): the form that is sent and the two obsolete ones. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace conpool::policy {

// Seconds since 1970-01-01T00:00:00Z. The obsolete form with a year of two digits takes the year
// nearest to `present`; without one 70 to 99 are 1970 to 1999 and the others 2000 to 2069. The name
// of the day must be a name, and need not be the right one: the date says it again.
std::optional<int64_t> parse_http_date(std::string_view text, std::optional<int64_t> present);

}  // namespace conpool::policy
