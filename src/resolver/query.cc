// Query: see the header.
#include "resolver/query.h"

#include <algorithm>
#include <cassert>

#include "resolver/dns_message.h"

namespace conpool::resolver {
namespace {

// Which failure tells most: an answer beats silence, and silence beats what never left the machine.
int weight(Status status) {
  switch (status) {
    case Status::E_DNS_SERVER_FAILURE:
      return 5;
    case Status::E_DNS_REFUSED:
      return 4;
    case Status::E_DNS_BAD_ANSWER:
      return 3;
    case Status::E_DNS_TIMEOUT:
      return 2;
    case Status::OK:
      return 0;
    default:
      return 1;
  }
}

bool is_silence(Status status) {
  return status == Status::E_DNS_TIMEOUT || status == Status::E_DNS_UNREACHABLE;
}

Failure timeout_failure() {
  return Failure{.status = Status::E_DNS_TIMEOUT};
}

}  // namespace

Query::Query(std::string name, Family family, QueryRules rules, Servers& servers)
    : name_(std::move(name)), family_(family), rules_(rules), servers_(servers) {}

void Query::transition(State to) {
  assert(state_ != State::Done);
  assert(state_ != State::Ready || to == State::Asking || to == State::Done);
  assert(state_ != State::Pausing || to != State::Pausing);
  state_ = to;
}

QueryStep Query::start(Time now) {
  assert(state_ == State::Ready);
  return begin_round(now);
}

QueryStep Query::begin_round(Time now) {
  order_ = servers_.order(now);
  next_ = 0;
  silence_ = false;
  round_started_ = now;
  if (order_.empty()) {
    return finish({.failure = {.status = Status::E_DNS_UNREACHABLE,
                               .detail = "no DNS server is configured"}});
  }
  return ask_next(now);
}

QueryStep Query::ask_next(Time now) {
  if (now >= rules_.deadline) return finish({.failure = timeout_failure()});
  if (next_ == order_.size()) return end_round(now);
  const SocketAddress server = order_[next_++];
  const Nanos timeout = std::min(rules_.resolve_timeout, rules_.deadline - now);
  step_ends_ = deadline_after(now, timeout);
  if (tries_.size() < Error::kMaxAttempts) {
    tries_.push_back(
        {.target = std::string(family_type_name(family_)) + " " + name_ + " @" + server.text(),
         .started = now});
  }
  transition(State::Asking);
  return {.kind = QueryStep::Kind::Ask, .server = server, .timeout = timeout};
}

QueryStep Query::end_round(Time now) {
  if (!silence_ || round_ >= rules_.retries) return finish({.failure = worst_});
  ++round_;
  const Time earliest = deadline_after(round_started_, std::min(gap_, rules_.resolve_timeout));
  gap_ = std::min(gap_ * 2, rules_.resolve_timeout);
  if (now >= earliest) return begin_round(now);
  step_ends_ = earliest;
  transition(State::Pausing);
  return {.kind = QueryStep::Kind::Pause};
}

QueryStep Query::on_answer(const Result<std::vector<uint8_t>>& message, Time now) {
  if (state_ != State::Asking) return {};
  if (!message) return fail_try(message.error(), now);
  DnsAnswer answer = parse_dns_answer(*message, name_, family_);
  const bool about_name = answer.status() == Status::OK || Outcome::is_negative(answer.status());
  if (!about_name) return fail_try(answer.failure, now);
  servers_.answered(order_[next_ - 1]);
  end_try(answer.failure, now);
  return finish({.failure = std::move(answer.failure),
                 .addresses = std::move(answer.addresses),
                 .ttl = answer.ttl * kSecond});
}

QueryStep Query::on_time(Time now) {
  if (state_ == State::Done || state_ == State::Ready) return {};
  if (now >= rules_.deadline) {
    if (state_ == State::Asking) {
      servers_.silent(order_[next_ - 1], now);
      end_try(timeout_failure(), now);
    }
    return finish({.failure = timeout_failure()});
  }
  if (now < step_ends_) return {};
  if (state_ == State::Pausing) return begin_round(now);
  return fail_try(timeout_failure(), now);
}

QueryStep Query::fail_try(Failure failure, Time now) {
  end_try(failure, now);
  if (status_class(failure.status) != StatusClass::DNS) {
    return finish({.failure = std::move(failure), .cacheable = false});
  }
  const SocketAddress& server = order_[next_ - 1];
  if (is_silence(failure.status)) {
    silence_ = true;
    servers_.silent(server, now);
  } else {
    servers_.answered(server);
  }
  remember(failure);
  return ask_next(now);
}

void Query::end_try(const Failure& failure, Time now) {
  if (tries_.empty() || tries_.back().ended != kNever) return;  // beyond the limit of kept tries
  tries_.back().ended = now;
  tries_.back().failure = failure;
}

void Query::remember(const Failure& failure) {
  if (weight(failure.status) > weight(worst_.status)) worst_ = failure;
}

QueryStep Query::finish(Outcome outcome) {
  outcome_ = std::move(outcome);
  step_ends_ = kNever;
  transition(State::Done);
  return {.kind = QueryStep::Kind::Finish};
}

void Query::extend(const QueryRules& rules) {
  rules_.deadline = std::max(rules_.deadline, rules.deadline);
  rules_.retries = std::max(rules_.retries, rules.retries);
}

Time Query::next_deadline() const {
  if (state_ != State::Asking && state_ != State::Pausing) return kNever;
  return std::min(step_ends_, rules_.deadline);
}

}  // namespace conpool::resolver
