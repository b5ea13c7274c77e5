// URLs of requests: what is split how, and what is refused with which words.
#include "client/url.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace conpool::client {
namespace {

using namespace std::string_literals;

TEST(Url, IsSplitIntoEndpointAndTarget) {
  const struct {
    const char* url;
    const char* endpoint;
    const char* target;
  } cases[] = {
      {"http://h", "http://h", "/"},
      {"http://h/", "http://h", "/"},
      {"https://Example.ORG:8443/a/b?c=d&e", "https://Example.ORG:8443", "/a/b?c=d&e"},
      {"http://h?q", "http://h", "/?q"},
      {"http://h?q=/a", "http://h", "/?q=/a"},
      {"HTTP://h/x", "http://h", "/x"},
      {"http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80", "/x"},
      {"http://h//x@y", "http://h", "//x@y"},
      {"http://h/a:b://c", "http://h", "/a:b://c"},
      {"http://h/%20%C3%A9", "http://h", "/%20%C3%A9"},
  };
  for (const auto& c : cases) {
    const Result<HttpUrl> url = split_url(c.url);
    ASSERT_TRUE(url) << c.url;
    EXPECT_EQ(url->endpoint, c.endpoint);
    EXPECT_EQ(url->target, c.target);
  }
}

TEST(Url, IsRefusedInWords) {
  const struct {
    std::string url;
    const char* words;
  } cases[] = {
      {"", "the URL is empty"},
      {"h/path", "\"h/path\" has no scheme"},
      {"//h/path", "has no scheme"},
      {"ftp://h/", "scheme \"ftp\""},
      {"tcp://h:1", "scheme \"tcp\""},
      {"ws://h/", "scheme \"ws\""},
      {"http://", "has no host"},
      {"http:///path", "has no host"},
      {"http://:80/", "has no host"},
      {"http://?q", "has no host"},
      {"http://user@h/", "user information"},
      {"http://user:secret@h/", "user information"},
      {"http://h/a#b", "has a fragment"},
      {"http://h#", "has a fragment"},
      {"http://h/a b", "has the byte ' ' in its path or query; write it as %20"},
      {"http://h/a\r\nX: y", "write it as %0D"},
      {"http://h/a\nb", "write it as %0A"},
      {"http://h/a\tb", "write it as %09"},
      {"http://h/a\0b"s, "write it as %00"},
      {"http://h/\x7f", "write it as %7F"},
      {"http://h/\xc3\xa9", "write it as %C3"},
  };
  for (const auto& c : cases) {
    const Result<HttpUrl> url = split_url(c.url);
    ASSERT_FALSE(url) << c.url;
    EXPECT_EQ(url.error().status, Status::E_BAD_URL);
    EXPECT_NE(url.error().detail.find(c.words), std::string::npos) << url.error().detail;
  }
  // What may be a password is not repeated.
  EXPECT_EQ(split_url("http://user:secret@h/").error().detail.find("secret"), std::string::npos);
}

TEST(Url, HasALimit) {
  const std::string longest(limits::kRequestHeadBytes - 1, 'a');
  EXPECT_TRUE(split_url("http://h/" + longest));
  EXPECT_FALSE(split_url("http://h/a" + longest));
}

TEST(Target, IsAPathOrTheStarOfOptions) {
  EXPECT_TRUE(check_target("GET", "/"));
  EXPECT_TRUE(check_target("GET", "/a?b#"s.substr(0, 4)));
  EXPECT_TRUE(check_target("OPTIONS", "*"));
  for (const char* bad : {"", "*", "a", "http://h/", "?q", "/a b", "/a#b", "/\r\n"}) {
    const Result<void> checked = check_target("GET", bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().status, Status::E_BAD_URL);
  }
}

}  // namespace
}  // namespace conpool::client
