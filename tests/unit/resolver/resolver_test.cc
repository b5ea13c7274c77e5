// Tests of the resolver's driver with servers: queries, failover, cache, single flight,
// configuration.
#include "resolver/resolver.h"

#include "resolver_fixture.h"

namespace conpool::resolver {
namespace {

using testing::Client;
using testing::FakeLoop;
using testing::ip;
using testing::MessageBuilder;
using testing::ResolverTest;
using Texts = std::vector<std::string>;

TEST_F(ResolverTest, R1_BothQueriesLeaveInOneTurnAaaaFirst) {
  make();
  const auto client = ask("web.test.");
  EXPECT_EQ(queries(), (Texts{"AAAA web.test @192.0.2.53:53", "A web.test @192.0.2.53:53"}));
}

TEST_F(ResolverTest, R3_FamiliesAreAnsweredWhenKnown) {
  make();
  answer_all(30 * kMs, 20 * kMs);
  const auto client = ask("web.test.");
  EXPECT_TRUE(client->calls.empty());
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @20; AAAA 2001:db8::1 @30");
  const FamilyAnswer& answer = client->of(Family::V4)->answer;
  EXPECT_FALSE(answer.from_cache);
  EXPECT_EQ(answer.expires, client->began + 20 * kMs + kMinute);
  EXPECT_EQ(answer.name, "web.test");
  ASSERT_EQ(answer.attempts.size(), 1U);
  EXPECT_EQ(answer.attempts[0].target, "A web.test @192.0.2.53:53");
  EXPECT_EQ(answer.attempts[0].phase, Phase::Dns);
  EXPECT_EQ(answer.attempts[0].started, 0);
  EXPECT_EQ(answer.attempts[0].duration, 20 * kMs);
  EXPECT_EQ(answer.attempts[0].failure.status, Status::OK);
}

TEST_F(ResolverTest, OneFamilyOnlyWhenOnlyItIsWanted) {
  make();
  answer_all();
  const auto client = ask("web.test.", {.v6 = false});
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @10");
  EXPECT_EQ(queries(), Texts{"A web.test @192.0.2.53:53"});
}

TEST_F(ResolverTest, R9_AnAnswerAfterTheLookupIsGoneFeedsTheCache) {
  make();
  answer_all(400 * kMs, 10 * kMs);
  auto first = ask("web.test.");
  loop.advance(60 * kMs);
  EXPECT_EQ(first->text(), "A 192.0.2.1 @10");
  first.reset();  // IPv4 won
  loop.advance(940 * kMs);
  const auto second = ask("web.test.");
  loop.advance(0);
  EXPECT_EQ(second->text(), "AAAA 2001:db8::1 @0; A 192.0.2.1 @0");
  EXPECT_EQ(loop.exchanges.size(), 2U);
  EXPECT_TRUE(second->of(Family::V6)->answer.from_cache);
  EXPECT_TRUE(second->of(Family::V6)->answer.attempts.empty());
}

TEST_F(ResolverTest, ST_15_FiftyLookupsShareTwoQueries) {
  make();
  answer_all();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 50; ++i)
    clients.push_back(ask("web.test."));
  EXPECT_EQ(loop.exchanges.size(), 2U);
  for (int i = 0; i < 49; ++i)
    clients[i].reset();
  loop.advance(kSecond);
  EXPECT_EQ(clients[49]->text(), "AAAA 2001:db8::1 @10; A 192.0.2.1 @10");
  EXPECT_EQ(resolver->counters().queries, 2U);
  EXPECT_EQ(resolver->counters().joined, 98U);
}

TEST_F(ResolverTest, ST_15_TheLastJoinerLeavingCancelsNothing) {
  make();
  answer_all();
  ask("web.test.").reset();
  EXPECT_EQ(loop.live_handles(), 2U);
  loop.advance(kSecond);
  EXPECT_EQ(loop.live_handles(), 0U);
  EXPECT_EQ(resolver->cached(*parse_host("web.test.")).size(), 2U);
}

TEST_F(ResolverTest, AJoinerCountsTriesFromItsOwnBeginning) {
  make();
  answer_all(100 * kMs, 100 * kMs);
  const auto first = ask("web.test.");
  loop.advance(60 * kMs);
  const auto second = ask("web.test.");
  loop.advance(kSecond);
  const Attempt& attempt = second->of(Family::V4)->answer.attempts.at(0);
  EXPECT_EQ(attempt.started, 0);
  EXPECT_EQ(attempt.duration, 40 * kMs);
}

TEST_F(ResolverTest, ST_12_AaaaTroubleIsToldAtOnceAndNegativesAreKeptForAaaaOnly) {
  for (const auto& [code, status] : {std::pair{3U, "E_DNS_NOT_FOUND"},
                                     {2U, "E_DNS_SERVER_FAILURE"},
                                     {5U, "E_DNS_REFUSED"},
                                     {1U, "E_DNS_SERVER_FAILURE"}}) {
    make();
    loop.responder = [&, code = code](FakeLoop& fake, size_t index) {
      const io::DnsQuery& query = fake.exchanges[index]->query;
      fake.answer_after(
          index, 10 * kMs,
          query.type == kTypeAaaa ? rcode(query, code, 60) : message(query, "192.0.2.1"));
    };
    const auto client = ask("web.test.");
    loop.advance(kSecond);
    EXPECT_EQ(client->text(), std::string("AAAA ") + status + " @10; A 192.0.2.1 @10");
    const auto cached = resolver->cached(*parse_host("web.test."));
    if (code == 3U) {
      ASSERT_EQ(cached.size(), 2U);
      EXPECT_EQ(cached[0].kind, CacheFinding::Kind::Negative);
      EXPECT_EQ(cached[1].kind, CacheFinding::Kind::Fresh);
    }
  }
}

TEST_F(ResolverTest, ST_13_ASilentServerCostsOneTimeout) {
  values.dns_servers = "192.0.2.53,192.0.2.54";
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    if (query.server.ip_text() == "192.0.2.54" && query.type == kTypeA) {
      fake.answer_after(index, kMs, message(query, "192.0.2.1"));
    }
  };
  const auto client = ask("web.test.", {.v6 = false});
  loop.advance(6 * kSecond);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @1001");
  const auto& attempts = client->of(Family::V4)->answer.attempts;
  ASSERT_EQ(attempts.size(), 2U);
  EXPECT_EQ(attempts[0].failure.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(attempts[0].duration, kSecond);
  EXPECT_EQ(attempts[1].started, kSecond);
  EXPECT_EQ(attempts[1].target, "A web.test @192.0.2.54:53");
  // R10: the silent one goes last now.
  EXPECT_EQ(resolver->servers()[0], ip("192.0.2.54").with_port(53));
}

TEST_F(ResolverTest, ST_13_AnUnreachableServerCostsNothing) {
  values.dns_servers = "192.0.2.53,192.0.2.54";
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    if (query.server.ip_text() == "192.0.2.53") {
      fake.answer_after(index, kMs, fail(Status::E_DNS_UNREACHABLE));
    } else {
      fake.answer_after(index, kMs, message(query, "192.0.2.1"));
    }
  };
  const auto client = ask("web.test.", {.v6 = false});
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @2");
}

TEST_F(ResolverTest, ST_13_TwoSilentServersEndAtTheDeadline) {
  values.dns_servers = "192.0.2.53,192.0.2.54";
  make();
  const auto client = ask("web.test.");
  loop.advance(10 * kSecond);
  EXPECT_EQ(client->text(), "AAAA E_DNS_TIMEOUT @5000; A E_DNS_TIMEOUT @5000");
  const auto& attempts = client->of(Family::V6)->answer.attempts;
  ASSERT_EQ(attempts.size(), 5U);
  for (const Attempt& attempt : attempts) {
    EXPECT_EQ(attempt.failure.status, Status::E_DNS_TIMEOUT);
    EXPECT_EQ(attempt.duration, kSecond);
  }
  EXPECT_EQ(loop.live_handles(), 0U);
}

TEST_F(ResolverTest, ALookupWithLessTimeDoesNotEndTheQuery) {
  make();
  answer_all(300 * kMs, 300 * kMs);
  const auto patient = ask("web.test.");
  const auto hasty = ask("web.test.", {.dns_timeout = 100 * kMs});
  loop.advance(kSecond);
  EXPECT_EQ(patient->text(), "AAAA 2001:db8::1 @300; A 192.0.2.1 @300");
  EXPECT_EQ(hasty->text(),
            "AAAA E_DNS_TIMEOUT @100; A E_DNS_TIMEOUT @100; "
            "update AAAA 2001:db8::1 @300; update A 192.0.2.1 @300");
  EXPECT_EQ(hasty->of(Family::V4)->answer.attempts.at(0).duration, 100 * kMs);
  EXPECT_EQ(loop.exchanges.size(), 2U);
}

TEST_F(ResolverTest, AJoinerWithMoreTimeKeepsTheQueryGoing) {
  make();
  const auto hasty = ask("web.test.", {.dns_timeout = 500 * kMs});
  const auto patient = ask("web.test.");
  answer_all(kMs, kMs);
  loop.advance(6 * kSecond);
  // The running try had the first lookup's time only; the next one has the second's.
  EXPECT_EQ(patient->text(), "AAAA 2001:db8::1 @501; A 192.0.2.1 @501");
  EXPECT_EQ(hasty->calls[0].at - hasty->began, 500 * kMs);
}

TEST_F(ResolverTest, FailedLookupsAreNotRepeatedAtOnce) {
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    fake.answer_after(index, kMs, rcode(fake.exchanges[index]->query, 2));
  };
  ask("web.test.");
  loop.advance(10 * kMs);
  const auto second = ask("web.test.");
  loop.advance(10 * kMs);
  EXPECT_EQ(second->text(), "AAAA E_DNS_SERVER_FAILURE @0; A E_DNS_SERVER_FAILURE @0");
  EXPECT_TRUE(second->calls[0].answer.from_cache);
  EXPECT_EQ(loop.exchanges.size(), 2U);
  loop.advance(kSecond);
  ask("web.test.");
  EXPECT_EQ(loop.exchanges.size(), 4U);
}

TEST_F(ResolverTest, ST_14_AHundredLookupsInOneTtlAskOnce) {
  make();
  answer_all(kMs, kMs, 2);
  for (int i = 0; i < 100; ++i) {
    ask("web.test.");
    loop.advance(10 * kMs);
  }
  EXPECT_EQ(loop.exchanges.size(), 2U);
  loop.advance(kSecond + 2 * kMs);
  ask("web.test.");
  EXPECT_EQ(loop.exchanges.size(), 4U);
  EXPECT_EQ(resolver->counters().cache_hits, 198U);
}

TEST_F(ResolverTest, ST_14_NodataIsAskedOncePerSoaTtl) {
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    fake.answer_after(index, kMs, rcode(fake.exchanges[index]->query, 0, 3));
  };
  for (int i = 0; i < 90; ++i) {
    ask("web.test.", {.v4 = false});
    loop.advance(100 * kMs);
  }
  EXPECT_EQ(loop.exchanges.size(), 3U);
}

TEST_F(ResolverTest, ST_19_AStaleAnswerServesWhenServersAreSilent) {
  make();
  answer_all(kMs, kMs, 1);
  ask("web.test.");
  loop.advance(3 * kSecond);
  loop.responder = nullptr;
  const auto client = ask("web.test.");
  loop.advance(6 * kSecond);
  EXPECT_EQ(client->text(), "AAAA 2001:db8::1 stale @1800; A 192.0.2.1 stale @1800");
  ASSERT_EQ(client->calls[0].answer.attempts.size(), 1U);  // the try that timed out after a second
  EXPECT_EQ(client->calls[0].answer.attempts[0].failure.status, Status::E_DNS_TIMEOUT);
  EXPECT_EQ(resolver->counters().stale_served, 2U);
}

TEST_F(ResolverTest, ST_19_OptimisticServesAtOnceAndUpdates) {
  values.dns_optimistic = 1;
  make();
  answer_all(kMs, kMs, 1);
  ask("web.test.");
  loop.advance(3 * kSecond);
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    fake.answer_after(index, 20 * kMs,
                      query.type == kTypeAaaa ? rcode(query, 3) : message(query, "192.0.2.2"));
  };
  const auto client = ask("web.test.");
  loop.advance(kSecond);
  EXPECT_EQ(client->text(),
            "AAAA 2001:db8::1 stale @0; A 192.0.2.1 stale @0; "
            "update AAAA E_DNS_NOT_FOUND @20; update A 192.0.2.2 @20");
}

TEST_F(ResolverTest, ST_19_NxdomainBeatsStale) {
  make();
  answer_all(kMs, kMs, 1);
  ask("web.test.");
  loop.advance(3 * kSecond);
  loop.responder = [&](FakeLoop& fake, size_t index) {
    fake.answer_after(index, kMs, rcode(fake.exchanges[index]->query, 3));
  };
  const auto client = ask("web.test.");
  loop.advance(3 * kSecond);
  EXPECT_EQ(client->text(), "AAAA E_DNS_NOT_FOUND @1; A E_DNS_NOT_FOUND @1");
}

TEST_F(ResolverTest, PrefetchKeepsABusyNameFresh) {
  make();
  answer_all(kMs, kMs, 100);
  ask("web.test.");
  loop.advance(95 * kSecond);
  const auto hit = ask("web.test.");
  loop.advance(10 * kMs);
  EXPECT_EQ(hit->text(), "AAAA 2001:db8::1 @0; A 192.0.2.1 @0");
  EXPECT_EQ(loop.exchanges.size(), 4U);
  EXPECT_EQ(resolver->counters().refreshes, 2U);
  loop.advance(50 * kSecond);
  const auto later = ask("web.test.");
  loop.advance(0);
  EXPECT_EQ(later->text(), "AAAA 2001:db8::1 @0; A 192.0.2.1 @0");
  EXPECT_EQ(loop.exchanges.size(), 4U);
}

TEST_F(ResolverTest, ASuspectNameIsAskedAgain) {
  make();
  answer_all();
  ask("web.test.");
  loop.advance(2 * kSecond);
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    fake.answer_after(index, kMs,
                      message(query, query.type == kTypeAaaa ? "2001:db8::2" : "192.0.2.2"));
  };
  resolver->mark_suspect(*parse_host("web.test."));
  const auto client = ask("web.test.");
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "AAAA 2001:db8::2 @1; A 192.0.2.2 @1");
}

TEST_F(ResolverTest, ASuspectNameStaysUsableWhileServersAreSilent) {
  make();
  answer_all();
  ask("web.test.");
  loop.advance(2 * kSecond);
  loop.responder = nullptr;
  resolver->mark_suspect(*parse_host("web.test."));
  const auto client = ask("web.test.");
  loop.advance(2 * kSecond);
  EXPECT_EQ(client->text(), "AAAA 2001:db8::1 stale @1800; A 192.0.2.1 stale @1800");
}

TEST_F(ResolverTest, FlushAsksAgain) {
  make();
  answer_all();
  ask("web.test.");
  loop.advance(kSecond);
  resolver->flush();
  ask("web.test.");
  EXPECT_EQ(loop.exchanges.size(), 4U);
}

TEST_F(ResolverTest, ST_20_HostileAnswersEndInAnErrorOrTheNextServer) {
  values.dns_servers = "192.0.2.53,192.0.2.54";
  make();
  const std::vector<std::vector<uint8_t>> bad = {
      {},
      {0},
      MessageBuilder("other.test", Family::V4).address("web.test", 60, "192.0.2.66").bytes(),
      MessageBuilder("web.test", Family::V4).set(2, 0x01).bytes(),
      MessageBuilder("web.test", Family::V4).cname("web.test", 1, "web.test").bytes()};
  for (const auto& bytes : bad) {
    resolver->flush();
    loop.responder = [&](FakeLoop& fake, size_t index) {
      const io::DnsQuery& query = fake.exchanges[index]->query;
      const bool first = query.server.ip_text() == "192.0.2.53";
      fake.answer_after(index, kMs, first ? bytes : message(query, "192.0.2.1"));
    };
    const auto client = ask("web.test.", {.v6 = false});
    loop.advance(kSecond);
    EXPECT_EQ(client->text(), "A 192.0.2.1 @2");
    EXPECT_EQ(client->calls[0].answer.attempts[0].failure.status, Status::E_DNS_BAD_ANSWER);
  }
}

TEST_F(ResolverTest, OwnTroubleIsNotRemembered) {
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    fake.answer_after(index, kMs, fail(Status::E_FD_LIMIT));
  };
  const auto first = ask("web.test.");
  loop.advance(2 * kMs);
  EXPECT_EQ(first->text(), "AAAA E_FD_LIMIT @1; A E_FD_LIMIT @1");
  answer_all();
  const auto second = ask("web.test.");
  loop.advance(kSecond);
  EXPECT_EQ(second->text(), "AAAA 2001:db8::1 @10; A 192.0.2.1 @10");
}

TEST_F(ResolverTest, ABadServerListFailsLookupsWithItsReason) {
  values.dns_servers = "bogus";
  EXPECT_EQ(Resolver::check(values).error().status, Status::E_OPTION_TYPE);
  make();
  const auto client = ask("web.test.");
  loop.advance(0);
  EXPECT_EQ(client->text(), "AAAA E_OPTION_TYPE @0; A E_OPTION_TYPE @0");
  EXPECT_TRUE(loop.exchanges.empty());
  values.dns_servers = "192.0.2.1";
  EXPECT_TRUE(Resolver::check(values));
}

// --- lifetimes

TEST_F(ResolverTest, ALookupMayBeDestroyedInsideItsHandler) {
  make();
  answer_all();
  auto client = ask("web.test.");
  client->on_call = [&] { client->lookup.reset(); };
  loop.advance(kSecond);
  EXPECT_EQ(client->calls.size(), 1U);
}

TEST_F(ResolverTest, AHandlerMayDestroyAnotherLookup) {
  make();
  answer_all();
  const auto first = ask("web.test.");
  const auto second = ask("web.test.");
  first->on_call = [&] { second->lookup.reset(); };
  loop.advance(kSecond);
  EXPECT_EQ(first->calls.size(), 2U);
  // The first AAAA call came before any of the second's.
  EXPECT_TRUE(second->calls.empty());
}

TEST_F(ResolverTest, TheResolverMayBeDestroyedInsideAHandler) {
  make();
  answer_all();
  const auto client = ask("web.test.");
  client->on_call = [&] { resolver.reset(); };
  loop.advance(kSecond);
  EXPECT_EQ(client->calls.size(), 1U);
  EXPECT_EQ(loop.live_handles(), 0U);
}

TEST_F(ResolverTest, TheResolverMayGoBeforeItsLookups) {
  make();
  const auto client = ask("web.test.");
  resolver.reset();
  EXPECT_EQ(loop.live_handles(), 0U);
  loop.advance(10 * kSecond);
  EXPECT_TRUE(client->calls.empty());
}

TEST_F(ResolverTest, ADeferredAnswerIsDroppedWithItsLookup) {
  make();
  auto client = ask("localhost");
  client->lookup.reset();
  loop.advance(kSecond);
  EXPECT_TRUE(client->calls.empty());
}

TEST_F(ResolverTest, AHandlerMayStartALookup) {
  make();
  std::unique_ptr<Client> second;
  const auto first = ask("localhost");
  first->on_call = [&] {
    if (!second) second = ask("localhost");
  };
  loop.advance(0);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->calls.size(), 2U);
}

// Destroying lookups at every moment of a busy resolver leaks nothing and calls nobody twice.
TEST_F(ResolverTest, LookupsCancelledAtEveryMoment) {
  values.dns_servers = "192.0.2.53,192.0.2.54";
  for (Nanos cut = 0; cut < 60 * kMs; cut += kMs) {
    make();
    loop.responder = [&](FakeLoop& fake, size_t index) {
      const io::DnsQuery& query = fake.exchanges[index]->query;
      const bool v6 = query.type == kTypeAaaa;
      const bool first = query.server.ip_text() == "192.0.2.53";
      fake.answer_after(index, v6 ? 10 * kMs : 20 * kMs,
                        first ? rcode(query, 2) : message(query, v6 ? "::1" : "127.0.0.1"));
    };
    auto client = ask("web.test.");
    const auto other = ask("web.test.");
    loop.advance(cut);
    client->lookup.reset();
    const size_t calls = client->calls.size();
    loop.advance(kSecond);
    EXPECT_EQ(client->calls.size(), calls);
    EXPECT_EQ(other->text(), "AAAA ::1 @20; A 127.0.0.1 @40");
    EXPECT_EQ(loop.live_handles(), 0U);
    resolver.reset();
  }
}

}  // namespace
}  // namespace conpool::resolver
