// Quoting of untrusted bytes.
#include "base/text.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace conpool {
namespace {

using namespace std::string_literals;

TEST(InQuotes, EscapesWhatBreaksALine) {
  EXPECT_EQ(in_quotes("plain"), "\"plain\"");
  EXPECT_EQ(in_quotes("a\"b\\c\n\r\t\0\x7f\xff"s), R"("a\"b\\c\n\r\t\x00\x7f\xff")");
  EXPECT_EQ(in_quotes(""), "\"\"");
}

TEST(InQuotes, IsBounded) {
  EXPECT_EQ(in_quotes(std::string(80, 'a')), "\"" + std::string(80, 'a') + "\"");
  EXPECT_EQ(in_quotes(std::string(81, 'a')), "\"" + std::string(80, 'a') + "...\"");
  EXPECT_EQ(in_quotes("abcd", 3), "\"abc...\"");
}

TEST(Escaped, DistinctInputsStayDistinct) {
  std::set<std::string> seen;
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_TRUE(seen.insert(escaped(std::string(1, static_cast<char>(byte)))).second) << byte;
  }
  EXPECT_NE(escaped("\\x00"), escaped("\0"s));
}

TEST(WithoutControlBytes, KeepsTheRest) {
  EXPECT_EQ(without_control_bytes("a\"b\\ \xc3\xa9\x1b\n"), "a\"b\\ \xc3\xa9\\x1b\\x0a");
}

}  // namespace
}  // namespace conpool
