// Draws the progress line.
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr int64_t kLongNs = 1'000'000'000;  // shorter transfers have no line
constexpr int64_t kEveryNs = 100'000'000;   // between two drawings
constexpr size_t kUsualWidth = 80;
constexpr size_t kMostBar = 40;
constexpr size_t kLeastBar = 8;

size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

std::string bar(double share, size_t width) {
  const size_t full = std::min(width, static_cast<size_t>(share * static_cast<double>(width)));
  std::string text = "[" + std::string(full, '=');
  if (full < width) text += '>' + std::string(width - full - 1, ' ');
  return text + "] ";
}

}  // namespace

std::string size_text(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (unit < 4 && value >= 1023.95) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string progress_line(const ProgressFigures& figures, int64_t elapsed_ns, size_t width) {
  const double seconds = std::max(1e-9, static_cast<double>(elapsed_ns) / 1e9);
  const double rate = static_cast<double>(figures.bytes) / seconds;
  std::string tail = size_text(figures.bytes);
  std::string head;
  if (figures.transfers > 1) {
    head = std::to_string(figures.ended) + " of " + std::to_string(figures.transfers) + ", ";
  }
  const bool known = figures.announced >= figures.bytes && figures.announced > 0;
  if (known) tail += " of " + size_text(figures.announced);
  tail += ", " + size_text(static_cast<uint64_t>(rate)) + "/s";
  double share = 0;
  if (known) {
    share = static_cast<double>(figures.bytes) / static_cast<double>(figures.announced);
    char percent[16];
    std::snprintf(percent, sizeof percent, "%3.0f %% ", share * 100);
    head = percent + head;
    const double left =
        static_cast<double>(figures.announced - figures.bytes) / std::max(1.0, rate);
    // Beyond this it is a guess about nothing.
    if (left < 1e6) tail += ", " + std::to_string(static_cast<int64_t>(left)) + "s left";
  }
  const size_t used = head.size() + tail.size() + 4;
  if (known && used + kLeastBar < width) {
    head += bar(share, std::min(kMostBar, width - used));
  }
  // The last column stays free: writing it may move the cursor to the next line.
  return (head + tail).substr(0, width > 1 ? width - 1 : 0);
}

Progress::Progress(bool wanted, int64_t now_ns)
    : on_(wanted && isatty(STDERR_FILENO) != 0), began_ns_(now_ns) {}

void Progress::update(const ProgressFigures& figures, int64_t now_ns) {
  if (!on_ || now_ns - began_ns_ < kLongNs || now_ns - last_ns_ < kEveryNs) return;
  last_ns_ = now_ns;
  drawn_ = true;
  // Carriage return, then erase to the end of the line (ECMA-48 EL).
  print_error("\r" + progress_line(figures, now_ns - began_ns_, terminal_width()) + "\x1b[K");
}

void Progress::clear() {
  if (!drawn_) return;
  drawn_ = false;
  last_ns_ = 0;
  print_error("\r\x1b[K");
}

}  // namespace conpool::cli
