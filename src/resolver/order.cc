// AddressOrder: see the header.
#include "resolver/order.h"

#include <cassert>

namespace conpool::resolver {

std::vector<OrderedAddress> AddressOrder::order(std::span<const SocketAddress> addresses,
                                                std::span<const uint32_t> history) {
  assert(history.empty() || history.size() == addresses.size());
  std::vector<SelectionCandidate> candidates;
  candidates.reserve(addresses.size());
  for (size_t i = 0; i < addresses.size(); ++i) {
    candidates.push_back({.address = addresses[i],
                          .source = source_of(addresses[i]),
                          .history = history.empty() ? 0 : history[i]});
  }
  std::vector<OrderedAddress> ordered;
  ordered.reserve(addresses.size());
  for (const Selected& selected : select_destinations(candidates, table_)) {
    ordered.push_back({addresses[selected.index], selected.class_index, selected.usable});
  }
  return ordered;
}

void AddressOrder::forget() {
  known_.clear();
}

SourceView AddressOrder::source_of(const SocketAddress& address) {
  const Time now = loop_.now();
  const SocketAddress destination = address.without_port();
  const auto found = known_.find(destination);
  if (found != known_.end() && now - found->second.asked < kSourceLife) return found->second.source;
  Result<SocketAddress> source = loop_.source_address(destination);
  SourceView view;
  if (source) {
    view = {SourceView::Kind::Known, source->without_port()};
  } else if (source.error().status != Status::E_CONNECT_UNREACHABLE) {
    return {SourceView::Kind::Unknown};  // our own trouble says nothing about the route
  }
  if (known_.size() >= kSources) known_.clear();
  known_[destination] = {view, now};
  return view;
}

}  // namespace conpool::resolver
