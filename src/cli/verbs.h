// The verbs. Each prints on stdout and returns why it could not go on, if so.
#pragma once

#include <optional>

#include "cli/arguments.h"
#include "cli/problem.h"

namespace conpool::cli {

std::optional<Problem> run_harness(const Arguments& arguments);  // no verb
std::optional<Problem> run_get(const Arguments& arguments);
std::optional<Problem> run_demo(const Arguments& arguments);
std::optional<Problem> run_connect(const Arguments& arguments);
std::optional<Problem> run_explain(const Arguments& arguments);
std::optional<Problem> run_options(const Arguments& arguments);

}  // namespace conpool::cli
