// Socket addresses: texts, conversion, strict parsing.
#include "base/address.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace conpool {
namespace {

using namespace std::string_literals;

TEST(ParseIpLiteral, AcceptsStrictFormsAlone) {
  EXPECT_EQ(parse_ip_literal("192.0.2.1", 443)->text(), "192.0.2.1:443");
  EXPECT_EQ(parse_ip_literal("0.0.0.0")->ip_text(), "0.0.0.0");
  EXPECT_EQ(parse_ip_literal("255.255.255.255")->ip_text(), "255.255.255.255");
  EXPECT_EQ(parse_ip_literal("2001:DB8::1", 443)->text(), "[2001:db8::1]:443");
  EXPECT_EQ(parse_ip_literal("[::1]")->ip_text(), "::1");
  EXPECT_EQ(parse_ip_literal("fe80::1%7", 80)->text(), "[fe80::1%7]:80");
  EXPECT_EQ(parse_ip_literal("[fe80::1%7]")->scope_id(), 7u);
}

TEST(ParseIpLiteral, ScopeMayBeAnInterfaceName) {
  unsigned lo = if_nametoindex("lo");
  if (lo == 0) GTEST_SKIP() << "no interface lo";
  EXPECT_EQ(parse_ip_literal("fe80::1%lo")->scope_id(), lo);
}

TEST(ParseIpLiteral, MappedStaysV6) {
  Result<SocketAddress> mapped = parse_ip_literal("::ffff:192.0.2.1", 1);
  ASSERT_TRUE(mapped);
  EXPECT_EQ(mapped->family(), Family::V6);
  EXPECT_EQ(mapped->text(), "[::ffff:192.0.2.1]:1");
}

TEST(ParseIpLiteral, RefusesEverythingElseNamingIt) {
  const std::string bad[] = {"",
                             "1",
                             "1.2.3",
                             "1.2.3.4.",
                             "1.2.3.4.5",
                             ".1.2.3.4",
                             "1..2.3",
                             "256.1.1.1",
                             "1.2.3.1000",
                             "01.2.3.4",
                             "1.2.3.00",
                             "0x7f.0.0.1",
                             "0x7f000001",
                             "2130706433",
                             "1.2.3.4 ",
                             " 1.2.3.4",
                             "+1.2.3.4",
                             "1.2.3.-4",
                             "1.2.3.4\0"s,
                             "[1.2.3.4]",
                             "[::1",
                             "::1]",
                             "[]",
                             "[",
                             ":",
                             ":::",
                             "1::2::3",
                             "12345::",
                             "::1%",
                             "::1%0",
                             "::1%4294967296",
                             "::1%no-such-if0",
                             "::1%lo\0x"s,
                             "::1\0"s,
                             "::1%1 ",
                             "1.2.3.4%1",
                             "::ffff:1.2.3.04",
                             "::g",
                             "2001:db8::1/64",
                             "1:2:3:4:5:6:7:8:9",
                             std::string(100000, ':'),
                             std::string(5000, '1')};
  for (const std::string& text : bad) {
    Result<SocketAddress> parsed = parse_ip_literal(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().status, Status::E_BAD_ADDRESS) << text;
    EXPECT_NE(parsed.error().detail.find("is not an IP address: "), std::string::npos) << text;
    EXPECT_LT(parsed.error().detail.size(), 500u);
    EXPECT_EQ(parsed.error().detail.find('\0'), std::string::npos) << text;
  }
  EXPECT_EQ(parse_ip_literal("0x7f.1").error().detail,
            "\"0x7f.1\" is not an IP address: write IPv4 as four decimal numbers of 0 to 255 "
            "without leading zeros, as in 192.0.2.1");
}

TEST(ParseAddressAndPort, AcceptsBothFamilies) {
  EXPECT_EQ(parse_address_and_port("192.0.2.1:443")->text(), "192.0.2.1:443");
  EXPECT_EQ(parse_address_and_port("1.2.3.4:53")->port(), 53);
  EXPECT_EQ(parse_address_and_port("[2001:db8::1]:65535")->text(), "[2001:db8::1]:65535");
  EXPECT_EQ(parse_address_and_port("[fe80::1%3]:1")->text(), "[fe80::1%3]:1");
}

TEST(ParseAddressAndPort, TellsAddressAndPortFaultsApart) {
  struct Case {
    const char* text;
    Status status;
    const char* says;
  };
  const Case cases[] = {
      {"", Status::E_BAD_ADDRESS, "it is empty"},
      {"1.2.3:80", Status::E_BAD_ADDRESS, "\"1.2.3\""},
      {"host:80", Status::E_BAD_ADDRESS, "\"host\""},
      {"::1:80", Status::E_BAD_ADDRESS, "stands in brackets"},
      {"[::1]80", Status::E_BAD_ADDRESS, "closing ']'"},
      {"[::1:80", Status::E_BAD_ADDRESS, "closing ']'"},
      {"1.2.3.4", Status::E_BAD_PORT, "has no port"},
      {"[::1]", Status::E_BAD_PORT, "has no port"},
      {"1.2.3.4:", Status::E_BAD_PORT, "\"\" is not a port"},
      {"1.2.3.4:0", Status::E_BAD_PORT, "\"0\" is not a port"},
      {"1.2.3.4:99999", Status::E_BAD_PORT, "\"99999\" is not a port"},
      {"[::1]:http", Status::E_BAD_PORT, "\"http\" is not a port"},
  };
  for (const Case& c : cases) {
    Result<SocketAddress> parsed = parse_address_and_port(c.text);
    ASSERT_FALSE(parsed) << c.text;
    EXPECT_EQ(parsed.error().status, c.status) << c.text;
    EXPECT_NE(parsed.error().detail.find(c.says), std::string::npos) << parsed.error().detail;
  }
}

TEST(ParsePort, RangeAndForm) {
  EXPECT_EQ(*parse_port("1"), 1);
  EXPECT_EQ(*parse_port("65535"), 65535);
  for (std::string_view bad : {"", "0", "00080", "65536", "99999", "4294967297", "-1", "+1", " 1",
                               "1 ", "0x50", "http", "99999999999999999999"}) {
    Result<uint16_t> port = parse_port(bad);
    ASSERT_FALSE(port) << bad;
    EXPECT_EQ(port.error().status, Status::E_BAD_PORT);
    EXPECT_NE(port.error().detail.find("from 1 to 65535"), std::string::npos);
  }
}

TEST(SocketAddress, SurvivesTheSystemsForm) {
  const SocketAddress addresses[] = {
      SocketAddress::v4({192, 0, 2, 1}, 443), *parse_ip_literal("fe80::1%9", 65535),
      SocketAddress::unix_path("/run/x.sock"), SocketAddress::unix_path("@abstract"),
      SocketAddress::unix_path("")};
  for (const SocketAddress& address : addresses) {
    sockaddr_storage storage;
    socklen_t size = address.to_sockaddr(&storage);
    ASSERT_GT(size, 0u);
    Result<SocketAddress> back =
        SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage), size);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, address);
    EXPECT_EQ(back->hash(), address.hash());
  }
}

TEST(SocketAddress, UnixPathHasALimit) {
  sockaddr_storage storage;
  std::string longest = "/" + std::string(SocketAddress::kUnixPathBytes - 1, 'p');
  EXPECT_EQ(SocketAddress::unix_path(longest).to_sockaddr(&storage), sizeof(sockaddr_un));
  EXPECT_EQ(SocketAddress::unix_path(longest + "p").to_sockaddr(&storage), 0u);
  EXPECT_EQ(SocketAddress::unix_path("/a\0b"s).to_sockaddr(&storage), 0u);
  EXPECT_EQ(SocketAddress().to_sockaddr(&storage), 0u);
}

TEST(SocketAddress, RefusesTruncatedAndUnknownForms) {
  sockaddr_storage storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  for (const SocketAddress& good :
       {SocketAddress::v4({1, 2, 3, 4}, 5), *parse_ip_literal("::1", 5)}) {
    socklen_t size = good.to_sockaddr(&storage);
    for (socklen_t cut = 0; cut < size; ++cut) {
      EXPECT_FALSE(SocketAddress::from_sockaddr(address, cut));
    }
  }
  storage.ss_family = AF_APPLETALK;
  EXPECT_FALSE(SocketAddress::from_sockaddr(address, sizeof(storage)));
  storage.ss_family = AF_UNIX;
  EXPECT_FALSE(SocketAddress::from_sockaddr(address, sizeof(storage)));
  EXPECT_FALSE(SocketAddress::from_sockaddr(nullptr, 16));
}

TEST(SocketAddress, EveryFieldTellsAddressesApart) {
  SocketAddress base = SocketAddress::v6({1}, 443, 2);
  EXPECT_NE(base, SocketAddress::v6({1}, 444, 2));
  EXPECT_NE(base, SocketAddress::v6({1}, 443, 3));
  EXPECT_NE(base, SocketAddress::v6({2}, 443, 2));
  EXPECT_NE(base.hash(), SocketAddress::v6({1}, 443, 3).hash());
  EXPECT_NE(SocketAddress::v4({1}, 0), SocketAddress::v6({1}, 0));
  EXPECT_EQ(base.without_port(), SocketAddress::v6({1}, 0, 2));
  EXPECT_EQ(base.with_port(7).port(), 7);
  SocketAddress path = SocketAddress::unix_path("/x");
  EXPECT_EQ(path.with_port(7), path);
}

TEST(SocketAddress, Texts) {
  EXPECT_EQ(SocketAddress::unix_path("/run/x").text(), "unix:/run/x");
  EXPECT_EQ(SocketAddress::unix_path("@a\n").text(), "unix:@a\\n");
  EXPECT_EQ(SocketAddress::unix_path("@a").ip_text(), "unix:@a");
  EXPECT_EQ(SocketAddress().text(), "none");
}

}  // namespace
}  // namespace conpool
