// Loop: the seam between everything above and the world (sockets, time, threads, files,
// randomness). Two worlds implement it: io/uv (the real one) and io/sim (virtual time and a
// scripted network).
//
// A turn: drain the mailbox (wake handler) → handle the events of one poll → fire due timers → run
// deferred calls until none is left → free discarded objects → sleep until the next event or
// deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/timer.h"
#include "io/stream.h"

namespace conpool::io {

struct ConnectOptions {
  Nanos keepalive = 0;     // TCP keepalive idle time; 0 = off
  Nanos user_timeout = 0;  // TCP_USER_TIMEOUT; 0 = the system's
  // The endpoint it is for, as texts name it; "" = none. Read by the call alone.
  std::string_view purpose = {};
};

// Takes over accepted streams. Same rules as StreamHandler.
class ListenHandler {
 public:
  virtual void on_accepted(std::unique_ptr<Stream> stream) = 0;

 protected:
  ~ListenHandler() = default;
};

class Listener : public Discardable {
 public:
  virtual SocketAddress address() const = 0;  // with the port the system picked
  virtual void close() = 0;                   // stops accepting; refuses from now on
};

// One DNS query to one server, with one try over UDP (and TCP when the answer was truncated).
// Destroying it abandons the exchange; its callback then never runs.
class DnsExchange {
 public:
  virtual ~DnsExchange() = default;
};

struct DnsQuery {
  std::string name;   // absolute, without the trailing dot
  uint16_t type = 1;  // RR type: 1 = A, 28 = AAAA
  SocketAddress server;
  Nanos timeout = kSecond;
};

// The raw answer message of any rcode, or E_DNS_TIMEOUT, E_DNS_UNREACHABLE, E_DNS_BAD_ANSWER,
// E_FD_LIMIT, E_NOMEM.
using DnsCallback = Callback<void(Result<std::vector<uint8_t>>)>;

// A blocking function on a thread of its own. Destroying it abandons the job: its callback then
// never runs, and close never waits for it. `work` must own all that it touches.
class Job {
 public:
  virtual ~Job() = default;
};

using SystemLookup =
    std::function<Result<std::vector<SocketAddress>>(const std::string& name, Family family)>;

// Identity of a file's content, to notice a change.
struct FileStamp {
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t modified = 0;  // nanoseconds
  bool operator==(const FileStamp&) const = default;
};

class Tap;

class Loop {
 public:
  virtual ~Loop() = default;

  // --- time -----------------------------------------------------------------------------------
  // Cached once per poll; the same for everything that happens in that part of the turn.
  Time now() const { return now_; }
  TimerQueue& timers() { return timers_; }
  void arm(Timer& timer, Time deadline) { timer.arm(timers_, deadline); }
  // A seed for the generators above: from the system, or the scenario's.
  virtual uint64_t random_seed() = 0;

  // --- turns ----------------------------------------------------------------------------------
  // Runs one turn, sleeping until an event, a timer, a wake-up or `until`, whichever is first.
  virtual void run_turn(Time until) = 0;
  // Any thread: the wake handler runs in the next turn. Many wakes before it are one.
  virtual void wake() = 0;
  void set_wake_handler(Callback<void()> handler) { wake_handler_ = std::move(handler); }
  // Level-triggered readable exactly while run_turn has something to do; -1 where there is none
  // (sim).
  virtual int fd() = 0;
  // Runs at the end of this turn, after all reads of its poll, in the order of the calls.
  void defer(Callback<void()> call) { deferred_.push_back(std::move(call)); }
  // Frees at the end of this turn. Streams are closed at once.
  void discard(std::unique_ptr<Discardable> object) { discarded_.push_back(std::move(object)); }
  void discard(std::unique_ptr<Stream> stream) {
    stream->set_handler(nullptr);
    stream->close();
    discarded_.push_back(std::move(stream));
  }

  // --- network --------------------------------------------------------------------------------
  // Starts to connect. An instant failure (no route, no descriptor) is returned here; everything
  // later comes through the handler that is set before the turn ends.
  Result<std::unique_ptr<Stream>> connect(const SocketAddress& peer, const ConnectOptions& options);
  virtual Result<std::unique_ptr<Listener>> listen(const SocketAddress& address, int backlog,
                                                   ListenHandler* handler) = 0;
  // The source address the system would use towards `peer` (RFC 6724); E_CONNECT_UNREACHABLE
  // without a route.
  virtual Result<SocketAddress> source_address(const SocketAddress& peer) = 0;
  std::unique_ptr<DnsExchange> exchange(DnsQuery query, DnsCallback done);
  // Asked first by the two calls that take something of the network (io/tap.h); null = nobody.
  void set_tap(Tap* tap) { tap_ = tap; }

  // --- the rest of the world ---------------------------------------------------------------------
  virtual std::unique_ptr<Job> start_job(Callback<void()> work, Callback<void()> done) = 0;
  // getaddrinfo for one family: blocks, so call it from a job. The function is a value of its own:
  // it may be copied into an abandoned job and outlive the loop. Addresses have port 0.
  virtual SystemLookup system_lookup() = 0;
  virtual std::optional<FileStamp> file_stamp(const std::string& path) = 0;
  virtual Result<std::string> read_file(const std::string& path, size_t limit) = 0;

  // --- teardown ---------------------------------------------------------------------------------
  // Live OS-level handles (sockets, polls, exchanges); zero before the loop may be destroyed.
  virtual size_t live_handles() const = 0;

 protected:
  friend class Tap;
  virtual Result<std::unique_ptr<Stream>> start_connect(const SocketAddress& peer,
                                                        const ConnectOptions& options) = 0;
  virtual std::unique_ptr<DnsExchange> start_exchange(DnsQuery query, DnsCallback done) = 0;

  // Worlds call these from run_turn, in the order of the turn.
  void set_now(Time now) { now_ = now; }
  void run_wake_handler() {
    if (wake_handler_) wake_handler_();
  }
  bool has_deferred() const { return !deferred_.empty() || !discarded_.empty(); }
  void abandon_pending();  // teardown: drops deferred calls unrun, frees discarded objects
  void finish_turn();      // fires due timers, runs deferred calls, frees discarded objects

 private:
  Tap* tap_ = nullptr;
  Time now_ = 0;
  TimerQueue timers_;
  Callback<void()> wake_handler_;
  std::vector<Callback<void()>> deferred_;
  std::vector<Callback<void()>> running_;
  std::vector<std::unique_ptr<Discardable>> discarded_;
};

}  // namespace conpool::io
