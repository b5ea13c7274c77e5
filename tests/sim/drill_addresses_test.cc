// The drill of three addresses: one is dead, one is slow, one flaps.
//
//   test-drill --full --gtest_filter='Drill.ThreeAddresses*'     5 hours each, the table of
//   docs/resilience.md
#include <cstdio>

#include "sim/drill_load.h"

namespace conpool::sim {
namespace {

constexpr const char* kDead = "192.0.2.1";
constexpr const char* kSlow = "192.0.2.2";
constexpr const char* kFlapping = "192.0.2.3";
constexpr Nanos kExtra = 300 * kMillisecond;  // round trip of the slow one
constexpr Nanos kUp = 20 * kSecond;
constexpr Nanos kDown = 10 * kSecond;
constexpr Nanos kServiceTime = 2 * kMillisecond;
constexpr Nanos kMeanGap = kSecond / 200;
constexpr uint64_t kConnections = 128;
// To a down server that accepts, in the mean of its outages: what is under way when it goes, and
// the probes.
constexpr uint64_t kMostSentWhileDown = 4;
constexpr double kMostFailed = 0.001;

struct Variant {
  const char* name;
  OptionList endpoint;
  OptionList request;
};

const Variant kDefaults{"defaults", {}, {}};
const Variant kBreakerOff{"breaker off", {{"breaker.mode", "off"}}, {}};
const Variant kEjectionOff{"ejection off", {{"balance.eject_after", "0"}}, {}};
const Variant kBudgetOff{
    "budget off", {{"retry.budget_cost", "0"}, {"retry.budget_timeout_cost", "0"}}, {}};
const Variant kRetriesOff{"retries off", {}, {{"retry.attempts", "1"}, {"retry.stale", "0"}}};
const Variant kAllOff{"breaker, ejection and retries off",
                      {{"breaker.mode", "off"}, {"balance.eject_after", "0"}},
                      {{"retry.attempts", "1"}, {"retry.stale", "0"}}};
const Variant kChecked{"a check each second", {{"health.interval", "1s"}}, {}};
struct Outcomes {
  uint64_t requests = 0;
  uint64_t failed = 0;
  Durations durations;  // of those that were answered
  Durations failures;   // of the others
  uint64_t dead_attempts = 0;
  Durations recoveries;  // from the flapping server's return to its first request
  uint64_t returns = 0;
  uint64_t sent_down = 0;  // requests that reached the flapping one while it was down
  uint64_t retries = 0;
  uint64_t opened = 0;
  std::map<std::string, uint64_t> causes;

  double failed_share() const {
    return static_cast<double>(failed) / static_cast<double>(std::max<uint64_t>(requests, 1));
  }
};

// What the flapping one does while it is down. It begins with a reset of all its connections.
enum class Down : uint8_t { Refuses, ResetsRequests };

Outcomes drill(const Variant& variant, io::SimSyn dead, Down down, Nanos length, uint64_t seed) {
  HttpWorld world(seed);
  Outcomes out;
  world.open({{"events.level", "warning"}, {"events.capacity", "1024"}});
  world.dns.a("drill.test", {kDead, kSlow, kFlapping}, 3600)
      .nodata("drill.test", io::kDnsAaaa, 3600);
  world.network.host(kDead).syn = dead;
  world.network.host(kSlow).latency = kExtra / 2;
  HttpServer& slow = world.serve_http(std::string(kSlow) + ":80");
  HttpServer& flapping = world.serve_http(std::string(kFlapping) + ":80");
  Time returned = kNever;
  bool is_down = false;
  const auto answer = [] { return HttpAnswer{.text = "drill", .head_delay = kServiceTime}; };
  slow.set_log_limit(1);
  flapping.set_log_limit(1);
  slow.set_answer_chooser([&](const HttpRequest&) { return answer(); });
  flapping.set_answer_chooser([&](const HttpRequest& request) {
    const bool check = request.method == "HEAD";
    if (is_down) {
      out.sent_down += check ? 0 : 1;
      return HttpAnswer{.fault = HttpFault::Reset};
    }
    if (returned != kNever && !check)
      out.recoveries.add(world.now() - std::exchange(returned, kNever));
    return answer();
  });
  for (Time at = kUp; at < length; at += kUp + kDown) {
    world.network.at(at, [&, down] {
      if (down == Down::Refuses) flapping.stop_listening();
      flapping.end_connections(origin::Ending::Reset);
      is_down = true;
      returned = kNever;
    });
    if (at + kDown >= length) break;
    world.network.at(at + kDown, [&, down] {
      if (down == Down::Refuses) {
        EXPECT_TRUE(flapping.listen(*parse_address_and_port(std::string(kFlapping) + ":80")));
      }
      is_down = false;
      returned = world.now();
      ++out.returns;
    });
  }

  OptionList endpoint{{"endpoint.max_connections", std::to_string(kConnections)}};
  endpoint.insert(endpoint.end(), variant.endpoint.begin(), variant.endpoint.end());
  OptionList request{{"total.timeout", "5s"}, {"retry.attempts", "3"}};
  for (const auto& [name, value] : variant.request) {
    std::erase_if(request, [&](const auto& option) { return option.first == name; });
    request.emplace_back(name, value);
  }
  {
    Load load(world, world.endpoint("http://drill.test", endpoint), request,
              [&](const Load::End& end) {
                const bool failed = end.status != 0 || end.code != 200;
                ++out.requests;
                out.failed += failed ? 1 : 0;
                if (end.status != 0) ++out.causes[status_name(end.status)];
                (failed ? out.failures : out.durations).add(end.at - end.started);
              });
    Rng rng(seed);
    load.run(length, kMeanGap, rng);
    load.finish();
  }
  for (const io::SimSynRecord& syn : world.network.syns()) {
    if (syn.destination.ip_text() != kDead) continue;
    out.dead_attempts += syn.retry == 0;
  }
  out.retries = static_cast<uint64_t>(world.metric("pool.retries.made"));
  out.opened = static_cast<uint64_t>(world.metric("pool.breaker.opened"));
  EXPECT_EQ(static_cast<uint64_t>(world.metric("pool.requests.made")), out.requests);
  EXPECT_EQ(static_cast<uint64_t>(world.metric("pool.requests.running")), 0u);
  return out;
}

using Count = unsigned long long;

void print_head() {
  std::printf(
      "| variant | requests | failed | p50 ms | p99 ms | longest ms, failed ones | attempts at the "
      "dead one | "
      "sends to the flapping one while down | retries | openings | back after s: median, longest, "
      "seen |\n");
}

void print(const Variant& variant, const Outcomes& out) {
  std::printf(
      "| %s | %llu | %.4f %% | %.0f | %.0f | %.0f, %.0f | %llu | %llu | %llu | %llu | "
      "%.1f, %.1f, %zu of %llu |\n",
      variant.name, Count{out.requests}, 100 * out.failed_share(), out.durations.at(500),
      out.durations.at(990), out.durations.at(1000), out.failures.at(1000),
      Count{out.dead_attempts}, Count{out.sent_down}, Count{out.retries}, Count{out.opened},
      out.recoveries.at(500) / 1000, out.recoveries.at(1000) / 1000, out.recoveries.count(),
      Count{out.returns});
  for (const auto& [cause, count] : out.causes)
    std::printf("    %s: %llu\n", cause.c_str(), Count{count});
  std::fflush(stdout);
}

Nanos drill_length() {
  return full_drills ? 5 * 60 * kMinute : 2 * kMinute;
}

// Attempts at an address that never answers, when nothing but its backoff holds them back: each
// connection's dial may meet it once before anybody knows, and then there is one probe a backoff.
uint64_t most_attempts(Nanos length) {
  constexpr Nanos kShortestBackoff = 24 * kSecond;  // 30 s, a fifth less
  constexpr uint64_t kFirst = 12;                   // steps until the backoff is that long
  return kConnections + kFirst + static_cast<uint64_t>(length / kShortestBackoff);
}

TEST(Drill, ThreeAddressesOfWhichOneIsABlackHole) {
  print_head();
  for (const Variant& variant :
       {kDefaults, kBreakerOff, kEjectionOff, kBudgetOff, kRetriesOff, kAllOff}) {
    const Outcomes out = drill(variant, io::SimSyn::Drop, Down::Refuses, drill_length(), 1);
    print(variant, out);
    const bool retries = std::string(variant.name).find("retries off") == std::string::npos;
    EXPECT_LE(out.failed_share(), retries ? 0 : 0.0005) << variant.name;
    EXPECT_LE(out.durations.at(1000), 5000) << variant.name;
    if (retries) {
      EXPECT_LE(out.dead_attempts, most_attempts(drill_length())) << variant.name;
    }
  }
}

TEST(Drill, ThreeAddressesOfWhichOneRefuses) {
  print_head();
  uint64_t with_ejection = 0;
  for (const Variant& variant :
       {kDefaults, kBreakerOff, kEjectionOff, kBudgetOff, kRetriesOff, kAllOff}) {
    const Outcomes out = drill(variant, io::SimSyn::Refuse, Down::Refuses, drill_length(), 1);
    print(variant, out);
    const bool retries = std::string(variant.name).find("retries off") == std::string::npos;
    EXPECT_LE(out.failed_share(), retries ? 0 : 0.0005) << variant.name;
    if (variant.name == kDefaults.name) with_ejection = out.dead_attempts;
    if (variant.name == kEjectionOff.name) {
      EXPECT_LT(with_ejection, out.dead_attempts);
    }
  }
  EXPECT_LE(with_ejection, most_attempts(drill_length()) - kConnections);
}

// A server that still accepts while it is down: no connect fails. That none of them brings an
// answer is held against its address; otherwise the breaker, which has one verdict for the whole
// endpoint, would shut out the slow one, too.
TEST(Drill, ThreeAddressesOfWhichOneAcceptsAndResetsWhileItIsDown) {
  print_head();
  for (const Variant& variant :
       {kDefaults, kBreakerOff, kEjectionOff, kBudgetOff, kRetriesOff, kAllOff, kChecked}) {
    const Outcomes out = drill(variant, io::SimSyn::Drop, Down::ResetsRequests, drill_length(), 1);
    print(variant, out);
    EXPECT_GT(out.sent_down, 0u) << variant.name;
    EXPECT_LE(out.failed_share(), kMostFailed) << variant.name;
    EXPECT_LE(out.sent_down, (out.returns + 1) * kMostSentWhileDown) << variant.name;
  }
}

}  // namespace
}  // namespace conpool::sim
