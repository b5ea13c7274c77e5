// What the parts of the demo share: figures that both sides count, and how they are shown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/problem.h"
#include "origin/loopback.h"

namespace conpool::cli {

// The figures that both sides count for themselves, by name.
using Figures = std::vector<std::pair<std::string, int64_t>>;

// Prints both, and whether they agree. `label` begins the lines.
std::optional<Problem> compare(const std::string& label, const Figures& counted,
                               const Figures& metrics);

std::string milliseconds(int64_t nanoseconds);

// The value below which this many percent of the sorted values lie.
int64_t percentile(const std::vector<int64_t>& sorted, size_t percent);

Problem network_problem(std::string text);
Problem cannot_listen(const Failure& failure);

// Requests to an HTTP origin over each protocol.
std::optional<Problem> run_http_demo(bool verbose);

}  // namespace conpool::cli
