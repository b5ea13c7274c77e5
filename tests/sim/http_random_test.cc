// Random programs of HTTP over many seeds.
//
//   test-sim-http --seeds 10000 --from 1     runs so many; without it, the routine number
#include <gtest/gtest.h>

#include <string>

namespace conpool::sim {

uint64_t http_seeds_to_run = 300;
uint64_t http_first_seed = 1;

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
