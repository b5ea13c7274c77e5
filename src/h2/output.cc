// Bytes on their way to the transport.
#include "h2/output.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace conpool::h2 {

void Output::append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (blocks_.empty() || blocks_.back().end == kBlock) {
      std::unique_ptr<uint8_t[]> memory = std::move(spare_);
      if (memory == nullptr) memory.reset(new uint8_t[kBlock]);
      blocks_.push_back({std::move(memory)});
    }
    Block& last = blocks_.back();
    const size_t size = std::min(bytes.size(), kBlock - last.end);
    std::memcpy(last.memory.get() + last.end, bytes.data(), size);
    last.end += size;
    end_ += size;
    bytes = bytes.subspan(size);
  }
}

size_t Output::parts(std::span<iovec> parts) const {
  size_t count = 0;
  for (const Block& block : blocks_) {
    if (count == parts.size()) break;
    parts[count++] = {block.memory.get() + block.begin, block.end - block.begin};
  }
  return count;
}

void Output::drop(size_t size) {
  assert(size <= this->size());
  accepted_ += size;
  while (size > 0) {
    Block& first = blocks_.front();
    const size_t part = std::min(size, first.end - first.begin);
    first.begin += part;
    size -= part;
    if (first.begin < first.end) break;
    spare_ = std::move(first.memory);
    blocks_.pop_front();
  }
}

}  // namespace conpool::h2
