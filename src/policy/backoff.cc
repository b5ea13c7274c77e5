// Growing delays and their jitter.
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

Nanos grown(Nanos first, Nanos most, uint32_t step) {
  Nanos delay = std::min(first, most);
  for (uint32_t i = 1; i < step && delay > 0 && delay < most; ++i) {
    delay = delay > most / 8 * 5 ? most : delay / 5 * 8 + delay % 5 * 8 / 5;
  }
  return delay;
}

Nanos reconnect_delay(Nanos first, Nanos most, uint32_t step, Rng& rng) {
  const Nanos delay = grown(first, most, step);
  const Nanos spread = delay / 5;
  const Nanos random = rng.between(-spread, spread);
  return std::max(kLeastReconnect, random > kNever - delay ? kNever : delay + random);
}

}  // namespace conpool::policy
