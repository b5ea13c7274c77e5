// Connection: an established session in its endpoint's accounts.
#pragma once

#include <memory>
#include <utility>

#include "observe/counters.h"
#include "pool/facts.h"
#include "pool/probe.h"
#include "pool/waiter.h"
#include "raw/session.h"
#include "session/http.h"

namespace conpool::pool {

class Endpoint;

class Connection final : public ConnectionRecord, public io::Discardable, private session::Owner {
 public:
  Connection(Endpoint& endpoint, uint64_t id, dial::Established established,
             observe::Metrics& figures);

  uint64_t id() const { return id_; }
  const SocketAddress& address() const { return address_; }
  dial::Protocol protocol() const { return protocol_; }
  session::Session& session() { return *session_; }
  // Of the protocol that was dialed.
  raw::Session& raw();
  session::HttpSession& http();
  observe::Metrics& figures() { return figures_; }
  const std::shared_ptr<const ConnectionFacts>& facts() const { return facts_; }
  // Whether it is fit to be lent, by what the transport sees of the peer. Bytes that wait before
  // the first lease belong to it: a greeting, or TLS tickets, which look the same from below. An
  // HTTP/2 peer may send frames at any time.
  bool usable();

  void start() { session_->start(*this); }
  void begin_lease(Waiter& waiter);
  // The waiter's place is free again, or gone.
  void end_lease(Waiter& waiter, session::LeaseEnd how);
  // A response's head came. Whether it is the connection's first.
  bool note_answer() { return !std::exchange(answered_, true); }
  Result<raw::Lent> lend(bool blocking);
  // Tells the breaker what the leases came to that still hold it.
  void report_holders(policy::CallOutcome outcome, const std::string& cause);
  // When the oldest of its leases began; kNever without one.
  Time oldest_lease() { return leased() ? holders_.front()->granted_at : kNever; }
  // Asks the peer whether an idle connection still works; `done` once, unless it closes before.
  void probe(const ProbePlan& plan, Time deadline, Callback<void(ProbeResult)> done);
  bool leased() const { return !holders_.empty(); }
  // Ends what runs on it and closes the transport.
  void close(bool abort);

 private:
  void on_capacity(session::Capacity capacity) override;
  void on_hold(bool held) override;
  void on_idle_limit(Nanos limit) override;
  void on_drain(const Failure& why) override;
  void on_dead(const Failure& why) override;
  void count_bytes();
  void end_probe();

  Endpoint& endpoint_;
  const uint64_t id_;
  const SocketAddress address_;
  const dial::Protocol protocol_;
  std::unique_ptr<session::Session> session_;
  observe::Metrics& figures_;
  std::shared_ptr<const ConnectionFacts> facts_;
  bool answered_ = false;
  List<Waiter, HolderTag> holders_;
  std::unique_ptr<Probe> probe_;
  uint64_t counted_in_ = 0;
  uint64_t counted_out_ = 0;
};

}  // namespace conpool::pool
