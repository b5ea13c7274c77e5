// Taking and giving op slots; growth by chunks.
#include "ops/slab.h"

#include <new>

namespace conpool::ops {

constinit std::atomic<Op*> Slab::chunks_[Slab::kChunks] = {};
constinit std::atomic<uint64_t> Slab::head_{0};
constinit std::mutex Slab::growing_;
constinit size_t Slab::chunk_count_ = 0;

Op* Slab::take() noexcept {
  uint64_t head = head_.load(std::memory_order_acquire);
  for (;;) {
    uint32_t first = static_cast<uint32_t>(head);
    if (first == 0) {
      if (!grow()) return nullptr;
      head = head_.load(std::memory_order_acquire);
      continue;
    }
    Op* op = at(first - 1);
    uint64_t next = op->next_free_.load(std::memory_order_relaxed);
    // Acquire: what the giver wrote to the slot. Every change of the head is a read-modify-write,
    // so the release of a slot pushed earlier reaches us through all that came after it.
    if (head_.compare_exchange_weak(head, ((head >> 32) + 1) << 32 | next,
                                    std::memory_order_acquire, std::memory_order_acquire)) {
      return op;
    }
  }
}

void Slab::give(Op& op) noexcept {
  push(op.index_ + 1, op);
}

void Slab::push(uint32_t first, Op& last) noexcept {
  uint64_t head = head_.load(std::memory_order_relaxed);
  do {
    last.next_free_.store(static_cast<uint32_t>(head), std::memory_order_relaxed);
  } while (!head_.compare_exchange_weak(head, ((head >> 32) + 1) << 32 | first,
                                        std::memory_order_release, std::memory_order_relaxed));
}

bool Slab::grow() noexcept {
  std::lock_guard<std::mutex> lock(growing_);
  // Another thread may have grown, or given a slot back, while we came here.
  if (static_cast<uint32_t>(head_.load(std::memory_order_relaxed)) != 0) return true;
  if (chunk_count_ == kChunks) return false;
  void* memory =
      ::operator new (sizeof(Op) * kChunkSlots, std::align_val_t{alignof(Op)}, std::nothrow);
  if (memory == nullptr) return false;
  Op* chunk = static_cast<Op*>(memory);
  uint32_t base = static_cast<uint32_t>(chunk_count_ * kChunkSlots);
  for (uint32_t i = 0; i < kChunkSlots; ++i) {
    Op* op = new (chunk + i) Op;
    op->index_ = base + i;
    op->next_free_.store(base + i + 2, std::memory_order_relaxed);
  }
  chunks_[chunk_count_++].store(chunk, std::memory_order_release);
  push(base + 1, chunk[kChunkSlots - 1]);
  return true;
}

}  // namespace conpool::ops
