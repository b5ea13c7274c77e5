// A connection's facts as JSON.
#pragma once

#include <string>

#include "pool/lease.h"

namespace conpool::capi {

std::string connection_json(const pool::Lease& lease, Time now);

}  // namespace conpool::capi
