// Plans: their text, what each wrong one is told, and which rules hit what.
#include "fault/plan.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "fault/injector.h"

namespace conpool::fault {
namespace {

Plan plan_of(std::string_view text) {
  Result<Plan> plan = Plan::parse(text);
  EXPECT_TRUE(plan.has_value()) << text << ": " << (plan ? "" : plan.error().detail);
  return plan ? *plan : Plan();
}

std::string complaint_of(std::string_view text) {
  const Result<Plan> plan = Plan::parse(text);
  if (plan) return "";
  EXPECT_EQ(plan.error().status, Status::E_OPTION_RANGE) << text;
  return plan.error().detail;
}

// One occasion of a send that no rule's selector but `requests` looks at.
Occasion send(uint64_t request, uint32_t attempt = 1) {
  return {.ordinal = request,
          .attempt = attempt,
          .sends = request,
          .endpoint = "origin.test:80",
          .address = *parse_address_and_port("192.0.2.1:80")};
}

std::vector<Kind> kinds_of(const Plan& plan, const Occasion& occasion, uint64_t seed = 42) {
  std::vector<Kind> kinds;
  for (const Choice& choice : choose(plan, seed, occasion))
    kinds.push_back(choice.rule->kind);
  return kinds;
}

bool hits(std::string_view text, const Occasion& occasion) {
  return !choose(plan_of(text), 42, occasion).empty();
}

TEST(FaultPlan, EveryKindIsRead) {
  const Plan plan = plan_of(
      "refuse; blackhole;connect_delay delay=50ms-200ms\n tls_alert code=bad_certificate ;; "
      "read_delay delay=1s; slow rate=1000; reset after=100; truncate; close; half_open\n"
      "goaway code=enhance_your_calm; rst_stream code=7; dns_fail code=timeout; "
      "dns_change to=192.0.2.9,2001:db8::9;\n");
  ASSERT_EQ(plan.rules.size(), 14u);
  for (size_t i = 0; i < plan.rules.size(); ++i)
    EXPECT_EQ(plan.rules[i].kind, static_cast<Kind>(i));
  EXPECT_EQ(plan.rules[2].delay_min, 50 * kMillisecond);
  EXPECT_EQ(plan.rules[2].delay_max, 200 * kMillisecond);
  EXPECT_EQ(plan.rules[3].code, 42u);
  EXPECT_EQ(plan.rules[5].rate, 1000u);
  EXPECT_EQ(plan.rules[6].after, 100u);
  EXPECT_EQ(plan.rules[10].code, 11u);
  EXPECT_EQ(plan.rules[11].code, 7u);
  EXPECT_EQ(plan.rules[12].code, Rule::kNoAnswer);
  EXPECT_EQ(plan.rules[13].to.size(), 2u);
  EXPECT_TRUE(plan_of("").rules.empty());
  EXPECT_TRUE(plan_of(" ;\n; \t;").rules.empty());
}

TEST(FaultPlan, CodesHaveDefaults) {
  EXPECT_EQ(plan_of("tls_alert").rules[0].code, 40u);
  EXPECT_EQ(plan_of("goaway").rules[0].code, 0u);
  EXPECT_EQ(plan_of("rst_stream").rules[0].code, 2u);
  EXPECT_EQ(plan_of("dns_fail").rules[0].code, 2u);
}

TEST(FaultPlan, SelectorsAreRead) {
  const Rule rule =
      plan_of(
          "reset p=0.25% every=3 requests=40-60,70,80- attempts=1 sends=5-9 time=5s-10s "
          "endpoint=Origin.Test:80 address=[2001:db8::1]:443")
          .rules.at(0);
  EXPECT_EQ(rule.probability, 2500u);
  EXPECT_EQ(rule.every, 3u);
  ASSERT_EQ(rule.ordinals.size(), 3u);
  EXPECT_EQ(rule.ordinals[1].first, 70u);
  EXPECT_EQ(rule.ordinals[1].last, 70u);
  EXPECT_EQ(rule.ordinals[2].last, UINT64_MAX);
  EXPECT_EQ(rule.attempts.size(), 1u);
  EXPECT_EQ(rule.sends[0].last, 9u);
  EXPECT_EQ(rule.from, 5 * kSecond);
  EXPECT_EQ(rule.until, 10 * kSecond);
  EXPECT_EQ(rule.endpoint, "origin.test:80");
  EXPECT_EQ(rule.address->text(), "[2001:db8::1]:443");
  EXPECT_EQ(plan_of("reset p=100%").rules[0].probability, Rule::kCertain);
  EXPECT_EQ(plan_of("reset p=0.0001%").rules[0].probability, 1u);
  EXPECT_EQ(plan_of("reset time=5s-").rules[0].until, kNever);
  EXPECT_EQ(plan_of("refuse address=unix:/run/x").rules[0].address->path(), "/run/x");
}

// Each wrong plan names its rule, the word, and what would be right.
TEST(FaultPlan, EachWrongPlanIsToldWhy) {
  struct Case {
    const char* text;
    const char* where;
    const char* remedy;
  };
  const Case cases[] = {
      {"resett p=5%", "rule 1: \"resett\" is no kind of fault", "the kinds are refuse, blackhole"},
      {"reset;refuse;explode", "rule 3: \"explode\"", "the kinds are"},
      {"reset 5%", "rule 1 (reset): \"5%\"", "write key=value; the keys are after, p, every"},
      {"reset p=5", "\"p=5\"", "p=5%"},
      {"reset p=0%", "\"p=0%\"", "from 0.0001% to 100%"},
      {"reset p=101%", "\"p=101%\"", "from 0.0001% to 100%"},
      {"reset p=100.5%", "\"p=100.5%\"", "from 0.0001% to 100%"},
      {"reset p=1.%", "\"p=1.%\"", "p=0.5%"},
      {"reset p=0.00001%", "\"p=0.00001%\"", "p=0.5%"},
      {"reset p=-5%", "\"p=-5%\"", "p=5%"},
      {"reset p=5% p=6%", "\"p=6%\"", "it comes twice"},
      {"reset every=0", "\"every=0\"", "every=10"},
      {"reset requests=", "\"requests=\"", "requests=40-60"},
      {"reset requests=0", "\"requests=0\"", "from 1 on"},
      {"reset requests=9-3", "\"requests=9-3\"", "begins with its smaller number"},
      {"reset requests=1,", "\"requests=1,\"", "requests=7"},
      {"reset requests=1,,2", "\"requests=1,,2\"", "requests=7"},
      {"reset requests=-5", "\"requests=-5\"", "requests=7"},
      {"reset connects=1", "\"connects=1\"", "its keys are after, p, every, requests"},
      {"refuse requests=1", "\"requests=1\"", "its keys are p, every, connects"},
      {"dns_fail sends=1", "\"sends=1\"", "its keys are code, p, every, lookups"},
      {"reset time=5s", "\"time=5s\"", "time=5s-10s"},
      {"reset time=5-10", "\"time=5-10\"", "time=5s-10s"},
      {"reset time=10s-5s", "\"time=10s-5s\"", "ends after it begins"},
      {"reset endpoint=", "\"endpoint=\"", "endpoint=example.org"},
      {"reset endpoint=:80", "\"endpoint=:80\"", "endpoint=example.org:443"},
      {"reset endpoint=http://a/", "\"endpoint=http://a/\"", "endpoint=example.org:443"},
      {"reset address=300.1.1.1", "\"address=300.1.1.1\"", "address=192.0.2.1:80"},
      {"reset address=unix:", "\"address=unix:\"", "1 to 107 bytes"},
      {"reset after=-1", "\"after=-1\"", "after=100"},
      {"reset after=1k", "\"after=1k\"", "after=100"},
      {"reset delay=1s", "\"delay=1s\"", "no such key"},
      {"read_delay", "rule 1 (read_delay)", "it needs delay=250ms"},
      {"read_delay delay=2", "\"delay=2\"", "delay=250ms"},
      {"read_delay delay=2s-1s", "\"delay=2s-1s\"", "smaller delay"},
      {"read_delay delay=2h", "\"delay=2h\"", "at most 1h"},
      {"connect_delay", "rule 1 (connect_delay)", "it needs delay=250ms"},
      {"slow", "rule 1 (slow)", "it needs rate=1000"},
      {"slow rate=0", "\"rate=0\"", "from 1 to 1000000000"},
      {"tls_alert code=256", "\"code=256\"", "handshake_failure, "},
      {"rst_stream code=nope", "\"code=nope\"", "refused_stream, "},
      {"dns_fail code=11", "\"code=11\"", "servfail, nxdomain, "},
      {"dns_change", "rule 1 (dns_change)", "it needs to=192.0.2.1"},
      {"dns_change to=", "\"to=\"", "to=192.0.2.1"},
      {"dns_change to=host", "\"to=host\"", "to=192.0.2.1"},
      {"dns_change to=fe80::1%1", "\"to=fe80::1%1\"", "to=192.0.2.1"},
  };
  for (const Case& wrong : cases) {
    const std::string complaint = complaint_of(wrong.text);
    EXPECT_TRUE(complaint.starts_with("fault.plan")) << wrong.text << ": " << complaint;
    EXPECT_NE(complaint.find(wrong.where), complaint.npos) << wrong.text << ": " << complaint;
    EXPECT_NE(complaint.find(wrong.remedy), complaint.npos) << wrong.text << ": " << complaint;
  }
}

TEST(FaultPlan, LimitsHold) {
  std::string rules;
  for (size_t i = 0; i < Plan::kMostRules; ++i)
    rules += "refuse;";
  EXPECT_EQ(plan_of(rules).rules.size(), Plan::kMostRules);
  EXPECT_NE(complaint_of(rules + "refuse").find("more than 64 rules"), std::string::npos);

  EXPECT_TRUE(plan_of(std::string(Plan::kMostBytes, ' ')).rules.empty());
  EXPECT_NE(complaint_of(std::string(Plan::kMostBytes + 1, ' ')).find("may have 8192"),
            std::string::npos);

  std::string ranges = "reset requests=1";
  for (size_t i = 1; i < Plan::kMostRanges; ++i)
    ranges += ",1";
  EXPECT_EQ(plan_of(ranges).rules[0].ordinals.size(), Plan::kMostRanges);
  EXPECT_NE(complaint_of(ranges + ",1").find("at most 32 ranges"), std::string::npos);

  std::string addresses = "dns_change to=192.0.2.1";
  for (size_t i = 1; i < Plan::kMostAddresses; ++i)
    addresses += ",192.0.2.1";
  EXPECT_EQ(plan_of(addresses).rules[0].to.size(), Plan::kMostAddresses);
  EXPECT_NE(complaint_of(addresses + ",192.0.2.1").find("at most 16"), std::string::npos);
}

// Bytes that break a line, or would flood it, are quoted and cut.
TEST(FaultPlan, HostileBytesStayOutOfMessages) {
  for (const std::string& text :
       {std::string("\x01\xff\x80"), std::string("reset \x1b[2J=1"), std::string("reset p=\0%", 10),
        std::string(8000, 'x'), "reset " + std::string(8000, 'y') + "=1"}) {
    const std::string complaint = complaint_of(text);
    EXPECT_FALSE(complaint.empty());
    EXPECT_LT(complaint.size(), 600u);
    for (const char c : complaint)
      EXPECT_TRUE(c >= 0x20 && c < 0x7f) << complaint;
  }
}

// Whatever comes in is either read or refused with a line; pieces of right plans reach deep.
TEST(FaultPlan, RandomTextIsReadOrRefused) {
  const std::string_view pieces[] = {"reset",      "refuse",     "slow",
                                     "half_open",  "dns_change", "goaway",
                                     " ",          "  ",         ";",
                                     "\n",         "=",          "p=",
                                     "5%",         "0.5%",       "every=",
                                     "requests=",  "1-5",        "-",
                                     ",",          "7",          "18446744073709551616",
                                     "time=",      "5s",         "5s-",
                                     "address=",   "192.0.2.1",  "[::1]:80",
                                     "to=",        "after=",     "delay=",
                                     "50ms-200ms", "rate=",      "code=",
                                     "cancel",     "endpoint=",  "a.b:80",
                                     "\t",         "\xc3\xa9",   ".",
                                     "%"};
  Rng rng(7);
  size_t read = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (uint64_t left = rng.up_to(12); left > 0; --left) {
      if (rng.up_to(9) == 0) {
        text.push_back(static_cast<char>(rng.up_to(255)));
      } else {
        text += pieces[rng.up_to(std::size(pieces) - 1)];
      }
    }
    const Result<Plan> plan = Plan::parse(text);
    if (plan) {
      ++read;
      (void)choose(*plan, rng.next(), send(1 + rng.up_to(100)));
    } else {
      EXPECT_EQ(plan.error().status, Status::E_OPTION_RANGE);
      EXPECT_TRUE(plan.error().detail.starts_with("fault.plan")) << plan.error().detail;
    }
  }
  EXPECT_GT(read, 100u);
}

TEST(FaultPlan, OrdinalsAreSelected) {
  for (uint64_t i = 1; i <= 20; ++i) {
    EXPECT_EQ(hits("reset requests=3-5,9,18-", send(i)), (i >= 3 && i <= 5) || i == 9 || i >= 18);
    EXPECT_EQ(hits("reset every=5", send(i)), i % 5 == 0);
    Occasion later = send(i);
    later.sends = 100 + i;
    EXPECT_EQ(hits("reset sends=103", later), i == 3);
  }
  EXPECT_TRUE(hits("reset attempts=2", send(1, 2)));
  EXPECT_FALSE(hits("reset attempts=2", send(1, 1)));
}

TEST(FaultPlan, TimeEndpointAndAddressAreSelected) {
  Occasion now = send(1);
  now.age = 5 * kSecond;
  EXPECT_TRUE(hits("reset time=5s-10s", now));
  EXPECT_FALSE(hits("reset time=5001ms-10s", now));
  EXPECT_FALSE(hits("reset time=1s-5s", now)) << "the end is outside";
  EXPECT_TRUE(hits("reset endpoint=origin.test", now));
  EXPECT_TRUE(hits("reset endpoint=ORIGIN.test:80", now));
  EXPECT_FALSE(hits("reset endpoint=origin.test:81", now));
  EXPECT_FALSE(hits("reset endpoint=rigin.test", now));
  EXPECT_TRUE(hits("reset address=192.0.2.1", now));
  EXPECT_TRUE(hits("reset address=192.0.2.1:80", now));
  EXPECT_FALSE(hits("reset address=192.0.2.1:81", now));
  EXPECT_FALSE(hits("reset address=192.0.2.2", now));
  now.endpoint = "[2001:db8::1]:80";
  EXPECT_TRUE(hits("reset endpoint=[2001:db8::1]", now));
  EXPECT_FALSE(hits("reset endpoint=[2001:db8:", now));
  const Occasion lookup{.point = Point::Lookup, .ordinal = 1, .endpoint = "Origin.Test"};
  EXPECT_TRUE(hits("dns_fail endpoint=origin.test:443", lookup)) << "names have no port";
  EXPECT_FALSE(hits("dns_fail endpoint=other.test", lookup));
}

TEST(FaultPlan, KindsBelongToTheirPoint) {
  EXPECT_FALSE(hits("refuse; blackhole; dns_fail; tls_alert", send(1)));
  Occasion stream = send(1);
  EXPECT_FALSE(hits("goaway; rst_stream", stream)) << "not over HTTP/1.1";
  stream.http2 = true;
  EXPECT_TRUE(hits("goaway", stream));
  EXPECT_TRUE(hits("rst_stream", stream));
}

TEST(FaultPlan, TheFirstThatHitsIsCarriedOutBesideDelays) {
  using enum Kind;
  const Plan plan = plan_of(
      "read_delay delay=1s; reset requests=2; close; slow rate=5; read_delay delay=2s; half_open");
  EXPECT_EQ(kinds_of(plan, send(1)), (std::vector{ReadDelay, Close, Slow}));
  EXPECT_EQ(kinds_of(plan, send(2)), (std::vector{ReadDelay, Reset, Slow}));
  EXPECT_EQ(choose(plan, 42, send(1))[0].delay, kSecond);
}

TEST(FaultPlan, ChanceIsAHashOfSeedRuleOrdinalAndAttempt) {
  const Plan plan = plan_of("reset p=5%");
  std::vector<uint64_t> first;
  for (uint64_t i = 1; i <= 10'000; ++i) {
    if (!choose(plan, 42, send(i)).empty()) first.push_back(i);
  }
  EXPECT_GT(first.size(), 400u);
  EXPECT_LT(first.size(), 600u);
  // In any order, and whatever else happens: the same ones.
  std::vector<uint64_t> backwards;
  for (uint64_t i = 10'000; i >= 1; --i) {
    Occasion occasion = send(i);
    occasion.age = static_cast<Nanos>(i) * kSecond;
    occasion.sends = 77;
    if (!choose(plan, 42, occasion).empty()) backwards.insert(backwards.begin(), i);
  }
  EXPECT_EQ(first, backwards);
  // Another seed, rule or attempt: others.
  size_t same_seed = 0, same_rule = 0, same_attempt = 0;
  const Plan second = plan_of("refuse; reset p=5%");
  for (const uint64_t i : first) {
    same_seed += choose(plan, 43, send(i)).size();
    same_rule += choose(second, 42, send(i)).size();
    same_attempt += choose(plan, 42, send(i, 2)).size();
  }
  EXPECT_LT(same_seed, first.size() / 5);
  EXPECT_LT(same_rule, first.size() / 5);
  EXPECT_LT(same_attempt, first.size() / 5);
}

// These numbers must never change: plans and seeds are written down.
TEST(FaultPlan, ChoicesAreTheSameEverywhereAndForEver) {
  const Plan plan = plan_of("reset p=30%; read_delay p=50% delay=50ms-200ms");
  std::string chosen;
  for (uint64_t i = 1; i <= 30; ++i) {
    for (const Choice& choice : choose(plan, 42, send(i))) {
      chosen += std::to_string(i) + (choice.rule->kind == Kind::Reset ? "R" : "D");
      if (choice.delay > 0) chosen += std::to_string(choice.delay / kMicrosecond);
      chosen += ' ';
    }
  }
  EXPECT_EQ(chosen,
            "1D190556 2R 2D144076 4R 5D176476 6R 11D80184 12D93103 13D193952 19D76571 20R "
            "20D119703 21D113633 23D80586 24D130846 25D199932 28R 28D65325 29D145540 ");
}

TEST(FaultPlan, DelaysLieBetweenTheirBounds) {
  const Plan plan = plan_of("read_delay delay=50ms-200ms");
  Nanos least = kHour, most = 0;
  for (uint64_t i = 1; i <= 1000; ++i) {
    const Nanos delay = choose(plan, 1, send(i)).at(0).delay;
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_GE(least, 50 * kMillisecond);
  EXPECT_LT(least, 52 * kMillisecond);
  EXPECT_LE(most, 200 * kMillisecond);
  EXPECT_GT(most, 198 * kMillisecond);
}

}  // namespace
}  // namespace conpool::fault
