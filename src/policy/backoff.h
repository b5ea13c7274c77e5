// Delays between repeated dials and between the tries of one address, in integers.
#pragma once

#include "base/rng.h"
#include "base/time.h"

namespace conpool::policy {

// min(first · 2^(repeat-1), most), saturating; repeat counts from 1.
Nanos doubled(Nanos first, Nanos most, uint32_t repeat);
// The delay before the repeat-th repeated dial: doubled(), with a random part of up to half of it
// taken off, so that clients that failed together do not come back together.
Nanos retry_delay(Nanos first, Nanos most, uint32_t repeat, Rng& rng);

// The reconnect backoff of one address: min(first · 1.6^(step-1), most), saturating, a fifth more
// or less at random, and never below kLeastReconnect. Steps count from 1.
inline constexpr Nanos kLeastReconnect = 10 * kMillisecond;
Nanos grown(Nanos first, Nanos most, uint32_t step);
Nanos reconnect_delay(Nanos first, Nanos most, uint32_t step, Rng& rng);

}  // namespace conpool::policy
