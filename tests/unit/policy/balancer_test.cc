// The balancer's orders, by hand.
#include "policy/balancer.h"

#include <gtest/gtest.h>

#include <set>

#include "unit/racer/race_rig.h"

namespace conpool::policy {
namespace {

using racer::a4;
using racer::a6;
using racer::ms;

struct Rig {
  explicit Rig(BalancerOptions options = {}, uint64_t seed = 1) : balancer(options, seed) {}
  Balancer balancer;
  std::vector<Choice> order;
  Time now = 0;

  void set(const std::vector<SortedAddress>& sorted) { balancer.set_addresses(now, sorted); }
  DialToken begin() { return balancer.begin_dial(now, &order).token; }
  // A whole dial that its first choice wins after `rtt`.
  SocketAddress dial(Nanos rtt = ms(10), bool keep = true) {
    const DialToken token = begin();
    EXPECT_NE(token, 0u);
    const SocketAddress head = order.front().address;
    win(token, head, rtt);
    if (!keep) balancer.connection_closed(head);
    return head;
  }
  void win(DialToken token, const SocketAddress& address, Nanos rtt = ms(10)) {
    balancer.attempt_started(now, token, address);
    now += rtt;
    balancer.attempt_connected(now, token, address, rtt);
    balancer.end_dial(now, token, &address);
  }
  void fail(DialToken token, const SocketAddress& address,
            Status status = Status::E_CONNECT_REFUSED) {
    balancer.attempt_started(now, token, address);
    balancer.attempt_failed(now, token, address, Failure{.status = status});
    balancer.end_dial(now, token, nullptr);
  }
  std::vector<SocketAddress> addresses() const {
    std::vector<SocketAddress> out;
    for (const Choice& choice : order)
      out.push_back(choice.address);
    return out;
  }
};

std::vector<SortedAddress> v4(int count) {
  std::vector<SortedAddress> list;
  for (int i = 1; i <= count; ++i)
    list.push_back({a4(static_cast<uint8_t>(i)), 0});
  return list;
}

TEST(BalancerTest, ClassesKeepTheirOrder) {
  Rig rig;
  rig.set({{a6(1), 0}, {a6(2), 0}, {a4(1), 1}, {a4(2), 1}});
  for (int i = 0; i < 20; ++i) {
    rig.dial();
    ASSERT_EQ(rig.order.size(), 4u);
    ASSERT_EQ(rig.order[0].address.family(), Family::V6);
    ASSERT_EQ(rig.order[1].address.family(), Family::V6);
    ASSERT_EQ(rig.order[1].class_index, 0u);
    ASSERT_EQ(rig.order[2].class_index, 1u);
  }
  EXPECT_EQ(rig.balancer.load(a6(1)), 10u);
  EXPECT_EQ(rig.balancer.load(a4(1)), 0u);
}

TEST(BalancerTest, FirstChoicesCountAsLoadAtOnceAndMoveToTheWinner) {
  Rig rig;
  rig.set(v4(3));
  std::set<SocketAddress> heads;
  std::vector<DialToken> tokens;
  for (int i = 0; i < 3; ++i) {
    tokens.push_back(rig.begin());
    heads.insert(rig.order.front().address);
  }
  EXPECT_EQ(heads.size(), 3u);
  for (const DialToken token : tokens) {
    const SocketAddress winner = a4(2);
    rig.balancer.end_dial(rig.now, token, &winner);
  }
  EXPECT_EQ(rig.balancer.load(a4(1)), 0u);
  EXPECT_EQ(rig.balancer.load(a4(2)), 3u);
  rig.balancer.connection_closed(a4(2));
  EXPECT_EQ(rig.balancer.load(a4(2)), 2u);
}

TEST(BalancerTest, ADialWaitsForTheEvidenceAndIsToldUntilWhen) {
  Rig rig;
  rig.set(v4(2));
  const DialToken a = rig.begin();
  const SocketAddress first = rig.order.front().address;
  const DialToken b = rig.begin();
  const SocketAddress second = rig.order.front().address;
  rig.balancer.attempt_started(0, a, first);
  rig.balancer.attempt_started(0, b, second);
  Balancer::Begin begin = rig.balancer.begin_dial(0, &rig.order);
  EXPECT_EQ(begin.token, 0u);
  EXPECT_EQ(begin.retry_at, kNever);
  EXPECT_TRUE(rig.order.empty());
  const uint64_t before = rig.balancer.generation();
  rig.balancer.attempt_connected(ms(10), a, first, ms(10));
  EXPECT_NE(rig.balancer.generation(), before);
  // The one that answered takes its equal share, not the other one's too.
  begin = rig.balancer.begin_dial(ms(10), &rig.order);
  EXPECT_NE(begin.token, 0u);
  EXPECT_EQ(rig.order.front().address, first);
  begin = rig.balancer.begin_dial(ms(10), &rig.order);
  EXPECT_EQ(begin.token, 0u);
  EXPECT_EQ(begin.retry_at, ms(60));  // 10 + 50 ms without an answer
  begin = rig.balancer.begin_dial(ms(60), &rig.order);
  EXPECT_NE(begin.token, 0u);
  EXPECT_EQ(rig.order.front().address, first);
}

TEST(BalancerTest, BeforeTheFirstAnswerTwoScoutsGoAhead) {
  Rig rig;
  const DialToken a = rig.begin();
  const DialToken b = rig.begin();
  EXPECT_NE(b, 0u);
  EXPECT_TRUE(rig.order.empty());
  EXPECT_EQ(rig.begin(), 0u);
  const uint64_t before = rig.balancer.generation();
  rig.set(v4(4));
  EXPECT_NE(rig.balancer.generation(), before);
  rig.balancer.order(rig.now, a, &rig.order);
  const SocketAddress head = rig.order.front().address;
  rig.balancer.order(rig.now, b, &rig.order);
  EXPECT_NE(rig.order.front().address, head);
  EXPECT_EQ(rig.balancer.load(head), 1u);
}

TEST(BalancerTest, ALaterAnswerMovesTheFirstChoiceUntilAnAttemptStarted) {
  Rig rig;
  const DialToken a = rig.begin();
  rig.set({{a4(1), 1}});
  rig.balancer.order(rig.now, a, &rig.order);
  EXPECT_EQ(rig.balancer.load(a4(1)), 1u);
  rig.set({{a6(1), 0}, {a4(1), 1}});
  rig.balancer.order(rig.now, a, &rig.order);
  EXPECT_EQ(rig.balancer.load(a4(1)), 0u);
  EXPECT_EQ(rig.balancer.load(a6(1)), 1u);
  rig.balancer.attempt_started(rig.now, a, a6(1));
  rig.set({{a6(2), 0}, {a6(1), 1}});
  rig.balancer.order(rig.now, a, &rig.order);
  EXPECT_EQ(rig.balancer.load(a6(1)), 1u);
  EXPECT_EQ(rig.balancer.load(a6(2)), 0u);
  EXPECT_EQ(rig.addresses(), (std::vector<SocketAddress>{a6(2), a6(1)}));
}

TEST(BalancerTest, CoolingAddressesGoLastOverAllClasses) {
  Rig rig;
  rig.set({{a6(1), 0}, {a4(1), 1}, {a4(2), 1}});
  rig.fail(rig.begin(), a6(1));
  rig.begin();
  EXPECT_EQ(rig.order.back().address, a6(1));
  EXPECT_EQ(rig.order.size(), 3u);
  EXPECT_EQ(rig.order.front().address.family(), Family::V4);
}

TEST(BalancerTest, WithNothingHealthyTheOrderIsStillComplete) {
  Rig rig;
  rig.set({{a4(1), 0}, {a4(2), 0}});
  for (int i = 0; i < 2; ++i) {
    const DialToken token = rig.begin();
    rig.fail(token, rig.order.front().address);
  }
  EXPECT_NE(rig.begin(), 0u);
  EXPECT_EQ(rig.order.size(), 2u);
}

TEST(BalancerTest, AProbeThatToldNothingIsRepeatedByTheNextDial) {
  Rig rig;
  rig.set(v4(2));
  rig.fail(rig.begin(), a4(1));
  rig.now = 2 * kSecond;
  const DialToken probe = rig.begin();
  EXPECT_EQ(rig.order.front().address, a4(1));
  rig.balancer.end_dial(rig.now, probe, nullptr);  // cancelled before it started an attempt
  rig.begin();
  EXPECT_EQ(rig.order.front().address, a4(1));
}

TEST(BalancerTest, ADialWhoseProbeFailedLeavesTheNextProbeAlone) {
  Rig rig;
  rig.set(v4(2));
  rig.fail(rig.begin(), a4(1));
  rig.now = 2 * kSecond;
  const DialToken first = rig.begin();
  ASSERT_EQ(rig.order.front().address, a4(1));
  rig.balancer.attempt_started(rig.now, first, a4(1));
  rig.balancer.attempt_failed(rig.now, first, a4(1), Failure{.status = Status::E_CONNECT_REFUSED});
  rig.now = 5 * kSecond;
  rig.begin();
  ASSERT_EQ(rig.order.front().address, a4(1));
  rig.balancer.end_dial(rig.now, first, nullptr);
  EXPECT_EQ(rig.balancer.views().front().state, AddressHealth::State::Probing);
}

TEST(BalancerTest, WithNothingElseToTryThereIsNoProbeToWaitFor) {
  Rig rig;
  rig.set(v4(1));
  rig.fail(rig.begin(), a4(1));
  rig.now = 2 * kSecond;
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(rig.begin(), 0u);
    EXPECT_EQ(rig.balancer.views().front().state, AddressHealth::State::Cooling);
  }
}

TEST(BalancerTest, S5_TheBandHoldsEverySixtyFourthOrderLeavesItOut) {
  BalancerOptions options;
  Rig rig(options);
  rig.set(v4(2));
  for (int i = 0; i < 2; ++i) {
    const DialToken token = rig.begin();
    const SocketAddress head = rig.order.front().address;
    rig.win(token, head, head == a4(2) ? ms(41) : ms(10));
  }
  int slow = 0;
  for (int i = 2; i < 64 + 62; ++i) {
    rig.now += kSecond;
    if (rig.dial() == a4(2)) ++slow;
  }
  EXPECT_EQ(slow, 1);
  EXPECT_EQ(rig.balancer.load(a4(2)), 2u);
}

// RFC 8305 §4: what was used with success goes first. Load takes the place of the mere fact of use.
TEST(BalancerTest, S3_AnAddressThatWorkedGoesBeforeOneThatFailed) {
  Rig rig;
  rig.set(v4(2));
  const DialToken token = rig.begin();
  const SocketAddress failed = rig.order.front().address;
  rig.fail(token, failed);
  for (int i = 0; i < 5; ++i)
    EXPECT_NE(rig.dial(), failed);
  EXPECT_EQ(rig.order.back().address, failed);
}

TEST(BalancerTest, AMeasuredDelayComesWithTheOrder) {
  Rig rig;
  rig.set(v4(1));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(rig.begin() != 0 && rig.order.front().expected_delay == 0);
    rig.dial(ms(200));
  }
  rig.begin();
  EXPECT_GT(rig.order.front().expected_delay, ms(200));
  rig.balancer.network_changed(rig.now);
  rig.begin();
  EXPECT_EQ(rig.order.front().expected_delay, 0);
  BalancerOptions fixed;
  fixed.adaptive = false;
  Rig other(fixed);
  other.set(v4(1));
  for (int i = 0; i < 4; ++i)
    other.dial(ms(200));
  EXPECT_EQ(other.order.front().expected_delay, 0);
}

TEST(BalancerTest, Rfc6724LeavesTheOrderUntouched) {
  BalancerOptions options;
  options.policy = BalancePolicy::Rfc6724;
  Rig rig(options);
  rig.set(v4(4));
  for (int i = 0; i < 10; ++i) {
    const DialToken token = rig.begin();
    ASSERT_EQ(rig.addresses(), (std::vector<SocketAddress>{a4(1), a4(2), a4(3), a4(4)}));
    rig.fail(token, a4(1));
  }
}

TEST(BalancerTest, RoundRobinTakesTurns) {
  BalancerOptions options;
  options.policy = BalancePolicy::RoundRobin;
  Rig rig(options);
  rig.set(v4(3));
  for (int i = 0; i < 9; ++i) {
    rig.begin();
    ASSERT_EQ(rig.order.front().address, a4(static_cast<uint8_t>(1 + i % 3)));
  }
}

TEST(BalancerTest, RandomReachesAllAndRepeatsWithItsSeed) {
  BalancerOptions options;
  options.policy = BalancePolicy::Random;
  Rig a(options, 5);
  Rig b(options, 5);
  a.set(v4(4));
  b.set(v4(4));
  std::set<SocketAddress> heads;
  for (int i = 0; i < 100; ++i) {
    a.begin();
    b.begin();
    ASSERT_EQ(a.addresses(), b.addresses());
    heads.insert(a.order.front().address);
  }
  EXPECT_EQ(heads.size(), 4u);
}

TEST(BalancerTest, VanishedAddressesAreRememberedWhileInUseAndForgottenInTheEnd) {
  Rig rig;
  rig.set(v4(1));
  rig.dial();
  rig.set({{a4(2), 0}});
  EXPECT_FALSE(rig.balancer.present(a4(1)));
  EXPECT_EQ(rig.balancer.load(a4(1)), 1u);
  rig.begin();
  EXPECT_EQ(rig.addresses(), (std::vector<SocketAddress>{a4(2)}));
  for (uint32_t i = 0; i < 2 * Balancer::kMaxRemembered; ++i) {
    rig.set({{SocketAddress::v4({10, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}, 1),
              0}});
  }
  EXPECT_LE(rig.balancer.views().size(), Balancer::kMaxRemembered);
  EXPECT_EQ(rig.balancer.load(a4(1)), 1u);  // still open
  rig.balancer.connection_closed(a4(1));
}

TEST(BalancerTest, HostileListsAndStaleTokens) {
  Rig rig;
  std::vector<SortedAddress> list = v4(3);
  list.push_back({a4(1), 7});
  list.push_back({a4(2), 0});
  rig.set(list);
  const DialToken token = rig.begin();
  EXPECT_EQ(rig.order.size(), 3u);
  rig.balancer.end_dial(0, token, nullptr);
  const SocketAddress address = a4(1);
  const uint64_t before = rig.balancer.generation();
  for (const DialToken stale : {DialToken{0}, token, DialToken{999}}) {
    rig.balancer.attempt_started(0, stale, address);
    rig.balancer.attempt_slow(0, stale, address);
    rig.balancer.attempt_connected(0, stale, address, 1);
    rig.balancer.attempt_failed(0, stale, address, Failure{});
    rig.balancer.attempt_lost(0, stale, address, true);
    rig.balancer.order(0, stale, &rig.order);
    rig.balancer.end_dial(0, stale, &address);
  }
  EXPECT_EQ(rig.balancer.generation(), before);
  EXPECT_EQ(rig.balancer.load(a4(1)), 0u);
  rig.set({});
  EXPECT_FALSE(rig.balancer.has_addresses());
  EXPECT_NE(rig.begin(), 0u);
}

TEST(BalancerTest, OptionsComeFromSettings) {
  Values values = default_values();
  values.balance_policy = static_cast<int64_t>(BalancePolicy::Random);
  const BalancerOptions options = balancer_options(values);
  EXPECT_EQ(options.policy, BalancePolicy::Random);
  EXPECT_EQ(options.health.cooldown, 250 * kMillisecond);
  EXPECT_EQ(options.health.cooldown_max, 30 * kSecond);
  EXPECT_EQ(options.health.eject_after, 3u);
  EXPECT_EQ(options.eject_most, 50u);
  EXPECT_EQ(options.probe_every, 64u);
  EXPECT_TRUE(options.adaptive);
}

}  // namespace
}  // namespace conpool::policy
