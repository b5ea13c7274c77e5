// Slabs and slices: memory with a count.
#include "base/bytes.h"

#include <new>

namespace conpool {

Slab* Slab::make(size_t capacity) {
  void* memory = ::operator new(sizeof(Slab) + capacity);
  return new (memory) Slab(capacity);
}

void Slab::unref() noexcept {
  if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    this->~Slab();
    ::operator delete(this);
  }
}

Slice Slice::copy_of(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return {};
  Slab* slab = Slab::make(bytes.size());
  std::memcpy(slab->data(), bytes.data(), bytes.size());
  Slice slice(slab, slab->data(), bytes.size());
  slab->unref();
  return slice;
}

}  // namespace conpool
