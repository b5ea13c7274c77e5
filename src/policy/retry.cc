// Delays and the budget of retries.
#include "policy/retry.h"

#include <algorithm>

#include "policy/backoff.h"
#include "policy/http_date.h"

namespace conpool::policy {
namespace {

constexpr uint32_t kStretchUnit = 1000;
constexpr uint32_t kMostStretch = 8 * kStretchUnit;

Nanos stretched(Nanos delay, uint32_t stretch) {
  const int64_t whole = delay / kStretchUnit;
  const int64_t rest = delay % kStretchUnit;
  if (stretch != 0 && whole > (kNever - kMostStretch) / stretch) return kNever;
  return whole * stretch + rest * stretch / kStretchUnit;
}

// The random part of a delay: 0 to `width`.
Nanos drawn(Nanos width, Rng& rng) {
  if (width < 0) return 0;
  const Nanos unit = width % kMillisecond == 0 ? kMillisecond : 1;
  return static_cast<Nanos>(rng.up_to(static_cast<uint64_t>(width / unit))) * unit;
}

bool is_space(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_space(text.back()))
    text.remove_suffix(1);
  return text;
}

// 1*DIGIT of any length, saturating.
std::optional<int64_t> parse_seconds(std::string_view text) {
  constexpr int64_t kMost = kNever / kSecond;
  if (text.empty()) return std::nullopt;
  int64_t seconds = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    seconds = std::min(kMost, seconds * 10 + (c - '0'));
  }
  return seconds;
}

}  // namespace

RetryDelayOptions retry_delay_options(const Values& values) {
  RetryDelayOptions options;
  options.jitter = static_cast<RetryJitter>(values.retry_jitter);
  options.base = values.retry_base;
  options.max = values.retry_max_delay;
  options.jitter_max = values.retry_jitter_max;
  return options;
}

Nanos request_retry_delay(const RetryDelayOptions& options, uint32_t retry, uint32_t stretch,
                          Rng& rng) {
  const Nanos delay = stretched(doubled(options.base, options.max, retry), stretch);
  switch (options.jitter) {
    case RetryJitter::Full:
      return drawn(delay, rng);
    case RetryJitter::Equal:
      return delay - delay / 2 + drawn(delay / 2, rng);
    case RetryJitter::Added:
      break;
  }
  const Nanos random = drawn(options.jitter_max, rng);
  return random > kNever - delay ? kNever : delay + random;
}

uint32_t adaptive_stretch(uint32_t failures, uint32_t calls) {
  if (calls == 0) return kStretchUnit;
  if (failures >= calls) return kMostStretch;
  const uint64_t stretch = uint64_t{kStretchUnit} * calls / (calls - failures);
  return static_cast<uint32_t>(std::min<uint64_t>(stretch, kMostStretch));
}

std::optional<Nanos> parse_retry_after(std::string_view value, std::string_view date, Nanos most) {
  value = trimmed(value);
  std::optional<int64_t> seconds = parse_seconds(value);
  if (!seconds) {
    const std::optional<int64_t> present = parse_http_date(trimmed(date), std::nullopt);
    if (!present) return std::nullopt;
    const std::optional<int64_t> then = parse_http_date(value, present);
    if (!then) return std::nullopt;
    seconds = std::max<int64_t>(0, *then - *present);
  }
  return *seconds > most / kSecond ? most : *seconds * kSecond;
}

RetryBudgetOptions retry_budget_options(const Values& values) {
  RetryBudgetOptions options;
  options.tokens = values.retry_budget;
  options.cost = values.retry_budget_cost;
  options.timeout_cost = values.retry_budget_timeout_cost;
  options.success = values.retry_budget_success;
  options.refund = values.retry_budget_refund;
  return options;
}

std::optional<int64_t> RetryBudget::take(bool after_timeout) {
  const int64_t cost = after_timeout ? options_.timeout_cost : options_.cost;
  if (options_.tokens == 0 || tokens_ < cost) return std::nullopt;
  tokens_ -= cost;
  return cost;
}

void RetryBudget::succeeded_at_once() {
  give(options_.success);
}

void RetryBudget::retry_succeeded(int64_t cost) {
  give(cost * options_.refund / 100);
}

void RetryBudget::give(int64_t tokens) {
  tokens_ += std::min(tokens, options_.tokens - tokens_);
}

}  // namespace conpool::policy
