// A call and the retry policy: what is repeated, when, and what the breaker is told.
#include <algorithm>

#include "base/status_list.h"
#include "client/call.h"
#include "client/retry.h"
#include "observe/error_counter.h"
#include "policy/call_outcome.h"

namespace conpool::client {

using observe::Counter;
using observe::EventKind;
using policy::CallOutcome;

namespace {

// Of a response that is not delivered, since the request is sent again.
constexpr uint64_t kMostDiscarded = 64 * 1024;
constexpr uint16_t kTooManyRequests = 429;

}  // namespace

// --- what the breaker is told --------------------------------------------------------------------

CallOutcome Call::outcome_of_response(uint16_t status) const {
  const Values& shared = endpoint_->values();
  if (status == kTooManyRequests) return CallOutcome::Ignored;
  if (status_list_has(shared.breaker_statuses, status)) return CallOutcome::Failure;
  // To the header: how long the body takes depends on whoever reads it.
  const Time answered = head_at_ == kNotYet ? core_.loop().now() : head_at_;
  const bool slow = shared.breaker_slow > 0 && answered - granted_ > shared.breaker_slow;
  return slow ? CallOutcome::Failure : CallOutcome::Success;
}

void Call::report_response(uint16_t status) {
  const CallOutcome outcome = outcome_of_response(status);
  endpoint_->report(
      *this, outcome,
      outcome == CallOutcome::Failure ? "status " + std::to_string(status) : std::string());
}

// Counts and tells a send that failed. What is ignored keeps the call's permit: another send of it
// is the same call.
void Call::note_failed_send(const session::ExchangeEnd& ended) {
  if (of_connection(ended.failure.status) || ended.failure.status == Status::E_TIMEOUT)
    endpoint_->figures().add(observe::error_counter(ended.failure));
  endpoint_->events().emit({.kind = EventKind::RequestSendFailed,
                            .time = now(),
                            .connection = facts_->id,
                            .op = op_id,
                            .status = ended.failure.status,
                            .os_error = ended.failure.os_error,
                            .first = sends_,
                            .second = now() - granted_,
                            .text = facts_->address});
  const policy::FailedSend send{.proof = ended.proof, .stale = ended.stale, .fresh = uses_ == 1};
  if (!ended.served && policy::hung_up(ended.failure, send))
    endpoint_->first_answer(*facts_, false);
  const CallOutcome outcome = policy::outcome_of_send(ended.failure, send);
  if (outcome != CallOutcome::Ignored)
    endpoint_->report(*this, outcome, failure_text(ended.failure) + " from " + facts_->address);
}

// --- the decision --------------------------------------------------------------------------------

bool Call::can_repeat() const {
  if (core_.closed() || retries_ + 1 >= static_cast<uint32_t>(values->retry_attempts)) return false;
  return body_ == nullptr || body_->taken() == 0 || body_->repeatable();
}

// Takes the retry's tokens, if there are enough and it would come in time.
bool Call::plan_retry(bool after_timeout, std::optional<Nanos> server_delay) {
  Nanos delay = 0;
  if (server_delay) {
    delay = *server_delay;
  } else {
    const uint32_t stretch = values->retry_adaptive != 0 ? endpoint_->retry_stretch() : 1000;
    delay = policy::request_retry_delay(policy::retry_delay_options(*values), retries_ + 1, stretch,
                                        core_.rng());
  }
  policy::RetryBudget& budget = endpoint_->retry_budget();
  if (deadline_after(now(), delay) >= total_deadline) {
    deny_retry(Counter::RetriesTooLate,
               "its delay of " + duration_text(delay) + " would end after the deadline");
    return false;
  }
  const std::optional<int64_t> cost = budget.take(after_timeout);
  if (!cost) {
    deny_retry(Counter::RetriesOverBudget, "the retry budget is used up");
    return false;
  }
  endpoint_->figures().set(Counter::RetryTokens, budget.tokens());
  planned_ = PlannedRetry{deadline_after(now(), delay), *cost};
  return true;
}

void Call::deny_retry(observe::Counter counter, const std::string& why) {
  endpoint_->figures().add(counter);
  endpoint_->events().emit({.kind = EventKind::RequestRetryDenied,
                            .time = now(),
                            .op = op_id,
                            .first = sends_,
                            .second = endpoint_->retry_budget().tokens(),
                            .text = why});
  denied_ = "not sent again: " + why;
}

bool Call::retry_failed_send(const session::ExchangeEnd& ended) {
  const FailedTry end{ended.failure, ended.proof, answered_};
  if (!can_repeat() || !may_retry(end, request_->idempotent)) return false;
  if (!plan_retry(was_timeout(ended.failure.status), std::nullopt)) return false;
  remember_send(ended.failure, ended.phase);
  pause(ended.failure);
  return true;
}

bool Call::retry_failed_dial(const Error& error) {
  const FailedTry end{error.cause, Proof::NeverSent, false};
  if (!can_repeat() || !may_retry(end, request_->idempotent)) return false;
  if (!plan_retry(was_timeout(error.cause.status), std::nullopt)) return false;
  earlier_.insert(earlier_.end(), error.attempts.begin(), error.attempts.end());
  pause(error.cause);
  return true;
}

// Whether the response that begins is discarded, because its status is worth another send.
bool Call::retry_status(const session::ResponseHead& head) {
  if (!status_list_has(values->retry_statuses, head.status)) return false;
  if (!request_->idempotent || !can_repeat()) return false;
  std::optional<Nanos> server_delay;
  if (const auto after = head.fields.find("retry-after")) {
    server_delay = policy::parse_retry_after(*after, head.fields.find("date").value_or(""),
                                             values->retry_after_max);
  }
  if (!plan_retry(false, server_delay)) return false;
  discarded_status_ = head.status;
  return true;
}

// --- the retry -----------------------------------------------------------------------------------

// True while the response is one that nobody gets.
bool Call::discard(size_t size) {
  if (discarded_status_ == 0) return false;
  discarded_ += size;
  if (discarded_ <= kMostDiscarded) {
    exchange_->consumed(size);
    return true;
  }
  const session::ExchangeEnd ended = std::exchange(exchange_, nullptr)->cancel();
  leave_connection(ended.lease);
  retry_discarded();
  return true;
}

void Call::retry_discarded() {
  const Failure failure{.status = Status::OK,
                        .detail = "status " + std::to_string(discarded_status_)};
  note_proof(Proof::MaybeProcessed);  // it was answered, whatever became of the answer's rest
  report_response(std::exchange(discarded_status_, 0));
  discarded_ = 0;
  remember_send(failure, Phase::Receive);
  pause(failure);
}

// The retry for which a response was being discarded is not made; the status counts all the same.
void Call::drop_planned() {
  if (discarded_status_ != 0) report_response(std::exchange(discarded_status_, 0));
  if (!planned_) return;
  policy::RetryBudget& budget = endpoint_->retry_budget();
  budget.give_back(std::exchange(planned_, std::nullopt)->cost);
  endpoint_->figures().set(Counter::RetryTokens, budget.tokens());
}

void Call::remember_send(const Failure& failure, Phase phase) {
  Attempt attempt;
  attempt.phase = phase;
  attempt.target = facts_->address;
  attempt.started = granted_ - started_;
  attempt.duration = now() - granted_;
  attempt.failure = failure;
  earlier_.push_back(std::move(attempt));
}

void Call::pause(const Failure& why) {
  endpoint_->report(*this, CallOutcome::Ignored);  // if it was not told more before
  const PlannedRetry planned = *std::exchange(planned_, std::nullopt);
  ++retries_;
  last_retry_cost_ = planned.cost;
  resend_reasons_.push_back(Resend::Retry);
  endpoint_->figures().add(Counter::RetriesMade);
  endpoint_->events().emit({.kind = EventKind::RequestRetry,
                            .time = now(),
                            .op = op_id,
                            .status = why.status,
                            .os_error = why.os_error,
                            .first = sends_,
                            .second = std::max<Nanos>(0, planned.at - now()),
                            .text = why.detail});
  transition(State::Pausing);
  core_.loop().arm(timer_, std::max(now(), planned.at));
  endpoint_->rest(*this);
}

void Call::end_pause() {
  transition(State::Waiting);
  endpoint_->wait_again(*this);
}

// The budget learns of a request that came through. A response that says that the server failed is
// none: an outage that is answered would pay for its own retries.
void Call::note_success() {
  const uint16_t status = head_->status;
  const bool bad = status == kTooManyRequests || status_list_has(values->retry_statuses, status) ||
                   status_list_has(endpoint_->values().breaker_statuses, status);
  if (bad) return;
  policy::RetryBudget& budget = endpoint_->retry_budget();
  if (retries_ == 0) {
    budget.succeeded_at_once();
  } else {
    budget.retry_succeeded(last_retry_cost_);
    endpoint_->figures().add(Counter::RetriesSucceeded);
  }
  endpoint_->figures().set(Counter::RetryTokens, budget.tokens());
}

}  // namespace conpool::client
