// The way of a call: into the line, onto a connection, and back for another try.
#include "client/call.h"

#include <algorithm>
#include <cassert>

#include "client/fields.h"
#include "client/retry.h"
#include "ops/error_object.h"

namespace conpool::client {

using observe::Counter;
using observe::EventKind;

namespace {

Resends make_resends(const FrozenRequest& request, const Values& values) {
  return Resends({.idempotent = request.idempotent,
                  .body_again = true,
                  .stale_limit = static_cast<uint32_t>(values.retry_stale),
                  .refused_limit = static_cast<uint32_t>(values.retry_refused)});
}

Counter counter_of(Resend reason) {
  switch (reason) {
    case Resend::Stale:
      return Counter::ResendsStale;
    case Resend::Refused:
      return Counter::ResendsRefused;
    case Resend::Goaway:
      return Counter::ResendsGoaway;
    case Resend::Http1:
      return Counter::ResendsHttp1;
    case Resend::Preface:
      return Counter::ResendsPreface;
    default:
      return Counter::ResendsUnsent;
  }
}

}  // namespace

Call::Call(pool::Core& core, std::shared_ptr<const FrozenRequest> request,
           std::shared_ptr<const Values> call_values, Delivery delivery)
    : core_(core),
      request_(std::move(request)),
      delivery_(delivery),
      resends_(make_resends(*request_, *call_values)) {
  values = std::move(call_values);
  timer_.set_callback([this] { on_timer(); });
}

Call::~Call() = default;

void Call::out_of_memory() {
  if (state_ == State::Done) return;
  if (state_ == State::Waiting && endpoint_ != nullptr &&
      (WaiterRecord::linked() || ListNode<pool::ParkedTag>::linked()))
    endpoint_->leave(*this, Status::E_NOMEM);
  if (exchange_ != nullptr) {
    const session::ExchangeEnd ended = std::exchange(exchange_, nullptr)->cancel();
    note_proof(ended.proof);
    leave_connection(ended.lease);
  } else {
    leave_connection(session::LeaseEnd::Broken);
  }
  end(Status::E_NOMEM, nullptr, nullptr);
}

void Call::transition(State next) {
  [[maybe_unused]] const auto legal = [this, next] {
    switch (next) {
      case State::New:
        return false;
      case State::Waiting:
        return state_ == State::New || state_ == State::Running || state_ == State::Pausing;
      case State::Running:
        return state_ == State::Waiting;
      case State::Delivering:
        return state_ == State::Running;
      case State::Pausing:
        return state_ == State::Waiting || state_ == State::Running;
      case State::Done:
        return state_ != State::Done;
    }
    return false;
  };
  assert(legal());
  state_ = next;
}

// --- the start -----------------------------------------------------------------------------------

Result<void> Call::start(pool::Core& core, std::shared_ptr<const FrozenRequest> request,
                         std::shared_ptr<const Values> values, Delivery delivery, ops::Queue* queue,
                         uint64_t user_data, uint64_t* out_op) {
  const FrozenRequest& parts = *request;
  const bool pieces = parts.body == BodyKind::Pieces;
  auto call = std::make_shared<Call>(core, std::move(request), std::move(values), delivery);
  if (pieces) {
    call->feed_ =
        std::make_shared<PieceFeed>(core, core.ops_in_flight(), core.ops_limit(), parts.body_size);
  }
  Result<ops::Op*> op = ops::Op::begin(core, queue, CONPOOL_EVENT_RESPONSE, user_data,
                                       core.ops_in_flight(), core.ops_limit());
  if (!op) return fail(std::move(op.error()));
  const uint64_t id = (*op)->id();
  if (pieces) {
    if (parts.pieces_running.exchange(true)) {
      (*op)->abandon();
      return fail(Status::E_WRONG_STATE,
                  "the request's body comes in pieces, and another op of it still runs");
    }
    if (!PieceFeed::publish(id, call->feed_)) {
      parts.pieces_running.store(false);
      (*op)->abandon();
      return fail(Status::E_NOMEM);
    }
  }
  (*op)->arguments().target = std::move(call);
  *out_op = id;
  (*op)->submit(run);
  return {};
}

void Call::run(ops::Op& op) {
  const auto call = std::static_pointer_cast<Call>(op.arguments().target);
  call->op_ = &op;
  call->guarded([&] { call->enter(op); });
}

void Call::enter(ops::Op& op) {
  op_id = op.id();
  if (core_.ended() || core_.closed())
    return fail_with(error_of({.status = Status::E_CLOSED}, Phase::Queue));
  started_ = now();
  make_body();
  Result<pool::Endpoint*> endpoint = core_.endpoint(request_->spec);
  if (!endpoint) return fail_with(error_of(endpoint.error(), Phase::Queue));
  endpoint_ = *endpoint;
  endpoint_->figures().add(Counter::RequestsMade);
  endpoint_->figures().add(Counter::RequestsRunning);
  if (op.cancel_requested())
    return fail_with(error_of({.status = Status::E_CANCELLED}, Phase::Queue));
  op.set_task(this);
  transition(State::Waiting);
  endpoint_->wait(*this);
}

void Call::make_body() {
  const FrozenRequest& request = *request_;
  switch (request.body) {
    case BodyKind::None:
      return;
    case BodyKind::Memory:
      body_ = &memory_body_.emplace(static_cast<BodyUser&>(*this), request.data,
                                    static_cast<size_t>(*request.body_size));
      return;
    case BodyKind::File:
      other_body_ =
          std::make_unique<FileBody>(core_.loop(), static_cast<BodyUser&>(*this), request.file);
      break;
    case BodyKind::Pieces: {
      auto pieces = std::make_unique<PiecesBody>(static_cast<BodyUser&>(*this), request.body_size);
      pieces_ = pieces.get();
      feed_->attach(pieces_);
      other_body_ = std::move(pieces);
      break;
    }
  }
  body_ = other_body_.get();
}

// --- a sending -----------------------------------------------------------------------------------

void Call::granted(pool::Connection& connection, bool reused) {
  (void)reused;
  guarded([&] {
    transition(State::Running);
    connection_ = &connection;
    facts_ = connection.facts();
    uses_ = use;
    granted_ = progress_ = now();
    sent_ = head_at_ = kNotYet;
    answered_ = false;
    ++sends_;
    endpoint_->figures().add(Counter::RequestsSent);
    const observe::Emitter events = endpoint_->events();
    if (events.wants(EventKind::RequestSent)) {
      events.emit({.kind = EventKind::RequestSent,
                   .time = granted_,
                   .connection = connection.id(),
                   .op = op_id,
                   .first = sends_,
                   .second = granted_ - started_});
    }
    if (body_ != nullptr) body_->begin();
    exchange_ = &connection.http().begin(request_->head, body_, *this,
                                         {.expect_timeout = values->expect_timeout});
    arm_timer();
  });
}

void Call::failed(const ErrorPtr& error) {
  guarded([&] {
    if (error == nullptr) return end(Status::E_NOMEM, nullptr, nullptr);
    if (retry_failed_dial(*error)) return;
    auto own = std::make_shared<Error>(*error);
    own->proof = proof_;
    add_context(own.get());
    fail_with(std::move(own));
  });
}

// The session has ended the exchange: it told so already, or would later.
void Call::detached() {
  if (!running()) return;
  connection_ = nullptr;
  timer_.cancel();
  guarded([&] {
    session::ExchangeEnd ended;
    if (exchange_ != nullptr) ended = std::exchange(exchange_, nullptr)->cancel();
    note_proof(ended.proof);
    // An exchange that had ended before, untold, knows more than that its connection closed.
    const Status status = ended.failure.status;
    if (status == Status::OK || status == Status::E_CANCELLED)
      ended.failure = {.status = Status::E_CLOSED};
    if (discarded_status_ != 0) return retry_discarded();
    end_send(ended);
  });
}

void Call::on_sent() {
  progressed();
  sent_ = progress_;
  if (sent_ != granted_) arm_timer();
  if (body_ != nullptr) body_->sent();
}

void Call::on_interim(session::ResponseHead head) {
  guarded([&] {
    progressed();
    answered_ = true;
    if (delivery_ == Delivery::Stream) {
      post_response(CONPOOL_EVENT_INTERIM,
                    std::make_shared<const session::ResponseHead>(std::move(head)));
    }
  });
}

void Call::on_head(session::ResponseHead head) {
  guarded([&] {
    progressed();
    answered_ = true;
    head_at_ = progress_;
    if (connection_->note_answer()) endpoint_->first_answer(*facts_, true);
    if (retry_status(head)) return arm_timer();
    transition(State::Delivering);
    head_ = std::make_shared<const session::ResponseHead>(std::move(head));
    if (sent_ != kNotYet)
      endpoint_->figures().record(observe::HistogramId::FirstByteTime, head_at_ - sent_);
    arm_timer();
    if (delivery_ == Delivery::Stream) return post_response(CONPOOL_EVENT_HEAD, head_);
    const uint64_t announced = announced_length();
    if (announced > static_cast<uint64_t>(values->response_max_body)) return body_too_long();
    whole_.expect(announced);
  });
}

// The session has checked it; that of a HEAD or a 304 tells of another response.
uint64_t Call::announced_length() const {
  const std::optional<std::string_view> text = head_->fields.find("content-length");
  if (!text || request_->head.head_only || head_->status == 304) return 0;
  const Result<uint64_t> size = parse_content_length(*text);
  return size ? *size : 0;
}

void Call::body_too_long() {
  abort({.status = Status::E_HTTP_BODY_LIMIT,
         .detail = "response.max_body = " + std::to_string(values->response_max_body) +
                   "; larger ones can be taken in chunks"});
}

void Call::on_body(Slice bytes) {
  guarded([&] {
    progressed();
    const size_t size = bytes.size();
    if (discard(size)) return;
    if (delivery_ == Delivery::Stream) return add_part(std::move(bytes));
    received_ += size;
    if (received_ > static_cast<uint64_t>(values->response_max_body)) return body_too_long();
    whole_.add(std::move(bytes));
    exchange_->consumed(size);
  });
}

void Call::on_trailers(session::Fields trailers) {
  guarded([&] {
    progressed();
    if (discarded_status_ != 0) return;
    trailers_ = std::make_shared<const session::Fields>(std::move(trailers));
    post_gathered();
    if (delivery_ == Delivery::Stream) post_response(CONPOOL_EVENT_TRAILERS, head_);
  });
}

void Call::on_done(const session::ExchangeEnd& end_in) {
  guarded([&] {
    const session::ExchangeEnd ended = end_in;  // the caller's may go with the exchange
    exchange_ = nullptr;
    note_proof(ended.proof);
    leave_connection(ended.lease);
    if (discarded_status_ != 0) return retry_discarded();
    if (ended.failure.status == Status::OK) return succeed();
    end_send(ended);
  });
}

// A send failed: it is repeated where that is safe, or the call fails.
void Call::end_send(const session::ExchangeEnd& ended) {
  note_failed_send(ended);
  if (send_again(ended) || retry_failed_send(ended)) return;
  fail_with(error_of(ended.failure, ended.phase));
}

// --- its end -------------------------------------------------------------------------------------

void Call::note_proof(Proof proof) {
  proof_ = std::max(proof_, proof);
}

void Call::leave_connection(session::LeaseEnd how) {
  timer_.cancel();
  if (pool::Connection* connection = std::exchange(connection_, nullptr))
    connection->end_lease(*this, how);
}

bool Call::send_again(const session::ExchangeEnd& ended) {
  if (core_.closed()) return false;
  if (body_ != nullptr && body_->taken() > 0 && !body_->repeatable()) resends_.body_was_taken();
  // Where HTTP/2 alone is allowed, a server that cannot do it has refused like any other.
  const auto version = static_cast<HttpChoice>(request_->spec->settings->values().http_version);
  const bool over_http1 = ended.needs_http1 && version != HttpChoice::H2;
  const Resend reason = resends_.decide({.status = ended.failure.status,
                                         .proof = ended.proof,
                                         .stale = ended.stale,
                                         .needs_http1 = over_http1,
                                         .served = ended.served,
                                         .answered = answered_});
  if (reason == Resend::No) return false;
  if (over_http1) (void)endpoint_->remember_http1_only();
  if (reason == Resend::Stale || (reason == Resend::Unsent && uses_ > 1)) {
    endpoint_->drop_idle();
    fresh_only = true;
  }
  resend_reasons_.push_back(reason);
  remember_send(ended.failure, ended.phase);
  endpoint_->figures().add(counter_of(reason));
  endpoint_->events().emit({.kind = EventKind::RequestResent,
                            .time = now(),
                            .op = op_id,
                            .status = ended.failure.status,
                            .first = sends_,
                            .text = resend_text(reason)});
  transition(State::Waiting);
  endpoint_->wait_again(*this);
  return true;
}

void Call::abort(const Failure& failure, bool ask) {
  session::ExchangeEnd ended = std::exchange(exchange_, nullptr)->cancel();
  if (ask) connection_->http().ask();
  note_proof(ended.proof);
  leave_connection(ended.lease);
  if (discarded_status_ != 0 && was_timeout(failure.status)) return retry_discarded();
  drop_planned();
  ended.failure = failure;
  note_failed_send(ended);
  if (retry_failed_send(ended)) return;
  fail_with(error_of(failure, ended.phase));
}

void Call::cancel(ops::Op&, Status reason) {
  guarded([&] {
    if (running()) return abort({.status = reason});
    if (state_ != State::Waiting && state_ != State::Pausing) return;
    if (state_ == State::Waiting) endpoint_->leave(*this, reason);
    auto error = std::make_shared<Error>(*endpoint_->error_for(reason, *this));
    error->proof = proof_;
    add_context(error.get());
    fail_with(std::move(error));
  });
}

void Call::body_ready() {
  progressed();
  if (exchange_ != nullptr) exchange_->body_ready();
  if (running()) arm_timer();
}

void Call::body_failed(const Failure& failure) {
  guarded([&] {
    if (running()) return abort(failure);
    if (state_ != State::Waiting && state_ != State::Pausing) return;
    if (state_ == State::Waiting) endpoint_->leave(*this, failure.status);
    fail_with(error_of(failure, Phase::Queue));
  });
}

void Call::chunks_freed(size_t bytes) {
  guarded([&] {
    held_ -= bytes;
    owed_ += bytes;
    progressed();
    post_gathered();
    let_more_come();
    if (running()) arm_timer();
  });
}

// Beyond pool.max_pinned nothing more is asked for until some of it is freed, by whomever.
void Call::let_more_come() {
  if (exchange_ == nullptr || owed_ == 0 || waits_for_pins_) return;
  raw::PinnedBytes& pinned = *core_.pinned();
  if (pinned.full() && pinned.wait(*this)) {
    waits_for_pins_ = true;
    return;
  }
  exchange_->consumed(std::exchange(owed_, 0));
}

void Call::on_unpinned() {
  waits_for_pins_ = false;
  progressed();
  let_more_come();
  if (running()) arm_timer();
}

}  // namespace conpool::client
