// The version of nghttp2 that runs.
#pragma once

namespace conpool::h2 {

const char* nghttp2_version();  // "1.52.0"

}  // namespace conpool::h2
