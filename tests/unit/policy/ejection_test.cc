// Which addresses the balancer leaves out, and never leaves out. By hand and over random walks.
#include <gtest/gtest.h>

#include <algorithm>

#include "policy/balancer.h"
#include "unit/racer/race_rig.h"

namespace conpool::policy {
namespace {

using racer::a4;
using racer::a6;
using racer::ms;
using State = AddressHealth::State;

struct Rig {
  explicit Rig(int count, const BalancerOptions& options = {}) : balancer(options, 1) { v4(count); }
  Balancer balancer;
  std::vector<Choice> order;
  Time now = 0;

  void v4(int count) {
    std::vector<SortedAddress> list;
    for (int i = 1; i <= count; ++i)
      list.push_back({a4(static_cast<uint8_t>(i)), 0});
    balancer.set_addresses(now, list);
  }
  DialToken begin() { return balancer.begin_dial(now, &order).token; }
  // The order that a dial would get now.
  void look() { balancer.end_dial(now, begin(), nullptr); }
  bool in_order(const SocketAddress& address) const {
    return std::any_of(order.begin(), order.end(),
                       [&](const Choice& choice) { return choice.address == address; });
  }
  // One dial that tries this address alone.
  void fail(const SocketAddress& address, Status status = Status::E_CONNECT_REFUSED) {
    const DialToken token = begin();
    balancer.attempt_started(now, token, address);
    balancer.attempt_failed(now, token, address, Failure{.status = status});
    balancer.end_dial(now, token, nullptr);
  }
  void win(DialToken token, const SocketAddress& address) {
    balancer.attempt_started(now, token, address);
    balancer.attempt_connected(now, token, address, ms(1));
    balancer.end_dial(now, token, &address);
  }
  // Failures in a row, each after the cooldown of the one before.
  void fail_in_row(const SocketAddress& address, int times) {
    for (int i = 0; i < times; ++i) {
      now = std::max(now, balancer.view(address).cooling_until);
      fail(address);
    }
  }
  State state(const SocketAddress& address) const { return balancer.health(address); }
};

TEST(Ejection, AfterThreeFailuresInARowItIsNotInTheOrders) {
  Rig rig(3);
  for (int i = 1; i <= 3; ++i) {
    rig.fail_in_row(a4(1), 1);
    rig.look();
    EXPECT_EQ(rig.in_order(a4(1)), i < 3) << i;
    EXPECT_EQ(rig.balancer.ejected(), i < 3 ? 0u : 1u);
    if (i < 3) {
      EXPECT_EQ(rig.order.back().address, a4(1));  // cooling goes last, as ever
    }
  }
  EXPECT_EQ(rig.state(a4(1)), State::Ejected);
  EXPECT_EQ(rig.balancer.view(a4(1)).failed_in_row, 3u);
  EXPECT_EQ(rig.order.size(), 2u);
  // To the last instant of the cooldown.
  rig.now = rig.balancer.view(a4(1)).cooling_until - 1;
  rig.look();
  EXPECT_FALSE(rig.in_order(a4(1)));
}

TEST(Ejection, ThenOneDialProbesIt) {
  Rig rig(3);
  rig.fail_in_row(a4(1), 3);
  rig.now = rig.balancer.view(a4(1)).cooling_until;
  const DialToken probe = rig.begin();
  EXPECT_EQ(rig.order.front().address, a4(1));
  EXPECT_EQ(rig.state(a4(1)), State::Probing);
  EXPECT_EQ(rig.order.size(), 3u);
  for (int i = 0; i < 2; ++i) {
    rig.look();
    EXPECT_FALSE(rig.in_order(a4(1)));
  }
  // The prober keeps it when its addresses come anew.
  rig.balancer.order(rig.now, probe, &rig.order);
  EXPECT_EQ(rig.order.front().address, a4(1));
  rig.balancer.attempt_started(rig.now, probe, a4(1));
  rig.balancer.order(rig.now, probe, &rig.order);
  EXPECT_TRUE(rig.in_order(a4(1)));
  rig.balancer.attempt_connected(rig.now, probe, a4(1), ms(1));
  const SocketAddress winner = a4(1);
  rig.balancer.end_dial(rig.now, probe, &winner);
  EXPECT_EQ(rig.state(a4(1)), State::Healthy);
  rig.look();
  EXPECT_TRUE(rig.in_order(a4(1)));
}

TEST(Ejection, AProbeThatFailsEjectsForLonger) {
  Rig rig(3);
  rig.fail_in_row(a4(1), 3);
  rig.now = rig.balancer.view(a4(1)).cooling_until;
  const DialToken probe = rig.begin();
  ASSERT_EQ(rig.order.front().address, a4(1));
  rig.balancer.attempt_started(rig.now, probe, a4(1));
  rig.balancer.attempt_failed(rig.now, probe, a4(1), Failure{.status = Status::E_CONNECT_REFUSED});
  EXPECT_EQ(rig.state(a4(1)), State::Ejected);
  EXPECT_GE(rig.balancer.view(a4(1)).cooling_until - rig.now, ms(1024) / 5 * 4);
  rig.balancer.end_dial(rig.now, probe, nullptr);
  rig.look();
  EXPECT_FALSE(rig.in_order(a4(1)));
}

TEST(Ejection, NeverMoreThanTheirShareAndNeverAll) {
  const struct {
    int addresses;
    uint32_t most;
    size_t ejected;
  } kCases[] = {{1, 50, 0},  {2, 50, 1},  {3, 50, 1}, {4, 50, 2},  {5, 50, 2}, {1, 100, 0},
                {2, 100, 1}, {5, 100, 4}, {5, 0, 0},  {10, 10, 1}, {9, 10, 0}, {10, 99, 9}};
  for (const auto& entry : kCases) {
    BalancerOptions options;
    options.eject_most = entry.most;
    Rig rig(entry.addresses, options);
    for (int round = 0; round < 5; ++round) {
      for (int i = 1; i <= entry.addresses; ++i)
        rig.fail_in_row(a4(static_cast<uint8_t>(i)), 1);
    }
    EXPECT_EQ(rig.balancer.ejected(), entry.ejected) << entry.addresses << " " << entry.most;
    rig.look();
    EXPECT_GE(rig.order.size(), static_cast<size_t>(entry.addresses) - entry.ejected);
  }
}

TEST(Ejection, TheOnlyAddressIsNeverEjected) {
  BalancerOptions options;
  options.eject_most = 100;
  options.health.eject_after = 1;
  Rig rig(1, options);
  for (int i = 0; i < 50; ++i) {
    rig.fail_in_row(a4(1), 1);
    EXPECT_EQ(rig.state(a4(1)), State::Cooling);
    EXPECT_NE(rig.begin(), 0u);
    ASSERT_EQ(rig.order.size(), 1u);
  }
}

TEST(Ejection, ByOptionNever) {
  BalancerOptions options;
  options.health.eject_after = 0;
  Rig rig(3, options);
  rig.fail_in_row(a4(1), 20);
  EXPECT_EQ(rig.state(a4(1)), State::Cooling);
}

TEST(Ejection, WithNoOtherHopeTheOrderHoldsTheOneThatCoolsDownFirst) {
  Rig rig(2);
  rig.fail_in_row(a4(1), 3);
  ASSERT_EQ(rig.state(a4(1)), State::Ejected);
  const Time until = rig.balancer.view(a4(1)).cooling_until;
  rig.look();
  EXPECT_FALSE(rig.in_order(a4(1)));
  // The other one fails until it cools for longer than the ejected one.
  while (rig.balancer.view(a4(2)).cooling_until <= until) {
    rig.fail(a4(2), Status::E_CONNECT_TIMEOUT);
  }
  ASSERT_LT(rig.now, until);
  EXPECT_EQ(rig.state(a4(2)), State::Cooling);
  rig.look();
  EXPECT_TRUE(rig.in_order(a4(1)));
  EXPECT_TRUE(rig.in_order(a4(2)));
  EXPECT_EQ(rig.order.front().address, a4(1));
  EXPECT_EQ(rig.state(a4(1)), State::Ejected);
  // It works after all: that ends the ejection.
  rig.win(rig.begin(), a4(1));
  EXPECT_EQ(rig.state(a4(1)), State::Healthy);
}

TEST(Ejection, ACheckEndsItOrALongCooldown) {
  for (const int failures : {1, 3}) {
    Rig rig(3);
    rig.fail_in_row(a4(1), failures);
    const uint64_t before = rig.balancer.generation();
    rig.balancer.check_passed(rig.now, a4(1));
    EXPECT_GT(rig.balancer.generation(), before);  // dials that wait ask again
    EXPECT_EQ(rig.state(a4(1)), State::Healthy);
    EXPECT_EQ(rig.balancer.ejected(), 0u);
    rig.look();
    EXPECT_TRUE(rig.in_order(a4(1)));
    // And it takes three failures again.
    rig.fail_in_row(a4(1), 2);
    EXPECT_EQ(rig.state(a4(1)), State::Cooling);
  }
}

TEST(Ejection, ChecksThatFailEjectUntilOnePasses) {
  Rig rig(2);
  for (int i = 0; i < 3; ++i) {
    rig.now += 10 * kSecond;
    rig.balancer.check_failed(rig.now, a4(2), Failure{.status = Status::E_HTTP_NO_RESPONSE});
  }
  EXPECT_EQ(rig.state(a4(2)), State::Ejected);
  EXPECT_EQ(rig.balancer.view(a4(2)).failures, 3u);
  // A connect after the cooldown brings it back; the next failed check takes it out at once.
  rig.now = rig.balancer.view(a4(2)).cooling_until;
  rig.win(rig.begin(), a4(2));
  EXPECT_EQ(rig.state(a4(2)), State::Healthy);
  rig.now += 10 * kSecond;
  rig.balancer.check_failed(rig.now, a4(2), Failure{.status = Status::E_CHECK_FAILED});
  EXPECT_EQ(rig.state(a4(2)), State::Ejected);
  rig.balancer.check_passed(rig.now, a4(2));
  rig.now += 10 * kSecond;
  rig.balancer.check_failed(rig.now, a4(2), Failure{.status = Status::E_CHECK_FAILED});
  EXPECT_EQ(rig.state(a4(2)), State::Cooling);
}

TEST(Ejection, ConnectsThatSucceedOnlyToHangUpEject) {
  Rig rig(2);
  for (int i = 1; i <= 3; ++i) {
    rig.now = std::max(rig.now + kSecond, rig.balancer.view(a4(2)).cooling_until);
    const Time started = rig.now;
    rig.win(rig.begin(), a4(2));
    EXPECT_EQ(rig.state(a4(2)), i == 1 ? State::Healthy : State::Cooling);
    const uint64_t before = rig.balancer.generation();
    rig.balancer.hung_up(rig.now, a4(2), started);
    EXPECT_GT(rig.balancer.generation(), before);  // dials that wait ask again
    rig.balancer.connection_closed(a4(2));
    EXPECT_EQ(rig.state(a4(2)), i < 3 ? State::Cooling : State::Ejected) << i;
    rig.look();
    EXPECT_EQ(rig.order.front().address, a4(1));
    EXPECT_EQ(rig.in_order(a4(2)), i < 3);
  }
  // Where the other has failed as well, even though it cools first, both are tried.
  rig.fail(a4(1));
  rig.look();
  EXPECT_TRUE(rig.in_order(a4(1)) && rig.in_order(a4(2)));
  rig.balancer.check_passed(rig.now, a4(1));
  EXPECT_EQ(rig.balancer.view(a4(2)).failures, 3u);
  rig.now = rig.balancer.view(a4(2)).cooling_until;
  rig.win(rig.begin(), a4(2));
  EXPECT_EQ(rig.state(a4(2)), State::Ejected);
  rig.balancer.answered(a4(2));
  EXPECT_EQ(rig.state(a4(2)), State::Healthy);
  EXPECT_EQ(rig.balancer.view(a4(2)).failed_in_row, 0u);
}

// Its connects would win every race against a slower address: it is tried when the others failed.
TEST(Ejection, WhatHangsUpIsTheLastResort) {
  for (const BalancePolicy policy : {BalancePolicy::LeastConnections, BalancePolicy::Rfc6724}) {
    BalancerOptions options;
    options.policy = policy;
    Rig rig(3, options);
    rig.win(rig.begin(), a4(1));
    rig.balancer.hung_up(rig.now, a4(1), rig.now);
    rig.fail(a4(2));  // cools, too
    rig.look();
    ASSERT_EQ(rig.order.size(), 3u);
    EXPECT_EQ(rig.order[2].address, a4(1));
    EXPECT_TRUE(rig.order[2].last_resort);
    EXPECT_FALSE(rig.order[0].last_resort || rig.order[1].last_resort);
    // Once it has cooled down it is like the others again.
    rig.now =
        std::max(rig.balancer.view(a4(1)).cooling_until, rig.balancer.view(a4(2)).cooling_until);
    rig.look();
    for (const Choice& choice : rig.order)
      EXPECT_FALSE(choice.last_resort);
  }
}

TEST(Ejection, WhatHangsUpIsTriedWhereNothingElseIs) {
  Rig rig(1);
  rig.win(rig.begin(), a4(1));
  for (int i = 0; i < 5; ++i)
    rig.balancer.hung_up(rig.now + i * kSecond, a4(1), rig.now + i * kSecond);
  rig.now += 5 * kSecond;
  EXPECT_NE(rig.begin(), 0u);
  EXPECT_TRUE(rig.in_order(a4(1)));
}

TEST(Ejection, VerdictsAndOurOwnShortagesNeverCount) {
  Rig rig(3);
  for (const Status status : {Status::E_TLS_CERTIFICATE, Status::E_TLS_CONFIG, Status::E_FD_LIMIT,
                              Status::E_NOMEM, Status::E_CANCELLED, Status::E_CLOSED}) {
    for (int i = 0; i < 5; ++i) {
      rig.now += kMinute;
      rig.fail(a4(1), status);
      rig.balancer.check_failed(rig.now, a4(1), Failure{.status = status});
    }
    EXPECT_EQ(rig.state(a4(1)), State::Healthy) << status_name(status);
    EXPECT_EQ(rig.balancer.view(a4(1)).failures, 0u);
  }
}

TEST(Ejection, WhatIsToldOfUnknownAddressesIsIgnored) {
  Rig rig(2);
  const uint64_t before = rig.balancer.generation();
  rig.balancer.check_passed(0, a4(9));
  rig.balancer.check_failed(0, a4(9), Failure{.status = Status::E_CONNECT_REFUSED});
  rig.balancer.answered(a4(9));
  rig.balancer.hung_up(0, a4(9), 0);
  EXPECT_EQ(rig.balancer.generation(), before);
  EXPECT_EQ(rig.balancer.views().size(), 2u);
  EXPECT_EQ(rig.balancer.view(a4(9)).state, State::Healthy);
}

TEST(Ejection, FewerAddressesReadmitThoseThatWouldComeBackFirst) {
  Rig rig(6);
  for (uint8_t i = 1; i <= 3; ++i)
    rig.fail_in_row(a4(i), 3 + i);
  for (uint8_t i = 1; i <= 3; ++i) {
    while (rig.state(a4(i)) != State::Ejected)
      rig.fail_in_row(a4(i), 1);
  }
  ASSERT_EQ(rig.balancer.ejected(), 3u);
  rig.v4(4);  // now two may be
  EXPECT_EQ(rig.balancer.ejected(), 2u);
  EXPECT_NE(rig.state(a4(3)), State::Cooling);  // it has failed most
  rig.v4(1);
  EXPECT_EQ(rig.balancer.ejected(), 0u);
  rig.look();
  EXPECT_EQ(rig.order.size(), 1u);
  // Back again, the others are what they were.
  rig.v4(6);
  EXPECT_LE(rig.balancer.ejected(), 3u);
}

TEST(Ejection, AVanishedAddressTakesNoPlace) {
  Rig rig(4);
  rig.fail_in_row(a4(4), 3);
  rig.fail_in_row(a4(3), 3);
  ASSERT_EQ(rig.balancer.ejected(), 2u);
  rig.v4(2);
  EXPECT_EQ(rig.balancer.ejected(), 0u);
  rig.fail_in_row(a4(1), 3);
  EXPECT_EQ(rig.balancer.ejected(), 1u);
  rig.v4(4);
  EXPECT_EQ(rig.balancer.ejected(), 2u);
}

TEST(Ejection, AVanishedAddressThatARaceStillTriesIsNotEjected) {
  Rig rig(3);
  const DialToken token = rig.begin();
  rig.balancer.attempt_started(rig.now, token, a4(3));
  rig.v4(2);
  for (int i = 0; i < 5; ++i) {
    rig.balancer.attempt_started(rig.now, token, a4(3));
    rig.balancer.attempt_failed(rig.now, token, a4(3), Failure{.status = Status::E_CONNECT_RESET});
    rig.now = rig.balancer.view(a4(3)).cooling_until;
  }
  EXPECT_EQ(rig.balancer.view(a4(3)).failed_in_row, 5u);
  EXPECT_EQ(rig.state(a4(3)), State::Cooling);
  EXPECT_EQ(rig.balancer.ejected(), 0u);
}

TEST(Ejection, ANewNetworkForgetsIt) {
  Rig rig(3);
  rig.fail_in_row(a4(1), 3);
  rig.balancer.network_changed(rig.now);
  EXPECT_EQ(rig.balancer.ejected(), 0u);
  rig.look();
  EXPECT_EQ(rig.order.size(), 3u);
}

TEST(Ejection, HoldsForEveryPolicy) {
  for (const BalancePolicy policy : {BalancePolicy::LeastConnections, BalancePolicy::Rfc6724,
                                     BalancePolicy::RoundRobin, BalancePolicy::Random}) {
    BalancerOptions options;
    options.policy = policy;
    Rig rig(3, options);
    rig.fail_in_row(a4(1), 3);
    for (int i = 0; i < 20; ++i) {
      const DialToken token = rig.begin();
      ASSERT_NE(token, 0u);
      ASSERT_FALSE(rig.in_order(a4(1)));
      ASSERT_EQ(rig.order.size(), 2u);
      rig.balancer.end_dial(rig.now, token, nullptr);
    }
    rig.now = rig.balancer.view(a4(1)).cooling_until;
    const DialToken probe = rig.begin();
    EXPECT_EQ(rig.order.front().address, a4(1));
    EXPECT_EQ(rig.state(a4(1)), State::Probing);
    rig.look();
    EXPECT_FALSE(rig.in_order(a4(1)));
    rig.balancer.end_dial(rig.now, probe, nullptr);
    EXPECT_EQ(rig.state(a4(1)), State::Ejected);
  }
}

// The last usable address of a class has no choice beside it: its dials do not wait for evidence.
TEST(Ejection, TheLastOfItsClassIsNotPaced) {
  Rig rig(2);
  rig.fail_in_row(a4(1), 3);
  for (int i = 0; i < 10; ++i)
    EXPECT_NE(rig.begin(), 0u);
}

TEST(Ejection, RandomWalksKeepTheBounds) {
  uint64_t most_seen = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    Rng rng(seed);
    BalancerOptions options;
    options.policy = static_cast<BalancePolicy>(rng.up_to(3));
    options.eject_most = static_cast<uint32_t>(rng.up_to(100));
    options.health.eject_after = static_cast<uint32_t>(rng.up_to(4));
    Balancer balancer(options, seed);
    std::vector<DialToken> dials;
    std::vector<Choice> order;
    std::vector<SortedAddress> list;
    Time now = 0;
    for (int step = 0; step < 200; ++step) {
      now += ms(rng.between(0, rng.up_to(5) == 0 ? 5000 : 50));
      const SocketAddress address = a4(static_cast<uint8_t>(rng.between(1, 6)));
      const uint64_t kind = rng.up_to(19);
      if (kind == 0 || list.empty()) {
        list.clear();
        for (uint8_t i = 1; i <= 6; ++i) {
          if (rng.up_to(1) == 0) list.push_back({a4(i), static_cast<uint32_t>(rng.up_to(1))});
        }
        balancer.set_addresses(now, list);
      } else if (kind < 8) {
        const DialToken token = balancer.begin_dial(now, &order).token;
        if (token == 0) continue;
        dials.push_back(token);
        ASSERT_EQ(order.empty(), !balancer.has_addresses()) << seed;
        bool hope = false;
        for (const Choice& choice : order) {
          const State state = balancer.health(choice.address);
          hope |= state == State::Healthy || state == State::Suspect;
        }
        // What the order leaves out is ejected, and one that may work is never left out.
        for (const Balancer::View& view : balancer.views()) {
          if (!view.present) continue;
          const bool in = std::any_of(order.begin(), order.end(), [&](const Choice& choice) {
            return choice.address == view.address;
          });
          if (view.state == State::Ejected && hope) {
            ASSERT_EQ(in, now >= view.cooling_until) << seed;
          }
          if (view.state == State::Healthy || view.state == State::Cooling) {
            ASSERT_TRUE(in) << seed;
          }
        }
      } else if (kind == 8) {
        balancer.check_passed(now, address);
      } else if (kind == 9) {
        balancer.check_failed(now, address, Failure{.status = Status::E_CHECK_FAILED});
      } else if (kind == 10) {
        balancer.hung_up(now, address, now - static_cast<Time>(rng.up_to(kSecond)));
      } else if (kind == 11) {
        balancer.answered(address);
      } else if (!dials.empty()) {
        const size_t index = rng.up_to(dials.size() - 1);
        const DialToken token = dials[index];
        balancer.attempt_started(now, token, address);
        if (rng.up_to(3) != 0) {
          const Status status =
              rng.up_to(1) == 0 ? Status::E_CONNECT_REFUSED : Status::E_CONNECT_TIMEOUT;
          balancer.attempt_failed(now, token, address, Failure{.status = status});
        } else if (rng.up_to(5) == 0) {
          balancer.attempt_lost(now, token, address, true);
        }
        if (rng.up_to(1) == 0) {
          const bool won = rng.up_to(9) == 0;
          balancer.end_dial(now, token, won ? &address : nullptr);
          if (won) balancer.connection_closed(address);
          dials.erase(dials.begin() + static_cast<std::ptrdiff_t>(index));
        }
      }
      const size_t present = static_cast<size_t>(std::count_if(
          list.begin(), list.end(),
          [&](const SortedAddress& entry) { return balancer.present(entry.address); }));
      ASSERT_LE(balancer.ejected() * 100, present * options.eject_most) << seed;
      ASSERT_TRUE(present == 0 ? balancer.ejected() == 0 : balancer.ejected() < present) << seed;
      most_seen = std::max<uint64_t>(most_seen, balancer.ejected());
    }
  }
  EXPECT_GE(most_seen, 4u);
}

}  // namespace
}  // namespace conpool::policy
