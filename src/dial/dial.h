// Dial: from an endpoint's name to an established connection with its session. Drives the resolver,
// the race and TLS.
//
// Lifecycle: construct → start → (answers, attempts, handshakes) → exactly one call of
// DialOwner::dialed or DialOwner::dial_failed, later than start(). Destroying the dial calls
// everything off: its sockets close, its lookup is left to the resolver, whose answers go on to
// feed the cache (RFC 8305 §5).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/name.h"
#include "base/settings.h"
#include "dial/socket_budget.h"
#include "io/loop.h"
#include "observe/events.h"
#include "racer/race.h"
#include "raw/chunk.h"
#include "resolver/resolver.h"
#include "session/session.h"
#include "tls/client_stream.h"

namespace conpool::fault {
class Injector;
}

namespace conpool::dial {

// What is dialed: the parts of an endpoint that a dial needs. Outlives the dial.
struct Target {
  bool http = false;  // speaks HTTP, in the version that ALPN and http.version say
  Host host;          // empty name and no literal for a list of addresses or a unix path
  std::vector<uint16_t> ports;
  std::vector<SocketAddress> addresses;  // the caller's own list, or the unix path
  std::string text;                      // "localhost:8088": how texts name it
  bool uses_tls = false;
  std::string tls_name;  // to verify
  std::string ticket_key;
};

// What dials of one pool share.
struct Environment {
  io::Loop& loop;
  resolver::Resolver& resolver;
  SocketBudget& sockets;
  std::shared_ptr<tls::SessionCache> tickets;
  std::shared_ptr<raw::PinnedBytes> pinned;
  fault::Injector* faults = nullptr;  // with fault.plan
};

// When each step of a dial ended; 0 = did not happen. Nanoseconds since the dial's start.
struct Timing {
  Nanos resolved = 0;   // the first address
  Nanos connected = 0;  // the winner's TCP
  Nanos secured = 0;    // the winner's TLS
  Nanos total = 0;
};

enum class Protocol : uint8_t { Raw, Http1, Http2 };

struct Established {
  std::unique_ptr<session::Session> session;  // of the class that `protocol` tells
  Protocol protocol = Protocol::Raw;
  SocketAddress address;
  std::optional<tls::TlsFacts> tls;
  std::vector<Attempt> attempts;  // lookups and attempts, in the order of their start
  Timing timing;
  Nanos rtt = 0;
};

// The endpoint, as its dials see it. May destroy the dial inside dialed and dial_failed only.
class DialOwner {
 public:
  // A family's answer came (or a later one): the owner's own set of addresses follows it.
  virtual void answered(Family family, const resolver::FamilyAnswer& answer) = 0;
  // The candidates of all addresses known now, in the order in which to try them; both families
  // mixed.
  virtual std::vector<racer::Candidate> candidates() = 0;
  virtual bool allowed(const SocketAddress& address) = 0;  // dns.address_filter
  virtual void attempt_started(const SocketAddress& address) = 0;
  virtual void attempt_slow(const SocketAddress& address) = 0;
  virtual void attempt_connected(const SocketAddress& address, Nanos rtt) = 0;
  virtual void attempt_failed(const SocketAddress& address, const Failure& failure) = 0;
  virtual void attempt_lost(const SocketAddress& address, bool by_delay) = 0;
  virtual void dialed(Established established) = 0;
  virtual void dial_failed(std::shared_ptr<Error> error) = 0;

 protected:
  ~DialOwner() = default;
};

struct Options {
  Values values;            // of the endpoint, with the overrides of the op the dial is for
  bool lookup = true;       // false: candidates() is complete already
  bool v6_demoted = false;  // IPv6 lost to IPv4 several times in a row on this network
  std::shared_ptr<tls::Context> context;  // for TLS
  bool http1_only = false;                // the server is known to want HTTP/1.1
  uint32_t stream_limit = 0;              // of HTTP/2, as remembered; 0 = not known
};

class Dial final : private resolver::LookupHandler {
 public:
  Dial(const Environment& environment, const Target& target, Options options, DialOwner& owner,
       observe::Emitter events);
  ~Dial();
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

  void start();
  // Ends it with `reason`, through dial_failed, now.
  void cancel(const Failure& reason);

 private:
  class Running;  // one attempt

  // --- resolver::LookupHandler
  void on_family(Family family, resolver::FamilyAnswer answer) override;
  void on_update(Family family, resolver::FamilyAnswer answer) override;

  Time now() const { return environment_.loop.now(); }
  racer::RaceOptions make_race_options() const;
  void feed(Family family, const std::vector<racer::Candidate>& all,
            const resolver::FamilyAnswer* answer);
  // Performs the race's actions until none is left. May end in destroying the dial.
  void run();
  bool perform(const racer::Action& action);  // false: the dial has ended
  void start_attempt(racer::AttemptId id);
  void close_attempt(racer::AttemptId id);
  void race_failed(racer::AttemptId id, const Failure& failure);
  void drop(racer::AttemptId id);
  bool won(racer::AttemptId id);
  void lost();
  void finish(Running& winner);
  std::vector<std::string> alpn_offer() const;
  Result<Protocol> protocol_of(const std::string& alpn) const;
  std::unique_ptr<session::Session> make_session(Protocol protocol, Running& winner, Nanos rtt);
  void fail(const Failure& cause, Phase phase, const SocketAddress* address);

  // --- events of the attempts
  void attempt_released(racer::AttemptId id);
  void attempt_opened(racer::AttemptId id);
  void attempt_secured(racer::AttemptId id);
  void attempt_broke(racer::AttemptId id, const Failure& failure);

  void emit_answer(Family family, const resolver::FamilyAnswer& answer);
  void note_answer(Family family, const resolver::FamilyAnswer& answer);
  Running* find(racer::AttemptId id);
  Result<std::unique_ptr<io::Stream>> wrap_tls(std::unique_ptr<io::Stream> lower,
                                               tls::ClientStream** out);
  std::string attempt_target(const SocketAddress& address) const;
  std::vector<Attempt> ledger() const;

  Environment environment_;
  const Target& target_;
  Options options_;
  DialOwner& owner_;
  observe::Emitter events_;
  Time started_ = 0;
  std::unique_ptr<resolver::Lookup> lookup_;
  racer::Race race_;
  std::vector<std::unique_ptr<Running>> running_;
  std::vector<racer::Action> actions_;
  std::vector<Attempt> lookups_;  // queries, for the ledger
  Timer race_timer_;
  Timer dial_timer_;
  Timer tls_timer_;  // of a winner whose handshake runs outside the race (race.until = tcp)
  Timer end_timer_;  // a failure inside start() is told after it
  racer::AttemptId winner_ = 0;
  bool v6_answered_ = false;
  bool v4_answered_ = false;
  bool starting_ = false;
  bool performing_ = false;
  bool ended_ = false;
  Timing timing_;
};

}  // namespace conpool::dial
