// SystemConfig: resolv.conf and the hosts file, read again when they change.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/settings.h"
#include "io/loop.h"
#include "resolver/hosts_file.h"
#include "resolver/resolv_conf.h"

namespace conpool::resolver {

inline constexpr Nanos kConfigCheckGap = kSecond;  // least time between looks at the files' stamps

// refresh() looks at the files when a lookup begins, at most once per kConfigCheckGap; while no
// server is configured it looks each time, because resolv.conf is often written after programs
// start. A file that cannot be read keeps what was read last; one that is gone counts as empty.
class SystemConfig {
 public:
  struct Change {
    bool servers = false;  // servers, search list or ndots
    bool hosts = false;
  };

  SystemConfig(io::Loop& loop, const Values& values);

  Change refresh();
  // Those of dns.servers, else of resolv.conf, else 127.0.0.1:53.
  const std::vector<SocketAddress>& servers() const { return servers_; }
  const std::vector<std::string>& search() const { return search_; }
  int64_t ndots() const { return ndots_; }
  const HostsFile& hosts() const { return hosts_; }
  // Set when dns.servers cannot be understood; no lookup can be made then.
  const std::optional<Failure>& invalid() const { return invalid_; }

 private:
  struct WatchedFile {
    std::string path;
    std::optional<io::FileStamp> stamp;
    bool looked = false;
  };
  // The new text when the file changed since the last call.
  std::optional<std::string> changed_text(WatchedFile& file);
  bool apply(const ResolvConf& conf);

  io::Loop& loop_;
  WatchedFile resolv_conf_;
  WatchedFile hosts_file_;
  bool use_search_;
  int64_t ndots_option_;
  std::vector<SocketAddress> own_servers_;
  std::optional<Failure> invalid_;
  Time checked_ = 0;
  bool ever_checked_ = false;
  bool default_server_ = false;
  std::vector<SocketAddress> servers_;
  std::vector<std::string> search_;
  int64_t ndots_ = 1;
  HostsFile hosts_;
};

}  // namespace conpool::resolver
