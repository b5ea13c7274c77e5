// Time, and the end of a call: its response or its error.
#include <algorithm>

#include "client/call.h"
#include "ops/error_object.h"

namespace conpool::client {

using observe::Counter;
using observe::EventKind;
using observe::HistogramId;

namespace {

// A consumer that holds so much, or half of its stream's window, stalls the transfer itself: the
// session has, or will soon have, stopped to read for it.
constexpr int64_t kHeldBack = 64 * 1024;

}  // namespace

// --- time ----------------------------------------------------------------------------------------

Time Call::first_byte_deadline() const {
  if (sent_ == kNotYet || head_at_ != kNotYet || values->first_byte_timeout == 0) return kNever;
  return deadline_after(sent_, values->first_byte_timeout);
}

// Bytes are due from us until all of the request is sent, and from the server once its response has
// begun; between the two the time to the first byte is bounded on its own.
Time Call::stall_deadline() const {
  if (values->stall_timeout == 0) return kNever;
  const bool sending = sent_ == kNotYet;
  if (sending && body_ != nullptr && body_->starved()) return kNever;
  if (!sending && head_at_ == kNotYet) return kNever;
  const auto held_back = static_cast<size_t>(std::min(kHeldBack, values->h2_stream_window / 2));
  if (head_at_ != kNotYet && (held_ >= held_back || waits_for_pins_)) return kNever;
  return deadline_after(progress_, values->stall_timeout);
}

void Call::arm_timer() {
  Time deadline = std::min({total_deadline, first_byte_deadline(), stall_deadline()});
  // At the beginning as if everything were sent at once, which it mostly is: that saves arming the
  // timer twice. on_sent arms it where more time has passed.
  if (sent_ == kNotYet && now() == granted_ && values->first_byte_timeout > 0)
    deadline = std::min(deadline, deadline_after(granted_, values->first_byte_timeout));
  if (!timer_.armed() || deadline < timer_.deadline()) core_.loop().arm(timer_, deadline);
}

void Call::on_timer() {
  guarded([&] {
    const Time at = now();
    if (state_ == State::Pausing) return end_pause();
    if (at >= total_deadline) {
      // Of a connection that has not answered at all it is worth to know whether it lives.
      return abort({.status = Status::E_TIMEOUT,
                    .detail = "total.timeout = " + duration_text(values->total_timeout)},
                   head_at_ == kNotYet);
    }
    if (at >= first_byte_deadline()) {
      return abort({.status = Status::E_HTTP_FIRST_BYTE_TIMEOUT,
                    .detail = "first_byte.timeout = " + duration_text(values->first_byte_timeout)},
                   true);
    }
    if (at >= stall_deadline()) {
      return abort({.status = Status::E_STALL_TIMEOUT,
                    .detail = "stall.timeout = " + duration_text(values->stall_timeout)},
                   true);
    }
    arm_timer();
  });
}

// --- the response --------------------------------------------------------------------------------

ResponseFacts Call::facts_now() const {
  ResponseFacts facts;
  facts.proof = proof_;
  facts.resends = resend_reasons_;
  facts.sends = sends_;
  facts.uses = uses_;
  facts.connection = facts_;
  facts.body_sent = body_ == nullptr ? 0 : body_->taken();
  facts.body_received = received_;
  facts.times.queue = granted_ - started_;
  if (facts_ != nullptr && uses_ == 1) {
    const dial::Timing& timing = facts_->timing;
    // Relative to the dial's start, which may lie before the request's.
    const Nanos offset = facts_->opened - timing.total - started_;
    const auto since = [offset](Nanos at) {
      return at == 0 ? -1 : std::max<Nanos>(0, offset + at);
    };
    facts.times.resolved = since(timing.resolved);
    facts.times.connected = since(timing.connected);
    facts.times.secured = since(timing.secured);
  }
  if (sent_ != kNotYet) facts.times.sent = sent_ - started_;
  if (head_at_ != kNotYet) facts.times.head = head_at_ - started_;
  return facts;
}

void Call::post_response(uint32_t kind, std::shared_ptr<const session::ResponseHead> head) {
  op_->post(kind, Status::OK, new Response(std::move(head), trailers_, Slice(), facts_now()));
}

void Call::succeed() {
  report_response(head_->status);
  note_success();
  post_gathered();
  ResponseFacts facts = facts_now();
  facts.times.total = core_.loop().now() - started_;
  auto* response = new Response(head_, trailers_, whole_.take(), std::move(facts));
  endpoint_->figures().record(HistogramId::RequestTime, core_.loop().now() - started_);
  end(Status::OK, response, nullptr);
}

void Call::add_part(Slice bytes) {
  if (gate_ == nullptr) gate_ = std::make_shared<ReadGate>(core_, static_cast<ChunkOwner&>(*this));
  held_ += bytes.size();
  if (bytes.size() >= kSmallPartBytes) {
    post_gathered();
    return post_chunk(std::move(bytes));
  }
  gathered_.insert(gathered_.end(), bytes.data(), bytes.data() + bytes.size());
  const bool few = gate_->outstanding() < kFewChunks;
  if (gathered_.size() >= (few ? kGatheredBytes : kMostGatheredBytes)) return post_gathered();
  if (few) post_gathered_later();
}

void Call::post_chunk(Slice bytes) {
  const uint64_t before = received_;
  received_ += bytes.size();
  BodyChunk* chunk = BodyChunk::make(std::move(bytes), core_.pinned(), gate_);
  op_->post(CONPOOL_EVENT_CHUNK, Status::OK, chunk, before);
}

void Call::post_gathered() {
  if (gathered_.empty()) return;
  Slice bytes = Slice::copy_of(gathered_);
  gathered_.clear();
  if (gathered_.capacity() > kSmallPartBytes) gathered_.shrink_to_fit();
  post_chunk(std::move(bytes));
}

void Call::post_gathered_later() {
  if (gathered_due_) return;
  gathered_due_ = true;
  core_.loop().defer([weak = weak_from_this()] {
    const std::shared_ptr<Call> call = weak.lock();
    if (call == nullptr) return;
    call->gathered_due_ = false;
    if (call->state_ == State::Done || call->gate_->outstanding() >= kFewChunks) return;
    call->guarded([&] { call->post_gathered(); });
  });
}

// --- the error -----------------------------------------------------------------------------------

// What was asked, how often it was tried, and what became of the earlier tries.
void Call::add_context(Error* error) const {
  error->context.push_back(request_->text);
  if (sends_ > 1) error->context.push_back("after " + std::to_string(sends_) + " sends");
  if (!denied_.empty()) error->context.push_back(denied_);
  if (earlier_.empty()) return;
  std::vector<Attempt> later;
  later.swap(error->attempts);
  for (const Attempt& attempt : earlier_)
    error->add_attempt(attempt);
  for (Attempt& attempt : later)
    error->add_attempt(std::move(attempt));
}

ErrorPtr Call::error_of(const Failure& cause, Phase phase) const {
  auto error = std::make_shared<Error>();
  error->cause = cause;
  error->phase = phase;
  error->proof = proof_;
  if (facts_ != nullptr) {
    error->context.push_back("on the connection to " + facts_->address);
    error->context.push_back("connected to " + facts_->endpoint);
  }
  add_context(error.get());
  return error;
}

void Call::fail_with(ErrorPtr error) {
  if (endpoint_ != nullptr) endpoint_->report(*this, policy::CallOutcome::Ignored);
  post_gathered();
  auto* object = new ops::ErrorObject(error);
  end(error->cause.status, object, error);
}

void Call::end(Status status, ops::Object* object, const ErrorPtr& error) {
  const std::shared_ptr<Call> keep = shared_from_this();
  if (state_ == State::Pausing) endpoint_->end_rest(*this);
  transition(State::Done);
  timer_.cancel();
  if (waits_for_pins_) core_.pinned()->forget(*this);
  if (gate_ != nullptr) gate_->close();
  if (feed_ != nullptr) {
    PieceFeed::withdraw(op_->id());
    feed_->end(error);
    request_->pieces_running.store(false);
  }
  if (pieces_ != nullptr) pieces_->end(error);
  if (endpoint_ != nullptr) {
    observe::Metrics& figures = endpoint_->figures();
    figures.sub(Counter::RequestsRunning);
    figures.add(status == Status::OK ? Counter::RequestsDone : Counter::RequestsFailed);
    if (body_ != nullptr)
      figures.add(Counter::RequestBodyBytes, static_cast<int64_t>(body_->taken()));
    if (received_ > 0) figures.add(Counter::ResponseBodyBytes, static_cast<int64_t>(received_));
    const EventKind kind = status == Status::OK ? EventKind::RequestDone : EventKind::RequestFailed;
    const observe::Emitter events = endpoint_->events();
    if (events.wants(kind)) {
      events.emit({.kind = kind,
                   .time = core_.loop().now(),
                   .op = op_id,
                   .status = status,
                   .first = status == Status::OK ? head_->status : static_cast<int64_t>(sends_),
                   .second = core_.loop().now() - started_,
                   .text = request_->text});
    }
  }
  std::exchange(op_, nullptr)->finish(status, object, sends_, static_cast<uint64_t>(proof_));
}

}  // namespace conpool::client
