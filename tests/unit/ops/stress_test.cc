// Many threads: exactly one FINAL per op whatever races, each event once, each op in order.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "fakes.h"

namespace conpool::ops {
namespace {

std::atomic<int64_t> alive{0};

class StressObject final : public Object {
 public:
  StressObject() { alive.fetch_add(1, std::memory_order_relaxed); }
  ~StressObject() override { alive.fetch_sub(1, std::memory_order_relaxed); }
  void dispose() noexcept override { delete this; }
};

// Small and fast; the seeds make a run repeatable as far as the scheduler allows.
struct Dice {
  explicit Dice(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t roll(uint64_t sides) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % sides;
  }
  uint64_t state;
};

// The loop's side: each op posts arguments().number events, one per step, then finishes; a cancel
// may come at any moment and finishes it at once or at a later step.
class Work final : public Task {
 public:
  Work() : port_([this] { return step(); }) {}
  ThreadPort& port() { return port_; }

  static void start(Op& op) {
    auto* self = static_cast<Work*>(op.arguments().target.get());
    if (op.cancel_requested() && self->dice_.roll(2) == 0) {
      op.finish(Status::E_CANCELLED, new StressObject);
      return;
    }
    op.set_task(self);
    self->running_.push_back({&op, op.arguments().number, 0, false});
  }
  void cancel(Op& op, Status reason) override {
    for (auto& entry : running_) {
      if (entry.op != &op) continue;
      if (dice_.roll(2) == 0) {
        entry.op = nullptr;
        op.finish(reason, new StressObject);
      } else {
        entry.cancelled = true;
      }
      return;
    }
    ADD_FAILURE() << "a cancel for an op that is not running";
  }

 private:
  struct Entry {
    Op* op;
    int64_t left;
    uint64_t sequence;
    bool cancelled;
  };
  bool step() {
    for (size_t i = 0; i < running_.size();) {
      Entry& entry = running_[i];
      if (entry.op != nullptr && dice_.roll(4) != 0) {
        if (entry.left > 0) {
          --entry.left;
          entry.op->post(CONPOOL_EVENT_READ, Status::OK, new StressObject, entry.sequence++);
        } else {
          std::exchange(entry.op, nullptr)
              ->finish(entry.cancelled ? Status::E_CANCELLED : Status::OK,
                       dice_.roll(2) == 0 ? new StressObject : nullptr, entry.sequence);
        }
      }
      if (entry.op == nullptr) {
        running_[i] = running_.back();
        running_.pop_back();
      } else {
        ++i;
      }
    }
    return !running_.empty();
  }

  Dice dice_{99};
  std::vector<Entry> running_;
  ThreadPort port_;  // last: its thread uses the members above
};

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kOpsPerThread = 4000;
#else
constexpr int kOpsPerThread = 20000;
#endif

// What consumers saw of each op, by its user_data.
struct Ledger {
  explicit Ledger(size_t ops) : seen(std::make_unique<std::atomic<uint64_t>[]>(ops)), finals(ops) {}
  std::unique_ptr<std::atomic<uint64_t>[]> seen;  // events before FINAL so far
  std::vector<std::atomic<int>> finals;
  std::atomic<size_t> final_count{0};

  void take(const conpool_event& event) {
    size_t op = static_cast<size_t>(event.user_data);
    if ((event.flags & CONPOOL_EVENT_FINAL) != 0) {
      EXPECT_EQ(finals[op].fetch_add(1), 0);
      if (event.status == 0) {
        EXPECT_EQ(seen[op].load(), event.value[0]);
      }
      final_count.fetch_add(1);
    } else {
      EXPECT_EQ(finals[op].load(), 0);
      EXPECT_EQ(seen[op].fetch_add(1), event.value[0]);  // in order, and by nobody else meanwhile
    }
  }
};

TEST(OpsStress, EachOpEndsOnceAndInOrder) {
  constexpr int kSubmitters = 4, kConsumers = 4;
  constexpr size_t kOps = size_t{kSubmitters} * kOpsPerThread;
  {
    Work work;
    Queue* queue = *Queue::make(nullptr);
    Ledger ledger(kOps);
    std::atomic<uint64_t> recent[64] = {};
    std::atomic<bool> done{false};
    std::vector<std::thread> submitters, consumers;
    for (int t = 0; t < kConsumers; ++t) {
      consumers.emplace_back([&, t] {
        Dice dice(100 + static_cast<uint64_t>(t));
        conpool_event events[8];
        while (!done) {
          int32_t count =
              queue->next(events, 1 + static_cast<uint32_t>(dice.roll(8)),
                          dice.roll(3) == 0 ? 0 : static_cast<int64_t>(dice.roll(200000)));
          ASSERT_GE(count, 0);
          for (int32_t i = 0; i < count; ++i)
            ledger.take(events[i]);
          for (int32_t i = 0; i < count; ++i) {
            if (dice.roll(8) == 0) Op::cancel(events[i].op);
            dispose(&events[i]);
          }
        }
      });
    }
    for (int t = 0; t < kSubmitters; ++t) {
      submitters.emplace_back([&, t] {
        Dice dice(200 + static_cast<uint64_t>(t));
        std::shared_ptr<void> target(&work, [](void*) {});
        for (int i = 0; i < kOpsPerThread; ++i) {
          size_t number = static_cast<size_t>(t) * kOpsPerThread + static_cast<size_t>(i);
          auto op = Op::begin(work.port(), queue, 1, number, work.port().in_flight, 500);
          if (!op) {
            ASSERT_EQ(op.error().status, Status::E_OPS_LIMIT);
            std::this_thread::yield();
            --i;
            continue;
          }
          uint64_t id = (*op)->id();
          recent[dice.roll(64)] = id;
          (*op)->arguments().target = target;
          (*op)->arguments().number = static_cast<int64_t>(dice.roll(5));
          (*op)->submit(Work::start);
          if (dice.roll(3) == 0) Op::cancel(dice.roll(2) == 0 ? id : recent[dice.roll(64)].load());
          if (dice.roll(64) == 0) queue->wake();
        }
      });
    }
    for (auto& thread : submitters)
      thread.join();
    while (ledger.final_count != kOps)
      std::this_thread::yield();
    done = true;
    for (int t = 0; t < kConsumers; ++t)
      queue->wake();
    for (auto& thread : consumers)
      thread.join();
    conpool_event event;
    EXPECT_EQ(queue->next(&event, 1, 0), 0);
    EXPECT_EQ(work.port().in_flight, 0);
    queue->close();
    queue->unref();
    work.port().stop();
    EXPECT_EQ(work.port().references, 0);
  }
  EXPECT_EQ(alive, 0);
}

TEST(OpsStress, CloseRacesEverything) {
  for (uint64_t round = 0; round < kOpsPerThread / 40; ++round) {
    Work work;
    Queue* queue = *Queue::make(nullptr);
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 3; ++t) {
      queue->ref();
      threads.emplace_back([&work, queue, round, t] {
        Dice dice(round * 8 + t);
        std::shared_ptr<void> target(&work, [](void*) {});
        for (;;) {
          auto op = Op::begin(work.port(), queue, 1, 0, work.port().in_flight, 100);
          if (!op && op.error().status == Status::E_CLOSED) break;
          if (!op) {
            std::this_thread::yield();
            continue;
          }
          if (dice.roll(8) == 0) {
            (*op)->abandon();
            continue;
          }
          uint64_t id = (*op)->id();
          (*op)->arguments().target = target;
          (*op)->arguments().number = static_cast<int64_t>(dice.roll(4));
          (*op)->submit(Work::start);
          if (dice.roll(4) == 0) Op::cancel(id);
        }
        queue->unref();
      });
    }
    std::atomic<int> delivered{0};
    for (uint64_t t = 0; t < 3; ++t) {
      queue->ref();
      threads.emplace_back([queue, &delivered] {
        conpool_event events[4];
        for (int32_t count = 0; count >= 0;) {
          count = queue->next(events, 4, -1);
          for (int32_t i = 0; i < count; ++i)
            dispose(&events[i]);
          if (count > 0) delivered += count;
        }
        queue->unref();
      });
    }
    for (int t = 0; t < 2; ++t) {
      queue->ref();
      threads.emplace_back([queue, &delivered, round] {
        while (delivered < static_cast<int>(round % 50))
          std::this_thread::yield();
        queue->close();
        queue->unref();
      });
    }
    queue->unref();
    for (auto& thread : threads)
      thread.join();
    work.port().stop();
    EXPECT_EQ(work.port().in_flight, 0);
    EXPECT_EQ(work.port().references, 0);
  }
  EXPECT_EQ(alive, 0);
}

TEST(OpsStress, WaitersTimeoutsCancelsAndDetaches) {
  {
    Work work;
    std::atomic<uint64_t> recent[64] = {};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        Dice dice(300 + t);
        std::shared_ptr<void> target(&work, [](void*) {});
        for (int i = 0; i < kOpsPerThread / 4; ++i) {
          auto op = Op::begin(work.port(), nullptr, 1, t, work.port().in_flight, 200);
          if (!op) {  // detached ops linger
            ASSERT_EQ(op.error().status, Status::E_OPS_LIMIT);
            std::this_thread::yield();
            --i;
            continue;
          }
          uint64_t id = (*op)->id();
          recent[dice.roll(64)] = id;
          (*op)->arguments().target = target;
          (*op)->submit(Work::start);
          if (dice.roll(3) == 0) Op::cancel(recent[dice.roll(64)]);
          if (dice.roll(4) == 0) {
            ASSERT_EQ(Op::detach(id), Status::OK);
            ASSERT_EQ(Op::detach(id), Status::E_STALE);
            continue;
          }
          conpool_event event{};
          Status status = Status::E_TIMEOUT;
          while (status == Status::E_TIMEOUT) {
            status = Op::wait(id, dice.roll(2) == 0 ? -1 : static_cast<int64_t>(dice.roll(20000)),
                              &event);
          }
          ASSERT_EQ(status, Status::OK);
          ASSERT_EQ(event.op, id);
          ASSERT_EQ(event.user_data, t);
          ASSERT_EQ(Op::wait(id, -1, &event), Status::E_STALE);
          dispose(&event);
        }
      });
    }
    for (auto& thread : threads)
      thread.join();
    work.port().stop();
    EXPECT_EQ(work.port().in_flight, 0);
    EXPECT_EQ(work.port().references, 0);
  }
  EXPECT_EQ(alive, 0);
}

// A consumer that only ever sleeps in poll() misses nothing.
TEST(OpsStress, DescriptorNeverSleepsOnWork) {
  {
    Work work;
    Queue* queue = *Queue::make(nullptr);
    constexpr size_t kOps = kOpsPerThread;
    Ledger ledger(kOps);
    std::thread submitter([&] {
      Dice dice(400);
      std::shared_ptr<void> target(&work, [](void*) {});
      for (size_t i = 0; i < kOps;) {
        auto op = Op::begin(work.port(), queue, 1, i, work.port().in_flight, 50);
        if (!op) {
          std::this_thread::yield();
          continue;
        }
        (*op)->arguments().target = target;
        (*op)->arguments().number = static_cast<int64_t>(dice.roll(4));
        (*op)->submit(Work::start);
        ++i;
      }
    });
    Dice dice(401);
    conpool_event events[4];
    while (ledger.final_count != kOps) {
      pollfd entry{queue->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&entry, 1, 60000), 1);
      int32_t count = queue->next(events, 1 + static_cast<uint32_t>(dice.roll(4)), 0);
      ASSERT_GT(count, 0);  // the only consumer: readable means that there is something
      for (int32_t i = 0; i < count; ++i) {
        ledger.take(events[i]);
        dispose(&events[i]);
      }
    }
    EXPECT_FALSE(readable(queue->fd()));
    submitter.join();
    queue->close();
    queue->unref();
    work.port().stop();
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace conpool::ops
