// From what a caller typed to an endpoint's frozen identity.
#include "pool/spec.h"

#include <algorithm>

#include "base/limits.h"
#include "base/text.h"
#include "session/http.h"
#include "tls/client_stream.h"
#include "tls/session_cache.h"

namespace conpool::pool {
namespace {

constexpr std::string_view kUrlForms =
    "write \"http://host\", \"https://host\", \"tcp://host:port\", \"tls://host:port\" or "
    "\"unix:/path\"";

struct Scheme {
  std::string_view name;
  Kind kind;
  bool tls;
  uint16_t port;  // the default; 0 = none
};

Result<Scheme> scheme_of(std::string_view scheme) {
  static constexpr Scheme kSchemes[] = {{"tcp", Kind::Raw, false, 0},
                                        {"tls", Kind::Raw, true, 0},
                                        {"http", Kind::Http, false, 80},
                                        {"https", Kind::Http, true, 443}};
  for (const Scheme& known : kSchemes) {
    // http and https are URI schemes (RFC 3986 section 3.1); tcp and tls are words of ours.
    const bool same =
        known.kind == Kind::Http ? session::same_name(scheme, known.name) : scheme == known.name;
    if (same) return known;
  }
  return fail(Status::E_BAD_URL, in_quotes(scheme) + " is not a scheme; " + std::string(kUrlForms));
}

Result<std::vector<uint16_t>> parse_ports(std::string_view text) {
  std::vector<uint16_t> ports;
  for (;;) {
    const size_t comma = text.find(',');
    Result<uint16_t> port = parse_port(text.substr(0, comma));
    if (!port) return fail(std::move(port.error()));
    ports.push_back(*port);
    if (comma == std::string_view::npos) return ports;
    text.remove_prefix(comma + 1);
  }
}

Result<void> set_ports(EndpointSpec* spec, std::span<const uint16_t> ports) {
  if (ports.empty()) return fail(Status::E_BAD_PORT, "no port was given");
  for (const uint16_t port : ports) {
    if (port == 0)
      return fail(Status::E_BAD_PORT, "\"0\" is not a port: it must be between 1 and 65535");
    std::vector<uint16_t>& known = spec->target.ports;
    if (std::find(known.begin(), known.end(), port) == known.end()) known.push_back(port);
  }
  if (spec->target.ports.size() > limits::kPortsPerEndpoint) {
    return fail(Status::E_BAD_PORT,
                "an endpoint has at most " + std::to_string(limits::kPortsPerEndpoint) + " ports");
  }
  return {};
}

std::string ports_text(const std::vector<uint16_t>& ports) {
  std::string text;
  for (const uint16_t port : ports)
    text += (text.empty() ? "" : ",") + std::to_string(port);
  return text;
}

Result<EndpointSpec> unix_spec(std::string_view path) {
  if (path.empty() || (path[0] != '/' && path[0] != '@')) {
    return fail(Status::E_BAD_URL,
                in_quotes(path) + " is not an absolute path; write \"unix:/path\"");
  }
  // sun_path holds 108 bytes with the NUL (unix(7)).
  if (path.size() > 107 || path.find('\0') != std::string_view::npos) {
    return fail(Status::E_BAD_URL, "the path of a unix socket has at most 107 bytes and no NUL");
  }
  EndpointSpec spec;
  spec.target.addresses.push_back(SocketAddress::unix_path(std::string(path)));
  spec.target.text = "unix:" + std::string(path);
  spec.name = spec.target.text;
  spec.scheme = "unix";
  return spec;
}

void use_scheme(EndpointSpec* spec, const Scheme& scheme) {
  spec->kind = scheme.kind;
  spec->scheme = scheme.name;
  spec->target.uses_tls = scheme.tls;
  spec->target.http = scheme.kind == Kind::Http;
}

// What requests name as their host: without the port that the scheme implies (RFC 9110 section
// 4.2.3), and without an IPv6 zone, which means something on this host only.
std::string authority_of(const Host& host, uint16_t port, uint16_t default_port) {
  std::string text = host.text();
  if (host.literal && host.address.family() == Family::V6) {
    text = host.address.ip_text();
    text = "[" + text.substr(0, text.find('%')) + "]";
  }
  return port == default_port ? text : text + ":" + std::to_string(port);
}

void append_part(std::string* key, std::string_view part) {
  *key += std::to_string(part.size());
  *key += ':';
  *key += part;
}

}  // namespace

Result<EndpointSpec> parse_endpoint_url(std::string_view url) {
  if (url.starts_with("unix:")) {
    std::string_view path = url.substr(5);
    if (path.starts_with("///")) path.remove_prefix(2);  // unix:///path
    return unix_spec(path);
  }
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) {
    return fail(Status::E_BAD_URL, in_quotes(url) + " has no scheme; " + std::string(kUrlForms));
  }
  const std::string_view scheme = url.substr(0, colon);
  std::string_view rest = url.substr(colon + 3);
  const Result<Scheme> known = scheme_of(scheme);
  if (!known) return fail(Failure(known.error()));
  if (rest.find('@') != std::string_view::npos) {
    return fail(Status::E_BAD_URL, "user information is not allowed in an endpoint's URL");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#") != std::string_view::npos) {
    return fail(Status::E_BAD_URL, in_quotes(url) + " has a path; " + std::string(kUrlForms));
  }
  const size_t bracket = rest.rfind(']');
  const size_t last = rest.rfind(':');
  if (last == std::string_view::npos || (bracket != std::string_view::npos && last < bracket)) {
    if (known->port != 0) return make_host_spec(scheme, rest, {&known->port, 1});
    return fail(Status::E_BAD_PORT, in_quotes(url) + " has no port; " + std::string(kUrlForms));
  }
  const std::string_view host = rest.substr(0, last);
  if (host.find(':') != std::string_view::npos && !host.starts_with('[')) {
    return fail(
        Status::E_BAD_ADDRESS,
        in_quotes(host) + " must stand in brackets: an IPv6 address is written [2001:db8::1]");
  }
  Result<std::vector<uint16_t>> ports = parse_ports(rest.substr(last + 1));
  if (!ports) return fail(std::move(ports.error()));
  return make_host_spec(scheme, host, *ports);
}

Result<EndpointSpec> make_host_spec(std::string_view scheme, std::string_view host,
                                    std::span<const uint16_t> ports) {
  const Result<Scheme> known = scheme_of(scheme);
  if (!known) return fail(Failure(known.error()));
  Result<Host> parsed = parse_host(host);
  if (!parsed) return fail(std::move(parsed.error()));
  EndpointSpec spec;
  spec.target.host = std::move(*parsed);
  use_scheme(&spec, *known);
  if (const Result<void> set = set_ports(&spec, ports); !set) return fail(Failure(set.error()));
  if (known->kind == Kind::Http && spec.target.ports.size() > 1) {
    return fail(Status::E_BAD_PORT, "an HTTP endpoint has one port, which its requests name, not " +
                                        ports_text(spec.target.ports));
  }
  std::string host_text = spec.target.host.text();
  if (spec.target.host.literal) {
    for (const uint16_t port : spec.target.ports) {
      spec.target.addresses.push_back(spec.target.host.address.with_port(port));
    }
    if (spec.target.host.address.family() == Family::V6)
      host_text = "[" + spec.target.host.address.ip_text() + "]";
  }
  spec.target.text = host_text + ":" + ports_text(spec.target.ports);
  spec.name = spec.scheme + "://" + spec.target.text;
  if (known->kind == Kind::Http)
    spec.authority = authority_of(spec.target.host, spec.target.ports[0], known->port);
  return spec;
}

Result<EndpointSpec> make_address_spec(std::string_view scheme, std::string_view addresses) {
  const Result<Scheme> known_scheme = scheme_of(scheme);
  if (!known_scheme) return fail(Failure(known_scheme.error()));
  EndpointSpec spec;
  use_scheme(&spec, *known_scheme);
  std::string_view rest = addresses;
  for (;;) {
    const size_t comma = rest.find(',');
    const std::string_view item = trimmed(rest.substr(0, comma));
    Result<SocketAddress> address = parse_address_and_port(item);
    if (!address) return fail(std::move(address.error()));
    if (address->port() == 0)
      return fail(Status::E_BAD_PORT, in_quotes(item) + " has no port; write \"192.0.2.1:443\"");
    std::vector<SocketAddress>& known = spec.target.addresses;
    if (std::find(known.begin(), known.end(), *address) == known.end())
      known.push_back(std::move(*address));
    if (known.size() > limits::kAddressesPerEndpoint) {
      return fail(
          Status::E_BAD_ADDRESS,
          "a list has at most " + std::to_string(limits::kAddressesPerEndpoint) + " addresses");
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::string text;
  for (const SocketAddress& address : spec.target.addresses)
    text += (text.empty() ? "" : ",") + address.text();
  spec.target.text = text;
  spec.name = spec.scheme + "://" + text;
  return spec;
}

Result<void> finish_spec(EndpointSpec* spec, const Values& values) {
  dial::Target& target = spec->target;
  const bool unix_socket =
      !target.addresses.empty() && target.addresses[0].family() == Family::Unix;
  const bool list = target.host.name.empty() && !target.host.literal;
  if (static_cast<StartTls>(values.tls_starttls) != StartTls::None && !target.uses_tls) {
    return fail(Status::E_OPTION_RANGE,
                "tls.starttls needs an endpoint with scheme \"tls\"; this one is " + spec->name);
  }
  if (spec->kind == Kind::Http && list) {
    if (values.tls_server_name.empty()) {
      return fail(Status::E_INVALID,
                  "HTTP to a list of addresses needs the option tls.server_name: the host to name");
    }
    spec->authority = values.tls_server_name;
  }
  if (target.uses_tls) {
    if (list && !unix_socket && values.tls_server_name.empty()) {
      return fail(
          Status::E_INVALID,
          "TLS to a list of addresses needs the option tls.server_name: the name to verify");
    }
    bool literal = false;
    const std::string host = target.host.literal ? target.host.address.ip_text() : target.host.name;
    target.tls_name =
        tls::verify_name(values.tls_server_name.empty() ? host : values.tls_server_name, &literal);
  }
  spec->settings = intern_settings(values);

  std::string& key = spec->key;
  key = spec->scheme == "unix" ? "tcp|" : spec->scheme + "|";
  append_part(&key, target.host.text());
  append_part(&key, ports_text(target.ports));
  if (list) append_part(&key, target.text);
  append_part(&key, std::to_string(spec->settings->id()));
  append_part(&key, values.partition);

  if (target.uses_tls) {
    tls::TicketFields fields;
    fields.kind = spec->kind == Kind::Http ? "http" : "raw";
    fields.host = target.host.text();
    fields.ports = target.ports;
    fields.addresses = list ? target.addresses : std::vector<SocketAddress>();
    fields.settings_id = spec->settings->id();
    fields.partition = values.partition;
    fields.verify_name = target.tls_name;
    fields.sni = target.tls_name;
    fields.alpn = {values.tls_alpn};
    fields.hop = static_cast<StartTls>(values.tls_starttls) == StartTls::Postgres ? "postgres" : "";
    target.ticket_key = tls::ticket_key(fields);
  }
  return {};
}

}  // namespace conpool::pool
