// The option table and the parsing of values, row by row and form by form.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/settings.h"

namespace conpool {
namespace {

using namespace std::string_literals;

bool is_number(const OptionInfo& option) {
  return option.type == OptionType::DURATION || option.type == OptionType::COUNT ||
         option.type == OptionType::SIZE;
}
bool is_text(const OptionInfo& option) {
  return option.type == OptionType::TEXT || option.type == OptionType::LIST ||
         option.type == OptionType::BYTES;
}

Status status_of(const OptionInfo& option, std::string_view text) {
  Values values = default_values();
  std::string before = identity_text(values);
  Result<void> set = set_value(&values, option, text);
  if (set) return Status::OK;
  EXPECT_EQ(identity_text(values), before) << "a refused value changed the values";
  EXPECT_TRUE(set.error().detail.starts_with(std::string(option.name) + " = "))
      << set.error().detail;
  EXPECT_LT(set.error().detail.size(), 600u);
  return set.error().status;
}

// The value after parsing, written back.
std::string value_text(const OptionInfo& option, std::string_view text) {
  Values values;
  EXPECT_TRUE(set_value(&values, option, text)) << option.name << " " << text;
  return option_value_text(option, values);
}

TEST(OptionTable, NamesAreDistinctAndFound) {
  std::set<std::string_view> names;
  for (const OptionInfo& option : option_table()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_EQ(find_option(option.name), &option);
    EXPECT_FALSE(option.text.empty()) << option.name;
    EXPECT_EQ(option.since.find_first_not_of("0123456789."), std::string_view::npos);
  }
  EXPECT_EQ(find_option("connect.timeou"), nullptr);
  EXPECT_EQ(find_option(""), nullptr);
}

TEST(OptionTable, EveryDefaultParsesAndReadsBack) {
  for (const OptionInfo& option : option_table()) {
    EXPECT_EQ(status_of(option, option.default_text), Status::OK) << option.name;
    std::string text = option_value_text(option, default_values());
    EXPECT_EQ(value_text(option, text), text) << option.name;
  }
}

TEST(OptionTable, LimitsAreIncludedAndOneBeyondIsRefused) {
  for (const OptionInfo& option : option_table()) {
    if (!is_number(option)) continue;
    EXPECT_EQ(status_of(option, option.least), Status::OK) << option.name;
    EXPECT_EQ(status_of(option, option.most), Status::OK) << option.name;
    auto number = [](const OptionInfo& o, std::string_view text) -> int64_t {
      if (o.type == OptionType::DURATION) return *parse_duration(text);
      if (o.type == OptionType::COUNT) return std::stoll(std::string(text));
      std::string digits(text);
      int64_t unit = digits.ends_with("KiB")   ? 1 << 10
                     : digits.ends_with("MiB") ? 1 << 20
                     : digits.ends_with("GiB") ? 1 << 30
                                               : 1;
      return std::stoll(digits) * unit;
    };
    std::string unit = option.type == OptionType::DURATION ? "ns" : "";
    std::string below = std::to_string(number(option, option.least) - 1) + unit;
    EXPECT_EQ(status_of(option, below), Status::E_OPTION_RANGE) << option.name << " " << below;
    std::string above = number(option, option.most) == kNever
                            ? "9223372036854775808" + unit
                            : std::to_string(number(option, option.most) + 1) + unit;
    EXPECT_EQ(status_of(option, above), Status::E_OPTION_RANGE) << option.name << " " << above;
  }
}

TEST(OptionTable, TextsHaveTheirLimits) {
  for (const OptionInfo& option : option_table()) {
    if (!is_text(option)) continue;
    auto most = static_cast<size_t>(std::stoul(std::string(option.most)));
    EXPECT_EQ(status_of(option, std::string(most, 'x')), Status::OK) << option.name;
    EXPECT_EQ(status_of(option, std::string(most + 1, 'x')), Status::E_OPTION_RANGE) << option.name;
    EXPECT_LE(most, limits::kOptionValueBytes);
  }
}

TEST(OptionTable, MistypedValuesAreRefused) {
  for (const OptionInfo& option : option_table()) {
    if (is_text(option)) {
      if (option.type == OptionType::BYTES) {
        EXPECT_EQ(status_of(option, "\\q"), Status::E_OPTION_TYPE) << option.name;
      } else {
        EXPECT_EQ(status_of(option, "a\0b"s), Status::E_OPTION_TYPE) << option.name;
      }
      continue;
    }
    for (const std::string& text :
         {""s, "banana"s, "1x"s, " 1"s, "1 "s, "1\0"s, "--1"s, "-"s, "+1"s, "0x10"s, "1e3"s,
          "True"s, "1,5s"s, "1.s"s, ".5s"s, "5 s"s, "5S"s, "nan"s, "\xff"s}) {
      EXPECT_EQ(status_of(option, text), Status::E_OPTION_TYPE) << option.name << " " << text;
    }
  }
}

TEST(OptionTable, AValueHasALimitWhateverItsType) {
  std::string huge(limits::kOptionValueBytes + 1, '0');
  for (const OptionInfo& option : option_table()) {
    EXPECT_EQ(status_of(option, huge), Status::E_OPTION_RANGE) << option.name;
  }
}

TEST(OptionTable, EveryChoiceParsesToItsIndex) {
  for (const OptionInfo& option : option_table()) {
    if (option.type != OptionType::CHOICE) {
      EXPECT_TRUE(choices(option).empty());
      continue;
    }
    std::vector<std::string_view> all = choices(option);
    ASSERT_GE(all.size(), 2u) << option.name;
    EXPECT_EQ(std::set<std::string_view>(all.begin(), all.end()).size(), all.size());
    for (std::string_view choice : all)
      EXPECT_EQ(value_text(option, choice), choice);
    EXPECT_EQ(status_of(option, std::string(all[0]) + "x"), Status::E_OPTION_TYPE);
  }
}

template <typename Enum>
void expect_choice(int64_t Values::*field, std::string_view name, std::string_view word,
                   Enum value) {
  Values values;
  ASSERT_TRUE(set_value(&values, *find_option(name), word)) << name << " " << word;
  EXPECT_EQ(values.*field, static_cast<int64_t>(value)) << name << " " << word;
}

TEST(OptionTable, ChoiceEnumsHaveTheTablesOrder) {
  auto loop = [](std::string_view w, auto v) {
    expect_choice(&Values::loop_drive, "loop.drive", w, v);
  };
  loop("thread", LoopDrive::Thread);
  loop("caller", LoopDrive::Caller);
  auto level = [](std::string_view w, auto v) {
    expect_choice(&Values::events_level, "events.level", w, v);
  };
  level("error", EventsLevel::Error);
  level("warning", EventsLevel::Warning);
  level("info", EventsLevel::Info);
  level("debug", EventsLevel::Debug);
  auto until = [](std::string_view w, auto v) {
    expect_choice(&Values::race_until, "race.until", w, v);
  };
  until("tcp", RaceUntil::Tcp);
  until("tls", RaceUntil::Tls);
  auto family = [](std::string_view w, auto v) {
    expect_choice(&Values::race_family, "race.family", w, v);
  };
  family("auto", RaceFamily::Auto);
  family("v6_first", RaceFamily::V6First);
  family("v4_first", RaceFamily::V4First);
  family("v6_only", RaceFamily::V6Only);
  family("v4_only", RaceFamily::V4Only);
  auto cert = [](std::string_view w, auto v) {
    expect_choice(&Values::race_cert_error, "race.cert_error", w, v);
  };
  cert("stop", CertError::Stop);
  cert("continue", CertError::Continue);
  auto backend = [](std::string_view w, auto v) {
    expect_choice(&Values::dns_backend, "dns.backend", w, v);
  };
  backend("cares", DnsBackend::Cares);
  backend("system", DnsBackend::System);
  backend("queue", DnsBackend::Queue);
  backend("none", DnsBackend::None);
  auto search = [](std::string_view w, auto v) {
    expect_choice(&Values::dns_search, "dns.search", w, v);
  };
  search("system", DnsSearch::System);
  search("off", DnsSearch::Off);
  auto table = [](std::string_view w, auto v) {
    expect_choice(&Values::dns_policy_table, "dns.policy_table", w, v);
  };
  table("rfc6724", PolicyTable::Rfc6724);
  table("updated", PolicyTable::Updated);
  auto filter = [](std::string_view w, auto v) {
    expect_choice(&Values::dns_address_filter, "dns.address_filter", w, v);
  };
  filter("any", AddressFilter::Any);
  filter("public_only", AddressFilter::PublicOnly);
}

TEST(OptionTable, ChoiceEnumsOfBalanceTlsAndHttpHaveTheTablesOrder) {
  auto policy = [](std::string_view w, auto v) {
    expect_choice(&Values::balance_policy, "balance.policy", w, v);
  };
  policy("least_connections", BalancePolicy::LeastConnections);
  policy("rfc6724", BalancePolicy::Rfc6724);
  policy("round_robin", BalancePolicy::RoundRobin);
  policy("random", BalancePolicy::Random);
  auto vanished = [](std::string_view w, auto v) {
    expect_choice(&Values::balance_vanished, "balance.vanished", w, v);
  };
  vanished("drain", Vanished::Drain);
  vanished("close", Vanished::Close);
  auto version = [](std::string_view w, auto v) {
    expect_choice(&Values::tls_min_version, "tls.min_version", w, v);
  };
  version("1.2", TlsMinVersion::V1_2);
  version("1.3", TlsMinVersion::V1_3);
  auto hop = [](std::string_view w, auto v) {
    expect_choice(&Values::tls_starttls, "tls.starttls", w, v);
  };
  hop("none", StartTls::None);
  hop("postgres", StartTls::Postgres);
  auto http = [](std::string_view w, auto v) {
    expect_choice(&Values::http_version, "http.version", w, v);
  };
  http("auto", HttpChoice::Auto);
  http("http1", HttpChoice::Http1);
  http("h2", HttpChoice::H2);
  auto world = [](std::string_view w, auto v) {
    expect_choice(&Values::loop_world, "loop.world", w, v);
  };
  world("real", LoopWorld::Real);
  world("simulated", LoopWorld::Simulated);
  auto sizing = [](std::string_view w, auto v) {
    expect_choice(&Values::pool_sizing, "pool.sizing", w, v);
  };
  sizing("demand", PoolSizing::Demand);
  sizing("rate", PoolSizing::Rate);
  auto exhausted = [](std::string_view w, auto v) {
    expect_choice(&Values::pool_exhausted, "pool.exhausted", w, v);
  };
  exhausted("wait", WhenExhausted::Wait);
  exhausted("fail", WhenExhausted::Fail);
  auto check = [](std::string_view w, auto v) {
    expect_choice(&Values::health_check, "health.check", w, v);
  };
  check("auto", HealthCheck::Auto);
  check("tcp", HealthCheck::Tcp);
  check("bytes", HealthCheck::Bytes);
  check("head", HealthCheck::Head);
  check("get", HealthCheck::Get);
  check("ping", HealthCheck::Ping);
  auto checkout = [](std::string_view w, auto v) {
    expect_choice(&Values::health_on_checkout, "health.on_checkout", w, v);
  };
  checkout("peek", OnCheckout::Peek);
  checkout("probe", OnCheckout::Probe);
  auto discipline = [](std::string_view w, auto v) {
    expect_choice(&Values::queue_discipline, "queue.discipline", w, v);
  };
  discipline("fifo", QueueDiscipline::Fifo);
  discipline("codel", QueueDiscipline::Codel);
  auto jitter = [](std::string_view w, auto v) {
    expect_choice(&Values::retry_jitter, "retry.jitter", w, v);
  };
  jitter("full", RetryJitter::Full);
  jitter("equal", RetryJitter::Equal);
  jitter("added", RetryJitter::Added);
  auto breaker = [](std::string_view w, auto v) {
    expect_choice(&Values::breaker_mode, "breaker.mode", w, v);
  };
  breaker("on", BreakerMode::On);
  breaker("off", BreakerMode::Off);
  size_t rows = 0;
  for (const OptionInfo& option : option_table())
    rows += option.type == OptionType::CHOICE;
  EXPECT_EQ(rows, 22u) << "a new CHOICE needs its enum and its lines here";
}

TEST(ParseDuration, ExactForms) {
  struct Case {
    const char* text;
    Nanos value;
  };
  for (const Case& c : {Case{"0", 0},
                        {"0s", 0},
                        {"-0s", 0},
                        {"1ns", 1},
                        {"7us", 7000},
                        {"250ms", 250 * kMillisecond},
                        {"1.5s", 1500 * kMillisecond},
                        {"0.000000001s", 1},
                        {"1.25min", 75 * kSecond},
                        {"10min", 600 * kSecond},
                        {"720h", 720 * kHour},
                        {"1.500000000000000000000s", 1500 * kMillisecond},
                        {"9223372036854775807ns", kNever},
                        {"9223372036.854775807s", kNever}}) {
    Result<Nanos> parsed = parse_duration(c.text);
    ASSERT_TRUE(parsed) << c.text << parsed.error().detail;
    EXPECT_EQ(*parsed, c.value) << c.text;
  }
}

TEST(ParseDuration, Refusals) {
  for (const char* text : {"9223372036854775808ns", "9223372036.854775808s", "2562048h", "-1s",
                           "0.5ns", "0.0000000001s", "99999999999999999999s"}) {
    ASSERT_FALSE(parse_duration(text)) << text;
    EXPECT_EQ(parse_duration(text).error().status, Status::E_OPTION_RANGE) << text;
  }
  for (const char* text :
       {"", "-", "s", "1.s", ".1s", "1..1s", "1s1", "1 s", "1sec", "--1s", "1,0s"}) {
    ASSERT_FALSE(parse_duration(text)) << text;
    EXPECT_EQ(parse_duration(text).error().status, Status::E_OPTION_TYPE) << text;
  }
  EXPECT_EQ(parse_duration("250").error().status, Status::E_OPTION_TYPE);
  EXPECT_EQ(parse_duration("250").error().detail,
            "\"250\": a duration needs a unit; write \"250ms\"");
}

TEST(SetValue, SizeForms) {
  const OptionInfo& option = *find_option("pool.max_pinned");
  auto parsed = [&](std::string_view text) {
    Values values;
    EXPECT_TRUE(set_value(&values, option, text)) << text;
    return values.pool_max_pinned;
  };
  EXPECT_EQ(parsed("65536"), 65536);
  EXPECT_EQ(parsed("64KiB"), 65536);
  EXPECT_EQ(parsed("100KB"), 100000);
  EXPECT_EQ(parsed("1MB"), 1000000);
  EXPECT_EQ(parsed("1MiB"), 1 << 20);
  EXPECT_EQ(parsed("1GB"), 1000000000);
  EXPECT_EQ(parsed("2GiB"), int64_t{2} << 30);
  EXPECT_EQ(status_of(option, "1.5MiB"), Status::E_OPTION_TYPE);
  EXPECT_EQ(status_of(option, "1mib"), Status::E_OPTION_TYPE);
  EXPECT_EQ(status_of(option, "-64KiB"), Status::E_OPTION_RANGE);
  EXPECT_EQ(status_of(option, "9223372036854775807GiB"), Status::E_OPTION_RANGE);
}

TEST(SetValue, NegativeCountWhereTheRangeAllowsIt) {
  Values values;
  ASSERT_TRUE(set_value(&values, *find_option("dns.ndots"), "-1"));
  EXPECT_EQ(values.dns_ndots, -1);
  EXPECT_EQ(status_of(*find_option("connect.retries"), "-1"), Status::E_OPTION_RANGE);
}

TEST(SetValue, BytesEscapesDecodeAndEncode) {
  const OptionInfo& option = *find_option("check.send");
  Values values;
  ASSERT_TRUE(set_value(&values, option, R"(PING\r\n\t\\\0\x00\xfFé)"));
  EXPECT_EQ(values.check_send, "PING\r\n\t\\\0\0\xff\xc3\xa9"s);
  std::string text = option_value_text(option, values);
  EXPECT_EQ(text, R"(PING\r\n\t\\\0\0\xff\xc3\xa9)");
  Values again;
  ASSERT_TRUE(set_value(&again, option, text));
  EXPECT_EQ(again.check_send, values.check_send);
  for (const char* bad : {"\\", "a\\", "\\x", "\\x1", "\\xg0", "\\x0g", "\\a", "\\R", "\\1"}) {
    EXPECT_EQ(status_of(option, bad), Status::E_OPTION_TYPE) << bad;
  }
  std::string most;
  for (int i = 0; i < 4096; ++i)
    most += "\\x00";
  EXPECT_EQ(status_of(option, most), Status::OK);
  EXPECT_EQ(status_of(option, most + "a"), Status::E_OPTION_RANGE);
}

TEST(SetValue, ListItemsAreTrimmedAndNeverEmpty) {
  const OptionInfo& option = *find_option("tls.alpn");
  Values values;
  ASSERT_TRUE(set_value(&values, option, " h2 ,  http/1.1"));
  EXPECT_EQ(values.tls_alpn, "h2,http/1.1");
  EXPECT_EQ(list_items(values.tls_alpn), (std::vector<std::string_view>{"h2", "http/1.1"}));
  ASSERT_TRUE(set_value(&values, option, " "));
  EXPECT_EQ(values.tls_alpn, "");
  EXPECT_TRUE(list_items("").empty());
  for (const char* bad : {",", "h2,", ",h2", "h2,,x", "h2, ,x"}) {
    EXPECT_EQ(status_of(option, bad), Status::E_OPTION_TYPE) << bad;
  }
}

TEST(SetValue, ErrorsNameOptionValueRangeAndRemedy) {
  auto detail = [](std::string_view name, std::string_view value) {
    Values values;
    return set_value(&values, *find_option(name), value).error().detail;
  };
  EXPECT_EQ(detail("connect.timeout", "250"),
            R"(connect.timeout = "250": a duration needs a unit; write "250ms")");
  EXPECT_EQ(detail("connect.timeout", "2h"),
            R"(connect.timeout = "2h": write a duration with a unit of ns, us, ms, s, min or h, )"
            R"(such as "250ms", from 1ms to 1h)");
  EXPECT_EQ(detail("connect.retries", "many"),
            R"(connect.retries = "many": write a whole number, from 0 to 100)");
  EXPECT_EQ(detail("tls.min_version", "1.1"),
            R"(tls.min_version = "1.1": write one of 1.2 or 1.3)");
  EXPECT_EQ(detail("tls.insecure", "yes"), R"(tls.insecure = "yes": write true or false)");
  EXPECT_EQ(detail("partition", "a\0b"s),
            R"(partition = "a\x00b": it has a NUL byte; give the length without one)");
  EXPECT_EQ(
      detail("partition", std::string(257, 'p')),
      "partition = \"" + std::string(80, 'p') + "...\": it has 257 bytes; write 0 to 256 bytes");
}

TEST(SetValue, SecretsAreNeverRepeated) {
  std::string secret = "SECRET\0"s;
  for (const char* name : {"tls.key_pem", "tls.cert_pem", "tls.ca_pem", "proxy"}) {
    Values values;
    Result<void> set = set_value(&values, *find_option(name), secret);
    ASSERT_FALSE(set);
    EXPECT_EQ(set.error().detail.find("SECRET"), std::string::npos) << set.error().detail;
    ASSERT_TRUE(set_value(&values, *find_option(name), "SECRET"));
    EXPECT_EQ(option_value_text(*find_option(name), values), "(6 bytes)");
  }
}

TEST(NearestOption, OffersTheLikelyOne) {
  EXPECT_EQ(nearest_option("connect.timout"), "connect.timeout");
  EXPECT_EQ(nearest_option("conect_timeout"), "connect.timeout");
  EXPECT_EQ(nearest_option("Connect.Timeout"), "connect.timeout");
  EXPECT_EQ(nearest_option("tls.insecrue"), "tls.insecure");
  EXPECT_EQ(nearest_option("connect-delay"), "connect_delay");
  EXPECT_EQ(nearest_option("banana"), "");
  EXPECT_EQ(nearest_option(""), "");
  EXPECT_EQ(nearest_option(std::string(100000, 'x')), "");
}

}  // namespace
}  // namespace conpool
