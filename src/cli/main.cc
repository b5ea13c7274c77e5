// pooler: shows what conpool does, through its public interface alone.
#include "cli/arguments.h"
#include "cli/verbs.h"
#include "cli/words.h"

int main(int argc, char** argv) {
  using namespace conpool::cli;
  Parsed parsed = parse_arguments(argc, argv);
  std::optional<Problem> problem;
  if (!parsed.arguments) {
    if (!parsed.output.empty()) {
      print(parsed.output);
      return kDone;
    }
    problem = std::move(parsed.problem);
  } else {
    switch (parsed.arguments->verb) {
      case Verb::Harness:
        problem = run_harness(*parsed.arguments);
        break;
      case Verb::Get:
        problem = run_get(*parsed.arguments);
        break;
      case Verb::Demo:
        problem = run_demo(*parsed.arguments);
        break;
      case Verb::Connect:
        problem = run_connect(*parsed.arguments);
        break;
      case Verb::Explain:
        problem = run_explain(*parsed.arguments);
        break;
      case Verb::Options:
        problem = run_options(*parsed.arguments);
        break;
    }
  }
  if (!problem) return kDone;
  if (!problem->text.empty()) print_error("pooler: " + problem->text + "\n");
  return problem->exit_code;
}
