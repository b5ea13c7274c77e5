// Resolver::Core: see the header.
#include "resolver/core.h"

#include <algorithm>
#include <cassert>

#include "resolver/search.h"
#include "resolver/special_names.h"

namespace conpool::resolver {
namespace {

FamilyAnswer local_answer(const Host& host, Result<std::vector<SocketAddress>> addresses) {
  return {
      .addresses = std::move(addresses), .expires = kNever, .from_cache = true, .name = host.name};
}

FamilyAnswer local_answer(const Host& host, const std::vector<SocketAddress>& addresses) {
  if (addresses.empty())
    return local_answer(host, Result<std::vector<SocketAddress>>(fail(Status::E_DNS_NO_DATA)));
  return local_answer(host, Result<std::vector<SocketAddress>>(addresses));
}

}  // namespace

Resolver::Core::Core(io::Loop& loop, const Values& values)
    : loop_(loop),
      backend_(static_cast<DnsBackend>(values.dns_backend)),
      system_ttl_(values.dns_system_ttl),
      stale_after_(values.dns_stale_after),
      optimistic_(values.dns_optimistic != 0),
      cache_(CacheRules::from(values)),
      config_(loop, values) {
  servers_.set(config_.servers());
}

Resolver::Core::~Core() {
  close();
}

void Resolver::Core::close() {
  closed_ = true;
  while (Joiner* joiner = lookups_.front())
    leave(*joiner);
  deliveries_.clear();
  flights_.clear();
  retired_.clear();
  graveyard_.clear();
}

std::unique_ptr<Lookup> Resolver::Core::lookup(const Host& host, LookupOptions options,
                                               LookupHandler* handler) {
  assert(options.v6 || options.v4);
  const Time now = loop_.now();
  ++counters_.lookups;
  refresh();
  auto joiner = std::make_unique<Joiner>(*this, handler, now);
  lookups_.push_back(*joiner);
  if (answer_locally(*joiner, host, options)) return joiner;
  joiner->rules_ = {.resolve_timeout = options.resolve_timeout,
                    .retries = options.resolve_retries,
                    .deadline = deadline_after(now, std::max<Nanos>(options.dns_timeout, 1))};
  joiner->machine_ =
      std::make_unique<LookupMachine>(cache_, LookupPlan{.names = names_of(host),
                                                         .v6 = options.v6,
                                                         .v4 = options.v4,
                                                         .started = now,
                                                         .deadline = joiner->rules_.deadline,
                                                         .stale_after = stale_after_,
                                                         .optimistic = optimistic_});
  std::vector<LookupAction> actions;
  joiner->machine_->start(now, &actions);
  perform(*joiner, actions);
  return joiner;
}

// Looks at the files; a new list of servers or names makes everything learned from the old one
// doubtful.
void Resolver::Core::refresh() {
  if (backend_ != DnsBackend::Cares) return;
  const SystemConfig::Change change = config_.refresh();
  if (change.servers || change.hosts) ++counters_.config_reloads;
  if (!change.servers) return;
  servers_.set(config_.servers());
  cache_.flush();
  for (auto& [key, seat] : flights_)
    retired_.push_back(std::move(seat));
  flights_.clear();
}

// Literals, special names, the hosts file, and every reason not to ask anybody.
bool Resolver::Core::answer_locally(Joiner& joiner, const Host& host,
                                    const LookupOptions& options) {
  const auto give = [&](auto&& answer_for) {
    if (options.v6) deliver(joiner, Family::V6, answer_for(Family::V6), false);
    if (options.v4) deliver(joiner, Family::V4, answer_for(Family::V4), false);
    return true;
  };
  const auto refuse = [&](const Failure& failure) {
    return give([&](Family) {
      FamilyAnswer answer = local_answer(host, Result<std::vector<SocketAddress>>(fail(failure)));
      answer.from_cache = false;
      return answer;
    });
  };
  if (host.literal) {
    return give([&](Family family) {
      std::vector<SocketAddress> addresses;
      if (family == host.address.family()) addresses.push_back(host.address.without_port());
      return local_answer(host, addresses);
    });
  }
  if (backend_ == DnsBackend::None) {
    return refuse({.status = Status::E_DNS_DISABLED,
                   .detail = "dns.backend is none; only IP addresses can be used"});
  }
  if (backend_ == DnsBackend::Queue) {
    if (application_ == nullptr) {
      return refuse({.status = Status::E_DNS_APPLICATION,
                     .detail = "dns.backend is queue, and no resolver is set"});
    }
  } else {
    const SpecialName special = classify_name(host.name);
    if (special == SpecialName::Localhost) {
      return give([&](Family family) {
        return local_answer(host, std::vector<SocketAddress>{loopback_address(family)});
      });
    }
    if (special == SpecialName::Reserved) {
      return refuse({.status = Status::E_DNS_RESERVED, .detail = "\"" + host.name + "\""});
    }
  }
  if (backend_ == DnsBackend::Cares) {
    if (config_.invalid()) return refuse(*config_.invalid());
    if (const HostsEntry* entry = config_.hosts().find(host.name)) {
      return give([&](Family family) { return local_answer(host, entry->of(family)); });
    }
  }
  if (flights_.size() + retired_.size() >= kFlights) {
    return refuse({.status = Status::E_OPS_LIMIT, .detail = "too many names are being resolved"});
  }
  return false;
}

std::vector<std::string> Resolver::Core::names_of(const Host& host) const {
  // The other backends know search lists of their own, or none.
  if (backend_ != DnsBackend::Cares) return {host.text()};
  return search_names(host, config_.search(), config_.ndots());
}

void Resolver::Core::perform(Joiner& joiner, std::vector<LookupAction>& actions) {
  const Time now = loop_.now();
  for (LookupAction& action : actions) {
    const bool asks =
        action.kind == LookupAction::Kind::Ask || action.kind == LookupAction::Kind::Refresh;
    if (asks) {
      join(joiner, action);
      continue;
    }
    Joiner::Side& side = joiner.side(action.family);
    if (side.seat != nullptr) {
      const bool failed = !action.answer.addresses.has_value();
      joiner.note_tries(action.family, *side.seat->flight, now, failed);
    }
    action.answer.attempts = std::exchange(side.attempts, {});
    count(action.answer);
    deliver(joiner, action.family, std::move(action.answer),
            action.kind == LookupAction::Kind::Update);
  }
  loop_.arm(joiner.timer_, joiner.machine_->next_deadline());
}

void Resolver::Core::join(Joiner& joiner, const LookupAction& action) {
  Joiner::Side& side = joiner.side(action.family);
  assert(side.seat == nullptr);
  std::unique_ptr<Seat>& seat = flights_[Key{action.name, action.family}];
  const bool fresh = seat == nullptr;
  if (fresh) {
    seat = std::make_unique<Seat>();
    seat->flight = make_flight(action.name, action.family, joiner.rules_);
  }
  if (action.kind == LookupAction::Kind::Ask) ++counters_.cache_misses;
  if (action.kind == LookupAction::Kind::Refresh && fresh) ++counters_.refreshes;
  if (!fresh) ++counters_.joined;
  side.seat = seat.get();
  side.told = 0;
  seat->joiners.push_back(&joiner);
  if (fresh) {
    seat->flight->start();
  } else {
    seat->flight->extend(joiner.rules_);
  }
}

std::unique_ptr<Flight> Resolver::Core::make_flight(const std::string& name, Family family,
                                                    const QueryRules& rules) {
  switch (backend_) {
    case DnsBackend::System:
      return std::make_unique<SystemFlight>(loop_, *this, name, family, rules, system_ttl_,
                                            counters_);
    case DnsBackend::Queue:
      return std::make_unique<ApplicationFlight>(loop_, *this, name, family, rules, system_ttl_,
                                                 counters_, *application_);
    case DnsBackend::Cares:
    case DnsBackend::None:
      break;
  }
  return std::make_unique<ServerFlight>(loop_, *this, name, family, rules, servers_, counters_);
}

std::unique_ptr<Resolver::Core::Seat> Resolver::Core::take_seat(Flight& flight) {
  const auto found = flights_.find(Key{flight.name(), flight.family()});
  if (found != flights_.end() && found->second->flight.get() == &flight) {
    std::unique_ptr<Seat> seat = std::move(found->second);
    flights_.erase(found);
    return seat;
  }
  const auto old = std::find_if(retired_.begin(), retired_.end(),
                                [&](const auto& seat) { return seat->flight.get() == &flight; });
  assert(old != retired_.end());
  std::unique_ptr<Seat> seat = std::move(*old);
  retired_.erase(old);
  return seat;
}

void Resolver::Core::on_finished(Flight& flight, Outcome outcome) {
  const Time now = loop_.now();
  const auto current = flights_.find(Key{flight.name(), flight.family()});
  const bool is_current = current != flights_.end() && current->second->flight.get() == &flight;
  const std::unique_ptr<Seat> seat = take_seat(flight);
  graveyard_.push_back(std::move(seat->flight));
  count(flight);
  const Time expires = remember(flight, outcome, is_current);
  for (Joiner* joiner : seat->joiners) {
    joiner->note_tries(flight.family(), flight, now, false);
    joiner->side(flight.family()).seat = nullptr;
  }
  // No handler runs here, so nobody leaves while this goes on.
  for (Joiner* joiner : seat->joiners) {
    std::vector<LookupAction> actions;
    joiner->machine_->on_outcome(flight.family(), outcome, expires, now, &actions);
    perform(*joiner, actions);
  }
  schedule();
}

Time Resolver::Core::remember(const Flight& flight, const Outcome& outcome, bool current) {
  const Time now = loop_.now();
  if (!current || !outcome.cacheable) return now;
  if (outcome.positive()) {
    return cache_.put_addresses(flight.name(), flight.family(), outcome.addresses, outcome.ttl,
                                now);
  }
  if (outcome.negative()) {
    return cache_.put_negative(flight.name(), flight.family(), outcome.failure, outcome.ttl, now);
  }
  return cache_.put_failure(flight.name(), flight.family(), outcome.failure, now);
}

void Resolver::Core::count(const FamilyAnswer& answer) {
  if (!answer.from_cache) return;
  if (answer.stale) {
    ++counters_.stale_served;
  } else if (answer.addresses) {
    ++counters_.cache_hits;
  } else {
    ++counters_.cache_negative;
  }
}

void Resolver::Core::count(const Flight& flight) {
  for (const QueryTry& tried : flight.tries()) {
    const Status status = tried.failure.status;
    if (status == Status::OK || Outcome::is_negative(status)) {
      ++counters_.answers;
    } else if (status == Status::E_DNS_TIMEOUT) {
      ++counters_.timeouts;
    } else {
      ++counters_.failures;
    }
  }
}

void Resolver::Core::on_lookup_time(Joiner& joiner) {
  std::vector<LookupAction> actions;
  joiner.machine_->on_time(loop_.now(), &actions);
  perform(joiner, actions);
}

void Resolver::Core::deliver(Joiner& joiner, Family family, FamilyAnswer answer, bool update) {
  deliveries_.push_back({&joiner, family, std::move(answer), update});
  schedule();
}

void Resolver::Core::schedule() {
  if (scheduled_ || closed_) return;
  scheduled_ = true;
  loop_.defer([weak = weak_from_this()] {
    if (const std::shared_ptr<Core> core = weak.lock()) core->run();
  });
}

void Resolver::Core::run() {
  scheduled_ = false;
  graveyard_.clear();
  // What a handler adds waits for the next deferred call, so that it is later than the call that
  // adds it.
  for (size_t left = deliveries_.size(); left > 0 && !closed_; --left) {
    Delivery delivery = std::move(deliveries_.front());
    deliveries_.pop_front();
    if (delivery.joiner == nullptr) continue;
    LookupHandler* handler = delivery.joiner->handler_;
    if (delivery.update) {
      handler->on_update(delivery.family, std::move(delivery.answer));
    } else {
      handler->on_family(delivery.family, std::move(delivery.answer));
    }
  }
  if (!deliveries_.empty()) schedule();
}

void Resolver::Core::leave(Joiner& joiner) {
  for (Joiner::Side& side : joiner.sides_) {
    if (side.seat != nullptr) std::erase(side.seat->joiners, &joiner);
    side.seat = nullptr;
  }
  for (Delivery& delivery : deliveries_) {
    if (delivery.joiner == &joiner) delivery.joiner = nullptr;
  }
  joiner.timer_.cancel();
  joiner.unlink();
  joiner.core_ = nullptr;
}

void Resolver::Core::Joiner::note_tries(Family family, const Flight& flight, Time now,
                                        bool running_too) {
  Side& mine = side(family);
  const std::vector<QueryTry>& tries = flight.tries();
  for (; mine.told < tries.size(); ++mine.told) {
    const QueryTry& tried = tries[mine.told];
    const bool running = tried.ended == kNever;
    if (running && !running_too) return;
    const Time ended = running ? now : tried.ended;
    if (ended < started_ || mine.attempts.size() >= Error::kMaxAttempts) continue;
    // A try that began for another lookup counts from this one's beginning.
    const Time began = std::max(tried.started, started_);
    mine.attempts.push_back(
        {.phase = Phase::Dns,
         .target = tried.target,
         .started = began - started_,
         .duration = ended - began,
         .failure = running ? Failure{.status = Status::E_DNS_TIMEOUT} : tried.failure});
  }
}

void Resolver::Core::set_application(ApplicationResolver* application) {
  if (application == application_) return;
  application_ = application;
  if (backend_ != DnsBackend::Queue) return;
  // Open questions were put to the one that goes.
  std::vector<Flight*> open;
  for (auto& [key, seat] : flights_)
    open.push_back(seat->flight.get());
  for (Flight* flight : open)
    static_cast<ApplicationFlight*>(flight)->withdraw();
}

void Resolver::Core::mark_suspect(const Host& host) {
  if (host.literal) return;
  for (const std::string& name : names_of(host)) {
    cache_.mark_suspect(name, Family::V6, loop_.now());
    cache_.mark_suspect(name, Family::V4, loop_.now());
  }
}

std::vector<CachedAnswer> Resolver::Core::cached(const Host& host) {
  std::vector<CachedAnswer> answers;
  if (host.literal) return answers;
  for (const std::string& name : names_of(host)) {
    cache_.read_out(name, Family::V6, loop_.now(), &answers);
    cache_.read_out(name, Family::V4, loop_.now(), &answers);
  }
  return answers;
}

std::vector<SocketAddress> Resolver::Core::servers() {
  refresh();
  return servers_.order(loop_.now());
}

}  // namespace conpool::resolver
