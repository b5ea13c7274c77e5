// The plan of `pooler --inject-failures`.
#include "fault/injector.h"

namespace conpool::fault {

std::string_view default_plan() {
  return "reset requests=1-50 p=6% attempts=1 after=1";
}

}  // namespace conpool::fault
