// The cap on racing sockets.
#include "dial/socket_budget.h"

namespace conpool::dial {

bool SocketBudget::Claim::request(SocketBudget& budget) {
  budget_ = &budget;
  if (budget.in_use_ < budget.limit_) {
    ++budget.in_use_;
    holds_ = true;
    return true;
  }
  budget.waiting_.push_back(*this);
  return false;
}

void SocketBudget::Claim::release() {
  if (budget_ == nullptr) return;
  SocketBudget& budget = *budget_;
  budget_ = nullptr;
  unlink();
  if (!holds_) return;
  holds_ = false;
  --budget.in_use_;
  // The next in line takes the place over.
  if (Claim* next = budget.waiting_.pop_front()) {
    ++budget.in_use_;
    next->holds_ = true;
    next->granted();
  }
}

}  // namespace conpool::dial
