// The hosts file: see the header.
#include "resolver/hosts_file.h"

#include <algorithm>

#include "base/limits.h"
#include "base/name.h"
#include "resolver/dns_message.h"
#include "resolver/words.h"

namespace conpool::resolver {

HostsFile HostsFile::parse(std::string_view text) {
  HostsFile file;
  while (!text.empty()) {
    std::string_view line = take_line(&text);
    line = line.substr(0, line.find('#'));
    if (!file.add_line(line)) ++file.skipped_;
  }
  return file;
}

bool HostsFile::add_line(std::string_view line) {
  const std::string_view first = take_word(&line);
  if (first.empty()) return true;
  const Result<SocketAddress> address = parse_ip_literal(first);
  if (!address || first.front() == '[') return false;
  bool all_good = true;
  for (std::string_view word = take_word(&line); !word.empty(); word = take_word(&line)) {
    const Result<Host> host = parse_host(word);
    if (!host || host->literal) {
      all_good = false;
      continue;
    }
    HostsEntry& entry = names_[host->name];
    auto& list = address->family() == Family::V6 ? entry.v6 : entry.v4;
    if (usable_address(*address) && list.size() < limits::kAddressesPerName &&
        std::find(list.begin(), list.end(), *address) == list.end()) {
      list.push_back(*address);
    }
  }
  return all_good;
}

const HostsEntry* HostsFile::find(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

}  // namespace conpool::resolver
