// Doubling with equal jitter.
#include "policy/backoff.h"

#include <algorithm>

namespace conpool::policy {

Nanos doubled(Nanos first, Nanos most, uint32_t repeat) {
  Nanos delay = std::min(first, most);
  for (uint32_t i = 1; i < repeat && delay > 0 && delay < most; ++i) {
    delay = delay > most / 2 ? most : delay * 2;
  }
  return delay;
}

Nanos retry_delay(Nanos first, Nanos most, uint32_t repeat, Rng& rng) {
  const Nanos delay = doubled(first, most, repeat);
  return delay - rng.between(0, delay / 2);
}

}  // namespace conpool::policy
