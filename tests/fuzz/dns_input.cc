// Fuzz target: everything the resolver parses, chosen by the input's first byte: DNS answers,
// resolv.conf, hosts files and server lists. Checks what callers rely on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "resolver/dns_message.h"
#include "resolver/hosts_file.h"
#include "resolver/resolv_conf.h"

namespace {

using namespace conpool;            // NOLINT: a program of one file
using namespace conpool::resolver;  // NOLINT

void require(bool holds) {
  if (!holds) std::abort();
}

void check_answer(std::span<const uint8_t> message, Family family) {
  const DnsAnswer answer = parse_dns_answer(message, "www.example.test", family);
  require((answer.status() == Status::OK) == !answer.addresses.empty());
  require(answer.addresses.size() <= limits::kAddressesPerName);
  require(answer.ttl <= 0x7fffffffU);
  require(status_class(static_cast<int32_t>(answer.status())) == StatusClass::DNS ||
          answer.status() == Status::OK);
  for (const SocketAddress& address : answer.addresses) {
    require(address.family() == family && address.port() == 0 && usable_address(address));
  }
}

void check_resolv_conf(std::string_view text) {
  const ResolvConf conf = ResolvConf::parse(text);
  require(conf.servers.size() <= kServers && conf.search.size() <= kSearchDomains);
  require(conf.ndots >= 0 && conf.ndots <= kNdotsMost);
  for (const SocketAddress& server : conf.servers)
    require(server.port() != 0);
  for (const std::string& domain : conf.search) {
    require(!domain.empty() && domain.size() <= limits::kHostNameBytes);
  }
}

void check_hosts(std::string_view text) {
  const HostsFile file = HostsFile::parse(text);
  if (const HostsEntry* entry = file.find("www.example.test")) {
    for (const Family family : {Family::V4, Family::V6}) {
      require(entry->of(family).size() <= limits::kAddressesPerName);
      for (const SocketAddress& address : entry->of(family))
        require(usable_address(address));
    }
  }
}

void check_servers(std::string_view text) {
  const auto servers = parse_server_list(text);
  if (servers) {
    require(servers->size() <= kServers);
    for (const SocketAddress& server : *servers)
      require(server.port() != 0);
  } else {
    require(!servers.error().detail.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      check_answer(rest, Family::V4);
      break;
    case 1:
      check_answer(rest, Family::V6);
      break;
    case 2:
      check_resolv_conf(as_text(rest));
      break;
    case 3:
      check_hosts(as_text(rest));
      break;
    default:
      check_servers(as_text(rest));
      break;
  }
  return 0;
}
