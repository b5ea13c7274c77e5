// The harness's settings: their ranges, and the library's options that they become.
#include "cli/harness_settings.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/arguments.h"
#include "cli/default_plan.h"
#include "cli/words.h"

namespace conpool::cli {

namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kMostSize = 65536;  // of endpoint.max_connections
constexpr int64_t kMostInFlight = 10'000;
constexpr int64_t kMostRequests = 10'000'000;  // each leaves a time to remember
constexpr double kLeastRate = 0.001;
constexpr double kMostRate = 1'000'000;
constexpr int64_t kOpenRate =
    1000;  // requests in flight that a rate without a concurrency may have
constexpr double kMostSeconds = 3e9;     // of a run: a third of what nanoseconds can tell
constexpr int64_t kOwnDescriptors = 32;  // the standard ones, the loop's, a file's, the origin's
constexpr size_t kMostText = 8192;

struct NumberKey {
  const char* key;
  int64_t HarnessSettings::*place;
  int64_t least;
  int64_t most;
};
constexpr NumberKey kNumbers[] = {
    {"port", &HarnessSettings::port, 1, 65535},
    {"pool_size", &HarnessSettings::pool_size, 1, kMostSize},
    {"connect_timeout_ms", &HarnessSettings::connect_timeout_ms, 1, kHourMs},
    {"read_timeout_ms", &HarnessSettings::read_timeout_ms, 1, kHourMs},
    {"idle_timeout_ms", &HarnessSettings::idle_timeout_ms, 0, 24 * kHourMs},
    {"requests", &HarnessSettings::requests, 1, kMostRequests},
    {"seed", &HarnessSettings::seed, 0, INT64_MAX},
};

struct BoolKey {
  const char* key;
  bool HarnessSettings::*place;
};
constexpr BoolKey kBools[] = {{"tls", &HarnessSettings::tls}, {"h2", &HarnessSettings::h2}};

constexpr std::pair<const char*, MetricsForm> kForms[] = {
    {"text", MetricsForm::Lines},
    {"json", MetricsForm::Json},
    {"openmetrics", MetricsForm::OpenMetrics}};

std::string whole(int64_t least, int64_t most) {
  return "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::optional<std::string> set_number(const SettingValue& value, int64_t least, int64_t most,
                                      int64_t* out) {
  const auto* number = std::get_if<int64_t>(&value);
  if (number == nullptr || *number < least || *number > most) return whole(least, most);
  *out = *number;
  return std::nullopt;
}

std::optional<std::string> set_text(const SettingValue& value, const char* allowed,
                                    std::string* out) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr || text->empty() || text->size() > kMostText) return allowed;
  *out = *text;
  return std::nullopt;
}

std::optional<std::string> set_rate(HarnessSettings* settings, const SettingValue& value) {
  const auto* whole_number = std::get_if<int64_t>(&value);
  const auto* decimal = std::get_if<double>(&value);
  const double rate = whole_number != nullptr ? static_cast<double>(*whole_number)
                      : decimal != nullptr    ? *decimal
                                              : 0.0;
  if (!(rate >= kLeastRate && rate <= kMostRate)) return "a number from 0.001 to 1000000";
  settings->rate = rate;
  return std::nullopt;
}

std::optional<std::string> set_faults(HarnessSettings* settings, const SettingValue& value) {
  static constexpr char kAllowed[] = "true, false or a plan (docs/faults.md)";
  if (const auto* wanted = std::get_if<bool>(&value)) {
    settings->fault_plan.reset();
    if (*wanted) settings->fault_plan = kDefaultFaultPlan;
    return std::nullopt;
  }
  std::string plan;
  std::optional<std::string> wrong = set_text(value, kAllowed, &plan);
  if (!wrong) settings->fault_plan = std::move(plan);
  return wrong;
}

std::optional<std::string> set_form(HarnessSettings* settings, const SettingValue& value) {
  const auto* word = std::get_if<std::string>(&value);
  for (const auto& [name, form] : kForms) {
    if (word == nullptr || *word != name) continue;
    settings->metrics = form;
    return std::nullopt;
  }
  return "text, json or openmetrics";
}

// Keys with a rule of their own.
struct OtherKey {
  const char* key;
  std::optional<std::string> (*set)(HarnessSettings*, const SettingValue&);
};
constexpr OtherKey kOthers[] = {
    {"rate", set_rate},
    {"inject_failures", set_faults},
    {"metrics", set_form},
    {"concurrency",
     [](HarnessSettings* settings, const SettingValue& value) {
       int64_t number = 0;
       std::optional<std::string> wrong = set_number(value, 1, kMostInFlight, &number);
       if (!wrong) settings->concurrency = number;
       return wrong;
     }},
    {"host",
     [](HarnessSettings* settings, const SettingValue& value) {
       return set_text(value, "a name or an address", &settings->host);
     }},
    {"path",
     [](HarnessSettings* settings, const SettingValue& value) -> std::optional<std::string> {
       static constexpr char kAllowed[] = "a path that begins with /";
       std::string path;
       if (set_text(value, kAllowed, &path) || path[0] != '/') return kAllowed;
       settings->path = path;
       return std::nullopt;
     }},
};

// What the text may stand for besides itself.
SettingValue typed_value(std::string_view key, const std::string& typed) {
  if (key == "host" || key == "path" || key == "metrics") return typed;
  if (key == "inject_failures") {
    if (typed == "true" || typed == "false") return typed == "true";
    return typed;
  }
  const char* end = typed.data() + typed.size();
  int64_t number = 0;
  const auto whole_number = std::from_chars(typed.data(), end, number);
  if (whole_number.ec == std::errc() && whole_number.ptr == end) return number;
  double decimal = 0;  // also what is too large for a whole number
  const auto with_point = std::from_chars(typed.data(), end, decimal);
  if (with_point.ec == std::errc() && with_point.ptr == end) return decimal;
  return typed;
}

std::string ms(int64_t milliseconds) {
  return std::to_string(milliseconds) + "ms";
}

// What happens between two looks must fit in.
int64_t events_kept(const HarnessSettings& settings, bool verbose) {
  return verbose ? std::max<int64_t>(4096, 32 * settings.in_flight())
                 : std::max<int64_t>(512, 8 * settings.in_flight());
}

// Whether the last start is a time that can be told: simulated runs come that far.
std::optional<Problem> check_duration(const HarnessSettings& settings) {
  if (!settings.rate) return std::nullopt;
  const int64_t most = std::llround(*settings.rate * kMostSeconds);
  if (settings.requests <= most) return std::nullopt;
  return Problem{kBadArguments, settings.name_of("requests") + " is " +
                                    std::to_string(settings.requests) + ": write at most " +
                                    std::to_string(most) + " at so low a rate"};
}

// Whether the limit of descriptors leaves room for the pool's connections.
std::optional<Problem> check_descriptors(const HarnessSettings& settings) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) return std::nullopt;
  const auto most = static_cast<int64_t>(limit.rlim_cur);
  const int64_t each = settings.restart_demo ? 2 : 1;  // its server has the other ends
  const int64_t room = (most - kOwnDescriptors) / each;
  if (settings.pool_size <= room) return std::nullopt;
  const std::string name = settings.name_of("pool_size") + " is " +
                           std::to_string(settings.pool_size) +
                           (settings.given.count("pool_size") == 0 ? " unless given" : "");
  const std::string why = "the limit of open files (RLIMIT_NOFILE) is " + std::to_string(most);
  if (room < 1) {
    return Problem{kBadArguments, name + ", but " + why + ": raise it to at least " +
                                      std::to_string(kOwnDescriptors + each) + " (ulimit -n)"};
  }
  return Problem{kBadArguments,
                 name + ": write at most " + std::to_string(room) + ", because " + why};
}

}  // namespace

int64_t HarnessSettings::in_flight() const {
  if (concurrency) return *concurrency;
  return rate ? kOpenRate : 1;
}

std::string HarnessSettings::name_of(std::string_view key) const {
  const auto found = given.find(key);
  return found == given.end() ? flag_of(key) : found->second;
}

std::vector<std::string> setting_keys() {
  std::vector<std::string> keys;
  for (const OtherKey& each : kOthers)
    keys.emplace_back(each.key);
  for (const NumberKey& each : kNumbers)
    keys.emplace_back(each.key);
  for (const BoolKey& each : kBools)
    keys.emplace_back(each.key);
  return keys;
}

std::optional<std::string> set_setting(HarnessSettings* settings, std::string_view key,
                                       const SettingValue& value) {
  for (const OtherKey& each : kOthers) {
    if (each.key == key) return each.set(settings, value);
  }
  for (const NumberKey& each : kNumbers) {
    if (each.key == key) return set_number(value, each.least, each.most, &(settings->*each.place));
  }
  for (const BoolKey& each : kBools) {
    if (each.key != key) continue;
    const auto* flag = std::get_if<bool>(&value);
    if (flag == nullptr) return "true or false";
    settings->*each.place = *flag;
    return std::nullopt;
  }
  return "another key";
}

std::optional<std::string> set_typed(HarnessSettings* settings, std::string_view key,
                                     const std::string& typed) {
  return set_setting(settings, key, typed_value(key, typed));
}

std::optional<Problem> check_settings(const HarnessSettings& settings) {
  const auto bad = [](const char* text) { return Problem{kBadArguments, text}; };
  if (std::optional<Problem> problem = check_duration(settings)) return problem;
  if (settings.restart_demo) {
    if (!settings.host.empty() || settings.port != 0)
      return bad("--restart-demo has a server of its own: leave --host and --port out");
    if (settings.tls) return bad("--restart-demo speaks no TLS: leave --tls out");
    if (settings.simulate)
      return bad("--restart-demo needs the real network: leave --simulate out");
    if (settings.requests < 2) return bad("--restart-demo needs --requests of at least 2");
    return check_descriptors(settings);
  }
  if (settings.simulate) return std::nullopt;
  if (settings.host.empty())
    return bad("--host is missing: write --host and --port, or name a file with --config");
  if (settings.port == 0) return bad("--port is missing: write a whole number from 1 to 65535");
  return check_descriptors(settings);
}

Problem as_given(Problem problem, const HarnessSettings& settings) {
  static constexpr std::string_view kOption = "fault.plan";
  static constexpr std::string_view kBefore = ": ";  // "the option's value is out of range: "
  const bool of_option = std::any_of(settings.options.begin(), settings.options.end(),
                                     [](const auto& option) { return option.first == kOption; });
  const size_t at = problem.text.find(std::string(kBefore).append(kOption));
  if (at == std::string::npos || of_option || !settings.fault_plan) return problem;
  problem.text = settings.name_of("inject_failures") +
                 problem.text.substr(at + kBefore.size() + kOption.size());
  return problem;
}

OptionValues option_values(const HarnessSettings& settings, bool verbose) {
  const std::string size = std::to_string(settings.pool_size);
  const std::string seed = std::to_string(settings.seed);
  OptionValues values = {
      {"endpoint.max_connections", size},
      {"pool.max_connections", std::to_string(std::max<int64_t>(256, settings.pool_size))},
      {"endpoint.max_waiters", std::to_string(std::max<int64_t>(1024, settings.in_flight()))},
      {"connect.timeout", ms(settings.connect_timeout_ms)},
      {"first_byte.timeout", ms(settings.read_timeout_ms)},
      {"stall.timeout", ms(settings.read_timeout_ms)},
      {"pool.idle_timeout", ms(settings.idle_timeout_ms)},
      {"retry.attempts", "3"},
      {"breaker.wait", "true"},
      {"pool.seed", seed},
      {"fault.seed", seed},
      {"events.capacity", std::to_string(events_kept(settings, verbose))},
  };
  if (settings.h2) values.emplace_back("http.version", "h2");
  if (settings.fault_plan) values.emplace_back("fault.plan", *settings.fault_plan);
  if (settings.simulate) values.emplace_back("loop.world", "simulated");
  // Below retry.attempts: the request that meets the outage has an attempt left for its end.
  if (settings.restart_demo) values.emplace_back("breaker.consecutive", "2");
  if (verbose) values.emplace_back("events.level", "debug");
  values.insert(values.end(), settings.options.begin(), settings.options.end());
  return values;
}

}  // namespace conpool::cli
