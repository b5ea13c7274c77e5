// The HTTP/1.1 session: sending, receiving, and every way an exchange ends.
#include "http1/session.h"

#include <algorithm>
#include <cassert>

namespace conpool::http1 {

using session::ExchangeEnd;
using session::LeaseEnd;

Session::Session(io::Loop& loop, std::unique_ptr<io::Stream> stream, const Values& values,
                 Place place)
    : loop_(loop),
      stream_(std::move(stream)),
      place_(std::move(place)),
      self_(std::make_shared<Session*>(this)),
      decoder_(DecoderLimits::of(values)) {
  expect_timer_.set_callback([this] {
    writer_.release_body();
    send();
  });
  resume_timer_.set_callback([this] { send(); });
}

Session::~Session() {
  close(false);
  loop_.discard(std::move(stream_));
}

void Session::transition(State next) {
  [[maybe_unused]] const auto legal = [this, next] {
    switch (next) {
      case State::New:
        return false;
      case State::Idle:
        return state_ == State::New || state_ == State::Active;
      case State::Active:
        return state_ == State::Idle;
      case State::Spent:
        return state_ == State::Active;
      case State::Dead:
        return state_ != State::Dead;
    }
    return false;
  };
  assert(legal());
  state_ = next;
}

void Session::start(session::Owner& owner) {
  owner_ = &owner;
  transition(State::Idle);
  stream_->set_handler(this);
  set_reading(true);
}

io::Peek Session::peek() {
  return state_ == State::Idle ? stream_->peek() : io::Peek::Failed;
}

void Session::check(Callback<void(Result<void>)> done) {
  check_done_ = std::move(done);
  loop_.defer([self = std::weak_ptr<Session*>(self_)] {
    const std::shared_ptr<Session*> alive = self.lock();
    if (alive == nullptr || !(*alive)->check_done_) return;
    Callback<void(Result<void>)> call = std::move((*alive)->check_done_);
    if ((*alive)->state_ == State::Idle) {
      call({});
    } else {
      call(fail(Status::E_CHECK_FAILED, "the connection ended meanwhile"));
    }
  });
}

void Session::close(bool abort) {
  check_done_.reset();
  owner_ = nullptr;
  if (state_ == State::Dead) return;
  const Failure closed{.status = Status::E_CLOSED};
  if (active()) {
    ExchangeEnd end = end_of(closed);
    finish(std::move(end), State::Dead);
  } else {
    transition(State::Dead);
  }
  stream_->close(abort);
}

session::HttpFigures Session::figures() const {
  return {.exchanges = exchange_, .active = active() ? 1u : 0u};
}

void Session::set_reading(bool on) {
  if (reading_ == on) return;
  reading_ = on;
  stream_->read(on);
}

// --- the request ---------------------------------------------------------------------------------

session::Exchange& Session::begin(const session::RequestHead& head, session::BodySource* body,
                                  session::ExchangeHandler& handler,
                                  const session::ExchangeOptions& options) {
  transition(State::Active);
  ++exchange_;
  handler_ = &handler;
  expect_timeout_ = options.expect_timeout;
  told_sent_ = false;
  unconsumed_ = 0;
  writer_.begin(head, body);
  decoder_.begin(head.head_only);
  send_later();
  return *this;
}

// The source and the handler are never called from inside begin() or body_ready().
void Session::send_later() {
  if (send_due_) return;
  send_due_ = true;
  loop_.defer([self = std::weak_ptr<Session*>(self_)] {
    const std::shared_ptr<Session*> alive = self.lock();
    if (alive == nullptr) return;
    (*alive)->send_due_ = false;
    (*alive)->send();
  });
}

void Session::body_ready() {
  if (active()) send_later();
}

void Session::send() {
  if (!active() || writer_.sent()) return;
  if (writer_.untouched() && !may_begin_to_write()) return;
  const uint64_t exchange = exchange_;
  const Result<BodyWriter::Progress> progress = writer_.send(*stream_);
  if (!runs(exchange)) return;
  if (!progress) {
    if (progress.error().status == Status::E_HTTP_BODY_LENGTH) {
      ExchangeEnd end = end_of(progress.error());
      const State next = judge_place(&end);
      return finish(std::move(end), next);
    }
    return transport_ended(progress.error());
  }
  switch (*progress) {
    case BodyWriter::Progress::Starved:
      return arm_expect();
    case BodyWriter::Progress::Paused:
      return loop_.arm(resume_timer_, loop_.now());
    case BodyWriter::Progress::Sent:
      if (!std::exchange(told_sent_, true)) handler_->on_sent();
      return;
    case BodyWriter::Progress::Blocked:
    case BodyWriter::Progress::Accepted:
      return;
  }
}

// Looks once more right before the first byte of a request: what came until then does not answer
// it.
bool Session::may_begin_to_write() {
  const io::Peek seen = stream_->peek();
  if (!served_) return !must_read_first(seen);
  switch (seen) {
    case io::Peek::Quiet:
      return true;
    case io::Peek::Data:
      fail_exchange(from_peer({.status = Status::E_UNSOLICITED}));
      return false;
    case io::Peek::Eof:
      transport_ended({.status = Status::E_CONNECTION_CLOSED});
      return false;
    case io::Peek::Failed:
      transport_ended({.status = Status::E_CONNECTION_FAILED});
      return false;
  }
  return false;
}

// Bytes that wait on a fresh connection are TLS's own (tickets) or nobody's: reading tells which,
// before a request is written that they would seem to answer.
bool Session::must_read_first(io::Peek seen) {
  if (seen != io::Peek::Data || waits_ == kFirstWaits) return false;
  ++waits_;
  loop_.arm(resume_timer_, loop_.now());
  return true;
}

// The head is out and the body waits for 100 (Continue), for so long.
void Session::arm_expect() {
  if (writer_.held() && !expect_timer_.armed()) {
    loop_.arm(expect_timer_, deadline_after(loop_.now(), expect_timeout_));
  }
}

// --- the response --------------------------------------------------------------------------------

void Session::on_data(Slice data) {
  switch (state_) {
    case State::Active:
      bytes_in_ += data.size();
      return receive(data);
    case State::Idle:
      return die({.status = Status::E_UNSOLICITED}, true);
    default:
      return;
  }
}

void Session::receive(const Slice& data) {
  if (writer_.untouched()) {
    // It answers nothing: no byte of the request has left.
    return fail_exchange(from_peer({.status = Status::E_UNSOLICITED}));
  }
  const uint64_t exchange = exchange_;
  std::span<const uint8_t> input = data.span();
  for (;;) {
    const Decoder::Event event = decoder_.next(input);
    if (event == Decoder::Event::NeedMore) return;
    if (event == Decoder::Event::Done) return complete(!input.empty());
    if (event == Decoder::Event::Error) return fail_exchange(from_peer(decoder_.failure()));
    if (!tell(event, data) || !runs(exchange)) return;
  }
}

// False when the exchange ended of it.
bool Session::tell(Decoder::Event event, const Slice& data) {
  switch (event) {
    case Decoder::Event::Interim:
      return tell_head(true);
    case Decoder::Event::Head:
      return tell_head(false);
    case Decoder::Event::Body:
      tell_body(data);
      return true;
    default:
      handler_->on_trailers(decoder_.take_trailers());
      return true;
  }
}

bool Session::tell_head(bool interim) {
  session::ResponseHead head = decoder_.take_head();
  if (interim) {
    if (head.status == 100 && writer_.held()) {
      expect_timer_.cancel();
      writer_.release_body();
      send_later();
    }
    handler_->on_interim(std::move(head));
    return true;
  }
  // A final answer instead of 100, or one that will not change any more: the rest of the body is
  // not wanted (RFC 9110 §10.1.1, RFC 9112 §9.5). A success may come while it still reads.
  if (!writer_.all_accepted() && (writer_.held() || head.status >= 300)) {
    writer_.stop();
    expect_timer_.cancel();
    resume_timer_.cancel();
  }
  handler_->on_head(std::move(head));
  return true;
}

void Session::tell_body(const Slice& data) {
  const std::span<const uint8_t> body = decoder_.body();
  unconsumed_ += body.size();
  if (unconsumed_ > kUnconsumedBytes) set_reading(false);
  handler_->on_body(data.sub(static_cast<size_t>(body.data() - data.data()), body.size()));
}

void Session::consumed(size_t bytes) {
  if (!active()) return;
  unconsumed_ -= std::min(bytes, unconsumed_);
  if (unconsumed_ <= kUnconsumedBytes / 2) set_reading(true);
}

void Session::complete(bool more_bytes) {
  ExchangeEnd end = end_of({.status = Status::OK});
  const bool reusable = decoder_.reusable() && !more_bytes && writer_.sent();
  end.lease = reusable ? LeaseEnd::Reusable : LeaseEnd::Broken;
  served_ = true;
  if (reusable) {
    const Nanos limit = decoder_.idle_limit().value_or(0);
    if (limit > 0 && limit != told_idle_limit_) {
      told_idle_limit_ = limit;
      const uint64_t exchange = exchange_;
      owner_->on_idle_limit(limit);
      if (!runs(exchange)) return;
    }
  }
  finish(std::move(end), reusable ? State::Idle : State::Spent);
}

// --- ends ----------------------------------------------------------------------------------------

void Session::on_eof() {
  if (!active()) return die({.status = Status::E_CONNECTION_CLOSED}, false);
  if (decoder_.end() == Decoder::Event::Done) {
    ExchangeEnd end = end_of({.status = Status::OK});
    finish(std::move(end), State::Spent);
    return die({.status = Status::E_CONNECTION_CLOSED}, false);
  }
  transport_ended({.status = Status::E_CONNECTION_CLOSED});
}

void Session::on_failed(const Failure& failure) {
  if (active()) return transport_ended(failure);
  die(failure, false);
}

void Session::transport_ended(const Failure& failure) {
  ExchangeEnd end = end_of(ending(failure));
  end.stale = end.failure.status == Status::E_HTTP_NO_RESPONSE && served_;
  finish(std::move(end), State::Spent);
  die(failure, false);
}

Failure Session::from_peer(Failure failure) const {
  if (!failure.detail.empty()) failure.detail += ", ";
  failure.detail += "from " + place_.address + " of " + place_.endpoint;
  return failure;
}

// The exchange's failure of a transport that ended.
Failure Session::ending(const Failure& failure) {
  switch (failure.status) {
    case Status::E_CONNECTION_CLOSED:
    case Status::E_CONNECTION_RESET:
    case Status::E_CONNECTION_FAILED:
    case Status::E_TLS_TRUNCATED:
      break;
    default:
      return from_peer(failure);
  }
  if (decoder_.reason() == Reason::None) decoder_.cut();
  Failure told = decoder_.failure();
  told.os_error = failure.os_error;
  if (failure.status != Status::E_CONNECTION_CLOSED) {
    told.detail += "; ";
    told.detail += status_text(failure.status);
  }
  return from_peer(std::move(told));
}

ExchangeEnd Session::end_of(Failure failure) const {
  return {.failure = std::move(failure),
          .phase = writer_.sent() || !decoder_.untouched() ? Phase::Receive : Phase::Send,
          .proof = writer_.untouched() ? Proof::NeverSent : Proof::MaybeProcessed,
          .lease = LeaseEnd::Broken,
          .served = served_};
}

void Session::fail_exchange(Failure failure) {
  ExchangeEnd end = end_of(std::move(failure));
  finish(std::move(end), State::Spent);
}

ExchangeEnd Session::cancel() {
  ExchangeEnd end = end_of({.status = Status::E_CANCELLED});
  leave_exchange(judge_place(&end));
  return end;
}

// Of an exchange that we end ourselves: a connection without a byte of it is as it was before.
Session::State Session::judge_place(ExchangeEnd* end) const {
  const bool unused = writer_.untouched() && decoder_.untouched();
  end->lease = unused ? LeaseEnd::Reusable : LeaseEnd::Broken;
  return unused ? State::Idle : State::Spent;
}

void Session::leave_exchange(State next) {
  expect_timer_.cancel();
  resume_timer_.cancel();
  bytes_out_ += writer_.accepted();
  handler_ = nullptr;
  transition(next);
  if (next != State::Dead) set_reading(next == State::Idle);
}

void Session::finish(ExchangeEnd end, State next) {
  session::ExchangeHandler& handler = *handler_;
  leave_exchange(next);
  handler.on_done(end);
}

void Session::die(const Failure& failure, bool abort) {
  if (state_ == State::Dead) return;
  transition(State::Dead);
  stream_->close(abort);
  if (session::Owner* owner = std::exchange(owner_, nullptr)) owner->on_dead(failure);
}

}  // namespace conpool::http1
