// Parts of a streamed body in the application's hands: what is freed lets the server send more.
#pragma once

#include <atomic>
#include <memory>

#include "ops/mailbox.h"
#include "ops/port.h"
#include "raw/chunk.h"

namespace conpool::client {

// Parts of a body below this are gathered into larger chunks,
inline constexpr size_t kSmallPartBytes = 4096;
// of this size while the application holds fewer of the call's chunks than kFewChunks,
inline constexpr size_t kGatheredBytes = 16 * 1024;
inline constexpr size_t kFewChunks = 64;
// and of this size else: however the server cuts its body, a call's chunks not freed are at most 64
// and one for each so many bytes of small parts.
inline constexpr size_t kMostGatheredBytes = 64 * 1024;

// Told on the loop that the application has freed so many bytes.
class ChunkOwner {
 public:
  virtual void chunks_freed(size_t bytes) = 0;

 protected:
  ~ChunkOwner() = default;
};

// Carries what any thread frees to the loop: at most one mail is on its way.
class ReadGate : public std::enable_shared_from_this<ReadGate> {
 public:
  ReadGate(ops::Port& port, ChunkOwner& owner);
  ~ReadGate() { port_.unref(); }
  ReadGate(const ReadGate&) = delete;
  ReadGate& operator=(const ReadGate&) = delete;

  // Loop thread: one more chunk is handed out.
  void made() { outstanding_.fetch_add(1, std::memory_order_relaxed); }
  // Chunks that are not freed.
  size_t outstanding() const { return outstanding_.load(std::memory_order_acquire); }
  // Any thread: one chunk is freed.
  void freed(size_t bytes) noexcept;
  // Loop thread: nobody is told any more.
  void close();

 private:
  struct FreedMail : ops::MailNode {
    ReadGate* gate = nullptr;
    std::shared_ptr<ReadGate> keep;  // while it is on its way
  };
  void run();

  ops::Port& port_;  // referenced
  ChunkOwner* owner_;
  std::atomic<bool> closed_{false};
  std::atomic<size_t> outstanding_{0};
  std::atomic<size_t> freed_{0};  // not yet told; above 0 the mail is on its way
  FreedMail mail_;
};

class BodyChunk final : public raw::Chunk {
 public:
  static BodyChunk* make(Slice bytes, const std::shared_ptr<raw::PinnedBytes>& account,
                         const std::shared_ptr<ReadGate>& gate);
  ~BodyChunk() override { gate_->freed(size()); }

 private:
  BodyChunk(Slice bytes, size_t counted, std::shared_ptr<raw::PinnedBytes> account,
            std::shared_ptr<ReadGate> gate)
      : raw::Chunk(std::move(bytes), counted, std::move(account)), gate_(std::move(gate)) {
    gate_->made();
  }
  const std::shared_ptr<ReadGate> gate_;
};

}  // namespace conpool::client
