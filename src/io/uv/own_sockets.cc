// A bitmap of sockets, and the fork handler that closes them in the child.
#include "io/uv/own_sockets.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace conpool::io::uv {
namespace {

// The usual most of fs.nr_open. A socket with a higher number stays open in a child.
constexpr size_t kDescriptors = 1 << 20;
constexpr size_t kBits = 64;

// Plain memory without a lock: the child may have been forked while any thread was anywhere.
std::atomic<uint64_t> owned[kDescriptors / kBits];
std::atomic<size_t> words_in_use{0};

constexpr auto kRelaxed = std::memory_order_relaxed;

void close_in_child() noexcept {
  const size_t words = words_in_use.load(kRelaxed);
  for (size_t word = 0; word < words; ++word) {
    uint64_t bits = owned[word].exchange(0, kRelaxed);
    for (int bit = 0; bits != 0; ++bit, bits >>= 1) {
      // Nothing is written, nothing is unwatched: the epoll set is the parent's.
      if ((bits & 1) != 0) (void)::close(static_cast<int>(word * kBits) + bit);
    }
  }
}

}  // namespace

void own_socket(int fd) noexcept {
  static const int registered = pthread_atfork(nullptr, nullptr, close_in_child);
  (void)registered;
  const auto number = static_cast<size_t>(fd);
  if (number >= kDescriptors) return;
  const size_t word = number / kBits;
  size_t words = words_in_use.load(kRelaxed);
  while (words <= word && !words_in_use.compare_exchange_weak(words, word + 1, kRelaxed)) {
  }
  owned[word].fetch_or(uint64_t{1} << number % kBits, kRelaxed);
}

int close_socket(int fd) noexcept {
  const auto number = static_cast<size_t>(fd);
  if (number < kDescriptors)
    owned[number / kBits].fetch_and(~(uint64_t{1} << number % kBits), kRelaxed);
  return ::close(fd);
}

}  // namespace conpool::io::uv
