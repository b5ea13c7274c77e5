// Tests of the DNS cache: every life of an answer, with exact times.
#include "resolver/cache.h"

#include <gtest/gtest.h>

#include "message_builder.h"

namespace conpool::resolver {
namespace {

using Kind = CacheFinding::Kind;
using testing::ip;

const std::string kName = "example.test";
const Failure kNotFound{.status = Status::E_DNS_NOT_FOUND};
const Failure kServfail{.status = Status::E_DNS_SERVER_FAILURE};

std::vector<SocketAddress> one() {
  return {ip("192.0.2.1")};
}

struct CacheTest : ::testing::Test {
  CacheRules rules;
  Kind kind(Cache& cache, Time now, Family family = Family::V4) {
    return cache.find(kName, family, now).kind;
  }
};

TEST_F(CacheTest, ST_14_AnAnswerHoldsForItsTtl) {
  Cache cache(rules);
  EXPECT_EQ(kind(cache, 0), Kind::Miss);
  EXPECT_EQ(cache.put_addresses(kName, Family::V4, one(), 2 * kSecond, 100), 100 + 2 * kSecond);
  const CacheFinding found = cache.find(kName, Family::V4, 99 + 2 * kSecond);
  EXPECT_EQ(found.kind, Kind::Fresh);
  EXPECT_EQ(found.addresses, one());
  EXPECT_EQ(found.expires, 100 + 2 * kSecond);
  EXPECT_EQ(kind(cache, 100 + 2 * kSecond), Kind::Stale);
}

TEST_F(CacheTest, FamiliesAreApart) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kMinute, 0);
  EXPECT_EQ(kind(cache, 1, Family::V6), Kind::Miss);
  cache.put_negative(kName, Family::V6, kNotFound, kMinute, 0);
  EXPECT_EQ(kind(cache, 1, Family::V6), Kind::Negative);
  EXPECT_EQ(kind(cache, 1, Family::V4), Kind::Fresh);
}

TEST_F(CacheTest, ST_14_TtlsAreClamped) {
  Cache cache(rules);
  EXPECT_EQ(cache.put_addresses(kName, Family::V4, one(), 0, 0), kSecond);
  EXPECT_EQ(cache.put_addresses(kName, Family::V4, one(), kHour, 0), 5 * kMinute);
  EXPECT_EQ(cache.put_negative(kName, Family::V4, kNotFound, kHour, 0), kMinute);
  EXPECT_EQ(cache.put_negative(kName, Family::V4, kNotFound, 0, 0), kSecond);
}

TEST_F(CacheTest, ST_14_TtlZeroIsNotKeptWhenTheOptionAllowsIt) {
  rules.min_ttl = 0;
  rules.stale_max = 0;
  Cache cache(rules);
  EXPECT_EQ(cache.put_addresses(kName, Family::V4, one(), 0, 5), 5);
  EXPECT_EQ(kind(cache, 5), Kind::Miss);
}

TEST_F(CacheTest, NegativeAnswersExpire) {
  Cache cache(rules);
  cache.put_negative(kName, Family::V4, kNotFound, 3 * kSecond, 0);
  const CacheFinding found = cache.find(kName, Family::V4, 3 * kSecond - 1);
  EXPECT_EQ(found.kind, Kind::Negative);
  EXPECT_EQ(found.failure.status, Status::E_DNS_NOT_FOUND);
  EXPECT_EQ(kind(cache, 3 * kSecond), Kind::Miss);
}

TEST_F(CacheTest, ST_19_StaleEndsWithItsLimit) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kSecond, 0);
  EXPECT_EQ(kind(cache, kSecond + kHour - 1), Kind::Stale);
  EXPECT_EQ(kind(cache, kSecond + kHour), Kind::Miss);
  rules.stale_max = 0;
  Cache never(rules);
  never.put_addresses(kName, Family::V4, one(), kSecond, 0);
  EXPECT_EQ(kind(never, kSecond), Kind::Miss);
}

TEST_F(CacheTest, ST_19_StaleIsNeverServedOverANegativeAnswer) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kSecond, 0);
  cache.put_negative(kName, Family::V4, kNotFound, kSecond, kSecond);
  EXPECT_EQ(kind(cache, kSecond + 1), Kind::Negative);
  EXPECT_EQ(kind(cache, 2 * kSecond), Kind::Miss);
}

TEST_F(CacheTest, FailuresBackOffAndDouble) {
  Cache cache(rules);
  Time now = 0;
  for (const int64_t seconds : {1, 2, 4, 8, 16, 30, 30}) {
    EXPECT_EQ(cache.put_failure(kName, Family::V4, kServfail, now), now + seconds * kSecond);
    EXPECT_EQ(kind(cache, now + seconds * kSecond - 1), Kind::Failed);
    now += seconds * kSecond;
    EXPECT_EQ(kind(cache, now), Kind::Miss);
  }
}

TEST_F(CacheTest, AnAnswerEndsTheRowOfFailures) {
  Cache cache(rules);
  cache.put_failure(kName, Family::V4, kServfail, 0);
  cache.put_failure(kName, Family::V4, kServfail, kSecond);
  cache.put_addresses(kName, Family::V4, one(), kSecond, 3 * kSecond);
  EXPECT_EQ(cache.put_failure(kName, Family::V4, kServfail, 4 * kSecond), 5 * kSecond);
}

TEST_F(CacheTest, FailuresFarApartAreNoRow) {
  Cache cache(rules);
  cache.put_failure(kName, Family::V4, kServfail, 0);
  cache.put_failure(kName, Family::V4, kServfail, kSecond);  // until 3 s
  EXPECT_EQ(cache.put_failure(kName, Family::V4, kServfail, 33 * kSecond + 1), 34 * kSecond + 1);
}

TEST_F(CacheTest, ST_19_AFailureLeavesTheStaleAnswerStanding) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kSecond, 0);
  const Time retry = cache.put_failure(kName, Family::V4, kServfail, 2 * kSecond);
  const CacheFinding standing = cache.find(kName, Family::V4, 2 * kSecond);
  EXPECT_EQ(standing.kind, Kind::Standing);
  EXPECT_EQ(standing.addresses, one());
  EXPECT_EQ(standing.expires, retry);
  EXPECT_EQ(kind(cache, retry), Kind::Stale);
}

TEST_F(CacheTest, AFailedRefreshLeavesTheFreshAnswer) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), 100 * kSecond, 0);
  EXPECT_TRUE(cache.find(kName, Family::V4, 95 * kSecond).refresh);
  cache.put_failure(kName, Family::V4, kServfail, 95 * kSecond);
  const CacheFinding found = cache.find(kName, Family::V4, 95 * kSecond);
  EXPECT_EQ(found.kind, Kind::Fresh);
  EXPECT_FALSE(found.refresh);  // not before the backoff ends
  EXPECT_TRUE(cache.find(kName, Family::V4, 96 * kSecond).refresh);
}

TEST_F(CacheTest, PrefetchBeginsInTheLastTenth) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), 100 * kSecond, 0);
  EXPECT_FALSE(cache.find(kName, Family::V4, 90 * kSecond - 1).refresh);
  EXPECT_TRUE(cache.find(kName, Family::V4, 90 * kSecond).refresh);
  cache.put_addresses(kName, Family::V4, one(), kPrefetchLeastTtl - 1, 0);
  EXPECT_FALSE(cache.find(kName, Family::V4, kPrefetchLeastTtl - 2).refresh);
  rules.prefetch_percent = 0;
  Cache never(rules);
  never.put_addresses(kName, Family::V4, one(), 100 * kSecond, 0);
  EXPECT_FALSE(never.find(kName, Family::V4, 100 * kSecond - 1).refresh);
}

TEST_F(CacheTest, ASuspectIsAskedAgainOncePerSecond) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kMinute, 0);
  cache.mark_suspect(kName, Family::V4, 10);
  EXPECT_EQ(kind(cache, kSecond - 1), Kind::Fresh);  // the answer is younger than a second
  EXPECT_EQ(kind(cache, kSecond), Kind::Stale);
  EXPECT_EQ(kind(cache, 2 * kSecond - 1), Kind::Fresh);  // asked a moment ago
  EXPECT_EQ(kind(cache, 2 * kSecond), Kind::Stale);
  cache.put_addresses(kName, Family::V4, one(), kMinute, 3 * kSecond);
  EXPECT_EQ(kind(cache, 5 * kSecond), Kind::Fresh);
}

TEST_F(CacheTest, ASuspectWhoseRefreshFailsStaysUsable) {
  rules.stale_max = 0;
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kMinute, 0);
  cache.mark_suspect(kName, Family::V4, kSecond);
  EXPECT_EQ(kind(cache, kSecond), Kind::Stale);
  cache.put_failure(kName, Family::V4, kServfail, 2 * kSecond);
  EXPECT_EQ(kind(cache, 2 * kSecond), Kind::Standing);
}

TEST_F(CacheTest, TheLeastRecentlyUsedGoesFirst) {
  rules.capacity = 2;
  Cache cache(rules);
  cache.put_addresses("a.test", Family::V4, one(), kMinute, 0);
  cache.put_addresses("b.test", Family::V4, one(), kMinute, 0);
  EXPECT_EQ(cache.find("a.test", Family::V4, 1).kind, Kind::Fresh);
  cache.put_addresses("c.test", Family::V4, one(), kMinute, 2);
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(cache.find("a.test", Family::V4, 3).kind, Kind::Fresh);
  EXPECT_EQ(cache.find("b.test", Family::V4, 3).kind, Kind::Miss);
}

TEST_F(CacheTest, CapacityZeroKeepsNothing) {
  rules.capacity = 0;
  Cache cache(rules);
  EXPECT_EQ(cache.put_addresses(kName, Family::V4, one(), kMinute, 0), kMinute);
  EXPECT_EQ(kind(cache, 0), Kind::Miss);
  EXPECT_EQ(cache.put_failure(kName, Family::V4, kServfail, 7), 7);
}

TEST_F(CacheTest, FlushForgetsAll) {
  Cache cache(rules);
  cache.put_addresses(kName, Family::V4, one(), kMinute, 0);
  cache.flush();
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(kind(cache, 0), Kind::Miss);
}

TEST_F(CacheTest, ReadoutTellsWhatFindWould) {
  Cache cache(rules);
  std::vector<CachedAnswer> out;
  cache.read_out(kName, Family::V4, 0, &out);
  EXPECT_TRUE(out.empty());
  cache.put_addresses(kName, Family::V4, one(), kMinute, 0);
  cache.put_negative(kName, Family::V6, kNotFound, kMinute, 0);
  cache.read_out(kName, Family::V6, kSecond, &out);
  cache.read_out(kName, Family::V4, kSecond, &out);
  cache.read_out(kName, Family::V4, 2 * kMinute, &out);
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[0].kind, Kind::Negative);
  EXPECT_EQ(out[1].kind, Kind::Fresh);
  EXPECT_EQ(out[1].expires, kMinute);
  EXPECT_EQ(out[2].kind, Kind::Stale);
}

}  // namespace
}  // namespace conpool::resolver
