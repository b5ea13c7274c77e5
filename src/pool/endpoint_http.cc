// What an endpoint knows of its HTTP server, and what follows from it.
#include <algorithm>

#include "pool/core.h"
#include "pool/endpoint.h"

namespace conpool::pool {

using Known = ProtocolMemory::Known;

// What the next dial will probably bring decides how many are dialed.
void Endpoint::forecast() {
  if (spec_->kind != Kind::Http) return;
  Forecast next;
  const Values& v = values();
  const auto choice = static_cast<HttpChoice>(v.http_version);
  const bool may_be_h2 =
      choice == HttpChoice::H2 || (choice == HttpChoice::Auto && spec_->target.uses_tls);
  Known known = memory_.known(now());
  // What stands now beats a memory that has ended.
  if (known == Known::Unknown && !connections_.empty()) {
    const Connection& newest = *connections_.rbegin()->second;
    known = newest.protocol() == dial::Protocol::Http2 ? Known::Http2 : Known::Http1;
  }
  if (may_be_h2 && (choice == HttpChoice::H2 || known == Known::Http2)) {
    const uint32_t limit = memory_.stream_limit(now());
    const int64_t hard = std::min<int64_t>(limit == 0 ? 100 : limit, v.h2_max_streams);
    next.places = std::max<int64_t>(2, std::min(hard, v.h2_ideal_streams));
    next.max_connections = v.h2_max_connections;
  } else if (may_be_h2 && known == Known::Unknown) {
    next.places = Forecast::kUndecided;
  }
  machine_.set_forecast(next);
}

void Endpoint::note_protocol(Connection& connection) {
  if (connection.protocol() == dial::Protocol::Raw) return;
  // Each request has its own deadlines: what runs on a connection that drains may end by itself.
  connection.leases_bounded = true;
  if (connection.protocol() == dial::Protocol::Http2) {
    memory_.note_http2(now());
  } else {
    memory_.note_http1(now());
  }
  connection.check_after = check_after(values(), connection.protocol());
  connection.idle_limit = usable_idle(memory_.idle_limit(now()), connection.facts()->rtt);
  forecast();
}

// How long a connection may be idle so that a request still reaches a server that closes it after
// `limit`.
Nanos Endpoint::usable_idle(Nanos limit, Nanos rtt) const {
  if (limit == kNever) return kNever;
  return std::max<Nanos>(0, limit - std::max<Nanos>(values().http_idle_margin, 2 * rtt));
}

void Endpoint::idle_limit_told(Connection& connection, Nanos limit) {
  memory_.note_idle_limit(now(), limit);
  connection.idle_limit = usable_idle(limit, connection.facts()->rtt);
}

bool Endpoint::may_use_http1() const {
  return static_cast<HttpChoice>(values().http_version) != HttpChoice::H2;
}

bool Endpoint::remember_http1_only() {
  if (!may_use_http1()) return false;
  memory_.note_needs_http1(now());
  forecast();
  std::vector<Connection*> leaving;
  for (const auto& [id, connection] : connections_) {
    if (connection->protocol() == dial::Protocol::Http2) leaving.push_back(connection.get());
  }
  for (Connection* connection : leaving)
    machine_.drain(*connection, CloseReason::Drained, now());
  run_actions();
  touch();
  return true;
}

void Endpoint::drop_idle() {
  machine_.drop_idle(now());
  run_actions();
  touch();
}

}  // namespace conpool::pool
