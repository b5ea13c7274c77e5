// The plan of `pooler --inject-failures`.
#include "fault/injector.h"

namespace conpool::fault {

// At least one request is reset and one runs into its timeout, whatever the seed. The outage is of
// as many sends as open a breaker (breaker.consecutive). A byte of each reset answer comes, so that
// none of them is sent again as if the connection had been stale.
std::string_view default_plan() {
  return "reset requests=8 attempts=1 after=1; half_open requests=17 attempts=1; "
         "reset requests=1-50 p=6% attempts=1 after=1; half_open requests=1-50 p=2% attempts=1; "
         "reset sends=61-70 after=1";
}

}  // namespace conpool::fault
