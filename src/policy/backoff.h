// Delays between repeated dials: doubling with equal jitter, in integers.
#pragma once

#include "base/rng.h"
#include "base/time.h"

namespace conpool::policy {

// min(first · 2^(repeat-1), most), saturating; repeat counts from 1.
Nanos doubled(Nanos first, Nanos most, uint32_t repeat);
// The delay before the repeat-th repeated dial: doubled(), with a random part of up to half of it
// taken off, so that clients that failed together do not come back together.
Nanos retry_delay(Nanos first, Nanos most, uint32_t repeat, Rng& rng);

}  // namespace conpool::policy
