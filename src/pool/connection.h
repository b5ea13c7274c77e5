// Connection: an established session in its endpoint's accounts.
#pragma once

#include <memory>

#include "observe/counters.h"
#include "pool/lease.h"
#include "raw/session.h"

namespace conpool::pool {

class Endpoint;

class Connection final : public ConnectionRecord, public io::Discardable, private session::Owner {
 public:
  Connection(Endpoint& endpoint, uint64_t id, dial::Established established,
             observe::Metrics& figures);

  uint64_t id() const { return id_; }
  const SocketAddress& address() const { return address_; }
  raw::Session& session() { return *session_; }
  observe::Metrics& figures() { return figures_; }
  const std::shared_ptr<const ConnectionFacts>& facts() const { return facts_; }
  // Whether it is fit to be lent, by what the transport sees of the peer. Bytes that wait before
  // the first lease belong to it: a greeting, or TLS tickets, which look the same from below.
  bool usable() {
    const io::Peek seen = session_->peek();
    return seen == io::Peek::Quiet || (seen == io::Peek::Data && uses == 0);
  }

  void start() { session_->start(*this); }
  void begin_lease(Lease& lease, Nanos stall_timeout);
  void end_lease(Lease& lease, bool reusable);
  Result<raw::Lent> lend(bool blocking);
  Lease* lease() const { return lease_; }
  // Ends what runs on it and closes the transport.
  void close(bool abort);

 private:
  void on_capacity(session::Capacity capacity) override;
  void on_hold(bool held) override;
  void on_drain(const Failure& why) override;
  void on_dead(const Failure& why) override;
  void count_bytes();

  Endpoint& endpoint_;
  const uint64_t id_;
  const SocketAddress address_;
  std::unique_ptr<raw::Session> session_;
  observe::Metrics& figures_;
  std::shared_ptr<const ConnectionFacts> facts_;
  Lease* lease_ = nullptr;
  uint64_t counted_in_ = 0;
  uint64_t counted_out_ = 0;
};

}  // namespace conpool::pool
