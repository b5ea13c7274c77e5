// The times of active checks.
#include "pool/health_schedule.h"

#include <algorithm>
#include <cassert>

namespace conpool::pool {

void HealthSchedule::set_addresses(Time now, std::span<const SocketAddress> addresses) {
  if (pace_.interval <= 0) return;
  for (auto& [address, entry] : entries_)
    entry.present = false;
  for (const SocketAddress& address : addresses) {
    const auto [at, added] = entries_.try_emplace(address);
    at->second.present = true;
    if (added) at->second.due = deadline_after(now, rng_.between(0, pace_.interval));
  }
  // One that is being checked goes when its check has ended.
  std::erase_if(entries_, [](const auto& e) { return !e.second.present && !e.second.running; });
}

std::optional<SocketAddress> HealthSchedule::begin(Time now) {
  if (running_ >= pace_.at_once) return std::nullopt;
  auto first = entries_.end();
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (at->second.running || at->second.due > now) continue;
    if (first == entries_.end() || at->second.due < first->second.due) first = at;
  }
  if (first == entries_.end()) return std::nullopt;
  first->second.running = true;
  ++running_;
  return first->first;
}

void HealthSchedule::stop(Time due, const SocketAddress& address) {
  const auto at = entries_.find(address);
  assert(at != entries_.end() && at->second.running);
  --running_;
  if (!at->second.present) {
    entries_.erase(at);
    return;
  }
  at->second.running = false;
  at->second.due = due;
}

void HealthSchedule::ended(Time now, const SocketAddress& address) {
  const Nanos spread = pace_.interval / 100 * pace_.jitter;
  stop(deadline_after(now, pace_.interval + rng_.between(-spread, spread)), address);
}

void HealthSchedule::put_off(Time now, const SocketAddress& address) {
  stop(deadline_after(now, std::max(pace_.interval / 10, kLeastPutOff)), address);
}

Time HealthSchedule::next() const {
  Time next = kNever;
  if (running_ >= pace_.at_once) return next;
  for (const auto& [address, entry] : entries_) {
    if (!entry.running) next = std::min(next, entry.due);
  }
  return next;
}

}  // namespace conpool::pool
