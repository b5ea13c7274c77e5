// The endpoint's machine against a naive account of the same events: random programs from seeds.
#include <gtest/gtest.h>

#include "unit/pool/machine_rig.h"

namespace conpool::pool {
namespace {

// Keeps its own books, from the events it causes and the actions it sees.
class RandomProgram : public MachineRig {
 public:
  RandomProgram(const MachineLimits& limits, uint64_t seed)
      : MachineRig(limits, seed), limits_(limits), rng_(seed * 7919 + 1) {
    permits = rng_.between(1, limits.max_connections + 2);
    all_permits_ = permits;
  }

  void steps(int count) {
    for (int i = 0; i < count && !::testing::Test::HasFailure(); ++i) {
      step();
      check();
    }
  }

  // No event is left that could hold anything open.
  void finish() {
    machine.shut_down(now, now);
    dispatch();
    EXPECT_TRUE(machine.empty());
    EXPECT_EQ(permits_out, 0);
    EXPECT_EQ(ended_, started_);
    EXPECT_EQ(machine.next_deadline(), kNever);
  }

 private:
  void acted(const Action& action) override {
    switch (action.kind) {
      case Action::Kind::Grant: {
        ASSERT_FALSE(waiting_.empty());
        // First come, first served.
        EXPECT_EQ(waiting_.front(), action.waiter);
        end(action.waiter);
        auto* c = static_cast<TestConnection*>(action.connection);
        EXPECT_TRUE(open_.contains(c));
        EXPECT_TRUE(c->good || leases_[c] > 0)
            << "a connection that shows signs of death was granted";
        EXPECT_LT(leases_[c], c->capacity.hard);
        EXPECT_FALSE(held_.contains(c));
        ++leases_[c];
        break;
      }
      case Action::Kind::FailWaiter:
        end(action.waiter);
        break;
      case Action::Kind::Renewing:
        renewed_.insert(static_cast<TestConnection*>(action.connection));
        break;
      case Action::Kind::Close: {
        auto* c = static_cast<TestConnection*>(action.connection);
        EXPECT_TRUE(open_.contains(c) || draining_.contains(c)) << "closed twice";
        open_.erase(c);
        draining_.erase(c);
        checking_.erase(c);
        held_.erase(c);
        if (leases_[c] > 0) orphans_.insert(c);
        break;
      }
      case Action::Kind::Check: {
        auto* c = static_cast<TestConnection*>(action.connection);
        EXPECT_EQ(leases_[c], 0u);
        checking_.insert(c);
        held_.insert(c);
        break;
      }
      default:
        break;
    }
  }
  void end(WaiterRecord* waiter) {
    EXPECT_EQ(std::count(waiting_.begin(), waiting_.end(), waiter), 1);
    std::erase(waiting_, waiter);
    ++ended_;
  }

  template <typename Set>
  auto any(Set& set) {
    auto at = set.begin();
    std::advance(at, rng_.between(0, static_cast<int64_t>(set.size()) - 1));
    return *at;
  }
  TestConnection* leased() {
    std::vector<TestConnection*> all;
    for (const auto& c : connections) {
      if (leases_[c.get()] > 0) all.push_back(c.get());
    }
    return all.empty() ? nullptr : any(all);
  }

  void step() {
    switch (rng_.between(0, 13)) {
      case 0:
      case 1:
      case 2:
        add();
        break;
      case 3:
        if (!waiting_.empty()) {
          WaiterRecord* waiter = any(waiting_);
          end(waiter);
          machine.remove_waiter(*waiter);
        }
        break;
      case 4:
      case 5:
        if (!dials.empty()) succeed(any(dials));
        break;
      case 6:
        if (!dials.empty()) dial_fails(any(dials));
        break;
      case 7:
      case 8:
        if (TestConnection* c = leased()) {
          --leases_[c];
          const bool reusable = rng_.between(0, 9) > 0;
          if (!reusable && open_.contains(c) && leases_[c] > 0) move_to_draining(c);
          if (orphans_.contains(c)) {
            if (leases_[c] == 0) orphans_.erase(c);
          }
          give_back(*c, reusable);
        }
        break;
      case 9:
        if (!checking_.empty()) {
          TestConnection* c = any(checking_);
          checking_.erase(c);
          held_.erase(c);
          check_done(*c, rng_.between(0, 3) > 0);
        }
        break;
      case 10:
        if (!open_.empty()) {
          TestConnection* c = any(open_);
          if (rng_.between(0, 1) == 0) {
            c->good = false;  // noticed at the next peek
          } else if (rng_.between(0, 1) == 0) {
            if (leases_[c] == 0) machine.dead(*c, CloseReason::Dead);
          } else {
            if (leases_[c] > 0) move_to_draining(c);
            drain(*c);
          }
        }
        break;
      case 11:
        if (!open_.empty()) {
          TestConnection* c = any(open_);
          if (!checking_.contains(c)) {
            const bool hold = !held_.contains(c);
            hold ? (void)held_.insert(c) : (void)held_.erase(c);
            machine.set_held(*c, hold);
          }
        }
        break;
      case 12:
        pass(now + rng_.between(0, ms(200)));
        break;
      default:
        pass(now + rng_.between(0, 20 * kSecond));
        break;
    }
    dispatch();
  }
  void move_to_draining(TestConnection* c) {
    open_.erase(c);
    held_.erase(c);
    draining_.insert(c);
  }
  void add() {
    ++started_;
    waiters.push_back(std::make_unique<TestWaiter>());
    TestWaiter& waiter = *waiters.back();
    const auto deadline = [&](Nanos most) {
      return rng_.between(0, 2) == 0 ? kNever : now + rng_.between(0, most);
    };
    waiter.queue_deadline = deadline(5 * kSecond);
    waiter.dial_deadline = deadline(5 * kSecond);
    waiter.total_deadline = deadline(20 * kSecond);
    waiting_.push_back(&waiter);
    machine.add_waiter(waiter, now);
  }
  void succeed(uint64_t dial) {
    connections.push_back(std::make_unique<TestConnection>());
    TestConnection& c = *connections.back();
    open_.insert(&c);
    dials.erase(dial);
    const auto hard = static_cast<uint32_t>(rng_.between(1, 3));
    machine.dial_succeeded(dial, c, {.soft = std::min(hard, 2u), .hard = hard}, now);
  }

  // Whoever is too old to be chosen for a further lease drains, untold.
  void note_worn() {
    for (auto at = open_.begin(); at != open_.end();) {
      TestConnection* c = *at;
      if (c->state != ConnectionState::Draining) {
        ++at;
        continue;
      }
      EXPECT_TRUE(now >= c->retire_at || renewed_.contains(c) ||
                  (limits_.max_uses > 0 && c->uses >= static_cast<uint64_t>(limits_.max_uses)));
      draining_.insert(c);
      held_.erase(c);
      at = open_.erase(at);
    }
  }

  int64_t places_in_check() const {
    int64_t places = 0;
    for (const TestConnection* c : checking_)
      places += c->check_places;
    return places;
  }

  void check() {
    note_worn();
    const MachineCounts& counts = machine.counts();
    EXPECT_EQ(counts.open(), static_cast<int64_t>(open_.size()));
    EXPECT_EQ(counts.draining, static_cast<int64_t>(draining_.size()));
    EXPECT_EQ(counts.waiters, static_cast<int64_t>(waiting_.size()));
    EXPECT_EQ(counts.dialing, static_cast<int64_t>(dials.size()));
    const auto renewing = std::count_if(open_.begin(), open_.end(),
                                        [](const TestConnection* c) { return c->renewing; });
    EXPECT_LE(counts.open() + counts.dialing, limits_.max_connections + renewing);
    EXPECT_EQ(permits_out, counts.open() + counts.dialing);
    EXPECT_LE(permits_out, all_permits_);
    EXPECT_LE(counts.draining, limits_.max_draining);
    EXPECT_EQ(started_, ended_ + static_cast<int64_t>(waiting_.size()));
    int64_t idle = 0, active = 0, full = 0;
    for (TestConnection* c : open_) {
      if (held_.contains(c)) continue;
      EXPECT_EQ(c->leases, leases_[c]);
      ++(leases_[c] == 0 ? idle : leases_[c] < c->capacity.hard ? active : full);
      if (leases_[c] < c->capacity.hard) {
        EXPECT_LE(static_cast<int64_t>(waiting_.size()), places_in_check())
            << "somebody waits beside a free place";
      }
    }
    EXPECT_EQ(counts.idle, idle);
    EXPECT_EQ(counts.active, active);
    EXPECT_EQ(counts.full, full);
    EXPECT_EQ(counts.held, static_cast<int64_t>(held_.size()));
    // Nobody is left beyond its time.
    for (WaiterRecord* w : waiting_)
      EXPECT_GT(w->total_deadline, now);
  }

  const MachineLimits limits_;
  Rng rng_;
  int64_t all_permits_ = 0;
  int64_t started_ = 0;
  int64_t ended_ = 0;
  std::vector<WaiterRecord*> waiting_;
  std::set<TestConnection*> open_, draining_, checking_, held_, orphans_, renewed_;
  std::map<TestConnection*, uint32_t> leases_;
};

TEST(MachineRandom, AgreesWithANaiveAccount) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    MachineLimits limits;
    limits.max_connections = rng.between(1, 6);
    limits.max_waiters = rng.between(0, 8);
    limits.max_draining = rng.between(0, 3);
    limits.min_idle = rng.between(0, 3) == 0 ? rng.between(1, limits.max_connections) : 0;
    limits.idle_timeout = rng.between(0, 4) == 0 ? 0 : rng.between(1, 30) * kSecond;
    limits.max_age = rng.between(0, 2) == 0 ? 0 : rng.between(1, 60) * kSecond;
    limits.max_uses = rng.between(0, 2) == 0 ? rng.between(1, 5) : 0;
    limits.drain_timeout = rng.between(0, 10) * kSecond;
    limits.check_after = rng.between(0, 2) == 0 ? rng.between(0, 3) * kSecond : kNever;
    RandomProgram program(limits, seed);
    if (seed % 3 == 0) {
      program.machine.set_forecast(
          {.places = rng.between(0, 2) == 0 ? Forecast::kUndecided : rng.between(1, 3),
           .max_connections = rng.between(1, 6)});
    }
    program.steps(300);
    program.finish();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace conpool::pool
