// Tests of destination address selection with injected source addresses (RFC 6724 §10's examples
// among them).
#include "resolver/rfc6724.h"

#include <gtest/gtest.h>

#include "message_builder.h"

namespace conpool::resolver {
namespace {

using testing::ip;

struct Pair {
  const char* destination;
  const char* source;  // nullptr: no route; "?": unknown
};

std::vector<SelectionCandidate> candidates(const std::vector<Pair>& pairs) {
  std::vector<SelectionCandidate> list;
  for (const Pair& pair : pairs) {
    SelectionCandidate candidate{.address = ip(pair.destination), .source = {}};
    if (pair.source != nullptr) {
      const bool unknown = std::string_view(pair.source) == "?";
      candidate.source = unknown ? SourceView{SourceView::Kind::Unknown}
                                 : SourceView{SourceView::Kind::Known, ip(pair.source)};
    }
    list.push_back(candidate);
  }
  return list;
}

std::vector<std::string> order(const std::vector<Pair>& pairs,
                               PolicyTable table = PolicyTable::Rfc6724) {
  std::vector<std::string> texts;
  for (const Selected& selected : select_destinations(candidates(pairs), table)) {
    texts.emplace_back(pairs[selected.index].destination);
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST(Rfc6724, S1_Rule1_UnusableDestinationsGoLastButStay) {
  EXPECT_EQ(order({{"2001:db8::1", nullptr}, {"192.0.2.1", "192.0.2.9"}}),
            (Texts{"192.0.2.1", "2001:db8::1"}));
  const auto selected = select_destinations(
      candidates({{"2001:db8::1", nullptr}, {"192.0.2.1", "192.0.2.9"}}), PolicyTable::Rfc6724);
  EXPECT_TRUE(selected[0].usable);
  EXPECT_FALSE(selected[1].usable);
  EXPECT_NE(selected[0].class_index, selected[1].class_index);
}

TEST(Rfc6724, Rule2_MatchingScopeIsPreferred) {
  // RFC 6724 §10.2: global destination from a link-local source against link-local to link-local.
  EXPECT_EQ(order({{"2001:db8:1::1", "fe80::1"}, {"198.51.100.121", "169.254.13.78"}}),
            (Texts{"2001:db8:1::1", "198.51.100.121"}));
  EXPECT_EQ(order({{"2001:db8:1::1", "fe80::1"}, {"198.51.100.121", "198.51.100.117"}}),
            (Texts{"198.51.100.121", "2001:db8:1::1"}));
}

TEST(Rfc6724, ST_22_Rule5_MatchingLabelIsPreferred) {
  // 6to4 source: the 6to4 destination first (RFC 6724 §10.2).
  EXPECT_EQ(
      order({{"2001:db8:1::1", "2002:c633:6401::2"}, {"2002:c633:6401::1", "2002:c633:6401::2"}}),
      (Texts{"2002:c633:6401::1", "2001:db8:1::1"}));
  // A unique local destination from a global source loses against IPv4.
  EXPECT_EQ(order({{"fd00::1", "2001:db8::9"}, {"192.0.2.1", "192.0.2.9"}}),
            (Texts{"192.0.2.1", "fd00::1"}));
}

TEST(Rfc6724, Rule6_HigherPrecedenceIsPreferred) {
  EXPECT_EQ(order({{"10.1.2.3", "10.1.2.4"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
            (Texts{"2001:db8:1::1", "10.1.2.3"}));
  EXPECT_EQ(order({{"127.0.0.1", "127.0.0.1"}, {"::1", "::1"}}), (Texts{"::1", "127.0.0.1"}));
}

TEST(Rfc6724, ST_22_TheUpdatedTablePrefersUniqueLocalToIpv4) {
  const std::vector<Pair> pairs = {{"192.0.2.1", "192.0.2.9"}, {"fd00::1", "fd00::9"}};
  EXPECT_EQ(order(pairs), (Texts{"192.0.2.1", "fd00::1"}));
  EXPECT_EQ(order(pairs, PolicyTable::Updated), (Texts{"fd00::1", "192.0.2.1"}));
}

TEST(Rfc6724, Rule8_SmallerScopeIsPreferred) {
  EXPECT_EQ(order({{"2001:db8:1::1", "2001:db8:1::2"}, {"fe80::1", "fe80::2"}}),
            (Texts{"fe80::1", "2001:db8:1::1"}));
}

TEST(Rfc6724, Rule9_LongestMatchingPrefixOfIpv6) {
  EXPECT_EQ(order({{"2001:db8:3ffe::1", "2001:db8:1::2"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
            (Texts{"2001:db8:1::1", "2001:db8:3ffe::1"}));
}

TEST(Rfc6724, Rule9_LooksAtSixtyFourBitsOnly) {
  // Same /64: the order of the answer stays.
  EXPECT_EQ(order({{"2001:db8::ffff", "2001:db8::2"}, {"2001:db8::3", "2001:db8::2"}}),
            (Texts{"2001:db8::ffff", "2001:db8::3"}));
}

TEST(Rfc6724, Rule9_NotForIpv4) {
  EXPECT_EQ(order({{"198.51.100.1", "192.0.2.9"}, {"192.0.2.8", "192.0.2.9"}}),
            (Texts{"198.51.100.1", "192.0.2.8"}));
}

TEST(Rfc6724, Rule10_OtherwiseTheOrderStays) {
  EXPECT_EQ(
      order({{"192.0.2.3", "192.0.2.9"}, {"192.0.2.1", "192.0.2.9"}, {"192.0.2.2", "192.0.2.9"}}),
      (Texts{"192.0.2.3", "192.0.2.1", "192.0.2.2"}));
}

TEST(Rfc6724, S2_HistoryGoesBetweenRules8And9) {
  auto list = candidates({{"2001:db8:1::1", "2001:db8:1::2"},
                          {"2001:db8:3ffe::1", "2001:db8:1::2"},
                          {"192.0.2.1", "192.0.2.9"}});
  list[0].history = 7;
  list[1].history = 3;
  list[2].history = 0;
  const auto selected = select_destinations(list, PolicyTable::Rfc6724);
  EXPECT_EQ(selected[0].index, 1U);  // before rule 9
  EXPECT_EQ(selected[1].index, 0U);
  EXPECT_EQ(selected[2].index, 2U);  // after rule 6
  EXPECT_EQ(selected[0].class_index, selected[1].class_index);
}

TEST(Rfc6724, ClassesAreEqualityUnderRules1To8) {
  const auto selected = select_destinations(candidates({{"192.0.2.1", "192.0.2.9"},
                                                        {"2001:db8::1", "2001:db8::9"},
                                                        {"192.0.2.2", "192.0.2.9"},
                                                        {"2001:db8:ff::1", "2001:db8::9"},
                                                        {"fd00::1", "fd00::9"}}),
                                            PolicyTable::Rfc6724);
  std::vector<uint32_t> classes;
  for (const Selected& one : selected)
    classes.push_back(one.class_index);
  EXPECT_EQ(classes, (std::vector<uint32_t>{0, 0, 1, 1, 2}));
}

TEST(Rfc6724, UnknownSourcesLeaveTheirRulesOut) {
  EXPECT_EQ(order({{"192.0.2.1", "?"}, {"2001:db8::1", "?"}, {"192.0.2.2", "?"}}),
            (Texts{"2001:db8::1", "192.0.2.1", "192.0.2.2"}));
}

TEST(Rfc6724, TableRowsByLongestPrefix) {
  const auto policy = [](const char* text) { return policy_of(ip(text), PolicyTable::Rfc6724); };
  const auto is = [&](const char* text, int precedence, int label) {
    EXPECT_EQ(policy(text).precedence, precedence) << text;
    EXPECT_EQ(policy(text).label, label) << text;
  };
  is("::1", 50, 0);
  is("2001:db8::1", 40, 1);
  is("192.0.2.1", 35, 4);
  is("2002::1", 30, 2);
  is("2001::1", 5, 5);
  is("fc00::1", 3, 13);
  is("fdff::1", 3, 13);
  is("::192.0.2.1", 1, 3);
  is("fec0::1", 1, 11);
  is("3ffe::1", 1, 12);
}

TEST(Rfc6724, Scopes) {
  EXPECT_EQ(scope_of(ip("::1")), 2);
  EXPECT_EQ(scope_of(ip("fe80::1")), 2);
  EXPECT_EQ(scope_of(ip("fec0::1")), 5);
  EXPECT_EQ(scope_of(ip("ff05::1")), 5);
  EXPECT_EQ(scope_of(ip("fd00::1")), 14);
  EXPECT_EQ(scope_of(ip("127.0.0.1")), 2);
  EXPECT_EQ(scope_of(ip("169.254.1.1")), 2);
  EXPECT_EQ(scope_of(ip("10.0.0.1")), 14);
}

}  // namespace
}  // namespace conpool::resolver
