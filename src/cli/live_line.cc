// Draws the live line.
#include "cli/live_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr int64_t kEveryNs = 100'000'000;  // between two drawings
constexpr size_t kUsualWidth = 80;

size_t terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

}  // namespace

std::string live_text(const LiveFigures& figures, double per_second) {
  char rate[32];
  std::snprintf(rate, sizeof rate, "%.0f/s", per_second);
  return "[pool] " + std::to_string(figures.ended) + " of " + std::to_string(figures.wanted) +
         " requests, " + rate + ", active " + std::to_string(figures.active) + ", idle " +
         std::to_string(figures.idle) + ", breaker " + figures.breaker;
}

LiveLine::LiveLine(int64_t now_ns) : on_(isatty(STDOUT_FILENO) != 0), last_ns_(now_ns) {}

bool LiveLine::due(int64_t now_ns) const {
  return on_ && now_ns - last_ns_ >= kEveryNs;
}

void LiveLine::draw(const LiveFigures& figures, int64_t now_ns) {
  const double seconds = std::max(1e-9, static_cast<double>(now_ns - last_ns_) / 1e9);
  per_second_ = static_cast<double>(figures.ended - last_ended_) / seconds;
  last_ns_ = now_ns;
  last_ended_ = figures.ended;
  drawn_ = true;
  const std::string text = live_text(figures, per_second_);
  // The last column stays free: writing it may move the cursor to the next line. Carriage return,
  // then erase to the end of the line (ECMA-48 EL).
  print("\r" + text.substr(0, std::max<size_t>(1, terminal_width()) - 1) + "\x1b[K");
  flush_output();
}

void LiveLine::clear() {
  if (!drawn_) return;
  drawn_ = false;
  print("\r\x1b[K");
  flush_output();
}

}  // namespace conpool::cli
