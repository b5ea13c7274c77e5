// Retries by policy: the delay before each, and the budget that all of an endpoint share. Pure,
// integers only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/rng.h"
#include "base/settings.h"
#include "base/time.h"

namespace conpool::policy {

struct RetryDelayOptions {
  RetryJitter jitter = RetryJitter::Full;
  Nanos base = 50 * kMillisecond;
  Nanos max = 2 * kSecond;
  Nanos jitter_max = 50 * kMillisecond;  // the random part of RetryJitter::Added
};
RetryDelayOptions retry_delay_options(const Values& values);

// The delay before the retry-th retry, from 1: d = min(base · 2^(retry-1), max) times stretch /
// 1000; of it by jitter: 0 to d, d/2 to d, or d plus 0 to jitter_max. One number r of the generator
// for each delay. The random part, 0 to w, is r · (w + 1) / 2^64 rounded down, in milliseconds
// where w is a whole number of them and else in nanoseconds, so that published tables of delays
// hold to the millisecond; its mean is w/2 either way.
Nanos request_retry_delay(const RetryDelayOptions& options, uint32_t retry, uint32_t stretch,
                          Rng& rng);

// Adaptive backoff: 1 / (1 - failures/calls) in thousandths, 1000 to 8000; 1000 without calls.
uint32_t adaptive_stretch(uint32_t failures, uint32_t calls);

// RFC 9110 §10.2.3: seconds, or a date, which is taken relative to the response's own Date, so that
// clocks need not agree. Nothing for any other text, and for a date without a usable `date`. A date
// in the past is 0; a delay beyond `most` is `most`.
std::optional<Nanos> parse_retry_after(std::string_view value, std::string_view date, Nanos most);

struct RetryBudgetOptions {
  int64_t tokens = 100;  // at the start, and the most there ever are; 0: no retry
  int64_t cost = 5;
  int64_t timeout_cost = 10;
  int64_t success = 1;
  int64_t refund = 100;  // percent
};
RetryBudgetOptions retry_budget_options(const Values& values);

// Tokens that all retries of an endpoint share. Retries that fail are at most `success`/`cost` for
// each request that succeeds at once, and `tokens`/`cost` more; with the defaults a fifth and 20.
class RetryBudget {
 public:
  explicit RetryBudget(const RetryBudgetOptions& options)
      : options_(options), tokens_(options.tokens) {}

  // Takes a retry's tokens; nothing when there are too few. What it took is what to refund from.
  std::optional<int64_t> take(bool after_timeout);
  // A request succeeded with its first send.
  void succeeded_at_once();
  // A retry that took `cost` is not made after all.
  void give_back(int64_t cost) { give(cost); }
  // A retry that took `cost` succeeded.
  void retry_succeeded(int64_t cost);
  int64_t tokens() const { return tokens_; }

 private:
  void give(int64_t tokens);

  RetryBudgetOptions options_;
  int64_t tokens_;
};

}  // namespace conpool::policy
