// One random program of HTTP requests over one random network, all from a seed: what it does, and
// what must hold.
#pragma once

#include "base/rng.h"
#include "sim/http_world.h"

namespace conpool::sim {

// A program starts requests of every kind, takes their events in random portions, cancels, holds
// chunks back, over servers of both protocols that close, reset, refuse, answer 503, go away, die
// and start again at random moments, with breakers, retries and limits of every kind. Then the
// faults stop.
//
// What must hold: each op ends exactly once and within its time; a response belongs to its request,
// whole; a request that is not idempotent is processed at most once; one that is proven unprocessed
// was not; servers find no fault with what they are sent, and no stream beyond their limit; all
// requests succeed once the faults have stopped; nothing is left at the end; the same seed leads to
// the same log.
class HttpRandomProgram {
 public:
  explicit HttpRandomProgram(uint64_t seed);
  // Answers a text over everything that happened; the same for the same seed.
  std::string run();

 private:
  struct Site {
    std::string address;
    Wire wire = Wire::Http1;
    HttpServer* server = nullptr;
    conpool_endpoint* endpoint = nullptr;
  };
  struct Started {
    Ask ask;
    size_t site = 0;
    bool idempotent = false;
    bool cancelled = false;
    bool after_faults = false;
    bool judged = false;
    conpool_op op = 0;
  };

  bool chance(int percent) { return rng_.between(1, 100) <= percent; }
  int64_t any(int64_t least, int64_t most) { return rng_.between(least, most); }
  std::string time_text(int64_t least_ms, int64_t most_ms) {
    return std::to_string(any(least_ms, most_ms)) + "ms";
  }

  OptionList options();
  void make_site(size_t index);
  void make_host(const std::string& address);
  HttpScript script(const Site& site, Rng rng) const;
  HttpAnswer answer(const HttpRequest& request, Rng rng) const;
  void plan_faults();
  void stop_faults();
  void start_any();
  void start(Ask ask, size_t site, bool idempotent);
  void write_pieces();
  void cancel_any();
  void step();
  void judge(Started& started);
  void judge_finished();
  void judge_servers();
  void recover();

  const uint64_t seed_;
  Rng rng_;
  HttpWorld world_;
  const bool tls_;
  bool faults_ = true;
  bool hasty_ = false;  // draining connections may be closed under their requests
  Nanos total_timeout_ = 0;
  std::vector<Site> sites_;
  std::vector<Started> started_;
  std::string log_;
};

}  // namespace conpool::sim
