// The drill of restarts: an hour of steady requests, with a server that starts again every five
// minutes.
#include <malloc.h>

#include <algorithm>
#include <cstdio>

#include "sim/drill_load.h"

namespace conpool::sim {
namespace {

constexpr const char* kPlace = "192.0.2.1:80";
constexpr Nanos kEvery = 5 * kMinute;
constexpr Nanos kAway = 2 * kSecond;
constexpr Nanos kExcepted = 10 * kSecond;  // after a restart
constexpr Nanos kMeanGap = kMinute / 1000;
constexpr int64_t kMostGrowth = 1 << 20;  // of memory: what the simulated network remembers

struct Held {
  int64_t bytes = 0;
  size_t handles = 0;
};

Held held(const HttpWorld& world) {
  return {static_cast<int64_t>(mallinfo2().uordblks), world.loop->live_handles()};
}

class Restarts {
 public:
  Restarts() {
    world_.open({{"events.level", "warning"}, {"events.capacity", "1024"}});
    world_.dns.a("hour.test", {"192.0.2.1"}, 3600).nodata("hour.test", io::kDnsAaaa, 3600);
    server_ = &world_.serve_http(kPlace);
    server_->set_log_limit(1);
    server_->set_answer_chooser([this](const HttpRequest&) {
      return HttpAnswer{.text = "hour",
                        .head_delay = kMillisecond + static_cast<Nanos>(delays_.up_to(3'000'000))};
    });
  }

  void run(uint64_t minutes) {
    minutes_.resize(minutes);
    for (Time at = kEvery; at < static_cast<Time>(minutes) * kMinute; at += kEvery) {
      world_.network.at(at, [this] { server_->kill(); });
      world_.network.at(at + kAway,
                        [this] { EXPECT_TRUE(server_->listen(*parse_address_and_port(kPlace))); });
      ++restarts_;
    }
    Held first{};
    Load load(world_, world_.endpoint("http://hour.test"), {{"retry.attempts", "3"}},
              [this](const Load::End& end) { note(end); });
    Rng rng(7);
    for (uint64_t minute = 0; minute < minutes; ++minute) {
      load.run(static_cast<Time>(minute + 1) * kMinute, kMeanGap, rng);
      if (minute + 1 == minutes) load.finish();
      const Held now = held(world_);
      // Connections come and go with the load; handles are theirs, and two of the listener.
      EXPECT_EQ(now.handles, world_.network.live().client_streams +
                                 world_.network.live().server_streams +
                                 world_.network.live().listeners + world_.network.live().exchanges);
      EXPECT_LE(now.handles, 2 * kMostConnections + 1) << "minute " << minute;
      if (minute == 5) first = now;
      if (minute > 5) {
        EXPECT_LE(now.bytes - first.bytes, kMostGrowth) << "minute " << minute;
      }
    }
    std::printf("memory in use after 6 minutes %lld KiB, in the end %lld KiB\n",
                static_cast<long long>(first.bytes / 1024),
                static_cast<long long>(held(world_).bytes / 1024));
    requests_ = load.started();
  }

  // Each minute's p95 against the median minute's.
  void check_latencies() {
    std::vector<double> all;
    for (const Durations& minute : minutes_)
      all.push_back(minute.at(950));
    std::vector<double> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[sorted.size() / 2];
    std::printf("p95 by minute: median %.2f ms, least %.2f ms, most %.2f ms\n", median,
                sorted.front(), sorted.back());
    for (size_t minute = 0; minute < all.size(); ++minute)
      EXPECT_LE(all[minute], 1.5 * median) << "minute " << minute;
  }

  // The pool's figures against each other and against what the server counted.
  void check_counts() {
    const auto pool = [this](const char* name) {
      return world_.metric(std::string("pool.") + name);
    };
    const auto server = static_cast<int64_t>(server_->http_counts().requests);
    std::printf(
        "%llu requests, %lld sent, %lld came to the server; %lld failed after a restart, %lld of "
        "them refused by the breaker, "
        "%lld retries, %lld breaker openings, %lld connections\n",
        static_cast<unsigned long long>(requests_), static_cast<long long>(pool("requests.sent")),
        static_cast<long long>(server), static_cast<long long>(pool("requests.failed")),
        static_cast<long long>(pool("breaker.refused")),
        static_cast<long long>(pool("retries.made")),
        static_cast<long long>(pool("breaker.opened")),
        static_cast<long long>(pool("connections.opened")));
    EXPECT_EQ(failed_elsewhere_, 0u);
    EXPECT_EQ(pool("requests.made"), static_cast<int64_t>(requests_));
    EXPECT_EQ(pool("requests.running"), 0);
    EXPECT_EQ(pool("requests.done") + pool("requests.failed"), pool("requests.made"));
    EXPECT_EQ(pool("requests.done"), static_cast<int64_t>(answered_));
    // What was sent and did not come was on its way at a restart.
    const int64_t at_restarts = static_cast<int64_t>(restarts_) * kMostConnections;
    EXPECT_GE(pool("requests.sent"), server);
    EXPECT_LE(pool("requests.sent") - server, at_restarts);
    EXPECT_GE(server, pool("requests.done"));
    EXPECT_LE(server - pool("requests.done"), at_restarts);
    EXPECT_EQ(pool("connections.opened"), static_cast<int64_t>(server_->counts().accepted));
    EXPECT_EQ(pool("connections.opened") - pool("connections.closed"), pool("connections.open"));
    EXPECT_EQ(pool("connections.open"), static_cast<int64_t>(server_->counts().open));
    EXPECT_EQ(pool("connections.open"), pool("connections.idle"));
    EXPECT_EQ(pool("leases.granted"), pool("leases.returned") + pool("leases.broken"));
    EXPECT_EQ(pool("leases.active") + pool("waiters.waiting") + pool("waiters.parked"), 0);
    EXPECT_EQ(pool("pinned.bytes"), 0);
  }

 private:
  static constexpr int64_t kMostConnections = 16;  // endpoint.max_connections

  void note(const Load::End& end) {
    const Nanos since = end.started % kEvery;
    const bool excepted = end.started >= kEvery && since < kExcepted;
    // In flight at the restart.
    const bool met = end.started / kEvery != end.at / kEvery;
    if (end.status != 0) failed_elsewhere_ += excepted || met ? 0 : 1;
    if (end.status == 0) ++answered_;
    if (!excepted && !met)
      minutes_[static_cast<size_t>(end.started / kMinute)].add(end.at - end.started);
  }

  HttpWorld world_;
  HttpServer* server_ = nullptr;
  Rng delays_{11};
  std::vector<Durations> minutes_;
  uint64_t restarts_ = 0;
  uint64_t requests_ = 0;
  uint64_t answered_ = 0;
  uint64_t failed_elsewhere_ = 0;
};

TEST(Drill, AnHourOfRestarts) {
  Restarts drill;
  drill.run(full_drills ? 60 : 12);
  drill.check_latencies();
  drill.check_counts();
}

}  // namespace
}  // namespace conpool::sim
