// A steady load of one request on one endpoint of a simulated pool, and what came of it.
#pragma once

#include <functional>

#include "base/rng.h"
#include "sim/http_world.h"

namespace conpool::sim {

// `--full` on the command line: the whole length, for the tables in docs/resilience.md. Without it
// each drill is short enough for the routine run.
extern bool full_drills;

// Durations of requests, kept in microseconds.
class Durations {
 public:
  void add(Nanos took) { micros_.push_back(static_cast<uint32_t>(took / kMicrosecond)); }
  size_t count() const { return micros_.size(); }
  // In milliseconds; `share` of 1,000. 0 when there are none.
  double at(uint64_t share) const;

 private:
  mutable std::vector<uint32_t> micros_;
  mutable bool sorted_ = false;
};

class Load {
 public:
  struct End {
    uint64_t number = 0;  // of the request, from 0
    Time started = 0;
    Time at = 0;
    conpool_status status = 0;
    int code = 0;  // of the response
    uint64_t sends = 0;
    uint64_t proof = 0;  // CONPOOL_PROOF_*
  };
  using OnEnd = std::function<void(const End&)>;

  // `options` are of scope request.
  Load(HttpWorld& world, conpool_endpoint* endpoint, const OptionList& options, OnEnd on_end,
       const std::string& method = "GET");
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // One request now.
  void start();
  // Until then, a request after each gap of 0 to 2 · mean.
  void run(Time until, Nanos mean_gap, Rng& rng);
  // Takes what ends until then.
  void take_until(Time until);
  // Until all requests have ended.
  void finish();

  uint64_t started() const { return started_.size(); }
  uint64_t ended() const { return ended_; }

 private:
  void take(Nanos timeout);

  HttpWorld& world_;
  const OnEnd on_end_;
  const ConfigOf config_;
  conpool_request* request_ = nullptr;
  conpool_queue* queue_ = nullptr;
  std::vector<Time> started_;
  uint64_t ended_ = 0;
};

}  // namespace conpool::sim
