// Sleeping on a word: the kernel's futex with absolute monotonic deadlines.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace conpool::ops {

// The one clock this room reads, and only to bound the sleep of an application's thread.
Time monotonic_now() noexcept;

// Sleeps while `word` is `expected`, until woken or `deadline` (kNever: no limit). May return
// early: look again. False when the deadline has passed.
bool futex_wait(std::atomic<uint32_t>& word, uint32_t expected, Time deadline) noexcept;
// Wakes one sleeper. Touches no memory: the word may be gone already (its place on a stack or in a
// slot may be in use for something else, whose sleeper then looks again).
void futex_wake(std::atomic<uint32_t>& word) noexcept;

// This thread's number, never 0 and never given to another thread.
uint64_t this_thread_number() noexcept;

}  // namespace conpool::ops
