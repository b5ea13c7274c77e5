// Questions to a peer: bytes, a PING, a request.
#include "pool/probe.h"

#include <algorithm>

#include "base/status_list.h"
#include "http1/encode.h"

namespace conpool::pool {

HealthCheck check_for(const Values& values, dial::Protocol protocol) {
  const auto wanted = static_cast<HealthCheck>(values.health_check);
  if (wanted == HealthCheck::Tcp) return wanted;
  if (protocol == dial::Protocol::Raw)
    return values.check_send.empty() ? HealthCheck::Tcp : HealthCheck::Bytes;
  if (wanted == HealthCheck::Get) return wanted;
  if (wanted == HealthCheck::Ping && protocol == dial::Protocol::Http2) return wanted;
  return HealthCheck::Head;
}

namespace {

bool probes_on_checkout(const Values& values, dial::Protocol protocol) {
  return static_cast<OnCheckout>(values.health_on_checkout) == OnCheckout::Probe &&
         check_for(values, protocol) != HealthCheck::Tcp;
}

}  // namespace

Nanos check_after(const Values& values, dial::Protocol protocol) {
  Nanos after = kNever;
  if (protocol == dial::Protocol::Raw && !values.check_send.empty()) after = values.check_after;
  if (protocol == dial::Protocol::Http2) after = values.h2_ping_idle;
  return probes_on_checkout(values, protocol) ? std::min(after, values.health_checkout_after)
                                              : after;
}

bool probe_is_due(const Values& values, dial::Protocol protocol, Nanos idle) {
  return probes_on_checkout(values, protocol) && idle >= values.health_checkout_after;
}

ProbePlan::ProbePlan(const EndpointSpec& spec)
    : values_(spec.settings->values()), head_(request(spec, "HEAD")), get_(request(spec, "GET")) {}

session::RequestHead ProbePlan::request(const EndpointSpec& spec, std::string method) {
  session::RequestHead head;
  head.head_only = method == "HEAD";
  head.method = std::move(method);
  head.scheme = spec.scheme;
  head.authority = spec.authority;
  head.target = spec.settings->values().health_path;
  head.http1_head = http1::encode_head(head, std::nullopt, false);
  return head;
}

Probe::Probe(io::Loop& loop, const ProbePlan& plan, session::Session& session,
             dial::Protocol protocol, Callback<void(ProbeResult)> done)
    : loop_(loop),
      plan_(plan),
      session_(session),
      protocol_(protocol),
      done_(std::move(done)),
      self_(std::make_shared<Probe*>(this)),
      deadline_([this] {
        end({.verdict = fail(Status::E_TIMEOUT, "no answer to the check within " +
                                                    duration_text(plan_.values().health_timeout)),
             .reusable = false});
      }) {}

void Probe::start(Time deadline) {
  loop_.arm(deadline_, deadline);
  const HealthCheck kind = plan_.kind(protocol_);
  switch (kind) {
    case HealthCheck::Head:
    case HealthCheck::Get:
      exchange_ = &static_cast<session::HttpSession&>(session_).begin(
          plan_.head(kind == HealthCheck::Get), nullptr, *this, {});
      return;
    case HealthCheck::Bytes:
    case HealthCheck::Ping:
      session_.check([self = std::weak_ptr<Probe*>(self_)](Result<void> result) {
        const std::shared_ptr<Probe*> alive = self.lock();
        if (alive == nullptr) return;
        const bool passed = result.has_value();
        (*alive)->end({.verdict = std::move(result), .reusable = passed});
      });
      return;
    case HealthCheck::Auto:
    case HealthCheck::Tcp:
      // That it stands is all that is asked.
      loop_.defer([self = std::weak_ptr<Probe*>(self_)] {
        const std::shared_ptr<Probe*> alive = self.lock();
        if (alive != nullptr) (*alive)->end({});
      });
      return;
  }
}

void Probe::cancel() {
  deadline_.cancel();
  done_.reset();
  self_.reset();
  if (exchange_ != nullptr) (void)std::exchange(exchange_, nullptr)->cancel();
}

void Probe::on_head(session::ResponseHead head) {
  const std::string& wanted = plan_.values().health_status;
  if (status_list_has(wanted, head.status)) {
    verdict_ = {};
    return;
  }
  verdict_ =
      fail(Status::E_CHECK_FAILED, "the check was answered by " + std::to_string(head.status) +
                                       "; health.status = " + wanted);
}

void Probe::on_body(Slice bytes) {
  body_ += bytes.size();
  if (body_ > kMostBody) return end({.verdict = std::move(verdict_), .reusable = false});
  exchange_->consumed(bytes.size());
}

void Probe::on_done(const session::ExchangeEnd& ended) {
  exchange_ = nullptr;
  if (ended.failure.status != Status::OK) verdict_ = fail(Failure(ended.failure));
  const bool reusable = ended.lease == session::LeaseEnd::Reusable && verdict_.has_value();
  end({.verdict = std::move(verdict_), .reusable = reusable});
}

void Probe::end(ProbeResult result) {
  if (!done_) return;
  Callback<void(ProbeResult)> done = std::move(done_);
  cancel();
  done(std::move(result));
}

}  // namespace conpool::pool
