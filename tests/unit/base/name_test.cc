// Host names: what is accepted, in which form, and a distinct reason for each refusal.
#include "base/name.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace conpool {
namespace {

using namespace std::string_literals;

TEST(ParseHost, NormalisesNames) {
  Result<Host> host = parse_host("WWW.Example.COM");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->name, "www.example.com");
  EXPECT_FALSE(host->absolute);
  EXPECT_FALSE(host->literal);
  EXPECT_EQ(host->text(), "www.example.com");
}

TEST(ParseHost, OneTrailingDotMeansAbsolute) {
  Result<Host> host = parse_host("Example.com.");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->name, "example.com");
  EXPECT_TRUE(host->absolute);
  EXPECT_EQ(host->text(), "example.com.");
  EXPECT_FALSE(parse_host("example.com.."));
  EXPECT_FALSE(parse_host("."));
}

TEST(ParseHost, AcceptsWhatDnsAccepts) {
  for (std::string_view name :
       {"a", "localhost", "a-b", "_srv._tcp.example", "x_y.example", "xn--bcher-kva.example",
        "1and1.com", "1.2.3.4.in-addr.arpa", "0x7g", "3com", "a--b", "9.x"}) {
    Result<Host> host = parse_host(name);
    ASSERT_TRUE(host) << name << host.error().detail;
    EXPECT_EQ(host->text(), name);
    EXPECT_FALSE(host->literal);
  }
}

TEST(ParseHost, LengthsAtTheirLimits) {
  std::string label(63, 'a');
  EXPECT_TRUE(parse_host(label));
  EXPECT_FALSE(parse_host(label + "a"));
  std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  ASSERT_EQ(longest.size(), 253u);
  EXPECT_TRUE(parse_host(longest));
  EXPECT_TRUE(parse_host(longest + "."));
  EXPECT_FALSE(parse_host(longest + "b"));
}

TEST(ParseHost, Literals) {
  Result<Host> v4 = parse_host("127.0.0.1");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->literal);
  EXPECT_TRUE(v4->name.empty());
  EXPECT_EQ(v4->text(), "127.0.0.1");
  EXPECT_EQ(v4->address.port(), 0);
  EXPECT_EQ(parse_host("[::1]")->text(), "::1");
  EXPECT_EQ(parse_host("2001:DB8:0::1")->text(), "2001:db8::1");
  EXPECT_EQ(parse_host("fe80::1%3")->text(), "fe80::1%3");
}

TEST(ParseHost, EachRefusalHasItsOwnWords) {
  struct Case {
    std::string text;
    std::string shown;
    std::string reason;
  };
  const std::string bytes = "; letters, digits, '-', '_' and '.' are allowed";
  const Case cases[] = {
      {"", "\"\"", "it is empty"},
      {".", "\".\"", "the root has no address"},
      {"a..b", "\"a..b\"", "it has an empty label; write one dot between two labels"},
      {"a b", "\"a b\"", "it has a space; remove it"},
      {"a\0b"s, R"("a\x00b")", "it has a NUL byte; give the length without one"},
      {"a\x01", R"("a\x01")", "it has the byte \\x01" + bytes},
      {"a/b", "\"a/b\"", "it has the byte '/'" + bytes},
      {"b\xc3\xbcr.example", R"("b\xc3\xbcr.example")",
       "it has the non-ASCII byte \\xc3; write the A-label form, as in xn--bcher-kva.example"},
      {"-a.b", "\"-a.b\"", "the label \"-a\" begins with '-'"},
      {"a.b-", "\"a.b-\"", "the label \"b-\" ends with '-'"},
      {"0x7f.1", "\"0x7f.1\"",
       "a numeric last label must belong to a dotted quad such as 127.0.0.1"},
      {"1.2.3.4.", "\"1.2.3.4.\"", "an IP address has no dot at its end"},
      {"host:443", "\"host:443\"", "a host has no ':'; the port is given apart from it"},
      {"[a]", "\"[a]\"", "brackets belong around a whole IPv6 address, as in [2001:db8::1]"},
      {"1::2::3", "\"1::2::3\"", "it is not an IPv6 address either; write one as in 2001:db8::1"},
      {std::string(64, 'a'), "\"" + std::string(64, 'a') + "\"",
       "the label \"aaaaaaaaaaaaaaaa...\" has 64 bytes; a label has at most 63"},
      {std::string(254, 'a'), "\"" + std::string(80, 'a') + "...\"",
       "it has 254 bytes; at most 253 are allowed"},
  };
  std::set<std::string> reasons;
  for (const Case& c : cases) {
    Result<Host> host = parse_host(c.text);
    ASSERT_FALSE(host) << c.text;
    EXPECT_EQ(host.error().status, Status::E_BAD_NAME) << c.text;
    EXPECT_EQ(host.error().detail, c.shown + " is not a host name: " + c.reason);
    EXPECT_TRUE(reasons.insert(c.reason).second);
  }
}

TEST(ParseHost, NumericLastLabelIsAQuadOrRefused) {
  for (std::string_view text :
       {"1", "127.1", "1.2.3", "2130706433", "0x7f000001", "0X7F", "a.0x1", "1.2.3.4.5",
        "1.2.3.256", "01.2.3.4", "host.1", "0x", "1.2.3.0x4"}) {
    Result<Host> host = parse_host(text);
    ASSERT_FALSE(host) << text;
    EXPECT_NE(host.error().detail.find("dotted quad"), std::string::npos) << host.error().detail;
  }
}

TEST(ParseHost, EveryByteIsJudged) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string text = "a?b";
    text[1] = static_cast<char>(byte);
    bool allowed = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                   (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.';
    Result<Host> host = parse_host(text);
    EXPECT_EQ(host.has_value(), allowed) << byte;
    if (host) continue;
    for (char c : host.error().detail) {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << byte;
      EXPECT_LT(static_cast<unsigned char>(c), 0x7f) << byte;
    }
  }
}

}  // namespace
}  // namespace conpool
