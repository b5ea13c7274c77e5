// Runs the fuzz target over its corpus, and over cut and bent copies of it.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace conpool::h2 {
namespace {

TEST(H2Corpus, EveryInputPasses) {
  size_t inputs = 0;
  Rng rng(1);
  for (const auto& entry : std::filesystem::directory_iterator(H2_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)),
                                     std::istreambuf_iterator<char>());
    SCOPED_TRACE(entry.path());
    ++inputs;
    for (size_t size = 0; size <= bytes.size(); ++size) {
      const std::vector<uint8_t> part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
      LLVMFuzzerTestOneInput(part.data(), part.size());
    }
    for (int round = 0; round < 300 && !bytes.empty(); ++round) {
      std::vector<uint8_t> bent = bytes;
      for (uint64_t i = rng.up_to(4) + 1; i > 0; --i) {
        bent[rng.up_to(bent.size() - 1)] = static_cast<uint8_t>(rng.next());
      }
      LLVMFuzzerTestOneInput(bent.data(), bent.size());
    }
  }
  EXPECT_GE(inputs, 30U);
}

}  // namespace
}  // namespace conpool::h2
