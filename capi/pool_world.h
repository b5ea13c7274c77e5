// Pools in other worlds than the real one: what the simulations use in place of conpool_pool_new.
#pragma once

#include <functional>

#include "conpool/conpool.h"
#include "pool/core.h"

namespace conpool::capi {

using WorldMaker = std::function<Result<pool::World>(const Values& values)>;

conpool_status make_pool(const conpool_config* config, const WorldMaker& make_world,
                         conpool_pool** out, conpool_error** error);

}  // namespace conpool::capi
