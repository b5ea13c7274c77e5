// Follows the pool's event ring: what is new in it, as values and as lines.
#pragma once

#include <conpool/conpool.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conpool::cli {

struct LoggedEvent {
  int64_t time_ns = 0;
  std::string name;  // "breaker.opened"
  // As the log tells them, numbers and texts alike.
  std::vector<std::pair<std::string, std::string>> fields;

  std::string_view field(std::string_view wanted) const;
  int64_t number(std::string_view wanted) const;
};

class EventLog {
 public:
  explicit EventLog(conpool_pool* pool) : pool_(pool) {}
  // What was recorded since the last call, the oldest first. A call costs what it gives.
  std::vector<LoggedEvent> next();
  // Events that were overwritten before they could be read.
  uint64_t lost() const { return lost_; }

 private:
  conpool_pool* pool_;
  uint64_t next_ = 1;  // sequence number
  uint64_t lost_ = 0;
};

// "  0.000472  race.attempt_failed  attempt=1 tcp:127.0.0.1:9999 SO_ERROR=ECONNREFUSED …" with
// times from `origin_ns`.
std::string event_line(const LoggedEvent& event, int64_t origin_ns);

// What an event tells of a failure: "no response came in time: first_byte.timeout = 2s".
std::string failure_text(const LoggedEvent& event);

}  // namespace conpool::cli
