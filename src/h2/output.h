// Output: bytes of one connection on their way to the transport, in the order of the wire.
//
// Positions count the bytes of the connection's whole life: `end` is where the next byte goes,
// `accepted` is how many the transport has taken. What was appended at position p has left when
// accepted() > p.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

namespace conpool::h2 {

class Output {
 public:
  static constexpr size_t kBlock = 32 * 1024;

  void append(std::span<const uint8_t> bytes);  // throws std::bad_alloc
  bool empty() const { return end_ == accepted_; }
  size_t size() const { return static_cast<size_t>(end_ - accepted_); }
  uint64_t end() const { return end_; }
  uint64_t accepted() const { return accepted_; }
  // Fills `parts` from the front; answers how many were filled.
  size_t parts(std::span<iovec> parts) const;
  // The transport took so many.
  void drop(size_t size);
  // Frees what holds no byte.
  void trim() { spare_.reset(); }

 private:
  struct Block {
    std::unique_ptr<uint8_t[]> memory;
    size_t begin = 0;
    size_t end = 0;
  };
  std::deque<Block> blocks_;
  std::unique_ptr<uint8_t[]> spare_;  // the last one that became empty
  uint64_t end_ = 0;
  uint64_t accepted_ = 0;
};

}  // namespace conpool::h2
