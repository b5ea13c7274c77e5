// Slabs and slices: bytes read from the network, counted so that consumers may keep parts of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace conpool {

inline std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One block of memory with a reference count. The count is atomic because the application frees
// chunks on its own threads.
class Slab {
 public:
  static constexpr size_t kSize = 64 * 1024;

  static Slab* make(size_t capacity = kSize);  // count 1; throws std::bad_alloc
  void ref() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept;
  bool unique() const noexcept { return count_.load(std::memory_order_acquire) == 1; }
  uint8_t* data() noexcept { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t capacity() const noexcept { return capacity_; }

 private:
  explicit Slab(size_t capacity) : capacity_(capacity) {}
  std::atomic<uint32_t> count_{1};
  size_t capacity_;
};

// A counted reference to some bytes of a slab. Empty slices hold no slab.
class Slice {
 public:
  Slice() = default;
  // Takes a reference of its own.
  Slice(Slab* slab, const uint8_t* data, size_t size) : slab_(slab), data_(data), size_(size) {
    if (slab_ != nullptr) slab_->ref();
  }
  Slice(const Slice& other) : Slice(other.slab_, other.data_, other.size_) {}
  Slice(Slice&& other) noexcept
      : slab_(std::exchange(other.slab_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(slab_, other.slab_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Slice() {
    if (slab_ != nullptr) slab_->unref();
  }
  // A slice of a fresh slab that is exactly as large as the copied bytes.
  static Slice copy_of(std::span<const uint8_t> bytes);

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const uint8_t> span() const { return {data_, size_}; }
  Slab* slab() const { return slab_; }
  Slice sub(size_t offset, size_t size) const { return Slice(slab_, data_ + offset, size); }
  void remove_prefix(size_t size) {
    data_ += size;
    size_ -= size;
  }

 private:
  Slab* slab_ = nullptr;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace conpool
