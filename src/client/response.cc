// The putting together of a whole body.
#include "client/response.h"

#include <algorithm>
#include <cstring>

namespace conpool::client {

void WholeBody::grow(size_t capacity) {
  Slab* slab = Slab::make(capacity);
  if (size_ > 0) std::memcpy(slab->data(), parts_.data(), size_);
  parts_ = Slice(slab, slab->data(), size_);
  slab->unref();
  owned_ = true;
}

void WholeBody::add(Slice part) {
  if (size_ == 0 && part.size() >= std::max<uint64_t>(expected_, kReferenced)) {
    size_ = part.size();
    parts_ = std::move(part);
    return;
  }
  const size_t needed = size_ + part.size();
  if (!owned_ || parts_.slab()->capacity() < needed) {
    const uint64_t wanted = std::min<uint64_t>(expected_, kReserved);
    grow(std::max<uint64_t>({needed, wanted, owned_ ? 2 * size_ : needed}));
  }
  std::memcpy(parts_.slab()->data() + size_, part.data(), part.size());
  size_ = needed;
}

Slice WholeBody::take() {
  if (!owned_) return std::move(parts_);
  return Slice(parts_.slab(), parts_.slab()->data(), size_);
}

}  // namespace conpool::client
