// Virtual time and the queue of what happens next.
#include "io/sim/world.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>

#include "base/rng.h"
#include "io/shortage.h"
#include "io/sim/sockets.h"

namespace conpool::io::sim {

namespace {

constexpr uint16_t kFirstEphemeralPort = 32768;
constexpr uint16_t kLastEphemeralPort = 60999;

uint64_t mix(uint64_t a, uint64_t b) {
  return Rng(a ^ (b * 0xd6e8feb86659fd93ULL)).next();
}

constexpr std::string_view kNoteNames[] = {
    "connect",   "connect-failed", "syn",         "syn-lost", "syn-ack", "late-syn-ack",
    "accept",    "refused",        "unreachable", "data",     "fin",     "rst",
    "lost",      "timed-out",      "close",       "abort",    "listen",  "unlisten",
    "dns-query", "dns-answer",     "dns-timeout", "job"};

unsigned family_bits(Family family) {
  return family == Family::V6 ? 128 : 32;
}

}  // namespace

Place Place::parse(std::string_view text) {
  Place place;
  if (text == "*") return place;
  if (text.starts_with("unix:")) {
    place.family = Family::Unix;
    place.path = text.substr(5);
    place.bits = place.path.empty() ? 0 : 128;
    return place;
  }
  const size_t slash = text.find('/');
  Result<SocketAddress> address = parse_ip_literal(text.substr(0, slash));
  if (!address) address = parse_address_and_port(text);
  assert(address.has_value() &&
         "a place is an address, address:port, prefix/bits, unix:/path or *");
  place.family = address->family();
  place.ip = address->ip();
  place.port = address->port();
  place.bits = family_bits(place.family);
  if (slash != std::string_view::npos) {
    const std::string_view bits = text.substr(slash + 1);
    const unsigned most = place.bits;
    std::from_chars(bits.data(), bits.data() + bits.size(), place.bits);
    assert(place.bits <= most);
    (void)most;
  }
  return place;
}

bool Place::holds(const SocketAddress& address) const {
  if (family == Family::None) return true;
  if (address.family() != family) return false;
  if (family == Family::Unix) return path.empty() || address.path() == path;
  if (port != 0 && address.port() != port) return false;
  for (unsigned bit = 0; bit < bits; bit += 8) {
    const unsigned rest = std::min(8u, bits - bit);
    const uint8_t mask = static_cast<uint8_t>(0xff << (8 - rest));
    if (((address.ip()[bit / 8] ^ ip[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

World::World() {
  rules_.push_back(Rule{Place{}, SimHost{}, 0});
  host("unix:").latency = 0;
}

World::~World() = default;

World::EventId World::at(Time time, Callback<void()> run) {
  const EventId id = next_event_++;
  if (time == kNever) return id;
  events_.push_back(Event{std::max(time, now_), id, std::move(run)});
  std::push_heap(events_.begin(), events_.end(), later);
  return id;
}

void World::cancel(EventId id) {
  cancelled_.insert(id);
}

World::Event World::pop() {
  std::pop_heap(events_.begin(), events_.end(), later);
  Event event = std::move(events_.back());
  events_.pop_back();
  return event;
}

void World::drop_cancelled() {
  while (!events_.empty() && cancelled_.erase(events_.front().id) != 0)
    pop();
  if (events_.empty()) cancelled_.clear();
}

Time World::earliest_event() {
  drop_cancelled();
  return events_.empty() ? kNever : events_.front().time;
}

Time World::next_due() {
  Time next = earliest_event();
  if (loop == nullptr) return next;
  if (!ready_.empty() || loop_awake()) return now_;
  return std::min(next, loop->timers().earliest());
}

void World::clear() {
  std::vector<Event> events = std::move(events_);
  std::vector<Callback<void()>> ready = std::move(ready_);
  events_.clear();
  ready_.clear();
  lent.clear();
}

void World::run_due() {
  const EventId limit = next_event_;
  while (earliest_event() <= now_ && events_.front().id < limit) {
    Event event = pop();
    event.run();
  }
}

void World::run_ready() {
  std::vector<Callback<void()>> batch;
  batch.swap(ready_);
  const uint64_t poll = polls_++;
  if (shuffle) {
    for (size_t i = batch.size(); i > 1; --i) {
      std::swap(batch[i - 1], batch[choice(0, poll, i) % i]);
    }
  }
  for (Callback<void()>& call : batch)
    call();
}

SimHost& World::host(std::string_view where) {
  const Place place = Place::parse(where);
  for (Rule& rule : rules_) {
    if (rule.place == place) return rule.host;
  }
  // Starts as the most specific rule that held for all of the new place.
  const SocketAddress inside =
      place.family == Family::Unix ? SocketAddress::unix_path(place.path)
      : place.family == Family::V6
          ? SocketAddress::v6(place.ip, place.port)
          : SocketAddress::v4({place.ip[0], place.ip[1], place.ip[2], place.ip[3]}, place.port);
  const Rule* parent = &rules_.front();
  for (const Rule& rule : rules_) {
    if (rule.place.bits <= place.bits && rule.place.holds(inside) &&
        rule.place.weight() >= parent->place.weight()) {
      parent = &rule;
    }
  }
  rules_.push_back(Rule{place, parent->host, rules_.size()});
  return rules_.back().host;
}

const Rule& World::rule(const SocketAddress& address) const {
  const Rule* best = &rules_.front();
  for (const Rule& rule : rules_) {
    if (rule.place.weight() > best->place.weight() && rule.place.holds(address)) best = &rule;
  }
  return *best;
}

Result<SocketAddress> World::source_for(const SocketAddress& peer) const {
  const SourceRule* best = nullptr;
  for (const SourceRule& rule : sources) {  // of equal places, the later one holds
    if (!rule.place.holds(peer)) continue;
    if (best == nullptr || rule.place.weight() >= best->place.weight()) best = &rule;
  }
  if (best != nullptr) {
    if (!best->route) return fail(connect_failure(ENETUNREACH, peer.family()));
    return best->source;
  }
  if (peer.family() == Family::Unix) return SocketAddress::unix_path("");
  if (peer.family() == Family::V4) {
    if (peer.ip()[0] == 127) return SocketAddress::v4({127, 0, 0, 1}, 0);
    return SocketAddress::v4({192, 0, 2, 100}, 0);
  }
  constexpr std::array<uint8_t, 16> kLoopback{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  if (peer.ip() == kLoopback) return SocketAddress::v6(kLoopback, 0);
  return SocketAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00}, 0);
}

uint64_t World::choice(uint64_t rule, uint64_t subject, uint64_t ordinal) const {
  return mix(mix(mix(seed, rule), subject), ordinal);
}

uint16_t World::ephemeral_port() {
  const uint16_t port = next_port_;
  next_port_ = port == kLastEphemeralPort ? kFirstEphemeralPort : static_cast<uint16_t>(port + 1);
  return port;
}

void World::count_connecting(int change) {
  live.connecting += static_cast<size_t>(change);
  most_connecting = std::max(most_connecting, live.connecting);
}

void World::note(Note what, uint64_t subject, uint64_t value, std::string_view text) {
  digest = mix(digest, static_cast<uint64_t>(now_));
  digest = mix(digest, static_cast<uint64_t>(what));
  digest = mix(digest, subject);
  digest = mix(digest, value);
  if (!tracing) return;
  trace += std::to_string(now_);
  trace += ' ';
  trace += kNoteNames[static_cast<size_t>(what)];
  trace += " #" + std::to_string(subject) + ' ' + std::to_string(value);
  if (!text.empty()) trace.append(" ").append(text);
  trace += '\n';
}

// The same statuses as in the real world.
Failure connect_failure(int error, Family family) {
  Status status = Status::E_CONNECT_FAILED;
  switch (error) {
    case ECONNREFUSED:
      status = Status::E_CONNECT_REFUSED;
      break;
    case ECONNRESET:
      status = Status::E_CONNECT_RESET;
      break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EAFNOSUPPORT:
      status = Status::E_CONNECT_UNREACHABLE;
      break;
    case EINVAL:
    case EACCES:
    case EPERM:
      if (family != Family::Unix) status = Status::E_CONNECT_UNREACHABLE;
      break;
    case ETIMEDOUT:
      status = Status::E_CONNECT_TIMEOUT;
      break;
    case EMFILE:
    case ENFILE:
      status = Status::E_FD_LIMIT;
      break;
    case ENOMEM:
    case ENOBUFS:
      status = Status::E_NOMEM;
      break;
    default:
      break;
  }
  return Failure{.status = status, .os_error = error, .detail = shortage_text(error)};
}

Failure stream_failure(int error) {
  Failure failure{.status = Status::E_CONNECTION_FAILED, .os_error = error};
  if (error == ECONNRESET) failure.status = Status::E_CONNECTION_RESET;
  if (error == EPIPE) failure.status = Status::E_CONNECTION_CLOSED;
  return failure;
}

}  // namespace conpool::io::sim
