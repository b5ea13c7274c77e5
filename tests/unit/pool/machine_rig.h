// A rig around the endpoint's machine: named waiters and connections, and a log of its actions.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pool/endpoint_machine.h"

namespace conpool::pool {

inline Nanos ms(int64_t count) {
  return count * kMillisecond;
}

struct TestWaiter : WaiterRecord {
  int name = 0;
};

struct TestConnection : ConnectionRecord {
  int name = 0;
  bool good = true;  // what a peek tells
};

inline const char* reason_text(CloseReason reason) {
  static constexpr const char* kTexts[] = {"idle",        "age",     "uses",     "stale",
                                           "broken",      "dead",    "drained",  "drain timeout",
                                           "drain limit", "evicted", "vanished", "shutdown"};
  return kTexts[static_cast<size_t>(reason)];
}

// Runs the machine's actions after every event and writes them down, each with its time in
// milliseconds.
class MachineRig : public Environment {
 public:
  explicit MachineRig(const MachineLimits& limits = {}, uint64_t seed = 1)
      : machine(limits, *this, seed) {}
  virtual ~MachineRig() = default;

  TestWaiter& wait(Time queue = kNever, Time dial = kNever, Time total = kNever) {
    waiters.push_back(std::make_unique<TestWaiter>());
    TestWaiter& waiter = *waiters.back();
    waiter.name = static_cast<int>(waiters.size());
    waiter.queue_deadline = queue;
    waiter.dial_deadline = dial;
    waiter.total_deadline = total;
    machine.add_waiter(waiter, now);
    run();
    return waiter;
  }
  void cancel(TestWaiter& waiter) {
    machine.remove_waiter(waiter);
    run();
  }
  void dispatch() {
    machine.dispatch(now);
    run();
  }
  TestConnection& connected(uint64_t dial, session::Capacity capacity = {}) {
    connections.push_back(std::make_unique<TestConnection>());
    TestConnection& connection = *connections.back();
    connection.name = static_cast<int>(connections.size());
    dials.erase(dial);
    machine.dial_succeeded(dial, connection, capacity, now);
    run();
    dispatch();
    return connection;
  }
  void dial_fails(uint64_t dial) {
    dials.erase(dial);
    machine.dial_failed(dial, now);
    run();
    dispatch();
  }
  void give_back(TestConnection& connection, bool reusable = true) {
    machine.lease_ended(connection, reusable, now);
    run();
    dispatch();
  }
  void drain(TestConnection& connection) {
    machine.drain(connection, CloseReason::Vanished, now);
    run();
    dispatch();
  }
  void check_done(TestConnection& connection, bool passed) {
    machine.check_done(connection, passed, now);
    run();
    dispatch();
  }
  void shut_down(Time deadline) {
    machine.shut_down(deadline, now);
    run();
    dispatch();
  }
  // An open connection without a lease, made through a waiter that gives it back at once.
  TestConnection& idle() {
    wait();
    dispatch();
    TestConnection& connection = connected(*dials.rbegin());
    give_back(connection);
    log.clear();
    return connection;
  }
  // An open connection with a lease.
  TestConnection& leased() {
    wait();
    dispatch();
    TestConnection& connection = connected(*dials.rbegin());
    log.clear();
    return connection;
  }
  static constexpr int kMostTurns = 100'000;
  // Moves time to `until`, with every timer on the way.
  void pass(Time until) {
    for (int turns = 0; machine.next_deadline() <= until; ++turns) {
      if (turns == kMostTurns) {
        ADD_FAILURE() << "timers fire without an end at " << now;
        break;
      }
      now = std::max(now, machine.next_deadline());
      machine.on_timer(now);
      run();
      dispatch();
    }
    now = until;
  }
  std::vector<std::string> take_log() { return std::exchange(log, {}); }

  // --- Environment
  bool take_permit(bool for_waiter) override {
    if (!for_waiter) ++warm_permits_asked;
    if (permits == 0) return false;
    --permits;
    ++permits_out;
    return true;
  }
  void return_permit() override {
    ++permits;
    --permits_out;
  }
  bool usable(ConnectionRecord& connection) override {
    return static_cast<TestConnection&>(connection).good;
  }

  Time now = kSecond;
  int64_t permits = 1'000'000;
  int64_t permits_out = 0;
  int64_t warm_permits_asked = 0;
  EndpointMachine machine;
  std::vector<std::unique_ptr<TestWaiter>> waiters;
  std::vector<std::unique_ptr<TestConnection>> connections;
  std::set<uint64_t> dials;
  std::vector<std::string> log;

 protected:
  virtual void acted(const Action&) {}

 private:
  void run() {
    if (running_) return;
    running_ = true;
    // By index: an abort makes the machine append.
    for (size_t i = 0; i < machine.actions().size(); ++i) {
      const Action action = machine.actions()[i];
      write_down(action);
      if (action.kind == Action::Kind::StartDial) dials.insert(action.dial);
      acted(action);
      if (action.kind == Action::Kind::AbortDials) {
        while (!dials.empty()) {
          const uint64_t dial = *dials.begin();
          dials.erase(dials.begin());
          machine.dial_aborted(dial, now);
        }
      }
      if (action.kind == Action::Kind::AbortDial) {
        dials.erase(action.dial);
        machine.dial_aborted(action.dial, now);
      }
    }
    machine.actions().clear();
    running_ = false;
  }

  void write_down(const Action& action) {
    const auto waiter = [&] {
      return action.waiter == nullptr
                 ? std::string("-")
                 : "w" + std::to_string(static_cast<TestWaiter*>(action.waiter)->name);
    };
    const auto connection = [&] {
      return "c" + std::to_string(static_cast<TestConnection*>(action.connection)->name);
    };
    std::string line = std::to_string((now - kSecond) / kMillisecond) + " ";
    switch (action.kind) {
      case Action::Kind::Grant:
        line += waiter() + " gets " + connection();
        break;
      case Action::Kind::StartDial:
        line += "dial " + std::to_string(action.dial) + " for " + waiter();
        break;
      case Action::Kind::AbortDials:
        line += "abort";
        break;
      case Action::Kind::AbortDial:
        line += "abort dial " + std::to_string(action.dial);
        break;
      case Action::Kind::Check:
        line += "check " + connection();
        break;
      case Action::Kind::FailWaiter:
        line += waiter() + " fails " +
                (action.dial != 0 ? "with dial " + std::to_string(action.dial)
                                  : std::string(status_name(action.status)));
        break;
      case Action::Kind::Renewing:
        line += "renew " + connection();
        break;
      case Action::Kind::Close:
        line += "close " + connection() + " " + reason_text(action.reason);
        break;
    }
    log.push_back(std::move(line));
  }

  bool running_ = false;
};

}  // namespace conpool::pool
