// Runs the fuzz target over its corpus, and over cut and bent copies of it.
#include "unit/corpus.h"

namespace conpool::h2 {
namespace {

TEST(H2Corpus, EveryInputPasses) {
  EXPECT_GE(run_corpus(H2_CORPUS, 300), 30U);
}

}  // namespace
}  // namespace conpool::h2
