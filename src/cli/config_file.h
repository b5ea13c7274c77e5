// The harness's configuration file: one JSON object.
#pragma once

#include <optional>
#include <string>

#include "cli/harness_settings.h"

namespace conpool::cli {

// Reads the file's keys into the settings. The problem is one line that names the file, the key and
// what is allowed.
std::optional<Problem> read_config(const std::string& path, HarnessSettings* settings);

}  // namespace conpool::cli
