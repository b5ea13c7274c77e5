// Random programs of HTTP over many seeds.
//
//   test-sim-http --seeds 10000 --from 1     runs so many; without it, the routine number
#include <gtest/gtest.h>

#include <iostream>
#include <string>

#include "sim/http_random_program.h"

namespace conpool::sim {

uint64_t http_seeds_to_run = 300;
uint64_t http_first_seed = 1;

namespace {

TEST(HttpRandom, ProgramsKeepTheirPromises) {
  for (uint64_t seed = http_first_seed; seed < http_first_seed + http_seeds_to_run; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::string log = HttpRandomProgram(seed).run();
    if (seed % 10 == 0 && !HasFailure()) {
      EXPECT_TRUE(log == HttpRandomProgram(seed).run()) << "another log";
    }
    if (HasFailure()) {
      std::cerr << "stopped at seed " << seed << ": test-sim-http --seeds 1 --from " << seed
                << "\n";
      return;
    }
  }
}

}  // namespace

}  // namespace conpool::sim

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seeds") conpool::sim::http_seeds_to_run = std::stoull(argv[i + 1]);
    if (name == "--from") conpool::sim::http_first_seed = std::stoull(argv[i + 1]);
    ::testing::GTEST_FLAG(filter) = "HttpRandom.*";
  }
  return RUN_ALL_TESTS();
}
