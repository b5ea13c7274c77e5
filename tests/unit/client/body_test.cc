// Bodies in memory: what is peeked, taken, begun anew, and told.
#include "client/body.h"

#include <gtest/gtest.h>

namespace conpool::client {
namespace {

struct User final : BodyUser {
  void body_moved() override { ++moved; }
  void body_ready() override {}
  void body_failed(const Failure&) override {}
  int moved = 0;
};

TEST(MemoryBody, GivesItsBytesOnceToEachSending) {
  const std::string_view text = "0123456789";
  User user;
  MemoryBody body(user, as_bytes(text).data(), text.size());
  for (int sending = 0; sending < 2; ++sending) {
    body.begin();
    EXPECT_EQ(body.taken(), 0u);
    EXPECT_EQ(as_text(body.peek().bytes), text);
    EXPECT_TRUE(body.peek().last);
    body.take(4);
    EXPECT_EQ(as_text(body.peek().bytes), "456789");
    body.take(6);
    EXPECT_TRUE(body.peek().bytes.empty());
    EXPECT_TRUE(body.peek().last);
    EXPECT_EQ(body.taken(), 10u);
  }
  EXPECT_TRUE(body.repeatable());
  EXPECT_FALSE(body.starved());
  EXPECT_EQ(body.size(), std::optional<uint64_t>(10));
  // The stall's clock runs anew with every part that was taken.
  EXPECT_EQ(user.moved, 4);
}

TEST(MemoryBody, MayBeEmpty) {
  User user;
  MemoryBody body(user, nullptr, 0);
  body.begin();
  EXPECT_TRUE(body.peek().bytes.empty());
  EXPECT_TRUE(body.peek().last);
  EXPECT_EQ(body.size(), std::optional<uint64_t>(0));
}

}  // namespace
}  // namespace conpool::client
