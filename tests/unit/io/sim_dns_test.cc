// Scripted DNS servers: exact times of answers and timeouts, and the bytes of the messages.
#include <gtest/gtest.h>

#include <cerrno>

#include "io/sim/dns_script.h"
#include "unit/io/sim_probe.h"

// Last: they define STATUS as a macro.
#include <arpa/nameser.h>
#include <resolv.h>

namespace conpool::io {
namespace {

struct Answer {
  Time time = kNever;
  Status status = Status::OK;
  std::vector<uint8_t> bytes;
  int rcode = -1;
  std::vector<std::string> records;  // "name type ttl data"
  std::vector<std::string> authority;
};

std::string data_text(const ns_msg& message, const ns_rr& record) {
  char text[256] = "";
  switch (ns_rr_type(record)) {
    case ns_t_a:
      return SocketAddress::v4({ns_rr_rdata(record)[0], ns_rr_rdata(record)[1],
                                ns_rr_rdata(record)[2], ns_rr_rdata(record)[3]},
                               0)
          .ip_text();
    case ns_t_aaaa: {
      std::array<uint8_t, 16> ip;
      std::copy_n(ns_rr_rdata(record), 16, ip.begin());
      return SocketAddress::v6(ip, 0).ip_text();
    }
    case ns_t_cname:
      EXPECT_GT(dn_expand(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record), text,
                          sizeof text),
                0);
      return text;
    default:
      return "soa " + std::to_string(ns_get32(ns_rr_rdata(record) + ns_rr_rdlen(record) - 4));
  }
}

void parse(Answer* answer) {
  ns_msg message;
  ASSERT_EQ(ns_initparse(answer->bytes.data(), static_cast<int>(answer->bytes.size()), &message),
            0);
  answer->rcode = ns_msg_getflag(message, ns_f_rcode);
  for (const ns_sect section : {ns_s_an, ns_s_ns}) {
    for (int i = 0; i < ns_msg_count(message, section); ++i) {
      ns_rr record;
      ASSERT_EQ(ns_parserr(&message, section, i, &record), 0);
      (section == ns_s_an ? answer->records : answer->authority)
          .push_back(std::string(ns_rr_name(record)) + " " + std::to_string(ns_rr_ttl(record)) +
                     " " + data_text(message, record));
    }
  }
}

struct Rig {
  SimNetwork network;
  std::unique_ptr<Loop> loop = make_sim_loop(network, 1);
  DnsScript zone{network, "192.0.2.53:53"};

  // Runs until the answer is there.
  Answer ask(const std::string& name, uint16_t type, Nanos timeout = kSecond) {
    return ask_at(zone.server(), name, type, timeout);
  }
  Answer ask_at(const SocketAddress& server, const std::string& name, uint16_t type,
                Nanos timeout) {
    Answer answer;
    const Time start = loop->now();
    bool done = false;
    auto exchange =
        loop->exchange({name, type, server, timeout}, [&](Result<std::vector<uint8_t>> result) {
          done = true;
          answer.time = loop->now() - start;
          if (result)
            answer.bytes = *result;
          else
            answer.status = result.error().status;
        });
    EXPECT_FALSE(done);
    EXPECT_EQ(network.live().exchanges, 1u);
    EXPECT_TRUE(network.run(*loop, start + kMinute, [&] { return done; }));
    if (answer.bytes.size() >= 12) parse(&answer);
    return answer;
  }
};

TEST(DnsScript, AnswersRecordsAfterTheirDelay) {
  Rig rig;
  rig.zone.a("www.test", {"192.0.2.1", "192.0.2.2"}, 30).aaaa("WWW.test.", {"2001:db8::1"}, 60);
  rig.zone.server_delay(5 * kMillisecond).delay("www.test", kDnsAaaa, 20 * kMillisecond);
  Answer a = rig.ask("www.test", kDnsA);
  EXPECT_EQ(a.time, 5 * kMillisecond);
  EXPECT_EQ(a.records,
            (std::vector<std::string>{"www.test 30 192.0.2.1", "www.test 30 192.0.2.2"}));
  Answer aaaa = rig.ask("www.test", kDnsAaaa);
  EXPECT_EQ(aaaa.time, 25 * kMillisecond);
  EXPECT_EQ(aaaa.records, (std::vector<std::string>{"www.test 60 2001:db8::1"}));
  EXPECT_EQ(rig.zone.queries("www.test"), 2u);
  EXPECT_EQ(rig.zone.queries("www.test", kDnsA), 1u);
  ASSERT_EQ(rig.network.dns_queries().size(), 2u);
  EXPECT_EQ(rig.network.dns_queries()[1].time, 5 * kMillisecond);
  EXPECT_EQ(rig.network.dns_queries()[1].type, kDnsAaaa);
}

TEST(DnsScript, FollowsAliasesAndTellsWhatIsMissing) {
  Rig rig;
  rig.zone.cname("a.test", "b.test", 1)
      .cname("b.test", "c.test", 2)
      .a("c.test", {"192.0.2.9"}, 100);
  Answer a = rig.ask("a.test", kDnsA);
  EXPECT_EQ(a.records, (std::vector<std::string>{"a.test 1 b.test", "b.test 2 c.test",
                                                 "c.test 100 192.0.2.9"}));
  Answer aaaa = rig.ask("a.test", kDnsAaaa);  // the target exists, without such a record
  EXPECT_EQ(aaaa.rcode, 0);
  EXPECT_EQ(aaaa.records.size(), 2u);
  EXPECT_EQ(aaaa.authority, (std::vector<std::string>{"test 60 soa 60"}));
  rig.zone.cname("lost.test", "nowhere.test");
  Answer lost = rig.ask("lost.test", kDnsA);
  EXPECT_EQ(lost.rcode, static_cast<int>(DnsRcode::NxDomain));
  EXPECT_EQ(lost.records.size(), 1u);
  rig.zone.cname("x.test", "y.test").cname("y.test", "x.test");
  EXPECT_EQ(rig.ask("x.test", kDnsA).records.size(), 64u);  // a loop, cut at last
}

TEST(DnsScript, NegativeAnswersAndErrors) {
  Rig rig;
  rig.zone.nxdomain("gone.test", 7).nodata("v4.test", kDnsAaaa, 3).negative_ttl(9);
  Answer gone = rig.ask("gone.test", kDnsA);
  EXPECT_EQ(gone.rcode, static_cast<int>(DnsRcode::NxDomain));
  EXPECT_EQ(gone.authority, (std::vector<std::string>{"test 7 soa 7"}));
  Answer nodata = rig.ask("v4.test", kDnsAaaa);
  EXPECT_EQ(nodata.rcode, 0);
  EXPECT_EQ(nodata.authority, (std::vector<std::string>{"test 3 soa 3"}));
  EXPECT_EQ(rig.ask("unknown.test", kDnsA).authority, (std::vector<std::string>{"test 9 soa 9"}));
  for (const DnsRcode rcode :
       {DnsRcode::ServFail, DnsRcode::Refused, DnsRcode::FormErr, DnsRcode::NotImp}) {
    rig.zone.rcode("bad.test", kDnsAaaa, rcode).a("bad.test", {"192.0.2.1"});
    Answer bad = rig.ask("bad.test", kDnsAaaa);
    EXPECT_EQ(bad.rcode, static_cast<int>(rcode));
    EXPECT_TRUE(bad.authority.empty());
    EXPECT_EQ(rig.ask("bad.test", kDnsA).records.size(), 1u);
  }
}

TEST(DnsScript, DropsTimeOutExactly) {
  Rig rig;
  rig.zone.a("www.test", {"192.0.2.1"}).drop("www.test", kDnsAaaa);
  Answer dropped = rig.ask("www.test", kDnsAaaa, 1500 * kMillisecond);
  EXPECT_EQ(dropped.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(dropped.time, 1500 * kMillisecond);
  rig.zone.delay("www.test", kDnsA, kSecond);
  EXPECT_EQ(rig.ask("www.test", kDnsA, kSecond).status,
            Status::E_DNS_TIMEOUT);  // too late by nothing
  EXPECT_EQ(rig.ask("www.test", kDnsA, kSecond + 1).records.size(), 1u);
  rig.zone.drop_all();
  EXPECT_EQ(rig.ask("www.test", kDnsA, 2 * kSecond).status, Status::E_DNS_TIMEOUT);
  rig.zone.drop_all(false);
  EXPECT_EQ(rig.ask("www.test", kDnsA, 2 * kSecond).records.size(), 1u);
}

TEST(DnsScript, ChangesOverTimeAndRotates) {
  Rig rig;
  rig.zone.a("www.test", {"192.0.2.1"}, 2);
  rig.network.at(10 * kSecond, [&] {
    rig.zone.a("www.test", {"192.0.2.2", "192.0.2.3"}, 2).rotate();
  });
  EXPECT_EQ(rig.ask("www.test", kDnsA).records[0], "www.test 2 192.0.2.1");
  rig.network.run(*rig.loop, 11 * kSecond);
  EXPECT_EQ(rig.ask("www.test", kDnsA).records[0], "www.test 2 192.0.2.2");
  EXPECT_EQ(rig.ask("www.test", kDnsA).records[0], "www.test 2 192.0.2.3");
  EXPECT_EQ(rig.ask("www.test", kDnsA).records[0], "www.test 2 192.0.2.2");
}

TEST(DnsScript, RawBytesPassUnchanged) {
  Rig rig;
  rig.zone.raw("www.test", kDnsA, {1, 2, 3}).raw("www.test", kDnsAaaa, {});
  EXPECT_EQ(rig.ask("www.test", kDnsA).bytes, (std::vector<uint8_t>{1, 2, 3}));
  Answer empty = rig.ask("www.test", kDnsAaaa);
  EXPECT_EQ(empty.status, Status::OK);
  EXPECT_TRUE(empty.bytes.empty());
}

TEST(SimExchange, ServersThatAreNotThereAreUnreachable) {
  Rig rig;
  Answer nobody = rig.ask_at(address_of("192.0.2.54:53"), "www.test", kDnsA, kSecond);
  EXPECT_EQ(nobody.status, Status::E_DNS_UNREACHABLE);
  EXPECT_EQ(nobody.time, kMillisecond);
  rig.network.no_route("192.0.2.55");
  EXPECT_EQ(rig.ask_at(address_of("192.0.2.55:53"), "www.test", kDnsA, kSecond).status,
            Status::E_DNS_UNREACHABLE);
  rig.network.host("192.0.2.53").syn = SimSyn::Drop;
  EXPECT_EQ(rig.ask("www.test", kDnsA).status, Status::E_DNS_TIMEOUT);
}

TEST(SimExchange, HandlersMayGiveSeveralReplies) {
  Rig rig;
  const SocketAddress server = address_of("192.0.2.60:53");
  rig.network.dns(server, [](const DnsQuery& query, Time) {
    std::vector<SimDnsReply> replies(2);
    replies[0] = {
        .kind = SimDnsReply::Kind::Fail, .delay = 20, .failure = {.status = Status::E_FD_LIMIT}};
    replies[1] = {
        .delay = 10,
        .message = DnsMessage(query.name, query.type).a(query.name, "192.0.2.1", 5).bytes()};
    return replies;
  });
  Answer answer = rig.ask_at(server, "www.test", kDnsA, kSecond);
  EXPECT_EQ(answer.time, 10);
  EXPECT_EQ(answer.records.size(), 1u);
}

TEST(SimExchange, DestroyingItAbandonsTheQuery) {
  Rig rig;
  rig.zone.a("www.test", {"192.0.2.1"});
  bool called = false;
  auto exchange = rig.loop->exchange({"www.test", kDnsA, rig.zone.server(), kSecond},
                                     [&](Result<std::vector<uint8_t>>) { called = true; });
  exchange.reset();
  rig.network.run(*rig.loop, kMinute);
  EXPECT_FALSE(called);
  EXPECT_EQ(rig.loop->live_handles(), 0u);
}

}  // namespace
}  // namespace conpool::io
