// A response's facts as JSON.
#include "capi/response_json.h"

#include "capi/connection_json.h"
#include "capi/json_object.h"

namespace conpool::capi {
namespace {

const char* proof_name(Proof proof) {
  switch (proof) {
    case Proof::NeverSent:
      return "never_sent";
    case Proof::NotProcessed:
      return "not_processed";
    case Proof::MaybeProcessed:
      break;
  }
  return "maybe_processed";
}

const char* version_name(session::HttpVersion version) {
  switch (version) {
    case session::HttpVersion::Http10:
      return "HTTP/1.0";
    case session::HttpVersion::Http11:
      return "HTTP/1.1";
    case session::HttpVersion::Http2:
      break;
  }
  return "HTTP/2";
}

// A phase that did not happen is left out.
void time(JsonObject* object, std::string_view name, Nanos at) {
  if (at >= 0) object->number(name, at);
}

void add_resends(std::string* out, const std::vector<client::Resend>& resends) {
  *out += '[';
  for (const client::Resend reason : resends) {
    if (out->back() != '[') *out += ',';
    observe::append_json_string(out, client::resend_text(reason));
  }
  *out += ']';
}

}  // namespace

std::string response_json(const client::Response& response) {
  const client::ResponseFacts& facts = response.facts();
  std::string out;
  {
    JsonObject object(&out);
    object.number("status", response.head().status);
    object.text("protocol", version_name(response.head().version));
    object.number("sends", facts.sends);
    object.key("resends");
    add_resends(&out, facts.resends);
    object.text("proof", proof_name(facts.proof));
    if (facts.connection != nullptr) {
      object.number("connection", static_cast<int64_t>(facts.connection->id));
      object.text("address", facts.connection->address);
      object.text("local", facts.connection->local.text());
      object.flag("reused", facts.uses > 1);
      object.number("uses", static_cast<int64_t>(facts.uses));
      object.number("rtt_ns", facts.connection->rtt);
      object.key("attempts");
      add_attempts(&out, facts.connection->attempts);
      if (facts.connection->tls.has_value()) {
        object.text("tls_version", facts.connection->tls->version);
        object.text("tls_cipher", facts.connection->tls->cipher);
        object.text("alpn", facts.connection->tls->alpn);
        object.flag("tls_resumed", facts.connection->tls->resumed);
      }
    }
    time(&object, "resolved_ns", facts.times.resolved);
    time(&object, "connected_ns", facts.times.connected);
    time(&object, "secured_ns", facts.times.secured);
    time(&object, "leased_ns", facts.times.queue);
    time(&object, "sent_ns", facts.times.sent);
    time(&object, "head_ns", facts.times.head);
    time(&object, "total_ns", facts.times.total);
    object.number("body_sent", static_cast<int64_t>(facts.body_sent));
    object.number("body_received", static_cast<int64_t>(facts.body_received));
  }
  return out;
}

}  // namespace conpool::capi
