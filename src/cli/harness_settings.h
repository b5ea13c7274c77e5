// What a run of the harness is to do: one table of settings, by their keys in the configuration
// and their flags on the command line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/problem.h"
#include "cli/setup.h"

namespace conpool::cli {

constexpr int64_t kDefaultSeed = 1;  // so that bare runs repeat

enum class MetricsForm { None, Lines, Json, OpenMetrics };

struct HarnessSettings {
  std::string host;
  int64_t port = 0;
  int64_t pool_size = 10;
  int64_t connect_timeout_ms = 500;
  int64_t read_timeout_ms = 2000;
  int64_t idle_timeout_ms = 10000;
  std::optional<std::string> fault_plan;
  int64_t requests = 100;
  std::optional<int64_t> concurrency;  // 1, or as many as there are places with a rate
  std::string path = "/";
  bool tls = false;
  bool h2 = false;
  std::optional<double> rate;  // starts per second
  int64_t seed = kDefaultSeed;
  MetricsForm metrics = MetricsForm::None;
  bool restart_demo = false;
  bool simulate = false;
  OptionValues options;
  // By key: how the user wrote it, "--size" or "--config "a.json": "pool_size"".
  std::map<std::string, std::string, std::less<>> given;

  int64_t in_flight() const;
  // As in `given`; the flag, where there is nothing.
  std::string name_of(std::string_view key) const;
};

// A value as the configuration or the command line gives it. Words may stand for numbers on the
// command line, never in the configuration.
using SettingValue = std::variant<bool, int64_t, double, std::string>;

// Sets what `key` names; otherwise what is allowed: "a whole number from 1 to 65535".
std::optional<std::string> set_setting(HarnessSettings* settings, std::string_view key,
                                       const SettingValue& value);
// The same of a text from the command line.
std::optional<std::string> set_typed(HarnessSettings* settings, std::string_view key,
                                     const std::string& typed);
// Every key that set_setting knows.
std::vector<std::string> setting_keys();

// What only all settings together can have wrong, and what the machine has no room for.
std::optional<Problem> check_settings(const HarnessSettings& settings);

// The library's options that they stand for, in the order in which they count.
OptionValues option_values(const HarnessSettings& settings, bool verbose);

// The library's refusal of a pool, in terms of what the user gave: a wrong plan is that of
// --inject-failures.
Problem as_given(Problem problem, const HarnessSettings& settings);

}  // namespace conpool::cli
