// Interleaving of a race's candidates (RFC 8305 §4, §6).
#include "racer/candidate_order.h"

#include <algorithm>
#include <cassert>

namespace conpool::racer {

bool CandidateOrder::allowed(Family family) const {
  if (family_ == RaceFamily::V6Only) return family == Family::V6;
  if (family_ == RaceFamily::V4Only) return family != Family::V6;
  return true;
}

void CandidateOrder::replace(Family family, std::span<const Candidate> candidates) {
  if (!allowed(family)) return;
  const bool v6 = family == Family::V6;
  std::vector<Entry>& list = lists_[v6 ? 0 : 1];
  std::vector<Entry> fresh;
  const auto same = [](const SocketAddress& address) {
    return [&address](const Entry& entry) { return entry.candidate.address == address; };
  };
  for (const Candidate& candidate : candidates.first(std::min(candidates.size(), kMaxPerFamily))) {
    const SocketAddress& address = candidate.address;
    if ((address.family() == Family::V6) != v6) continue;
    if (std::any_of(fresh.begin(), fresh.end(), same(address))) continue;
    const auto old = std::find_if(list.begin(), list.end(), same(address));
    fresh.push_back({candidate, old != list.end() && old->tried});
  }
  // Tried candidates stay in front, also those that vanished: their family has had these turns, and
  // a new order of the addresses (a balancer's, say) must not give it another one at once.
  std::vector<Entry> merged;
  for (Entry& entry : list) {
    if (entry.tried && std::none_of(fresh.begin(), fresh.end(), same(entry.candidate.address))) {
      merged.push_back(std::move(entry));
    }
  }
  for (Entry& entry : fresh)
    merged.push_back(std::move(entry));
  list = std::move(merged);
  std::stable_sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) {
    if (a.candidate.rank != b.candidate.rank) return a.candidate.rank < b.candidate.rank;
    return a.tried && !b.tried;
  });
  rebuild();
}

void CandidateOrder::replace_all(std::span<const Candidate> candidates) {
  replace(Family::V6, candidates);
  replace(Family::V4, candidates);
}

bool CandidateOrder::v6_leads() const {
  if (family_ == RaceFamily::V6First) return true;
  if (family_ == RaceFamily::V4First) return false;
  if (lists_[0].empty() || lists_[1].empty()) return true;
  // The best of the first rank: tried ones, which are in front, may be cooling by now.
  const auto best = [](const std::vector<Entry>& list) {
    uint32_t least = UINT32_MAX;
    for (const Entry& entry : list) {
      if (entry.candidate.rank != list.front().candidate.rank) break;
      least = std::min(least, entry.candidate.class_index);
    }
    return least;
  };
  return best(lists_[0]) <= best(lists_[1]);
}

void CandidateOrder::rebuild() {
  order_.clear();
  const uint8_t leading = v6_leads() ? 0 : 1;
  size_t at[2] = {0, 0};
  while (at[0] < lists_[0].size() || at[1] < lists_[1].size()) {
    uint32_t rank = UINT32_MAX;
    for (int i = 0; i < 2; ++i) {
      if (at[i] < lists_[i].size()) rank = std::min(rank, lists_[i][at[i]].candidate.rank);
    }
    const auto take = [&](uint8_t which) {
      if (at[which] >= lists_[which].size()) return false;
      if (lists_[which][at[which]].candidate.rank != rank) return false;
      order_.push_back({which, static_cast<uint32_t>(at[which]++)});
      return true;
    };
    const auto other = static_cast<uint8_t>(1 - leading);
    for (uint32_t i = 1; i < first_family_count_; ++i)
      take(leading);
    // Not short-circuited: each round gives one turn to either family.
    while (static_cast<int>(take(leading)) + static_cast<int>(take(other)) > 0)
      continue;
  }
  next_ = 0;
  while (next_ < order_.size() && lists_[order_[next_].list][order_[next_].index].tried)
    ++next_;
}

const Candidate* CandidateOrder::next() const {
  if (next_ >= order_.size()) return nullptr;
  return &lists_[order_[next_].list][order_[next_].index].candidate;
}

void CandidateOrder::mark_tried() {
  assert(next_ < order_.size());
  lists_[order_[next_].list][order_[next_].index].tried = true;
  while (next_ < order_.size() && lists_[order_[next_].list][order_[next_].index].tried)
    ++next_;
}

}  // namespace conpool::racer
