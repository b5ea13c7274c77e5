// SystemConfig: see the header.
#include "resolver/system_config.h"

#include "base/limits.h"
#include "resolver/special_names.h"

namespace conpool::resolver {

SystemConfig::SystemConfig(io::Loop& loop, const Values& values)
    : loop_(loop),
      resolv_conf_{.path = values.dns_resolv_conf},
      hosts_file_{.path = values.dns_hosts_file},
      use_search_(values.dns_search == 0),
      ndots_option_(values.dns_ndots) {
  Result<std::vector<SocketAddress>> own = parse_server_list(values.dns_servers);
  if (own) {
    own_servers_ = *std::move(own);
  } else {
    invalid_ = own.error();
  }
  apply(ResolvConf{});
}

SystemConfig::Change SystemConfig::refresh() {
  const Time now = loop_.now();
  Change change;
  const bool due = !ever_checked_ || now - checked_ >= kConfigCheckGap;
  if (!due && !default_server_) return change;
  if (due) {
    checked_ = now;
    ever_checked_ = true;
    if (std::optional<std::string> text = changed_text(hosts_file_)) {
      hosts_ = HostsFile::parse(*text);
      change.hosts = true;
    }
  }
  if (std::optional<std::string> text = changed_text(resolv_conf_)) {
    change.servers = apply(ResolvConf::parse(*text));
  }
  return change;
}

std::optional<std::string> SystemConfig::changed_text(WatchedFile& file) {
  if (file.path.empty()) return std::nullopt;
  const std::optional<io::FileStamp> stamp = loop_.file_stamp(file.path);
  if (file.looked && stamp == file.stamp) return std::nullopt;
  if (!stamp) {
    file.looked = true;
    file.stamp = stamp;
    return std::string();
  }
  Result<std::string> text = loop_.read_file(file.path, limits::kConfigFileBytes);
  if (!text) return std::nullopt;  // what was read last holds; the next check tries again
  file.looked = true;
  file.stamp = stamp;
  return *std::move(text);
}

// Whether anything that a query depends on is different now.
bool SystemConfig::apply(const ResolvConf& conf) {
  std::vector<SocketAddress> servers = own_servers_.empty() ? conf.servers : own_servers_;
  default_server_ = servers.empty();
  if (default_server_) servers.push_back(loopback_address(Family::V4).with_port(kDnsPort));
  std::vector<std::string> search;
  if (use_search_) search = conf.search;
  const int64_t ndots = ndots_option_ >= 0 ? ndots_option_ : conf.ndots;
  const bool changed = servers != servers_ || search != search_ || ndots != ndots_;
  servers_ = std::move(servers);
  search_ = std::move(search);
  ndots_ = ndots;
  return changed;
}

}  // namespace conpool::resolver
