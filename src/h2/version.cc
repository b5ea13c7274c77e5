// The version of nghttp2 that runs.
#include "h2/version.h"

#include <nghttp2/nghttp2.h>

namespace conpool::h2 {

const char* nghttp2_version() {
  return ::nghttp2_version(0)->version_str;
}

}  // namespace conpool::h2
