// Active checks: a dial of one address, and a probe of what it brings.
#include "pool/health_checker.h"

#include <algorithm>

#include "pool/endpoint.h"
#include "pool/public_addresses.h"

namespace conpool::pool {

// Lifecycle: Dialing → Probing → over, told to the checker once.
class HealthChecker::Check final : public io::Discardable,
                                   private dial::DialOwner,
                                   private session::Owner {
 public:
  Check(HealthChecker& checker, SocketAddress address)
      : checker_(checker),
        loop_(checker.endpoint_.loop()),
        address_(std::move(address)),
        started_(loop_.now()) {
    deadline_.set_callback([this] {
      finish(fail(Status::E_TIMEOUT,
                  "no answer to the check within " + duration_text(values().health_timeout)));
    });
  }
  ~Check() override { drop(); }

  const SocketAddress& address() const { return address_; }
  Time started() const { return started_; }

  // May end the check at once.
  void start() {
    loop_.arm(deadline_, deadline_after(started_, values().health_timeout));
    dial::Options options;
    options.values = values();
    // The check's own deadline is the dial's.
    options.values.dial_timeout =
        std::max(options.values.dial_timeout, 2 * values().health_timeout);
    options.values.race_family = static_cast<int64_t>(RaceFamily::Auto);
    options.lookup = false;
    using Known = ProtocolMemory::Known;
    const ProtocolMemory& memory = endpoint().memory();
    options.http1_only = memory.known(started_) == Known::NeedsHttp1;
    options.stream_limit = memory.stream_limit(started_);
    if (endpoint().spec().target.uses_tls) {
      Result<std::shared_ptr<tls::Context>> context = endpoint().tls_context();
      if (!context) return finish(fail(std::move(context).error()));
      options.context = std::move(*context);
    }
    dial::DialOwner& owner = *this;
    // The events of a check are its own two.
    dial_ = std::make_unique<dial::Dial>(checker_.environment_, endpoint().spec().target,
                                         std::move(options), owner, observe::Emitter());
    dial_->start();
  }

  // Closes what was dialed. After it nothing here needs the checker any more.
  void close() {
    over_ = true;
    deadline_.cancel();
    if (probe_ != nullptr) {
      probe_->cancel();
      loop_.discard(std::unique_ptr<io::Discardable>(std::move(probe_)));
    }
    if (session_ != nullptr) {
      session_->close(false);
      loop_.discard(std::unique_ptr<io::Discardable>(std::move(session_)));
    }
  }
  // The dial as well. Not from inside one of its calls.
  void drop() {
    close();
    dial_.reset();
  }

 private:
  Endpoint& endpoint() { return checker_.endpoint_; }
  const Values& values() const { return checker_.plan_.values(); }

  // --- dial::DialOwner
  void answered(Family, const resolver::FamilyAnswer&) override {}
  std::vector<racer::Candidate> candidates() override { return {{address_, 0, 0, 0}}; }
  bool allowed(const SocketAddress& address) override {
    return static_cast<AddressFilter>(values().dns_address_filter) == AddressFilter::Any ||
           is_public(address);
  }
  void attempt_started(const SocketAddress&) override {}
  void attempt_slow(const SocketAddress&) override {}
  void attempt_connected(const SocketAddress&, Nanos) override {}
  void attempt_failed(const SocketAddress&, const Failure&) override {}
  void attempt_lost(const SocketAddress&, bool) override {}
  void dialed(dial::Established established) override {
    if (over_) return;
    session_ = std::move(established.session);
    if (checker_.plan_.kind(established.protocol) == HealthCheck::Tcp) return finish({});
    session::Owner& owner = *this;
    session_->start(owner);
    probe_ =
        std::make_unique<Probe>(loop_, checker_.plan_, *session_, established.protocol,
                                [this](ProbeResult result) { finish(std::move(result.verdict)); });
    probe_->start(deadline_.deadline());
  }
  void dial_failed(std::shared_ptr<Error> error) override { finish(fail(error->cause)); }

  // --- session::Owner
  void on_capacity(session::Capacity) override {}
  void on_hold(bool) override {}
  void on_idle_limit(Nanos) override {}
  void on_drain(const Failure&) override {}
  void on_dead(const Failure& why) override { finish(fail(why)); }

  void finish(Result<void> verdict) {
    if (!std::exchange(over_, true)) checker_.ended(*this, verdict);
  }

  HealthChecker& checker_;
  io::Loop& loop_;
  const SocketAddress address_;
  const Time started_;
  bool over_ = false;
  std::unique_ptr<dial::Dial> dial_;
  std::unique_ptr<session::Session> session_;
  std::unique_ptr<Probe> probe_;
  Timer deadline_;
};

HealthChecker::HealthChecker(Endpoint& endpoint, const ProbePlan& plan, uint64_t seed)
    : endpoint_(endpoint),
      plan_(plan),
      schedule_({.interval = plan.values().health_interval,
                 .jitter = plan.values().health_jitter,
                 .at_once = kAtOnce},
                seed),
      environment_{endpoint.dial_environment().loop, endpoint.dial_environment().resolver, sockets_,
                   endpoint.dial_environment().tickets, endpoint.dial_environment().pinned},
      timer_([this] { run(); }) {}

HealthChecker::~HealthChecker() {
  stop();
}

void HealthChecker::follow(const std::vector<SocketAddress>& addresses) {
  if (stopped_) return;
  schedule_.set_addresses(endpoint_.now(), addresses);
  endpoint_.loop().arm(timer_, schedule_.next());
}

// One that gets no permit, or whose endpoint nobody uses, takes no other's turn: it comes again
// later.
void HealthChecker::run() {
  while (const std::optional<SocketAddress> address = schedule_.begin(endpoint_.now())) {
    if (endpoint_.forgettable() || !endpoint_.take_check_permit()) {
      schedule_.put_off(endpoint_.now(), *address);
      continue;
    }
    checks_.push_back(std::make_unique<Check>(*this, *address));
    checks_.back()->start();
  }
  endpoint_.loop().arm(timer_, schedule_.next());
}

std::unique_ptr<HealthChecker::Check> HealthChecker::remove(Check& check) {
  const auto at = std::find_if(checks_.begin(), checks_.end(),
                               [&check](const auto& each) { return each.get() == &check; });
  std::unique_ptr<Check> removed = std::move(*at);
  checks_.erase(at);
  return removed;
}

void HealthChecker::ended(Check& check, const Result<void>& verdict) {
  std::unique_ptr<Check> over = remove(check);
  const SocketAddress address = over->address();
  const Nanos took = endpoint_.now() - over->started();
  schedule_.ended(endpoint_.now(), address);
  over->close();
  // It may be in the middle of telling us: it goes at the turn's end.
  endpoint_.loop().discard(std::unique_ptr<io::Discardable>(std::move(over)));
  endpoint_.loop().arm(timer_, schedule_.next());
  endpoint_.return_check_permit();
  endpoint_.check_ended(address, verdict, took);
}

void HealthChecker::call_off(Check& check) {
  std::unique_ptr<Check> over = remove(check);
  over->drop();
  schedule_.put_off(endpoint_.now(), over->address());
  endpoint_.loop().discard(std::unique_ptr<io::Discardable>(std::move(over)));
  endpoint_.return_check_permit();
}

bool HealthChecker::yield() {
  if (checks_.empty()) return false;
  call_off(*checks_.back());
  endpoint_.loop().arm(timer_, schedule_.next());
  return true;
}

void HealthChecker::stop() {
  stopped_ = true;
  timer_.cancel();
  while (!checks_.empty())
    call_off(*checks_.back());
}

}  // namespace conpool::pool
