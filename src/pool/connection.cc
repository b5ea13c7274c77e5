// A session in its endpoint's accounts.
#include "pool/connection.h"

#include <cassert>

#include "pool/endpoint.h"

namespace conpool::pool {

using observe::Counter;

Connection::Connection(Endpoint& endpoint, uint64_t id, dial::Established established,
                       observe::Metrics& figures)
    : endpoint_(endpoint),
      id_(id),
      address_(established.address),
      protocol_(established.protocol),
      session_(std::move(established.session)),
      figures_(figures) {
  auto facts = std::make_shared<ConnectionFacts>();
  facts->id = id;
  facts->endpoint = endpoint.spec().name;
  facts->peer = address_;
  facts->address = address_.text();
  facts->protocol = protocol_;
  const io::StreamFacts stream = session_->facts();
  facts->local = stream.local;
  facts->tapped = stream.tapped;
  facts->opened = endpoint.now();
  facts->rtt = established.rtt;
  facts->timing = established.timing;
  facts->attempts = std::move(established.attempts);
  facts->tls = std::move(established.tls);
  facts_ = std::move(facts);
}

raw::Session& Connection::raw() {
  assert(protocol_ == dial::Protocol::Raw);
  return static_cast<raw::Session&>(*session_);
}

session::HttpSession& Connection::http() {
  assert(protocol_ != dial::Protocol::Raw);
  return static_cast<session::HttpSession&>(*session_);
}

bool Connection::usable() {
  const io::Peek seen = session_->peek();
  if (seen == io::Peek::Quiet) return true;
  return seen == io::Peek::Data && (uses == 0 || protocol_ == dial::Protocol::Http2);
}

void Connection::begin_lease(Waiter& waiter) {
  if (!leased()) session_->idle(false);
  holders_.push_back(waiter);
  if (protocol_ == dial::Protocol::Raw) raw().begin_lease(waiter.values->stall_timeout);
  figures_.add(Counter::LeasesGranted);
  figures_.add(Counter::LeasesActive);
  if (waiter.use > 1) figures_.add(Counter::LeasesReused);
  if (protocol_ == dial::Protocol::Http2) {
    figures_.add(Counter::StreamsTotal);
    figures_.add(Counter::StreamsActive);
  }
}

void Connection::end_lease(Waiter& waiter, session::LeaseEnd how) {
  waiter.ListNode<HolderTag>::unlink();
  count_bytes();
  figures_.sub(Counter::LeasesActive);
  if (protocol_ == dial::Protocol::Http2) figures_.sub(Counter::StreamsActive);
  const bool good = how != session::LeaseEnd::Broken;
  figures_.add(good ? Counter::LeasesReturned : Counter::LeasesBroken);
  if (good && !leased()) session_->idle(true);
  endpoint_.lease_ended(*this, good, waiter);
}

void Connection::report_holders(policy::CallOutcome outcome, const std::string& cause) {
  for (Waiter* holder = holders_.front(); holder != nullptr; holder = holders_.next(*holder))
    endpoint_.report(*holder, outcome, cause);
}

Result<raw::Lent> Connection::lend(bool blocking) {
  Result<raw::Lent> lent = raw().lend(blocking);
  if (lent) endpoint_.emit(observe::EventKind::ConnectionLent, *this);
  return lent;
}

void Connection::count_bytes() {
  figures_.add(Counter::ReadBytes, static_cast<int64_t>(session_->bytes_in() - counted_in_));
  figures_.add(Counter::WrittenBytes, static_cast<int64_t>(session_->bytes_out() - counted_out_));
  counted_in_ = session_->bytes_in();
  counted_out_ = session_->bytes_out();
}

void Connection::probe(const ProbePlan& plan, Time deadline, Callback<void(ProbeResult)> done) {
  auto ended = [this, done = std::move(done)](ProbeResult result) mutable {
    // What follows may close the connection, and with it the probe.
    Callback<void(ProbeResult)> told = std::move(done);
    end_probe();
    told(std::move(result));
  };
  probe_ = std::make_unique<Probe>(endpoint_.loop(), plan, *session_, protocol_, std::move(ended));
  probe_->start(deadline);
}

// It may be in the middle of telling us: it goes at the turn's end.
void Connection::end_probe() {
  if (probe_ == nullptr) return;
  probe_->cancel();
  endpoint_.loop().discard(std::unique_ptr<io::Discardable>(std::move(probe_)));
}

void Connection::close(bool abort) {
  end_probe();
  session_->close(abort);
  count_bytes();
  if (protocol_ == dial::Protocol::Raw) report_holders(policy::CallOutcome::Ignored, {});
  while (Waiter* holder = holders_.front()) {
    holder->ListNode<HolderTag>::unlink();
    figures_.sub(Counter::LeasesActive);
    if (protocol_ == dial::Protocol::Http2) figures_.sub(Counter::StreamsActive);
    holder->detached();
  }
}

void Connection::on_capacity(session::Capacity capacity_now) {
  endpoint_.capacity_changed(*this, capacity_now);
}
void Connection::on_hold(bool held_now) {
  endpoint_.hold_changed(*this, held_now);
}
void Connection::on_idle_limit(Nanos limit) {
  endpoint_.idle_limit_told(*this, limit);
}
void Connection::on_drain(const Failure&) {
  endpoint_.connection_drains(*this);
}
void Connection::on_dead(const Failure& why) {
  endpoint_.connection_died(*this, why);
}

}  // namespace conpool::pool
