// What an endpoint does with the health of its addresses and of its idle connections.
#include "pool/core.h"
#include "pool/endpoint.h"
#include "pool/health_checker.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;

void Endpoint::set_up_health() {
  if (values().health_interval == 0 &&
      static_cast<OnCheckout>(values().health_on_checkout) == OnCheckout::Peek)
    return;
  probes_ = std::make_unique<ProbePlan>(*spec_);
  if (values().health_interval > 0)
    checker_ = std::make_unique<HealthChecker>(*this, *probes_, core_.rng().next());
}

// --- active checks of addresses ------------------------------------------------------------------

void Endpoint::follow_addresses() {
  if (checker_ != nullptr) checker_->follow(known_);
}

void Endpoint::stop_checks() {
  if (checker_ != nullptr) checker_->stop();
}

bool Endpoint::yield_check() {
  return checker_ != nullptr && checker_->yield();
}

bool Endpoint::take_check_permit() {
  return core_.take_permit(*this, false);
}

void Endpoint::return_check_permit() {
  core_.return_permit();
}

void Endpoint::check_ended(const SocketAddress& address, const Result<void>& verdict, Nanos took) {
  const bool passed = verdict.has_value();
  figures_of(address).add(passed ? Counter::HealthPassed : Counter::HealthFailed);
  events_.emit({.kind = passed ? EventKind::HealthPassed : EventKind::HealthFailed,
                .time = now(),
                .status = passed ? Status::OK : verdict.error().status,
                .os_error = passed ? 0 : verdict.error().os_error,
                .first = took,
                .text = address.text()});
  const policy::AddressHealth::State before = balancer_.health(address);
  if (passed) {
    balancer_.check_passed(now(), address);
  } else {
    balancer_.check_failed(now(), address, verdict.error());
  }
  health_changed(address, before);
  touch();
}

void Endpoint::first_answer(const ConnectionFacts& connection, bool came) {
  const SocketAddress& address = connection.peer;
  const policy::Balancer::View before = balancer_.view(address);
  if (came) {
    balancer_.answered(address);
    health_changed(address, before.state);
  } else {
    figures_of(address).add(Counter::AddressFailures);
    balancer_.hung_up(now(), address, connection.opened - connection.timing.total);
    // Those of one outage are told once.
    if (balancer_.view(address).failed_in_row != before.failed_in_row) tell_health(address);
  }
  touch();
}

// Reports what became of an address's health, where it is worth telling.
void Endpoint::health_changed(const SocketAddress& address, policy::AddressHealth::State before) {
  using Health = policy::AddressHealth::State;
  const Health after = balancer_.health(address);
  if (before == after || after == Health::Suspect) return;
  if (after == Health::Healthy && before == Health::Suspect) return;
  tell_health(address);
}

void Endpoint::tell_health(const SocketAddress& address) {
  using Health = policy::AddressHealth::State;
  const policy::Balancer::View view = balancer_.view(address);
  const Health after = view.state;
  const EventKind kind = after == Health::Cooling   ? EventKind::AddressCooling
                         : after == Health::Ejected ? EventKind::AddressEjected
                         : after == Health::Probing ? EventKind::AddressProbing
                                                    : EventKind::AddressHealthy;
  if (after == Health::Ejected) figures_of(address).add(Counter::AddressEjections);
  const Nanos left = view.cooling_until - now();
  events_.emit({.kind = kind,
                .time = now(),
                .first = view.failed_in_row,
                .second = left > 0 ? left : 0,
                .text = address.text()});
}

// --- checks of connections before they are lent --------------------------------------------------

void Endpoint::start_check(Connection& connection) {
  const Nanos idle = now() - connection.checked_at;
  events_.emit({.kind = EventKind::ConnectionCheckStarted,
                .time = now(),
                .connection = connection.id(),
                .first = idle});
  const auto told = [this, &connection](bool passed) {
    connection.figures().add(passed ? Counter::ChecksDone : Counter::ChecksFailed);
    events_.emit(
        {.kind = passed ? EventKind::ConnectionCheckDone : EventKind::ConnectionCheckFailed,
         .time = now(),
         .connection = connection.id()});
    machine_.check_done(connection, passed, now());
    run_actions();
    touch();
    core_.offer_permits();
  };
  if (probe_is_due(values(), connection.protocol(), idle)) {
    connection.probe(
        *probes_, deadline_after(now(), values().health_timeout),
        [told](const ProbeResult& result) { told(result.verdict.has_value() && result.reusable); });
  } else {
    connection.session().check([told](const Result<void>& result) { told(result.has_value()); });
  }
}

}  // namespace conpool::pool
