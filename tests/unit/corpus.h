// Runs a fuzz target over a stored corpus: every file of a folder, each cut at every byte, and bent
// copies of it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace conpool {

// Answers how many files there were.
inline size_t run_corpus(const char* folder, int bent_copies) {
  size_t inputs = 0;
  Rng rng(1);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)),
                                     std::istreambuf_iterator<char>());
    SCOPED_TRACE(entry.path());
    ++inputs;
    for (size_t size = 0; size <= bytes.size(); ++size) {
      const std::vector<uint8_t> part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
      LLVMFuzzerTestOneInput(part.data(), part.size());
    }
    for (int round = 0; round < bent_copies && !bytes.empty(); ++round) {
      std::vector<uint8_t> bent = bytes;
      for (uint64_t i = rng.up_to(4) + 1; i > 0; --i) {
        bent[rng.up_to(bent.size() - 1)] = static_cast<uint8_t>(rng.next());
      }
      LLVMFuzzerTestOneInput(bent.data(), bent.size());
    }
  }
  return inputs;
}

}  // namespace conpool
