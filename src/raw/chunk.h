// Chunks: received bytes in the application's hands, counted against a limit.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "ops/op.h"

namespace conpool::raw {

// Told when chunks were freed after the limit had been reached. Loop thread.
class PinnedWaiter {
 public:
  virtual void on_unpinned() = 0;

 protected:
  ~PinnedWaiter() = default;
};

// Counts the bytes that the application holds. At the limit sessions stop to read until some are
// freed.
class PinnedBytes : public std::enable_shared_from_this<PinnedBytes> {
 public:
  PinnedBytes(ops::Port& port, int64_t limit);
  ~PinnedBytes();
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;

  // Loop thread.
  void add(size_t size) { held_.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed); }
  bool full() const { return held_.load(std::memory_order_relaxed) >= limit_; }
  // Registers for one on_unpinned call. False when there is room again: go on at once.
  bool wait(PinnedWaiter& waiter);
  void forget(PinnedWaiter& waiter);
  // Any thread.
  void remove(size_t size) noexcept;
  int64_t held() const { return held_.load(std::memory_order_relaxed); }

 private:
  struct WakeNode : ops::MailNode {
    PinnedBytes* owner = nullptr;
    std::shared_ptr<PinnedBytes> keep;  // set while the node is on its way
  };
  void wake_waiters();

  ops::Port& port_;
  const int64_t limit_;
  std::atomic<int64_t> held_{0};
  std::atomic<bool> starved_{false};  // true: the next remove() posts the node
  WakeNode node_;
  std::vector<PinnedWaiter*> waiters_;
};

class Chunk : public ops::Object {
 public:
  // Small parts are copied, so that a few bytes do not pin a whole slab.
  static constexpr size_t kReferencedBytes = 4096;

  static Chunk* make(Slice bytes, std::shared_ptr<PinnedBytes> account);
  void dispose() noexcept override { delete this; }
  ~Chunk() override { account_->remove(counted_); }

  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }

 protected:
  Chunk(Slice bytes, size_t counted, std::shared_ptr<PinnedBytes> account)
      : bytes_(std::move(bytes)), counted_(counted), account_(std::move(account)) {
    account_->add(counted_);
  }

 private:
  Slice bytes_;
  size_t counted_;
  std::shared_ptr<PinnedBytes> account_;
};

}  // namespace conpool::raw
