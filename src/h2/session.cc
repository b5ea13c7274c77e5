// The HTTP/2 session: its life, the ends of its exchanges, what it tells, and its questions.
#include "h2/session.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "h2/callbacks.h"

namespace conpool::h2 {

using session::LeaseEnd;

Session::Session(io::Loop& loop, std::unique_ptr<io::Stream> stream, const Values& values,
                 Place place, Remembered remembered)
    : loop_(loop),
      stream_(std::move(stream)),
      place_(std::move(place)),
      self_(std::make_shared<Session*>(this)),
      max_streams_(static_cast<uint32_t>(values.h2_max_streams)),
      ideal_streams_(static_cast<uint32_t>(values.h2_ideal_streams)),
      stream_window_(static_cast<uint32_t>(values.h2_stream_window)),
      connection_window_(static_cast<uint32_t>(values.h2_connection_window)),
      window_max_(static_cast<uint32_t>(values.h2_window_max)),
      max_header_(static_cast<size_t>(values.response_max_header)),
      max_fields_(static_cast<size_t>(values.response_max_fields)),
      max_interim_(values.response_max_interim),
      ping_timeout_(values.h2_ping_timeout),
      ping_interval_(
          values.h2_ping_interval == 0 ? 0 : std::max<Nanos>(values.h2_ping_interval, kPingsApart)),
      limit_(std::min(remembered.stream_limit, max_streams_)),
      glitches_(values.h2_glitch_burst, values.h2_glitch_rate),
      window_(connection_window_, window_max_),
      rtt_(remembered.rtt) {
  nghttp2_ = make_client(*this, remembered.stream_limit);
  // A connection may begin with window updates of its own.
  update_credit_.add(10);
  ping_timer_.set_callback([this] {
    die({.status = Status::E_H2_PING_TIMEOUT,
         .detail = "no answer within " + duration_text(ping_timeout_)});
    deliver();
  });
  warm_timer_.set_callback([this] { on_keep_warm(); });
  next_turn_.set_callback([this] { schedule(); });
}

Session::~Session() {
  close(false);
  for (List<Exchange, OwnedTag>* list : {&running_, &ended_, &gone_}) {
    while (Exchange* exchange = list->pop_front())
      delete exchange;
  }
  nghttp2_session_del(nghttp2_);
  if (stream_ != nullptr) loop_.discard(std::move(stream_));
}

void Session::transition(State next) {
  [[maybe_unused]] const auto legal = [this, next] {
    switch (next) {
      case State::New:
        return false;
      case State::Open:
        return state_ == State::New;
      case State::Draining:
        return state_ == State::Open;
      case State::Dead:
        return state_ != State::Dead;
    }
    return false;
  };
  assert(legal());
  state_ = next;
}

void Session::set_next_stream_id(int32_t id) {
  assert(state_ == State::New);
  nghttp2_session_set_next_stream_id(nghttp2_, id);
}

void Session::start(session::Owner& owner) {
  owner_ = &owner;
  transition(State::Open);
  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window_},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(max_header_)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  if (nghttp2_submit_settings(nghttp2_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0 ||
      nghttp2_session_set_local_window_size(nghttp2_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<int32_t>(connection_window_)) != 0) {
    nomem_ = true;
  }
  heard_ = loop_.now();
  if (ping_interval_ > 0) loop_.arm(warm_timer_, deadline_after(heard_, ping_interval_));
  stream_->set_handler(this);
  update_reading();
  schedule();
}

session::Capacity Session::capacity() const {
  if (state_ == State::Dead || state_ == State::Draining) return {0, 0};
  return {std::min(limit_, ideal_streams_), limit_};
}

io::Peek Session::peek() {
  const io::Peek seen = stream_->peek();
  return seen == io::Peek::Data ? io::Peek::Quiet : seen;
}

void Session::idle(bool idle) {
  stream_->idle(idle);
  if (!idle) return;
  output_.trim();
  if (!delivering_ && events_.empty()) events_.shrink_to_fit();
}

session::HttpFigures Session::figures() const {
  return {.exchanges = begun_,
          .active = active_,
          .peer_limit = peer_limit_,
          .pings = pings_,
          .glitches = glitches_.count()};
}

// --- exchanges ----------------------------------------------------------------------------------

session::Exchange& Session::begin(const session::RequestHead& head, session::BodySource* body,
                                  session::ExchangeHandler& handler,
                                  const session::ExchangeOptions& options) {
  auto* exchange =
      new Exchange(*this, head, body, handler, options, WindowGrowth(stream_window_, window_max_));
  exchange->heard_before = bytes_in_;
  exchange->on_used = completed_;
  running_.push_back(*exchange);
  pending_.push_back(*exchange);
  ++active_;
  schedule();
  return *exchange;
}

Exchange* Session::find(int32_t stream) {
  return static_cast<Exchange*>(nghttp2_session_get_stream_user_data(nghttp2_, stream));
}

// Takes a running exchange off every list but that of its last state.
void Session::leave(Exchange& exchange, Exchange::State state) {
  assert(exchange.running());
  --active_;
  if (exchange.state != Exchange::State::Pending) {
    --opened_;
    nghttp2_session_set_stream_user_data(nghttp2_, exchange.id, nullptr);
  }
  if (ends_here_ == &exchange) ends_here_ = nullptr;
  exchange.ListNode<OwnedTag>::unlink();
  exchange.ListNode<PendingTag>::unlink();
  exchange.ListNode<UnsentTag>::unlink();
  exchange.expect.cancel();
  exchange.state = state;
  (state == Exchange::State::Ended ? ended_ : gone_).push_back(exchange);
}

Proof Session::proof_of(const Exchange& exchange) const {
  // True for a request without a position too.
  return exchange.headers_at >= output_.accepted() ? Proof::NeverSent : Proof::MaybeProcessed;
}

void Session::finish(Exchange& exchange, Failure failure, Proof proof, LeaseEnd lease) {
  const bool good = failure.status == Status::OK;
  if (!good && failure.status != Status::E_CLOSED) {
    if (!failure.detail.empty()) failure.detail += ", ";
    failure.detail += "from " + place_.address + " of " + place_.endpoint;
  }
  exchange.end.failure = std::move(failure);
  exchange.end.phase =
      good || exchange.sent_at <= output_.accepted() ? Phase::Receive : Phase::Send;
  exchange.end.proof = proof;
  exchange.end.lease = lease;
  exchange.end.served = completed_ || covers_some_;
  leave(exchange, Exchange::State::Ended);
  tell(Event::Kind::Done, &exchange);
}

void Session::finish_unsent(Exchange& exchange, Failure failure) {
  finish(exchange, std::move(failure), Proof::NeverSent, LeaseEnd::NotProcessed);
}

void Session::exchange_ready(Exchange& exchange) {
  if (!exchange.running() || !exchange.waits) return;
  exchange.waits = false;
  if (exchange.held || exchange.refused) return;
  nghttp2_session_resume_data(nghttp2_, exchange.id);
  schedule();
}

void Session::exchange_consumed(Exchange& exchange, size_t bytes) {
  if (exchange.state != Exchange::State::Open) return;
  exchange.unread -= std::min(exchange.unread, bytes);
  nghttp2_session_consume_stream(nghttp2_, exchange.id, bytes);
  if (nghttp2_session_want_write(nghttp2_) != 0) schedule();
}

session::ExchangeEnd Session::exchange_cancelled(Exchange& exchange) {
  if (exchange.state == Exchange::State::Ended) {
    exchange.ListNode<OwnedTag>::unlink();
    exchange.state = Exchange::State::Gone;
    gone_.push_back(exchange);
    schedule();
    return exchange.end;
  }
  exchange.end.failure = {.status = Status::E_CANCELLED};
  exchange.end.phase = exchange.sent_at <= output_.accepted() ? Phase::Receive : Phase::Send;
  exchange.end.proof = proof_of(exchange);
  exchange.end.lease = LeaseEnd::Reusable;
  exchange.end.served = completed_ || covers_some_;
  const bool known = exchange.state != Exchange::State::Pending;
  leave(exchange, Exchange::State::Gone);
  if (known) reset(exchange.id, NGHTTP2_CANCEL);
  schedule();
  return exchange.end;
}

void Session::free_gone() {
  if (in_nghttp2_ || delivering_ || !events_.empty()) return;
  while (Exchange* exchange = gone_.pop_front())
    delete exchange;
}

// --- the end
// --------------------------------------------------------------------------------------

// Of a peer that said nothing, or no HTTP/2: whatever ended the connection, no request was
// understood (RFC 9113 section 3.4: its SETTINGS come first).
static bool tells_of_peer(Status status) {
  return status != Status::E_CLOSED && status != Status::E_NOMEM &&
         status != Status::E_H2_PING_TIMEOUT && status != Status::E_INTERNAL;
}

// The head of a frame (RFC 9113 section 4.1), or how one begins: of a size that we allow and of a
// type that exists, and be it the wrong one before SETTINGS. Its sender may have understood what it
// was sent. No text begins so, nor does a TLS record.
static bool may_be_frame(std::string_view first) {
  constexpr uint32_t kLargest = 16384;  // SETTINGS_MAX_FRAME_SIZE, as long as we do not say another
  constexpr uint8_t kLastType = 0x0a;   // ALTSVC (RFC 7838)
  constexpr uint8_t kReserved = 0x80;   // of the stream's id
  const auto byte = [first](size_t at) -> uint32_t {
    return at < first.size() ? static_cast<uint8_t>(first[at]) : 0;
  };
  return (byte(0) << 16 | byte(1) << 8 | byte(2)) <= kLargest && byte(3) <= kLastType &&
         (byte(5) & kReserved) == 0;
}

void Session::die(Failure failure) {
  if (dead()) return;
  transition(State::Dead);
  const bool began = !first_bytes_.empty() && may_be_frame(first_bytes_);
  if (!settings_came_ && !began && tells_of_peer(failure.status)) {
    const std::string why =
        first_bytes_.empty() ? "the connection ended before its SETTINGS: " + failure_text(failure)
                             : "it began with " + in_quotes(first_bytes_);
    failure = {.status = Status::E_H2_PREFACE,
               .os_error = failure.os_error,
               .h2_error = failure.h2_error,
               .detail = why};
  }
  failure_ = std::move(failure);
  ping_timer_.cancel();
  warm_timer_.cancel();
  while (Exchange* exchange = running_.front())
    end_by(*exchange, failure_);
  stream_->close(false);
  tell(check_done_ ? Event::Kind::Checked : Event::Kind::Dead);
}

static bool is_transport(Status status) {
  return status == Status::E_CONNECTION_CLOSED || status == Status::E_CONNECTION_RESET ||
         status == Status::E_CONNECTION_FAILED || status == Status::E_TLS_TRUNCATED;
}

// What the connection's end means for one of its exchanges.
void Session::end_by(Exchange& exchange, const Failure& failure) {
  if (failure.status == Status::E_H2_PREFACE) {
    exchange.end.needs_http1 = true;
    return finish(exchange, failure, Proof::NotProcessed, LeaseEnd::NotProcessed);
  }
  Failure told = failure;
  if (is_transport(failure.status)) {
    if (goaway_code_ != 0) {
      told.status = Status::E_H2_GOAWAY;
      told.h2_error = goaway_code_;
      told.detail = goaway_text_;
    } else {
      told.status = exchange.has_head ? Status::E_HTTP_TRUNCATED : Status::E_HTTP_NO_RESPONSE;
      told.detail = status_text(failure.status);
    }
  }
  const Proof proof = proof_of(exchange);
  exchange.end.stale = told.status == Status::E_HTTP_NO_RESPONSE && exchange.on_used &&
                       exchange.heard_before == bytes_in_ && proof == Proof::MaybeProcessed;
  finish(exchange, std::move(told), proof,
         proof == Proof::NeverSent ? LeaseEnd::NotProcessed : LeaseEnd::Broken);
}

void Session::drain(Failure why) {
  if (state_ != State::Open) return;
  transition(State::Draining);
  failure_ = std::move(why);
  tell(Event::Kind::Drain);
}

void Session::close(bool abort) {
  check_done_.reset();
  owner_ = nullptr;
  if (!dead()) {
    if (state_ != State::New && !abort) send_goaway(NGHTTP2_NO_ERROR);
    transition(State::Dead);
    failure_ = {.status = Status::E_CLOSED};
    ping_timer_.cancel();
    warm_timer_.cancel();
    while (Exchange* exchange = running_.front())
      finish(*exchange, failure_, proof_of(*exchange), LeaseEnd::Broken);
    stream_->close(abort);
  }
  events_.clear();
  if (ended_.empty()) return;
  // The ends are told later, whatever becomes of the session until then.
  std::vector<std::unique_ptr<Exchange>> orphans;
  while (Exchange* exchange = ended_.pop_front()) {
    exchange->session = nullptr;
    if (exchange->end.failure.status == Status::OK) {
      // Its last events were not delivered and never will be.
      exchange->end.failure = {.status = Status::E_CLOSED};
      exchange->end.lease = LeaseEnd::Broken;
    }
    orphans.emplace_back(exchange);
  }
  loop_.defer([orphans = std::move(orphans)] {
    for (const std::unique_ptr<Exchange>& orphan : orphans) {
      if (orphan->state != Exchange::State::Gone) orphan->handler.on_done(orphan->end);
    }
  });
}

// --- events
// ---------------------------------------------------------------------------------------

void Session::deliver() {
  if (delivering_) return;
  delivering_ = true;
  for (size_t i = 0; i < events_.size(); ++i) {
    try {
      run(std::move(events_[i]));
    } catch (const std::bad_alloc&) {
      die({.status = Status::E_NOMEM});
    }
  }
  events_.clear();
  delivering_ = false;
  free_gone();
}

void Session::run(Event event) {
  Exchange* const exchange = event.exchange;
  if (exchange != nullptr && exchange->state == Exchange::State::Gone) return;
  switch (event.kind) {
    case Event::Kind::Sent:
      return exchange->handler.on_sent();
    case Event::Kind::Interim:
      return exchange->handler.on_interim(std::move(*event.interim));
    case Event::Kind::Head:
      return exchange->handler.on_head(std::move(exchange->response));
    case Event::Kind::Body:
      return exchange->handler.on_body(std::move(event.bytes));
    case Event::Kind::Trailers:
      return exchange->handler.on_trailers(std::move(exchange->trailers));
    case Event::Kind::Done: {
      exchange->ListNode<OwnedTag>::unlink();
      const std::unique_ptr<Exchange> last(exchange);
      return last->handler.on_done(last->end);
    }
    case Event::Kind::Checked: {
      if (!check_done_) return;
      Callback<void(Result<void>)> done = std::move(check_done_);
      if (!dead()) return done({});
      owner_ = nullptr;  // the answer tells it
      return done(fail(failure_));
    }
    default:
      break;
  }
  if (owner_ == nullptr) return;
  switch (event.kind) {
    case Event::Kind::Capacity:
      return owner_->on_capacity(capacity());
    case Event::Kind::Hold:
      return owner_->on_hold(event.on);
    case Event::Kind::Drain:
      return owner_->on_drain(failure_);
    case Event::Kind::Dead:
      return owner_->on_dead(failure_);
    default:
      return;
  }
}

// --- questions
// ------------------------------------------------------------------------------------

void Session::ask() {
  question(true);
}

void Session::check(Callback<void(Result<void>)> done) {
  check_done_ = std::move(done);
  if (dead()) {
    tell(Event::Kind::Checked);
    return schedule();
  }
  question(false);
}

// One PING at a time: who asks while one is open waits for its answer too.
void Session::question(bool hold) {
  if (dead()) return;
  if (hold && !held_) {
    held_ = true;
    events_.push_back({Event::Kind::Hold, true});
  }
  schedule();
  if (asked_) return;
  asked_ = true;
  ++ping_number_;
  ++pings_;
  std::array<uint8_t, 8> opaque;
  std::memcpy(opaque.data(), &ping_number_, opaque.size());
  if (nghttp2_submit_ping(nghttp2_, NGHTTP2_FLAG_NONE, opaque.data()) != 0) nomem_ = true;
  ping_sent_ = loop_.now();
  loop_.arm(ping_timer_, deadline_after(ping_sent_, ping_timeout_));
}

int Session::ping_answered(const uint8_t* opaque) {
  if (!asked_ || std::memcmp(opaque, &ping_number_, sizeof ping_number_) != 0) {
    return glitch("PING answers that nobody asked for");
  }
  asked_ = false;
  ping_timer_.cancel();
  rtt_ = std::max<Nanos>(loop_.now() - ping_sent_, 1);
  if (held_) {
    held_ = false;
    events_.push_back({Event::Kind::Hold, false});
  }
  if (check_done_) tell(Event::Kind::Checked);
  return 0;
}

void Session::on_keep_warm() {
  const Time due = deadline_after(heard_, ping_interval_);
  if (loop_.now() < due) return loop_.arm(warm_timer_, due);
  question(false);
  loop_.arm(warm_timer_, deadline_after(loop_.now(), ping_interval_));
}

}  // namespace conpool::h2
