// Runs the fuzz target over its corpus, over cut and bent copies of it, and over the table.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/rng.h"
#include "unit/http1/response_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace conpool::http1 {
namespace {

TEST(Http1Corpus, EveryInputPasses) {
  size_t inputs = 0;
  Rng rng(1);
  for (const auto& entry : std::filesystem::directory_iterator(HTTP1_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)),
                                     std::istreambuf_iterator<char>());
    SCOPED_TRACE(entry.path());
    ++inputs;
    for (size_t size = 0; size <= bytes.size(); ++size) {
      const std::vector<uint8_t> part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
      LLVMFuzzerTestOneInput(part.data(), part.size());
    }
    for (int round = 0; round < 500 && !bytes.empty(); ++round) {
      std::vector<uint8_t> bent = bytes;
      for (uint64_t i = rng.up_to(4) + 1; i > 0; --i) {
        bent[rng.up_to(bent.size() - 1)] = static_cast<uint8_t>(rng.next());
      }
      LLVMFuzzerTestOneInput(bent.data(), bent.size());
    }
  }
  EXPECT_GE(inputs, 40U);
}

TEST(Http1Corpus, EveryRowOfTheTablePasses) {
  for (const table::Case& row : table::response_table()) {
    SCOPED_TRACE(row.name);
    for (const char circumstances : {0, 1, 2, 4, 7}) {
      for (const char cuts : {0, 1, 77}) {
        const std::string input = std::string{circumstances, cuts} + row.bytes;
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
      }
    }
  }
}

}  // namespace
}  // namespace conpool::http1
