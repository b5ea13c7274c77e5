// Tests of the parser of DNS answers: good ones, and every way a hostile one can be wrong.
#include "resolver/dns_message.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/rng.h"
#include "message_builder.h"

namespace conpool::resolver {
namespace {

using testing::ip;
using testing::MessageBuilder;

DnsAnswer parse(const MessageBuilder& message, Family family = Family::V4,
                std::string_view name = "www.example.test") {
  return parse_dns_answer(message.bytes(), name, family);
}

TEST(DnsMessage, TakesAddressesOfBothFamilies) {
  const DnsAnswer v4 = parse(MessageBuilder("www.example.test", Family::V4)
                                 .address("www.example.test", 60, "192.0.2.1")
                                 .address("www.example.test", 30, "192.0.2.2"));
  EXPECT_EQ(v4.status(), Status::OK);
  EXPECT_EQ(v4.addresses, (std::vector<SocketAddress>{ip("192.0.2.1"), ip("192.0.2.2")}));
  EXPECT_EQ(v4.ttl, 30U);
  const DnsAnswer v6 = parse(
      MessageBuilder("www.example.test", Family::V6).address("www.example.test", 60, "2001:db8::1"),
      Family::V6);
  EXPECT_EQ(v6.status(), Status::OK);
  EXPECT_EQ(v6.addresses, std::vector<SocketAddress>{ip("2001:db8::1")});
}

TEST(DnsMessage, NamesCompareWithoutCase) {
  const DnsAnswer answer = parse(
      MessageBuilder("WWW.example.TEST", Family::V4).address("www.EXAMPLE.test", 60, "192.0.2.1"));
  EXPECT_EQ(answer.status(), Status::OK);
}

TEST(DnsMessage, FollowsAliasesAndTakesTheLeastTtl) {
  const DnsAnswer answer = parse(MessageBuilder("www.example.test", Family::V4)
                                     .cname("www.example.test", 1, "a.test")
                                     .cname("a.test", 50, "b.test")
                                     .address("b.test", 100, "192.0.2.1"));
  EXPECT_EQ(answer.status(), Status::OK);
  EXPECT_EQ(answer.ttl, 1U);
}

TEST(DnsMessage, ST_20_ReversedAliasesAreFollowed) {
  const DnsAnswer answer = parse(MessageBuilder("www.example.test", Family::V4)
                                     .address("b.test", 100, "192.0.2.1")
                                     .cname("a.test", 50, "b.test")
                                     .cname("www.example.test", 70, "a.test"));
  EXPECT_EQ(answer.status(), Status::OK);
  EXPECT_EQ(answer.ttl, 50U);
}

TEST(DnsMessage, ST_20_AliasLoopsAreRefused) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .cname("www.example.test", 1, "www.example.test"))
                .status(),
            Status::E_DNS_BAD_ANSWER);
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .cname("www.example.test", 1, "a.test")
                      .cname("a.test", 1, "b.test")
                      .cname("b.test", 1, "a.test"))
                .status(),
            Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, AliasChainsHaveALimit) {
  for (const size_t hops : {limits::kCnameHops, limits::kCnameHops + 1}) {
    MessageBuilder message("www.example.test", Family::V4);
    std::string owner = "www.example.test";
    for (size_t i = 0; i < hops; ++i) {
      const std::string target = "h" + std::to_string(i) + ".test";
      message.cname(owner, 10, target);
      owner = target;
    }
    message.address(owner, 10, "192.0.2.1");
    EXPECT_EQ(parse(message).status(),
              hops == limits::kCnameHops ? Status::OK : Status::E_DNS_BAD_ANSWER);
  }
}

TEST(DnsMessage, ST_20_OtherOwnersAreIgnored) {
  const DnsAnswer answer = parse(MessageBuilder("www.example.test", Family::V4)
                                     .address("evil.test", 60, "192.0.2.66")
                                     .address("example.test", 60, "192.0.2.67"));
  EXPECT_EQ(answer.status(), Status::E_DNS_NO_DATA);
  EXPECT_TRUE(answer.addresses.empty());
  // An address at the alias itself is not at the chain's end.
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .cname("www.example.test", 1, "a.test")
                      .address("www.example.test", 60, "192.0.2.66"))
                .status(),
            Status::E_DNS_NO_DATA);
}

TEST(DnsMessage, OtherSectionsGiveNoAddress) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .record("www.example.test", kTypeA, 60, {192, 0, 2, 1}, 11))
                .status(),
            Status::E_DNS_NO_DATA);
}

TEST(DnsMessage, ST_20_AnotherQuestionIsRefused) {
  const auto status = [](std::string_view name, uint16_t type) {
    return parse(MessageBuilder(name, type, 0).address("www.example.test", 60, "192.0.2.1"))
        .status();
  };
  EXPECT_EQ(status("www.example.test", kTypeA), Status::OK);
  EXPECT_EQ(status("ww.example.test", kTypeA), Status::E_DNS_BAD_ANSWER);
  EXPECT_EQ(status("www.example.test", kTypeAaaa), Status::E_DNS_BAD_ANSWER);
  MessageBuilder chaos("www.example.test", Family::V4);
  chaos.set(chaos.size() - 1, 3);
  EXPECT_EQ(parse(chaos).status(), Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, HeaderMustBeThatOfAnAnswer) {
  const MessageBuilder good =
      MessageBuilder("www.example.test", Family::V4).address("www.example.test", 60, "192.0.2.1");
  EXPECT_EQ(parse(good).status(), Status::OK);
  const auto with = [&](size_t offset, uint8_t value) {
    MessageBuilder message = good;
    return parse(message.set(offset, value)).status();
  };
  EXPECT_EQ(with(2, 0x01), Status::E_DNS_BAD_ANSWER);  // a query
  EXPECT_EQ(with(2, 0x91), Status::E_DNS_BAD_ANSWER);  // opcode 2
  EXPECT_EQ(with(2, 0x83), Status::E_DNS_BAD_ANSWER);  // truncated
  EXPECT_EQ(with(5, 0), Status::E_DNS_BAD_ANSWER);     // no question
  EXPECT_EQ(with(5, 2), Status::E_DNS_BAD_ANSWER);     // two
  EXPECT_EQ(with(7, 2), Status::E_DNS_BAD_ANSWER);     // more records than there are
}

TEST(DnsMessage, TtlWithTheTopBitIsZero) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .address("www.example.test", 0x80000001U, "192.0.2.1"))
                .ttl,
            0U);
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .address("www.example.test", 0x7fffffffU, "192.0.2.1"))
                .ttl,
            0x7fffffffU);
}

TEST(DnsMessage, AddressRecordsHaveAnExactSize) {
  for (const size_t size : {0, 3, 5, 16}) {
    EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                        .record("www.example.test", kTypeA, 60, std::vector<uint8_t>(size, 1)))
                  .status(),
              Status::E_DNS_BAD_ANSWER)
        << size;
  }
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V6)
                      .record("www.example.test", kTypeAaaa, 60, {1, 2, 3, 4}),
                  Family::V6)
                .status(),
            Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, OtherClassesAreIgnored) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .record("www.example.test", kTypeA, 60, {192, 0, 2, 1}, 7, 3))
                .status(),
            Status::E_DNS_NO_DATA);
}

TEST(DnsMessage, NegativeTtlComesFromTheSoa) {
  const auto ttl = [](const MessageBuilder& message) { return parse(message).ttl; };
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4).soa("example.test", 17, 300)), 17U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4).soa("example.test", 300, 17)), 17U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4, 3).soa("", 300, 18)), 18U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4).soa("other.test", 300, 17)), 0U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4).soa("ample.test", 300, 17)), 0U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4)), 0U);
  EXPECT_EQ(ttl(MessageBuilder("www.example.test", Family::V4).soa("test", 0x80000000U, 5)), 0U);
}

TEST(DnsMessage, NegativeTtlFollowsTheAliasToItsZone) {
  const auto message = [](std::string_view zone) {
    return MessageBuilder("www.example.test", Family::V4)
        .cname("www.example.test", 9, "host.cdn.net")
        .soa(zone, 300, 60);
  };
  EXPECT_EQ(parse(message("cdn.net")).ttl, 9U);
  EXPECT_EQ(parse(message("cdn.net")).status(), Status::E_DNS_NO_DATA);
  EXPECT_EQ(parse(message("example.test")).ttl, 0U);
}

TEST(DnsMessage, RcodesAreTold) {
  const auto failure = [](unsigned rcode) {
    return parse(MessageBuilder("www.example.test", Family::V4, rcode)).failure;
  };
  EXPECT_EQ(failure(0).status, Status::E_DNS_NO_DATA);
  EXPECT_EQ(failure(1).status, Status::E_DNS_SERVER_FAILURE);
  EXPECT_EQ(failure(1).detail, "FORMERR");
  EXPECT_EQ(failure(2).status, Status::E_DNS_SERVER_FAILURE);
  EXPECT_EQ(failure(3).status, Status::E_DNS_NOT_FOUND);
  EXPECT_EQ(failure(4).detail, "NOTIMP");
  EXPECT_EQ(failure(5).status, Status::E_DNS_REFUSED);
  EXPECT_EQ(failure(9).detail, "rcode 9");
}

TEST(DnsMessage, ExtendedRcodesAreNoNegativeAnswer) {
  // BADVERS is 16: header rcode 0, 1 in the OPT record's TTL.
  const DnsAnswer answer =
      parse(MessageBuilder("www.example.test", Family::V4).record("", 41, 0x01000000U, {}, 11));
  EXPECT_EQ(answer.status(), Status::E_DNS_SERVER_FAILURE);
  EXPECT_EQ(answer.failure.detail, "rcode 16");
}

TEST(DnsMessage, AddressesOfNxdomainDoNotCount) {
  const DnsAnswer answer = parse(MessageBuilder("www.example.test", Family::V4, 3)
                                     .address("www.example.test", 60, "192.0.2.1"));
  EXPECT_EQ(answer.status(), Status::E_DNS_NOT_FOUND);
  EXPECT_TRUE(answer.addresses.empty());
}

TEST(DnsMessage, UnusableAddressesAreDropped) {
  MessageBuilder v4("www.example.test", Family::V4);
  for (const char* text : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255"}) {
    v4.address("www.example.test", 60, text);
  }
  EXPECT_EQ(parse(v4).status(), Status::E_DNS_NO_DATA);
  EXPECT_EQ(parse(v4).unusable, 5U);
  EXPECT_EQ(parse(v4).ttl, 60U);
  v4.address("www.example.test", 60, "192.0.2.1");
  EXPECT_EQ(parse(v4).addresses, std::vector<SocketAddress>{ip("192.0.2.1")});
  MessageBuilder v6("www.example.test", Family::V6);
  for (const char* text : {"::", "ff02::1", "::ffff:192.0.2.1"}) {
    v6.address("www.example.test", 60, text);
  }
  EXPECT_EQ(parse(v6, Family::V6).unusable, 3U);
  v6.address("www.example.test", 60, "::1");
  EXPECT_EQ(parse(v6, Family::V6).addresses, std::vector<SocketAddress>{ip("::1")});
}

TEST(DnsMessage, ST_20_TwoHundredRecordsKeepTheLimit) {
  MessageBuilder message("www.example.test", Family::V4);
  for (int i = 0; i < 200; ++i) {
    message.address("www.example.test", 60, "10.0.0." + std::to_string(i + 1));
  }
  const DnsAnswer answer = parse(message);
  ASSERT_EQ(answer.addresses.size(), limits::kAddressesPerName);
  EXPECT_EQ(answer.addresses.back(), ip("10.0.0.64"));
}

TEST(DnsMessage, DuplicatesCountOnce) {
  const DnsAnswer answer = parse(MessageBuilder("www.example.test", Family::V4)
                                     .address("www.example.test", 60, "192.0.2.1")
                                     .address("www.example.test", 60, "192.0.2.1"));
  EXPECT_EQ(answer.addresses.size(), 1U);
}

// A record whose owner is a compression pointer to `target`.
std::vector<uint8_t> pointing_record(size_t target) {
  return {static_cast<uint8_t>(0xc0 | target >> 8),
          static_cast<uint8_t>(target),
          0,
          1,
          0,
          1,
          0,
          0,
          0,
          60,
          0,
          4,
          192,
          0,
          2,
          1};
}

TEST(DnsMessage, CompressionPointersGoBackwardsOnly) {
  MessageBuilder good("www.example.test", Family::V4);
  const size_t here = good.size();
  EXPECT_EQ(parse(good.raw(pointing_record(12), 7)).status(), Status::OK);
  for (const size_t target : {size_t{0}, size_t{11}, here, here + 1, here + 16, size_t{0x3fff}}) {
    MessageBuilder bad("www.example.test", Family::V4);
    EXPECT_EQ(parse(bad.raw(pointing_record(target), 7)).status(), Status::E_DNS_BAD_ANSWER)
        << target;
  }
}

TEST(DnsMessage, ST_20_CompressionLoopsEnd) {
  MessageBuilder message("www.example.test", Family::V4);
  const uint8_t here = static_cast<uint8_t>(message.size());
  // A label, then a pointer back to that label.
  message.raw({1, 'a', 0xc0, here, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}, 7);
  EXPECT_EQ(parse(message).status(), Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, CompressionJumpsHaveALimit) {
  for (const size_t jumps : {64, 65}) {
    // A TXT record full of pointers, each to the one before; the last record starts at its end.
    MessageBuilder message("www.example.test", Family::V4);
    const size_t start = message.size() + 1 + 10;
    std::vector<uint8_t> chain;
    size_t target = 12;
    for (size_t i = 1; i < jumps; ++i) {
      chain.push_back(static_cast<uint8_t>(0xc0 | target >> 8));
      chain.push_back(static_cast<uint8_t>(target));
      target = start + 2 * (i - 1);
    }
    message.record("", 16, 0, chain).raw(pointing_record(target), 7);
    EXPECT_EQ(parse(message).status(), jumps == 64 ? Status::OK : Status::E_DNS_BAD_ANSWER);
  }
}

TEST(DnsMessage, LongNamesAreRefused) {
  std::string name = std::string(63, 'a');
  for (int i = 0; i < 2; ++i)
    name += "." + std::string(63, 'b');
  const std::string longest = name + "." + std::string(61, 'c');   // 255 bytes in wire form
  const std::string too_long = name + "." + std::string(62, 'c');  // 256
  EXPECT_EQ(parse(MessageBuilder(longest, Family::V4).address(longest, 1, "192.0.2.1"), Family::V4,
                  longest)
                .status(),
            Status::OK);
  EXPECT_EQ(parse(MessageBuilder(too_long, Family::V4), Family::V4, too_long).status(),
            Status::E_DNS_BAD_ANSWER);
  EXPECT_EQ(
      parse(MessageBuilder("www.example.test", Family::V4).cname(too_long, 1, "a.test")).status(),
      Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, ReservedLabelTypesAreRefused) {
  for (const uint8_t type : {0x40, 0x80}) {
    MessageBuilder message("www.example.test", Family::V4);
    message.raw({type, 'a', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}, 7);
    EXPECT_EQ(parse(message).status(), Status::E_DNS_BAD_ANSWER);
  }
}

TEST(DnsMessage, AliasMustFillItsRecord) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .record("www.example.test", 5, 60, {1, 'a', 0, 0}))
                .status(),
            Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, SoaMustFillItsRecord) {
  EXPECT_EQ(parse(MessageBuilder("www.example.test", Family::V4)
                      .record("example.test", 6, 60, std::vector<uint8_t>(21, 0), 9))
                .status(),
            Status::E_DNS_BAD_ANSWER);
}

MessageBuilder rich_message() {
  return MessageBuilder("www.example.test", Family::V4)
      .cname("www.example.test", 30, "a.test")
      .address("a.test", 60, "192.0.2.1")
      .address("a.test", 60, "192.0.2.2")
      .soa("test", 60, 60)
      .record("", 41, 0, {}, 11);
}

TEST(DnsMessage, ST_20_TruncatedAtEveryLength) {
  const MessageBuilder whole = rich_message();
  ASSERT_EQ(parse(whole).status(), Status::OK);
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of the exact size, so that the address sanitizer sees one byte too far.
    const std::vector<uint8_t> part(whole.bytes().begin(),
                                    whole.bytes().begin() + static_cast<ptrdiff_t>(size));
    const DnsAnswer answer = parse_dns_answer(part, "www.example.test", Family::V4);
    EXPECT_EQ(answer.status(), Status::E_DNS_BAD_ANSWER) << size;
    EXPECT_FALSE(answer.failure.detail.empty());
  }
}

TEST(DnsMessage, ST_20_FlippedBitsNeverGiveAForeignResult) {
  const MessageBuilder whole = rich_message();
  Rng rng(20);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<uint8_t> bytes = whole.bytes();
    const uint64_t flips = 1 + rng.up_to(7);
    for (uint64_t i = 0; i < flips; ++i) {
      bytes[rng.up_to(bytes.size() - 1)] ^= static_cast<uint8_t>(1U << rng.up_to(7));
    }
    const DnsAnswer answer = parse_dns_answer(bytes, "www.example.test", Family::V4);
    EXPECT_EQ(answer.status() == Status::OK, !answer.addresses.empty());
    EXPECT_LE(answer.addresses.size(), limits::kAddressesPerName);
    for (const SocketAddress& address : answer.addresses) {
      EXPECT_EQ(address.family(), Family::V4);
      EXPECT_TRUE(usable_address(address));
    }
  }
}

TEST(DnsMessage, ST_20_AnEmptyMessageIsRefused) {
  EXPECT_EQ(parse_dns_answer({}, "www.example.test", Family::V4).status(),
            Status::E_DNS_BAD_ANSWER);
}

TEST(DnsMessage, DotsInsideALabelAreNoSeparators) {
  // One label "www.example" and "test": the same text, another name.
  std::vector<uint8_t> bytes = {0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 11};
  for (char c : std::string_view("www.example"))
    bytes.push_back(static_cast<uint8_t>(c));
  for (char c : std::string_view("\4test\0\0\1\0\1", 10))
    bytes.push_back(static_cast<uint8_t>(c));
  EXPECT_EQ(parse_dns_answer(bytes, "www.example.test", Family::V4).status(),
            Status::E_DNS_BAD_ANSWER);
}

}  // namespace
}  // namespace conpool::resolver
