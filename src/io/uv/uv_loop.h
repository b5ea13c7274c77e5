// The real world: io::Loop over libuv and c-ares.
#pragma once

#include <memory>

#include "base/result.h"
#include "io/loop.h"

namespace conpool::io {

// A loop that any one thread at a time may drive. E_FD_LIMIT or E_NOMEM when the system refuses.
Result<std::unique_ptr<Loop>> make_uv_loop();

// In a forked child: closes the child's copies of the loop's descriptors and nothing else. Nothing
// is written, and the epoll set, which is shared with the parent, is left alone: so the loop and
// all that lives on it must not be touched again, not even destroyed.
void close_uv_loop_in_child(Loop& loop) noexcept;

}  // namespace conpool::io
