// Orders for dials, and what their attempts teach.
#include "policy/balancer.h"

#include <algorithm>
#include <cassert>
#include <tuple>

namespace conpool::policy {

struct Balancer::Rank {
  // The order of the tiers rules over the order of the classes.
  enum class Tier : uint8_t { Normal, Suspect, Cooling, Deceiving };
  const SocketAddress* address = nullptr;
  Record* record = nullptr;
  Tier tier = Tier::Normal;
  uint32_t class_index = 0;  // with IPv6 shifted when the family is demoted
  bool probe = false;        // the probe of its address, first in its class
  bool outside_band = false;
  uint64_t turn = 0;  // position by the policy: load, rotation or nothing
  bool busy = false;  // taking it would mean to wait: its equals go first
  uint64_t tie = 0;

  auto key() const {
    if (tier == Tier::Normal) {
      return std::make_tuple(tier, uint64_t{class_index}, uint64_t{!probe}, uint64_t{outside_band},
                             turn, uint64_t{busy}, tie);
    }
    // What probably does not answer is tried by fewest dials first, then by the cooldown's end.
    return std::make_tuple(tier, uint64_t{record->first_choices},
                           static_cast<uint64_t>(record->health.cooling_until()), uint64_t{0},
                           uint64_t{0}, uint64_t{0}, tie);
  }
};

void Balancer::Record::answered(Time started) {
  const auto it = std::find(unanswered.begin(), unanswered.end(), started);
  if (it != unanswered.end()) unanswered.erase(it);
}

BalancerOptions balancer_options(const Values& values) {
  BalancerOptions options;
  options.policy = static_cast<BalancePolicy>(values.balance_policy);
  options.health.cooldown = values.balance_cooldown;
  options.health.cooldown_max = values.balance_cooldown_max;
  options.health.eject_after = static_cast<uint32_t>(values.balance_eject_after);
  options.eject_most = static_cast<uint32_t>(values.balance_eject_most);
  options.probe_every = static_cast<uint32_t>(values.balance_probe_every);
  options.adaptive = values.race_adaptive != 0;
  options.delay_min = values.race_delay_min;
  options.delay_max = values.race_delay_max;
  return options;
}

Balancer::Balancer(const BalancerOptions& options, uint64_t seed) : options_(options), rng_(seed) {}

// --- addresses -----------------------------------------------------------------------------------

void Balancer::set_addresses(Time, std::span<const SortedAddress> sorted) {
  std::vector<SocketAddress> before = std::move(present_);
  for (const SocketAddress& address : before)
    records_.at(address).present = false;
  present_.clear();
  for (const SortedAddress& entry : sorted.first(std::min(sorted.size(), kMaxRemembered))) {
    Record& record = records_[entry.address];
    if (record.present) continue;
    record.present = true;
    record.class_index = entry.class_index;
    present_.push_back(entry.address);
  }
  for (const SocketAddress& address : before) {
    Record& record = records_.at(address);
    if (!record.present) record.left_at = ++leavings_;
  }
  readmit_excess();
  forget_excess();
  ++generation_;
}

void Balancer::forget_excess() {
  while (records_.size() > kMaxRemembered) {
    auto oldest = records_.end();
    for (auto it = records_.begin(); it != records_.end(); ++it) {
      const Record& record = it->second;
      const bool used = record.present || record.open > 0 || record.first_choices > 0 ||
                        !record.unanswered.empty();
      if (used) continue;
      if (oldest == records_.end() || record.left_at < oldest->second.left_at) oldest = it;
    }
    if (oldest == records_.end()) return;
    records_.erase(oldest);
  }
}

bool Balancer::present(const SocketAddress& address) const {
  const Record* record = find(address);
  return record != nullptr && record->present;
}

const Balancer::Record* Balancer::find(const SocketAddress& address) const {
  const auto it = records_.find(address);
  return it == records_.end() ? nullptr : &it->second;
}

Balancer::Record* Balancer::find(const SocketAddress& address) {
  return const_cast<Record*>(static_cast<const Balancer*>(this)->find(address));
}

// --- ejection ------------------------------------------------------------------------------------

size_t Balancer::most_ejected() const {
  if (present_.empty()) return 0;
  return std::min(present_.size() - 1, present_.size() * options_.eject_most / 100);
}

size_t Balancer::places_taken() const {
  return static_cast<size_t>(
      std::count_if(present_.begin(), present_.end(),
                    [&](const SocketAddress& address) { return find(address)->health.ejected(); }));
}

void Balancer::eject_if_due(Record& record) {
  if (!record.present || !record.health.may_be_ejected(options_.health)) return;
  if (places_taken() < most_ejected()) record.health.eject();
}

// Fewer addresses, fewer places: those that would come back first do so now.
void Balancer::readmit_excess() {
  for (size_t taken = places_taken(); taken > most_ejected(); --taken) {
    Record* first = nullptr;
    for (const SocketAddress& address : present_) {
      Record* record = find(address);
      if (!record->health.ejected()) continue;
      if (first == nullptr || record->health.cooling_until() < first->health.cooling_until()) {
        first = record;
      }
    }
    first->health.readmit();
  }
}

// --- orders --------------------------------------------------------------------------------------

// The present addresses without those that are left out, in RFC 6724 order.
std::vector<Balancer::Rank> Balancer::usable(Time now, const Dial* running) {
  std::vector<Rank> ranks;
  ranks.reserve(present_.size());
  const Record* first = nullptr;  // the first to have cooled down
  bool hope = false;              // some address may work
  for (const SocketAddress& address : present_) {
    const Record* record = find(address);
    const AddressHealth& health = record->health;
    hope |= health.state() == AddressHealth::State::Healthy ||
            health.state() == AddressHealth::State::Suspect;
    if (first == nullptr || health.cooling_until() < first->health.cooling_until()) first = record;
  }
  for (const SocketAddress& address : present_) {
    Rank rank;
    rank.address = &address;
    rank.record = find(address);
    rank.class_index = rank.record->class_index;
    const bool prober = running != nullptr && running->probe && running->first == rank.record;
    // One that hung up works again without a word: its connects never failed.
    const bool last_hope = !hope && (rank.record == first || rank.record->health.deceives(now));
    if (!rank.record->health.left_out(now) || prober || last_hope) ranks.push_back(rank);
  }
  return ranks;
}

std::vector<Balancer::Rank> Balancer::ranked(Time now, const Dial* running) {
  std::vector<Rank> ranks = usable(now, running);
  if (options_.policy == BalancePolicy::Rfc6724) {
    for (Rank& rank : ranks) {
      rank.probe = rank.record->health.ejected() && rank.record->health.wants_probe(now);
      if (rank.record->health.deceives(now)) rank.tier = Rank::Tier::Deceiving;
    }
    std::stable_partition(ranks.begin(), ranks.end(),
                          [](const Rank& rank) { return rank.tier != Rank::Tier::Deceiving; });
    return ranks;
  }
  classify(now, ranks);
  choose_probe(now, ranks);
  measure(now, ranks);
  std::sort(ranks.begin(), ranks.end(),
            [](const Rank& a, const Rank& b) { return a.key() < b.key(); });
  return ranks;
}

size_t Balancer::class_size(const std::vector<Rank>& ranks, uint32_t class_index) {
  return static_cast<size_t>(std::count_if(ranks.begin(), ranks.end(), [&](const Rank& rank) {
    return rank.record->class_index == class_index;
  }));
}

void Balancer::classify(Time now, std::vector<Rank>& ranks) {
  uint32_t classes = 0;
  for (const Rank& rank : ranks)
    classes = std::max(classes, rank.class_index + 1);
  for (Rank& rank : ranks) {
    if (rank.address->family() == Family::V6 && v6_demoted(now)) rank.class_index += classes;
    switch (rank.record->health.state()) {
      case AddressHealth::State::Healthy:
        rank.tier = Rank::Tier::Normal;
        break;
      case AddressHealth::State::Suspect:
        rank.tier = Rank::Tier::Suspect;
        break;
      case AddressHealth::State::Cooling:
      case AddressHealth::State::Ejected:
      case AddressHealth::State::Probing:
        rank.tier = rank.record->health.deceives(now) ? Rank::Tier::Deceiving : Rank::Tier::Cooling;
        break;
    }
  }
}

// A cooled-down address of the leading class goes first, once, when a healthy one is behind it.
// Anywhere else in the order it would be tried by accident only.
void Balancer::choose_probe(Time now, std::vector<Rank>& ranks) {
  const auto healthy = [](const Rank& rank) { return rank.tier == Rank::Tier::Normal; };
  if (std::none_of(ranks.begin(), ranks.end(), healthy)) return;
  uint32_t leading = UINT32_MAX;
  for (const Rank& rank : ranks) {
    if (healthy(rank) || rank.record->health.wants_probe(now)) {
      leading = std::min(leading, rank.class_index);
    }
  }
  Rank* chosen = nullptr;
  for (Rank& rank : ranks) {
    if (rank.class_index != leading || !rank.record->health.wants_probe(now)) continue;
    if (chosen == nullptr ||
        rank.record->health.cooling_until() < chosen->record->health.cooling_until()) {
      chosen = &rank;
    }
  }
  if (chosen == nullptr) return;
  chosen->probe = true;
  chosen->tier = Rank::Tier::Normal;
}

void Balancer::measure(Time now, std::vector<Rank>& ranks) {
  const bool use_band = options_.probe_every == 0 || (orders_ + 1) % options_.probe_every != 0;
  std::map<uint32_t, uint64_t> positions;
  for (Rank& rank : ranks) {
    const Record& record = *rank.record;
    rank.tie = rng_.next();
    switch (options_.policy) {
      case BalancePolicy::LeastConnections: {
        rank.turn = uint64_t{record.open} + record.first_choices;
        rank.busy = record.first_choices >= kUnprovenDials && !record.health.proven(now);
        const Nanos best = best_of_class(record.class_index, &record);
        if (best == 0) break;
        const Nanos srtt = record.rtt.smoothed();
        rank.outside_band = use_band && srtt > std::max(2 * best, best + kBandSlack);
        if (!record.unanswered.empty() && now >= outside_band_at(record, best)) {
          rank.outside_band = true;
        }
        break;
      }
      case BalancePolicy::RoundRobin: {
        const uint64_t size = class_size(ranks, record.class_index);
        rank.turn = (positions[record.class_index]++ + size - turn_ % size) % size;
        break;
      }
      case BalancePolicy::Random:
      case BalancePolicy::Rfc6724:
        break;
    }
  }
}

// The least smoothed round trip among the healthy sisters; 0 when none is known.
Nanos Balancer::best_of_class(uint32_t class_index, const Record* except) const {
  Nanos best = 0;
  for (const SocketAddress& address : present_) {
    const Record* record = find(address);
    if (record == except || record->class_index != class_index || record->rtt.samples() == 0) {
      continue;
    }
    if (record->health.state() != AddressHealth::State::Healthy) continue;
    const Nanos srtt = std::max<Nanos>(1, record->rtt.smoothed());
    if (best == 0 || srtt < best) best = srtt;
  }
  return best;
}

Time Balancer::outside_band_at(const Record& record, Nanos best) {
  return deadline_after(record.unanswered.front(), std::max(3 * best, best + kUnansweredSlack));
}

bool Balancer::must_wait(Time now, const std::vector<Rank>& ranks, Time* retry_at) const {
  if (options_.policy != BalancePolicy::LeastConnections) return false;
  const Record& head = *ranks.front().record;
  if (class_size(ranks, head.class_index) < 2 || head.health.proven(now)) return false;
  if (head.first_choices < kUnprovenDials) return false;
  *retry_at = kNever;
  const Nanos best = best_of_class(head.class_index, &head);
  if (best > 0 && !head.unanswered.empty()) {
    const Time outside = outside_band_at(head, best);
    if (outside > now) *retry_at = outside;
  }
  return true;
}

void Balancer::write_order(const std::vector<Rank>& ranks, std::vector<Choice>* order) const {
  order->clear();
  const Rank* before = nullptr;
  uint32_t class_index = 0;
  for (const Rank& rank : ranks) {
    const bool alike = before != nullptr && before->tier == rank.tier &&
                       before->class_index == rank.class_index &&
                       before->address->family() == rank.address->family();
    if (before != nullptr && !alike) ++class_index;
    before = &rank;
    Choice choice;
    choice.address = *rank.address;
    choice.class_index = class_index;
    choice.cooling = rank.tier == Rank::Tier::Cooling;
    choice.last_resort = rank.tier == Rank::Tier::Deceiving;
    if (options_.adaptive) {
      choice.expected_delay =
          rank.record->rtt.attempt_delay(options_.delay_min, options_.delay_max);
    }
    order->push_back(std::move(choice));
  }
}

// --- dials ---------------------------------------------------------------------------------------

Balancer::Begin Balancer::begin_dial(Time now, std::vector<Choice>* order) {
  order->clear();
  Begin begin;
  std::vector<Rank> ranks;
  if (present_.empty()) {
    if (dials_.size() >= kScoutDials) return begin;
  } else {
    ranks = ranked(now, nullptr);
    if (must_wait(now, ranks, &begin.retry_at)) return begin;
  }
  begin.retry_at = kNever;
  begin.token = next_token_++;
  Dial& dial = dials_[begin.token];
  if (!ranks.empty()) {
    take_first(dial, ranks);
    write_order(ranks, order);
  }
  return begin;
}

void Balancer::order(Time now, DialToken token, std::vector<Choice>* order) {
  order->clear();
  Dial* running = dial(token);
  if (running == nullptr || present_.empty()) return;
  if (!running->attempted) drop_first(now, *running);
  const std::vector<Rank> ranks = ranked(now, running);
  if (!running->attempted) take_first(*running, ranks);
  write_order(ranks, order);
}

void Balancer::take_first(Dial& dial, const std::vector<Rank>& ranks) {
  const Rank& head = ranks.front();
  ++orders_;
  ++turn_;
  dial.first = head.record;
  dial.probe = head.probe;
  ++head.record->first_choices;
  if (head.probe) head.record->health.probe_started();
}

void Balancer::drop_first(Time now, Dial& dial) {
  if (dial.first == nullptr) return;
  assert(dial.first->first_choices > 0);
  --dial.first->first_choices;
  if (dial.probe) dial.first->health.probe_abandoned(now);
  dial.first = nullptr;
  dial.probe = false;
}

Balancer::Dial* Balancer::dial(DialToken token) {
  const auto it = dials_.find(token);
  return it == dials_.end() ? nullptr : &it->second;
}

Balancer::OpenAttempt* Balancer::attempt(DialToken token, const SocketAddress& address) {
  Dial* running = dial(token);
  if (running == nullptr) return nullptr;
  for (OpenAttempt& open : running->attempts) {
    if (open.address == address) return &open;
  }
  return nullptr;
}

void Balancer::attempt_started(Time now, DialToken token, const SocketAddress& address) {
  Dial* running = dial(token);
  if (running == nullptr || attempt(token, address) != nullptr) return;
  Record& record = records_[address];  // a race may still try an address that vanished
  if (!record.present && record.left_at == 0) record.left_at = ++leavings_;
  ++record.attempts;
  record.unanswered.push_back(now);
  running->attempted = true;
  running->attempts.push_back({.address = address, .started = now});
}

void Balancer::attempt_slow(Time, DialToken token, const SocketAddress& address) {
  OpenAttempt* open = attempt(token, address);
  if (open == nullptr || open->slow || open->answered) return;
  open->slow = true;
  find(address)->health.slow();
  ++generation_;
}

void Balancer::attempt_connected(Time now, DialToken token, const SocketAddress& address,
                                 Nanos rtt) {
  OpenAttempt* open = attempt(token, address);
  if (open == nullptr || open->answered) return;
  open->answered = true;
  Record& record = *find(address);
  record.answered(open->started);
  ++record.connects;
  record.rtt.add(rtt);
  record.health.connected(now);
  ++generation_;
}

void Balancer::attempt_failed(Time now, DialToken token, const SocketAddress& address,
                              const Failure& failure) {
  Dial* running = dial(token);
  if (running != nullptr) end_attempt(now, *running, address, blame_of(failure));
}

void Balancer::attempt_lost(Time now, DialToken token, const SocketAddress& address,
                            bool by_delay) {
  const OpenAttempt* open = attempt(token, address);
  if (open == nullptr) return;
  Blame blame = Blame::None;
  if (by_delay) {
    const RoundTrips& rtt = find(address)->rtt;
    const bool as_ever =
        rtt.samples() > 0 && now - open->started <= rtt.smoothed() + 4 * rtt.variation();
    blame = open->answered ? Blame::Failed : as_ever ? Blame::Soft : Blame::Silent;
  }
  end_attempt(now, *dial(token), address, blame);
}

void Balancer::end_attempt(Time now, Dial& dial, const SocketAddress& address, Blame blame) {
  const auto open =
      std::find_if(dial.attempts.begin(), dial.attempts.end(),
                   [&](const OpenAttempt& entry) { return entry.address == address; });
  if (open == dial.attempts.end()) return;
  Record& record = *find(address);
  if (!open->answered) record.answered(open->started);
  if (open->slow) record.health.slow_ended();
  if (blame != Blame::None) {
    if (dial.first == &record) {
      // The probe told its answer, and nobody need wait for this address because of this dial.
      dial.probe = false;
      drop_first(now, dial);
    }
    ++record.failures;
    record.health.failed(now, open->started, blame, options_.health, rng_);
    eject_if_due(record);
    if (address.family() == Family::V6) dial.v6_blamed = true;
  }
  dial.attempts.erase(open);
  ++generation_;
}

void Balancer::end_dial(Time now, DialToken token, const SocketAddress* winner) {
  Dial* running = dial(token);
  if (running == nullptr) return;
  if (winner != nullptr) {
    Record& record = records_[*winner];
    end_attempt(now, *running, *winner, Blame::None);
    record.health.opened(now, options_.health, rng_);
    ++record.open;
    count_family(now, *running, *winner);
  }
  while (!running->attempts.empty()) {
    const SocketAddress address = running->attempts.back().address;
    end_attempt(now, *running, address, Blame::None);
  }
  drop_first(now, *running);
  dials_.erase(token);
  forget_excess();
  ++generation_;
}

// A race that IPv6 lost to IPv4. After a demotion one more such race is enough for the next.
void Balancer::count_family(Time now, const Dial& dial, const SocketAddress& winner) {
  if (winner.family() == Family::V6) {
    v6_losses_ = 0;
    v6_demoted_until_ = 0;
  } else if (dial.v6_blamed && ++v6_losses_ >= kFamilyLosses) {
    v6_losses_ = kFamilyLosses - 1;
    v6_demoted_until_ = now + kFamilyDemotion;
  }
}

void Balancer::check_passed(Time now, const SocketAddress& address) {
  Record* record = find(address);
  if (record == nullptr) return;
  record->health.check_passed(now);
  ++generation_;
}

void Balancer::check_failed(Time now, const SocketAddress& address, const Failure& failure) {
  Record* record = find(address);
  const Blame blame = blame_of_check(failure);
  if (record == nullptr || blame == Blame::None) return;
  ++record->failures;
  record->health.check_failed(now, blame, options_.health, rng_);
  eject_if_due(*record);
  ++generation_;
}

void Balancer::answered(const SocketAddress& address) {
  Record* record = find(address);
  if (record == nullptr) return;
  record->health.answered();
  ++generation_;
}

void Balancer::hung_up(Time now, const SocketAddress& address, Time started) {
  Record* record = find(address);
  if (record == nullptr) return;
  ++record->failures;
  record->health.hung_up(now, started, options_.health, rng_);
  eject_if_due(*record);
  ++generation_;
}

void Balancer::connection_closed(const SocketAddress& address) {
  Record* record = find(address);
  assert(record != nullptr && record->open > 0);
  if (record == nullptr || record->open == 0) return;
  --record->open;
  forget_excess();
  ++generation_;
}

void Balancer::network_changed(Time) {
  for (auto& [address, record] : records_) {
    record.health.flush();
    record.rtt.flush();
  }
  v6_losses_ = 0;
  v6_demoted_until_ = 0;
  ++generation_;
}

// --- readout -------------------------------------------------------------------------------------

uint32_t Balancer::load(const SocketAddress& address) const {
  const Record* record = find(address);
  return record == nullptr ? 0 : record->open + record->first_choices;
}

AddressHealth::State Balancer::health(const SocketAddress& address) const {
  const auto found = records_.find(address);
  return found == records_.end() ? AddressHealth::State::Healthy : found->second.health.state();
}

size_t Balancer::ejected() const {
  return static_cast<size_t>(
      std::count_if(present_.begin(), present_.end(), [&](const SocketAddress& address) {
        return find(address)->health.state() == AddressHealth::State::Ejected;
      }));
}

Balancer::View Balancer::view(const SocketAddress& address) const {
  const Record* record = find(address);
  return record == nullptr ? View{.address = address} : view_of(address, *record);
}

Balancer::View Balancer::view_of(const SocketAddress& address, const Record& record) {
  View view;
  view.address = address;
  view.state = record.health.state();
  view.present = record.present;
  view.open = record.open;
  view.first_choices = record.first_choices;
  view.weight = record.health.weight();
  view.failed_in_row = record.health.failures();
  view.cooling_until = record.health.cooling_until();
  view.srtt = record.rtt.smoothed();
  view.rtt_samples = record.rtt.samples();
  view.attempts = record.attempts;
  view.connects = record.connects;
  view.failures = record.failures;
  return view;
}

std::vector<Balancer::View> Balancer::views() const {
  std::vector<View> views;
  for (const SocketAddress& address : present_)
    views.push_back(view_of(address, *find(address)));
  for (const auto& [address, record] : records_) {
    if (!record.present) views.push_back(view_of(address, record));
  }
  return views;
}

}  // namespace conpool::policy
