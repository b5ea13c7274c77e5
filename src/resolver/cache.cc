// DNS cache: see the header.
#include "resolver/cache.h"

#include <algorithm>
#include <functional>

namespace conpool::resolver {

CacheRules CacheRules::from(const Values& values) {
  CacheRules rules;
  rules.min_ttl = values.dns_min_ttl;
  rules.max_ttl = values.dns_max_ttl;
  rules.negative_max = values.dns_negative_max;
  rules.failure_min = values.dns_failure_min;
  rules.failure_max = values.dns_failure_max;
  rules.stale_max = values.dns_stale_max;
  rules.prefetch_percent = values.dns_prefetch;
  rules.capacity = static_cast<size_t>(values.dns_cache_entries);
  return rules;
}

size_t Cache::KeyHash::operator()(const Key& key) const {
  return std::hash<std::string>()(key.name) * 2 + (key.family == Family::V6 ? 1 : 0);
}

bool Cache::stale_usable(const Entry& entry, Time now) const {
  return entry.answered && !entry.addresses.empty() &&
         now < deadline_after(entry.expires, rules_.stale_max);
}

CacheFinding Cache::find(const std::string& name, Family family, Time now) {
  CacheFinding finding;
  if (peek(name, family) == nullptr) return finding;
  Entry& entry = touch(name, family);
  const bool waiting = now < entry.retry_at;
  const bool valid = entry.answered && now < entry.expires;
  if (valid && entry.addresses.empty()) {
    finding.kind = CacheFinding::Kind::Negative;
    finding.failure = entry.negative;
    finding.expires = entry.expires;
    return finding;
  }
  const bool doubted = valid && entry.suspect && now - entry.suspect_asked >= kSuspectRefreshGap;
  if (valid && !doubted) {
    const Nanos ttl = entry.expires - entry.inserted;
    finding.kind = CacheFinding::Kind::Fresh;
    finding.addresses = entry.addresses;
    finding.expires = entry.expires;
    finding.refresh = !waiting && ttl >= kPrefetchLeastTtl &&
                      entry.expires - now <= ttl / 100 * rules_.prefetch_percent;
    return finding;
  }
  if (doubted || stale_usable(entry, now)) {
    finding.kind = waiting ? CacheFinding::Kind::Standing : CacheFinding::Kind::Stale;
    finding.addresses = entry.addresses;
    finding.expires = std::max(entry.retry_at, deadline_after(now, kSecond));
    if (!waiting) entry.suspect_asked = now;
    return finding;
  }
  if (waiting) {
    finding.kind = CacheFinding::Kind::Failed;
    finding.failure = entry.failure;
    finding.expires = entry.retry_at;
  }
  return finding;
}

Time Cache::put_addresses(const std::string& name, Family family,
                          std::vector<SocketAddress> addresses, Nanos ttl, Time now) {
  const Time expires = deadline_after(now, std::min(std::max(ttl, rules_.min_ttl), rules_.max_ttl));
  if (rules_.capacity == 0) return expires;
  Entry& entry = touch(name, family);
  answer(entry, now, expires);
  entry.addresses = std::move(addresses);
  return expires;
}

Time Cache::put_negative(const std::string& name, Family family, Failure failure, Nanos ttl,
                         Time now) {
  const Time expires =
      deadline_after(now, std::min(std::max(ttl, rules_.min_ttl), rules_.negative_max));
  if (rules_.capacity == 0) return expires;
  Entry& entry = touch(name, family);
  answer(entry, now, expires);
  entry.addresses.clear();
  entry.negative = std::move(failure);
  return expires;
}

Time Cache::put_failure(const std::string& name, Family family, Failure failure, Time now) {
  if (rules_.capacity == 0) return now;
  Entry& entry = touch(name, family);
  // Failures far apart are not a row of failures.
  if (now > deadline_after(entry.retry_at, rules_.failure_max)) entry.failures = 0;
  const uint32_t doublings = std::min<uint32_t>(entry.failures, 30);
  Nanos wait = rules_.failure_min;
  for (uint32_t i = 0; i < doublings && wait < rules_.failure_max; ++i)
    wait *= 2;
  wait = std::min(wait, rules_.failure_max);
  ++entry.failures;
  entry.failure = std::move(failure);
  entry.retry_at = deadline_after(now, wait);
  return entry.retry_at;
}

void Cache::mark_suspect(const std::string& name, Family family, Time now) {
  Entry* entry = peek(name, family);
  if (entry == nullptr || !entry->answered || entry->addresses.empty()) return;
  entry->suspect = now < entry->expires;
}

void Cache::flush() {
  entries_.clear();
  order_.clear();
}

void Cache::read_out(const std::string& name, Family family, Time now,
                     std::vector<CachedAnswer>* out) const {
  const auto found = entries_.find(Key{name, family});
  if (found == entries_.end()) return;
  const Entry& entry = *found->second;
  const bool valid = entry.answered && now < entry.expires;
  CachedAnswer answer{.name = name, .family = family};
  answer.inserted = entry.inserted;
  answer.suspect = entry.suspect;
  answer.expires = entry.expires;
  if (valid && entry.addresses.empty()) {
    answer.kind = CacheFinding::Kind::Negative;
    answer.failure = entry.negative;
  } else if (valid || stale_usable(entry, now)) {
    answer.kind = valid                  ? CacheFinding::Kind::Fresh
                  : now < entry.retry_at ? CacheFinding::Kind::Standing
                                         : CacheFinding::Kind::Stale;
    answer.addresses = entry.addresses;
  } else if (now < entry.retry_at) {
    answer.kind = CacheFinding::Kind::Failed;
    answer.failure = entry.failure;
    answer.expires = entry.retry_at;
  } else {
    return;
  }
  out->push_back(std::move(answer));
}

Cache::Entry* Cache::peek(const std::string& name, Family family) {
  const auto found = entries_.find(Key{name, family});
  return found == entries_.end() ? nullptr : &*found->second;
}

Cache::Entry& Cache::touch(const std::string& name, Family family) {
  Key key{name, family};
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    order_.splice(order_.begin(), order_, found->second);
    return order_.front();
  }
  order_.push_front(Entry{.key = key});
  entries_.emplace(std::move(key), order_.begin());
  trim();
  return order_.front();
}

void Cache::answer(Entry& entry, Time now, Time expires) {
  entry.answered = true;
  entry.inserted = now;
  entry.expires = expires;
  entry.suspect = false;
  entry.suspect_asked = now;
  entry.failures = 0;
  entry.failure = Failure{};
  entry.retry_at = 0;
}

void Cache::trim() {
  while (entries_.size() > rules_.capacity) {
    entries_.erase(order_.back().key);
    order_.pop_back();
  }
}

}  // namespace conpool::resolver
