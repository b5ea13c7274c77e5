// The time of a run: the machine's, or that of the simulated network.
#pragma once

#include <chrono>
#include <cstdint>

namespace conpool::cli {

// Simulated time moves in conpool_queue_next alone: by the events that it gives, or by its timeout
// when it gives none.
class RunClock {
 public:
  explicit RunClock(bool simulated) : simulated_(simulated) {}

  int64_t now_ns() const { return simulated_ ? virtual_ns_ : machine_ns(); }
  void happened(int64_t time_ns) {
    if (time_ns > virtual_ns_) virtual_ns_ = time_ns;
  }
  void waited(int64_t timeout_ns) { virtual_ns_ += timeout_ns; }

  static int64_t machine_ns() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

 private:
  bool simulated_;
  int64_t virtual_ns_ = 0;
};

}  // namespace conpool::cli
