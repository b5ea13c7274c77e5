// The drill of a full outage: a thousand clients of one host that is dead.
#include <algorithm>
#include <cstdio>

#include "sim/drill_load.h"

namespace conpool::sim {
namespace {

constexpr uint64_t kClients = 1000;
constexpr Nanos kBin = 10 * kMillisecond;
constexpr int kGoodDays = 30;        // requests that succeed before the host dies
constexpr uint64_t kMostExtra = 20;  // retry.budget / retry.budget_cost
constexpr double kFew = 15;          // of a thousand clients in 10 ms

Nanos length() {
  return full_drills ? 30 * kSecond : 3 * kSecond;
}

// When the host dies.
enum class Dying : uint8_t {
  Before,    // before the clients come: every connect is refused
  InFlight,  // with a request of each client in flight: resets, then refusals
};

struct Storm {
  uint64_t requests = 0;
  uint64_t retries = 0;
  uint64_t most_retries = 0;   // of one client
  uint64_t attempts = 0;       // connects at the dead host
  std::vector<uint64_t> bins;  // retries, by time since the host died
};

// Retries without a pause of half a second between them: those of the outage's begin, then those of
// the breakers' trials.
struct Wave {
  size_t first = 0;
  size_t last = 0;
  uint64_t retries = 0;
  uint64_t fullest = 0;

  double mean() const {
    return static_cast<double>(retries) / static_cast<double>(last - first + 1);
  }
};

std::vector<Wave> waves_of(const std::vector<uint64_t>& bins) {
  constexpr size_t kPause = 50;
  std::vector<Wave> waves;
  for (size_t bin = 0; bin < bins.size(); ++bin) {
    if (bins[bin] == 0) continue;
    if (waves.empty() || bin - waves.back().last > kPause) waves.push_back({.first = bin});
    Wave& wave = waves.back();
    wave.last = bin;
    wave.retries += bins[bin];
    wave.fullest = std::max(wave.fullest, bins[bin]);
  }
  return waves;
}

// The number after `"name":` in a line of JSON.
int64_t number_in(const std::string& line, const std::string& name) {
  const size_t at = line.find("\"" + name + "\":");
  return at == std::string::npos ? -1 : std::stoll(line.substr(at + name.size() + 3));
}

// When each retry that a delay was drawn for was due.
std::vector<Time> retry_times(HttpWorld& world) {
  std::vector<Time> times;
  const std::string text = world.events();
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    if (line.find("\"event\":\"request.retry\"") != std::string::npos)
      times.push_back(number_in(line, "time_ns") + number_in(line, "delay_ns"));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return times;
}

// `per_second` = 0: one request of each client, when the host dies.
Storm storm(Dying dying, uint64_t per_second, const OptionList& options) {
  Storm out;
  std::shared_ptr<tls::Library> library;
  for (uint64_t client = 1; client <= kClients; ++client) {
    HttpWorld world(client);
    world.library = library;
    world.open({{"events.level", "info"}, {"events.capacity", "4096"}});
    library = world.library;
    world.dns.a("dead.test", {"192.0.2.1"}, 3600).nodata("dead.test", io::kDnsAaaa, 3600);
    HttpServer& server = world.serve_http("192.0.2.1:80");
    server.set_answer(HttpAnswer{.text = "alive", .head_delay = 100 * kMillisecond});
    Time dead_at = 0;
    size_t connects = 0;
    uint64_t before = 0;
    {
      Load load(world, world.endpoint("http://dead.test", options), {{"retry.attempts", "3"}},
                [](const Load::End&) {});
      if (dying == Dying::InFlight) {
        for (int i = 0; i < kGoodDays; ++i) {
          load.start();
          load.finish();
        }
        load.start();
        load.take_until(world.now() + 50 * kMillisecond);
      }
      server.kill();
      dead_at = world.now();
      before = load.started() - (dying == Dying::InFlight ? 1 : 0);
      connects = world.network.first_syns().size();
      if (per_second == 0) {
        if (dying == Dying::Before) load.start();
      } else {
        Rng rng(client);
        load.take_until(dead_at +
                        static_cast<Nanos>(rng.up_to(static_cast<uint64_t>(kSecond) / per_second)));
        load.run(dead_at + length(), kSecond / static_cast<Nanos>(per_second), rng);
      }
      load.finish();
      out.requests += load.started() - before;
    }
    const auto retries = static_cast<uint64_t>(world.metric("pool.retries.made"));
    out.retries += retries;
    out.most_retries = std::max(out.most_retries, retries);
    out.attempts += world.network.first_syns().size() - connects;
    const std::vector<Time> times = retry_times(world);
    EXPECT_EQ(times.size(), retries);
    for (const Time time : times) {
      const auto bin = static_cast<size_t>((time - dead_at) / kBin);
      if (out.bins.size() <= bin) out.bins.resize(bin + 1);
      ++out.bins[bin];
    }
  }
  return out;
}

TEST(Drill, AThousandClientsOfADeadHost) {
  std::printf("| load | breaker | requests | retries | of one client | connects to the host |\n");
  struct Row {
    const char* name;
    Dying dying;
    uint64_t per_second;
    // Connects of a request after the host died: its first, or its re-send for a used connection.
    uint64_t connects;
  };
  for (const Row& row : {Row{"one request each at one instant", Dying::Before, 0, 1},
                         Row{"one request each in flight when it dies", Dying::InFlight, 0, 1},
                         Row{"20 a second each", Dying::Before, 20, 1}}) {
    for (const char* breaker : {"on", "off"}) {
      const Storm out = storm(row.dying, row.per_second, {{"breaker.mode", breaker}});
      const auto count = [](uint64_t n) { return static_cast<unsigned long long>(n); };
      std::printf("| %s | %s | %llu | %llu | %llu | %llu |\n", row.name, breaker,
                  count(out.requests), count(out.retries), count(out.most_retries),
                  count(out.attempts));
      EXPECT_LE(out.most_retries, kMostExtra);
      EXPECT_GE(out.most_retries, row.per_second == 0 ? 2 : kMostExtra / 2);
      if (row.per_second == 0 || std::string(breaker) == "off") {
        EXPECT_EQ(out.attempts, row.connects * out.requests + out.retries);
      }
      for (const Wave& wave : waves_of(out.bins)) {
        std::printf(
            "    %.2f s to %.2f s: %llu retries, %.1f in the mean bin, %llu in the fullest, "
            "%.2f times the mean\n",
            static_cast<double>(wave.first) / 100, static_cast<double>(wave.last + 1) / 100,
            count(wave.retries), wave.mean(), count(wave.fullest),
            static_cast<double>(wave.fullest) / wave.mean());
        // Where they are few, chance alone brings several together.
        EXPECT_LE(static_cast<double>(wave.fullest), std::max<double>(3 * wave.mean(), kFew))
            << row.name << ", breaker " << breaker;
      }
    }
  }
}

}  // namespace
}  // namespace conpool::sim
