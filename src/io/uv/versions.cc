// Versions of the libraries behind the real world, as they run, not as they were compiled against.
#include "io/uv/versions.h"

#include <ares.h>
#include <uv.h>

namespace conpool::io {

std::string libuv_version() {
  return uv_version_string();
}
std::string cares_version() {
  return ares_version(nullptr);
}

}  // namespace conpool::io
