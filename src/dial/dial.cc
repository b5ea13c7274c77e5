// The dial: one race with its lookups and handshakes.
#include "dial/dial.h"

#include <algorithm>
#include <cassert>

#include "fault/injector.h"
#include "h2/session.h"
#include "http1/session.h"
#include "raw/session.h"
#include "tls/postgres_hop.h"

namespace conpool::dial {

using observe::EventKind;
using racer::ActionKind;
using racer::AttemptId;

// One attempt: the handler of its stream, first of the TCP connection, then of TLS over it.
class Dial::Running final : public SocketBudget::Claim,
                            public io::Discardable,
                            private io::StreamHandler {
 public:
  Running(Dial& dial, AttemptId id, SocketAddress address)
      : dial_(dial), id_(id), address_(std::move(address)) {}
  ~Running() override = default;

  AttemptId id() const { return id_; }
  const SocketAddress& address() const { return address_; }
  std::unique_ptr<io::Stream>& stream() { return stream_; }
  tls::ClientStream* tls() const { return tls_; }
  bool asked() const { return asked_; }  // it got its socket: the address knows of it

  // Connects now, or once the cap on racing sockets allows it.
  Result<void> start() {
    if (request(dial_.environment_.sockets)) return connect();
    dial_.race_.on_held(id_);
    return {};
  }
  Result<void> connect() {
    asked_ = true;
    dial_.owner_.attempt_started(address_);
    io::ConnectOptions options;
    options.keepalive = dial_.options_.values.tcp_keepalive;
    options.user_timeout = dial_.options_.values.tcp_user_timeout;
    options.purpose = dial_.target_.text;
    Result<std::unique_ptr<io::Stream>> stream = dial_.environment_.loop.connect(address_, options);
    if (!stream) return conpool::fail(std::move(stream.error()));
    stream_ = std::move(*stream);
    stream_->set_handler(this);
    return {};
  }
  Result<void> secure() {
    stream_->set_handler(nullptr);
    Result<std::unique_ptr<io::Stream>> secured = dial_.wrap_tls(std::move(stream_), &tls_);
    if (!secured) return conpool::fail(std::move(secured.error()));
    stream_ = std::move(*secured);
    securing_ = true;
    stream_->set_handler(this);
    return {};
  }
  void close() {
    grant_.cancel();
    release();
    if (stream_ != nullptr) dial_.environment_.loop.discard(std::move(stream_));
    tls_ = nullptr;
  }
  std::unique_ptr<io::Stream> take_stream() {
    release();
    return std::move(stream_);
  }

 private:
  // Another dial gave its place back and is still at work: connect in a turn of our own.
  void granted() override {
    grant_.set_callback([this] { dial_.attempt_released(id_); });
    dial_.environment_.loop.arm(grant_, dial_.now());
  }
  void on_connected() override {
    if (securing_) {
      dial_.attempt_secured(id_);
    } else {
      dial_.attempt_opened(id_);
    }
  }
  void on_data(Slice) override {}
  void on_eof() override {}
  void on_writable() override {}
  void on_failed(const Failure& failure) override { dial_.attempt_broke(id_, failure); }

  Dial& dial_;
  const AttemptId id_;
  const SocketAddress address_;
  std::unique_ptr<io::Stream> stream_;
  tls::ClientStream* tls_ = nullptr;
  bool asked_ = false;
  bool securing_ = false;
  Timer grant_;
};

Dial::Dial(const Environment& environment, const Target& target, Options options, DialOwner& owner,
           observe::Emitter events)
    : environment_(environment),
      target_(target),
      options_(std::move(options)),
      owner_(owner),
      events_(events),
      started_(environment.loop.now()),
      race_(make_race_options(), started_) {
  race_timer_.set_callback([this] {
    race_.on_timer(now());
    run();
  });
  dial_timer_.set_callback([this] {
    cancel({.status = Status::E_DIAL_TIMEOUT,
            .detail = "after " + duration_text(options_.values.dial_timeout)});
  });
  tls_timer_.set_callback([this] {
    const Failure late{.status = Status::E_TLS_TIMEOUT,
                       .detail = "after " + duration_text(options_.values.tls_timeout)};
    attempt_broke(winner_, late);
  });
  end_timer_.set_callback([this] { lost(); });
}

Dial::~Dial() {
  for (std::unique_ptr<Running>& running : running_) {
    running->close();
    environment_.loop.discard(std::unique_ptr<io::Discardable>(running.release()));
  }
}

racer::RaceOptions Dial::make_race_options() const {
  racer::RaceOptions options = racer::race_options(options_.values, target_.uses_tls);
  const auto family = static_cast<RaceFamily>(options_.values.race_family);
  if (options_.v6_demoted && family == RaceFamily::Auto) options.family = RaceFamily::V4First;
  options.await_v6 = options_.lookup && family != RaceFamily::V4Only && !options_.v6_demoted;
  options.await_v4 = options_.lookup && family != RaceFamily::V6Only;
  if (options_.lookup) {
    // Any global address tells whether there is a route; no packet leaves.
    std::array<uint8_t, 16> global{0x20, 0x00};
    global[15] = 1;
    options.v6_routable =
        environment_.loop.source_address(SocketAddress::v6(global, 9)).has_value();
  }
  return options;
}

void Dial::start() {
  environment_.loop.arm(dial_timer_, deadline_after(started_, options_.values.dial_timeout));
  starting_ = true;
  if (options_.lookup) {
    events_.emit({.kind = EventKind::LookupStarted, .time = now(), .text = target_.host.name});
    race_.start(now());
    lookup_ = environment_.resolver.lookup(target_.host,
                                           resolver::LookupOptions::from(options_.values), this);
  } else {
    const std::vector<racer::Candidate> list = owner_.candidates();
    events_.emit({.kind = EventKind::RaceStarted,
                  .time = now(),
                  .first = static_cast<int64_t>(list.size())});
    race_.start(now(), list);
  }
  run();
  starting_ = false;
}

void Dial::cancel(const Failure& reason) {
  if (ended_) return;
  if (winner_ != 0) return fail(reason, Phase::Tls, nullptr);
  race_.cancel(now(), reason);
  run();
}

// --- names
// -----------------------------------------------------------------------------------------

void Dial::note_answer(Family family, const resolver::FamilyAnswer& answer) {
  emit_answer(family, answer);
  lookups_.insert(lookups_.end(), answer.attempts.begin(), answer.attempts.end());
  if (answer.addresses.has_value() && timing_.resolved == 0) {
    timing_.resolved = std::max<Nanos>(1, now() - started_);
  }
  (family == Family::V6 ? v6_answered_ : v4_answered_) = true;
  owner_.answered(family, answer);
}

void Dial::emit_answer(Family family, const resolver::FamilyAnswer& answer) {
  const int64_t type = family == Family::V6 ? 28 : 1;  // the RR type asked for
  if (events_.wants(EventKind::LookupAnswer)) {
    for (const Attempt& query : answer.attempts) {
      const bool good = query.failure.status == Status::OK;
      events_.emit({.kind = good ? EventKind::LookupAnswer : EventKind::LookupQueryFailed,
                    .time = started_ + query.started + query.duration,
                    .status = query.failure.status,
                    .first = type,
                    .duration = query.duration,
                    .text = query.target});
    }
  }
  EventKind kind = EventKind::LookupDone;
  Status status = Status::OK;
  int64_t count = 0;
  if (answer.addresses.has_value()) {
    count = static_cast<int64_t>(answer.addresses->size());
    if (answer.stale) {
      kind = EventKind::LookupStale;
      count = now() - answer.expires;
    } else if (answer.from_cache) {
      kind = EventKind::LookupCached;
    }
  } else {
    status = answer.addresses.error().status;
    const bool negative = status == Status::E_DNS_NOT_FOUND || status == Status::E_DNS_NO_DATA;
    kind = negative ? EventKind::LookupNegative : EventKind::LookupFailed;
  }
  events_.emit({.kind = kind,
                .time = now(),
                .status = status,
                .first = type,
                .second = count,
                .text = answer.name});
}

void Dial::on_family(Family family, resolver::FamilyAnswer answer) {
  note_answer(family, answer);
  const std::vector<racer::Candidate> all = owner_.candidates();
  feed(family, all, &answer);
  // The other family's order may follow from the new addresses (RFC 6724 sorts both together).
  const Family other = family == Family::V6 ? Family::V4 : Family::V6;
  if (other == Family::V6 ? v6_answered_ : v4_answered_) feed(other, all, nullptr);
  run();
}

void Dial::on_update(Family family, resolver::FamilyAnswer answer) {
  note_answer(family, answer);
  if (!answer.addresses.has_value()) return;
  feed(family, owner_.candidates(), nullptr);
  run();
}

void Dial::feed(Family family, const std::vector<racer::Candidate>& all,
                const resolver::FamilyAnswer* answer) {
  std::vector<racer::Candidate> list;
  for (const racer::Candidate& candidate : all) {
    if (candidate.address.family() == family) list.push_back(candidate);
  }
  if (!list.empty()) {
    race_.on_answer(now(), family, list);
  } else if (answer != nullptr && !answer->addresses.has_value()) {
    race_.on_answer_failed(now(), family, answer->addresses.error());
  } else if (answer != nullptr) {
    race_.on_answer(now(), family, list);
  }
}

// --- the race
// --------------------------------------------------------------------------------------

void Dial::run() {
  if (performing_ || ended_) return;
  performing_ = true;
  for (;;) {
    race_.take_actions(&actions_);
    if (actions_.empty()) break;
    // An action that ends the dial may destroy it: then perform() answers false and nothing is
    // touched.
    const std::vector<racer::Action> batch = std::move(actions_);
    actions_ = {};
    for (const racer::Action& action : batch) {
      if (!perform(action)) return;
    }
  }
  performing_ = false;
}

bool Dial::perform(const racer::Action& action) {
  switch (action.kind) {
    case ActionKind::Start:
      start_attempt(action.id);
      return true;
    case ActionKind::BeginTls:
      if (Running* running = find(action.id)) {
        if (const Result<void> secured = running->secure(); !secured) {
          race_failed(action.id, secured.error());
        }
      }
      return true;
    case ActionKind::Close:
      close_attempt(action.id);
      return true;
    case ActionKind::Slow:
      if (Running* running = find(action.id)) owner_.attempt_slow(running->address());
      return true;
    case ActionKind::Won:
      return won(action.id);
    case ActionKind::Failed:
      if (starting_) {  // never inside start()
        environment_.loop.arm(end_timer_, now());
        return true;
      }
      lost();
      return false;
    case ActionKind::Arm:
      environment_.loop.arm(race_timer_, action.deadline);
      return true;
  }
  return true;
}

Dial::Running* Dial::find(AttemptId id) {
  for (const std::unique_ptr<Running>& running : running_) {
    if (running->id() == id) return running.get();
  }
  return nullptr;
}

std::string Dial::attempt_target(const SocketAddress& address) const {
  return address.family() == Family::Unix ? address.text() : "tcp:" + address.text();
}

void Dial::start_attempt(AttemptId id) {
  const SocketAddress address = race_.attempt(id).candidate.address;
  running_.push_back(std::make_unique<Running>(*this, id, address));
  Running& running = *running_.back();
  if (events_.wants(EventKind::RaceAttemptStarted)) {
    events_.emit({.kind = EventKind::RaceAttemptStarted,
                  .time = now(),
                  .first = id,
                  .text = attempt_target(address)});
  }
  if (!owner_.allowed(address)) {
    return race_failed(id, {.status = Status::E_CONNECT_UNREACHABLE,
                            .detail = "dns.address_filter does not allow this address"});
  }
  if (const Result<void> started = running.start(); !started) race_failed(id, started.error());
}

// The cap on racing sockets has a place for it.
void Dial::attempt_released(AttemptId id) {
  Running* running = find(id);
  race_.on_released(now(), id);
  if (const Result<void> started = running->connect(); !started) {
    attempt_broke(id, started.error());
  } else {
    run();
  }
}

void Dial::attempt_opened(AttemptId id) {
  Running* running = find(id);
  const Nanos rtt = running->stream()->facts().rtt;
  owner_.attempt_connected(running->address(), rtt > 0 ? rtt : now() - race_.attempt(id).started);
  events_.emit({.kind = EventKind::RaceAttemptConnected,
                .time = now(),
                .first = id,
                .duration = now() - race_.attempt(id).started});
  race_.on_connected(now(), id, rtt);
  run();
}

void Dial::attempt_secured(AttemptId id) {
  if (winner_ == id) return finish(*find(id));
  race_.on_ready(now(), id);
  run();
}

// Tells the race of a failure and drops the attempt.
void Dial::race_failed(AttemptId id, const Failure& failure) {
  Running* running = find(id);
  if (running == nullptr) return;
  if (running->asked()) owner_.attempt_failed(running->address(), failure);
  const StatusClass what = status_class(failure.status);
  if (what == StatusClass::TLS || failure.status == Status::E_HOP_FAILED) {
    events_.emit({.kind = what == StatusClass::TLS ? EventKind::TlsFailed : EventKind::HopFailed,
                  .time = now(),
                  .status = failure.status,
                  .first = failure.tls_verify,
                  .text = failure.detail});
  } else if (failure.status == Status::E_FD_LIMIT) {
    events_.emit(
        {.kind = EventKind::DescriptorsExhausted, .time = now(), .status = failure.status});
  }
  if (events_.wants(EventKind::RaceAttemptFailed)) {
    events_.emit({.kind = EventKind::RaceAttemptFailed,
                  .time = now(),
                  .status = failure.status,
                  .os_error = failure.os_error,
                  .first = id,
                  .duration = now() - race_.attempt(id).started,
                  .text = attempt_target(running->address())});
  }
  drop(id);
  race_.on_failed(now(), id, failure);
}

void Dial::attempt_broke(AttemptId id, const Failure& failure) {
  if (ended_) return;
  if (winner_ == id) {
    const SocketAddress address = find(id)->address();
    owner_.attempt_failed(address, failure);
    return fail(failure, Phase::Tls, &address);
  }
  race_failed(id, failure);
  run();
}

void Dial::drop(AttemptId id) {
  const auto at =
      std::find_if(running_.begin(), running_.end(), [id](const auto& r) { return r->id() == id; });
  if (at == running_.end()) return;
  std::unique_ptr<Running> running = std::move(*at);
  running_.erase(at);
  running->close();
  // Its stream may be in the middle of calling it.
  environment_.loop.discard(std::unique_ptr<io::Discardable>(running.release()));
}

void Dial::close_attempt(AttemptId id) {
  Running* running = find(id);
  if (running == nullptr) return;
  const racer::Race::AttemptRecord& record = race_.attempt(id);
  using State = racer::Race::AttemptState;
  if (record.state == State::Failed) {
    if (running->asked()) owner_.attempt_failed(running->address(), record.failure);
    if (events_.wants(EventKind::RaceAttemptFailed)) {
      events_.emit({.kind = EventKind::RaceAttemptFailed,
                    .time = now(),
                    .status = record.failure.status,
                    .first = id,
                    .duration = now() - record.started,
                    .text = attempt_target(running->address())});
    }
  } else {
    if (running->asked())
      owner_.attempt_lost(running->address(),
                          record.state == State::LostSlow || record.state == State::GivenUp);
    events_.emit({.kind = EventKind::RaceAttemptClosed,
                  .time = now(),
                  .first = id,
                  .duration = now() - record.started});
  }
  drop(id);
}

// False: the dial has ended.
bool Dial::won(AttemptId id) {
  winner_ = id;
  lookup_.reset();
  race_timer_.cancel();
  Running* running = find(id);
  events_.emit({.kind = EventKind::RaceWon,
                .time = now(),
                .first = id,
                .second = static_cast<int64_t>(race_.attempts().size()),
                .duration = now() - started_});
  if (!target_.uses_tls || running->tls() != nullptr) {
    finish(*running);
    return false;
  }
  // race.until = tcp: the handshake runs outside the race.
  if (const Result<void> secured = running->secure(); !secured) {
    attempt_broke(id, secured.error());
    return false;
  }
  environment_.loop.arm(tls_timer_, deadline_after(now(), options_.values.tls_timeout));
  return true;
}

Result<std::unique_ptr<io::Stream>> Dial::wrap_tls(std::unique_ptr<io::Stream> lower,
                                                   tls::ClientStream** out) {
  tls::ClientConfig config;
  config.context = options_.context;
  config.name = target_.tls_name;
  config.ticket_key = target_.ticket_key;
  config.sessions = environment_.tickets;
  config.alpn = alpn_offer();
  if (static_cast<StartTls>(options_.values.tls_starttls) == StartTls::Postgres) {
    config.hop = std::make_unique<tls::PostgresHop>();
  }
  events_.emit({.kind = EventKind::TlsStarted, .time = now()});
  Result<std::unique_ptr<tls::ClientStream>> stream =
      tls::ClientStream::make(environment_.loop, std::move(lower), std::move(config));
  if (!stream) return conpool::fail(std::move(stream.error()));
  *out = stream->get();
  return std::unique_ptr<io::Stream>(std::move(*stream));
}

// --- the end
// -----------------------------------------------------------------------------------------

std::vector<Attempt> Dial::ledger() const {
  std::vector<Attempt> all = lookups_;
  for (Attempt& attempt : race_.ledger()) {
    if (attempt.phase != Phase::Dns || lookups_.empty()) all.push_back(std::move(attempt));
  }
  return all;
}

// What to offer for HTTP; empty: what tls.alpn says.
std::vector<std::string> Dial::alpn_offer() const {
  if (!target_.http) return {};
  const auto choice = static_cast<HttpChoice>(options_.values.http_version);
  if (choice == HttpChoice::H2) return {"h2"};
  if (choice == HttpChoice::Http1 || options_.http1_only) return {"http/1.1"};
  return {"h2", "http/1.1"};
}

// The protocol that both sides mean: the peer's choice over TLS, ours over plaintext (RFC 9113
// section 3.3).
Result<Protocol> Dial::protocol_of(const std::string& alpn) const {
  if (!target_.http) return Protocol::Raw;
  const bool h2_only = static_cast<HttpChoice>(options_.values.http_version) == HttpChoice::H2;
  if (!target_.uses_tls) return h2_only ? Protocol::Http2 : Protocol::Http1;
  if (alpn == "h2") return Protocol::Http2;
  if (!h2_only) return Protocol::Http1;
  return conpool::fail(Status::E_TLS_ALPN, "http.version = h2, and the peer did not agree to it");
}

std::unique_ptr<session::Session> Dial::make_session(Protocol protocol, Running& winner,
                                                     Nanos rtt) {
  io::Loop& loop = environment_.loop;
  const std::string at = attempt_target(winner.address());
  switch (protocol) {
    case Protocol::Http1:
      return std::make_unique<http1::Session>(loop, winner.take_stream(), options_.values,
                                              http1::Place{at, target_.text});
    case Protocol::Http2: {
      h2::Remembered remembered;
      if (options_.stream_limit > 0) remembered.stream_limit = options_.stream_limit;
      remembered.rtt = rtt;
      std::unique_ptr<io::Stream> stream = winner.take_stream();
      if (environment_.faults != nullptr)
        stream = environment_.faults->wrap_http2(std::move(stream));
      return std::make_unique<h2::Session>(loop, std::move(stream), options_.values,
                                           h2::Place{at, target_.text}, remembered);
    }
    case Protocol::Raw:
      break;
  }
  return std::make_unique<raw::Session>(
      loop, winner.take_stream(), environment_.pinned, raw::Place{at, target_.text},
      raw::Question{options_.values.check_send, options_.values.check_expect,
                    options_.values.check_timeout});
}

void Dial::finish(Running& winner) {
  const racer::Race::AttemptRecord& record = race_.attempt(winner.id());
  const Result<Protocol> protocol =
      protocol_of(winner.tls() == nullptr ? std::string() : winner.tls()->tls_facts().alpn);
  if (!protocol) return fail(protocol.error(), Phase::Tls, &record.candidate.address);
  ended_ = true;
  dial_timer_.cancel();
  tls_timer_.cancel();
  Established established;
  established.address = winner.address();
  established.attempts = ledger();
  established.rtt = record.rtt;
  timing_.connected = record.connected - started_;
  if (winner.tls() != nullptr) {
    established.tls = winner.tls()->tls_facts();
    timing_.secured = now() - started_;
    events_.emit({.kind = established.tls->resumed ? EventKind::TlsResumed : EventKind::TlsDone,
                  .time = now(),
                  .duration = timing_.secured - timing_.connected,
                  .text = established.tls->cipher});
  }
  timing_.total = now() - started_;
  established.timing = timing_;
  established.protocol = *protocol;
  established.session = make_session(*protocol, winner, record.rtt);
  owner_.dialed(std::move(established));
}

void Dial::lost() {
  const AttemptId id = race_.failure_attempt();
  const SocketAddress* address = id == 0 ? nullptr : &race_.attempt(id).candidate.address;
  fail(race_.failure(), race_.failure_phase(), address);
}

void Dial::fail(const Failure& cause, Phase phase, const SocketAddress* address) {
  if (ended_) return;
  ended_ = true;
  lookup_.reset();
  dial_timer_.cancel();
  tls_timer_.cancel();
  race_timer_.cancel();
  auto error = std::make_shared<Error>();
  error->cause = cause;
  error->phase = phase;
  if (address != nullptr) {
    error->context.push_back((phase == Phase::Tls ? "securing " : "connecting to ") +
                             attempt_target(*address));
  } else if (phase == Phase::Dns && !target_.host.literal) {
    error->context.push_back("resolving " + target_.host.text());
  }
  error->context.push_back("connecting to " + target_.text);
  for (Attempt& attempt : ledger())
    error->add_attempt(std::move(attempt));
  events_.emit({.kind = EventKind::RaceFailed,
                .time = now(),
                .status = cause.status,
                .os_error = cause.os_error,
                .first = static_cast<int64_t>(race_.attempts().size()),
                .duration = now() - started_});
  owner_.dial_failed(std::move(error));
}

}  // namespace conpool::dial
