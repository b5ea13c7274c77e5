// The text of a plan: rules apart by ';' or a new line, each KIND key=value ….
#include <algorithm>
#include <array>
#include <charconv>

#include "base/settings.h"
#include "base/text.h"
#include "fault/plan.h"

namespace conpool::fault {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// The keys that only some kinds know.
enum Key : uint16_t {
  kAfter = 1 << 0,
  kDelay = 1 << 1,
  kRate = 1 << 2,
  kCode = 1 << 3,
  kTo = 1 << 4,
};

struct Name {
  std::string_view name;
  uint32_t number;
};

constexpr Name kTlsAlerts[] = {
    // RFC 8446 section 6
    {"close_notify", 0},
    {"unexpected_message", 10},
    {"handshake_failure", 40},
    {"bad_certificate", 42},
    {"certificate_expired", 45},
    {"certificate_unknown", 46},
    {"unknown_ca", 48},
    {"access_denied", 49},
    {"protocol_version", 70},
    {"internal_error", 80},
    {"unrecognized_name", 112},
    {"certificate_required", 116},
    {"no_application_protocol", 120},
};
constexpr Name kHttp2Errors[] = {
    // RFC 9113 section 7
    {"no_error", 0},
    {"protocol_error", 1},
    {"internal_error", 2},
    {"flow_control_error", 3},
    {"settings_timeout", 4},
    {"stream_closed", 5},
    {"frame_size_error", 6},
    {"refused_stream", 7},
    {"cancel", 8},
    {"compression_error", 9},
    {"connect_error", 10},
    {"enhance_your_calm", 11},
    {"inadequate_security", 12},
    {"http_1_1_required", 13},
};
constexpr Name kDnsErrors[] = {
    // RFC 1035 section 4.1.1
    {"servfail", 2}, {"nxdomain", 3}, {"notimp", 4}, {"refused", 5}, {"timeout", Rule::kNoAnswer},
};

struct KindInfo {
  Kind kind;
  std::string_view name;
  Point point;
  uint16_t keys = 0;    // beside the selectors
  uint16_t needed = 0;  // of them
  uint32_t code = 0;    // without code=
  uint32_t most_code = 0;
  std::span<const Name> codes = {};
};

constexpr KindInfo kKinds[] = {
    {Kind::Refuse, "refuse", Point::Connect},
    {Kind::BlackHole, "blackhole", Point::Connect},
    {Kind::ConnectDelay, "connect_delay", Point::Connect, kDelay, kDelay},
    {Kind::TlsAlert, "tls_alert", Point::Connect, kCode, 0, 40, 255, kTlsAlerts},
    {Kind::ReadDelay, "read_delay", Point::Send, kDelay, kDelay},
    {Kind::Slow, "slow", Point::Send, kRate, kRate},
    {Kind::Reset, "reset", Point::Send, kAfter},
    {Kind::Truncate, "truncate", Point::Send, kAfter},
    {Kind::Close, "close", Point::Send},
    {Kind::HalfOpen, "half_open", Point::Send},
    {Kind::Goaway, "goaway", Point::Send, kCode, 0, 0, UINT32_MAX, kHttp2Errors},
    {Kind::RstStream, "rst_stream", Point::Send, kCode, 0, 2, UINT32_MAX, kHttp2Errors},
    {Kind::DnsFail, "dns_fail", Point::Lookup, kCode, 0, 2, 10, kDnsErrors},
    {Kind::DnsChange, "dns_change", Point::Lookup, kTo, kTo},
};

const KindInfo& info_of(Kind kind) {
  return *std::find_if(std::begin(kKinds), std::end(kKinds),
                       [kind](const KindInfo& info) { return info.kind == kind; });
}

const KindInfo* find_kind(std::string_view name) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [name](const KindInfo& info) { return info.name == name; });
  return found == std::end(kKinds) ? nullptr : found;
}

constexpr std::string_view kOrdinalKeys[] = {"connects", "requests", "lookups"};  // by point

std::string_view ordinal_key(Point point) {
  return kOrdinalKeys[static_cast<size_t>(point)];
}

// Every key of a kind, for messages.
std::string keys_of(const KindInfo& kind) {
  std::string keys;
  const auto add = [&keys](std::string_view key) {
    if (!keys.empty()) keys += ", ";
    keys += key;
  };
  constexpr Name kParameters[] = {
      {"after", kAfter}, {"delay", kDelay}, {"rate", kRate}, {"code", kCode}, {"to", kTo}};
  for (const Name& parameter : kParameters) {
    if ((kind.keys & parameter.number) != 0) add(parameter.name);
  }
  add("p");
  add("every");
  add(ordinal_key(kind.point));
  if (kind.point == Point::Send) add("attempts");
  if (kind.point == Point::Send) add("sends");
  add("time");
  add("endpoint");
  add("address");
  return keys;
}

std::string kind_names() {
  std::string names;
  for (const KindInfo& info : kKinds) {
    if (!names.empty()) names += ", ";
    names += info.name;
  }
  return names;
}

std::optional<uint64_t> number_of(std::string_view text, uint64_t least, uint64_t most) {
  uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  if (number < least || number > most) return std::nullopt;
  return number;
}

// One rule, word by word. Every word that is wrong ends the reading with what would be right.
class RuleReader {
 public:
  RuleReader(size_t number, std::string_view text) : number_(number), rest_(text) {}

  Result<Rule> read() {
    const std::string_view name = next_word();
    kind_ = find_kind(name);
    if (kind_ == nullptr)
      return wrong(in_quotes(name, 32) + " is no kind of fault; the kinds are " + kind_names());
    rule_.kind = kind_->kind;
    rule_.code = kind_->code;
    for (std::string_view word = next_word(); !word.empty(); word = next_word()) {
      if (Result<void> read = read_word(word); !read) return fail(std::move(read.error()));
    }
    if ((kind_->needed & kDelay & ~given_) != 0)
      return wrong("it needs delay=250ms or delay=50ms-200ms");
    if ((kind_->needed & kRate & ~given_) != 0)
      return wrong("it needs rate=1000, bytes per second");
    if ((kind_->needed & kTo & ~given_) != 0) return wrong("it needs to=192.0.2.1, or several");
    return std::move(rule_);
  }

 private:
  std::string_view next_word() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(kBlanks), rest_.size()));
    const std::string_view word = rest_.substr(0, rest_.find_first_of(kBlanks));
    rest_.remove_prefix(word.size());
    return word;
  }

  Unexpected wrong(const std::string& what) const {
    std::string where = "fault.plan, rule " + std::to_string(number_);
    if (kind_ != nullptr) where += " (" + std::string(kind_->name) + ")";
    return fail(Status::E_OPTION_RANGE, where + ": " + what);
  }
  Unexpected wrong_word(std::string_view word, const std::string& remedy) const {
    return wrong(in_quotes(word) + ": " + remedy);
  }

  Result<void> read_word(std::string_view word) {
    const size_t equals = word.find('=');
    if (equals == word.npos)
      return wrong_word(word, "write key=value; the keys are " + keys_of(*kind_));
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (std::find(seen_.begin(), seen_.end(), key) != seen_.end())
      return wrong_word(word, "it comes twice; write it once");
    seen_.push_back(key);
    if (key == "p") return read_probability(word, value);
    if (key == "every") return read_every(word, value);
    if (key == ordinal_key(kind_->point)) return read_ranges(word, value, &rule_.ordinals);
    if (kind_->point == Point::Send && key == "attempts")
      return read_ranges(word, value, &rule_.attempts);
    if (kind_->point == Point::Send && key == "sends")
      return read_ranges(word, value, &rule_.sends);
    if (key == "time") return read_time(word, value);
    if (key == "endpoint") return read_endpoint(word, value);
    if (key == "address") return read_address(word, value);
    if (key == "after" && take(kAfter)) return read_after(word, value);
    if (key == "delay" && take(kDelay)) return read_delay(word, value);
    if (key == "rate" && take(kRate)) return read_rate(word, value);
    if (key == "code" && take(kCode)) return read_code(word, value);
    if (key == "to" && take(kTo)) return read_to(word, value);
    return wrong_word(word, "this kind has no such key; its keys are " + keys_of(*kind_));
  }

  bool take(uint16_t key) {
    given_ |= key;
    return (kind_->keys & key) != 0;
  }

  // "5%", "0.25%", to four places: exactly a number of millionths.
  Result<void> read_probability(std::string_view word, std::string_view value) {
    const std::string remedy = "write a share such as p=5% or p=0.5%, from 0.0001% to 100%";
    if (!value.ends_with('%')) return wrong_word(word, remedy);
    value.remove_suffix(1);
    const size_t dot = value.find('.');
    std::string places(dot == value.npos ? std::string_view() : value.substr(dot + 1));
    if (places.size() > 4 || (dot != value.npos && places.empty())) return wrong_word(word, remedy);
    places.resize(4, '0');
    const std::optional<uint64_t> whole = number_of(value.substr(0, dot), 0, 100);
    const std::optional<uint64_t> part = number_of(places, 0, 9999);
    if (!whole || !part) return wrong_word(word, remedy);
    const uint64_t share = *whole * 10'000 + *part;
    if (share == 0 || share > Rule::kCertain) return wrong_word(word, remedy);
    rule_.probability = static_cast<uint32_t>(share);
    return {};
  }

  Result<void> read_every(std::string_view word, std::string_view value) {
    const std::optional<uint64_t> number = number_of(value, 1, UINT32_MAX);
    if (!number) return wrong_word(word, "write every=10, a number from 1 to 4294967295");
    rule_.every = *number;
    return {};
  }

  // "40-60", "40", "40-", "1-5,9".
  Result<void> read_ranges(std::string_view word, std::string_view value, Ranges* out) {
    const std::string key(word.substr(0, word.find('=')));
    const std::string remedy =
        "write numbers from 1 on: " + key + "=7, " + key + "=40-60, " + key + "=40- or several";
    while (!value.empty() || out->empty()) {
      const std::string_view item = value.substr(0, value.find(','));
      const size_t dash = item.find('-');
      const std::optional<uint64_t> first = number_of(item.substr(0, dash), 1, INT64_MAX);
      const bool open = dash != item.npos && dash + 1 == item.size();
      const std::optional<uint64_t> last = dash == item.npos ? first
                                           : open            ? UINT64_MAX
                                                  : number_of(item.substr(dash + 1), 1, INT64_MAX);
      if (!first || !last) return wrong_word(word, remedy);
      if (*first > *last) return wrong_word(word, "a range begins with its smaller number");
      if (out->size() == Plan::kMostRanges) {
        return wrong_word(word, "at most " + std::to_string(Plan::kMostRanges) +
                                    " ranges; give the rest to another rule");
      }
      out->push_back({*first, *last});
      if (item.size() == value.size()) break;
      value.remove_prefix(item.size() + 1);
      if (value.empty()) return wrong_word(word, remedy);
    }
    return {};
  }

  Result<void> read_time(std::string_view word, std::string_view value) {
    const std::string remedy = "write a window since the pool began: time=5s-10s or time=5s-";
    const size_t dash = value.find('-');
    if (dash == value.npos) return wrong_word(word, remedy);
    const Result<Nanos> from = parse_duration(value.substr(0, dash));
    if (!from || *from < 0) return wrong_word(word, remedy);
    rule_.from = *from;
    if (dash + 1 == value.size()) return {};
    const Result<Nanos> until = parse_duration(value.substr(dash + 1));
    if (!until || *until < 0) return wrong_word(word, remedy);
    if (*until <= *from) return wrong_word(word, "a window ends after it begins");
    rule_.until = *until;
    return {};
  }

  Result<void> read_endpoint(std::string_view word, std::string_view value) {
    const bool printable = std::all_of(value.begin(), value.end(),
                                       [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
    if (value.empty() || value.front() == ':' || !printable) {
      return wrong_word(word,
                        "write a host as the endpoint names it, with or without its port: "
                        "endpoint=example.org or endpoint=example.org:443");
    }
    for (const char c : value)
      rule_.endpoint.push_back(to_lower(c));
    return {};
  }

  Result<void> read_address(std::string_view word, std::string_view value) {
    if (value.starts_with("unix:")) {
      const std::string_view path = value.substr(5);
      if (path.empty() || path.size() > SocketAddress::kUnixPathBytes)
        return wrong_word(word, "write a path of 1 to 107 bytes: address=unix:/run/server");
      rule_.address = SocketAddress::unix_path(std::string(path));
      return {};
    }
    Result<SocketAddress> address = parse_ip_literal(value);
    if (!address) address = parse_address_and_port(value);
    if (!address) {
      return wrong_word(word,
                        "write an address with or without a port: address=192.0.2.1, "
                        "address=192.0.2.1:80 or address=[2001:db8::1]:80");
    }
    rule_.address = *address;
    return {};
  }

  Result<void> read_after(std::string_view word, std::string_view value) {
    const std::optional<uint64_t> bytes = number_of(value, 0, INT64_MAX);
    if (!bytes)
      return wrong_word(word, "write the bytes of the answer that come before: after=100");
    rule_.after = *bytes;
    return {};
  }

  Result<void> read_delay(std::string_view word, std::string_view value) {
    const std::string remedy = "write delay=250ms or delay=50ms-200ms, of at most 1h";
    const size_t dash = value.find('-');
    const Result<Nanos> least = parse_duration(value.substr(0, dash));
    const Result<Nanos> most = dash == value.npos ? least : parse_duration(value.substr(dash + 1));
    if (!least || !most || *least < 0 || *most > Plan::kLongestDelay)
      return wrong_word(word, remedy);
    if (*least > *most) return wrong_word(word, "a range begins with its smaller delay");
    rule_.delay_min = *least;
    rule_.delay_max = *most;
    return {};
  }

  Result<void> read_rate(std::string_view word, std::string_view value) {
    const std::optional<uint64_t> rate = number_of(value, 1, Plan::kFastest);
    if (!rate) return wrong_word(word, "write bytes per second, from 1 to 1000000000: rate=1000");
    rule_.rate = *rate;
    return {};
  }

  Result<void> read_code(std::string_view word, std::string_view value) {
    for (const Name& code : kind_->codes) {
      if (code.name != value) continue;
      rule_.code = code.number;
      return {};
    }
    const std::optional<uint64_t> number = number_of(value, 0, kind_->most_code);
    if (number) {
      rule_.code = static_cast<uint32_t>(*number);
      return {};
    }
    std::string names;
    for (const Name& code : kind_->codes)
      names += std::string(code.name) + ", ";
    return wrong_word(
        word, "write one of " + names + "or a number up to " + std::to_string(kind_->most_code));
  }

  Result<void> read_to(std::string_view word, std::string_view value) {
    for (const std::string_view item : list_items(value)) {
      const Result<SocketAddress> address = parse_ip_literal(item);
      if (!address || address->scope_id() != 0)
        return wrong_word(word, "write IP addresses: to=192.0.2.1 or to=192.0.2.1,2001:db8::1");
      if (rule_.to.size() == Plan::kMostAddresses)
        return wrong_word(word, "at most " + std::to_string(Plan::kMostAddresses) + " addresses");
      rule_.to.push_back(*address);
    }
    if (rule_.to.empty()) return wrong_word(word, "write an IP address: to=192.0.2.1");
    return {};
  }

  const size_t number_;
  std::string_view rest_;
  const KindInfo* kind_ = nullptr;
  Rule rule_;
  uint16_t given_ = 0;
  std::vector<std::string_view> seen_;
};

}  // namespace

Point point_of(Kind kind) {
  return info_of(kind).point;
}

std::string_view kind_name(Kind kind) {
  return info_of(kind).name;
}

bool only_delays(Kind kind) {
  return kind == Kind::ConnectDelay || kind == Kind::ReadDelay || kind == Kind::Slow;
}

bool of_http2(Kind kind) {
  return kind == Kind::Goaway || kind == Kind::RstStream;
}

Result<Plan> Plan::parse(std::string_view text) {
  if (text.size() > kMostBytes) {
    return fail(Status::E_OPTION_RANGE, "fault.plan has " + std::to_string(text.size()) +
                                            " bytes; it may have " + std::to_string(kMostBytes));
  }
  Plan plan;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find_first_of(";\n"));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    if (part.find_first_not_of(kBlanks) == part.npos) continue;
    if (plan.rules.size() == kMostRules) {
      return fail(Status::E_OPTION_RANGE,
                  "fault.plan has more than " + std::to_string(kMostRules) + " rules");
    }
    Result<Rule> rule = RuleReader(plan.rules.size() + 1, part).read();
    if (!rule) return fail(std::move(rule.error()));
    plan.rules.push_back(std::move(*rule));
  }
  return plan;
}

}  // namespace conpool::fault
