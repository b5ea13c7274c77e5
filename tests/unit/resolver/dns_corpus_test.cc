// Runs the fuzz target over its corpus, and over cut and bent copies of it.
#include "unit/corpus.h"

namespace conpool::resolver {
namespace {

TEST(DnsCorpus, ST_20_EveryInputPasses) {
  EXPECT_GE(run_corpus(DNS_CORPUS, 500), 20U);
}

}  // namespace
}  // namespace conpool::resolver
