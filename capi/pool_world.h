// The worlds a pool may run in, and pools in worlds of the caller's own: what the simulations use
// in place of conpool_pool_new.
#pragma once

#include <functional>

#include "conpool/conpool.h"
#include "pool/core.h"

namespace conpool::capi {

// May change values that mean something else in its world.
using WorldMaker = std::function<Result<pool::World>(Values& values)>;

Result<pool::World> real_world(const Values& values);
// Virtual time and healthy servers (origin/simulated_internet.h).
Result<pool::World> simulated_world(Values& values);

conpool_status make_pool(const conpool_config* config, const WorldMaker& make_world,
                         conpool_pool** out, conpool_error** error);

}  // namespace conpool::capi
