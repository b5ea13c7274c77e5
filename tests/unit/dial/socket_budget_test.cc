// The cap on racing sockets.
#include "dial/socket_budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace conpool::dial {
namespace {

struct Claim final : SocketBudget::Claim {
  int grants = 0;

 private:
  void granted() override { ++grants; }
};

TEST(SocketBudget, ServesInTheOrderOfAsking) {
  SocketBudget budget(2);
  Claim a, b, c, d;
  EXPECT_TRUE(a.request(budget));
  EXPECT_TRUE(b.request(budget));
  EXPECT_FALSE(c.request(budget));
  EXPECT_FALSE(d.request(budget));
  EXPECT_EQ(budget.in_use(), 2);
  b.release();
  EXPECT_EQ(c.grants, 1);
  EXPECT_EQ(d.grants, 0);
  EXPECT_EQ(budget.in_use(), 2);
  b.release();  // twice is harmless
  EXPECT_EQ(d.grants, 0);
}

TEST(SocketBudget, AClaimThatGoesGivesItsPlaceBackOrLeavesTheLine) {
  SocketBudget budget(1);
  auto a = std::make_unique<Claim>();
  auto b = std::make_unique<Claim>();
  Claim c;
  EXPECT_TRUE(a->request(budget));
  EXPECT_FALSE(b->request(budget));
  EXPECT_FALSE(c.request(budget));
  b.reset();
  EXPECT_EQ(c.grants, 0);
  a.reset();
  EXPECT_EQ(c.grants, 1);
  c.release();
  EXPECT_EQ(budget.in_use(), 0);
}

}  // namespace
}  // namespace conpool::dial
