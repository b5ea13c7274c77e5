// Readouts of the pool: figures as a tree, and an endpoint explained in words.
#include <algorithm>

#include "base/settings.h"
#include "pool/core.h"
#include "pool/endpoint.h"

namespace conpool::pool {

using observe::Counter;

namespace {

std::string_view state_name(ConnectionState state) {
  switch (state) {
    case ConnectionState::New:
      return "new";
    case ConnectionState::Idle:
      return "idle";
    case ConnectionState::Active:
      return "active";
    case ConnectionState::Full:
      // One place that is taken is what a raw lease looks like: active, to whoever reads it.
      return "active";
    case ConnectionState::Held:
      return "held";
    case ConnectionState::Draining:
      return "draining";
    case ConnectionState::Closed:
      return "closed";
  }
  return "closed";
}

Counter state_gauge(ConnectionState state) {
  switch (state) {
    case ConnectionState::Idle:
      return Counter::ConnectionsIdle;
    case ConnectionState::Held:
      return Counter::ConnectionsHeld;
    case ConnectionState::Draining:
      return Counter::ConnectionsDraining;
    default:
      return Counter::ConnectionsActive;
  }
}

std::string_view health_name(policy::AddressHealth::State state) {
  switch (state) {
    case policy::AddressHealth::State::Healthy:
      return "healthy";
    case policy::AddressHealth::State::Suspect:
      return "suspect";
    case policy::AddressHealth::State::Cooling:
      return "cooling";
    case policy::AddressHealth::State::Probing:
      return "probing";
  }
  return "healthy";
}

std::string family_text(const resolver::CachedAnswer& answer, Time now) {
  std::string text = answer.family == Family::V6 ? "AAAA " : "A    ";
  text += answer.name + ": ";
  if (answer.addresses.empty()) {
    text += failure_text(answer.failure);
  } else {
    const char* between = "";
    for (const SocketAddress& address : answer.addresses) {
      text += between + address.ip_text();
      between = " ";
    }
  }
  if (answer.expires > now) {
    text += ", holds for " + duration_text(answer.expires - now);
  } else {
    text += ", past its time for " + duration_text(now - answer.expires);
  }
  if (answer.suspect) text += ", suspect";
  return text;
}

}  // namespace

observe::MetricNode Endpoint::figures_node() {
  // Gauges by state are set here: the machine knows them exactly, and nobody reads them in between.
  static constexpr Counter kGauges[] = {Counter::ConnectionsOpen,   Counter::ConnectionsIdle,
                                        Counter::ConnectionsActive, Counter::ConnectionsFull,
                                        Counter::ConnectionsHeld,   Counter::ConnectionsDraining};
  for (auto& [address, figures] : address_figures_) {
    for (const Counter gauge : kGauges)
      figures->set(gauge, 0);
  }
  for (const auto& [id, connection] : connections_) {
    observe::Metrics& figures = connection->figures();
    figures.add(state_gauge(connection->state));
    if (connection->state != ConnectionState::Draining) figures.add(Counter::ConnectionsOpen);
  }
  figures_.set(Counter::ConnectionsDialing, machine_.counts().dialing);
  figures_.set(Counter::Waiters, machine_.counts().waiters);
  int64_t cooling = 0;
  const std::vector<policy::Balancer::View> views = balancer_.views();
  for (const policy::Balancer::View& view : views) {
    cooling += view.state == policy::AddressHealth::State::Cooling ? 1 : 0;
  }
  figures_.set(Counter::AddressesCooling, cooling);

  observe::MetricNode node(
      figures_, spec_->name + (values().partition.empty() ? "" : " " + values().partition));
  for (const policy::Balancer::View& view : views) {
    observe::MetricNode address(figures_of(view.address), view.address.text());
    address.facts.push_back(
        {"state", std::string(view.present ? health_name(view.state) : "vanished")});
    address.facts.push_back({"rtt_ns", view.srtt});
    for (const auto& [id, connection] : connections_) {
      if (connection->address() != view.address) continue;
      observe::MetricNode leaf(observe::MetricScope::CONNECTION, std::to_string(id));
      leaf.facts.push_back({"state", std::string(state_name(connection->state))});
      leaf.facts.push_back({"address", view.address.text()});
      leaf.facts.push_back({"age_ns", now() - connection->opened});
      leaf.facts.push_back({"last_used_ns", now() - connection->checked_at});
      leaf.facts.push_back({"uses", static_cast<int64_t>(connection->uses)});
      leaf.facts.push_back({"connect_ns", connection->facts()->timing.total});
      address.children.push_back(std::move(leaf));
    }
    node.children.push_back(std::move(address));
  }
  return node;
}

observe::MetricNode Core::figures_tree() {
  std::vector<observe::MetricNode> children;
  for (const auto& [id, endpoint] : endpoints_)
    children.push_back(endpoint->figures_node());
  std::sort(children.begin(), children.end(),
            [](const auto& a, const auto& b) { return a.label < b.label; });
  const resolver::Counters& dns = resolver_->counters();
  // The resolver counts for itself; a counter only grows, so the difference is what is new.
  const std::pair<Counter, uint64_t> counted[] = {
      {Counter::DnsLookups, dns.lookups},
      {Counter::DnsQueries, dns.queries},
      {Counter::DnsAnswers, dns.answers},
      {Counter::DnsQueryFailures, dns.timeouts + dns.failures},
      {Counter::DnsCacheHits, dns.cache_hits},
      {Counter::DnsNegativeHits, dns.cache_negative},
      {Counter::DnsStaleHits, dns.stale_served},
      {Counter::DnsShared, dns.joined},
      {Counter::DnsPrefetches, dns.refreshes},
      {Counter::DnsReloads, dns.config_reloads},
      {Counter::EventsRecorded, ring_.recorded()},
      {Counter::EventsOverwritten, ring_.overwritten()}};
  for (const auto& [counter, value] : counted) {
    figures_.add(counter, static_cast<int64_t>(value) - figures_.get(counter));
  }
  figures_.set(Counter::ConnectionsRacing, sockets_->in_use());
  figures_.set(Counter::PinnedBytes, pinned_->held());
  figures_.set(Counter::OpsRunning, ops_in_flight_.load(std::memory_order_relaxed));
  observe::MetricNode root(figures_, "");
  root.children = std::move(children);
  return root;
}

std::string Endpoint::explain() {
  const MachineCounts& counts = machine_.counts();
  std::string text = "endpoint " + spec_->name + "\n";
  text += "  settings " + std::to_string(spec_->settings->id());
  if (!values().partition.empty()) text += ", partition \"" + values().partition + "\"";
  text += "\n";
  for (const OptionInfo& option : option_table()) {
    const std::string value = option_value_text(option, values());
    if (value != option_value_text(option, default_values()))
      text += "    " + std::string(option.name) + " = " + value + "\n";
  }
  text += "  connections: " + std::to_string(counts.open()) + " open (" +
          std::to_string(counts.idle) + " idle, " + std::to_string(counts.active + counts.full) +
          " leased, " + std::to_string(counts.held) + " held), " + std::to_string(counts.dialing) +
          " dialing, " + std::to_string(counts.draining) + " draining; limit " +
          std::to_string(values().endpoint_max_connections) + "\n";
  text += "  waiters: " + std::to_string(counts.waiters) + ", limit " +
          std::to_string(values().endpoint_max_waiters) + "\n";
  if (spec_->target.uses_tls) {
    text += "  TLS: verifies " + (values().tls_insecure != 0 ? std::string("nothing (tls.insecure)")
                                                             : spec_->target.tls_name);
    text += values().tls_alpn.empty() ? "\n" : ", offers " + values().tls_alpn + "\n";
  }
  if (!spec_->target.host.name.empty()) {
    const std::vector<resolver::CachedAnswer> cached = core_.resolver().cached(spec_->target.host);
    text += "  name " + spec_->target.host.text() + (cached.empty() ? ": nothing cached\n" : "\n");
    for (const resolver::CachedAnswer& answer : cached)
      text += "    " + family_text(answer, now()) + "\n";
    text += "    servers:";
    for (const SocketAddress& server : core_.resolver().servers())
      text += " " + server.text();
    text += "\n";
  }
  text += "  the next dial would try:\n";
  size_t position = 1;
  std::vector<policy::Balancer::View> views = balancer_.views();
  // As the balancer does: what is known to fail goes behind every class.
  std::stable_partition(views.begin(), views.end(), [](const policy::Balancer::View& view) {
    return view.present && (view.state == policy::AddressHealth::State::Healthy ||
                            view.state == policy::AddressHealth::State::Probing);
  });
  for (const policy::Balancer::View& view : views) {
    // What left the answer stands behind the order, and is not tried.
    text += "    " + (view.present ? std::to_string(position++) + ". " : std::string("-  "));
    text += view.address.text() + "  " +
            std::string(view.present ? health_name(view.state) : "vanished, not tried") + ", " +
            std::to_string(view.open) + " open, " + std::to_string(view.attempts) + " attempts, " +
            std::to_string(view.failures) + " failures";
    if (view.srtt > 0) text += ", round trip " + duration_text(view.srtt);
    if (view.state == policy::AddressHealth::State::Cooling && view.cooling_until > now()) {
      text += ", goes last for " + duration_text(view.cooling_until - now());
    }
    text += "\n";
  }
  if (position == 1) text += "    what the name's lookup answers\n";
  for (const auto& [id, connection] : connections_) {
    text += "  connection " + std::to_string(id) + " " + connection->facts()->address + "  " +
            std::string(state_name(connection->state)) + ", " + std::to_string(connection->uses) +
            " uses, age " + duration_text(now() - connection->opened) + "\n";
  }
  return text;
}

}  // namespace conpool::pool
