// From what a caller typed to an endpoint's key; the address book; which addresses are public.
#include "pool/spec.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "pool/address_book.h"
#include "pool/public_addresses.h"

namespace conpool::pool {
namespace {

EndpointSpec spec_of(Result<EndpointSpec> made, const Values& values = default_values()) {
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().detail);
  if (!made) return {};
  EndpointSpec spec = std::move(*made);
  const Result<void> finished = finish_spec(&spec, values);
  EXPECT_TRUE(finished.has_value());
  return spec;
}
std::string key_of(std::string_view url, const Values& values = default_values()) {
  return spec_of(parse_endpoint_url(url), values).key;
}
Status refusal(std::string_view url) {
  const Result<EndpointSpec> made = parse_endpoint_url(url);
  EXPECT_FALSE(made.has_value()) << url;
  return made ? Status::OK : made.error().status;
}

TEST(Spec, Urls) {
  EXPECT_EQ(spec_of(parse_endpoint_url("tcp://Example.COM:80/")).name, "tcp://example.com:80");
  EXPECT_EQ(spec_of(parse_endpoint_url("tcp://h:80,81,80")).target.ports,
            (std::vector<uint16_t>{80, 81}));
  const EndpointSpec literal = spec_of(parse_endpoint_url("tcp://[2001:DB8::1]:80"));
  EXPECT_EQ(literal.name, "tcp://[2001:db8::1]:80");
  ASSERT_EQ(literal.target.addresses.size(), 1u);
  EXPECT_EQ(spec_of(parse_endpoint_url("unix:/run/s")).name, "unix:/run/s");
  EXPECT_EQ(spec_of(parse_endpoint_url("unix:///run/s")).name, "unix:/run/s");
  EXPECT_TRUE(spec_of(parse_endpoint_url("tls://h:443")).target.uses_tls);
}

TEST(Spec, HttpUrls) {
  const EndpointSpec plain = spec_of(parse_endpoint_url("HTTP://Example.com"));
  EXPECT_EQ(plain.kind, Kind::Http);
  EXPECT_EQ(plain.name, "http://example.com:80");
  EXPECT_EQ(plain.authority, "example.com");
  EXPECT_FALSE(plain.target.uses_tls);
  EXPECT_EQ(spec_of(parse_endpoint_url("https://h:443/")).authority, "h");
  EXPECT_EQ(spec_of(parse_endpoint_url("https://h:8443")).authority, "h:8443");
  EXPECT_EQ(spec_of(parse_endpoint_url("https://h")).target.ports, (std::vector<uint16_t>{443}));
  EXPECT_EQ(spec_of(parse_endpoint_url("http://[2001:DB8::1]")).authority, "[2001:db8::1]");
  EXPECT_EQ(spec_of(parse_endpoint_url("http://[::1]:8080")).authority, "[::1]:8080");
  EXPECT_EQ(spec_of(parse_endpoint_url("http://127.0.0.1:80")).authority, "127.0.0.1");
}

TEST(Spec, HttpAndRawNeverShare) {
  EXPECT_NE(key_of("http://h:80"), key_of("tcp://h:80"));
  EXPECT_NE(key_of("https://h:443"), key_of("tls://h:443"));
}

TEST(Spec, BadUrls) {
  EXPECT_EQ(refusal(""), Status::E_BAD_URL);
  EXPECT_EQ(refusal("example.com:80"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("gopher://h:70"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("https://h/path"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("https://"), Status::E_BAD_NAME);
  EXPECT_EQ(refusal("tcp://u:p@h:80"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("tcp://h:80/path"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("tcp://h"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://[::1]"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://h:"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://h:0"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://h:99999"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://h:80,"), Status::E_BAD_PORT);
  EXPECT_EQ(refusal("tcp://2001:db8::1:80"), Status::E_BAD_ADDRESS);
  EXPECT_EQ(refusal("tcp://a..b:80"), Status::E_BAD_NAME);
  EXPECT_EQ(refusal("unix:relative"), Status::E_BAD_URL);
  EXPECT_EQ(refusal("unix:/" + std::string(200, 'x')), Status::E_BAD_URL);
}

TEST(Spec, AddressLists) {
  const EndpointSpec list =
      spec_of(make_address_spec("tcp", " 192.0.2.1:80 , [2001:db8::1]:81,192.0.2.1:80"));
  EXPECT_EQ(list.name, "tcp://192.0.2.1:80,[2001:db8::1]:81");
  for (const char* bad : {"", "192.0.2.1", "192.0.2.1:80,", "h:80", "192.0.2.1:0"})
    EXPECT_FALSE(make_address_spec("tcp", bad).has_value()) << bad;
  std::string many;
  for (int i = 1; i <= 65; ++i)
    many += (i == 1 ? "" : ",") + ("192.0.2." + std::to_string(i)) + ":80";
  EXPECT_FALSE(make_address_spec("tcp", many).has_value());
  EndpointSpec tls = *make_address_spec("tls", "192.0.2.1:443");
  EXPECT_FALSE(finish_spec(&tls, default_values()).has_value());
}

TEST(Spec, WhatDiffersHasAnotherKey) {
  std::set<std::string> keys;
  const SettingsPtr keep = intern_settings(default_values());  // so that the settings' id stays
  const std::vector<std::string> urls{
      "tcp://h:80",         "tls://h:80",     "tcp://h:81",  "tcp://h:80,81",
      "tcp://h:81,80",      "tcp://g:80",     "tcp://h.:80", "tcp://192.0.2.1:80",
      "tcp://192.0.2.2:80", "tcp://[::1]:80", "unix:/a",     "unix:/b"};
  for (const std::string& url : urls)
    EXPECT_TRUE(keys.insert(key_of(url)).second) << url;
  for (const char* list :
       {"192.0.2.1:80", "192.0.2.1:80,192.0.2.2:80", "192.0.2.2:80,192.0.2.1:80"})
    EXPECT_TRUE(keys.insert(spec_of(make_address_spec("tcp", list)).key).second) << list;
  const EndpointSpec one = spec_of(parse_endpoint_url("tcp://H:80"));
  const EndpointSpec same = spec_of(parse_endpoint_url("tcp://h:80/"));
  EXPECT_EQ(one.key, same.key);
}

// Every option of the table, changed one at a time.
TEST(Spec, OptionsOfAnEndpointArePartOfItsKeyThoseOfARequestAreNot) {
  size_t endpoint_options = 0, request_options = 0;
  for (const OptionInfo& option : option_table()) {
    if (option.name == "proxy") continue;
    Config config;
    bool changed = false;
    for (const char* text :
         {"3",     "7s",          "true",     "false",  "x",  "1.3",  "v4_only", "random",
          "close", "public_only", "continue", "tcp",    "2",  "1ms",  "100ms",   "20ms",
          "17s",   "postgres",    "http1",    "128KiB", "64", "rate", "fail",    "probe",
          "codel", "equal",       "off",      "404",    "/x"}) {
      if (!config.set(option.name, text)) continue;
      Values values = default_values();
      const Values before = values;
      config.apply(&values);
      if (option_value_text(option, values) == option_value_text(option, before)) continue;
      changed = true;
      const std::string scheme = option.name.starts_with("tls.") ? "tls" : "tcp";
      EndpointSpec base = *parse_endpoint_url(scheme + "://h:80");
      EndpointSpec spec = base;
      if (!finish_spec(&base, before) || !finish_spec(&spec, values)) continue;
      if (option.scope == Scope::REQUEST) {
        ++request_options;
        EXPECT_EQ(spec.key, base.key) << option.name;
      } else if (option.scope == Scope::ENDPOINT) {
        ++endpoint_options;
        EXPECT_NE(spec.key, base.key) << option.name;
      }
      break;
    }
    EXPECT_TRUE(changed || option.scope == Scope::POOL) << option.name;
  }
  EXPECT_GT(endpoint_options, 30u);
  EXPECT_GT(request_options, 8u);
}

TEST(Spec, PartsCannotBeMovedFromOneFieldToAnother) {
  Values a = default_values(), b = default_values();
  a.partition = "x";
  b.partition = "";
  EXPECT_NE(key_of("tcp://h:80", a), key_of("tcp://h:80", b));
  EXPECT_NE(key_of("tcp://hx:80", b), key_of("tcp://h:80", a));
}

// --- the address book

resolver::FamilyAnswer answer(std::vector<std::string> addresses, Time expires,
                              bool stale = false) {
  resolver::FamilyAnswer made;
  std::vector<SocketAddress> list;
  for (const std::string& text : addresses)
    list.push_back(parse_address_and_port(text)->with_port(0));
  made.addresses = std::move(list);
  made.expires = expires;
  made.stale = stale;
  return made;
}
resolver::FamilyAnswer failure(Status status) {
  resolver::FamilyAnswer made;
  made.addresses = fail(status);
  return made;
}

TEST(AddressBook, KeepsTheLastGoodSetThroughFailures) {
  AddressBook book;
  EXPECT_TRUE(book.empty());
  EXPECT_TRUE(book.note(Family::V4, answer({"192.0.2.1:1"}, 10)));
  EXPECT_FALSE(book.note(Family::V4, answer({"192.0.2.1:1"}, 20)));
  EXPECT_EQ(book.expires(), 20);
  EXPECT_FALSE(book.last_good());
  EXPECT_FALSE(book.note(Family::V4, failure(Status::E_DNS_TIMEOUT)));
  EXPECT_TRUE(book.last_good());
  EXPECT_EQ(book.all().size(), 1u);
  EXPECT_TRUE(book.note(Family::V4, answer({"192.0.2.2:1"}, 30)));
  EXPECT_FALSE(book.last_good());
}

TEST(AddressBook, ANegativeAnswerEmptiesItsFamilyAlone) {
  AddressBook book;
  book.note(Family::V4, answer({"192.0.2.1:1"}, 10));
  book.note(Family::V6, answer({"[2001:db8::1]:1"}, 20));
  EXPECT_EQ(book.all()[0].family(), Family::V6);
  EXPECT_TRUE(book.note(Family::V6, failure(Status::E_DNS_NO_DATA)));
  EXPECT_EQ(book.all().size(), 1u);
  EXPECT_FALSE(book.note(Family::V6, failure(Status::E_DNS_NOT_FOUND)));
  EXPECT_TRUE(book.note(Family::V4, failure(Status::E_DNS_NOT_FOUND)));
  EXPECT_TRUE(book.empty());
  EXPECT_EQ(book.expires(), kNever);
}

TEST(AddressBook, AStaleAnswerIsALastGoodOne) {
  AddressBook book;
  book.note(Family::V4, answer({"192.0.2.1:1"}, 10, true));
  EXPECT_TRUE(book.last_good());
}

// --- public addresses

TEST(PublicAddresses, Blocks) {
  const auto is = [](const std::string& ip) { return is_public(*parse_address_and_port(ip)); };
  for (const char* ip : {"8.8.8.8:1", "172.15.255.255:1", "172.32.0.0:1", "100.63.255.255:1",
                         "100.128.0.0:1", "192.0.1.0:1", "198.20.0.0:1", "223.255.255.255:1",
                         "[2606:4700::1]:1", "[2001:200::1]:1", "[2a00::1]:1"})
    EXPECT_TRUE(is(ip)) << ip;
  for (const char* ip :
       {"0.0.0.0:1",         "10.0.0.1:1",     "100.64.0.1:1",     "127.0.0.1:1",
        "169.254.1.1:1",     "172.16.0.1:1",   "172.31.255.255:1", "192.0.0.8:1",
        "192.0.2.1:1",       "192.88.99.1:1",  "192.168.0.1:1",    "198.18.0.1:1",
        "198.19.255.255:1",  "198.51.100.1:1", "203.0.113.1:1",    "224.0.0.1:1",
        "255.255.255.255:1", "[::]:1",         "[::1]:1",          "[::ffff:8.8.8.8]:1",
        "[fe80::1]:1",       "[fc00::1]:1",    "[fd00::1]:1",      "[ff02::1]:1",
        "[2001:db8::1]:1",   "[2002::1]:1",    "[2001::1]:1",      "[64:ff9b::1]:1",
        "[3fff::1]:1"})
    EXPECT_FALSE(is(ip)) << ip;
  EXPECT_FALSE(is_public(SocketAddress::unix_path("/run/s")));
}

}  // namespace
}  // namespace conpool::pool
