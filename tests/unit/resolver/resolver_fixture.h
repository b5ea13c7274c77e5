// What the driver's tests share: a fake loop, zones to answer from, and clients that note what they
// get.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fake_loop.h"
#include "message_builder.h"
#include "resolver/resolver.h"

namespace conpool::resolver::testing {

// One lookup and the calls its handler received.
struct Client final : LookupHandler {
  struct Call {
    Family family;
    FamilyAnswer answer;
    bool update;
    Time at;
  };

  Client(FakeLoop& loop, Resolver& resolver, std::string_view name, LookupOptions options = {})
      : loop_(loop), began(loop.now()) {
    lookup = resolver.lookup(*parse_host(name), options, this);
    in_call_ = false;
  }
  void on_family(Family family, FamilyAnswer answer) override {
    note(family, std::move(answer), false);
  }
  void on_update(Family family, FamilyAnswer answer) override {
    note(family, std::move(answer), true);
  }

  const Call* of(Family family, bool update = false) const {
    for (const Call& call : calls) {
      if (call.family == family && call.update == update) return &call;
    }
    return nullptr;
  }
  // "AAAA 2001:db8::1 @40; A E_DNS_TIMEOUT @5000": answers with milliseconds since the lookup.
  std::string text() const {
    std::string text;
    for (const Call& call : calls) {
      if (!text.empty()) text += "; ";
      if (call.update) text += "update ";
      text += call.family == Family::V6 ? "AAAA" : "A";
      if (call.answer.addresses) {
        for (const SocketAddress& address : *call.answer.addresses)
          text += " " + address.ip_text();
      } else {
        text += " " + std::string(status_name(call.answer.addresses.error().status));
      }
      if (call.answer.stale) text += " stale";
      text += " @" + std::to_string((call.at - began) / kMillisecond);
    }
    return text;
  }

  std::unique_ptr<Lookup> lookup;
  std::vector<Call> calls;
  std::function<void()> on_call;

 private:
  void note(Family family, FamilyAnswer answer, bool update) {
    EXPECT_FALSE(in_call_) << "a handler ran inside lookup()";
    calls.push_back({family, std::move(answer), update, loop_.now()});
    if (on_call) on_call();
  }
  FakeLoop& loop_;
  bool in_call_ = true;

 public:
  const Time began;
};

struct ResolverTest : ::testing::Test {
  static constexpr Nanos kMs = kMillisecond;

  FakeLoop loop;
  Values values = default_values();
  std::unique_ptr<Resolver> resolver;

  void SetUp() override { values.dns_servers = "192.0.2.53"; }
  Resolver& make() {
    resolver = std::make_unique<Resolver>(loop, values);
    return *resolver;
  }
  std::unique_ptr<Client> ask(std::string_view name, LookupOptions options = {}) {
    return std::make_unique<Client>(loop, *resolver, name, options);
  }
  static MessageBuilder::Bytes message(const io::DnsQuery& query, std::string_view address,
                                       uint32_t ttl = 60) {
    return MessageBuilder(query.name, query.type, 0).address(query.name, ttl, address).bytes();
  }
  static MessageBuilder::Bytes rcode(const io::DnsQuery& query, unsigned code,
                                     uint32_t soa_ttl = 0) {
    MessageBuilder builder(query.name, query.type, code);
    if (soa_ttl > 0) builder.soa("", soa_ttl, soa_ttl);
    return builder.bytes();
  }
  // Answers each query after `delay`: 2001:db8::1 and 192.0.2.1.
  void answer_all(Nanos v6_delay = 10 * kMs, Nanos v4_delay = 10 * kMs, uint32_t ttl = 60) {
    loop.responder = [=](FakeLoop& fake, size_t index) {
      const io::DnsQuery& query = fake.exchanges[index]->query;
      const bool v6 = query.type == kTypeAaaa;
      fake.answer_after(index, v6 ? v6_delay : v4_delay,
                        message(query, v6 ? "2001:db8::1" : "192.0.2.1", ttl));
    };
  }
  // "AAAA web.test @192.0.2.53:53" of each exchange so far.
  std::vector<std::string> queries() const {
    std::vector<std::string> texts;
    for (const auto& exchange : loop.exchanges) {
      texts.push_back(std::string(family_type_name(exchange->family())) + " " +
                      exchange->query.name + " @" + exchange->query.server.text());
    }
    return texts;
  }
};

}  // namespace conpool::resolver::testing
