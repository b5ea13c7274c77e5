// Parts of a streamed body in the application's hands: what is freed lets the server send more.
#pragma once

#include <atomic>
#include <memory>

#include "ops/mailbox.h"
#include "ops/port.h"
#include "raw/chunk.h"

namespace conpool::client {

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

  // Any thread.
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
      : raw::Chunk(std::move(bytes), counted, std::move(account)), gate_(std::move(gate)) {}
  const std::shared_ptr<ReadGate> gate_;
};

}  // namespace conpool::client
