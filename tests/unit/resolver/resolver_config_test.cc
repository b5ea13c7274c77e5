// Tests of the resolver's driver: files, search lists, special names and the other backends.
#include "resolver_fixture.h"

namespace conpool::resolver {
namespace {

using testing::Client;
using testing::FakeLoop;
using testing::ip;
using testing::ResolverTest;
using Texts = std::vector<std::string>;
using Addresses = std::vector<SocketAddress>;

struct ConfigTest : ResolverTest {
  void SetUp() override {}  // servers come from resolv.conf
};

TEST_F(ConfigTest, ST_18_SpecialNamesAndLiteralsAskNobody) {
  make();
  const std::vector<std::pair<const char*, const char*>> expected = {
      {"localhost", "AAAA ::1 @0; A 127.0.0.1 @0"},
      {"LOCALHOST.", "AAAA ::1 @0; A 127.0.0.1 @0"},
      {"a.localhost", "AAAA ::1 @0; A 127.0.0.1 @0"},
      {"x.invalid", "AAAA E_DNS_RESERVED @0; A E_DNS_RESERVED @0"},
      {"x.onion", "AAAA E_DNS_RESERVED @0; A E_DNS_RESERVED @0"},
      {"127.0.0.1", "AAAA E_DNS_NO_DATA @0; A 127.0.0.1 @0"},
      {"::1", "AAAA ::1 @0; A E_DNS_NO_DATA @0"}};
  for (const auto& [name, text] : expected) {
    const auto client = ask(name);
    EXPECT_TRUE(client->calls.empty());
    loop.advance(0);
    EXPECT_EQ(client->text(), text) << name;
  }
  EXPECT_TRUE(loop.exchanges.empty());
}

TEST_F(ConfigTest, ST_24_TheHostsFileAnswersWithoutDns) {
  loop.write_file("/etc/hosts", "192.0.2.7 web.test web\n");
  make();
  const auto client = ask("WEB.test");
  loop.advance(0);
  EXPECT_EQ(client->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.7 @0");
  EXPECT_EQ(client->calls[1].answer.expires, kNever);
  EXPECT_TRUE(loop.exchanges.empty());
  EXPECT_TRUE(resolver->cached(*parse_host("web.test")).empty());
}

TEST_F(ConfigTest, ST_24_TheHostsFileIsReadAgainWhenItChanges) {
  loop.write_file("/etc/hosts", "192.0.2.7 web.test\n");
  make();
  ask("web.test");
  loop.write_file("/etc/hosts", "192.0.2.8 web.test\n");
  loop.advance(kSecond - 1);
  const auto early = ask("web.test");
  loop.advance(1);
  EXPECT_EQ(early->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.7 @0");
  const auto late = ask("web.test");
  loop.advance(0);
  EXPECT_EQ(late->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.8 @0");
}

TEST_F(ConfigTest, AnUnreadableFileKeepsWhatWasRead) {
  loop.write_file("/etc/hosts", "192.0.2.7 web.test\n");
  make();
  ask("web.test");
  loop.write_file("/etc/hosts", "192.0.2.8 web.test\n");
  loop.files["/etc/hosts"].readable = false;
  loop.advance(2 * kSecond);
  const auto client = ask("web.test");
  loop.advance(0);
  EXPECT_EQ(client->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.7 @0");
  loop.files["/etc/hosts"].readable = true;
  loop.advance(kSecond);
  const auto later = ask("web.test");
  loop.advance(0);
  EXPECT_EQ(later->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.8 @0");
}

TEST_F(ConfigTest, EmptyPathsReadNothing) {
  values.dns_hosts_file.clear();
  values.dns_resolv_conf.clear();
  loop.write_file("/etc/hosts", "192.0.2.7 web.test\n");
  make();
  const auto client = ask("web.test.");
  EXPECT_EQ(loop.stamps_taken, 0U);
  EXPECT_EQ(queries().at(0), "AAAA web.test @127.0.0.1:53");
}

TEST_F(ConfigTest, ServersComeFromResolvConf) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\nnameserver 2001:db8::1\n");
  make();
  EXPECT_EQ(resolver->servers(),
            (Addresses{ip("192.0.2.1").with_port(53), ip("2001:db8::1").with_port(53)}));
}

TEST_F(ConfigTest, OwnServersOverrideThoseOfResolvConf) {
  values.dns_servers = "192.0.2.9:5353";
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\nsearch a.test\n");
  make();
  const auto client = ask("web");
  EXPECT_EQ(queries().at(0), "AAAA web.a.test @192.0.2.9:5353");
}

TEST_F(ConfigTest, ST_17_AChangedResolvConfIsUsedAfterASecond) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\n");
  make();
  const auto old = ask("web.test.");  // in flight to a dead server
  loop.advance(500 * kMs);
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.2\n");
  loop.advance(500 * kMs);
  answer_all();
  const auto client = ask("web.test.");
  EXPECT_EQ(loop.exchanges.back()->query.server, ip("192.0.2.2").with_port(53));
  loop.advance(20 * kMs);
  EXPECT_EQ(client->text(), "AAAA 2001:db8::1 @10; A 192.0.2.1 @10");
  loop.advance(10 * kSecond);
  EXPECT_EQ(old->calls.size(), 2U);  // the old queries ended by themselves
  EXPECT_EQ(loop.live_handles(), 0U);
}

TEST_F(ConfigTest, ST_17_AnswersOfTheOldServersDoNotEnterTheNewCache) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\n");
  make();
  answer_all(1500 * kMs, 900 * kMs);
  const auto old = ask("web.test.", {.resolve_timeout = 3 * kSecond});
  loop.advance(kSecond);
  EXPECT_EQ(old->text(), "A 192.0.2.1 @900");
  EXPECT_EQ(resolver->cached(*parse_host("web.test.")).size(), 1U);
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.2\n");
  ask("other.test.");
  EXPECT_TRUE(resolver->cached(*parse_host("web.test.")).empty());
  loop.advance(kSecond);
  EXPECT_EQ(old->text(), "A 192.0.2.1 @900; AAAA 2001:db8::1 @1500");
  EXPECT_TRUE(resolver->cached(*parse_host("web.test.")).empty());
}

TEST_F(ConfigTest, ATouchedButEqualResolvConfFlushesNothing) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\n");
  make();
  answer_all();
  ask("web.test.");
  loop.advance(2 * kSecond);
  loop.write_file("/etc/resolv.conf", "# comment\nnameserver 192.0.2.1\n");
  ask("web.test.");
  EXPECT_EQ(loop.exchanges.size(), 2U);
}

TEST_F(ConfigTest, ST_17_WithoutServersTheFileIsLookedAtEachTime) {
  loop.write_file("/etc/resolv.conf", "");
  make();
  ask("a.test.");
  EXPECT_EQ(loop.exchanges.back()->query.server, ip("127.0.0.1").with_port(53));
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.2\n");
  ask("b.test.");  // in the same second
  EXPECT_EQ(loop.exchanges.back()->query.server, ip("192.0.2.2").with_port(53));
}

TEST_F(ConfigTest, FilesAreLookedAtOncePerSecond) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\n");
  make();
  for (int i = 0; i < 10; ++i) {
    ask("web.test.");
    loop.advance(100 * kMs);
  }
  EXPECT_EQ(loop.stamps_taken, 2U);
  ask("web.test.");
  EXPECT_EQ(loop.stamps_taken, 4U);
}

TEST_F(ConfigTest, ST_24_BothFamiliesComeFromOneExpansion) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\nsearch a.test b.test\n");
  make();
  // AAAA exists only under a.test, A only under b.test.
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    const bool v6 = query.type == kTypeAaaa;
    const bool exists = v6 ? query.name == "web.a.test" : query.name == "web.b.test";
    fake.answer_after(index, v6 ? 20 * kMs : 10 * kMs,
                      exists ? message(query, v6 ? "2001:db8::1" : "192.0.2.1") : rcode(query, 3));
  };
  const auto client = ask("web");
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "AAAA 2001:db8::1 @20; A E_DNS_NOT_FOUND @20");
  EXPECT_EQ(client->calls[0].answer.name, "web.a.test");
  EXPECT_EQ(queries(), (Texts{"AAAA web.a.test @192.0.2.1:53", "A web.a.test @192.0.2.1:53"}));
}

TEST_F(ConfigTest, ST_24_TheSearchListIsWalkedAndItsTriesAreAllTold) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\nsearch a.test b.test\n");
  make();
  loop.responder = [&](FakeLoop& fake, size_t index) {
    const io::DnsQuery& query = fake.exchanges[index]->query;
    const bool exists = query.name == "web.b.test" && query.type == kTypeA;
    fake.answer_after(index, 10 * kMs, exists ? message(query, "192.0.2.1") : rcode(query, 3));
  };
  const auto client = ask("web");
  loop.advance(kSecond);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @20; AAAA E_DNS_NOT_FOUND @20");
  const auto& attempts = client->of(Family::V4)->answer.attempts;
  ASSERT_EQ(attempts.size(), 2U);
  EXPECT_EQ(attempts[0].target, "A web.a.test @192.0.2.1:53");
  EXPECT_EQ(attempts[0].failure.status, Status::E_DNS_NOT_FOUND);
  EXPECT_EQ(attempts[1].target, "A web.b.test @192.0.2.1:53");
  EXPECT_EQ(attempts[1].started, 10 * kMs);
}

TEST_F(ConfigTest, ST_18_AbsoluteNamesAndSearchOffAskOnce) {
  loop.write_file("/etc/resolv.conf", "nameserver 192.0.2.1\nsearch a.test\noptions ndots:5\n");
  make();
  ask("web.test.");
  EXPECT_EQ(queries().at(0), "AAAA web.test @192.0.2.1:53");
  loop.exchanges.clear();
  ask("web.test");
  EXPECT_EQ(queries().at(0), "AAAA web.test.a.test @192.0.2.1:53");
  loop.exchanges.clear();
  values.dns_ndots = 1;
  make();
  ask("web.test");
  EXPECT_EQ(queries().at(0), "AAAA web.test @192.0.2.1:53");
  loop.exchanges.clear();
  values.dns_search = 1;
  make();
  ask("web");
  EXPECT_EQ(queries().at(0), "AAAA web @192.0.2.1:53");
}

// --- dns.backend = none

TEST_F(ConfigTest, NoneRefusesNamesAndTakesLiterals) {
  values.dns_backend = static_cast<int64_t>(DnsBackend::None);
  make();
  const auto name = ask("web.test");
  const auto literal = ask("192.0.2.1");
  loop.advance(0);
  EXPECT_EQ(name->text(), "AAAA E_DNS_DISABLED @0; A E_DNS_DISABLED @0");
  EXPECT_EQ(literal->text(), "AAAA E_DNS_NO_DATA @0; A 192.0.2.1 @0");
}

// --- dns.backend = system

struct SystemTest : ConfigTest {
  void SetUp() override {
    values.dns_backend = static_cast<int64_t>(DnsBackend::System);
    loop.write_file("/etc/hosts", "192.0.2.7 web.test\n");
    loop.lookup_function = [](const std::string& name, Family family) -> Result<Addresses> {
      if (name != "web.test") return fail(Status::E_DNS_NOT_FOUND, "no such name");
      if (family == Family::V4) return Addresses{ip("192.0.2.1"), ip("192.0.2.1")};
      return fail(Status::E_DNS_SERVER_FAILURE, "try again");
    };
  }
};

TEST_F(SystemTest, AsksGetaddrinfoPerFamilyAndCaches) {
  make();
  const auto client = ask("web.test");
  ASSERT_EQ(loop.jobs.size(), 2U);
  loop.advance(5 * kMs);
  loop.run_job(1);
  loop.run_job(0);
  loop.advance(0);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @5; AAAA E_DNS_SERVER_FAILURE @5");
  EXPECT_EQ(client->calls[0].answer.expires, client->began + 5 * kMs + 30 * kSecond);
  EXPECT_EQ(client->calls[0].answer.attempts.at(0).target, "A web.test @getaddrinfo");
  EXPECT_EQ(client->calls[1].answer.addresses.error().detail, "try again");
  const auto again = ask("web.test");
  loop.advance(0);
  EXPECT_EQ(again->text(), "AAAA E_DNS_SERVER_FAILURE @0; A 192.0.2.1 @0");
  EXPECT_EQ(loop.jobs.size(), 2U);
}

TEST_F(SystemTest, TheDeadlineAbandonsTheJob) {
  make();
  const auto client = ask("web.test", {.dns_timeout = 2 * kSecond});
  loop.advance(3 * kSecond);
  EXPECT_EQ(client->text(), "AAAA E_DNS_TIMEOUT @2000; A E_DNS_TIMEOUT @2000");
  EXPECT_FALSE(loop.jobs[0]->alive);
  loop.run_job(0);  // its thread may still be running
}

TEST_F(SystemTest, NegativeAnswersAreKeptForTheLeastTtl) {
  make();
  const auto client = ask("other.test", {.v6 = false});
  loop.run_job(0);
  loop.advance(0);
  EXPECT_EQ(client->text(), "A E_DNS_NOT_FOUND @0");
  EXPECT_EQ(client->calls[0].answer.expires, client->began + kSecond);
}

TEST_F(SystemTest, SpecialNamesDoNotGoToTheSystem) {
  make();
  const auto local = ask("localhost");
  const auto reserved = ask("x.onion");
  loop.advance(0);
  EXPECT_EQ(local->text(), "AAAA ::1 @0; A 127.0.0.1 @0");
  EXPECT_EQ(reserved->text(), "AAAA E_DNS_RESERVED @0; A E_DNS_RESERVED @0");
  EXPECT_TRUE(loop.jobs.empty());
}

// --- dns.backend = queue

struct FakeApplication final : ApplicationResolver {
  struct Question {
    std::string name;
    Family family;
    Time deadline;
    Done done;
    bool open = true;
  };
  struct FakeTicket final : Ticket {
    std::shared_ptr<Question> question;
    ~FakeTicket() override { question->open = false; }
  };
  std::unique_ptr<Ticket> ask(const std::string& name, Family family, Time deadline,
                              Done done) override {
    auto question = std::make_shared<Question>();
    question->name = name;
    question->family = family;
    question->deadline = deadline;
    question->done = std::move(done);
    questions.push_back(question);
    auto ticket = std::make_unique<FakeTicket>();
    ticket->question = question;
    return ticket;
  }
  std::vector<std::shared_ptr<Question>> questions;
};

struct ApplicationTest : ConfigTest {
  FakeApplication application;
  void SetUp() override {
    values.dns_backend = static_cast<int64_t>(DnsBackend::Queue);
    make();
    resolver->set_application(&application);
  }
};

TEST_F(ApplicationTest, AnswersArriveAndAreCached) {
  const auto client = ask("web.test");
  ASSERT_EQ(application.questions.size(), 2U);
  EXPECT_EQ(application.questions[0]->family, Family::V6);
  EXPECT_EQ(application.questions[0]->deadline, 5 * kSecond);
  loop.advance(3 * kMs);
  application.questions[1]->done(Addresses{ip("192.0.2.1").with_port(99), ip("2001:db8::1")});
  application.questions[0]->done(Addresses{});
  loop.advance(0);
  EXPECT_EQ(client->text(), "A 192.0.2.1 @3; AAAA E_DNS_NO_DATA @3");
  EXPECT_EQ(client->calls[0].answer.addresses->at(0).port(), 0);
  EXPECT_EQ(client->calls[0].answer.expires, client->began + 3 * kMs + 30 * kSecond);
  const auto again = ask("web.test", {.v6 = false});
  loop.advance(0);
  EXPECT_EQ(again->text(), "A 192.0.2.1 @0");
  EXPECT_EQ(application.questions.size(), 2U);
}

TEST_F(ApplicationTest, EveryNameGoesToTheApplication) {
  ask("localhost");
  ask("web.");
  EXPECT_EQ(application.questions.at(0)->name, "localhost");
  EXPECT_EQ(application.questions.at(2)->name, "web.");
}

TEST_F(ApplicationTest, ItsFailureIsToldInItsOwnWords) {
  const auto client = ask("web.test");
  application.questions[0]->done(fail(Status::E_INVALID, "no tenant of this name"));
  application.questions[1]->done(fail(Status::E_DNS_NOT_FOUND));
  loop.advance(0);
  EXPECT_EQ(client->text(), "AAAA E_DNS_APPLICATION @0; A E_DNS_NOT_FOUND @0");
  EXPECT_EQ(client->calls[0].answer.addresses.error().detail, "no tenant of this name");
  EXPECT_EQ(client->calls[0].answer.attempts.at(0).failure.detail, "no tenant of this name");
}

TEST_F(ApplicationTest, UnansweredIsATimeout) {
  const auto client = ask("web.test");
  loop.advance(6 * kSecond);
  EXPECT_EQ(client->text(), "AAAA E_DNS_TIMEOUT @5000; A E_DNS_TIMEOUT @5000");
  EXPECT_FALSE(application.questions[0]->open);
}

TEST_F(ApplicationTest, TakingItAwayEndsOpenQuestions) {
  const auto client = ask("web.test");
  resolver->set_application(nullptr);
  EXPECT_FALSE(application.questions[0]->open);
  EXPECT_TRUE(client->calls.empty());
  loop.advance(0);
  EXPECT_EQ(client->text(), "A E_DNS_APPLICATION @0; AAAA E_DNS_APPLICATION @0");
  const auto without = ask("other.test");
  loop.advance(0);
  EXPECT_EQ(without->text(), "AAAA E_DNS_APPLICATION @0; A E_DNS_APPLICATION @0");
  EXPECT_NE(without->calls[0].answer.addresses.error().detail.find("no resolver"),
            std::string::npos);
}

}  // namespace
}  // namespace conpool::resolver
