// The breaker against a model that keeps everything and counts anew each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "policy/breaker.h"

namespace conpool::policy {
namespace {

using State = Breaker::State;
using Force = Breaker::Force;

// All that ever happened in the present stretch of the window, and all calls ever let through.
class Model {
 public:
  explicit Model(const BreakerOptions& options) : options_(options) {}

  struct Call {
    int stretch;  // the n-th state
    bool trial;
    Time leased_at;
    bool over = false;
  };

  bool admit(Time now) {
    see(now);
    if (force_ == Force::Auto && state_ == State::Open && now_ >= open_until_)
      enter(State::HalfOpen);
    if (state_ == State::Open) return false;
    if (state_ == State::HalfOpen && leased() >= options_.trials) return false;
    calls.push_back({stretch_, state_ == State::HalfOpen, now_});
    return true;
  }
  // Whether the breaker opened by it; the caller then tells for how long.
  bool report(size_t id, CallOutcome outcome, Time now) {
    see(now);
    Call& call = calls[id];
    call.over = true;
    if (call.stretch != stretch_ || outcome == CallOutcome::Ignored) return false;
    const bool failed = outcome == CallOutcome::Failure;
    outcomes_.push_back({now_, failed});
    if (call.trial) {
      ++(failed ? bad_ : good_);
      if (good_ == options_.trial_successes) {
        outcomes_.clear();
        enter(State::Closed);
        closed_at_ = now_;
      } else if (good_ + (options_.trial_calls - good_ - bad_) < options_.trial_successes) {
        return true;
      }
      return false;
    }
    return failed && options_.on && force_ == Force::Auto && (run() || share());
  }
  void opened(Nanos longest, Nanos chosen) {
    // Steps of growth: those before, less one for each whole open time since it closed.
    if (state_ == State::Closed && closed_at_ >= 0) {
      steps_ -= std::min(steps_, (now_ - closed_at_) / options_.open);
    }
    Nanos expected = options_.open;
    for (Nanos i = 0; i < steps_; ++i)
      expected = std::min(options_.open_max, expected * options_.open_factor);
    ASSERT_EQ(longest, expected);
    ASSERT_LE(chosen, expected);
    ASSERT_GE(chosen, expected - expected * options_.open_jitter / 100);
    if (expected < options_.open_max && options_.open_factor > 1) ++steps_;
    open_until_ = now_ + chosen;
    enter(State::Open);
  }
  void force(Force force, Time now) {
    see(now);
    if (force == force_) return;
    force_ = force;
    outcomes_.clear();
    steps_ = 0;
    closed_at_ = -1;
    enter(force == Force::Open ? State::Open : State::Closed);
  }
  Time retry_at(Time now) {
    see(now);
    if (force_ == Force::Open) return kNever;
    if (state_ == State::Open) return open_until_ <= now_ ? now : open_until_;
    if (state_ == State::HalfOpen && leased() >= options_.trials) {
      Time first = kNever;
      for (const Call& call : calls) {
        if (holds(call)) first = std::min(first, call.leased_at + options_.trial_lease);
      }
      return first;
    }
    return now;
  }
  Nanos longest() const {
    Nanos steps = steps_;
    if (state_ == State::Closed && closed_at_ >= 0) {
      steps -= std::min(steps, (now_ - closed_at_) / options_.open);
    }
    Nanos longest = options_.open;
    for (Nanos i = 0; i < steps; ++i)
      longest = std::min(options_.open_max, longest * options_.open_factor);
    return longest;
  }
  Breaker::Window window(Time now) {
    see(now);
    Breaker::Window window;
    for (const Outcome* outcome : recent()) {
      ++window.calls;
      window.failures += outcome->failed ? 1 : 0;
    }
    return window;
  }
  State state() const { return state_; }
  size_t leased() const {
    return static_cast<size_t>(
        std::count_if(calls.begin(), calls.end(), [&](const Call& call) { return holds(call); }));
  }

  std::vector<Call> calls;

 private:
  struct Outcome {
    Time at;
    bool failed;
  };

  void see(Time now) { now_ = std::max(now_, now); }
  void enter(State state) {
    state_ = state;
    ++stretch_;
    good_ = bad_ = 0;
  }
  bool holds(const Call& call) const {
    return call.trial && !call.over && call.stretch == stretch_ &&
           call.leased_at + options_.trial_lease > now_;
  }
  std::vector<const Outcome*> recent() const {
    std::vector<const Outcome*> list;
    for (auto it = outcomes_.rbegin(); it != outcomes_.rend(); ++it) {
      if (list.size() == options_.window_calls || now_ - it->at >= options_.window) break;
      list.push_back(&*it);
    }
    return list;
  }
  bool run() const {
    if (options_.consecutive == 0 || outcomes_.size() < options_.consecutive) return false;
    return std::all_of(outcomes_.end() - options_.consecutive, outcomes_.end(),
                       [](const Outcome& outcome) { return outcome.failed; });
  }
  bool share() const {
    const std::vector<const Outcome*> list = recent();
    const auto failures = std::count_if(list.begin(), list.end(),
                                        [](const Outcome* outcome) { return outcome->failed; });
    if (list.size() < std::min(options_.min_calls, options_.window_calls)) return false;
    return static_cast<double>(failures) / static_cast<double>(list.size()) >=
           options_.failure_rate / 100.0 - 1e-12;
  }

  BreakerOptions options_;
  State state_ = State::Closed;
  Force force_ = Force::Auto;
  Time now_ = 0;
  int stretch_ = 0;
  std::vector<Outcome> outcomes_;
  uint32_t good_ = 0, bad_ = 0;
  Nanos steps_ = 0;
  Time closed_at_ = -1;
  Time open_until_ = 0;
};

BreakerOptions random_options(Rng& rng) {
  BreakerOptions options;
  options.on = rng.up_to(15) != 0;
  options.window_calls = static_cast<uint32_t>(rng.between(1, 30));
  options.window = rng.between(1, 200);
  options.min_calls = static_cast<uint32_t>(rng.between(1, 12));
  options.failure_rate = static_cast<uint32_t>(rng.between(1, 100));
  options.consecutive = static_cast<uint32_t>(rng.up_to(8));
  options.open = rng.between(1, 50);
  options.open_max = options.open * rng.between(1, 20);
  options.open_factor = static_cast<uint32_t>(rng.between(1, 4));
  options.open_jitter = static_cast<uint32_t>(rng.up_to(100));
  options.trials = static_cast<uint32_t>(rng.between(1, 3));
  options.trial_successes = static_cast<uint32_t>(rng.between(1, 4));
  options.trial_calls = options.trial_successes + static_cast<uint32_t>(rng.up_to(3));
  options.trial_lease = rng.between(1, 100);
  return options;
}

struct Coverage {
  uint64_t opened = 0, closed = 0, trials = 0, late = 0;
};

void run(uint64_t seed, Coverage& coverage) {
  Rng rng(seed);
  const BreakerOptions options = random_options(rng);
  Breaker breaker(options, seed);
  Model model(options);
  std::vector<std::pair<CallPermit, size_t>> running;
  Time now = 0;
  uint64_t percent = rng.up_to(100);
  for (int step = 0; step < 400; ++step) {
    const uint64_t kind = rng.up_to(99);
    if (kind < 45) {
      CallPermit permit = breaker.admit(now);
      const bool held = model.admit(now);
      ASSERT_EQ(permit.held(), held);
      if (held) running.push_back({permit, model.calls.size() - 1});
    } else if (kind < 85) {
      if (running.empty()) continue;
      std::swap(running[rng.up_to(running.size() - 1)], running.back());
      auto [permit, id] = running.back();
      running.pop_back();
      const CallOutcome outcome = rng.up_to(9) == 0         ? CallOutcome::Ignored
                                  : rng.up_to(99) < percent ? CallOutcome::Failure
                                                            : CallOutcome::Success;
      coverage.late += permit.generation != breaker.generation() ? 1 : 0;
      breaker.report(permit, outcome, now);
      if (model.report(id, outcome, now)) {
        ASSERT_EQ(breaker.state(), State::Open);
        model.opened(model.longest(), breaker.open_time());
        if (testing::Test::HasFatalFailure()) return;
      }
    } else if (kind < 97) {
      now += rng.between(0, rng.up_to(9) == 0 ? 300 : 12);
    } else if (kind == 97) {
      now -= rng.between(0, 50);
    } else if (kind == 98) {
      percent = rng.up_to(100);
    } else if (rng.up_to(3) == 0) {
      const auto force = static_cast<Force>(rng.up_to(2));
      breaker.force(force, now);
      model.force(force, now);
    }
    ASSERT_EQ(breaker.state(), model.state());
    ASSERT_EQ(breaker.retry_at(now), model.retry_at(now));
    const Breaker::Window window = breaker.window(now);
    const Breaker::Window expected = model.window(now);
    ASSERT_EQ(window.calls, expected.calls);
    ASSERT_EQ(window.failures, expected.failures);
    ASSERT_LE(breaker.trials_running(), options.trials);
  }
  coverage.opened += breaker.opened();
  coverage.closed += breaker.closed();
  coverage.trials += breaker.trials_made();
}

TEST(BreakerModel, AgreesOverThousandsOfSeeds) {
  Coverage coverage;
  constexpr uint64_t kSeeds = 5000;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    run(seed, coverage);
    if (testing::Test::HasFatalFailure()) return;
  }
  // The walks reach what they are meant to compare.
  EXPECT_GT(coverage.opened, kSeeds);
  EXPECT_GT(coverage.closed, kSeeds / 2);
  EXPECT_GT(coverage.trials, kSeeds * 2);
  EXPECT_GT(coverage.late, kSeeds);
}

}  // namespace
}  // namespace conpool::policy
