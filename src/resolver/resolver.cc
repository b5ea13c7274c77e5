// Resolver: the public face of Core.
#include "resolver/resolver.h"

#include "resolver/core.h"
#include "resolver/resolv_conf.h"

namespace conpool::resolver {

LookupOptions LookupOptions::from(const Values& values) {
  const auto family = static_cast<RaceFamily>(values.race_family);
  return {.resolve_timeout = values.resolve_timeout,
          .resolve_retries = values.resolve_retries,
          .dns_timeout = values.dns_timeout,
          .v6 = family != RaceFamily::V4Only,
          .v4 = family != RaceFamily::V6Only};
}

Resolver::Resolver(io::Loop& loop, const Values& pool_values)
    : core_(std::make_shared<Core>(loop, pool_values)) {}

Resolver::~Resolver() {
  core_->close();
}

Result<void> Resolver::check(const Values& pool_values) {
  const Result<std::vector<SocketAddress>> servers = parse_server_list(pool_values.dns_servers);
  if (!servers) return fail(servers.error());
  return {};
}

std::unique_ptr<Lookup> Resolver::lookup(const Host& host, const LookupOptions& options,
                                         LookupHandler* handler) {
  return core_->lookup(host, options, handler);
}

void Resolver::set_application(ApplicationResolver* application) {
  core_->set_application(application);
}

void Resolver::mark_suspect(const Host& host) {
  core_->mark_suspect(host);
}
void Resolver::flush() {
  core_->flush();
}
std::vector<CachedAnswer> Resolver::cached(const Host& host) {
  return core_->cached(host);
}
std::vector<SocketAddress> Resolver::servers() {
  return core_->servers();
}
const Counters& Resolver::counters() const {
  return core_->counters();
}

}  // namespace conpool::resolver
