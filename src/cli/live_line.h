// The line that shows a run's state on a terminal while it goes on.
#pragma once

#include <cstdint>
#include <string>

namespace conpool::cli {

struct LiveFigures {
  uint64_t ended = 0;
  uint64_t wanted = 0;
  int64_t active = 0;
  int64_t idle = 0;
  std::string breaker;  // "closed"
};

// "[pool] 42 of 100 requests, 812/s, active 1, idle 9, breaker closed".
std::string live_text(const LiveFigures& figures, double per_second);

// Draws on stdout when that is a terminal, at most ten times a second.
class LiveLine {
 public:
  explicit LiveLine(int64_t now_ns);
  bool on() const { return on_; }
  bool due(int64_t now_ns) const;
  void draw(const LiveFigures& figures, int64_t now_ns);
  // Before anything else is written, and at the end.
  void clear();

 private:
  bool on_;
  bool drawn_ = false;
  int64_t last_ns_;
  uint64_t last_ended_ = 0;
  double per_second_ = 0;
};

}  // namespace conpool::cli
