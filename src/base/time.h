// Times: monotonic nanoseconds. No room reads a clock; io hands `now` in.
#pragma once

#include <cstdint>
#include <limits>

namespace conpool {

using Time = int64_t;   // CLOCK_MONOTONIC in the uv world, virtual in the sim world
using Nanos = int64_t;  // a duration

inline constexpr Time kNever = std::numeric_limits<int64_t>::max();
inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kMinute = 60 * kSecond;
inline constexpr Nanos kHour = 60 * kMinute;

// now + delay that saturates at kNever.
constexpr Time deadline_after(Time now, Nanos delay) {
  if (delay < 0 || now == kNever || delay > kNever - now) return kNever;
  return now + delay;
}

}  // namespace conpool
