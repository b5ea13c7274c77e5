// Readouts of the pool: figures as a tree, and an endpoint explained in words.
#include <algorithm>

#include "base/settings.h"
#include "pool/core.h"
#include "pool/endpoint.h"

namespace conpool::pool {

using observe::Counter;

namespace {

std::string_view protocol_name(dial::Protocol protocol) {
  switch (protocol) {
    case dial::Protocol::Http1:
      return "http/1.1";
    case dial::Protocol::Http2:
      return "h2";
    case dial::Protocol::Raw:
      break;
  }
  return "raw";
}

std::string_view memory_text(ProtocolMemory::Known known) {
  switch (known) {
    case ProtocolMemory::Known::Http1:
      return "spoke http/1.1";
    case ProtocolMemory::Known::Http2:
      return "spoke h2";
    case ProtocolMemory::Known::NeedsHttp1:
      return "needs http/1.1";
    case ProtocolMemory::Known::Unknown:
      break;
  }
  return "not known";
}

// Of all leases that were granted, how many went to a connection that had been used before.
void tell_reuse(observe::MetricNode* node, const observe::Metrics& figures) {
  const int64_t granted = figures.get(Counter::LeasesGranted);
  if (granted > 0)
    node->facts.push_back({"reuse_percent", figures.get(Counter::LeasesReused) * 100 / granted});
}

std::string_view state_name(const Connection& connection) {
  switch (connection.state) {
    case ConnectionState::New:
      return "new";
    case ConnectionState::Idle:
      return "idle";
    case ConnectionState::Active:
      return "active";
    case ConnectionState::Full:
      // One place that is taken is what a raw lease looks like: active, to whoever reads it.
      return connection.protocol() == dial::Protocol::Http2 ? "full" : "active";
    case ConnectionState::Held:
      return "held";
    case ConnectionState::Draining:
      return "draining";
    case ConnectionState::Closed:
      return "closed";
  }
  return "closed";
}

Counter state_gauge(const Connection& connection) {
  switch (connection.state) {
    case ConnectionState::Idle:
      return Counter::ConnectionsIdle;
    case ConnectionState::Held:
      return Counter::ConnectionsHeld;
    case ConnectionState::Draining:
      return Counter::ConnectionsDraining;
    case ConnectionState::Full:
      if (connection.protocol() == dial::Protocol::Http2) return Counter::ConnectionsFull;
      return Counter::ConnectionsActive;
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
    case policy::AddressHealth::State::Ejected:
      return "ejected";
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

// The options that have another value than by default.
std::string changed_options_text(const Values& values) {
  std::string text;
  for (const OptionInfo& option : option_table()) {
    const std::string value = option_value_text(option, values);
    if (value != option_value_text(option, default_values()))
      text += "    " + std::string(option.name) + " = " + value + "\n";
  }
  return text;
}

std::string next_dial_text(std::vector<policy::Balancer::View> views, Time now) {
  std::string text = "  the next dial would try:\n";
  size_t position = 1;
  // As the balancer does: what is known to fail goes behind every class.
  std::stable_partition(views.begin(), views.end(), [](const policy::Balancer::View& view) {
    return view.present && (view.state == policy::AddressHealth::State::Healthy ||
                            view.state == policy::AddressHealth::State::Probing);
  });
  for (const policy::Balancer::View& view : views) {
    // What left the answer stands behind the order, and is not tried; nor is what is ejected.
    const bool ejected =
        view.state == policy::AddressHealth::State::Ejected && view.cooling_until > now;
    const bool tried = view.present && !ejected;
    text += "    " + (tried ? std::to_string(position++) + ". " : std::string("-  "));
    text += view.address.text() + "  " +
            std::string(view.present ? health_name(view.state) : "vanished, not tried") + ", " +
            std::to_string(view.open) + " open, " + std::to_string(view.attempts) + " attempts, " +
            std::to_string(view.failures) + " failures";
    if (view.srtt > 0) text += ", round trip " + duration_text(view.srtt);
    if (view.state == policy::AddressHealth::State::Cooling && view.cooling_until > now) {
      text += ", goes last for " + duration_text(view.cooling_until - now);
    }
    if (view.present && ejected)
      text += ", not tried for " + duration_text(view.cooling_until - now);
    text += "\n";
  }
  if (position == 1) text += "    what the name's lookup answers\n";
  return text;
}

}  // namespace

observe::MetricNode Endpoint::figures_node() {
  // Gauges by state are set here: the machine knows them exactly, and nobody reads them in between.
  static constexpr Counter kGauges[] = {
      Counter::ConnectionsOpen, Counter::ConnectionsIdle, Counter::ConnectionsActive,
      Counter::ConnectionsFull, Counter::ConnectionsHeld, Counter::ConnectionsDraining,
      Counter::Http1Open,       Counter::H2Open,          Counter::StreamsPeerLimit};
  for (auto& [address, figures] : address_figures_) {
    for (const Counter gauge : kGauges)
      figures->set(gauge, 0);
  }
  for (const auto& [id, connection] : connections_) {
    observe::Metrics& figures = connection->figures();
    figures.add(state_gauge(*connection));
    if (connection->protocol() == dial::Protocol::Http1) figures.add(Counter::Http1Open);
    if (connection->protocol() == dial::Protocol::Http2) {
      figures.add(Counter::H2Open);
      figures.add(Counter::StreamsPeerLimit, connection->http().figures().peer_limit);
    }
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
  figures_.set(Counter::AddressesEjected, static_cast<int64_t>(balancer_.ejected()));

  observe::MetricNode node(
      figures_, spec_->name + (values().partition.empty() ? "" : " " + values().partition));
  tell_reuse(&node, figures_);
  for (const policy::Balancer::View& view : views) {
    observe::MetricNode address(figures_of(view.address), view.address.text());
    address.facts.push_back(
        {"state", std::string(view.present ? health_name(view.state) : "vanished")});
    address.facts.push_back({"rtt_ns", view.srtt});
    for (const auto& [id, connection] : connections_) {
      if (connection->address() != view.address) continue;
      observe::MetricNode leaf(observe::MetricScope::CONNECTION, std::to_string(id));
      leaf.facts.push_back({"state", std::string(state_name(*connection))});
      leaf.facts.push_back({"protocol", std::string(protocol_name(connection->protocol()))});
      if (connection->protocol() == dial::Protocol::Http2) {
        const session::HttpFigures http = connection->http().figures();
        leaf.facts.push_back({"active_streams", static_cast<int64_t>(http.active)});
        leaf.facts.push_back({"total_streams", static_cast<int64_t>(http.exchanges)});
        leaf.facts.push_back({"max_concurrent", static_cast<int64_t>(connection->capacity.hard)});
      }
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
  tell_reuse(&root, figures_);
  root.children = std::move(children);
  return root;
}

std::string Endpoint::explain() {
  const MachineCounts& counts = machine_.counts();
  std::string text = "endpoint " + spec_->name + "\n";
  text += "  settings " + std::to_string(spec_->settings->id());
  if (!values().partition.empty()) text += ", partition \"" + values().partition + "\"";
  text += "\n";
  text += changed_options_text(values());
  text += "  connections: " + std::to_string(counts.open()) + " open (" +
          std::to_string(counts.idle) + " idle, " + std::to_string(counts.active + counts.full) +
          " leased, " + std::to_string(counts.held) + " held), " + std::to_string(counts.dialing) +
          " dialing, " + std::to_string(counts.draining) + " draining; limit " +
          std::to_string(machine_.most_connections()) + "\n";
  text += "  waiters: " + std::to_string(counts.waiters) + ", limit " +
          std::to_string(values().endpoint_max_waiters) + "\n";
  text += "  breaker: " + gate_.text(now());
  if (parked_count_ > 0) text += ", " + std::to_string(parked_count_) + " ops wait for it";
  text += "; retry tokens " + std::to_string(retry_budget_.tokens()) + " of " +
          std::to_string(values().retry_budget) + "\n";
  if (spec_->target.uses_tls) {
    text += "  TLS: verifies " + (values().tls_insecure != 0 ? std::string("nothing (tls.insecure)")
                                                             : spec_->target.tls_name);
    text += values().tls_alpn.empty() ? "\n" : ", offers " + values().tls_alpn + "\n";
  }
  if (spec_->kind == Kind::Http) {
    text += "  protocol: " + std::string(memory_text(memory_.known(now())));
    if (const uint32_t limit = memory_.stream_limit(now()); limit > 0)
      text += ", " + std::to_string(limit) + " streams a connection";
    if (const Nanos idle = memory_.idle_limit(now()); idle != kNever)
      text += ", keeps idle connections for " + duration_text(idle);
    text += "\n";
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
  text += next_dial_text(balancer_.views(), now());
  for (const auto& [id, connection] : connections_) {
    text += "  connection " + std::to_string(id) + " " + connection->facts()->address + "  " +
            std::string(state_name(*connection)) + ", " + std::to_string(connection->uses) +
            " uses, age " + duration_text(now() - connection->opened) + "\n";
  }
  return text;
}

}  // namespace conpool::pool
