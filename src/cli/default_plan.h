// The plan of a bare --inject-failures (docs/pooler.md).
#pragma once

namespace conpool::cli {

// Of each sort one for every seed, more by chance. The last rule is an outage of as many sends as
// open the breaker (breaker.consecutive); a byte of each response comes, so that none of them is
// sent again as if the connection had been stale.
inline constexpr char kDefaultFaultPlan[] =
    "reset requests=8 attempts=1 after=1; half_open requests=17 attempts=1; "
    "reset requests=1-50 p=6% attempts=1 after=1; half_open requests=1-50 p=2% attempts=1; "
    "reset sends=61-70 after=1";

}  // namespace conpool::cli
