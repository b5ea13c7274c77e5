// The hosts file (hosts(5)): names that are answered without DNS.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/address.h"

namespace conpool::resolver {

// What the file says about one name. A name with addresses of one family only has none of the
// other: a name that the file knows is never looked up elsewhere.
struct HostsEntry {
  std::vector<SocketAddress> v4;
  std::vector<SocketAddress> v6;

  const std::vector<SocketAddress>& of(Family family) const {
    return family == Family::V6 ? v6 : v4;
  }
};

// Lines of an address and its names; '#' begins a comment. Lines without a proper address and names
// that are no host names are skipped. A name's addresses add up over the lines, without duplicates,
// up to kAddressesPerName of each family. Unusable addresses (0.0.0.0, used to block names) leave a
// name without addresses.
class HostsFile {
 public:
  HostsFile() = default;
  static HostsFile parse(std::string_view text);

  // `name` is lower case, without the trailing dot. nullptr when the file does not know it.
  const HostsEntry* find(const std::string& name) const;
  size_t size() const { return names_.size(); }
  size_t skipped_lines() const { return skipped_; }

 private:
  bool add_line(std::string_view line);

  std::unordered_map<std::string, HostsEntry> names_;
  size_t skipped_ = 0;
};

}  // namespace conpool::resolver
