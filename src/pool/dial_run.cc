// A dial with its repeated rounds.
#include "pool/dial_run.h"

#include <algorithm>

#include "observe/error_counter.h"
#include "policy/backoff.h"
#include "pool/endpoint.h"
#include "pool/public_addresses.h"

namespace conpool::pool {

using observe::Counter;
using observe::EventKind;

DialRun::DialRun(Endpoint& endpoint, uint64_t id, std::shared_ptr<const Values> values)
    : endpoint_(endpoint), id_(id), values_(std::move(values)), started_(endpoint.now()) {
  rest_.set_callback([this] {
    endpoint_.wake_dial(id_);
    state_ = State::Paced;
    try_begin();
    endpoint_.touch();
  });
}

DialRun::~DialRun() {
  abort();
}

void DialRun::abort() {
  if (state_ == State::Ended) return;
  if (state_ == State::Dialing) {
    endpoint_.figures().add(Counter::DialsCancelled);
    endpoint_.events().emit({.kind = EventKind::DialCancelled,
                             .time = endpoint_.now(),
                             .first = static_cast<int64_t>(id_)});
  }
  if (token_ != 0)
    endpoint_.balancer().end_dial(endpoint_.now(), std::exchange(token_, 0), nullptr);
  state_ = State::Ended;
  rest_.cancel();
  dial_.reset();
}

void DialRun::try_begin() {
  std::vector<policy::Choice> order;
  const policy::Balancer::Begin begin = endpoint_.balancer().begin_dial(endpoint_.now(), &order);
  if (begin.token == 0) {
    retry_at_ = begin.retry_at;
    return;
  }
  token_ = begin.token;
  state_ = State::Dialing;
  round_started_ = endpoint_.now();
  dial::Options options;
  options.values = *values_;
  options.lookup = endpoint_.needs_lookup();
  using Known = ProtocolMemory::Known;
  const ProtocolMemory& memory = endpoint_.memory();
  options.http1_only = memory.known(endpoint_.now()) == Known::NeedsHttp1;
  options.stream_limit = memory.stream_limit(endpoint_.now());
  options.v6_demoted = endpoint_.balancer().v6_demoted(endpoint_.now());
  if (endpoint_.spec().target.uses_tls) {
    Result<std::shared_ptr<tls::Context>> context = endpoint_.tls_context();
    if (!context) {
      auto error = std::make_shared<Error>();
      error->cause = context.error();
      error->phase = Phase::Tls;
      error->context.push_back("connecting to " + endpoint_.spec().target.text);
      return dial_failed(std::move(error));
    }
    options.context = std::move(*context);
  }
  endpoint_.figures().add(Counter::DialsStarted);
  endpoint_.events().emit({.kind = EventKind::DialStarted,
                           .time = endpoint_.now(),
                           .first = static_cast<int64_t>(id_),
                           .second = round_,
                           .text = endpoint_.spec().target.text});
  dial::DialOwner& owner = *this;
  dial_ = std::make_unique<dial::Dial>(endpoint_.dial_environment(), endpoint_.spec().target,
                                       std::move(options), owner, endpoint_.events());
  dial_->start();
}

// --- the dial's questions and news
// -------------------------------------------------------------------

void DialRun::answered(Family family, const resolver::FamilyAnswer& answer) {
  if (!answer.attempts.empty()) {
    const Attempt& last = answer.attempts.back();
    const Nanos took = last.started + last.duration - answer.attempts.front().started;
    endpoint_.figures().record(observe::HistogramId::DnsTime, took);
  }
  endpoint_.note_answer(family, answer);
}

std::vector<racer::Candidate> DialRun::candidates() {
  std::vector<policy::Choice> order;
  endpoint_.balancer().order(endpoint_.now(), token_, &order);
  const std::vector<uint16_t>& ports = endpoint_.spec().target.ports;
  std::vector<racer::Candidate> candidates;
  candidates.reserve(order.size());
  const auto ranks = static_cast<uint32_t>(std::max<size_t>(ports.size(), 1));
  for (policy::Choice& choice : order) {
    const auto port = std::find(ports.begin(), ports.end(), choice.address.port());
    const auto rank = port == ports.end() ? 0 : static_cast<uint32_t>(port - ports.begin());
    candidates.push_back({std::move(choice.address), choice.class_index, choice.expected_delay,
                          choice.last_resort ? ranks + rank : rank, choice.cooling,
                          choice.last_resort});
  }
  return candidates;
}

bool DialRun::allowed(const SocketAddress& address) {
  return static_cast<AddressFilter>(values_->dns_address_filter) == AddressFilter::Any ||
         is_public(address);
}

// Runs `change` on the balancer and reports what it did to the address's health.
template <typename Change>
void DialRun::with_health(const SocketAddress& address, Change&& change) {
  policy::Balancer& balancer = endpoint_.balancer();
  const policy::AddressHealth::State before = balancer.health(address);
  change(balancer);
  endpoint_.health_changed(address, before);
}

void DialRun::attempt_started(const SocketAddress& address) {
  endpoint_.figures_of(address).add(Counter::AttemptsStarted);
  if (first_family_ == Family::None) first_family_ = address.family();
  with_health(address, [&](policy::Balancer& balancer) {
    balancer.attempt_started(endpoint_.now(), token_, address);
  });
}

void DialRun::attempt_slow(const SocketAddress& address) {
  endpoint_.balancer().attempt_slow(endpoint_.now(), token_, address);
  endpoint_.touch();
}

void DialRun::attempt_connected(const SocketAddress& address, Nanos rtt) {
  endpoint_.balancer().attempt_connected(endpoint_.now(), token_, address, rtt);
  endpoint_.figures().record(observe::HistogramId::ConnectTime, rtt);
  endpoint_.touch();
}

void DialRun::attempt_failed(const SocketAddress& address, const Failure& failure) {
  endpoint_.figures_of(address).add(Counter::AttemptsFailed);
  endpoint_.figures().add(observe::error_counter(failure));
  if (policy::blame_of(failure) != policy::Blame::None)
    endpoint_.figures_of(address).add(Counter::AddressFailures);
  if (status_class(failure.status) == StatusClass::TLS) {
    endpoint_.figures_of(address).add(Counter::TlsFailed);
  }
  with_health(address, [&](policy::Balancer& balancer) {
    balancer.attempt_failed(endpoint_.now(), token_, address, failure);
  });
  endpoint_.touch();
}

void DialRun::attempt_lost(const SocketAddress& address, bool by_delay) {
  endpoint_.figures_of(address).add(Counter::AttemptsClosed);
  endpoint_.balancer().attempt_lost(endpoint_.now(), token_, address, by_delay);
}

// --- the end of a round
// --------------------------------------------------------------------------------

void DialRun::end_round(const SocketAddress* winner) {
  if (token_ != 0) endpoint_.balancer().end_dial(endpoint_.now(), std::exchange(token_, 0), winner);
  endpoint_.touch();
}

// The dial is in the middle of telling us: it goes at the turn's end.
void DialRun::drop_dial() {
  struct Grave final : io::Discardable {
    explicit Grave(std::unique_ptr<dial::Dial> dial) : dial_(std::move(dial)) {}
    std::unique_ptr<dial::Dial> dial_;
  };
  if (dial_ != nullptr)
    endpoint_.loop().discard(std::unique_ptr<io::Discardable>(new Grave(std::move(dial_))));
}

void DialRun::dialed(dial::Established established) {
  state_ = State::Ended;
  if (!attempts_.empty()) {
    attempts_.insert(attempts_.end(), established.attempts.begin(), established.attempts.end());
    established.attempts = std::move(attempts_);
  }
  endpoint_.events().emit({.kind = EventKind::DialDone,
                           .time = endpoint_.now(),
                           .first = static_cast<int64_t>(id_),
                           .second = round_,
                           .duration = established.timing.total});
  const SocketAddress address = established.address;
  drop_dial();
  if (address.family() != first_family_) endpoint_.figures().add(Counter::RaceFallbacks);
  const policy::AddressHealth::State before = endpoint_.balancer().health(address);
  end_round(&address);
  // One that goes on cooling has yet to bring an answer.
  if (endpoint_.balancer().health(address) == policy::AddressHealth::State::Healthy)
    endpoint_.health_changed(address, before);
  endpoint_.dial_succeeded(*this, std::move(established));
}

bool DialRun::worth_repeating(const Failure& failure) const {
  switch (failure.status) {
    case Status::E_TLS_CERTIFICATE:
    case Status::E_TLS_CONFIG:
    case Status::E_DNS_DISABLED:
    case Status::E_DNS_RESERVED:
    case Status::E_CLOSED:
      return false;
    default:
      return true;
  }
}

void DialRun::dial_failed(std::shared_ptr<Error> error) {
  drop_dial();
  end_round(nullptr);
  for (Attempt& attempt : error->attempts) {
    attempt.round = round_;
    attempt.started += round_started_ - started_;
    attempts_.push_back(std::move(attempt));
  }
  endpoint_.figures().add(Counter::DialsFailed);
  if (round_ <= values_->connect_retries && worth_repeating(error->cause) &&
      endpoint_.rest_dial(id_)) {
    const Nanos delay = policy::retry_delay(
        values_->connect_retry_delay, values_->connect_retry_delay_max, round_, endpoint_.rng());
    endpoint_.figures().add(Counter::DialsRetried);
    endpoint_.events().emit({.kind = EventKind::DialRetry,
                             .time = endpoint_.now(),
                             .status = error->cause.status,
                             .os_error = error->cause.os_error,
                             .first = round_ + 1,
                             .second = delay});
    ++round_;
    state_ = State::Resting;
    endpoint_.loop().arm(rest_, deadline_after(endpoint_.now(), delay));
    endpoint_.touch();  // it covers its own waiter only: the others get dials of their own
    return;
  }
  state_ = State::Ended;
  error->attempts.clear();
  for (Attempt& attempt : attempts_)
    error->add_attempt(std::move(attempt));
  if (round_ > 1) {
    error->context.push_back("after " + std::to_string(round_ - 1) +
                             (round_ == 2 ? " retry attempt" : " retry attempts"));
  }
  endpoint_.dial_failed(*this, std::move(error));
}

}  // namespace conpool::pool
