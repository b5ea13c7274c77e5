// The option table and the strict parsing of option values.
#include <algorithm>
#include <cassert>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>

#include "base/limits.h"
#include "base/settings.h"
#include "base/text.h"

namespace conpool {
namespace {

__extension__ using int128 = __int128;

[[maybe_unused]] constexpr bool LIVE = true;
[[maybe_unused]] constexpr bool FIXED = false;

constexpr OptionInfo kTable[] = {
#define OPTION(field, name, type, def, least, most, scope, live, since, text) \
  {name, OptionType::type, def, least, most, Scope::scope, live, since, text},
#include "base/options.def"
#undef OPTION
};

// Where a row's value lives: one of the two is set.
struct Field {
  int64_t Values::*number = nullptr;
  std::string Values::*text = nullptr;
  constexpr explicit Field(int64_t Values::*n) : number(n) {}
  constexpr explicit Field(std::string Values::*t) : text(t) {}
};

constexpr Field kFields[] = {
#define OPTION(field, name, type, def, least, most, scope, live, since, text) Field(&Values::field),
#include "base/options.def"
#undef OPTION
};

// A unit of a duration or a size. Largest first, so that an exact value is written shortest.
struct Unit {
  std::string_view name;
  int64_t size;
};
constexpr Unit kDurationUnits[] = {{"h", kHour},         {"min", kMinute},     {"s", kSecond},
                                   {"ms", kMillisecond}, {"us", kMicrosecond}, {"ns", 1}};
constexpr Unit kSizeUnits[] = {{"GiB", 1 << 30},   {"MiB", 1 << 20}, {"KiB", 1 << 10},
                               {"GB", 1000000000}, {"MB", 1000000},  {"KB", 1000}};

const Field& field_of(const OptionInfo& option) {
  const OptionInfo* row = find_option(option.name);
  assert(row != nullptr);
  return kFields[row - kTable];
}

// How a number's text can fail.
enum class Wrong { None, Type, Unit, Range };
struct Number {
  Wrong wrong = Wrong::None;
  int64_t value = 0;
};

// "-12" or "12": one optional '-' and digits. Range when it is well-formed but too large.
Number parse_integer(std::string_view text) {
  Number number;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number.value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    number.wrong = Wrong::Type;
  } else if (error == std::errc::result_out_of_range) {
    number.wrong = Wrong::Range;
  }
  return number;
}

std::optional<int64_t> unit_size(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.size;
  }
  return {};
}

// whole * size + 0.fraction * size, exactly; Range when it does not fit or is finer than 1.
Number scaled(std::string_view whole, std::string_view fraction, int64_t size) {
  constexpr size_t kMostDigits = 18;  // of a fraction: 10^18 * 1 h stays below 2^127
  while (!fraction.empty() && fraction.back() == '0')
    fraction.remove_suffix(1);
  Number integer = parse_integer(whole);
  if (integer.wrong != Wrong::None) return integer;
  if (fraction.size() > kMostDigits) return {Wrong::Range, 0};
  int128 part = 0;
  int128 power = 1;
  for (char c : fraction) {
    part = part * 10 + (c - '0');
    power *= 10;
  }
  part *= size;
  if (part % power != 0) return {Wrong::Range, 0};
  int128 value = static_cast<int128>(integer.value) * size + part / power;
  if (value > std::numeric_limits<int64_t>::max()) return {Wrong::Range, 0};
  return {Wrong::None, static_cast<int64_t>(value)};
}

// Digits, for durations a fraction, and a unit. A leading '-' is Range when the rest is
// well-formed.
Number parse_measure(std::string_view text, OptionType type) {
  bool duration = type == OptionType::DURATION;
  if (text.starts_with('-') && !text.starts_with("--")) {
    Number positive = parse_measure(text.substr(1), type);
    if (positive.wrong != Wrong::None) return positive;
    return positive.value == 0 ? positive : Number{Wrong::Range, 0};
  }
  size_t at = 0;
  auto digits = [&] {
    size_t from = at;
    while (at < text.size() && is_digit(text[at]))
      ++at;
    return text.substr(from, at - from);
  };
  std::string_view whole = digits();
  std::string_view fraction;
  if (whole.empty()) return {Wrong::Type, 0};
  if (duration && at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
    if (fraction.empty()) return {Wrong::Type, 0};
  }
  std::string_view unit = text.substr(at);
  if (unit.empty()) {
    if (!duration || text == "0") return scaled(whole, {}, 1);
    return {Wrong::Unit, 0};
  }
  std::optional<int64_t> size =
      duration ? unit_size(kDurationUnits, unit) : unit_size(kSizeUnits, unit);
  if (!size) return {Wrong::Type, 0};
  return scaled(whole, fraction, *size);
}

Number parse_number(const OptionInfo& option, std::string_view text) {
  switch (option.type) {
    case OptionType::DURATION:
    case OptionType::SIZE:
      return parse_measure(text, option.type);
    case OptionType::COUNT:
      return parse_integer(text);
    case OptionType::BOOL:
      if (text == "true") return {Wrong::None, 1};
      return text == "false" ? Number{} : Number{Wrong::Type, 0};
    case OptionType::CHOICE: {
      int64_t index = 0;
      for (std::string_view choice : choices(option)) {
        if (choice == text) return {Wrong::None, index};
        ++index;
      }
      return {Wrong::Type, 0};
    }
    case OptionType::TEXT:
    case OptionType::LIST:
    case OptionType::BYTES:
      break;
  }
  return {Wrong::Type, 0};
}

// What the option takes, for messages: "a duration such as 250ms, from 1ms to 1h".
std::string expectation(const OptionInfo& option) {
  std::string range = ", from " + std::string(option.least) + " to " + std::string(option.most);
  switch (option.type) {
    case OptionType::DURATION:
      return "a duration with a unit of ns, us, ms, s, min or h, such as \"250ms\"" + range;
    case OptionType::COUNT:
      return "a whole number" + range;
    case OptionType::SIZE:
      return "a size in bytes or with a unit of KiB, MiB, GiB, KB, MB or GB" + range;
    case OptionType::BOOL:
      return "true or false";
    case OptionType::CHOICE: {
      std::string text = "one of ";
      std::vector<std::string_view> all = choices(option);
      for (size_t i = 0; i < all.size(); ++i) {
        if (i > 0) text += i + 1 == all.size() ? " or " : ", ";
        text += all[i];
      }
      return text;
    }
    case OptionType::TEXT:
    case OptionType::LIST:
    case OptionType::BYTES:
      return std::string(option.least) + " to " + std::string(option.most) + " bytes";
  }
  return {};
}

// For digits without a unit.
std::string unit_remedy(std::string_view text) {
  return "a duration needs a unit; write \"" + (text.size() <= 20 ? std::string(text) : "250") +
         "ms\"";
}

// PEM texts may be private keys and proxies have passwords: no message and no readout repeats them.
bool is_secret(const OptionInfo& option) {
  return option.name.ends_with("_pem") || option.name == "proxy";
}

Unexpected refuse(Status status, const OptionInfo& option, std::string_view value,
                  const std::string& reason) {
  std::string shown =
      is_secret(option) ? "(" + std::to_string(value.size()) + " bytes)" : in_quotes(value);
  return fail(status, std::string(option.name) + " = " + shown + ": " + reason);
}

Unexpected refuse_number(Wrong wrong, const OptionInfo& option, std::string_view text) {
  if (wrong == Wrong::Range) {
    return refuse(Status::E_OPTION_RANGE, option, text, "write " + expectation(option));
  }
  if (wrong == Wrong::Unit) return refuse(Status::E_OPTION_TYPE, option, text, unit_remedy(text));
  return refuse(Status::E_OPTION_TYPE, option, text, "write " + expectation(option));
}

bool within(const OptionInfo& option, int64_t value) {
  if (option.type == OptionType::BOOL || option.type == OptionType::CHOICE) return true;
  return value >= parse_number(option, option.least).value &&
         value <= parse_number(option, option.most).value;
}

int hex_value(char c) {
  return is_digit(c) ? c - '0' : to_lower(c) - 'a' + 10;
}

// \r \n \t \\ \0 \xHH; nothing when an escape is none of these.
std::optional<std::string> decode_escapes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    if (++i == text.size()) return {};
    size_t plain = std::string_view("rnt\\0").find(text[i]);
    if (plain != std::string_view::npos) {
      out.push_back("\r\n\t\\\0"[plain]);
    } else if (text[i] == 'x' && text.size() - i > 2 && is_hex_digit(text[i + 1]) &&
               is_hex_digit(text[i + 2])) {
      out.push_back(static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])));
      i += 2;
    } else {
      return {};
    }
  }
  return out;
}

std::string encode_escapes(std::string_view bytes) {
  std::string out;
  for (char c : bytes) {
    size_t plain = std::string_view("\r\n\t\\\0", 5).find(c);
    auto byte = static_cast<unsigned char>(c);
    if (plain != std::string_view::npos) {
      out.push_back('\\');
      out.push_back("rnt\\0"[plain]);
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += byte_text(byte);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// The items without the spaces around them, joined by single commas.
Result<std::string> parse_list(const OptionInfo& option, std::string_view text) {
  if (trimmed(text).empty()) return std::string();
  std::string joined;
  for (std::string_view item : list_items(text)) {
    item = trimmed(item);
    if (item.empty()) {
      return refuse(Status::E_OPTION_TYPE, option, text,
                    "it has an empty item; write one comma between two items");
    }
    if (!joined.empty()) joined += ',';
    joined += item;
  }
  return joined;
}

Result<std::string> parse_text(const OptionInfo& option, std::string_view text) {
  if (option.type == OptionType::BYTES) {
    std::optional<std::string> bytes = decode_escapes(text);
    if (bytes) return *std::move(bytes);
    return refuse(Status::E_OPTION_TYPE, option, text,
                  R"(the escapes are \r, \n, \t, \\, \0 and \xHH)");
  }
  if (text.find('\0') != text.npos) {
    return refuse(Status::E_OPTION_TYPE, option, text,
                  "it has a NUL byte; give the length without one");
  }
  if (option.type == OptionType::LIST) return parse_list(option, text);
  return std::string(text);
}

template <size_t N>
std::string measure_text(int64_t value, const Unit (&units)[N]) {
  for (const Unit& unit : units) {
    if (value % unit.size == 0) return std::to_string(value / unit.size) + std::string(unit.name);
  }
  return std::to_string(value);
}

// Optimal string alignment: insertions, deletions, substitutions, swaps of neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = previous;
    previous = row;
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      bool same = to_lower(a[i - 1]) == b[j - 1];
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const OptionInfo> option_table() {
  return kTable;
}

const OptionInfo* find_option(std::string_view name) {
  for (const OptionInfo& option : kTable) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string_view nearest_option(std::string_view name) {
  constexpr size_t kLongestName = 64;  // beyond it, nothing is near
  if (name.empty() || name.size() > kLongestName) return {};
  size_t best = std::min<size_t>(3, std::max<size_t>(1, name.size() / 3)) + 1;
  std::string_view nearest;
  for (const OptionInfo& option : kTable) {
    size_t distance = edit_distance(name, option.name);
    if (distance < best) {
      best = distance;
      nearest = option.name;
    }
  }
  return nearest;
}

std::vector<std::string_view> choices(const OptionInfo& option) {
  std::vector<std::string_view> all;
  if (option.type != OptionType::CHOICE) return all;
  std::string_view rest = option.least;
  for (size_t bar = rest.find('|'); bar != rest.npos; bar = rest.find('|')) {
    all.push_back(rest.substr(0, bar));
    rest.remove_prefix(bar + 1);
  }
  all.push_back(rest);
  return all;
}

std::vector<std::string_view> list_items(std::string_view list) {
  std::vector<std::string_view> items;
  if (list.empty()) return items;
  for (size_t comma = list.find(','); comma != list.npos; comma = list.find(',')) {
    items.push_back(list.substr(0, comma));
    list.remove_prefix(comma + 1);
  }
  items.push_back(list);
  return items;
}

Result<void> set_value(Values* values, const OptionInfo& option, std::string_view text) {
  if (text.size() > limits::kOptionValueBytes) {
    return refuse(Status::E_OPTION_RANGE, option, text,
                  "it has " + std::to_string(text.size()) +
                      " bytes; an option's value has at most " +
                      std::to_string(limits::kOptionValueBytes));
  }
  const Field& field = field_of(option);
  if (field.number != nullptr) {
    Number number = parse_number(option, text);
    if (number.wrong == Wrong::None && !within(option, number.value)) number.wrong = Wrong::Range;
    if (number.wrong != Wrong::None) return refuse_number(number.wrong, option, text);
    values->*field.number = number.value;
    return {};
  }
  Result<std::string> parsed = parse_text(option, text);
  if (!parsed) return fail(std::move(parsed).error());
  auto size = static_cast<int64_t>(parsed->size());
  if (size < parse_integer(option.least).value || size > parse_integer(option.most).value) {
    return refuse(Status::E_OPTION_RANGE, option, text,
                  "it has " + std::to_string(size) + " bytes; write " + expectation(option));
  }
  values->*field.text = *std::move(parsed);
  return {};
}

std::string option_value_text(const OptionInfo& option, const Values& values) {
  const Field& field = field_of(option);
  if (field.text != nullptr) {
    const std::string& text = values.*field.text;
    if (is_secret(option) && !text.empty()) return "(" + std::to_string(text.size()) + " bytes)";
    return option.type == OptionType::BYTES ? encode_escapes(text) : text;
  }
  int64_t number = values.*field.number;
  switch (option.type) {
    case OptionType::DURATION:
      return number == 0 ? "0" : measure_text(number, kDurationUnits);
    case OptionType::SIZE:
      return number == 0 ? "0" : measure_text(number, kSizeUnits);
    case OptionType::BOOL:
      return number != 0 ? "true" : "false";
    case OptionType::CHOICE: {
      std::vector<std::string_view> all = choices(option);
      auto index = static_cast<size_t>(number);
      return index < all.size() ? std::string(all[index]) : std::to_string(number);
    }
    default:
      return std::to_string(number);
  }
}

std::string identity_text(const Values& values) {
  std::string text;
  for (size_t i = 0; i < std::size(kTable); ++i) {
    if (kTable[i].scope == Scope::REQUEST) continue;
    std::string value = kFields[i].number != nullptr ? std::to_string(values.*kFields[i].number)
                                                     : values.*kFields[i].text;
    text.append(kTable[i].name).append("=").append(std::to_string(value.size())).append(":");
    text.append(value).append("\n");
  }
  return text;
}

const Values& default_values() {
  // Leaked on purpose: loops may read it while the process exits.
  static const Values* const defaults = [] {
    auto* values = new Values;
    for (const OptionInfo& option : kTable) {
      [[maybe_unused]] Result<void> set = set_value(values, option, option.default_text);
      assert(set);
    }
    return values;
  }();
  return *defaults;
}

Result<Nanos> parse_duration(std::string_view text) {
  Number number = parse_measure(text, OptionType::DURATION);
  switch (number.wrong) {
    case Wrong::None:
      return number.value;
    case Wrong::Range:
      return fail(
          Status::E_OPTION_RANGE,
          in_quotes(text) + ": a duration is not negative, below 292 years and no finer than 1ns");
    case Wrong::Unit:
      return fail(Status::E_OPTION_TYPE, in_quotes(text) + ": " + unit_remedy(text));
    case Wrong::Type:
      break;
  }
  return fail(Status::E_OPTION_TYPE,
              in_quotes(text) +
                  ": write a duration with a unit of ns, us, ms, s, min or h, such as "
                  "\"250ms\"");
}

}  // namespace conpool
