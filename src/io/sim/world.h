// World: what the network, its sockets and the loop share: the clock, events, rules, records.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <set>
#include <unordered_set>

#include "io/sim/sim_world.h"

namespace conpool::io::sim {

class SimListener;
class SimSocketImpl;

// An address, prefix or everything, with an optional port.
struct Place {
  Family family = Family::None;  // None = everything
  std::array<uint8_t, 16> ip{};
  unsigned bits = 0;
  uint16_t port = 0;  // 0 = any
  std::string path;

  static Place parse(std::string_view text);  // asserts that the text is a place
  bool holds(const SocketAddress& address) const;
  // More specific places have more weight.
  unsigned weight() const {
    return family == Family::None ? 0 : 1 + bits * 2 + (port != 0 ? 1 : 0);
  }
  bool operator==(const Place&) const = default;
};

struct Rule {
  Place place;
  SimHost host;
  uint64_t number = 0;
};

struct SourceRule {
  Place place;
  bool route = true;
  SocketAddress source;
};

struct File {
  std::string content;
  FileStamp stamp;
};

// What a note in the record is about.
enum class Note : uint8_t {
  Connect,
  ConnectFailed,
  Syn,
  SynLost,
  SynAck,
  LateSynAck,
  Accept,
  Refused,
  Unreachable,
  Data,
  Fin,
  Rst,
  Lost,
  TimedOut,
  Close,
  Abort,
  Listen,
  Unlisten,
  DnsQuery,
  DnsAnswer,
  DnsTimeout,
  Job,
};

class World {
 public:
  using EventId = uint64_t;

  World();
  ~World();

  // --- time and events ------------------------------------------------------------------------
  Time now() const { return now_; }
  void set_now(Time now) { now_ = now; }
  EventId at(Time time, Callback<void()> run);
  void cancel(EventId id);
  Time earliest_event();
  // The earliest time at which the loop has anything to do: events, ready sockets, timers,
  // wake-ups.
  Time next_due();
  // Forgets all events; for the network's end.
  void clear();
  // Runs every event that is due and was there before the call.
  void run_due();
  // Has `call` run in the poll of this turn (or the next one), in the order of the calls.
  void ready(Callback<void()> call) { ready_.push_back(std::move(call)); }
  void run_ready();

  // --- rules ------------------------------------------------------------------------------------
  SimHost& host(std::string_view where);
  const Rule& rule(const SocketAddress& address) const;
  uint64_t rules_generation() const { return rules_.size(); }
  Result<SocketAddress> source_for(const SocketAddress& peer) const;
  // The seeded choice number `ordinal` under a rule, as 64 random bits.
  uint64_t choice(uint64_t rule, uint64_t subject, uint64_t ordinal) const;

  // --- records
  // ------------------------------------------------------------------------------------
  void note(Note what, uint64_t subject, uint64_t value = 0, std::string_view text = {});
  SimConnection& connection(uint64_t id) { return connections[id]; }
  uint16_t ephemeral_port();
  uint64_t next_ordinal(const SocketAddress& destination) { return ordinals_[destination]++; }
  void count_connecting(int change);

  uint64_t seed = 0;
  Loop* loop = nullptr;  // the one that lives now
  Callback<bool()> loop_awake;
  bool shuffle = false;
  size_t connects_to_fail = 0;
  int connect_error = 0;
  std::vector<SourceRule> sources;
  std::map<SocketAddress, SimListener*> listeners;
  std::set<std::string> used_paths;  // of unix sockets that were listened on
  std::map<SocketAddress, SimDnsHandler> dns_handlers;
  SimDnsHandler dns_anywhere;
  bool lending = true;
  SimLookupHandler lookup;
  Nanos lookup_delay = 0;  // of the lookups made by the job that runs now
  Nanos job_delay = kMillisecond;
  std::map<std::string, File> files;
  uint64_t next_inode = 1;
  std::map<int, std::unique_ptr<SimSocketImpl>> lent;
  int next_fd = 1000;
  std::vector<SimSynRecord> syns;
  std::vector<SimConnection> connections;
  std::vector<SimDnsRecord> dns_queries;
  SimLive live;
  size_t most_connecting = 0;
  uint64_t digest = 0;
  bool tracing = false;
  std::string trace;

 private:
  struct Event {
    Time time;
    EventId id;
    Callback<void()> run;
  };
  static bool later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.id > b.id;
  }
  void drop_cancelled();
  Event pop();

  Time now_ = 0;
  EventId next_event_ = 1;
  std::vector<Event> events_;  // a heap
  std::unordered_set<EventId> cancelled_;
  std::vector<Callback<void()>> ready_;
  uint64_t polls_ = 0;
  std::deque<Rule> rules_;  // the first one is "*"
  std::map<SocketAddress, uint64_t> ordinals_;
  uint16_t next_port_ = 32768;
};

// The status for an errno while connecting, and on an established connection.
Failure connect_failure(int error, Family family);
Failure stream_failure(int error);

}  // namespace conpool::io::sim
