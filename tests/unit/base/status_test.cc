// The status table: names, texts, classes, values.
#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace conpool {
namespace {

struct Row {
  const char* name;
  int32_t value;
  StatusClass in_class;
  const char* text;
};
constexpr Row kRows[] = {
#define STATUS(name, value, class_, text) {#name, value, StatusClass::class_, text},
#include "base/status.def"
#undef STATUS
};

TEST(Status, EveryRowAgreesWithTheFunctions) {
  std::set<int32_t> values;
  std::set<std::string> names, texts;
  for (const Row& row : kRows) {
    EXPECT_EQ(status_name(row.value), row.name);
    EXPECT_EQ(status_text(row.value), row.text);
    EXPECT_EQ(status_class(row.value), row.in_class) << row.name;
    EXPECT_TRUE(values.insert(row.value).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(texts.insert(row.text).second) << row.text;
  }
}

TEST(Status, ValuesLieInTheirClassBlock) {
  for (const Row& row : kRows) {
    if (row.value == 0) continue;
    int32_t block = static_cast<int32_t>(row.in_class) * 100;
    EXPECT_LE(row.value, -block) << row.name;
    EXPECT_GT(row.value, -block - 100) << row.name;
  }
}

TEST(Status, TextsAreOneLowerCaseLineWithoutFullStop) {
  for (const Row& row : kRows) {
    std::string text = row.text;
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_NE(text.back(), '.');
  }
}

TEST(Status, UnknownValues) {
  EXPECT_EQ(status_name(-199), "UNKNOWN");
  EXPECT_EQ(status_text(7), "unknown status");
  EXPECT_EQ(status_class(-199), StatusClass::USAGE);  // a code of a newer library
  EXPECT_EQ(status_class(-699), StatusClass::HTTP);
  EXPECT_EQ(status_class(-899), StatusClass::BREAKER);
  EXPECT_EQ(status_class(-99), StatusClass::UNKNOWN);
  EXPECT_EQ(status_class(-1000), StatusClass::UNKNOWN);
  EXPECT_EQ(status_class(1), StatusClass::UNKNOWN);
  EXPECT_EQ(status_class(INT32_MIN), StatusClass::UNKNOWN);
}

TEST(Status, ErrnoNames) {
  EXPECT_EQ(errno_name(ECONNREFUSED), "ECONNREFUSED");
  EXPECT_EQ(errno_name(EAGAIN), "EAGAIN");
  EXPECT_EQ(errno_name(0), "");
  EXPECT_EQ(errno_name(4711), "");
  EXPECT_EQ(errno_name(-1), "");
}

TEST(Status, PhaseNamesAreDistinct) {
  std::set<std::string_view> names;
  for (int phase = 0; phase <= static_cast<int>(Phase::Receive); ++phase) {
    EXPECT_TRUE(names.insert(phase_name(static_cast<Phase>(phase))).second);
  }
}

}  // namespace
}  // namespace conpool
