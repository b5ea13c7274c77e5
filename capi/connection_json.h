// A connection's facts as JSON.
#pragma once

#include <string>
#include <vector>

#include "pool/lease.h"

namespace conpool::capi {

// The attempts of a dial as a JSON array.
void add_attempts(std::string* out, const std::vector<Attempt>& attempts);
std::string connection_json(const pool::Lease& lease, Time now);

}  // namespace conpool::capi
