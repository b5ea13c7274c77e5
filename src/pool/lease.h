// Lease: the application's hold on one place of a connection, from the acquire that asks for it to
// its release.
//
// One object serves the whole life, so that only the submit of the acquire can fail for memory: it
// is made there, waits in the endpoint's machine, becomes the public handle when granted, and
// carries its own release to the loop.
#pragma once

#include <atomic>
#include <memory>

#include "ops/op.h"
#include "pool/facts.h"
#include "pool/waiter.h"

namespace conpool::pool {

class Connection;
class Endpoint;

class Lease final : public ops::Object,
                    public ops::Task,
                    public Waiter,
                    public std::enable_shared_from_this<Lease> {
 public:
  explicit Lease(ops::Port& port) : port_(port) { port_.ref(); }
  ~Lease() override { port_.unref(); }

  // --- the application's side, any thread
  // One that its application never took says nothing of the server.
  void dispose() noexcept override {
    outcome_ = policy::CallOutcome::Ignored;
    post_release(false);
  }
  // Once. Nothing may use the handle afterwards.
  void release(bool reusable) noexcept {
    outcome_ = reusable ? policy::CallOutcome::Success : policy::CallOutcome::Failure;
    post_release(reusable);
  }
  ops::Port& port() const { return port_; }
  const ConnectionFacts& facts() const { return *facts_; }
  uint64_t uses() const { return uses_; }

  // --- loop thread
  // Waits for `op`, which holds a reference to this lease until it ends.
  void acquire(Endpoint& endpoint, ops::Op& op, std::shared_ptr<const Values> values_in);
  void cancel(ops::Op& op, Status reason) override;
  Connection* connection() const { return connection_; }

 private:
  struct ReleaseMail : ops::MailNode {
    Lease* lease = nullptr;
  };
  void post_release(bool reusable) noexcept;
  void run_release();
  // --- Waiter
  void granted(Connection& connection, bool reused) override;
  void failed(const ErrorPtr& error) override;
  // What the application still starts fails.
  void detached() override { connection_ = nullptr; }
  ops::Op* end_wait();

  ops::Port& port_;
  Endpoint* endpoint_ = nullptr;
  ops::Op* op_ = nullptr;
  Connection* connection_ = nullptr;
  std::shared_ptr<const ConnectionFacts> facts_;
  uint64_t uses_ = 0;
  bool reusable_ = false;
  policy::CallOutcome outcome_ = policy::CallOutcome::Ignored;
  ReleaseMail release_mail_;
  std::shared_ptr<Lease> handle_;  // the application's reference
};

}  // namespace conpool::pool
