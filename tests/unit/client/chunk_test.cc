// Freed chunks reach the loop: all of them, by one mail at a time, and nobody after the end.
#include "client/chunk.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace conpool::client {
namespace {

// A loop whose mail the test reads by hand.
class HandPort final : public ops::Port {
 public:
  void post(ops::MailNode& node) noexcept override {
    posted.fetch_add(1);
    mail.push(node);
  }
  Time now() const noexcept override { return 0; }
  ops::Drive* caller_drive() noexcept override { return nullptr; }
  void ref() noexcept override { references.fetch_add(1); }
  void unref() noexcept override { references.fetch_sub(1); }

  ops::Mailbox mail;
  std::atomic<int> posted{0};
  std::atomic<int> references{0};
};

struct Owner final : ChunkOwner {
  void chunks_freed(size_t bytes) override {
    freed += bytes;
    ++calls;
  }
  size_t freed = 0;
  int calls = 0;
};

class Chunks : public testing::Test {
 protected:
  ~Chunks() override {
    gate_.reset();
    account_.reset();
    EXPECT_EQ(port_.references, 0);
  }
  BodyChunk* make(size_t size) {
    return BodyChunk::make(Slice::copy_of(as_bytes(std::string(size, 'x'))), account_, gate_);
  }

  HandPort port_;
  Owner owner_;
  std::shared_ptr<raw::PinnedBytes> account_ =
      std::make_shared<raw::PinnedBytes>(port_, int64_t{1} << 30);
  std::shared_ptr<ReadGate> gate_ =
      std::make_shared<ReadGate>(port_, static_cast<ChunkOwner&>(owner_));
};

TEST_F(Chunks, AreToldTogether) {
  std::vector<BodyChunk*> chunks;
  for (const size_t size : {10u, 20u, 5000u})
    chunks.push_back(make(size));
  EXPECT_EQ(account_->held(), 5030);
  EXPECT_EQ(gate_->outstanding(), 3u);
  for (BodyChunk* chunk : chunks)
    chunk->dispose();
  EXPECT_EQ(port_.posted, 1);
  EXPECT_EQ(gate_->outstanding(), 0u);
  EXPECT_EQ(account_->held(), 0);
  port_.mail.drain();
  EXPECT_EQ(owner_.freed, 5030u);
  EXPECT_EQ(owner_.calls, 1);
  make(7)->dispose();
  EXPECT_EQ(port_.posted, 2);
  port_.mail.drain();
  EXPECT_EQ(owner_.freed, 5037u);
}

TEST_F(Chunks, OutliveTheirOwner) {
  BodyChunk* on_its_way = make(10);
  BodyChunk* later = make(20);
  on_its_way->dispose();
  gate_->close();
  gate_.reset();
  port_.mail.drain();
  EXPECT_EQ(owner_.calls, 0);
  later->dispose();
  EXPECT_EQ(port_.posted, 1);
}

TEST_F(Chunks, AreCountedFromEveryThread) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i)
        make(3)->dispose();
      --left;
    });
  }
  while (left > 0)
    port_.mail.drain();
  for (std::thread& thread : threads)
    thread.join();
  port_.mail.drain();
  EXPECT_EQ(owner_.freed, size_t{3} * kThreads * kEach);
  EXPECT_EQ(owner_.calls, port_.posted);
}

}  // namespace
}  // namespace conpool::client
