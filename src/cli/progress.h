// The progress line of long transfers, on a terminal alone.
#pragma once

#include <cstdint>
#include <string>

namespace conpool::cli {

// What a line tells.
struct ProgressFigures {
  uint64_t bytes = 0;      // of bodies, so far
  uint64_t announced = 0;  // of them in all; 0 when not known
  uint64_t ended = 0;      // transfers
  uint64_t transfers = 1;
};

// " 42 % [=====>       ] 12.3 MiB of 29.1 MiB, 8.2 MiB/s, 2s left" in `width` columns.
std::string progress_line(const ProgressFigures& figures, int64_t elapsed_ns, size_t width);

// "512 B", "12.3 MiB".
std::string size_text(uint64_t bytes);

// Draws on stderr when that is a terminal, from the time on when a transfer has become long.
class Progress {
 public:
  // `wanted`: false when the bodies themselves go to a terminal.
  Progress(bool wanted, int64_t now_ns);
  bool on() const { return on_; }
  void update(const ProgressFigures& figures, int64_t now_ns);
  // Before anything else is written to the terminal, and at the end.
  void clear();

 private:
  bool on_;
  bool drawn_ = false;
  int64_t began_ns_;
  int64_t last_ns_ = 0;
};

}  // namespace conpool::cli
