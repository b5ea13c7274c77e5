// Closed loop: a small pool, the balancer and real races over a scripted network in virtual time.
#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "policy/balancer.h"
#include "unit/racer/race_rig.h"

namespace conpool::policy {
namespace {

using racer::a4;
using racer::a6;
using racer::Clock;
using racer::ms;
using racer::Path;
using racer::Race;
using racer::RaceRig;

const Path kSilent{.tcp = Path::Tcp::Silent, .tls = {}};

// Opens connections the way the pool does: begin_dial, wait when told to, ask again when it may
// differ.
class PoolSim {
 public:
  PoolSim(uint64_t seed, const BalancerOptions& options = {}) : balancer(options, seed) {}

  Clock clock;
  Balancer balancer;
  std::map<SocketAddress, Path> paths;
  std::map<SocketAddress, std::vector<Time>> syns;
  std::vector<Time> opened_at;
  uint32_t failed = 0;
  bool hold = true;  // keep connections open; otherwise close them at once

  void addresses(const std::vector<SocketAddress>& list) {
    std::vector<SortedAddress> sorted;
    for (const SocketAddress& address : list) {
      sorted.push_back({address, address.family() == Family::V6 ? 0u : 1u});
    }
    balancer.set_addresses(clock.now(), sorted);
  }
  void open(int count) {
    wanted_ += count;
    pump();
  }
  void open_at(Time at, int count) {
    clock.at(at, [this, count] { open(count); });
  }
  int waiting() const { return wanted_; }
  uint32_t open_on(const SocketAddress& address) const {
    for (const Balancer::View& view : balancer.views()) {
      if (view.address == address) return view.open;
    }
    return 0;
  }
  AddressHealth::State state_of(const SocketAddress& address) const {
    for (const Balancer::View& view : balancer.views()) {
      if (view.address == address) return view.state;
    }
    return AddressHealth::State::Healthy;
  }
  void close_all() {
    for (const Balancer::View& view : balancer.views()) {
      for (uint32_t i = 0; i < view.open; ++i)
        balancer.connection_closed(view.address);
    }
  }

 private:
  struct Running {
    DialToken token = 0;
    std::unique_ptr<RaceRig> rig;
    struct Told {
      bool slow = false, connected = false, ended = false;
    };
    std::vector<Told> told;
    bool over = false;
  };

  void pump() {
    std::vector<Choice> order;
    while (wanted_ > 0) {
      const Balancer::Begin begin = balancer.begin_dial(clock.now(), &order);
      if (begin.token == 0) {
        // A wait must have an end in sight.
        EXPECT_GT(balancer.running_dials(), 0u);
        if (begin.retry_at != kNever) {
          EXPECT_GT(begin.retry_at, clock.now());
          clock.at(begin.retry_at, [this] { pump(); });
        }
        return;
      }
      --wanted_;
      start(begin.token, order);
    }
  }

  void start(DialToken token, const std::vector<Choice>& order) {
    auto running = std::make_unique<Running>();
    running->token = token;
    racer::RaceOptions options;
    options.connect_timeout = 10 * kSecond;
    running->rig = std::make_unique<RaceRig>(clock, options);
    running->rig->paths = paths;
    running->rig->on_change = [this, dial = running.get()] { tell(*dial); };
    std::vector<racer::Candidate> list;
    for (const Choice& choice : order) {
      list.push_back({choice.address, choice.class_index, choice.expected_delay, 0});
    }
    RaceRig& rig = *running->rig;
    dials_.push_back(std::move(running));
    rig.start(list);
  }

  void tell(Running& dial) {
    const Race& race = dial.rig->race;
    const uint64_t before = balancer.generation();
    for (const Race::AttemptRecord& attempt : race.attempts())
      tell(dial, attempt);
    if (race.done() && !dial.over) {
      dial.over = true;
      const bool won = race.state() == Race::State::Won;
      const SocketAddress* winner = won ? &race.attempt(race.winner()).candidate.address : nullptr;
      balancer.end_dial(clock.now(), dial.token, winner);
      if (won) opened_at.push_back(clock.now());
      if (won && !hold) balancer.connection_closed(*winner);
      failed += won ? 0 : 1;
    }
    // At the end of the turn, as the pool dispatches.
    if (balancer.generation() != before) clock.at(clock.now(), [this] { pump(); });
  }

  void tell(Running& dial, const Race::AttemptRecord& attempt) {
    const SocketAddress& address = attempt.candidate.address;
    if (dial.told.size() < attempt.id) {
      dial.told.emplace_back();
      syns[address].push_back(clock.now());
      balancer.attempt_started(clock.now(), dial.token, address);
    }
    Running::Told& told = dial.told[attempt.id - 1];
    if (attempt.slow && !told.slow) {
      told.slow = true;
      balancer.attempt_slow(clock.now(), dial.token, address);
    }
    if (attempt.connected != kNever && !told.connected) {
      told.connected = true;
      balancer.attempt_connected(clock.now(), dial.token, address, attempt.rtt);
    }
    if (attempt.ended == kNever || told.ended) return;
    told.ended = true;
    switch (attempt.state) {
      case Race::AttemptState::Failed:
        balancer.attempt_failed(clock.now(), dial.token, address, attempt.failure);
        break;
      case Race::AttemptState::GivenUp:
      case Race::AttemptState::LostSlow:
        balancer.attempt_lost(clock.now(), dial.token, address, true);
        break;
      case Race::AttemptState::Lost:
        balancer.attempt_lost(clock.now(), dial.token, address, false);
        break;
      default:
        break;
    }
  }

  int wanted_ = 0;
  std::deque<std::unique_ptr<Running>> dials_;
};

size_t within(const std::vector<Time>& times, Time from, Nanos span) {
  return static_cast<size_t>(std::count_if(times.begin(), times.end(),
                                           [&](Time t) { return t >= from && t < from + span; }));
}

TEST(BalanceSim, ST_16_FortyParallelDialsGiveTenToEachOfFour) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    PoolSim pool(seed);
    pool.addresses({a4(1), a4(2), a4(3), a4(4)});
    pool.open(40);
    pool.clock.run_until(kSecond);
    for (uint8_t i = 1; i <= 4; ++i)
      ASSERT_EQ(pool.open_on(a4(i)), 10u) << seed;
    // The price of the pace: one round trip.
    ASSERT_EQ(pool.opened_at.back(), ms(20)) << seed;
  }
}

TEST(BalanceSim, ST_16_UnevenRoundTripsInsideTheBandDoNotBendTheSpread) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    PoolSim pool(seed);
    for (uint8_t i = 1; i <= 4; ++i)
      pool.paths[a4(i)] = {.rtt = ms(10 + 4 * i), .tls = {}};
    pool.addresses({a4(1), a4(2), a4(3), a4(4)});
    pool.open(40);
    pool.clock.run_until(kSecond);
    for (uint8_t i = 1; i <= 4; ++i)
      ASSERT_EQ(pool.open_on(a4(i)), 10u) << seed;
  }
}

TEST(BalanceSim, ST_16_ABlackHoleGetsThreeSynsInTenSecondsAndItsShareGoesToTheOthers) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    PoolSim pool(seed);
    pool.paths[a4(3)] = kSilent;
    pool.addresses({a4(1), a4(2), a4(3), a4(4)});
    pool.open(40);
    pool.clock.run_until(ms(600));
    ASSERT_EQ(pool.opened_at.size(), 40u);
    std::vector<uint32_t> spread{pool.open_on(a4(1)), pool.open_on(a4(2)), pool.open_on(a4(4))};
    std::sort(spread.begin(), spread.end());
    // The dial that met the black hole takes the next in its own order: one more or less.
    ASSERT_GE(spread[0], 12u) << seed;
    ASSERT_LE(spread[2], 14u) << seed;
    ASSERT_LE(pool.opened_at.back(), ms(270)) << seed;
    // Only the one that met it waited for the race's delay.
    ASSERT_LE(pool.opened_at[38], ms(100)) << seed;
    // Traffic goes on: a burst of forty every half second.
    for (int i = 2; i < 20; ++i) {
      pool.open_at(i * ms(500), 40);
      pool.clock.at(i * ms(500) + ms(490), [&pool] { pool.close_all(); });
    }
    pool.clock.run_until(10 * kSecond);
    ASSERT_LE(within(pool.syns[a4(3)], 0, 10 * kSecond), 3u) << seed;
    ASSERT_EQ(pool.failed, 0u);
    ASSERT_EQ(pool.waiting(), 0);
  }
}

TEST(BalanceSim, ST_16_AnAddressThatDiesLaterIsNoStormEither) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    PoolSim pool(seed);
    pool.addresses({a4(1), a4(2), a4(3), a4(4)});
    pool.open(40);
    pool.clock.run_until(5 * kSecond);
    pool.close_all();
    pool.paths[a4(2)] = kSilent;
    pool.open(40);
    pool.clock.run_until(6 * kSecond);
    ASSERT_EQ(pool.opened_at.size(), 80u);
    for (int i = 12; i < 30; ++i) {
      pool.open_at(i * ms(500), 40);
      pool.clock.at(i * ms(500) + ms(490), [&pool] { pool.close_all(); });
    }
    pool.clock.run_until(15 * kSecond);
    ASSERT_LE(within(pool.syns[a4(2)], 5 * kSecond, 10 * kSecond), 3u) << seed;
  }
}

TEST(BalanceSim, ST_16_AHealedAddressIsUsedAgain) {
  PoolSim pool(7);
  pool.paths[a4(3)] = kSilent;
  pool.addresses({a4(1), a4(2), a4(3), a4(4)});
  pool.open(40);
  pool.clock.run_until(ms(600));
  EXPECT_EQ(pool.state_of(a4(3)), AddressHealth::State::Cooling);
  pool.paths[a4(3)] = Path{};
  Time until = 0;
  for (const Balancer::View& view : pool.balancer.views()) {
    if (view.address == a4(3)) until = view.cooling_until;
  }
  EXPECT_LE(until, ms(270 + 640 / 5 * 6));
  pool.clock.run_until(until - 1);
  pool.open(1);
  pool.clock.run_until(until);
  EXPECT_EQ(pool.open_on(a4(3)), 0u);
  // The first dial after the cooldown probes it.
  pool.open(1);
  pool.clock.run_until(until + ms(10));
  EXPECT_EQ(pool.open_on(a4(3)), 1u);
  EXPECT_EQ(pool.state_of(a4(3)), AddressHealth::State::Healthy);
  pool.open(8);
  pool.clock.run_until(until + kSecond);
  EXPECT_EQ(pool.open_on(a4(3)), 9u);
}

TEST(BalanceSim, OneProbeAtATime) {
  PoolSim pool(3);
  pool.paths[a4(1)] = kSilent;
  pool.addresses({a4(1), a4(2)});
  pool.open(2);
  pool.clock.run_until(5 * kSecond);
  const size_t before = pool.syns[a4(1)].size();
  pool.open(20);
  pool.clock.run_until(10 * kSecond);
  EXPECT_EQ(pool.syns[a4(1)].size(), before + 1);
  EXPECT_EQ(pool.opened_at.size(), 22u);
}

TEST(BalanceSim, WhenEverythingIsSilentDialsFailAndNobodyWaitsForEver) {
  PoolSim pool(5);
  for (uint8_t i = 1; i <= 4; ++i)
    pool.paths[a4(i)] = kSilent;
  pool.addresses({a4(1), a4(2), a4(3), a4(4)});
  pool.open(12);
  pool.clock.run_until(10 * kMinute);
  EXPECT_EQ(pool.failed, 12u);
  EXPECT_EQ(pool.waiting(), 0);
  EXPECT_EQ(pool.balancer.running_dials(), 0u);
}

TEST(BalanceSim, ASingleAddressIsNeverPaced) {
  PoolSim pool(5);
  pool.addresses({a4(1)});
  pool.open(40);
  EXPECT_EQ(pool.syns[a4(1)].size(), 40u);
  PoolSim dual(6);
  dual.addresses({a6(1), a4(1)});
  dual.open(40);
  EXPECT_EQ(dual.syns[a6(1)].size(), 40u);
}

TEST(BalanceSim, ANewAddressJoinsGradually) {
  PoolSim pool(11);
  pool.addresses({a4(1), a4(2)});
  pool.open(20);
  pool.clock.run_until(kSecond);
  pool.paths[a4(3)] = kSilent;
  pool.addresses({a4(1), a4(2), a4(3)});
  // It has the least load by far, yet one dial only finds out that it is dead.
  pool.open(30);
  pool.clock.run_until(2 * kSecond);
  EXPECT_EQ(pool.syns[a4(3)].size(), 1u);
  EXPECT_EQ(pool.opened_at.size(), 50u);
  EXPECT_EQ(pool.open_on(a4(1)) + pool.open_on(a4(2)), 50u);
}

TEST(BalanceSim, ASlowAddressGoesBehindUntilTheBandIsLeftOut) {
  PoolSim pool(13);
  pool.hold = false;
  for (uint8_t i = 1; i <= 4; ++i)
    pool.paths[a4(i)] = {.rtt = ms(20), .tls = {}};
  pool.paths[a4(4)] = {.rtt = ms(120), .tls = {}};
  pool.addresses({a4(1), a4(2), a4(3), a4(4)});
  for (int i = 0; i < 640; ++i)
    pool.open_at(i * ms(200), 1);
  pool.clock.run_until(200 * kSecond);
  EXPECT_EQ(pool.opened_at.size(), 640u);
  // Its first dial, and those of every 64th order that drew it.
  EXPECT_GE(pool.syns[a4(4)].size(), 2u);
  EXPECT_LE(pool.syns[a4(4)].size(), 12u);
}

TEST(BalanceSim, FamilyDemotionAndItsEnd) {
  PoolSim pool(17);
  for (uint8_t i = 1; i <= 4; ++i)
    pool.paths[a6(i)] = kSilent;
  pool.addresses({a6(1), a6(2), a6(3), a6(4), a4(1), a4(2)});
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(pool.balancer.v6_demoted(pool.clock.now()));
    pool.open(1);
    pool.clock.run_until(pool.clock.now() + ms(500));
  }
  EXPECT_TRUE(pool.balancer.v6_demoted(pool.clock.now()));
  const Time start = pool.clock.now();
  pool.open(1);
  pool.clock.run_until(start + ms(10));
  EXPECT_EQ(pool.opened_at.back(), start + ms(10));  // IPv4 at once
  for (uint8_t i = 1; i <= 4; ++i)
    pool.paths[a6(i)] = Path{};
  pool.clock.run_until(start + 61 * kSecond);
  EXPECT_FALSE(pool.balancer.v6_demoted(pool.clock.now()));
  pool.open(1);
  pool.clock.run_until(start + 62 * kSecond);
  uint32_t v6 = 0;
  for (uint8_t i = 1; i <= 4; ++i)
    v6 += pool.open_on(a6(i));
  EXPECT_EQ(v6, 1u);
}

// Random networks and demand: every want ends, loads return to zero, and no wait is without an end.
TEST(BalanceSim, RandomNetworks) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Rng rng(seed);
    BalancerOptions options;
    options.policy = static_cast<BalancePolicy>(rng.up_to(3));
    options.probe_every = static_cast<uint32_t>(rng.up_to(8));
    PoolSim pool(seed, options);
    std::vector<SocketAddress> list;
    const auto shuffle = [&] {
      list.clear();
      for (uint8_t i = 1; i <= 4; ++i) {
        if (rng.up_to(1) == 1) list.push_back(a6(i));
      }
      for (uint8_t i = 1; i <= 4; ++i) {
        if (rng.up_to(1) == 1 || list.empty()) list.push_back(a4(i));
      }
      for (const SocketAddress& address : list) {
        Path path{.rtt = ms(rng.between(0, 400)), .tls = {}};
        path.tcp = static_cast<Path::Tcp>(rng.up_to(3));
        pool.paths[address] = path;
      }
      pool.addresses(list);
    };
    shuffle();
    int wanted = 0;
    for (int round = 0; round < 8; ++round) {
      const int count = static_cast<int>(rng.up_to(12));
      wanted += count;
      pool.open(count);
      pool.clock.run_until(pool.clock.now() + ms(rng.between(0, 3000)));
      if (rng.up_to(2) == 0) shuffle();
      if (rng.up_to(6) == 0) pool.balancer.network_changed(pool.clock.now());
    }
    pool.clock.run_until(pool.clock.now() + 20 * kMinute);
    ASSERT_EQ(pool.waiting(), 0) << seed;
    ASSERT_EQ(static_cast<int>(pool.opened_at.size() + pool.failed), wanted) << seed;
    ASSERT_EQ(pool.balancer.running_dials(), 0u) << seed;
    pool.close_all();
    for (const Balancer::View& view : pool.balancer.views()) {
      ASSERT_EQ(view.open + view.first_choices, 0u) << seed;
      ASSERT_NE(view.state, AddressHealth::State::Probing) << seed;
      ASSERT_NE(view.state, AddressHealth::State::Suspect) << seed;
    }
  }
}

}  // namespace
}  // namespace conpool::policy
