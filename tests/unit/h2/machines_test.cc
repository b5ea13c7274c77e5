// The parts without a connection: the bucket of odd frames, window growth, the output.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/bytes.h"
#include "base/rng.h"
#include "h2/glitches.h"
#include "h2/output.h"
#include "h2/window.h"

namespace conpool::h2 {
namespace {

TEST(H2Glitches, BurstThenRate) {
  Glitches bucket(10, 100);
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(bucket.spend(kSecond));
  EXPECT_FALSE(bucket.spend(kSecond));
  EXPECT_FALSE(bucket.spend(kSecond + 10 * kMillisecond - 1));
  EXPECT_TRUE(bucket.spend(kSecond + 10 * kMillisecond));
  EXPECT_FALSE(bucket.spend(kSecond + 10 * kMillisecond));
  // However long the silence, no more than the burst.
  const Time late = kHour * 24 * 365 * 100;
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(bucket.spend(late));
  EXPECT_FALSE(bucket.spend(late));
  EXPECT_EQ(bucket.count(), 25U);
}

TEST(H2Glitches, TheLargestBucket) {
  Glitches bucket(1'000'000, 1'000'000);
  for (int i = 0; i < 1'000'000; ++i)
    ASSERT_TRUE(bucket.spend(0));
  EXPECT_FALSE(bucket.spend(0));
  EXPECT_TRUE(bucket.spend(kMicrosecond));
}

TEST(H2Glitches, CreditIsBounded) {
  Credit credit(3);
  EXPECT_FALSE(credit.spend());
  credit.add(1);
  EXPECT_TRUE(credit.spend());
  EXPECT_FALSE(credit.spend());
  credit.add(UINT32_MAX);
  credit.add(5);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(credit.spend());
  EXPECT_FALSE(credit.spend());
}

TEST(H2Window, GrowsWhenItIsTheLimit) {
  WindowGrowth window(1000, 5000);
  const Nanos rtt = 10 * kMillisecond;
  EXPECT_EQ(window.arrived(500, 0, rtt, 0), 0U);
  EXPECT_EQ(window.arrived(500, kMillisecond, rtt, 0), 0U);
  EXPECT_EQ(window.arrived(1000, rtt - 1, rtt, 0), 0U);
  EXPECT_EQ(window.arrived(2000, rtt, rtt, 0), 2000U);  // twice at most
  EXPECT_EQ(window.arrived(1, 2 * rtt, rtt, 0), 4000U);
  EXPECT_EQ(window.arrived(4000, 3 * rtt, rtt, 0), 0U);
  EXPECT_EQ(window.arrived(1, 4 * rtt, rtt, 0), 5000U);
  EXPECT_EQ(window.arrived(1'000'000, 5 * rtt, rtt, 0), 0U);
  EXPECT_EQ(window.window(), 5000U);
}

TEST(H2Window, StaysWhenThePathIsTheLimit) {
  WindowGrowth window(1'000'000, 100'000'000);
  for (int i = 0; i < 10000; ++i)  // 600 KB each 10 ms, six tenths of the window
    EXPECT_EQ(window.arrived(60000, i * kMillisecond, 10 * kMillisecond, 0), 0U);
}

TEST(H2Window, ALateSampleCountsItsWholeTime) {
  WindowGrowth window(1000, 100000);
  EXPECT_EQ(window.arrived(1000, 0, kMillisecond, 0), 0U);
  EXPECT_EQ(window.arrived(1000, kSecond, kMillisecond, 0), 0U);  // a pause: no bandwidth
}

TEST(H2Window, NeedsAReader) {
  WindowGrowth window(1000, 100000);
  EXPECT_EQ(window.arrived(1000, 0, kSecond, 1000), 0U);
  EXPECT_EQ(window.arrived(1000, kSecond, kSecond, 501), 0U);
  EXPECT_EQ(window.arrived(1000, 2 * kSecond, kSecond, 500), 2000U);
}

TEST(H2Window, NeedsARoundTrip) {
  WindowGrowth window(1000, 100000);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(window.arrived(100000, i * kSecond, 0, 0), 0U);
}

TEST(H2Output, GivesBackWhatWasAppended) {
  Rng rng(1);
  Output output;
  std::string in;
  std::string out;
  while (in.size() < 3'000'000) {
    std::string bytes(rng.up_to(100'000), 'x');
    for (char& byte : bytes)
      byte = static_cast<char>(rng.next());
    in += bytes;
    output.append(as_bytes(bytes));
    size_t left = rng.up_to(output.size());
    while (left > 0) {
      std::array<iovec, 3> parts;
      const size_t count = output.parts(parts);
      ASSERT_GT(count, 0U);
      const size_t size = std::min(left, parts[0].iov_len);
      out.append(static_cast<const char*>(parts[0].iov_base), size);
      output.drop(size);
      left -= size;
    }
    EXPECT_EQ(output.accepted(), out.size());
    EXPECT_EQ(output.end(), in.size());
  }
  EXPECT_EQ(out, in.substr(0, out.size()));
  output.drop(output.size());
  EXPECT_TRUE(output.empty());
  output.trim();
  output.append(as_bytes("more"));
  EXPECT_EQ(output.size(), 4U);
}

}  // namespace
}  // namespace conpool::h2
