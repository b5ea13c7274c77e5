// Random programs over many seeds.
//
//   test-sim --seeds 10000 --from 1     runs so many; without it, the routine number
#include <iostream>

#include "sim/random_program.h"

namespace conpool::sim {

uint64_t seeds_to_run = 300;
uint64_t first_seed = 1;

namespace {

std::string run_seed(uint64_t seed) {
  RandomProgram program(seed);
  return program.run();
}

// The first line in which two logs differ.
std::string difference(const std::string& a, const std::string& b) {
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at])
    ++at;
  if (at == a.size() && at == b.size()) return "";
  const size_t line = at == 0 ? 0 : a.rfind('\n', at - 1) + 1;
  return a.substr(line, a.find('\n', at) - line) + "\n  against\n" +
         b.substr(line, b.find('\n', at) - line);
}

TEST(Random, ProgramsKeepTheirPromises) {
  for (uint64_t seed = first_seed; seed < first_seed + seeds_to_run; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::string log = run_seed(seed);
    if (seed % 10 == 0 && !HasFailure()) {
      EXPECT_EQ(difference(log, run_seed(seed)), "");
    }
    if (HasFailure()) {
      std::cerr << "stopped at seed " << seed << ": test-sim --seeds 1 --from " << seed << "\n";
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
    if (name == "--seeds") conpool::sim::seeds_to_run = std::stoull(argv[i + 1]);
    if (name == "--from") conpool::sim::first_seed = std::stoull(argv[i + 1]);
    ::testing::GTEST_FLAG(filter) = "Random.*";
  }
  return RUN_ALL_TESTS();
}
