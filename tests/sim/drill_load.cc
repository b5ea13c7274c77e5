// The load of the drills, and their main().
#include "sim/drill_load.h"

#include <algorithm>
#include <string_view>

namespace conpool::sim {

bool full_drills = false;

double Durations::at(uint64_t share) const {
  if (micros_.empty()) return 0;
  if (!sorted_) std::sort(micros_.begin(), micros_.end());
  sorted_ = true;
  const size_t index = std::min(micros_.size() - 1, micros_.size() * share / 1000);
  return micros_[index] / 1000.0;
}

Load::Load(HttpWorld& world, conpool_endpoint* endpoint, const OptionList& options, OnEnd on_end,
           const std::string& method)
    : world_(world), on_end_(std::move(on_end)), config_(options) {
  EXPECT_EQ(conpool_queue_new(world.pool, &queue_), 0);
  EXPECT_EQ(conpool_request_new_at(endpoint, method.c_str(), "/", 1, &request_, nullptr), 0);
}

Load::~Load() {
  EXPECT_EQ(ended_, started_.size());
  conpool_request_free(request_);
  conpool_queue_free(queue_);
}

void Load::start() {
  conpool_op op = 0;
  started_.push_back(world_.now());
  EXPECT_EQ(conpool_request_start(request_, config_.get(), CONPOOL_WHOLE, queue_,
                                  started_.size() - 1, &op, nullptr),
            0);
}

void Load::run(Time until, Nanos mean_gap, Rng& rng) {
  Time next = world_.now();
  while (next < until) {
    take_until(next);
    start();
    next += static_cast<Nanos>(rng.up_to(static_cast<uint64_t>(2 * mean_gap)));
  }
  take_until(until);
}

void Load::take_until(Time until) {
  take(0);
  while (world_.now() < until)
    take(until - world_.now());
}

void Load::finish() {
  const Time until = world_.now() + 10 * kMinute;
  while (ended_ < started_.size() && world_.now() < until)
    take(until - world_.now());
}

void Load::take(Nanos timeout) {
  conpool_event events[64];
  const int32_t count = conpool_queue_next(queue_, events, 64, timeout);
  for (int32_t i = 0; i < count; ++i) {
    conpool_event& event = events[i];
    End end{.number = event.user_data,
            .started = started_[event.user_data],
            .at = event.time_ns,
            .status = event.status,
            .sends = event.value[0],
            .proof = event.value[1]};
    if (event.status == 0)
      end.code = conpool_response_status(static_cast<const conpool_response*>(event.object));
    ++ended_;
    conpool_event_dispose(&event);
    on_end_(end);
  }
}

}  // namespace conpool::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--full") conpool::sim::full_drills = true;
  return RUN_ALL_TESTS();
}
