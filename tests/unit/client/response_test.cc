// Whole bodies: every split gives the same bytes, and a promise of many takes no memory.
#include "client/response.h"

#include <gtest/gtest.h>

#include <string>

namespace conpool::client {
namespace {

std::string bytes_of(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>(i * 31 + i / 256);
  return bytes;
}

std::string put_together(const std::string& bytes, size_t part, uint64_t expected) {
  WholeBody body;
  if (expected > 0) body.expect(expected);
  for (size_t at = 0; at < bytes.size(); at += part)
    body.add(Slice::copy_of(as_bytes(std::string_view(bytes).substr(at, part))));
  EXPECT_EQ(body.size(), bytes.size());
  const Slice whole = body.take();
  return std::string(as_text(whole.span()));
}

TEST(WholeBody, IsTheSameHoweverItCame) {
  for (const size_t size : {0u, 1u, 4095u, 4096u, 4097u, 100000u}) {
    const std::string bytes = bytes_of(size);
    for (const size_t part : {1u, 7u, 4096u, 65536u, 200000u}) {
      if (size / part > 20000) continue;
      for (const uint64_t expected : {uint64_t{0}, uint64_t{size}, uint64_t{size / 2}})
        EXPECT_EQ(put_together(bytes, part, expected), bytes) << size << " by " << part;
    }
  }
}

TEST(WholeBody, KeepsALargePartAsItIs) {
  const Slice part = Slice::copy_of(as_bytes(bytes_of(10000)));
  WholeBody body;
  body.expect(10000);
  body.add(part);
  EXPECT_EQ(body.take().data(), part.data());
}

TEST(WholeBody, CopiesASmallPart) {
  const Slice part = Slice::copy_of(as_bytes(bytes_of(100)));
  WholeBody body;
  body.expect(100);
  body.add(part);
  const Slice whole = body.take();
  EXPECT_NE(whole.data(), part.data());
  EXPECT_EQ(whole.slab()->capacity(), 100u);
}

TEST(WholeBody, TakesMemoryForWhatCame) {
  WholeBody body;
  body.expect(uint64_t{1} << 40);
  body.add(Slice::copy_of(as_bytes(bytes_of(100))));
  EXPECT_EQ(body.take().slab()->capacity(), WholeBody::kReserved);
}

}  // namespace
}  // namespace conpool::client
