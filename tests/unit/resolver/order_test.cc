// Tests of AddressOrder: source addresses asked of the loop, and remembered.
#include "resolver/order.h"

#include <gtest/gtest.h>

#include "fake_loop.h"
#include "message_builder.h"

namespace conpool::resolver {
namespace {

using testing::FakeLoop;
using testing::ip;

struct OrderTest : ::testing::Test {
  FakeLoop loop;
  AddressOrder order{loop, PolicyTable::Rfc6724};
  const std::vector<SocketAddress> addresses{ip("192.0.2.1"), ip("2001:db8::1"), ip("192.0.2.2")};

  void route(const char* destination, const char* source) {
    loop.sources.insert_or_assign(destination, ip(source));
  }
  std::vector<std::string> texts() {
    std::vector<std::string> list;
    for (const OrderedAddress& one : order.order(addresses)) {
      list.push_back(one.address.ip_text() + (one.usable ? "" : " unusable") + " " +
                     std::to_string(one.class_index));
    }
    return list;
  }
};

TEST_F(OrderTest, ST_22_OrdersByTheSystemsSourceAddresses) {
  route("192.0.2.1", "192.0.2.9");
  route("192.0.2.2", "192.0.2.9");
  route("2001:db8::1", "2001:db8::9");
  EXPECT_EQ(texts(), (std::vector<std::string>{"2001:db8::1 0", "192.0.2.1 1", "192.0.2.2 1"}));
}

TEST_F(OrderTest, ST_21_WithoutIpv6RoutesIpv4GoesFirst) {
  route("192.0.2.1", "192.0.2.9");
  route("192.0.2.2", "192.0.2.9");
  EXPECT_EQ(texts(),
            (std::vector<std::string>{"192.0.2.1 0", "192.0.2.2 0", "2001:db8::1 unusable 1"}));
}

TEST_F(OrderTest, AnswersAreBelievedForASecond) {
  texts();
  EXPECT_EQ(loop.sources_asked, 3U);
  loop.advance(kSourceLife - 1);
  texts();
  EXPECT_EQ(loop.sources_asked, 3U);
  loop.advance(1);
  texts();
  EXPECT_EQ(loop.sources_asked, 6U);
  order.forget();
  texts();
  EXPECT_EQ(loop.sources_asked, 9U);
}

TEST_F(OrderTest, OwnTroubleKeepsTheAddressUsableAndIsNotRemembered) {
  for (const char* text : {"192.0.2.1", "192.0.2.2", "2001:db8::1"}) {
    loop.sources.insert_or_assign(text, fail(Status::E_FD_LIMIT));
  }
  EXPECT_EQ(texts(), (std::vector<std::string>{"2001:db8::1 0", "192.0.2.1 1", "192.0.2.2 1"}));
  texts();
  EXPECT_EQ(loop.sources_asked, 6U);
}

TEST_F(OrderTest, ThePortIsKept) {
  const std::vector<SocketAddress> one{ip("192.0.2.1").with_port(443)};
  EXPECT_EQ(order.order(one).at(0).address.port(), 443);
}

TEST_F(OrderTest, S2_HistoryRanksInsideAClass) {
  for (const SocketAddress& address : addresses) {
    loop.sources.insert_or_assign(address.ip_text(), address);
  }
  const std::vector<uint32_t> history{5, 9, 1};
  const auto ordered = order.order(addresses, history);
  EXPECT_EQ(ordered[0].address, addresses[1]);
  EXPECT_EQ(ordered[1].address, addresses[2]);
  EXPECT_EQ(ordered[2].address, addresses[0]);
}

}  // namespace
}  // namespace conpool::resolver
