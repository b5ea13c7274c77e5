// Lease: the application's hold on one place of a connection, from the acquire that asks for it to
// its release.
//
// One object serves the whole life, so that only the submit of the acquire can fail for memory: it
// is made there, waits in the endpoint's machine, becomes the public handle when granted, and
// carries its own release to the loop.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "dial/dial.h"
#include "ops/op.h"
#include "pool/endpoint_machine.h"

namespace conpool::pool {

class Connection;
class Endpoint;

// What was established, for readouts on any thread. Immutable.
struct ConnectionFacts {
  uint64_t id = 0;
  std::string endpoint;
  std::string address;  // as conpool_connection_address tells it
  SocketAddress local;
  Time opened = 0;
  Nanos rtt = 0;
  dial::Timing timing;
  std::vector<Attempt> attempts;
  std::optional<tls::TlsFacts> tls;
};

class Lease final : public ops::Object,
                    public ops::Task,
                    public WaiterRecord,
                    public std::enable_shared_from_this<Lease> {
 public:
  explicit Lease(ops::Port& port) : port_(port) { port_.ref(); }
  ~Lease() override { port_.unref(); }

  // --- the application's side, any thread
  void dispose() noexcept override { release(false); }
  // Once. Nothing may use the handle afterwards.
  void release(bool reusable) noexcept;
  ops::Port& port() const { return port_; }
  const ConnectionFacts& facts() const { return *facts_; }
  uint64_t uses() const { return uses_; }
  Time granted_at() const { return granted_at_; }

  // --- loop thread
  // Waits for `op`, which holds a reference to this lease until it ends.
  void wait_in(Endpoint& endpoint, ops::Op& op, std::shared_ptr<const Values> values);
  ops::Op* op() const { return op_; }
  const std::shared_ptr<const Values>& values() const { return values_; }
  // The op has ended or ends now: it is no longer this lease's.
  ops::Op* end_wait();
  void cancel(ops::Op& op, Status reason) override;
  // From here on the application holds the handle.
  void granted(Connection& connection, Time now);
  Connection* connection() const { return connection_; }
  // The connection is gone (pool closed): what the application still starts fails with `why`.
  void detach() { connection_ = nullptr; }

 private:
  struct ReleaseMail : ops::MailNode {
    Lease* lease = nullptr;
  };
  void run_release();

  ops::Port& port_;
  Endpoint* endpoint_ = nullptr;
  ops::Op* op_ = nullptr;
  std::shared_ptr<const Values> values_;
  Connection* connection_ = nullptr;
  std::shared_ptr<const ConnectionFacts> facts_;
  uint64_t uses_ = 0;
  Time granted_at_ = 0;
  bool reusable_ = false;
  ReleaseMail release_mail_;
  std::shared_ptr<Lease> handle_;  // the application's reference
};

}  // namespace conpool::pool
