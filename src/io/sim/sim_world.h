// SimNetwork: the script of the simulated world. A loop over it has virtual time and no real
// socket.
//
// Everything happens on one loop: clients and servers live in it together. Time starts at 0 and
// moves only inside Loop::run_turn. All that the network does follows from the script and one seed:
// choices are hashes of (seed, rule, ordinals), so that one more connection elsewhere changes
// nothing here.
//
//   SimNetwork network;
//   network.host("2001:db8::1").syn = SimSyn::Drop;           // black hole
//   network.host("192.0.2.1").latency = 10 * kMillisecond;    // one way
//   network.at(5 * kSecond, [&] { network.host("2001:db8::1").syn = SimSyn::Answer; });
//   std::unique_ptr<Loop> loop = make_sim_loop(network, seed);
//   network.run(*loop, 2 * kSecond);
//   for (const SimSynRecord& syn : network.syns()) …
//
// A listener on the empty address takes every connection to a place where nobody else listens.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"

namespace conpool::io {

// What becomes of a connection attempt.
enum class SimSyn : uint8_t {
  Answer,       // SYN-ACK when something listens there, RST otherwise
  Refuse,       // RST after one round trip
  Drop,         // never answered; the client sends again after 1 s, 3 s, 7 s, …
  Unreachable,  // connect fails with `error`: at once, or `error_after` later
  Stall,        // the kernel accepts, nobody reads, not a byte comes back; needs no listener
};

// How bytes that have arrived are cut into on_data calls.
enum class SimPieces : uint8_t {
  Whole,   // all that waits, up to a slab
  Random,  // one piece of a seeded size per turn
  Bytes,   // one byte per turn
};

// The conditions towards one address or prefix. Fields may change at any time and hold for every
// packet sent, and every attempt that arrives, from then on.
struct SimHost {
  static constexpr uint64_t kNoLimit = UINT64_MAX;

  SimSyn syn = SimSyn::Answer;
  int error = 101;        // ENETUNREACH; for Unreachable
  Nanos error_after = 0;  // for Unreachable: 0 = returned by connect itself

  Nanos latency = kMillisecond / 2;  // one way
  Nanos jitter = 0;                  // up to this much more per packet; order is kept
  Nanos answer_delay = 0;            // before the SYN-ACK or RST that answers a SYN
  uint32_t loss = 0;       // of 1,000,000 packets; a lost one comes after its retransmission time
  uint32_t lose_syns = 0;  // the first n SYNs of each attempt get lost
  uint64_t bandwidth = 0;  // bytes per second, each connection and direction; 0 = unlimited
  size_t send_buffer = 256 * 1024;     // accepted and not yet acknowledged
  size_t receive_buffer = 256 * 1024;  // arrived or on the way and not yet read
  SimPieces pieces = SimPieces::Whole;

  bool vanished = false;  // half-open: packets are lost both ways until this is false again
  uint64_t reset_after_down =
      kNoLimit;  // RST to both ends when the client has received this many bytes
  uint64_t reset_after_up =
      kNoLimit;  // RST to both ends when the server has received this many bytes
  Nanos idle_close =
      0;  // the server's end closes when no byte moved for so long (set before connecting)
  bool reset_discards =
      false;  // an arriving RST throws unread bytes away (Linux keeps them readable)
};

struct SimSynRecord {
  Time time = 0;
  SocketAddress source;
  SocketAddress destination;
  uint64_t connection = 0;
  uint32_t retry = 0;  // 0 = the attempt's first SYN
};

enum class SimOutcome : uint8_t {
  Connecting,
  Established,
  Refused,
  Unreachable,
  Abandoned,  // closed by the client before an answer came
};

struct SimConnection {
  uint64_t id = 0;
  SocketAddress source;
  SocketAddress destination;
  Time started = 0;
  Time established = kNever;  // at the client
  Time accepted = kNever;     // at the server
  Time client_closed = kNever;
  Time server_closed = kNever;
  SimOutcome outcome = SimOutcome::Connecting;
  bool reset = false;        // an RST reached one of the ends
  bool late_answer = false;  // a SYN-ACK came after the client had closed, and was answered by RST
  uint64_t bytes_up = 0;     // received by the server
  uint64_t bytes_down = 0;   // received by the client
};

struct SimLive {
  size_t connecting = 0;      // client streams without an answer yet
  size_t client_streams = 0;  // client streams not closed, connecting ones included
  size_t server_streams = 0;  // accepted and not closed
  size_t listeners = 0;
  size_t exchanges = 0;
  size_t jobs = 0;
  size_t lent = 0;
};

// A reply of a scripted DNS server. The first one that comes within the query's timeout counts.
struct SimDnsReply {
  enum class Kind : uint8_t { Message, Drop, Refused, Fail };
  Kind kind = Kind::Message;
  Nanos delay = 0;               // after the query was sent
  std::vector<uint8_t> message;  // any bytes
  Failure failure;               // for Fail
};
using SimDnsHandler = std::function<std::vector<SimDnsReply>(const DnsQuery& query, Time now)>;

struct SimDnsRecord {
  Time time = 0;
  SocketAddress server;
  std::string name;
  uint16_t type = 0;
};

struct SimLookup {
  Nanos delay = 0;
  Result<std::vector<SocketAddress>> result = std::vector<SocketAddress>{};
};
using SimLookupHandler = std::function<SimLookup(const std::string& name, Family family)>;

// What the holder of a lent descriptor can do with it.
class SimSocket {
 public:
  virtual ~SimSocket() = default;
  virtual size_t write(std::string_view bytes) = 0;  // accepted; 0 when it would block or failed
  virtual std::string read(size_t limit = SIZE_MAX) = 0;  // empty when nothing waits
  virtual bool eof() const = 0;
  virtual bool failed() const = 0;
  virtual void shutdown_write() = 0;
  virtual void close() = 0;
};

namespace sim {
class World;
}

class SimNetwork {
 public:
  SimNetwork();
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // --- the script -----------------------------------------------------------------------------
  // The rule for "192.0.2.1", "192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.0/24",
  // "2001:db8::/32", "unix:/path", "unix:" (all of them; without latency at first) or "*". The most
  // specific rule holds; a new one starts as a copy of the one that held until then. The reference
  // stays valid.
  SimHost& host(std::string_view where);
  // Runs `action` at this virtual time, before the sockets' events of that instant are delivered.
  void at(Time time, Callback<void()> action);
  void after(Nanos delay, Callback<void()> action) { at(now() + delay, std::move(action)); }
  // The next n connects fail at once with this errno (EMFILE = 24).
  void fail_connects(size_t n, int error = 24);
  // Source address towards a prefix or address; connect fails with ENETUNREACH where there is none.
  void source(std::string_view where, const SocketAddress& source);
  void no_route(std::string_view where);
  // Seeded order of the sockets that are ready at one instant, instead of the order of arrival.
  void shuffle_ready(bool on);

  void dns(const SocketAddress& server, SimDnsHandler handler);
  // For servers without a handler of their own.
  void dns_anywhere(SimDnsHandler handler);
  void system_lookup(SimLookupHandler handler);
  void job_delay(Nanos delay);  // of start_job; 1 ms unless set
  // Replaces the file as a rename would: new inode. Without content: removes it.
  void file(const std::string& path, std::string content);
  void remove_file(const std::string& path);
  // Streams refuse to be lent: their numbers would mean another file to the process.
  void refuse_lending();
  SimSocket* lent(int fd);  // nullptr when this descriptor is not lent

  // --- what happened ----------------------------------------------------------------------------
  Time now() const;
  const std::vector<SimSynRecord>& syns() const;  // every SYN, retransmissions too
  std::vector<SimSynRecord> first_syns() const;   // one per attempt
  const std::vector<SimConnection>& connections() const;
  const std::vector<SimDnsRecord>& dns_queries() const;
  SimLive live() const;
  size_t most_connecting() const;  // the most client streams that were connecting at one time
  // A number over everything that happened, and (when switched on before) a line for each of it.
  uint64_t digest() const;
  void trace(bool on);
  const std::string& trace_text() const;

  // --- driving
  // ------------------------------------------------------------------------------------ Runs turns
  // until nothing is due at or before `until`; now() is `until` then.
  void run(Loop& loop, Time until);
  // Runs turns until `done` answers true (checked after each turn) or `until` is reached.
  bool run(Loop& loop, Time until, const std::function<bool()>& done);
  // The earliest time at which anything will happen; kNever when nothing ever will.
  Time next_event() const;

 private:
  friend std::unique_ptr<Loop> make_sim_loop(SimNetwork& network, uint64_t seed);
  std::shared_ptr<sim::World> world_;
};

// One loop at a time per network; a second may follow when the first is gone, time goes on.
std::unique_ptr<Loop> make_sim_loop(SimNetwork& network, uint64_t seed);

}  // namespace conpool::io
