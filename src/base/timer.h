// Exact deadlines: an intrusive heap of timers above the loop's single deadline.
#pragma once

#include <cstddef>
#include <vector>

#include "base/callback.h"
#include "base/time.h"

namespace conpool {

class TimerQueue;

// A timer fires once, at the first turn whose `now` is at or after its deadline, never before.
// Destroying or re-arming it cancels the earlier deadline. Order of firing: deadline, then arming.
class Timer {
 public:
  Timer() = default;
  explicit Timer(Callback<void()> on_fire) : on_fire_(std::move(on_fire)) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set_callback(Callback<void()> on_fire) { on_fire_ = std::move(on_fire); }
  void arm(TimerQueue& queue, Time deadline);  // kNever cancels
  void cancel();
  bool armed() const { return queue_ != nullptr; }
  Time deadline() const { return armed() ? deadline_ : kNever; }

 private:
  friend class TimerQueue;
  Callback<void()> on_fire_;
  TimerQueue* queue_ = nullptr;
  Time deadline_ = kNever;
  uint64_t order_ = 0;
  size_t position_ = 0;
};

class TimerQueue {
 public:
  TimerQueue() = default;
  ~TimerQueue();
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  Time earliest() const { return heap_.empty() ? kNever : heap_.front()->deadline_; }
  size_t size() const { return heap_.size(); }
  // Fires every timer due at `now` that was armed before this call began; one armed by a firing
  // callback waits for the next call. A callback may destroy or re-arm any timer, itself included.
  size_t fire_due(Time now);

 private:
  friend class Timer;
  void insert(Timer& timer);
  void remove(Timer& timer);
  void sift_up(size_t position);
  void sift_down(size_t position);
  void place(Timer* timer, size_t position);
  static bool earlier(const Timer* a, const Timer* b);

  std::vector<Timer*> heap_;
  uint64_t next_order_ = 1;
};

}  // namespace conpool
