// HealthSchedule: which address of an endpoint is checked next, and when. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/rng.h"
#include "base/time.h"

namespace conpool::pool {

struct HealthPace {
  Nanos interval = 0;   // between two checks of one address; 0 = none ever
  int64_t jitter = 10;  // percent either way
  size_t at_once = 4;   // checks of one endpoint
};

// The first check of an address comes after a random part of the interval, so that many clients of
// one server spread; each next one an interval, jittered, after the last one's end. One check of an
// address runs at a time. A check that had to make way comes again after a tenth of the interval.
class HealthSchedule {
 public:
  static constexpr Nanos kLeastPutOff = 10 * kMillisecond;

  HealthSchedule(const HealthPace& pace, uint64_t seed) : pace_(pace), rng_(seed) {}

  // Those that stay keep their times.
  void set_addresses(Time now, std::span<const SocketAddress> addresses);
  // The address whose check is due, if one may run; it runs from here on.
  std::optional<SocketAddress> begin(Time now);
  void ended(Time now, const SocketAddress& address);
  void put_off(Time now, const SocketAddress& address);
  // When begin() should be asked again; kNever while nothing is to come or no more may run.
  Time next() const;
  size_t running() const { return running_; }

 private:
  struct Entry {
    Time due = 0;
    bool running = false;
    bool present = true;
  };
  void stop(Time due, const SocketAddress& address);

  const HealthPace pace_;
  Rng rng_;
  std::map<SocketAddress, Entry> entries_;
  size_t running_ = 0;
};

}  // namespace conpool::pool
