// Lists of statuses, and the options about outages that contradict each other.
#include "base/status_list.h"

#include <gtest/gtest.h>

#include "base/settings.h"

namespace conpool {
namespace {

TEST(StatusList, HoldsStatusesAndRanges) {
  const std::string_view list = "404,500-502,599";
  EXPECT_TRUE(check_status_list(list, kLeastStatus));
  for (const int status : {404, 500, 501, 502, 599})
    EXPECT_TRUE(status_list_has(list, status)) << status;
  for (const int status : {0, 100, 403, 405, 499, 503, 598, 600, -404})
    EXPECT_FALSE(status_list_has(list, status)) << status;
  EXPECT_TRUE(check_status_list("", kLeastStatus));
  EXPECT_FALSE(status_list_has("", 500));
  EXPECT_TRUE(check_status_list("100-599", kLeastStatus));
  EXPECT_TRUE(check_status_list("200-200", kLeastStatus));
}

TEST(StatusList, RefusesWhatIsNeitherByName) {
  for (const char* bad : {"x", "99", "600", "0500", "5xx", "500-", "-500", "502-500", "500--502",
                          "500-502-504", "+500", "500 502", "2000", "500-600"}) {
    for (const std::string& list : {std::string(bad), "404," + std::string(bad)}) {
      const Result<void> checked = check_status_list(list, kLeastStatus);
      ASSERT_FALSE(checked) << list;
      EXPECT_EQ(checked.error().status, Status::E_OPTION_RANGE);
      EXPECT_EQ(checked.error().detail, "\"" + std::string(bad) +
                                            "\" is neither a status from 100 to 599 nor a range of "
                                            "them; write 503 or 500-599");
      EXPECT_FALSE(status_list_has(bad, 500)) << bad;
    }
  }
}

using Entries = std::vector<std::pair<const char*, const char*>>;

std::string refused(const Entries& entries) {
  Config config;
  for (const auto& [name, value] : entries) {
    const Result<void> set = config.set(name, value);
    EXPECT_TRUE(set) << set.error().detail;
  }
  Values values = default_values();
  config.apply(&values);
  const Result<void> valid = validate(values);
  return valid ? "" : valid.error().detail;
}

TEST(OutageOptions, ListsAreCheckedByTheirNames) {
  struct Row {
    const char* option;
    std::string least;
  };
  for (const Row& row : {Row{"retry.statuses", "400"}, Row{"breaker.statuses", "400"},
                         Row{"health.status", "100"}}) {
    EXPECT_EQ(refused({{row.option, "503,teapot"}}),
              std::string(row.option) + ": \"teapot\" is neither a status from " + row.least +
                  " to 599 nor a range of them; write 503 or 500-599");
    EXPECT_EQ(refused({{row.option, "503, 504"}}), "");
    EXPECT_EQ(refused({{row.option, row.least.c_str()}}), "");
    EXPECT_EQ(refused({{row.option, "200-404"}}).empty(), row.least == "100");
  }
}

TEST(OutageOptions, NumbersThatContradictEachOtherAreNamed) {
  struct Row {
    Entries entries;
    const char* says;
  };
  const Row rows[] = {
      {{{"retry.base", "3s"}}, "retry.base (3s) is greater than retry.max_delay (2s)"},
      {{{"breaker.open", "3min"}}, "breaker.open (3min) is greater than breaker.open_max (2min)"},
      {{{"breaker.min_calls", "101"}},
       "breaker.min_calls (101) is greater than breaker.window_calls (100)"},
      {{{"breaker.trial_successes", "6"}},
       "breaker.trial_successes (6) is greater than breaker.trial_calls (5)"},
      {{{"breaker.trials", "6"}}, "breaker.trials (6) is greater than breaker.trial_calls (5)"},
  };
  for (const Row& row : rows)
    EXPECT_EQ(refused(row.entries),
              std::string(row.says) + "; lower the first or raise the second");
}

TEST(OutageOptions, TheLeastSizeIsWithinTheMost) {
  EXPECT_EQ(refused({{"pool.min", "17"}}),
            "pool.min (17) is greater than endpoint.max_connections (16); lower the first or raise "
            "the second");
  EXPECT_EQ(refused({{"pool.min", "5"}, {"pool.max", "4"}}),
            "pool.min (5) is greater than pool.max (4); lower the first or raise the second");
  EXPECT_EQ(refused({{"pool.min", "4"}, {"pool.max", "4"}}), "");
  EXPECT_EQ(refused({{"pool.min", "16"}}), "");
}

}  // namespace
}  // namespace conpool
