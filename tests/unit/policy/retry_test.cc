// Delays of retries, Retry-After, and the budget.
#include "policy/retry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "policy/http_date.h"

namespace conpool::policy {
namespace {

constexpr Nanos ms(int64_t n) {
  return n * kMillisecond;
}
constexpr uint32_t kPlain = 1000;  // no stretch

RetryDelayOptions delays(RetryJitter jitter, Nanos base, Nanos max, Nanos jitter_max = 0) {
  return {.jitter = jitter, .base = base, .max = max, .jitter_max = jitter_max};
}

// Pearson's statistic of `draws` over the 20 equal parts of [low, high].
template <typename Draw>
double chi_square(Nanos low, Nanos high, int draws, Draw&& draw) {
  std::vector<int> bins(20, 0);
  for (int i = 0; i < draws; ++i) {
    const Nanos delay = draw();
    EXPECT_GE(delay, low);
    EXPECT_LE(delay, high);
    const auto bin = static_cast<size_t>((delay - low) * 20 / (high - low + 1));
    ++bins[std::min<size_t>(19, bin)];
  }
  const double expected = draws / 20.0;
  double chi = 0;
  for (const int n : bins)
    chi += (n - expected) * (n - expected) / expected;
  return chi;
}
constexpr double kChi19 = 43.8;  // 19 degrees of freedom, p = 0.001

TEST(RetryDelay, KnownVectorOfFullJitter) {
  Rng numbers(1234567);
  const uint64_t kNumbers[] = {6457827717110365317ULL, 3203168211198807973ULL,
                               9817491932198370423ULL, 4593380528125082431ULL,
                               16408922859458223821ULL};
  for (const uint64_t number : kNumbers)
    EXPECT_EQ(numbers.next(), number);
  Rng rng(1234567);
  const RetryDelayOptions options = delays(RetryJitter::Full, ms(100), 10 * kSecond);
  const int64_t kDelays[] = {35, 34, 213, 199, 1424};
  for (uint32_t retry = 1; retry <= 5; ++retry)
    EXPECT_EQ(request_retry_delay(options, retry, kPlain, rng), ms(kDelays[retry - 1]));
}

TEST(RetryDelay, AddedWithoutJitterDoublesFromAHundred) {
  Rng rng(1);
  const RetryDelayOptions options = delays(RetryJitter::Added, ms(100), 10 * kSecond);
  const int64_t kDelays[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
  for (uint32_t retry = 1; retry <= 9; ++retry)
    EXPECT_EQ(request_retry_delay(options, retry, kPlain, rng), ms(kDelays[retry - 1]));
}

TEST(RetryDelay, AddedPutsItsRandomPartOnTop) {
  Rng rng(7);
  const RetryDelayOptions options = delays(RetryJitter::Added, ms(100), 10 * kSecond, ms(50));
  for (const uint32_t retry : {1u, 3u, 9u}) {
    const Nanos plain = retry == 9 ? 10 * kSecond : ms(100) << (retry - 1);
    std::vector<int> counts(51, 0);
    for (int i = 0; i < 51'000; ++i) {
      const Nanos random = request_retry_delay(options, retry, kPlain, rng) - plain;
      ASSERT_EQ(random % kMillisecond, 0);
      ASSERT_GE(random, 0);
      ASSERT_LE(random, ms(50));
      ++counts[static_cast<size_t>(random / kMillisecond)];
    }
    double chi = 0;
    for (const int n : counts)
      chi += (n - 1000.0) * (n - 1000.0) / 1000.0;
    EXPECT_LT(chi, 86.7);  // 50 degrees of freedom, p = 0.001
  }
}

TEST(RetryDelay, FullAndEqualJitterAreUniform) {
  // 199 ms give 200 whole milliseconds, ten to each part; the others are drawn in nanoseconds.
  const Nanos kWidths[] = {ms(199), 66'650'000, 1'333'333};
  for (const Nanos width : kWidths) {
    Rng rng(2024);
    const RetryDelayOptions full = delays(RetryJitter::Full, width, 10 * kSecond);
    EXPECT_LT(
        chi_square(0, width, 100'000, [&] { return request_retry_delay(full, 1, kPlain, rng); }),
        kChi19)
        << width;
    const RetryDelayOptions equal = delays(RetryJitter::Equal, 2 * width, 10 * kSecond);
    EXPECT_LT(chi_square(width, 2 * width, 100'000,
                         [&] { return request_retry_delay(equal, 1, kPlain, rng); }),
              kChi19)
        << width;
  }
}

TEST(RetryDelay, AbsurdNumbersSaturate) {
  Rng rng(3);
  for (const RetryJitter jitter : {RetryJitter::Full, RetryJitter::Equal, RetryJitter::Added}) {
    for (const Nanos base : {Nanos{0}, Nanos{1}, ms(50), kNever}) {
      for (const Nanos max : {Nanos{0}, Nanos{1}, kNever}) {
        const RetryDelayOptions options = delays(jitter, base, max, max);
        for (const uint32_t retry : {0u, 1u, 2u, 63u, 64u, 1000u}) {
          const Nanos delay = request_retry_delay(options, retry, 8000, rng);
          ASSERT_GE(delay, 0);
          if (base == 0 && jitter != RetryJitter::Added) {
            ASSERT_EQ(delay, 0);
          }
        }
      }
    }
  }
}

TEST(RetryDelay, AdaptiveStretchIsOneOverTheShareOfSuccesses) {
  EXPECT_EQ(adaptive_stretch(0, 0), 1000u);
  EXPECT_EQ(adaptive_stretch(0, 100), 1000u);
  EXPECT_EQ(adaptive_stretch(25, 100), 1333u);
  EXPECT_EQ(adaptive_stretch(50, 100), 2000u);
  EXPECT_EQ(adaptive_stretch(75, 100), 4000u);
  EXPECT_EQ(adaptive_stretch(87, 100), 7692u);
  EXPECT_EQ(adaptive_stretch(88, 100), 8000u);
  EXPECT_EQ(adaptive_stretch(100, 100), 8000u);
  EXPECT_EQ(adaptive_stretch(101, 100), 8000u);
  EXPECT_EQ(adaptive_stretch(1, 0), 1000u);
  EXPECT_EQ(adaptive_stretch(UINT32_MAX - 1, UINT32_MAX), 8000u);
}

TEST(RetryDelay, MeanDelaysStandAsTheStretch) {
  const struct {
    uint32_t failures;
    double ratio;
  } kCases[] = {{0, 1}, {25, 4.0 / 3}, {50, 2}, {75, 4}, {99, 8}};
  for (const RetryJitter jitter : {RetryJitter::Full, RetryJitter::Equal, RetryJitter::Added}) {
    double plain = 0;
    for (const auto& entry : kCases) {
      Rng rng(99);
      const RetryDelayOptions options = delays(jitter, ms(50), 2 * kSecond);
      double sum = 0;
      for (int i = 0; i < 100'000; ++i) {
        sum += static_cast<double>(
            request_retry_delay(options, 2, adaptive_stretch(entry.failures, 100), rng));
      }
      if (entry.failures == 0) plain = sum;
      EXPECT_NEAR(sum / plain, entry.ratio, entry.ratio * 0.005) << entry.failures;
    }
  }
}

// How evenly the retries of clients that all failed at one instant are spread. The host is dead:
// each client sends, fails at once, and retries until it has made `retries` of them. All retries of
// all clients go into bins of 10 ms from the instant of the failure to the last retry; the answer
// is the fullest bin and the mean of all bins.
struct Dispersion {
  int fullest;
  double mean;
  double ratio() const { return fullest / mean; }
};
Dispersion dispersion(const RetryDelayOptions& options, uint32_t retries, uint64_t seed) {
  constexpr int kClients = 1000;
  std::vector<int> bins;
  for (int client = 0; client < kClients; ++client) {
    Rng rng(seed + static_cast<uint64_t>(client) * 7919);
    Time now = 0;
    for (uint32_t retry = 1; retry <= retries; ++retry) {
      now += request_retry_delay(options, retry, kPlain, rng);
      const auto bin = static_cast<size_t>(now / ms(10));
      if (bins.size() <= bin) bins.resize(bin + 1);
      ++bins[bin];
    }
  }
  const double mean = kClients * retries / static_cast<double>(bins.size());
  return {*std::max_element(bins.begin(), bins.end()), mean};
}

TEST(RetryDelay, AThousandClientsOfADeadHostDoNotComeTogether) {
  const RetryDelayOptions defaults;
  for (const uint32_t retries : {1u, 2u}) {  // 2: the three sends of the outage
    double worst = 0;
    for (uint64_t seed = 1; seed <= 20; ++seed)
      worst = std::max(worst, dispersion(defaults, retries, seed << 32).ratio());
    RecordProperty("fullest_bin_over_mean_" + std::to_string(retries), std::to_string(worst));
    std::printf("%u retries of each of 1000 clients: fullest 10 ms bin / mean = %.2f\n", retries,
                worst);
    EXPECT_LE(worst, 3) << retries;
  }
  // Further retries thin out, and with them the mean; the fullest bin stays as it was.
  for (const uint32_t retries : {3u, 5u, 9u, 19u})
    EXPECT_LE(dispersion(defaults, retries, uint64_t{1} << 32).fullest, 400) << retries;
  // Without jitter all are in one bin.
  EXPECT_EQ(dispersion(delays(RetryJitter::Added, ms(50), 2 * kSecond), 2, 1).fullest, 1000);
}

// Each wave by itself: the k-th delay of all clients fills its range evenly, for every k.
TEST(RetryDelay, EveryWaveOfRetriesIsSpreadOverItsWholeRange) {
  const RetryDelayOptions defaults;
  for (uint32_t retry = 1; retry <= 10; ++retry) {
    const Nanos width = std::min<Nanos>(ms(50) << (retry - 1), 2 * kSecond);
    std::vector<int> bins(static_cast<size_t>(width / ms(10)) + 1, 0);
    for (uint64_t client = 0; client < 1000; ++client) {
      Rng rng(client * 104729 + 5);
      Nanos delay = 0;
      for (uint32_t i = 1; i <= retry; ++i)
        delay = request_retry_delay(defaults, i, kPlain, rng);
      ++bins[static_cast<size_t>(delay / ms(10))];
    }
    const double mean = 1000.0 / (static_cast<double>(width) / static_cast<double>(ms(10)));
    // Five per bin at the cap: three times the mean is what chance alone reaches there.
    const double most = std::max(3 * mean, mean + 5 * std::sqrt(mean));
    EXPECT_LE(*std::max_element(bins.begin(), bins.end()), most) << retry;
  }
}

TEST(RetryDelay, OptionsComeFromSettings) {
  Values values = default_values();
  const RetryDelayOptions defaults;
  RetryDelayOptions options = retry_delay_options(values);
  EXPECT_EQ(options.jitter, defaults.jitter);
  EXPECT_EQ(options.base, defaults.base);
  EXPECT_EQ(options.max, defaults.max);
  EXPECT_EQ(options.jitter_max, defaults.jitter_max);
  values.retry_jitter = static_cast<int64_t>(RetryJitter::Added);
  values.retry_base = 1;
  values.retry_max_delay = 2;
  values.retry_jitter_max = 3;
  options = retry_delay_options(values);
  EXPECT_EQ(options.jitter, RetryJitter::Added);
  EXPECT_EQ(options.base, 1);
  EXPECT_EQ(options.max, 2);
  EXPECT_EQ(options.jitter_max, 3);
}

// --- Retry-After ---------------------------------------------------------------------------------

constexpr Nanos kMost = 60 * kSecond;
constexpr std::string_view kNow = "Sun, 06 Nov 1994 08:49:37 GMT";

std::optional<Nanos> after(std::string_view value, std::string_view date = kNow,
                           Nanos most = kMost) {
  return parse_retry_after(value, date, most);
}

TEST(RetryAfter, Seconds) {
  EXPECT_EQ(after("0"), 0);
  EXPECT_EQ(after("1"), kSecond);
  EXPECT_EQ(after("007", ""), 7 * kSecond);
  EXPECT_EQ(after(" 5\t"), 5 * kSecond);
  EXPECT_EQ(after("60"), kMost);
  EXPECT_EQ(after("61"), kMost);
  EXPECT_EQ(after("86400"), kMost);
  EXPECT_EQ(after("3600", "", kHour), kHour);
  EXPECT_EQ(after("5", "", 0), 0);
  EXPECT_EQ(after("5", "", 1500 * kMillisecond), 1500 * kMillisecond);
}

TEST(RetryAfter, OverflowIsTheMost) {
  EXPECT_EQ(after("9223372036854775807"), kMost);
  EXPECT_EQ(after("9223372036854775808"), kMost);
  EXPECT_EQ(after("18446744073709551616"), kMost);
  EXPECT_EQ(after("99999999999999999999"), kMost);  // 20 digits
  EXPECT_EQ(after(std::string(10'000, '9')), kMost);
  EXPECT_EQ(after(std::string(10'000, '0') + "3"), 3 * kSecond);
  EXPECT_EQ(after("99999999999999999999", "", kNever), kNever / kSecond * kSecond);
}

TEST(RetryAfter, TheThreeFormsOfADate) {
  for (const std::string_view value :
       {"Sun, 06 Nov 1994 08:49:47 GMT", "Sunday, 06-Nov-94 08:49:47 GMT",
        "Sun Nov  6 08:49:47 1994"}) {
    for (const std::string_view date : {kNow, std::string_view("Sunday, 06-Nov-94 08:49:37 GMT"),
                                        std::string_view("Sun Nov  6 08:49:37 1994")}) {
      EXPECT_EQ(after(value, date), 10 * kSecond) << value << " / " << date;
    }
  }
  EXPECT_EQ(after("Wed Nov 16 00:00:01 1994", "Wed, 16 Nov 1994 00:00:00 GMT"), kSecond);
}

TEST(RetryAfter, ADateIsRelativeToTheResponsesOwn) {
  EXPECT_EQ(after("Sun, 06 Nov 1994 08:49:36 GMT"), 0);  // past
  EXPECT_EQ(after("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(after("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
  EXPECT_EQ(after("Sun, 06 Nov 1994 09:49:37 GMT"), kMost);
  EXPECT_EQ(after("Fri, 31 Dec 9999 23:59:59 GMT"), kMost);
  EXPECT_EQ(after("Sat, 01 Jan 2000 00:00:05 GMT", "Fri, 31 Dec 1999 23:59:55 GMT"), 10 * kSecond);
  // A leap second, and a leap day.
  EXPECT_EQ(after("Sat, 31 Dec 2016 23:59:60 GMT", "Sat, 31 Dec 2016 23:59:59 GMT"), kSecond);
  EXPECT_EQ(after("Thu, 01 Mar 2012 00:00:00 GMT", "Wed, 29 Feb 2012 23:59:50 GMT"), 10 * kSecond);
}

TEST(RetryAfter, ADateWithoutAUsableDateIsNothing) {
  const std::string_view value = "Sun, 06 Nov 1994 08:49:47 GMT";
  for (const std::string_view date :
       {"", "yesterday", "10", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT"}) {
    EXPECT_EQ(after(value, date), std::nullopt) << date;
  }
  EXPECT_EQ(after("10", "yesterday"), 10 * kSecond);  // seconds need none
}

TEST(RetryAfter, TwoDigitsOfAYearAreTheNearest) {
  // RFC 9110 §5.6.7: more than 50 years ahead is the past.
  EXPECT_EQ(after("Sunday, 06-Nov-45 08:49:37 GMT"), 0);  // 1945, not 2045
  EXPECT_EQ(after("Saturday, 01-Jan-00 00:00:05 GMT", "Fri, 31 Dec 1999 23:59:55 GMT"),
            10 * kSecond);
  EXPECT_EQ(after("Friday, 31-Dec-99 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"), 0);
  EXPECT_EQ(after("Saturday, 01-Jan-00 00:00:05 GMT", "Friday, 31-Dec-99 23:59:55 GMT"),
            10 * kSecond);
  EXPECT_EQ(parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT", std::nullopt), 0);
  EXPECT_EQ(parse_http_date("Tuesday, 01-Jan-69 00:00:00 GMT", std::nullopt), 3124224000);
}

TEST(RetryAfter, AnythingElseIsNothing) {
  for (const std::string_view value :
       {"", " ", "-1", "-0", "+5", "1.5", "5s", "5 s", "0x10", "1e3", "5,6", "soon", "\xff\xfe",
        // Dates that are wrong in one place each.
        "sun, 06 Nov 1994 08:49:47 GMT", "Son, 06 Nov 1994 08:49:47 GMT",
        "Sun 06 Nov 1994 08:49:47 GMT", "Sun, 6 Nov 1994 08:49:47 GMT",
        "Sun, 06 nov 1994 08:49:47 GMT", "Sun, 06 Nov 94 08:49:47 GMT",
        "Sun, 06 Nov 1994 8:49:47 GMT", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 08:49:47",
        "Sun, 06 Nov 1994 08:49:47 UTC", "Sun, 06 Nov 1994 08:49:47 +0000",
        "Sun, 06 Nov 1994 08:49:47 GMT ,", "Sun, 00 Nov 1994 08:49:47 GMT",
        "Sun, 31 Nov 1994 08:49:47 GMT", "Sun, 29 Feb 1994 08:49:47 GMT",
        "Sun, 29 Feb 1900 08:49:47 GMT", "Sun, 06 Nov 1994 24:49:47 GMT",
        "Sun, 06 Nov 1994 08:60:47 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sunday, 06 Nov 1994 08:49:47 GMT", "Sun, 06-Nov-94 08:49:47 GMT",
        "Sunday, 06-Nov-1994 08:49:47 GMT", "Sun Nov 6 08:49:47 1994",
        "Sun Nov  6 08:49:47 1994 GMT", "Sun Nov 06 08:49:47 94"}) {
    EXPECT_EQ(after(value), std::nullopt) << value;
  }
  // Every proper beginning of a date.
  for (size_t size = 0; size < kNow.size(); ++size)
    EXPECT_EQ(after(kNow.substr(0, size)), std::nullopt) << size;
}

TEST(RetryAfter, RandomBytesDoNoHarm) {
  Rng rng(11);
  constexpr std::string_view kBytes = "0123456789 ,:-SunMonNovGMT\t\0\xff";
  for (int i = 0; i < 200'000; ++i) {
    std::string value(rng.up_to(30), ' ');
    for (char& c : value)
      c = kBytes[rng.up_to(kBytes.size() - 1)];
    std::string mutated(kNow);
    mutated[rng.up_to(mutated.size() - 1)] = static_cast<char>(rng.next());
    for (const std::string_view text : {std::string_view(value), std::string_view(mutated)}) {
      const std::optional<Nanos> delay = after(text, mutated);
      if (delay) {
        ASSERT_GE(*delay, 0);
        ASSERT_LE(*delay, kMost);
      }
    }
  }
}

TEST(RetryAfter, DaysAgreeWithACountByHand) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  int64_t days = 0;
  for (int year = 1970; year < 2110; ++year) {
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int kLengths[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (size_t month = 0; month < 12; ++month) {
      for (int day = 1; day <= kLengths[month]; ++day, ++days) {
        const std::string text = "Mon, " + std::string(day < 10 ? "0" : "") + std::to_string(day) +
                                 " " + std::string(kMonths[month]) + " " + std::to_string(year) +
                                 " 00:00:00 GMT";
        ASSERT_EQ(parse_http_date(text, std::nullopt), days * 86400) << text;
      }
    }
  }
}

// --- the budget ----------------------------------------------------------------------------------

TEST(RetryBudgetTest, EachNumberDoesWhatItSays) {
  RetryBudget budget({.tokens = 50, .cost = 7, .timeout_cost = 20, .success = 3, .refund = 50});
  EXPECT_EQ(budget.tokens(), 50);
  EXPECT_EQ(budget.take(false), 7);
  EXPECT_EQ(budget.take(true), 20);
  EXPECT_EQ(budget.tokens(), 23);
  budget.succeeded_at_once();
  EXPECT_EQ(budget.tokens(), 26);
  budget.retry_succeeded(20);
  EXPECT_EQ(budget.tokens(), 36);
  budget.retry_succeeded(7);
  EXPECT_EQ(budget.tokens(), 39);  // half of seven, rounded down
  for (int i = 0; i < 100; ++i)
    budget.succeeded_at_once();
  EXPECT_EQ(budget.tokens(), 50);  // never more than at the start
  budget.retry_succeeded(20);
  EXPECT_EQ(budget.tokens(), 50);
}

TEST(RetryBudgetTest, TooFewTokensAreNotTaken) {
  RetryBudget budget({.tokens = 9, .cost = 5, .timeout_cost = 10, .success = 1, .refund = 100});
  EXPECT_EQ(budget.take(true), std::nullopt);
  EXPECT_EQ(budget.tokens(), 9);
  EXPECT_EQ(budget.take(false), 5);
  EXPECT_EQ(budget.take(false), std::nullopt);
  EXPECT_EQ(budget.tokens(), 4);
  budget.succeeded_at_once();
  EXPECT_EQ(budget.take(false), 5);
  EXPECT_EQ(budget.tokens(), 0);
}

TEST(RetryBudgetTest, WithoutTokensThereIsNoRetryAndWithoutCostAlwaysOne) {
  RetryBudget none({.tokens = 0, .cost = 0, .timeout_cost = 0, .success = 1, .refund = 100});
  none.succeeded_at_once();
  EXPECT_EQ(none.take(false), std::nullopt);
  EXPECT_EQ(none.take(true), std::nullopt);
  RetryBudget free({.tokens = 1, .cost = 0, .timeout_cost = 0, .success = 0, .refund = 0});
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(free.take(i % 2 == 0), 0);
}

// Requests of up to `attempts` sends; `fails` says whether a send does.
struct Tally {
  int64_t requests = 0, sends = 0, first_successes = 0, failed_retries = 0;
};
template <typename Fails>
Tally run(RetryBudget& budget, int64_t requests, int attempts, Fails&& fails) {
  Tally tally;
  for (; tally.requests < requests; ++tally.requests) {
    ++tally.sends;
    bool failed = fails();
    if (!failed) {
      ++tally.first_successes;
      budget.succeeded_at_once();
    }
    for (int attempt = 1; failed && attempt < attempts; ++attempt) {
      const std::optional<int64_t> cost = budget.take(false);
      if (!cost) break;
      ++tally.sends;
      failed = fails();
      if (failed) {
        ++tally.failed_retries;
      } else {
        budget.retry_succeeded(*cost);
      }
    }
  }
  return tally;
}

TEST(RetryBudgetTest, AFullOutageAddsTwentySendsInAll) {
  RetryBudget budget(RetryBudgetOptions{});
  const Tally tally = run(budget, 100'000, 3, [] { return true; });
  EXPECT_EQ(tally.sends - tally.requests, 20);
  EXPECT_EQ(budget.tokens(), 0);
  RetryBudget timeouts(RetryBudgetOptions{});
  int64_t taken = 0;
  while (timeouts.take(true))
    ++taken;
  EXPECT_EQ(taken, 10);
}

TEST(RetryBudgetTest, FailedRetriesStayUnderAFifthOfTheSuccessesAndTwenty) {
  for (const int percent : {1, 10, 30, 50, 70, 90, 99}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      Rng rng(seed);
      RetryBudget budget(RetryBudgetOptions{});
      const Tally tally =
          run(budget, 20'000, 3, [&] { return rng.up_to(99) < static_cast<uint64_t>(percent); });
      ASSERT_LE(tally.failed_retries * 5, tally.first_successes + 100) << percent << " " << seed;
    }
  }
}

// Retries in flight at once hold their tokens: the bound does not depend on order.
TEST(RetryBudgetTest, TheBoundHoldsForAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    RetryBudget budget(RetryBudgetOptions{});
    std::vector<int64_t> running;
    int64_t successes = 0;
    int64_t lost = 0;  // tokens of retries that failed
    for (int i = 0; i < 5000; ++i) {
      switch (rng.up_to(3)) {
        case 0:
          budget.succeeded_at_once();
          ++successes;
          break;
        case 1:
          if (const auto cost = budget.take(rng.up_to(1) == 0)) running.push_back(*cost);
          break;
        default:
          if (running.empty()) break;
          std::swap(running[rng.up_to(running.size() - 1)], running.back());
          if (rng.up_to(1) == 0) {
            budget.retry_succeeded(running.back());
          } else {
            lost += running.back();
          }
          running.pop_back();
      }
      ASSERT_GE(budget.tokens(), 0);
      ASSERT_LE(budget.tokens(), 100);
      ASSERT_LE(lost, successes + 100);
    }
  }
}

// The vectors that AWS publishes for its standard mode: 500 tokens, 5 for a retry, 10 after a
// timeout, the last cost back on success; delays of 1 s doubling to 20 s, with jitter at its end.
TEST(RetryBudgetTest, PublishedVectorsRunUnchanged) {
  const RetryDelayOptions twenty = delays(RetryJitter::Added, kSecond, 20 * kSecond);
  const RetryDelayOptions three = delays(RetryJitter::Added, kSecond, 3 * kSecond);
  struct Step {
    bool failed;
    int64_t quota;
    int64_t delay;  // seconds; 0: no retry follows
  };
  const struct {
    const char* name;
    int64_t quota;
    int attempts;
    const RetryDelayOptions& delays;
    std::vector<Step> steps;
  } kVectors[] = {
      {"succeeds in the end", 500, 3, twenty, {{true, 495, 1}, {true, 490, 2}, {false, 495, 0}}},
      {"most attempts reached", 500, 3, twenty, {{true, 495, 1}, {true, 490, 2}, {true, 490, 0}}},
      {"quota reached after one", 5, 3, twenty, {{true, 0, 1}, {true, 0, 0}}},
      {"no quota at all", 0, 3, twenty, {{true, 0, 0}}},
      {"exponential delays",
       500,
       5,
       twenty,
       {{true, 495, 1}, {true, 490, 2}, {true, 485, 4}, {true, 480, 8}, {true, 480, 0}}},
      {"longest delay",
       500,
       5,
       three,
       {{true, 495, 1}, {true, 490, 2}, {true, 485, 3}, {true, 480, 3}, {true, 480, 0}}},
  };
  for (const auto& vector : kVectors) {
    SCOPED_TRACE(vector.name);
    Rng rng(1);
    RetryBudget budget(
        {.tokens = vector.quota, .cost = 5, .timeout_cost = 10, .success = 1, .refund = 100});
    std::optional<int64_t> last;
    uint32_t retry = 0;
    for (const Step& step : vector.steps) {
      Nanos delay = 0;
      if (!step.failed) {
        budget.retry_succeeded(*last);
      } else if (retry + 1 < static_cast<uint32_t>(vector.attempts)) {
        last = budget.take(false);
        if (last) delay = request_retry_delay(vector.delays, ++retry, kPlain, rng);
      }
      EXPECT_EQ(budget.tokens(), step.quota);
      EXPECT_EQ(delay, step.delay * kSecond);
    }
  }
}

TEST(RetryBudgetTest, OptionsComeFromSettings) {
  Values values = default_values();
  const RetryBudgetOptions defaults;
  RetryBudgetOptions options = retry_budget_options(values);
  EXPECT_EQ(options.tokens, defaults.tokens);
  EXPECT_EQ(options.cost, defaults.cost);
  EXPECT_EQ(options.timeout_cost, defaults.timeout_cost);
  EXPECT_EQ(options.success, defaults.success);
  EXPECT_EQ(options.refund, defaults.refund);
  values.retry_budget = 1;
  values.retry_budget_cost = 2;
  values.retry_budget_timeout_cost = 3;
  values.retry_budget_success = 4;
  values.retry_budget_refund = 5;
  options = retry_budget_options(values);
  EXPECT_EQ(options.tokens, 1);
  EXPECT_EQ(options.cost, 2);
  EXPECT_EQ(options.timeout_cost, 3);
  EXPECT_EQ(options.success, 4);
  EXPECT_EQ(options.refund, 5);
}

}  // namespace
}  // namespace conpool::policy
