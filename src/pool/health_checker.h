// HealthChecker: the active checks of one endpoint's addresses.
#pragma once

#include <memory>
#include <vector>

#include "dial/dial.h"
#include "pool/health_schedule.h"
#include "pool/probe.h"

namespace conpool::pool {

class Endpoint;

// A check dials one address and probes what it gets, all within health.timeout. It lies outside the
// endpoint's accounts and makes way for work: it needs a permit that is free, gives it up when a
// waiter wants one, and its sockets are under a cap of their own.
//
// Lifecycle: follow() (again with each change of the addresses) → checks come and go → stop(), or
// the destructor.
class HealthChecker {
 public:
  static constexpr size_t kAtOnce = 4;  // checks of one endpoint

  HealthChecker(Endpoint& endpoint, const ProbePlan& plan, uint64_t seed);
  ~HealthChecker();
  HealthChecker(const HealthChecker&) = delete;
  HealthChecker& operator=(const HealthChecker&) = delete;

  void follow(const std::vector<SocketAddress>& addresses);
  // Ends the running checks untold; no other begins.
  void stop();
  // Calls one running check off, for its permit. False without one.
  bool yield();

 private:
  class Check;
  void run();
  void ended(Check& check, const Result<void>& verdict);
  void call_off(Check& check);
  std::unique_ptr<Check> remove(Check& check);

  Endpoint& endpoint_;
  const ProbePlan& plan_;
  HealthSchedule schedule_;
  dial::SocketBudget sockets_{kAtOnce};
  dial::Environment environment_;
  std::vector<std::unique_ptr<Check>> checks_;
  Timer timer_;
  bool stopped_ = false;
};

}  // namespace conpool::pool
