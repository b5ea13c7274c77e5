// pooler: shows what conpool does, through its public interface alone.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "cli/arguments.h"
#include "cli/verbs.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

// A standard descriptor that the caller closed would become a socket's or a loop's, and what is
// printed would go there.
bool fill_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // The lowest free one is what open gives.
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

std::optional<Problem> run(int argc, char** argv) {
  Parsed parsed = parse_arguments(argc, argv);
  if (!parsed.arguments) {
    if (parsed.output.empty()) return std::move(parsed.problem);
    print(parsed.output);
    return std::nullopt;
  }
  switch (parsed.arguments->verb) {
    case Verb::Harness:
      return run_harness(*parsed.arguments);
    case Verb::Get:
      return run_get(*parsed.arguments);
    case Verb::Demo:
      return run_demo(*parsed.arguments);
    case Verb::Connect:
      return run_connect(*parsed.arguments);
    case Verb::Explain:
      return run_explain(*parsed.arguments);
    case Verb::Options:
      return run_options(*parsed.arguments);
  }
  return std::nullopt;
}

}  // namespace
}  // namespace conpool::cli

int main(int argc, char** argv) {
  using namespace conpool::cli;
  if (!fill_standard_descriptors()) {
    print_error("pooler: a standard descriptor is closed, and /dev/null cannot be opened for it\n");
    return kFileFailed;
  }
  const std::optional<Problem> problem = run(argc, argv);
  flush_output();
  if (problem && !problem->text.empty()) print_error("pooler: " + problem->text + "\n");
  const std::optional<std::string> unwritten = output_failure();
  if (unwritten) {
    print_error("pooler: standard output cannot be written: " + *unwritten + "\n");
    return kFileFailed;
  }
  return problem ? problem->exit_code : static_cast<int>(kDone);
}
