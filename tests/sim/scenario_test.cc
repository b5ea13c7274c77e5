// The scenarios ST-01 … ST-24 with the whole core, to the millisecond.
#include "sim/world.h"

namespace conpool::sim {
namespace {

using Lines = std::vector<std::string>;

constexpr const char* kV4 = "192.0.2.1:80";
constexpr const char* kV6 = "[2001:db8::1]:80";

// www.test has one address of each family, 5 ms away; a server echoes on both.
struct Scenario : SimPool {
  explicit Scenario(const OptionList& options = {}) {
    dns.server_delay(0);
    dns.a("www.test", {"192.0.2.1"}).aaaa("www.test", {"2001:db8::1"});
    network.host("*").latency = ms(5);
    open(options);
    v4 = &serve(kV4);
    v6 = &serve(kV6);
    www = endpoint("tcp://www.test:80");
  }
  void release(const Outcome& lease) {
    if (lease.connection != nullptr) conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
  }
  // `count` addresses that echo at `first`, `first + 1`, …
  Lines serve_many(const std::string& prefix, int first, int count) {
    Lines addresses;
    for (int i = first; i < first + count; ++i) {
      addresses.push_back(prefix + std::to_string(i));
      const bool is_v6 = prefix.find(':') != std::string::npos;
      serve(is_v6 ? "[" + addresses.back() + "]:80" : addresses.back() + ":80");
    }
    return addresses;
  }
  origin::Server* v4;
  origin::Server* v6;
  conpool_endpoint* www;
};

TEST(Scenario, ST_01_V6BlackHole) {
  Scenario s;
  s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(260));
  EXPECT_EQ(address_of(lease), kV4);
  EXPECT_EQ(s.syns(), (Lines{"0 [2001:db8::1]:80", "250 192.0.2.1:80"}));
  EXPECT_EQ(s.network.live().client_streams, 1u);
  s.release(lease);
}

TEST(Scenario, ST_02_AaaaNeverComes) {
  Scenario s;
  s.dns.drop("www.test", io::kDnsAaaa);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(60));
  EXPECT_EQ(s.syns(), (Lines{"50 192.0.2.1:80"}));
  s.release(lease);
}

TEST(Scenario, ST_03_ANeverComes) {
  Scenario s;
  s.dns.drop("www.test", io::kDnsA);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(10));
  EXPECT_EQ(s.syns(), (Lines{"0 [2001:db8::1]:80"}));
  s.release(lease);
}

TEST(Scenario, ST_04_AaaaTwentyMillisecondsLate) {
  Scenario s;
  s.dns.delay("www.test", io::kDnsAaaa, ms(20));
  s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
  s.release(s.lease(s.www));
  EXPECT_EQ(s.syns(), (Lines{"20 [2001:db8::1]:80", "270 192.0.2.1:80"}));
}

TEST(Scenario, ST_05_AaaaLateWhileIpv4Hangs) {
  Scenario s;
  s.dns.delay("www.test", io::kDnsAaaa, ms(200));
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(310));
  EXPECT_EQ(address_of(lease), kV6);
  EXPECT_EQ(s.syns(), (Lines{"50 192.0.2.1:80", "300 [2001:db8::1]:80"}));
  s.release(lease);
}

TEST(Scenario, ST_06_ASlowFirstStillWins) {
  Scenario s;
  s.network.host("2001:db8::1").latency = ms(150);
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(300));
  EXPECT_EQ(address_of(lease), kV6);
  s.release(lease);
}

TEST(Scenario, ST_06_ATooSlowFirstLosesAndIsReset) {
  Scenario s;
  s.network.host("2001:db8::1").latency = ms(200);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(260));
  EXPECT_EQ(address_of(lease), kV4);
  EXPECT_EQ(s.exchange(lease.connection, "used"), "used");
  s.release(lease);
  s.run_until(kSecond);
  EXPECT_TRUE(s.network.connections()[0].late_answer);
  EXPECT_EQ(s.v4->counts().open, 1u);
  EXPECT_EQ(s.v6->counts().bytes_in, 0u);
}

TEST(Scenario, ST_07_RefusedFast) {
  Scenario s;
  s.network.host("2001:db8::1").syn = io::SimSyn::Refuse;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(address_of(lease), kV4);
  EXPECT_EQ(s.syns(), (Lines{"0 [2001:db8::1]:80", "10 192.0.2.1:80"}));
  s.release(lease);
}

TEST(Scenario, ST_07_FiveRefused) {
  Scenario s;
  s.dns.nodata("www.test", io::kDnsAaaa)
      .a("www.test", {"192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15"});
  s.network.host("192.0.2.0/24").latency = ms(1);
  s.network.host("192.0.2.0/24").syn = io::SimSyn::Refuse;
  s.network.host("192.0.2.53").syn = io::SimSyn::Answer;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, CONPOOL_E_CONNECT_REFUSED);
  EXPECT_EQ(lease.time, ms(42));
  const std::vector<io::SimSynRecord> syns = s.network.first_syns();
  ASSERT_EQ(syns.size(), 5u);
  for (size_t i = 1; i < syns.size(); ++i)
    EXPECT_EQ(syns[i].time - syns[i - 1].time, ms(10));
  size_t refused = 0;
  for (size_t at = lease.report.find("ECONNREFUSED"); at != std::string::npos;
       at = lease.report.find("ECONNREFUSED", at + 1))
    ++refused;
  EXPECT_GE(refused, 5u) << lease.report;
}

TEST(Scenario, ST_08_AllDead) {
  Scenario s(OptionList{{"dial.timeout", "3s"}});
  s.dns.aaaa("www.test", {"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"})
      .a("www.test", {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"});
  s.network.host("192.0.2.0/24").syn = io::SimSyn::Drop;
  s.network.host("2001:db8::/32").syn = io::SimSyn::Drop;
  s.network.host("192.0.2.53").syn = io::SimSyn::Answer;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, CONPOOL_E_DIAL_TIMEOUT) << lease.line;
  EXPECT_EQ(lease.time, 3 * kSecond);
  const std::vector<io::SimSynRecord> syns = s.network.first_syns();
  ASSERT_EQ(syns.size(), 8u);
  for (size_t i = 0; i < syns.size(); ++i) {
    EXPECT_EQ(syns[i].time, static_cast<Time>(i) * ms(250));
    EXPECT_EQ(syns[i].destination.family(), i % 2 == 0 ? Family::V6 : Family::V4);
  }
  EXPECT_EQ(s.network.most_connecting(), 6u);
  size_t connects = 0;
  for (const std::string& attempt : lease.attempts)
    connects += attempt.starts_with("tcp:") ? 1 : 0;
  EXPECT_EQ(connects, 8u) << lease.report;
}

TEST(Scenario, ST_08_TwoOfTheFirstFamilyFirst) {
  Scenario s(OptionList{{"dial.timeout", "1s"}, {"race.first_family_count", "2"}});
  s.dns.aaaa("www.test", {"2001:db8::1", "2001:db8::2", "2001:db8::3"})
      .a("www.test", {"192.0.2.1"});
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  s.network.host("2001:db8::/32").syn = io::SimSyn::Drop;
  EXPECT_FALSE(s.lease(s.www).ok());
  Family order[4] = {};
  for (size_t i = 0; i < 4; ++i)
    order[i] = s.network.first_syns()[i].destination.family();
  EXPECT_EQ(order[0], Family::V6);
  EXPECT_EQ(order[1], Family::V6);
  EXPECT_EQ(order[2], Family::V4);
  EXPECT_EQ(order[3], Family::V6);
}

// --- ST-09: TLS inside the race

struct TlsScenario : SimPool {
  explicit TlsScenario(const std::string& until) {
    dns.server_delay(0);
    dns.a("www.test", {"192.0.2.1"}).aaaa("www.test", {"2001:db8::1"});
    network.host("*").latency = ms(5);
    network.host("2001:db8::1").syn = io::SimSyn::Stall;  // accepts, and says nothing
    open({{"tls.ca_pem", authority_pem()}, {"race.until", until}, {"tls.timeout", "2s"}});
    serve_tls("192.0.2.1:443", {"www.test"});
    www = endpoint("tls://www.test:443");
  }
  conpool_endpoint* www;
};

TEST(Scenario, ST_09_AStalledHandshakeLosesTheRace) {
  TlsScenario s("tls");
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, 0) << lease.report;
  EXPECT_EQ(address_of(lease), "192.0.2.1:443");
  const Lines syns = s.syns();
  ASSERT_EQ(syns.size(), 2u);
  EXPECT_EQ(syns[0], "0 [2001:db8::1]:443");
  EXPECT_GT(s.network.first_syns()[1].time, ms(10));
  EXPECT_LE(s.network.first_syns()[1].time, ms(260));
  EXPECT_EQ(s.network.live().client_streams, 1u);
  EXPECT_EQ(s.exchange(lease.connection, "over TLS"), "over TLS");
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

TEST(Scenario, ST_09_WithoutTlsInTheRaceTheHandshakeTimesOut) {
  TlsScenario s("tcp");
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, CONPOOL_E_TLS_TIMEOUT) << lease.line;
  EXPECT_EQ(lease.time, ms(10) + 2 * kSecond);
  EXPECT_EQ(s.syns(), (Lines{"0 [2001:db8::1]:443"}));
}

// --- ST-10: cancels

TEST(Scenario, ST_10_CancelAtEveryMillisecond) {
  for (int64_t at = 0; at <= 300; at += 5) {
    Scenario s;
    s.dns.delay("www.test", io::kDnsA, ms(20)).delay("www.test", io::kDnsAaaa, ms(100));
    s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
    s.network.host("192.0.2.1").latency = ms(80);
    const conpool_op op = s.acquire(s.www);
    s.run_until(ms(at));
    Outcome end;
    if (s.ended(op, &end)) {
      EXPECT_EQ(end.status, 0);
      s.release(end);
      continue;
    }
    EXPECT_EQ(conpool_op_cancel(op), 0);
    end = s.wait(op);
    EXPECT_EQ(end.status, CONPOOL_E_CANCELLED) << at;
    EXPECT_EQ(end.time, ms(at));
    // The dial was not the op's: its connection waits for the next.
    s.run_until(kSecond);
    EXPECT_EQ(s.network.live().connecting, 0u);
    const Outcome next = s.lease(s.www);
    EXPECT_EQ(next.time, kSecond);
    s.release(next);
  }
}

TEST(Scenario, ST_10_ThePoolGoesAtEveryMillisecond) {
  for (int64_t at = 0; at <= 300; at += 5) {
    Scenario s;
    s.dns.delay("www.test", io::kDnsA, ms(20)).delay("www.test", io::kDnsAaaa, ms(100));
    s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
    const conpool_op op = s.acquire(s.www);
    s.run_until(ms(at));
    s.close();
    conpool_event event{};
    ASSERT_EQ(conpool_op_wait(op, 0, &event), 0) << at;
    EXPECT_TRUE(event.status == CONPOOL_E_CLOSED || event.status == 0) << event.status;
    conpool_event_dispose(&event);
  }
}

TEST(Scenario, ST_11_SimultaneousWinners) {
  Scenario s;
  s.network.host("2001:db8::1").latency = ms(130);  // answers at 260, as IPv4 does
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(260));
  EXPECT_EQ(s.network.live().client_streams, 1u);
  EXPECT_EQ(s.exchange(lease.connection, "data"), "data");
  EXPECT_EQ(s.v4->counts().bytes_in + s.v6->counts().bytes_in, 4u);
  s.release(lease);
  s.run_for(kSecond);
  EXPECT_EQ(s.v4->counts().open + s.v6->counts().open, 1u);
}

TEST(Scenario, ST_12_AaaaFailsIpv4GoesAtOnce) {
  const std::vector<io::DnsRcode> codes{io::DnsRcode::NxDomain, io::DnsRcode::ServFail,
                                        io::DnsRcode::Refused, io::DnsRcode::FormErr};
  for (const io::DnsRcode code : codes) {
    Scenario s;
    s.dns.rcode("www.test", io::kDnsAaaa, code);
    const Outcome lease = s.lease(s.www);
    EXPECT_EQ(lease.status, 0) << lease.report;
    if (code == io::DnsRcode::NxDomain || code == io::DnsRcode::FormErr) {
      EXPECT_EQ(s.syns(), (Lines{"0 192.0.2.1:80"})) << static_cast<int>(code);
    } else {
      // The only server is asked again; IPv4 waits no longer than for a late answer.
      EXPECT_LE(s.network.first_syns()[0].time, ms(50)) << static_cast<int>(code);
    }
    s.release(lease);
  }
}

// --- ST-13: servers that fail

TEST(Scenario, ST_13_TheSecondDnsServerAnswersAfterTheFirstOnesTimeout) {
  Scenario s(OptionList{{"dns.servers", "192.0.2.52:53,192.0.2.53:53"}});
  io::DnsScript silent(s.network, "192.0.2.52:53");
  silent.drop_all();
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, kSecond + ms(10));
  s.release(lease);
}

TEST(Scenario, ST_13_ARefusedServerCostsARoundTrip) {
  Scenario s(OptionList{{"dns.servers", "192.0.2.52:53,192.0.2.53:53"}});
  s.network.host("192.0.2.52").syn = io::SimSyn::Refuse;
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(20));
  s.release(lease);
}

TEST(Scenario, ST_13_NoServerAnswers) {
  Scenario s;
  s.dns.drop_all();
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, CONPOOL_E_DNS_TIMEOUT) << lease.line;
  EXPECT_GE(lease.time, 4 * kSecond);
  EXPECT_LE(lease.time, 5 * kSecond);
}

TEST(Scenario, ST_13_AServerFailureIsToldAsOne) {
  Scenario s;
  s.dns.rcode("www.test", io::kDnsA, io::DnsRcode::ServFail)
      .rcode("www.test", io::kDnsAaaa, io::DnsRcode::ServFail);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.status, CONPOOL_E_DNS_SERVER_FAILURE) << lease.line;
}

// --- ST-14, ST-15: the cache

// Acquires and drops a connection, so that each lease needs a dial.
void use_once(SimPool& s, conpool_endpoint* endpoint) {
  const Outcome lease = s.lease(endpoint);
  ASSERT_EQ(lease.status, 0) << lease.report;
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

TEST(Scenario, ST_14_AnAnswerServesAsLongAsItsTime) {
  Scenario s(OptionList{{"dns.prefetch", "0"}, {"breaker.mode", "off"}});
  s.dns.a("www.test", {"192.0.2.1"}, 2).aaaa("www.test", {"2001:db8::1"}, 2);
  for (int i = 0; i < 50; ++i) {
    use_once(s, s.www);
    s.run_for(ms(10));
  }
  EXPECT_LT(s.now(), 2 * kSecond);
  EXPECT_EQ(s.dns.queries(), 2u);
  s.run_until(2 * kSecond + ms(1));
  use_once(s, s.www);
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsA), 2u);
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsAaaa), 2u);
}

TEST(Scenario, ST_14_TheShortestTimeOfAChainCounts) {
  Scenario s(OptionList{{"dns.prefetch", "0"}});
  s.dns.forget("www.test");
  s.dns
      .raw("www.test", io::kDnsA,
           io::DnsMessage("www.test", io::kDnsA)
               .cname("www.test", "real.test", 1)
               .a("real.test", "192.0.2.1", 100)
               .bytes())
      .nodata("www.test", io::kDnsAaaa, 100);
  use_once(s, s.www);
  s.run_until(ms(900));
  use_once(s, s.www);
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsA), 1u);
  s.run_until(ms(1100));
  use_once(s, s.www);
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsA), 2u);
}

TEST(Scenario, ST_14_ANegativeAnswerServesAsLongAsItsSoa) {
  Scenario s(OptionList{{"dns.prefetch", "0"}, {"breaker.mode", "off"}});
  s.dns.nodata("www.test", io::kDnsAaaa, 3);
  for (int i = 0; i < 29; ++i) {
    s.run_until(i * ms(100));
    use_once(s, s.www);
  }
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsAaaa), 1u);
  s.run_until(3 * kSecond + ms(1));
  use_once(s, s.www);
  EXPECT_EQ(s.dns.queries("www.test", io::kDnsAaaa), 2u);
}

TEST(Scenario, ST_15_ManyShareOneLookup) {
  Scenario s(OptionList{{"endpoint.max_connections", "64"}});
  s.dns.server_delay(ms(20));
  std::vector<conpool_op> ops;
  for (int i = 0; i < 50; ++i)
    ops.push_back(s.acquire(s.www));
  for (const conpool_op op : ops) {
    const Outcome lease = s.wait(op);
    EXPECT_EQ(lease.status, 0);
    s.release(lease);
  }
  EXPECT_EQ(s.dns.queries(), 2u);
}

TEST(Scenario, ST_15_ACancelledCrowdDoesNotTakeTheLookupAlong) {
  Scenario s(OptionList{{"endpoint.max_connections", "64"}});
  s.dns.server_delay(ms(20));
  std::vector<conpool_op> ops;
  for (int i = 0; i < 50; ++i)
    ops.push_back(s.acquire(s.www));
  s.run_until(ms(10));
  for (int i = 0; i < 49; ++i) {
    EXPECT_EQ(conpool_op_cancel(ops[i]), 0);
    EXPECT_EQ(s.wait(ops[i]).status, CONPOOL_E_CANCELLED);
  }
  const Outcome lease = s.wait(ops[49]);
  EXPECT_EQ(lease.status, 0);
  EXPECT_EQ(lease.time, ms(30));
  s.release(lease);
}

TEST(Scenario, ST_15_ALateAnswerFeedsTheCache) {
  Scenario s;
  s.dns.delay("www.test", io::kDnsAaaa, ms(400));
  use_once(s, s.www);
  EXPECT_EQ(s.now(), ms(60));
  s.run_until(ms(500));
  s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
  const Time from = s.now();
  use_once(s, s.www);
  EXPECT_EQ(s.syns(from)[0], "0 [2001:db8::1]:80");
  EXPECT_EQ(s.dns.queries(), 2u);
}

// ST-16 stands in balance_test.cc.

// --- ST-17: resolv.conf

TEST(Scenario, ST_17_AChangedResolvConfIsUsed) {
  SimPool s;
  s.dns.server_delay(0);
  s.dns.a("www.test", {"192.0.2.1"});
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.52\n");
  s.open({{"dns.servers", ""}, {"dns.resolv_conf", "/etc/resolv.conf"}, {"resolve_retries", "0"}});
  s.serve(kV4);
  conpool_endpoint* www = s.endpoint("tcp://www.test:80");
  EXPECT_FALSE(s.lease(www).ok());
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.53\n");
  s.run_for(10 * kSecond);
  use_once(s, www);
}

TEST(Scenario, ST_17_AnEmptyResolvConfThatIsFilled) {
  SimPool s;
  s.dns.server_delay(0);
  s.dns.a("www.test", {"192.0.2.1"});
  s.network.file("/etc/resolv.conf", "");
  s.open({{"dns.servers", ""}, {"dns.resolv_conf", "/etc/resolv.conf"}});
  s.serve(kV4);
  conpool_endpoint* www = s.endpoint("tcp://www.test:80");
  const Outcome none = s.lease(www);
  EXPECT_FALSE(none.ok());
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.53\n");
  s.run_for(10 * kSecond);
  use_once(s, www);
}

// --- ST-18: names and literals

TEST(Scenario, ST_18_LiteralsAndReservedNamesAskNobody) {
  Scenario s;
  s.serve("127.0.0.1:80");
  s.serve("[::1]:80");
  for (const char* url : {"tcp://127.0.0.1:80", "tcp://[::1]:80", "tcp://localhost:80",
                          "tcp://LOCALHOST.:80", "tcp://a.localhost:80", "tcp://192.0.2.1:80"})
    use_once(s, s.endpoint(url));
  for (const char* url : {"tcp://x.invalid:80", "tcp://x.onion:80"}) {
    const Outcome lease = s.lease(s.endpoint(url));
    EXPECT_EQ(lease.status, CONPOOL_E_DNS_RESERVED) << url << ": " << lease.line;
  }
  EXPECT_EQ(s.dns.queries(), 0u);
  use_once(s, s.endpoint("tcp://www.test.:80"));
  EXPECT_EQ(s.queries(), (Lines{s.queries()[0], s.queries()[1]}));
  EXPECT_EQ(s.dns.queries("www.test"), 2u);
}

TEST(Scenario, ST_18_BadNamesAreRefused) {
  Scenario s;
  const std::string long_label(64, 'a');
  const Lines bad{"tcp://:80", "tcp://a..b:80", "tcp://" + long_label + ":80", "tcp://1.2.3:80",
                  "tcp://0x7f.1:80"};
  for (const std::string& url : bad) {
    conpool_endpoint* endpoint = nullptr;
    conpool_error* error = nullptr;
    EXPECT_LT(conpool_endpoint_new(s.pool, url.data(), url.size(), nullptr, &endpoint, &error), 0)
        << url;
    ASSERT_NE(error, nullptr);
    EXPECT_STRNE(conpool_error_line(error), "");
    conpool_error_free(error);
  }
  EXPECT_EQ(s.dns.queries(), 0u);
}

// --- ST-19: stale answers

TEST(Scenario, ST_19_AStaleAnswerServesWhileTheServerIsDead) {
  Scenario s(OptionList{{"pool.max_uses", "1"}});
  s.dns.a("www.test", {"192.0.2.1"}, 1).aaaa("www.test", {"2001:db8::1"}, 1);
  use_once(s, s.www);
  s.dns.drop_all();
  s.run_until(30 * kSecond);  // nothing is busy: the answer is just old
  const Outcome lease = s.lease(s.endpoint("tcp://www.test:80", {{"partition", "other"}}));
  EXPECT_EQ(lease.status, 0) << lease.report;
  EXPECT_EQ(lease.time, 30 * kSecond + ms(1810));
  s.release(lease);
}

TEST(Scenario, ST_19_AnOptimisticLookupTakesItAtOnce) {
  Scenario s(OptionList{{"dns.optimistic", "true"}});
  s.dns.a("www.test", {"192.0.2.1"}, 1).aaaa("www.test", {"2001:db8::1"}, 1);
  use_once(s, s.www);
  s.dns.drop_all();
  s.run_until(30 * kSecond);
  const Outcome lease = s.lease(s.endpoint("tcp://www.test:80", {{"partition", "other"}}));
  EXPECT_EQ(lease.time, 30 * kSecond + ms(10));
  s.release(lease);
}

TEST(Scenario, ST_19_ADefinitiveNoIsNoOutage) {
  Scenario s;
  s.dns.a("www.test", {"192.0.2.1"}, 1).nodata("www.test", io::kDnsAaaa, 1);
  use_once(s, s.www);
  s.dns.nxdomain("www.test");
  s.run_until(30 * kSecond);
  const Outcome lease = s.lease(s.endpoint("tcp://www.test:80", {{"partition", "other"}}));
  EXPECT_EQ(lease.status, CONPOOL_E_DNS_NOT_FOUND) << lease.line;
}

// --- ST-20: hostile answers

TEST(Scenario, ST_20_HostileAnswersNeverGiveAnAddress) {
  const std::vector<uint8_t> good =
      io::DnsMessage("www.test", io::kDnsA).a("www.test", "192.0.2.1", 60).bytes();
  std::vector<std::vector<uint8_t>> messages;
  messages.push_back(io::DnsMessage("www.test", io::kDnsA).a("evil.test", "192.0.2.1", 60).bytes());
  messages.push_back(
      io::DnsMessage("other.test", io::kDnsA).a("other.test", "192.0.2.1", 60).bytes());
  messages.push_back(io::DnsMessage("www.test", io::kDnsA)
                         .cname("www.test", "loop.test", 60)
                         .cname("loop.test", "www.test", 60)
                         .bytes());
  messages.emplace_back();
  for (size_t cut = 1; cut < good.size(); cut += 5)
    messages.emplace_back(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut));
  for (const std::vector<uint8_t>& message : messages) {
    Scenario s(OptionList{{"dns.timeout", "3s"}});
    s.dns.nodata("www.test", io::kDnsAaaa).raw("www.test", io::kDnsA, message);
    const Outcome lease = s.lease(s.www);
    EXPECT_FALSE(lease.ok());
    EXPECT_NE(lease.line, "");
    EXPECT_TRUE(s.syns().empty());
  }
}

// --- ST-21 … ST-24

TEST(Scenario, ST_21_AHostWithoutIpv6) {
  Scenario s;
  s.network.no_route("2001:db8::/32");
  const Outcome lease = s.lease(s.www);
  // The attempt fails without a packet; the next follows after the least delay (RFC 8305 §5).
  EXPECT_EQ(lease.time, ms(20));
  EXPECT_EQ(s.syns(), (Lines{"10 192.0.2.1:80"}));
  s.release(lease);
}

TEST(Scenario, ST_21_AHostWithoutIpv6DoesNotWaitForIt) {
  Scenario s;
  s.network.no_route("::/0");
  s.dns.drop("www.test", io::kDnsAaaa);
  const Outcome lease = s.lease(s.www);
  EXPECT_EQ(lease.time, ms(10));
  s.release(lease);
}

TEST(Scenario, ST_22_LabelsDecideTheOrder) {
  Scenario s;
  // A unique local destination reached from a global source matches no label (RFC 6724 rule 5).
  s.dns.aaaa("www.test", {"fd00::1"}).delay("www.test", io::kDnsAaaa, ms(10));
  s.network.source("fd00::/8", *parse_address_and_port("[2001:db8:1::9]:1"));
  s.network.source("192.0.2.0/24", *parse_address_and_port("192.0.2.200:1"));
  use_once(s, s.www);
  EXPECT_EQ(s.syns()[0], "10 192.0.2.1:80");
}

TEST(Scenario, ST_22_UnusableDestinationsGoLast) {
  Scenario s;
  s.dns.aaaa("www.test", {"2001:db8:5::1", "2001:db8::1"});
  s.network.no_route("2001:db8:5::/48");
  use_once(s, s.www);
  EXPECT_EQ(s.syns()[0], "0 [2001:db8::1]:80");
}

TEST(Scenario, ST_23_TheDelayFollowsTheMeasuredRoundTrips) {
  Scenario s(OptionList{{"balance.probe_every", "0"}});
  s.network.host("*").latency = ms(15);
  s.network.host("192.0.2.1").latency = ms(15);
  s.network.host("2001:db8::1").latency = ms(15);
  for (int i = 0; i < 5; ++i) {
    use_once(s, s.www);
    s.run_for(ms(100));
  }
  s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
  const Time from = s.now();
  use_once(s, s.www);
  EXPECT_EQ(s.syns(from), (Lines{"0 [2001:db8::1]:80", "100 192.0.2.1:80"}));
}

TEST(Scenario, ST_23_S4_AnotherNetworkForgetsTheMeasuredRoundTrips) {
  SimPool s;
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.53\n");
  s.dns.aaaa("www.test", {"2001:db8::1"}, 1).a("www.test", {"192.0.2.1"}, 1);
  s.open({{"dns.servers", ""}, {"dns.resolv_conf", "/etc/resolv.conf"}});
  s.serve(kV4);
  s.serve(kV6);
  s.network.host("*").latency = ms(15);
  conpool_endpoint* www = s.endpoint("tcp://www.test:80");
  for (int i = 0; i < 5; ++i) {
    use_once(s, www);
    s.run_for(ms(100));
  }
  s.network.host("2001:db8::1").latency = ms(15);
  s.network.host("2001:db8::1").syn = io::SimSyn::Drop;
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.53\noptions ndots:2\n");
  s.run_for(ms(2000));
  const Time from = s.now();
  use_once(s, www);
  const Lines syns = s.syns(from);
  ASSERT_EQ(syns.size(), 2u);
  EXPECT_EQ(syns[1].substr(0, 4), "250 ") << "the delay of the old network: " << syns[1];
}

TEST(Scenario, ST_24_OneSearchNameServesBothFamilies) {
  SimPool s;
  s.dns.server_delay(0);
  s.dns.aaaa("www.a.test", {"2001:db8::1"}).a("www.b.test", {"192.0.2.1"});
  s.network.file("/etc/resolv.conf", "nameserver 192.0.2.53\nsearch a.test b.test\n");
  s.open({{"dns.servers", ""}, {"dns.resolv_conf", "/etc/resolv.conf"}});
  s.serve(kV4);
  s.serve(kV6);
  s.network.host("2001:db8::1").syn = io::SimSyn::Refuse;
  const Outcome lease = s.lease(s.endpoint("tcp://www:80"));
  EXPECT_EQ(lease.status, CONPOOL_E_CONNECT_REFUSED) << lease.report;
  for (const std::string& syn : s.syns())
    EXPECT_EQ(syn.find("192.0.2.1"), std::string::npos) << "the families were mixed";
}

TEST(Scenario, ST_24_TheHostsFileAnswersAndIsReadAgain) {
  SimPool s;
  s.network.file("/etc/hosts", "192.0.2.1 www.test\n");
  s.open({{"dns.hosts_file", "/etc/hosts"}});
  s.serve(kV4);
  s.serve("192.0.2.2:80");
  conpool_endpoint* www = s.endpoint("tcp://www.test:80");
  Outcome lease = s.lease(www);
  EXPECT_EQ(address_of(lease), kV4);
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
  EXPECT_EQ(s.dns.queries(), 0u);
  s.network.file("/etc/hosts", "192.0.2.2 www.test\n");
  s.run_for(10 * kMinute);
  lease = s.lease(www);
  EXPECT_EQ(address_of(lease), "192.0.2.2:80");
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

}  // namespace
}  // namespace conpool::sim
