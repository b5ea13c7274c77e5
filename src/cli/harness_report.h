// What a run of the harness prints: its summary, and its figures by --metrics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/readouts.h"

namespace conpool::cli {

// One time that the breaker was open.
struct Opening {
  int64_t open_ns = 0;
  bool recovered = false;  // it closed again, and connections stand
  uint64_t pool_size = 0;  // of them
};

// What a run saw.
struct RunFacts {
  bool connected = false;  // connections stood, at the start or later
  uint64_t ended = 0;
  uint64_t succeeded = 0;
  std::vector<int64_t> times_ns;  // of requests that succeeded
  std::vector<Opening> openings;
};

// The value that `percent` of the sorted values do not exceed (nearest rank), in milliseconds,
// rounded.
int64_t percentile_ms(const std::vector<int64_t>& sorted_ns, int64_t percent);

// "ECONNRESET=3 ETIMEDOUT=2": these two always, others in the order of their names when there are.
std::string failures_text(const Metrics& metrics);

// The lines from "[pool] request latency" on. Sorts the times.
std::string summary_text(RunFacts* facts, const Metrics& metrics);

// --metrics text and json: one name=value each line, or one object with the same names.
std::string figures_text(RunFacts* facts, const Metrics& metrics);
std::string figures_json(RunFacts* facts, const Metrics& metrics);

// "closed", "open" or "half-open".
std::string breaker_state(const Metrics& metrics);

}  // namespace conpool::cli
