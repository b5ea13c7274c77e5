// Forks: a generation that grows in every child, by which objects tell that they belong to a
// parent.
#pragma once

#include <cstdint>

namespace conpool::ops {

// 0 in the first process; one more in each child that fork() makes of a process which asked before.
// Any thread.
uint32_t fork_generation() noexcept;

}  // namespace conpool::ops
