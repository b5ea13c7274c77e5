// Versions of the libraries behind the real world.
#pragma once

#include <string>

namespace conpool::io {

std::string libuv_version();
std::string cares_version();

}  // namespace conpool::io
