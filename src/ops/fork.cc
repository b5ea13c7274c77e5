// The generation of this process among its forks.
#include "ops/fork.h"

#include <pthread.h>

#include <atomic>

namespace conpool::ops {
namespace {

std::atomic<uint32_t> generation{0};

}  // namespace

uint32_t fork_generation() noexcept {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  (void)registered;
  return generation.load(std::memory_order_relaxed);
}

}  // namespace conpool::ops
