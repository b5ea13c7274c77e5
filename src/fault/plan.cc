// Which rules hit.
#include "fault/plan.h"

#include <algorithm>

#include "base/rng.h"
#include "base/text.h"

namespace conpool::fault {
namespace {

bool contains(const Ranges& ranges, uint64_t number) {
  if (ranges.empty()) return true;
  return std::any_of(ranges.begin(), ranges.end(), [number](const Range& range) {
    return number >= range.first && number <= range.last;
  });
}

bool same_text(std::string_view lower, std::string_view text) {
  return lower.size() == text.size() && std::equal(lower.begin(), lower.end(), text.begin(),
                                                   [](char a, char b) { return a == to_lower(b); });
}

// "localhost:8088" → "localhost"; "[::1]:80" → "[::1]"; a name without a port is itself.
std::string_view host_of(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || colon + 1 == text.size()) return text;
  if (text.find(':') != colon && text[colon - 1] != ']') return text;
  const std::string_view port = text.substr(colon + 1);
  return std::all_of(port.begin(), port.end(), is_digit) ? text.substr(0, colon) : text;
}

bool names(const Rule& rule, const Occasion& occasion) {
  if (rule.endpoint.empty()) return true;
  if (occasion.point == Point::Lookup) {
    // Questions are about names; the port plays no part.
    const std::string_view host = host_of(rule.endpoint);
    std::string_view name = occasion.endpoint;
    if (name.ends_with('.')) name.remove_suffix(1);
    return same_text(host, name);
  }
  return same_text(rule.endpoint, occasion.endpoint) ||
         same_text(rule.endpoint, host_of(occasion.endpoint));
}

bool leads_to(const Rule& rule, const Occasion& occasion) {
  if (!rule.address) return true;
  const bool any_port = rule.address->port() == 0;
  return *rule.address == (any_port ? occasion.address.without_port() : occasion.address);
}

uint64_t mix(uint64_t state, uint64_t value) {
  return Rng(state ^ value).next();
}

}  // namespace

bool Rule::selects(const Occasion& occasion) const {
  if (of_http2(kind) && !occasion.http2) return false;
  return point_of(kind) == occasion.point && occasion.ordinal % every == 0 &&
         contains(ordinals, occasion.ordinal) && contains(attempts, occasion.attempt) &&
         contains(sends, occasion.sends) && occasion.age >= from && occasion.age < until &&
         names(*this, occasion) && leads_to(*this, occasion);
}

std::vector<Choice> choose(const Plan& plan, uint64_t seed, const Occasion& occasion) {
  std::vector<Choice> chosen;
  uint64_t number = 0;
  for (const Rule& rule : plan.rules) {
    ++number;
    if (!rule.selects(occasion)) continue;
    const bool taken = std::any_of(chosen.begin(), chosen.end(), [&rule](const Choice& earlier) {
      return only_delays(rule.kind) ? earlier.rule->kind == rule.kind
                                    : !only_delays(earlier.rule->kind);
    });
    if (taken) continue;
    Rng chance(
        mix(mix(mix(mix(0, seed), number), occasion.ordinal), uint64_t{occasion.attempt} << 32));
    if (chance.up_to(Rule::kCertain - 1) >= rule.probability) continue;
    chosen.push_back({&rule, chance.between(rule.delay_min, rule.delay_max)});
  }
  return chosen;
}

}  // namespace conpool::fault
