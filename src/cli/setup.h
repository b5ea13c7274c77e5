// From arguments to a pool, an endpoint and a connection.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/arguments.h"
#include "cli/handles.h"
#include "cli/problem.h"

namespace conpool::cli {

// What HOST:PORT means.
struct Target {
  enum class Kind { Url, Addresses };
  Kind kind = Kind::Url;
  std::string scheme;  // of Addresses
  std::string text;
  bool tls = false;
};

std::optional<Problem> read_target(const Arguments& arguments, Target* out);

using OptionValues = std::vector<std::pair<std::string, std::string>>;

// The option values that the flags and each -o stand for, in the order in which they count.
std::optional<Problem> read_option_values(const Arguments& arguments, const Target& target,
                                          OptionValues* out);

// Splits each "name=value"; `flag` is how the user wrote it.
std::optional<Problem> read_option_list(const std::vector<std::string>& typed, const char* flag,
                                        OptionValues* out);

struct Setup {
  OptionValues values;
  Pool pool;
  Endpoint endpoint;
};

std::optional<Problem> set_up(const Arguments& arguments, Setup* out);

// A pool with these options. `where` prefixes what is wrong with one of them.
std::optional<Problem> make_pool(const OptionValues& values, Pool* out);

struct Acquired {
  Connection connection;
  Error error;  // when there is no connection; NULL when the failure has no ledger
  conpool_status status = CONPOOL_OK;
};

// Waits as long as the endpoint's own time limits do.
Acquired acquire(conpool_endpoint* endpoint);

// Why a call was refused before anything was sent: the configuration, or the system's limits.
Problem refusal(const conpool_error* error, conpool_status status, const std::string& where);

// The worded reason of a failure: its one-line or its multi-line form.
std::string failure_line(const conpool_error* error, conpool_status status);
std::string failure_report(const conpool_error* error, conpool_status status);

void print_events(conpool_pool* pool);  // on stderr

}  // namespace conpool::cli
