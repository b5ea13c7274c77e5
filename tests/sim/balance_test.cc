// The balance over a name's addresses, and names whose answers change or stop.
#include "sim/world.h"

namespace conpool::sim {
namespace {

const std::vector<std::string> kFour{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"};

// www.test has four addresses, 5 ms away.
struct Balance : SimPool {
  explicit Balance(const OptionList& options = {}) {
    dns.server_delay(0);
    dns.a("www.test", kFour, 5).nodata("www.test", io::kDnsAaaa, 5);
    network.host("*").latency = ms(5);
    OptionList all{{"endpoint.max_connections", "64"}};
    all.insert(all.end(), options.begin(), options.end());
    open(all);
    for (const std::string& address : kFour)
      servers[address] = &serve(address + ":80");
    www = endpoint("tcp://www.test:80");
  }
  std::vector<Outcome> lease_many(size_t count) {
    std::vector<conpool_op> ops;
    for (size_t i = 0; i < count; ++i)
      ops.push_back(acquire(www));
    std::vector<Outcome> leases;
    for (const conpool_op op : ops)
      leases.push_back(wait(op));
    return leases;
  }
  static std::map<std::string, int> spread(const std::vector<Outcome>& leases) {
    std::map<std::string, int> count;
    for (const Outcome& lease : leases)
      ++count[address_of(lease)];
    return count;
  }
  static void release(const std::vector<Outcome>& leases, int32_t how) {
    for (const Outcome& lease : leases) {
      if (lease.connection != nullptr) conpool_connection_release(lease.connection, how);
    }
  }
  size_t syns_to(const std::string& address, Time from, Time until) const {
    size_t count = 0;
    for (const io::SimSynRecord& syn : network.first_syns()) {
      if (syn.time >= from && syn.time < until && syn.destination.text() == address) ++count;
    }
    return count;
  }
  std::map<std::string, origin::Server*> servers;
  conpool_endpoint* www;
};

TEST(Balance, ST_16_FortyLeasesOnFourAddressesAreTenEach) {
  Balance s;
  const std::vector<Outcome> leases = s.lease_many(40);
  for (const auto& [address, count] : Balance::spread(leases))
    EXPECT_EQ(count, 10) << address;
  s.run_for(ms(10));  // the last ACKs are on their way
  for (const auto& [address, server] : s.servers)
    EXPECT_EQ(server->counts().open, 10u) << address;
  Balance::release(leases, CONPOOL_REUSABLE);
}

TEST(Balance, ST_16_TheOthersTakeABlackHolesShare) {
  Balance s;
  s.network.host("192.0.2.3").syn = io::SimSyn::Drop;
  const std::vector<Outcome> leases = s.lease_many(40);
  const std::map<std::string, int> spread = Balance::spread(leases);
  EXPECT_EQ(spread.size(), 3u);
  for (const auto& [address, count] : spread) {
    EXPECT_GE(count, 13) << address;
    EXPECT_LE(count, 14) << address;
  }
  EXPECT_FALSE(spread.contains("192.0.2.3:80"));
  Balance::release(leases, CONPOOL_BROKEN);
}

TEST(Balance, ST_16_ABlackHoleIsLeftAloneAndUsedAgainOnceItHeals) {
  Balance s(OptionList{{"pool.max_uses", "1"}});
  s.network.host("192.0.2.3").syn = io::SimSyn::Drop;
  // Ten seconds of traffic that needs a dial each time.
  for (int i = 0; i < 200; ++i) {
    const std::vector<Outcome> leases = s.lease_many(4);
    for (const Outcome& lease : leases)
      EXPECT_EQ(lease.status, 0) << lease.line;
    s.run_until((i + 1) * ms(50));
    Balance::release(leases, CONPOOL_REUSABLE);
  }
  EXPECT_LE(s.syns_to("192.0.2.3:80", 0, 10 * kSecond), 3u);
  s.network.host("192.0.2.3").syn = io::SimSyn::Answer;
  const Time healed = s.now();
  while (s.now() < healed + 20 * kSecond) {
    const std::vector<Outcome> leases = s.lease_many(4);
    s.run_for(ms(50));
    Balance::release(leases, CONPOOL_REUSABLE);
  }
  const std::vector<Outcome> leases = s.lease_many(40);
  EXPECT_EQ(Balance::spread(leases)["192.0.2.3:80"], 10);
  Balance::release(leases, CONPOOL_REUSABLE);
}

TEST(Balance, AChangedAnswerMovesTheTrafficWithoutAFailedLease) {
  Balance s;
  s.serve("192.0.2.21:80");
  s.serve("192.0.2.22:80");
  bool moved = false;
  for (int i = 0; i < 400; ++i) {
    if (i == 100) s.dns.a("www.test", {"192.0.2.21", "192.0.2.22"}, 5);
    const std::vector<Outcome> leases = s.lease_many(8);
    moved = true;
    for (const Outcome& lease : leases) {
      EXPECT_EQ(lease.status, 0) << lease.report;
      moved = moved && address_of(lease).starts_with("192.0.2.2") &&
              address_of(lease) != "192.0.2.2:80";
    }
    s.run_for(ms(50));
    Balance::release(leases, CONPOOL_REUSABLE);
  }
  EXPECT_TRUE(moved);
  s.run_for(kSecond);
  for (const auto& [address, server] : s.servers)
    EXPECT_EQ(server->counts().open, 0u) << address;
}

TEST(Balance, AVanishedAddressDrainsWhileItsLeaseGoesOn) {
  Balance s;
  const std::vector<Outcome> leases = s.lease_many(4);
  s.dns.a("www.test", {"192.0.2.1"}, 5);
  s.run_for(15 * kSecond);
  for (const Outcome& lease : leases)
    EXPECT_EQ(s.exchange(lease.connection, "still here"), "still here");
  Balance::release(leases, CONPOOL_REUSABLE);
  s.run_for(kSecond);
  EXPECT_EQ(s.servers["192.0.2.1"]->counts().open, 1u);
  EXPECT_EQ(s.servers["192.0.2.2"]->counts().open, 0u);
}

TEST(Balance, AResolverThatDiesCostsNothingWhileTheLastAnswerStands) {
  Balance s(OptionList{{"pool.max_uses", "1"}});
  const Outcome held = s.lease(s.www);  // the endpoint stays in use
  s.run_until(ms(50));
  Nanos slowest_before = 0, slowest_after = 0;
  for (int i = 0; i < 1200; ++i) {
    if (i == 200) s.dns.drop_all();
    const Time from = s.now();
    const Outcome lease = s.lease(s.www);
    EXPECT_EQ(lease.status, 0) << lease.report;
    Nanos& slowest = i < 200 ? slowest_before : slowest_after;
    slowest = std::max(slowest, lease.time - from);
    conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
    s.run_until((i + 2) * ms(50));
  }
  conpool_connection_release(held.connection, CONPOOL_REUSABLE);
  EXPECT_EQ(slowest_after, ms(10));
  EXPECT_EQ(slowest_before, ms(10));
}

TEST(Balance, AResolverThatComesBackIsHeard) {
  Balance s;
  s.serve("192.0.2.21:80");
  const Outcome first = s.lease(s.www);
  s.dns.drop_all();
  s.run_for(2 * kMinute);
  s.dns.drop_all(false);
  s.dns.a("www.test", {"192.0.2.21"}, 5);
  s.run_for(kMinute);
  conpool_connection_release(first.connection, CONPOOL_REUSABLE);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(address_of(lease), "192.0.2.21:80");
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

}  // namespace
}  // namespace conpool::sim
