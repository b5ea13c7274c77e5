// The cap on sockets that race at once, over all dials of a pool.
#pragma once

#include <cstdint>

#include "base/list.h"

namespace conpool::dial {

struct BudgetTag {};

// An attempt's claim on one socket. Waits in line when the cap is reached; destroying it gives the
// place back.
class SocketBudget {
 public:
  class Claim : public ListNode<BudgetTag> {
   public:
    Claim() = default;
    virtual ~Claim() { release(); }
    // True: the place is there now. False: granted() is called once it is.
    bool request(SocketBudget& budget);
    void release();

   protected:
    virtual void granted() {}

   private:
    friend class SocketBudget;
    SocketBudget* budget_ = nullptr;
    bool holds_ = false;
  };

  explicit SocketBudget(int64_t limit) : limit_(limit) {}
  int64_t in_use() const { return in_use_; }

 private:
  const int64_t limit_;
  int64_t in_use_ = 0;
  List<Claim, BudgetTag> waiting_;
};

}  // namespace conpool::dial
