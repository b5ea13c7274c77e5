// One random program over one random network, all from a seed: what it does, and what must hold.
#pragma once

#include <set>

#include "base/rng.h"
#include "sim/world.h"

namespace conpool::sim {

// A program starts ops of every kind on one or two queues, takes their events in random portions,
// cancels, releases, lends, closes queues and the pool at random moments, over servers and DNS
// answers that fail at random moments.
//
// What must hold: each op ends exactly once, or not at all once its queue was closed; reads end in
// the order of their start, and so do writes; a lease reads only what was written in it; leases
// stay within the limits; partitions never share a connection; every op ends within its time;
// nothing is left at the end; the same seed leads to the same log.
class RandomProgram {
 public:
  explicit RandomProgram(uint64_t seed);
  ~RandomProgram();
  // Answers a text over everything that happened; the same for the same seed.
  std::string run();

 private:
  struct Lease;
  struct PendingOp {
    conpool_op id = 0;
    uint32_t kind = 0;
    size_t queue = 0;
    uint64_t order = 0;  // among the lease's reads, or writes
    Time started = 0;
    bool cancelled = false;
    bool ended = false;
    size_t endpoint = 0;
    std::shared_ptr<Lease> lease;
    std::unique_ptr<std::string> bytes;  // of a write
  };
  struct Lease {
    conpool_connection* connection = nullptr;  // null once released
    size_t endpoint = 0;
    size_t queue = 0;
    size_t running = 0;
    std::string written;  // accepted to be written, in order
    std::string received;
    uint64_t next_read = 1, last_read = 0;
    uint64_t next_write = 1, last_write = 0;
    bool spoiled = false;  // a transfer was cut short
    bool lent = false;
  };
  struct Site {
    std::string name;
    std::vector<std::string> v4, v6;
    bool echoes = true;
  };
  struct Target {
    conpool_endpoint* endpoint = nullptr;
    size_t site = 0;
    std::string partition;
    std::string key;  // same key: same connections
  };

  bool chance(int percent) { return rng_.between(1, 100) <= percent; }
  int64_t any(int64_t least, int64_t most) { return rng_.between(least, most); }
  std::string time_text(int64_t least_ms, int64_t most_ms) {
    return std::to_string(any(least_ms, most_ms)) + "ms";
  }

  // --- the world
  OptionList options();
  void make_sites();
  void make_host(const std::string& address, const Site& site);
  origin::Script script(bool echoes);
  void script_dns(const Site& site);
  void plan_faults();
  void make_targets();

  // --- the program
  void step();
  void check_limits();
  void acquire();
  void start_on(Lease& lease, const std::shared_ptr<Lease>& keep);
  void cancel_any();
  void release(const std::shared_ptr<Lease>& lease);
  void lend(Lease& lease);
  void consume(size_t queue, Nanos timeout);
  void take(size_t queue, conpool_event* event);
  void granted(PendingOp& op, conpool_event* event);
  void close_queue(size_t queue);
  void finish();
  void drain_queues();
  size_t open_queue();
  PendingOp& start(uint32_t kind, size_t queue);
  void begun(PendingOp& op, conpool_op id, conpool_status status);
  void forget_finished_leases();
  void note(const std::string& line);

  const uint64_t seed_;
  Rng rng_;
  SimPool world_;
  bool tls_ = false;
  std::vector<Site> sites_;
  std::vector<std::string> hosts_;
  std::vector<Target> targets_;
  std::vector<origin::Server*> servers_;
  std::vector<SocketAddress> server_addresses_;
  int64_t endpoint_limit_ = 0;
  int64_t drain_limit_ = 0;
  int64_t pool_limit_ = 0;
  int64_t racing_limit_ = 0;
  Nanos total_timeout_ = 0;
  std::vector<conpool_queue*> queues_;
  std::vector<bool> queue_closed_;
  std::vector<PendingOp> ops_;
  std::map<conpool_op, size_t> by_id_;
  std::vector<std::shared_ptr<Lease>> leases_;
  std::vector<conpool_chunk*> chunks_;
  std::map<std::string, std::string> key_of_connection_;
  std::string log_;
};

}  // namespace conpool::sim
