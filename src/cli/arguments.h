// The command line as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/problem.h"

namespace conpool::cli {

enum class Verb { Harness, Get, Demo, Connect, Explain, Options };

// What pooler without a verb takes.
struct HarnessArguments {
  std::vector<std::pair<std::string, std::string>> values;  // by key of the configuration, as typed
  std::optional<std::string> config;                        // a file
  bool tls = false;
  bool h2 = false;
  std::optional<std::string> inject_failures;  // a plan, "true" or "false"
  bool restart_demo = false;
  bool simulate = false;
};

// What `get` takes beyond what other verbs take, too.
struct GetArguments {
  std::vector<std::string> urls;
  std::string method;
  std::optional<std::string> data;    // as typed: the text, "@file" or "@-"
  std::vector<std::string> headers;   // "name: value"
  std::vector<std::string> trailers;  // "name: value"
  std::vector<std::string> outputs;
  bool http1 = false;
  bool h2 = false;
  bool fail = false;
  uint32_t parallel = 1;
  uint32_t repeat = 1;
};

constexpr uint32_t kMostParallel = 1000;  // below endpoint.max_waiters
constexpr uint32_t kMostRepeats = 1'000'000;

struct Arguments {
  Verb verb = Verb::Demo;
  std::string target;  // HOST:PORT as typed
  bool tls = false;
  std::string ca;
  bool insecure = false;
  std::string server_name;
  std::string alpn;
  std::string starttls;
  std::vector<std::string> options;  // "name=value"
  bool dry = false;
  bool verbose = false;
  std::string filter;  // of `options`: a part of the name
  GetArguments get;
  HarnessArguments harness;
};

// How a key of the configuration is written on the command line: "--size" of "pool_size"; "" where
// it cannot be.
std::string flag_of(std::string_view key);

struct Parsed {
  std::optional<Arguments> arguments;
  std::string output;  // help or version, when there is nothing to run
  Problem problem;     // when neither
};

Parsed parse_arguments(int argc, char** argv);

// The candidate that `typed` was meant to be, or "" when none is near.
std::string nearest(std::string_view typed, const std::vector<std::string>& candidates);

}  // namespace conpool::cli
