// The slab of op slots: process-wide, type-stable, never freed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "ops/op.h"

namespace conpool::ops {

// Slots live in chunks that are never freed, so a stale id may always be looked up: reading an
// atomic of a slot in another use is harmless, and the generation tells. At exit they are leaked on
// purpose: a thread may still hold an id. Free slots form a stack; its head carries a tag that
// every change raises, because between reading the head's successor and replacing the head the same
// slot may have been taken and given back (ABA).
class Slab {
 public:
  static constexpr size_t kChunkSlots = 256;
  static constexpr size_t kChunks = 16384;  // 4,194,304 ops in the process; one more is E_NOMEM

  // nullptr when memory or the slab is exhausted. Memory is taken by the chunk.
  static Op* take() noexcept;
  static void give(Op& op) noexcept;
  // The slot of that index, or nullptr when there is none yet.
  static Op* at(uint64_t index) noexcept {
    if (index >= kChunkSlots * kChunks) return nullptr;
    // Acquire: the chunk's slots were made before the pointer was published.
    Op* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk + index % kChunkSlots;
  }

 private:
  static bool grow() noexcept;
  static void push(uint32_t first, Op& last) noexcept;

  static std::atomic<Op*> chunks_[kChunks];
  static std::atomic<uint64_t>
      head_;  // tag in the upper half, index + 1 of the first free slot in the lower
  static std::mutex growing_;
  static size_t chunk_count_;  // guarded by growing_
};

}  // namespace conpool::ops
