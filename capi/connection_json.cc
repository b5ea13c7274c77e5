// A connection's facts as JSON.
#include "capi/connection_json.h"

#include "capi/json_object.h"

namespace conpool::capi {
namespace {

void add_tls(std::string* out, const tls::TlsFacts& tls) {
  JsonObject object(out);
  object.text("version", tls.version);
  object.text("cipher", tls.cipher);
  object.text("alpn", tls.alpn);
  object.text("server_name", tls.server_name);
  object.flag("resumed", tls.resumed);
  object.flag("verified", tls.verified);
  object.text("peer_subject", tls.peer_subject);
  object.text("peer_issuer", tls.peer_issuer);
  object.text("peer_not_before", tls.peer_not_before);
  object.text("peer_not_after", tls.peer_not_after);
}

}  // namespace

void add_attempts(std::string* out, const std::vector<Attempt>& attempts) {
  *out += '[';
  for (const Attempt& attempt : attempts) {
    if (out->back() != '[') *out += ',';
    JsonObject object(out);
    object.text("phase", phase_name(attempt.phase));
    object.text("target", attempt.target);
    object.number("round", attempt.round);
    object.number("started_ns", attempt.started);
    object.number("duration_ns", attempt.duration);
    object.text("status", status_name(attempt.failure.status));
    if (attempt.failure.status != Status::OK) object.text("result", failure_text(attempt.failure));
  }
  *out += ']';
}

std::string connection_json(const pool::Lease& lease, Time now) {
  const pool::ConnectionFacts& facts = lease.facts();
  std::string out;
  {
    JsonObject object(&out);
    object.number("id", static_cast<int64_t>(facts.id));
    object.text("endpoint", facts.endpoint);
    object.text("address", facts.address);
    object.text("local", facts.local.text());
    object.flag("reused", lease.uses() > 1);
    object.number("uses", static_cast<int64_t>(lease.uses()));
    object.number("age_ns", now - facts.opened);
    object.number("rtt_ns", facts.rtt);
    object.number("resolved_ns", facts.timing.resolved);
    object.number("connected_ns", facts.timing.connected);
    object.number("secured_ns", facts.timing.secured);
    object.number("dial_ns", facts.timing.total);
    object.key("attempts");
    add_attempts(&out, facts.attempts);
    if (facts.tls.has_value()) {
      object.key("tls");
      add_tls(&out, *facts.tls);
    }
  }
  return out;
}

}  // namespace conpool::capi
