// Runs the fuzz target over its corpus, over cut and bent copies of it, and over the table.
#include "unit/corpus.h"
#include "unit/http1/response_table.h"

namespace conpool::http1 {
namespace {

TEST(Http1Corpus, EveryInputPasses) {
  EXPECT_GE(run_corpus(HTTP1_CORPUS, 500), 40U);
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
