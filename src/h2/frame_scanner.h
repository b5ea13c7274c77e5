// FrameScanner: the frame heads in what a peer sends, whatever nghttp2 makes of the frames.
//
// nghttp2 drops DATA on streams that are over without a word to anybody.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace conpool::h2 {

class FrameScanner {
 public:
  // Calls `head(type, flags, payload size)` for every head that ends in these bytes.
  template <typename Head>
  void scan(std::span<const uint8_t> bytes, Head&& head) {
    while (!bytes.empty()) {
      if (payload_left_ > 0) {
        const size_t size = std::min(payload_left_, bytes.size());
        payload_left_ -= size;
        bytes = bytes.subspan(size);
        continue;
      }
      const size_t size = std::min(head_.size() - have_, bytes.size());
      std::copy_n(bytes.begin(), size, head_.begin() + static_cast<ptrdiff_t>(have_));
      have_ += size;
      bytes = bytes.subspan(size);
      if (have_ < head_.size()) return;
      have_ = 0;
      payload_left_ =
          static_cast<size_t>(head_[0]) << 16 | static_cast<size_t>(head_[1]) << 8 | head_[2];
      head(head_[3], head_[4], payload_left_);
    }
  }

 private:
  std::array<uint8_t, 9> head_{};  // RFC 9113 section 4.1
  size_t have_ = 0;
  size_t payload_left_ = 0;
};

}  // namespace conpool::h2
