// Tests of the configuration's texts: hosts file, resolv.conf, server lists, search lists, special
// names.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "message_builder.h"
#include "resolver/hosts_file.h"
#include "resolver/resolv_conf.h"
#include "resolver/search.h"
#include "resolver/special_names.h"

namespace conpool::resolver {
namespace {

using testing::ip;
using Addresses = std::vector<SocketAddress>;
using Names = std::vector<std::string>;

TEST(HostsFile, ST_24_NamesAndAliasesOfBothFamilies) {
  const HostsFile file = HostsFile::parse(
      "127.0.0.1 localhost\n"
      "192.0.2.1\tExample.test  alias.test # a comment\n"
      "2001:db8::1 example.test\r\n"
      "192.0.2.2 example.test\n"
      "192.0.2.2 EXAMPLE.test.\n"
      "fe80::1%1 scoped.test");
  ASSERT_NE(file.find("example.test"), nullptr);
  EXPECT_EQ(file.find("example.test")->v4, (Addresses{ip("192.0.2.1"), ip("192.0.2.2")}));
  EXPECT_EQ(file.find("example.test")->v6, Addresses{ip("2001:db8::1")});
  EXPECT_EQ(file.find("alias.test")->v4, Addresses{ip("192.0.2.1")});
  EXPECT_TRUE(file.find("alias.test")->v6.empty());
  ASSERT_NE(file.find("scoped.test"), nullptr);
  EXPECT_EQ(file.find("scoped.test")->v6[0].scope_id(), 1U);
  EXPECT_EQ(file.find("comment"), nullptr);
  EXPECT_EQ(file.skipped_lines(), 0U);
}

TEST(HostsFile, BadLinesAreSkipped) {
  const HostsFile file = HostsFile::parse(
      "#192.0.2.1 commented.test\n"
      "\n"
      "   \t\n"
      "192.0.2 short.test\n"
      "0x7f.1 hex.test\n"
      "[2001:db8::1] bracket.test\n"
      "name.test 192.0.2.1\n"
      "192.0.2.1 bad..name good.test\n"
      "192.0.2.9\n"
      "192.0.2.1 last.test");
  EXPECT_EQ(file.size(), 2U);
  EXPECT_EQ(file.skipped_lines(), 5U);
  EXPECT_NE(file.find("good.test"), nullptr);
  EXPECT_NE(file.find("last.test"), nullptr);
}

TEST(HostsFile, BlockedNamesHaveNoAddress) {
  const HostsFile file = HostsFile::parse("0.0.0.0 ads.test\n:: ads.test\n");
  ASSERT_NE(file.find("ads.test"), nullptr);
  EXPECT_TRUE(file.find("ads.test")->v4.empty());
  EXPECT_TRUE(file.find("ads.test")->v6.empty());
}

TEST(HostsFile, AddressesPerNameHaveALimit) {
  std::string text;
  for (int i = 0; i < 100; ++i)
    text += "10.0.0." + std::to_string(i + 1) + " many.test\n";
  EXPECT_EQ(HostsFile::parse(text).find("many.test")->v4.size(), limits::kAddressesPerName);
}

TEST(HostsFile, BytesOfAnyKindAreNoTrouble) {
  const std::string text("192.0.2.1 a\0b.test\n\xff\xfe\n192.0.2.1 good.test\n", 41);
  const HostsFile file = HostsFile::parse(text);
  EXPECT_EQ(file.size(), 1U);
}

TEST(ResolvConf, TakesServersSearchAndOptions) {
  const ResolvConf conf = ResolvConf::parse(
      "# comment\n"
      "; another\n"
      "nameserver 192.0.2.53\n"
      "nameserver\t2001:db8::53  \n"
      "nameserver [2001:db8::54]:5353\n"
      "nameserver 192.0.2.54:5300\n"
      "search A.test b.test. a.test\n"
      "options ndots:5 timeout:3 attempts:4 rotate edns0\n");
  EXPECT_EQ(conf.servers,
            (Addresses{ip("192.0.2.53").with_port(53), ip("2001:db8::53").with_port(53),
                       ip("2001:db8::54").with_port(5353), ip("192.0.2.54").with_port(5300)}));
  EXPECT_EQ(conf.search, (Names{"a.test", "b.test"}));
  EXPECT_EQ(conf.ndots, 5);
  EXPECT_EQ(conf.timeout_seconds, 3);
  EXPECT_EQ(conf.attempts, 4);
  EXPECT_EQ(conf.skipped_lines, 0U);
}

TEST(ResolvConf, EmptyTextGivesTheDefaults) {
  const ResolvConf conf = ResolvConf::parse("");
  EXPECT_TRUE(conf.servers.empty());
  EXPECT_TRUE(conf.search.empty());
  EXPECT_EQ(conf.ndots, 1);
}

TEST(ResolvConf, TheLastOfDomainAndSearchHolds) {
  EXPECT_EQ(ResolvConf::parse("search a.test b.test\ndomain c.test d.test\n").search,
            Names{"c.test"});
  EXPECT_EQ(ResolvConf::parse("domain c.test\nsearch a.test b.test\n").search,
            (Names{"a.test", "b.test"}));
  EXPECT_TRUE(ResolvConf::parse("search a.test\nsearch\n").search.empty());
}

TEST(ResolvConf, NumbersAreCappedAndBadOnesIgnored) {
  const ResolvConf high =
      ResolvConf::parse("options ndots:99999999999999999999 timeout:99 attempts:9\n");
  EXPECT_EQ(high.ndots, 15);
  EXPECT_EQ(high.timeout_seconds, 30);
  EXPECT_EQ(high.attempts, 5);
  const ResolvConf bad = ResolvConf::parse("options ndots: ndots:-1 ndots:2x timeout:\n");
  EXPECT_EQ(bad.ndots, 1);
  EXPECT_EQ(bad.timeout_seconds, 5);
}

TEST(ResolvConf, BadLinesAreSkippedAndCounted) {
  const ResolvConf conf = ResolvConf::parse(
      " nameserver 192.0.2.1\n"
      "nameserver\n"
      "nameserver example.test\n"
      "nameserver 192.0.2\n"
      "nameserver 192.0.2.1:99999\n"
      "nameserver 0.0.0.0\n"
      "Nameserver 192.0.2.2\n"
      "nameserver192.0.2.3\n"
      "search a..b good.test\n"
      "nameserver 192.0.2.53\n"
      "nameserver 192.0.2.53\n");
  EXPECT_EQ(conf.servers, Addresses{ip("192.0.2.53").with_port(53)});
  EXPECT_EQ(conf.search, Names{"good.test"});
  EXPECT_EQ(conf.skipped_lines, 9U);
}

TEST(ResolvConf, ListsHaveLimits) {
  std::string text = "search";
  for (int i = 0; i < 40; ++i)
    text += " d" + std::to_string(i) + ".test";
  for (int i = 0; i < 40; ++i)
    text += "\nnameserver 10.0.0." + std::to_string(i + 1);
  const ResolvConf conf = ResolvConf::parse(text);
  EXPECT_EQ(conf.servers.size(), kServers);
  EXPECT_EQ(conf.search.size(), kSearchDomains);
}

TEST(ServerList, TakesAddressesWithAndWithoutPorts) {
  const Result<Addresses> servers =
      parse_server_list("192.0.2.1, 192.0.2.2:5353 ,2001:db8::1,[2001:db8::2]:54,[2001:db8::3]");
  ASSERT_TRUE(servers);
  EXPECT_EQ(*servers, (Addresses{ip("192.0.2.1").with_port(53), ip("192.0.2.2").with_port(5353),
                                 ip("2001:db8::1").with_port(53), ip("2001:db8::2").with_port(54),
                                 ip("2001:db8::3").with_port(53)}));
  EXPECT_TRUE(parse_server_list("")->empty());
}

TEST(ServerList, BadItemsAreNamed) {
  for (const char* text : {"example.test", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1,,192.0.2.2",
                           "192.0.2.1 192.0.2.2", "[::1", "::", "224.0.0.1", " "}) {
    const Result<Addresses> servers = parse_server_list(text);
    ASSERT_FALSE(servers) << text;
    EXPECT_EQ(servers.error().status, Status::E_OPTION_TYPE) << text;
    EXPECT_NE(servers.error().detail.find("dns.servers"), std::string::npos);
  }
  EXPECT_NE(parse_server_list("192.0.2.1,bogus").error().detail.find("bogus"), std::string::npos);
  std::string many = "10.1.0.1";
  for (int i = 0; i < 40; ++i)
    many += ",10.0.0." + std::to_string(i + 1);
  EXPECT_EQ(parse_server_list(many).error().status, Status::E_OPTION_RANGE);
}

Names names(std::string_view host, const Names& search, int64_t ndots) {
  return search_names(*parse_host(host), search, ndots);
}

TEST(Search, ST_24_ShortNamesGoThroughTheListFirst) {
  EXPECT_EQ(names("web", {"a.test", "b.test"}, 1), (Names{"web.a.test", "web.b.test", "web"}));
  EXPECT_EQ(names("web.x", {"a.test"}, 1), (Names{"web.x", "web.x.a.test"}));
  EXPECT_EQ(names("web.x", {"a.test"}, 5), (Names{"web.x.a.test", "web.x"}));
  EXPECT_EQ(names("web", {}, 1), Names{"web"});
  EXPECT_EQ(names("web", {"a.test"}, 0), (Names{"web", "web.a.test"}));
}

TEST(Search, AbsoluteNamesStandAlone) {
  EXPECT_EQ(names("web.", {"a.test"}, 1), Names{"web"});
  EXPECT_EQ(names("web.x.", {"a.test"}, 5), Names{"web.x"});
}

TEST(Search, ImpossibleExpansionsAreLeftOut) {
  const std::string label(60, 'a');
  const std::string host = label + "." + label + "." + label + "." + label;  // 243 bytes
  EXPECT_EQ(names(host, {"a-long-domain.test", "b.test"}, 9), (Names{host + ".b.test", host}));
  EXPECT_EQ(names("web", {"onion", "a.invalid", "localhost"}, 1), Names{"web"});
}

TEST(SpecialNames, ST_18_ReservedTopsAreKnown) {
  for (const char* name : {"localhost", "a.localhost", "a.b.localhost"}) {
    EXPECT_EQ(classify_name(name), SpecialName::Localhost) << name;
  }
  for (const char* name : {"invalid", "x.invalid", "onion", "x.onion"}) {
    EXPECT_EQ(classify_name(name), SpecialName::Reserved) << name;
  }
  for (const char* name : {"localhost.test", "mylocalhost", "onion.test", "x.invalidity", ""}) {
    EXPECT_EQ(classify_name(name), SpecialName::None) << name;
  }
}

}  // namespace
}  // namespace conpool::resolver
