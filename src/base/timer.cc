// The timer queue: one deadline of the loop, many timers.
#include "base/timer.h"

#include <cassert>

namespace conpool {

void Timer::arm(TimerQueue& queue, Time deadline) {
  cancel();
  if (deadline == kNever) return;
  deadline_ = deadline;
  queue_ = &queue;
  queue.insert(*this);
}

void Timer::cancel() {
  if (queue_ == nullptr) return;
  queue_->remove(*this);
  queue_ = nullptr;
}

TimerQueue::~TimerQueue() {
  for (Timer* timer : heap_)
    timer->queue_ = nullptr;
}

size_t TimerQueue::fire_due(Time now) {
  const uint64_t limit = next_order_;
  size_t fired = 0;
  while (!heap_.empty()) {
    Timer* timer = heap_.front();
    if (timer->deadline_ > now || timer->order_ >= limit) break;
    timer->cancel();
    ++fired;
    timer->on_fire_();  // may destroy the timer: nothing touches it after this
  }
  return fired;
}

bool TimerQueue::earlier(const Timer* a, const Timer* b) {
  return a->deadline_ != b->deadline_ ? a->deadline_ < b->deadline_ : a->order_ < b->order_;
}

void TimerQueue::place(Timer* timer, size_t position) {
  heap_[position] = timer;
  timer->position_ = position;
}

void TimerQueue::insert(Timer& timer) {
  timer.order_ = next_order_++;
  heap_.push_back(&timer);
  timer.position_ = heap_.size() - 1;
  sift_up(timer.position_);
}

void TimerQueue::remove(Timer& timer) {
  const size_t position = timer.position_;
  assert(heap_[position] == &timer);
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(last, position);
  sift_up(position);
  sift_down(last->position_);
}

void TimerQueue::sift_up(size_t position) {
  Timer* timer = heap_[position];
  while (position > 0) {
    const size_t parent = (position - 1) / 4;
    if (!earlier(timer, heap_[parent])) break;
    place(heap_[parent], position);
    position = parent;
  }
  place(timer, position);
}

void TimerQueue::sift_down(size_t position) {
  Timer* timer = heap_[position];
  for (;;) {
    const size_t first = 4 * position + 1;
    if (first >= heap_.size()) break;
    size_t best = first;
    for (size_t child = first + 1; child < first + 4 && child < heap_.size(); ++child) {
      if (earlier(heap_[child], heap_[best])) best = child;
    }
    if (!earlier(heap_[best], timer)) break;
    place(heap_[best], position);
    position = best;
  }
  place(timer, position);
}

}  // namespace conpool
