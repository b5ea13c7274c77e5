// The life of a lease on both sides of the loop.
#include "pool/lease.h"

#include "pool/connection.h"
#include "pool/endpoint.h"

namespace conpool::pool {

void Lease::release(bool reusable) noexcept {
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
  if (connection_ != nullptr) connection_->end_lease(*this, reusable_);
}

void Lease::wait_in(Endpoint& endpoint, ops::Op& op, std::shared_ptr<const Values> values) {
  endpoint_ = &endpoint;
  op_ = &op;
  values_ = std::move(values);
  op.set_task(this);
}

ops::Op* Lease::end_wait() {
  op_->set_task(nullptr);
  return std::exchange(op_, nullptr);
}

void Lease::cancel(ops::Op& op, Status reason) {
  if (op_ == &op) endpoint_->cancel_waiter(*this, reason);
}

void Lease::granted(Connection& connection, Time now) {
  connection_ = &connection;
  facts_ = connection.facts();
  uses_ = connection.uses;
  granted_at_ = now;
  handle_ = shared_from_this();
}

}  // namespace conpool::pool
