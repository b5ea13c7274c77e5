// Which of the figures errors.* counts a failure.
#pragma once

#include "base/result.h"
#include "observe/counters.h"

namespace conpool::observe {

// By its errno; without one by its kind: our own timeouts are ETIMEDOUT, an end EOF, broken rules
// PROTOCOL.
Counter error_counter(const Failure& failure);

}  // namespace conpool::observe
