// Chunks and the limit on their bytes.
#include "raw/chunk.h"

#include <algorithm>

namespace conpool::raw {

PinnedBytes::PinnedBytes(ops::Port& port, int64_t limit) : port_(port), limit_(limit) {
  port_.ref();
  node_.owner = this;
  node_.run = [](ops::MailNode& node) {
    auto& wake = static_cast<WakeNode&>(node);
    const std::shared_ptr<PinnedBytes> keep = std::move(wake.keep);
    wake.owner->wake_waiters();
  };
}

PinnedBytes::~PinnedBytes() {
  port_.unref();
}

bool PinnedBytes::wait(PinnedWaiter& waiter) {
  if (waiters_.empty()) {
    node_.keep = shared_from_this();
    starved_.store(true, std::memory_order_seq_cst);
    // Chunks freed between the check of full() and the store above posted nothing: look again.
    if (held_.load(std::memory_order_seq_cst) < limit_ && starved_.exchange(false)) {
      node_.keep.reset();
      return false;
    }
  }
  waiters_.push_back(&waiter);
  return true;
}

void PinnedBytes::forget(PinnedWaiter& waiter) {
  std::erase(waiters_, &waiter);
}

void PinnedBytes::remove(size_t size) noexcept {
  const int64_t before = held_.fetch_sub(static_cast<int64_t>(size), std::memory_order_seq_cst);
  if (before - static_cast<int64_t>(size) < limit_ && starved_.exchange(false)) port_.post(node_);
}

void PinnedBytes::wake_waiters() {
  std::vector<PinnedWaiter*> waiters;
  waiters.swap(waiters_);
  for (PinnedWaiter* waiter : waiters)
    waiter->on_unpinned();
}

Chunk* Chunk::make(Slice bytes, std::shared_ptr<PinnedBytes> account) {
  const size_t size = bytes.size();
  if (size < kReferencedBytes)
    return new Chunk(Slice::copy_of(bytes.span()), size, std::move(account));
  return new Chunk(std::move(bytes), size, std::move(account));
}

}  // namespace conpool::raw
