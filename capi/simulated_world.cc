// The world of loop.world = simulated.
#include "capi/pool_world.h"
#include "origin/simulated_internet.h"

namespace conpool::capi {

Result<pool::World> simulated_world(Values& values) {
  // A seed of the system's would be another run every time.
  if (values.pool_seed == 0) values.pool_seed = 1;
  auto internet = origin::SimulatedInternet::make(static_cast<uint64_t>(values.pool_seed));
  if (!internet) return fail(std::move(internet.error()));
  // Whoever trusts the system's authorities trusts the simulated one here.
  if (values.tls_ca_pem.empty()) values.tls_ca_pem = (*internet)->authority_pem();
  // The machine's own configuration of names has no part in it.
  if (values.dns_servers.empty()) values.dns_servers = "192.0.2.53";
  values.dns_resolv_conf.clear();
  values.dns_hosts_file.clear();
  Result<std::unique_ptr<io::Loop>> loop = (*internet)->start();
  if (!loop) return fail(std::move(loop.error()));
  pool::World world;
  world.library = (*internet)->library();
  world.loop = std::move(*loop);
  world.simulated = true;
  world.neighbours = std::shared_ptr<void>(std::move(*internet));
  return world;
}

}  // namespace conpool::capi
