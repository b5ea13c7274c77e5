// Flights: see the header.
#include "resolver/flight.h"

#include <algorithm>
#include <cassert>

#include "base/limits.h"
#include "resolver/dns_message.h"

namespace conpool::resolver {

Flight::Flight(io::Loop& loop, FlightOwner& owner, std::string name, Family family,
               QueryRules rules)
    : loop_(loop),
      name_(std::move(name)),
      family_(family),
      rules_(rules),
      owner_(owner),
      timer_([this] { on_time(); }) {}

void Flight::extend(const QueryRules& rules) {
  if (finished_) return;
  apply_extension(rules);
  rearm();
}

void Flight::finish(Outcome outcome) {
  assert(!finished_);
  finished_ = true;
  timer_.cancel();
  owner_.on_finished(*this, std::move(outcome));
}

ServerFlight::ServerFlight(io::Loop& loop, FlightOwner& owner, std::string name, Family family,
                           QueryRules rules, Servers& servers, Counters& counters)
    : Flight(loop, owner, name, family, rules),
      query_(std::move(name), family, rules, servers),
      counters_(counters) {}

void ServerFlight::start() {
  // There is always a server and time for one try, so that the first step is to ask.
  take(query_.start(loop_.now()));
}

void ServerFlight::on_time() {
  take(query_.on_time(loop_.now()));
}

void ServerFlight::on_answer(Result<std::vector<uint8_t>> message) {
  if (finished()) return;
  ended_ = std::move(exchange_);
  take(query_.on_answer(message, loop_.now()));
}

void ServerFlight::take(const QueryStep& step) {
  switch (step.kind) {
    case QueryStep::Kind::Stay:
      rearm();
      return;
    case QueryStep::Kind::Ask:
      ++counters_.queries;
      exchange_ = loop_.exchange(
          {.name = name_, .type = rr_type(family_), .server = step.server, .timeout = step.timeout},
          [this](Result<std::vector<uint8_t>> message) { on_answer(std::move(message)); });
      rearm();
      return;
    case QueryStep::Kind::Pause:
      exchange_.reset();
      rearm();
      return;
    case QueryStep::Kind::Finish:
      exchange_.reset();
      finish(query_.outcome());
      return;
  }
}

void OneCallFlight::begin(const char* whom) {
  ++counters_.queries;
  tries_.push_back({.target = std::string(family_type_name(family_)) + " " + name_ + " @" + whom,
                    .started = loop_.now()});
  rearm();
}

void OneCallFlight::end(Result<std::vector<SocketAddress>> result) {
  if (finished()) return;
  Outcome outcome;
  outcome.ttl = ttl_;
  if (result) {
    for (const SocketAddress& given : *result) {
      const SocketAddress address = given.without_port();
      const bool fits = address.family() == family_ && usable_address(address);
      std::vector<SocketAddress>& kept = outcome.addresses;
      if (fits && kept.size() < limits::kAddressesPerName &&
          std::find(kept.begin(), kept.end(), address) == kept.end()) {
        kept.push_back(address);
      }
    }
    if (outcome.addresses.empty()) outcome.failure = Failure{.status = Status::E_DNS_NO_DATA};
  } else {
    outcome.failure = translate(std::move(result).error());
    outcome.cacheable =
        status_class(outcome.failure.status) == StatusClass::DNS;
  }
  // Nobody tells how long a negative answer of these backends holds.
  if (!outcome.positive()) outcome.ttl = 0;
  tries_.back().ended = loop_.now();
  tries_.back().failure = outcome.failure;
  finish(std::move(outcome));
}

void OneCallFlight::on_time() {
  if (loop_.now() < rules_.deadline) return rearm();
  abandon();
  end(fail(Status::E_DNS_TIMEOUT));
}

void OneCallFlight::apply_extension(const QueryRules& rules) {
  rules_.deadline = std::max(rules_.deadline, rules.deadline);
}

void SystemFlight::start() {
  begin("getaddrinfo");
  // Shared with the job's thread, which may outlive this flight.
  auto result = std::make_shared<std::optional<Result<std::vector<SocketAddress>>>>();
  auto work = [result, lookup = loop_.system_lookup(), name = name_, family = family_] {
    result->emplace(lookup(name, family));
  };
  job_ = loop_.start_job(std::move(work), [this, result] {
    end(*result ? **std::move(result) : fail(Status::E_NOMEM));
  });
}

void ApplicationFlight::start() {
  begin("application");
  ticket_ = application_.ask(
      name_, family_, rules_.deadline,
      [this](Result<std::vector<SocketAddress>> result) { end(std::move(result)); });
}

void ApplicationFlight::withdraw() {
  abandon();
  end(fail(Status::E_DNS_APPLICATION, "the application's resolver was taken away"));
}

Failure ApplicationFlight::translate(Failure failure) const {
  if (status_class(failure.status) != StatusClass::DNS) {
    failure.status = Status::E_DNS_APPLICATION;
  }
  return failure;
}

}  // namespace conpool::resolver
