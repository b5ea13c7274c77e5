// Methods and fields: each rule, and each byte that would break out of a message.
#include "client/fields.h"

#include <gtest/gtest.h>

#include <string>

namespace conpool::client {
namespace {

TEST(Method, IsAToken) {
  for (const char* good : {"GET", "POST", "get", "M-SEARCH", "X!#$%&'*+-.^_`|~9"})
    EXPECT_TRUE(check_method(good)) << good;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool token = std::isalnum(byte) != 0 && byte < 128;
    const bool mark =
        byte != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    const Result<void> checked = check_method(std::string("GE") + c);
    EXPECT_EQ(checked.has_value(), token || mark) << byte;
    if (!checked) {
      EXPECT_EQ(checked.error().status, Status::E_BAD_METHOD);
    }
  }
  EXPECT_EQ(check_method("").error().status, Status::E_BAD_METHOD);
  EXPECT_EQ(check_method("CONNECT").error().status, Status::E_UNSUPPORTED);
}

TEST(HeaderName, IsATokenAndNotTheConnections) {
  EXPECT_EQ(*check_header_name("accept"), FieldUse::Plain);
  EXPECT_EQ(*check_header_name("Cookie"), FieldUse::Plain);
  EXPECT_EQ(*check_header_name("TE"), FieldUse::Plain);
  EXPECT_EQ(*check_header_name("hOsT"), FieldUse::Host);
  EXPECT_EQ(*check_header_name("Content-LENGTH"), FieldUse::ContentLength);
  EXPECT_EQ(*check_header_name("expect"), FieldUse::Expect);
  const struct {
    std::string name;
    const char* words;
  } bad[] = {
      {"", "empty name"},
      {"a b", "the byte ' '"},
      {"a:", "the byte ':'"},
      {"a\r\nb", "the byte \\x0d"},
      {std::string("a\0b", 3), "the byte \\x00"},
      {"\xc3\xa9", "the byte \\xc3"},
      {":path", "pseudo field"},
      {"Connection", "belongs to the connection"},
      {"keep-alive", "belongs to the connection"},
      {"Proxy-Connection", "belongs to the connection"},
      {"Transfer-Encoding", "frames the body itself"},
      {"UPGRADE", "belongs to the connection"},
      {"HTTP2-Settings", "belongs to the connection"},
      {"Trailer", "conpool_request_trailer"},
  };
  for (const auto& c : bad) {
    const Result<FieldUse> checked = check_header_name(c.name);
    ASSERT_FALSE(checked) << c.name;
    EXPECT_EQ(checked.error().status, Status::E_BAD_FIELD);
    EXPECT_NE(checked.error().detail.find(c.words), std::string::npos) << checked.error().detail;
  }
}

TEST(TrailerName, MeansNothingBeforeTheBody) {
  for (const char* good : {"x-checksum", "grpc-status", "Content-Digest", "ETag", "Server-Timing"})
    EXPECT_TRUE(check_trailer_name(good)) << good;
  for (const char* bad :
       {"Content-Length", "transfer-encoding", "Host", "TE", "Trailer", "Authorization", "Cookie",
        "Set-Cookie", "Content-Type", "content-encoding", "Content-Range", "Cache-Control",
        "Expect", "If-Match", "Range", "Connection", ":status", "a b", ""}) {
    const Result<void> checked = check_trailer_name(bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().status, Status::E_BAD_FIELD);
  }
}

TEST(Value, HasNoControlBytes) {
  EXPECT_EQ(*check_value("a", ""), "");
  EXPECT_EQ(*check_value("a", " \t x y\tz \t"), "x y\tz");
  EXPECT_EQ(*check_value("a", "\xc3\xa9"), "\xc3\xa9");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string value = std::string("x") + static_cast<char>(byte) + "secret";
    const bool good = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
    const Result<std::string_view> checked = check_value("x-name", value);
    EXPECT_EQ(checked.has_value(), good) << byte;
    if (checked) continue;
    EXPECT_EQ(checked.error().status, Status::E_BAD_FIELD);
    EXPECT_NE(checked.error().detail.find("\"x-name\""), std::string::npos);
    EXPECT_EQ(checked.error().detail.find("secret"), std::string::npos);
  }
}

TEST(Value, OfTeIsTrailersAlone) {
  EXPECT_EQ(*check_value("TE", " Trailers "), "Trailers");
  EXPECT_FALSE(check_value("te", "gzip"));
  EXPECT_FALSE(check_value("te", "trailers, gzip"));
  EXPECT_FALSE(check_value("te", ""));
}

TEST(Authority, IsHostAndPort) {
  for (const char* good : {"h", "h:80", "EXAMPLE.org", "example.org.:443", "192.0.2.1:8080",
                           "[2001:db8::1]", "[2001:db8::1]:443", "a_b.test"})
    EXPECT_TRUE(check_authority(good)) << good;
  for (const char* bad :
       {"", ":80", "h:", "h:0", "h:65536", "h:8o", "h:80:80", "a b", "user@h", "h/path", "h?q",
        "2001:db8::1", "[fe80::1%1]", "[2001:db8::1", "a,b", "127.1", "\xc3\xa9.test", "-h"}) {
    const Result<void> checked = check_authority(bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().status, Status::E_BAD_FIELD);
  }
}

TEST(ContentLength, IsDigitsAlone) {
  EXPECT_EQ(*parse_content_length("0"), 0u);
  EXPECT_EQ(*parse_content_length("9223372036854775807"), uint64_t{INT64_MAX});
  for (const char* bad : {"", "+5", "-1", "0x10", "5 5", "5,5", "42s", " 5", "9223372036854775808",
                          "18446744073709551616", "99999999999999999999"})
    EXPECT_FALSE(parse_content_length(bad)) << bad;
}

}  // namespace
}  // namespace conpool::client
