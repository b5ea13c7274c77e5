// A response's facts as JSON.
#pragma once

#include <string>

#include "client/response.h"

namespace conpool::capi {

std::string response_json(const client::Response& response);

}  // namespace conpool::capi
