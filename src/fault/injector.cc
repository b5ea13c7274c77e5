// The plan at work.
#include "fault/injector.h"

#include <algorithm>

#include "fault/dns_fault.h"

namespace conpool::fault {

using observe::Counter;
using observe::EventKind;

Injector::Injector(Plan plan, uint64_t seed, io::Loop& loop, observe::Emitter events,
                   observe::Metrics& figures)
    : plan_(std::move(plan)),
      seed_(seed),
      loop_(loop),
      events_(events),
      figures_(figures),
      began_(loop.now()) {
  loop_.set_tap(this);
}

Injector::~Injector() {
  loop_.set_tap(nullptr);
  for (auto& [id, live] : live_)
    live.leave();
}

void Injector::Live::leave() {
  if (stream != nullptr) stream->owner_gone();
  if (http2 != nullptr) http2->owner_gone();
}

// The two of one connection go in any order.
void Injector::forget(uint64_t stream) {
  const auto found = live_.find(stream);
  if (found == live_.end()) return;
  found->second.stream = nullptr;
  if (found->second.http2 == nullptr) live_.erase(found);
}

void Injector::forget_http2(uint64_t stream) {
  const auto found = live_.find(stream);
  if (found == live_.end()) return;
  found->second.http2 = nullptr;
  if (found->second.stream == nullptr) live_.erase(found);
}

std::unique_ptr<io::Stream> Injector::wrap_http2(std::unique_ptr<io::Stream> stream) {
  const auto found = live_.find(stream->facts().tapped);
  const bool wanted = std::any_of(plan_.rules.begin(), plan_.rules.end(),
                                  [](const Rule& rule) { return of_http2(rule.kind); });
  if (!wanted || found == live_.end()) return stream;
  auto layer = std::make_unique<Http2Layer>(loop_, std::move(stream),
                                            static_cast<StreamOwner&>(*this), found->first);
  found->second.http2 = layer.get();
  return layer;
}

void Injector::tell(Kind kind, uint64_t ordinal, std::string_view target, const SendPoint* point) {
  figures_.add(Counter::FaultsInjected);
  if (!events_.wants(EventKind::FaultInjected)) return;
  std::string text(kind_name(kind));
  if (point != nullptr && point->attempt > 1)
    text += " of attempt " + std::to_string(point->attempt);
  text += ' ';
  text += target;
  observe::Event event{.kind = EventKind::FaultInjected,
                       .time = loop_.now(),
                       .first = static_cast<int64_t>(ordinal),
                       .text = text};
  if (point != nullptr) {
    event.endpoint = point->endpoint_id;
    event.connection = point->connection_id;
    event.op = point->op;
  }
  events_.emit(event);
}

// --- connections
// -------------------------------------------------------------------------------------

Opening Injector::opening_of(const SocketAddress& peer, const io::ConnectOptions& options) {
  Opening opening;
  const Occasion occasion{.point = Point::Connect,
                          .ordinal = connects_,
                          .age = age(),
                          .endpoint = options.purpose,
                          .address = peer};
  for (const Choice& choice : choose(plan_, seed_, occasion)) {
    switch (choice.rule->kind) {
      case Kind::Refuse:
        opening.way = Opening::Way::Refused;
        break;
      case Kind::BlackHole:
        opening.way = Opening::Way::Never;
        break;
      case Kind::ConnectDelay:
        opening.delay = choice.delay;
        break;
      case Kind::TlsAlert:
        opening.alert = choice.rule->code;
        continue;  // told when there is a handshake
      default:
        continue;
    }
    tell(choice.rule->kind, connects_, peer.text());
  }
  return opening;
}

Result<std::unique_ptr<io::Stream>> Injector::connect(const SocketAddress& peer,
                                                      const io::ConnectOptions& options) {
  const uint64_t id = ++connects_;
  const Opening opening = opening_of(peer, options);
  auto stream = std::make_unique<FaultStream>(loop_, static_cast<StreamOwner&>(*this), id, peer);
  live_[id] = {stream.get(), nullptr, peer.text()};
  if (opening.way == Opening::Way::Plain && opening.delay == 0) {
    Result<std::unique_ptr<io::Stream>> lower = pass_connect(loop_, peer, options);
    if (!lower) return lower;
    stream->begin(std::move(*lower), opening.alert);
  } else {
    stream->begin(opening, options);
  }
  return std::unique_ptr<io::Stream>(std::move(stream));
}

void Injector::alerted(uint64_t stream) {
  const auto found = live_.find(stream);
  if (found != live_.end()) tell(Kind::TlsAlert, stream, found->second.target);
}

// --- sends
// -------------------------------------------------------------------------------------------

void Injector::before_send(const SendPoint& point) {
  ++sends_;
  const auto found = live_.find(point.stream);
  if (found == live_.end() || found->second.stream == nullptr) return;
  FaultStream& stream = *found->second.stream;
  Http2Layer* http2 = found->second.http2;
  stream.begin_send(point.alone);
  if (http2 != nullptr) http2->begin_send(point.alone);
  const Occasion occasion{.point = Point::Send,
                          .ordinal = point.request,
                          .attempt = point.attempt,
                          .sends = sends_,
                          .http2 = http2 != nullptr,
                          .age = age(),
                          .endpoint = point.endpoint,
                          .address = point.peer};
  for (const Choice& choice : choose(plan_, seed_, occasion)) {
    if (of_http2(choice.rule->kind)) {
      http2->arm(*choice.rule);
    } else if (!stream.arm(*choice.rule, choice.delay)) {
      continue;
    }
    tell(choice.rule->kind, point.request, point.endpoint, &point);
  }
}

// --- names
// -------------------------------------------------------------------------------------------

std::unique_ptr<io::DnsExchange> Injector::exchange(io::DnsQuery query, io::DnsCallback done) {
  ++lookups_;
  const Occasion occasion{.point = Point::Lookup,
                          .ordinal = lookups_,
                          .age = age(),
                          .endpoint = query.name,
                          .address = query.server};
  const std::vector<Choice> chosen = choose(plan_, seed_, occasion);
  if (chosen.empty()) return pass_exchange(loop_, std::move(query), std::move(done));
  const Rule& rule = *chosen.front().rule;
  tell(rule.kind, lookups_, query.name);
  return faulty_exchange(loop_, rule, std::move(query), std::move(done));
}

}  // namespace conpool::fault
