// Preconnect: an op that ends once connections stand by.
#pragma once

#include "base/timer.h"
#include "ops/op.h"

namespace conpool::pool {

class Endpoint;

class Preconnect final : public ops::Task {
 public:
  Preconnect(Endpoint& endpoint, ops::Op& op, uint32_t count)
      : endpoint_(endpoint), op_(op), count_(count) {}
  void cancel(ops::Op& op, Status reason) override;
  ops::Op& op() { return op_; }
  uint32_t count() const { return count_; }

  Timer deadline;

 private:
  Endpoint& endpoint_;
  ops::Op& op_;
  const uint32_t count_;
};

}  // namespace conpool::pool
