// Why a verb cannot go on, and the program's exit codes.
#pragma once

#include <string>

namespace conpool::cli {

enum ExitCode : int {
  kDone = 0,
  kDisagreement = 1,   // the demo's numbers differ
  kBadArguments = 2,   // arguments or configuration
  kNetworkFailed = 4,  // a network failure that cannot be recovered
  kFileFailed = 5,     // an output that cannot be written, an input that cannot be read
  kHttpStatus = 22,    // get --fail: a status of 400 or above
  kInterrupted = 128,  // plus the signal's number
};

struct Problem {
  int exit_code = kBadArguments;
  std::string text;  // for stderr, without "pooler: "; empty: it was told already
};

}  // namespace conpool::cli
