// A small scanner for the three fixed forms of HTTP-date.
#include "policy/http_date.h"

#include <array>

namespace conpool::policy {
namespace {

constexpr int64_t kDaySeconds = 86400;
constexpr std::array<std::string_view, 7> kDays = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 7> kLongDays = {
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Days from 1970-01-01 of a proleptic Gregorian date. Years are counted from March, so that a leap
// day is the last of its year; the months' lengths then repeat as 153 days in five.
int64_t days_from_epoch(int64_t year, int64_t month, int64_t day) {
  const int64_t y = month > 2 ? year : year - 1;
  const int64_t m = (month + 9) % 12;
  const int64_t leaps = y / 4 - y / 100 + y / 400;
  constexpr int64_t kEpoch = 719468;  // 1970-01-01 by the same count
  return 365 * y + leaps + (153 * m + 2) / 5 + day - 1 - kEpoch;
}

bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int64_t days_of_month(int64_t year, int64_t month) {
  if (month == 2) return is_leap(year) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

int64_t year_of(int64_t seconds) {
  int64_t year = 1970 + seconds / (365 * kDaySeconds);
  while (days_from_epoch(year, 1, 1) * kDaySeconds > seconds)
    --year;
  return year;
}

int64_t full_year(int64_t two_digits, std::optional<int64_t> present) {
  if (!present) return two_digits + (two_digits >= 70 ? 1900 : 2000);
  const int64_t near = year_of(*present);
  int64_t year = near - near % 100 + two_digits;
  if (year > near + 50) year -= 100;
  if (year < near - 50) year += 100;
  return year;
}

// Takes text from the front; one mismatch and nothing matches any more.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool matched() const { return good_ && text_.empty(); }
  void literal(std::string_view expected) {
    if (text_.substr(0, expected.size()) != expected) good_ = false;
    if (good_) text_.remove_prefix(expected.size());
  }
  template <size_t N>
  int64_t name(const std::array<std::string_view, N>& names) {
    for (size_t i = 0; i < N && good_; ++i) {
      if (text_.substr(0, names[i].size()) != names[i]) continue;
      text_.remove_prefix(names[i].size());
      return static_cast<int64_t>(i);
    }
    good_ = false;
    return 0;
  }
  int64_t number(size_t digits) {
    int64_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      if (text_.empty() || text_.front() < '0' || text_.front() > '9') good_ = false;
      if (!good_) return 0;
      value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  // Two places, of which the first may be a space (asctime).
  int64_t padded_number() {
    if (text_.empty() || text_.front() != ' ') return number(2);
    text_.remove_prefix(1);
    return number(1);
  }

 private:
  std::string_view text_;
  bool good_ = true;
};

struct Fields {
  int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;

  void read_clock(Scanner& in) {
    hour = in.number(2);
    in.literal(":");
    minute = in.number(2);
    in.literal(":");
    second = in.number(2);
  }
  std::optional<int64_t> seconds() const {
    if (day < 1 || day > days_of_month(year, month)) return std::nullopt;
    // A leap second is the first one after it.
    if (hour > 23 || minute > 59 || second > 60) return std::nullopt;
    return days_from_epoch(year, month, day) * kDaySeconds + hour * 3600 + minute * 60 + second;
  }
};

// Sun, 06 Nov 1994 08:49:37 GMT
std::optional<int64_t> parse_fixdate(std::string_view text) {
  Scanner in(text);
  Fields fields;
  in.name(kDays);
  in.literal(", ");
  fields.day = in.number(2);
  in.literal(" ");
  fields.month = in.name(kMonths) + 1;
  in.literal(" ");
  fields.year = in.number(4);
  in.literal(" ");
  fields.read_clock(in);
  in.literal(" GMT");
  return in.matched() ? fields.seconds() : std::nullopt;
}

// Sunday, 06-Nov-94 08:49:37 GMT
std::optional<int64_t> parse_rfc850(std::string_view text, std::optional<int64_t> present) {
  Scanner in(text);
  Fields fields;
  in.name(kLongDays);
  in.literal(", ");
  fields.day = in.number(2);
  in.literal("-");
  fields.month = in.name(kMonths) + 1;
  in.literal("-");
  fields.year = full_year(in.number(2), present);
  in.literal(" ");
  fields.read_clock(in);
  in.literal(" GMT");
  return in.matched() ? fields.seconds() : std::nullopt;
}

// Sun Nov  6 08:49:37 1994
std::optional<int64_t> parse_asctime(std::string_view text) {
  Scanner in(text);
  Fields fields;
  in.name(kDays);
  in.literal(" ");
  fields.month = in.name(kMonths) + 1;
  in.literal(" ");
  fields.day = in.padded_number();
  in.literal(" ");
  fields.read_clock(in);
  in.literal(" ");
  fields.year = in.number(4);
  return in.matched() ? fields.seconds() : std::nullopt;
}

}  // namespace

std::optional<int64_t> parse_http_date(std::string_view text, std::optional<int64_t> present) {
  if (const auto seconds = parse_fixdate(text)) return seconds;
  if (const auto seconds = parse_rfc850(text, present)) return seconds;
  return parse_asctime(text);
}

}  // namespace conpool::policy
