// resolv.conf: see the header.
#include "resolver/resolv_conf.h"

#include <algorithm>

#include "base/name.h"
#include "resolver/dns_message.h"
#include "resolver/words.h"

namespace conpool::resolver {
namespace {

// "ndots:5": digits only, capped; anything else leaves the value alone.
bool take_number(std::string_view word, std::string_view key, int64_t most, int64_t* out) {
  if (!word.starts_with(key) || word.size() == key.size()) return false;
  int64_t number = 0;
  for (char c : word.substr(key.size())) {
    if (c < '0' || c > '9') return false;
    number = std::min<int64_t>(number * 10 + (c - '0'), most);
  }
  *out = number;
  return true;
}

bool add_domains(std::string_view rest, size_t most, std::vector<std::string>* out) {
  bool all_good = true;
  out->clear();
  for (std::string_view word = take_word(&rest); !word.empty(); word = take_word(&rest)) {
    const Result<Host> domain = parse_host(word);
    if (!domain || domain->literal || out->size() == most) {
      all_good = false;
    } else if (std::find(out->begin(), out->end(), domain->name) == out->end()) {
      out->push_back(domain->name);
    }
  }
  return all_good;
}

bool add_server(std::string_view rest, std::vector<SocketAddress>* out) {
  const Result<SocketAddress> server = parse_server(take_word(&rest));
  if (!server || out->size() == kServers) return false;
  if (std::find(out->begin(), out->end(), *server) == out->end()) out->push_back(*server);
  return true;
}

void set_options(std::string_view rest, ResolvConf* conf) {
  for (std::string_view word = take_word(&rest); !word.empty(); word = take_word(&rest)) {
    take_number(word, "ndots:", kNdotsMost, &conf->ndots);
    take_number(word, "timeout:", kTimeoutMost, &conf->timeout_seconds);
    take_number(word, "attempts:", kAttemptsMost, &conf->attempts);
  }
}

bool apply_line(std::string_view line, ResolvConf* conf) {
  if (line.empty() || line.front() == '#' || line.front() == ';') return true;
  if (line.front() == ' ' || line.front() == '\t') {  // a keyword begins in the first column
    std::string_view blank = line;
    return take_word(&blank).empty();
  }
  const std::string_view keyword = take_word(&line);
  if (keyword == "nameserver") return add_server(line, &conf->servers);
  if (keyword == "search") return add_domains(line, kSearchDomains, &conf->search);
  if (keyword == "domain") {
    std::string_view rest = line;
    return add_domains(take_word(&rest), 1, &conf->search);
  }
  if (keyword == "options") {
    set_options(line, conf);
    return true;
  }
  return false;
}

}  // namespace

ResolvConf ResolvConf::parse(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    if (!apply_line(take_line(&text), &conf)) ++conf.skipped_lines;
  }
  return conf;
}

Result<SocketAddress> parse_server(std::string_view text) {
  const bool with_port = text.starts_with('[') ? text.find("]:") != std::string_view::npos
                                               : std::count(text.begin(), text.end(), ':') == 1;
  Result<SocketAddress> server =
      with_port ? parse_address_and_port(text) : parse_ip_literal(text, kDnsPort);
  if (server && !usable_address(*server)) {
    // glibc takes 0.0.0.0 for this host; naming 127.0.0.1 says the same without the trap.
    return fail(Status::E_BAD_ADDRESS,
                "\"" + std::string(text) + "\" cannot be a DNS server; write a unicast address");
  }
  return server;
}

Result<std::vector<SocketAddress>> parse_server_list(std::string_view text) {
  std::vector<SocketAddress> servers;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::string_view item = take_word(&part);
    const Result<SocketAddress> server = parse_server(item);
    if (!server || !take_word(&part).empty()) {
      return fail(Status::E_OPTION_TYPE, "dns.servers: \"" + std::string(item) +
                                             "\" is no server; write ip, ip:port or [ipv6]:port");
    }
    if (servers.size() == kServers) {
      return fail(Status::E_OPTION_RANGE,
                  "dns.servers: at most " + std::to_string(kServers) + " servers");
    }
    if (std::find(servers.begin(), servers.end(), *server) == servers.end()) {
      servers.push_back(*server);
    }
  }
  return servers;
}

}  // namespace conpool::resolver
