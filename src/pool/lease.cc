// The life of a lease on both sides of the loop.
#include "pool/lease.h"

#include "ops/error_object.h"
#include "pool/connection.h"
#include "pool/endpoint.h"

namespace conpool::pool {

void Lease::post_release(bool reusable) noexcept {
  reusable_ = reusable;
  release_mail_.lease = this;
  release_mail_.run = [](ops::MailNode& node) {
    static_cast<ReleaseMail&>(node).lease->run_release();
  };
  // The port must outlive the call, and the loop may free this lease before post() returns.
  ops::Port& port = port_;
  port.ref();
  port.post(release_mail_);
  port.unref();
}

void Lease::run_release() {
  const std::shared_ptr<Lease> last = std::move(handle_);
  Connection* connection = std::exchange(connection_, nullptr);
  if (connection == nullptr) return;
  const bool failed = outcome_ == policy::CallOutcome::Failure;
  endpoint_->report(
      *this, outcome_,
      failed ? "a lease of " + facts_->address + " was released as broken" : std::string());
  connection->end_lease(*this, connection->raw().end_lease(reusable_));
}

void Lease::acquire(Endpoint& endpoint, ops::Op& op, std::shared_ptr<const Values> values_in) {
  endpoint_ = &endpoint;
  op_ = &op;
  op_id = op.id();
  values = std::move(values_in);
  op.set_task(this);
  if (op.cancel_requested()) return failed(endpoint.error_for(Status::E_CANCELLED, *this));
  endpoint.wait(*this);
}

ops::Op* Lease::end_wait() {
  op_->set_task(nullptr);
  return std::exchange(op_, nullptr);
}

void Lease::cancel(ops::Op& op, Status reason) {
  if (op_ != &op) return;
  endpoint_->leave(*this, reason);
  failed(endpoint_->error_for(reason, *this));
}

void Lease::failed(const ErrorPtr& error) {
  ops::finish_failed(*end_wait(), error);
}

void Lease::granted(Connection& connection, bool reused) {
  connection_ = &connection;
  facts_ = connection.facts();
  uses_ = use;
  handle_ = shared_from_this();
  end_wait()->finish(Status::OK, this, reused ? 1 : 0);
}

}  // namespace conpool::pool
