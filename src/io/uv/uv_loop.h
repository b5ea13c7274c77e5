// The real world: io::Loop over libuv and c-ares.
#pragma once

#include <memory>

#include "base/result.h"
#include "io/loop.h"

namespace conpool::io {

// A loop that any one thread at a time may drive. E_FD_LIMIT or E_NOMEM when the system refuses.
Result<std::unique_ptr<Loop>> make_uv_loop();

}  // namespace conpool::io
