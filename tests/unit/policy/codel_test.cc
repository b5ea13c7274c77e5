// When a line of waiters stands, in exact virtual times.
#include "policy/codel.h"

#include <gtest/gtest.h>

namespace conpool::policy {
namespace {

constexpr Time at(int64_t milliseconds) {
  return milliseconds * kMillisecond;
}

struct Line {
  Codel codel{at(5), at(100)};
};

TEST(CodelTest, AWholeIntervalAboveTheTargetStands) {
  Line line;
  line.codel.looked(at(0), at(6));
  EXPECT_FALSE(line.codel.standing());
  line.codel.served(at(50), at(30));
  line.codel.looked(at(99), at(60));
  EXPECT_FALSE(line.codel.standing());
  line.codel.looked(at(100), at(60));
  EXPECT_TRUE(line.codel.standing());
}

TEST(CodelTest, ServiceAloneShowsItToo) {
  Line line;
  line.codel.served(at(10), at(6));
  line.codel.served(at(110), at(90));
  EXPECT_TRUE(line.codel.standing());
}

TEST(CodelTest, TheTargetItselfIsInTime) {
  Line line;
  for (int i = 0; i < 1000; ++i) {
    line.codel.served(at(i), at(5));
    ASSERT_FALSE(line.codel.standing());
  }
  for (int i = 1000; i < 2000; ++i) {
    line.codel.looked(at(i), at(5));
    ASSERT_FALSE(line.codel.standing());
  }
}

TEST(CodelTest, OneInTimePerIntervalKeepsItFlowing) {
  Line line;
  for (int i = 0; i < 1000; ++i) {
    line.codel.looked(at(i * 10), at(50));
    if (i % 9 == 0) line.codel.served(at(i * 10), at(4));
    ASSERT_FALSE(line.codel.standing()) << i;
  }
}

TEST(CodelTest, ABurstThatEmptiesWithinTheIntervalFlows) {
  Line line;
  for (int burst = 0; burst < 100; ++burst) {
    const Time start = at(burst * 200);
    for (int i = 0; i < 99; ++i)
      line.codel.served(start + at(i), at(6 + i));
    line.codel.emptied(start + at(99));
    ASSERT_FALSE(line.codel.standing());
  }
}

TEST(CodelTest, StandingItIsNotEndedByTheNewestButByEmptinessOrAYoungOldest) {
  for (const bool empties : {true, false}) {
    Line line;
    line.codel.looked(at(0), at(6));
    line.codel.looked(at(100), at(106));
    ASSERT_TRUE(line.codel.standing());
    // Newest-first: those served have hardly waited, those behind them still do.
    for (int i = 0; i < 50; ++i) {
      line.codel.served(at(101 + i), at(1));
      line.codel.looked(at(101 + i), at(107 + i));
      ASSERT_TRUE(line.codel.standing());
    }
    if (empties) {
      line.codel.emptied(at(160));
    } else {
      line.codel.looked(at(160), at(5));
    }
    EXPECT_FALSE(line.codel.standing());
    // And it takes a whole interval again.
    line.codel.looked(at(161), at(50));
    line.codel.looked(at(260), at(150));
    EXPECT_FALSE(line.codel.standing());
    line.codel.looked(at(261), at(151));
    EXPECT_TRUE(line.codel.standing());
  }
}

TEST(CodelTest, AClockBackwardsDoesNotMakeItStand) {
  Line line;
  line.codel.looked(at(1000), at(50));
  line.codel.looked(at(10), at(50));
  line.codel.served(at(0), at(50));
  EXPECT_FALSE(line.codel.standing());
  line.codel.looked(at(1100), at(50));
  EXPECT_TRUE(line.codel.standing());
}

}  // namespace
}  // namespace conpool::policy
