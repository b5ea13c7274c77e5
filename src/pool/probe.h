// Probe: one question to a peer over a session that nobody else uses just now: does it still work?
#pragma once

#include <memory>
#include <string>

#include "base/settings.h"
#include "dial/dial.h"
#include "pool/spec.h"
#include "session/http.h"

namespace conpool::pool {

// What health.check means for an endpoint whose connection speaks this: of the kinds that its
// protocol cannot ask, the nearest one that it can.
HealthCheck check_for(const Values& values, dial::Protocol protocol);

// The idle time from which a connection is checked before it is lent; kNever: never.
Nanos check_after(const Values& values, dial::Protocol protocol);
// Whether that check is health.on_checkout's, and not the older one of check.send or a PING.
bool probe_is_due(const Values& values, dial::Protocol protocol, Nanos idle);

// What an endpoint's probes ask. Made once; outlives them.
class ProbePlan {
 public:
  explicit ProbePlan(const EndpointSpec& spec);

  HealthCheck kind(dial::Protocol protocol) const { return check_for(values_, protocol); }
  const Values& values() const { return values_; }
  // The request of a HEAD or GET.
  const session::RequestHead& head(bool get) const { return get ? get_ : head_; }

 private:
  static session::RequestHead request(const EndpointSpec& spec, std::string method);

  const Values& values_;
  session::RequestHead head_;
  session::RequestHead get_;
};

struct ProbeResult {
  Result<void> verdict = {};
  bool reusable = true;  // the connection may be lent
};

// Lifecycle: made → start() → `done`, once and never from inside start(); destroying it calls the
// probe off. The session's owner hears of its death as ever; whichever of the two comes first ends
// the connection.
class Probe final : public io::Discardable, private session::ExchangeHandler {
 public:
  // Of a GET's response; a longer one is given up: its status is known.
  static constexpr size_t kMostBody = 256 * 1024;

  Probe(io::Loop& loop, const ProbePlan& plan, session::Session& session, dial::Protocol protocol,
        Callback<void(ProbeResult)> done);
  ~Probe() override { cancel(); }

  // `deadline`: of the answer.
  void start(Time deadline);
  void cancel();

 private:
  void on_sent() override {}
  void on_interim(session::ResponseHead) override {}
  void on_head(session::ResponseHead head) override;
  void on_body(Slice bytes) override;
  void on_trailers(session::Fields) override {}
  void on_done(const session::ExchangeEnd& end) override;
  void end(ProbeResult result);

  io::Loop& loop_;
  const ProbePlan& plan_;
  session::Session& session_;
  const dial::Protocol protocol_;
  Callback<void(ProbeResult)> done_;
  session::Exchange* exchange_ = nullptr;
  std::shared_ptr<Probe*> self_;  // a session's answer may come after this object's end
  Result<void> verdict_ = fail(Status::E_CHECK_FAILED, "no response");
  size_t body_ = 0;
  Timer deadline_;
};

}  // namespace conpool::pool
