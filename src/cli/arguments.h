// The command line as values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/problem.h"

namespace conpool::cli {

enum class Verb { Demo, Connect, Explain, Options };

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
};

struct Parsed {
  std::optional<Arguments> arguments;
  std::string output;  // help or version, when there is nothing to run
  Problem problem;     // when neither
};

Parsed parse_arguments(int argc, char** argv);

// The candidate that `typed` was meant to be, or "" when none is near.
std::string nearest(std::string_view typed, const std::vector<std::string>& candidates);

}  // namespace conpool::cli
