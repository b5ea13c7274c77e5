// A session in its endpoint's accounts.
#include "pool/connection.h"

#include "pool/endpoint.h"

namespace conpool::pool {

using observe::Counter;

Connection::Connection(Endpoint& endpoint, uint64_t id, dial::Established established,
                       observe::Metrics& figures)
    : endpoint_(endpoint),
      id_(id),
      address_(established.address),
      session_(std::move(established.session)),
      figures_(figures) {
  auto facts = std::make_shared<ConnectionFacts>();
  facts->id = id;
  facts->endpoint = endpoint.spec().name;
  facts->address = address_.text();
  facts->local = session_->facts().local;
  facts->opened = endpoint.now();
  facts->rtt = established.rtt;
  facts->timing = established.timing;
  facts->attempts = std::move(established.attempts);
  facts->tls = std::move(established.tls);
  facts_ = std::move(facts);
}

void Connection::begin_lease(Lease& lease, Nanos stall_timeout) {
  lease_ = &lease;
  session_->idle(false);
  session_->begin_lease(stall_timeout);
  figures_.add(Counter::LeasesGranted);
  figures_.add(Counter::LeasesActive);
  if (uses > 1) figures_.add(Counter::LeasesReused);
}

void Connection::end_lease(Lease& lease, bool reusable) {
  lease.detach();
  lease_ = nullptr;
  const bool good = session_->end_lease(reusable) == session::LeaseEnd::Reusable;
  count_bytes();
  figures_.sub(Counter::LeasesActive);
  figures_.add(good ? Counter::LeasesReturned : Counter::LeasesBroken);
  if (good) session_->idle(true);
  endpoint_.lease_ended(*this, good, lease.granted_at());
}

Result<raw::Lent> Connection::lend(bool blocking) {
  Result<raw::Lent> lent = session_->lend(blocking);
  if (lent) endpoint_.emit(observe::EventKind::ConnectionLent, *this);
  return lent;
}

void Connection::count_bytes() {
  figures_.add(Counter::ReadBytes, static_cast<int64_t>(session_->bytes_in() - counted_in_));
  figures_.add(Counter::WrittenBytes, static_cast<int64_t>(session_->bytes_out() - counted_out_));
  counted_in_ = session_->bytes_in();
  counted_out_ = session_->bytes_out();
}

void Connection::close(bool abort) {
  session_->close(abort);
  count_bytes();
  if (lease_ != nullptr) figures_.sub(Counter::LeasesActive);
  if (Lease* lease = std::exchange(lease_, nullptr)) lease->detach();
}

void Connection::on_capacity(session::Capacity capacity_now) {
  endpoint_.capacity_changed(*this, capacity_now);
}
void Connection::on_hold(bool held_now) {
  endpoint_.hold_changed(*this, held_now);
}
void Connection::on_drain(const Failure&) {
  endpoint_.connection_drains(*this);
}
void Connection::on_dead(const Failure& why) {
  endpoint_.connection_died(*this, why);
}

}  // namespace conpool::pool
