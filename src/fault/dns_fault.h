// The answers a plan puts in place of a DNS server's.
#pragma once

#include <memory>

#include "fault/plan.h"
#include "io/loop.h"

namespace conpool::fault {

inline constexpr uint32_t kChangedTtl = 5;  // seconds, of the addresses of dns_change

// The answer of this rule (dns_fail or dns_change) to the question; a code of Rule::kNoAnswer has
// none.
std::vector<uint8_t> dns_answer(const Rule& rule, const io::DnsQuery& query);

// Ends as the rule says, in a turn of its own or at the query's timeout; nothing is asked.
std::unique_ptr<io::DnsExchange> faulty_exchange(io::Loop& loop, const Rule& rule,
                                                 io::DnsQuery query, io::DnsCallback done);

}  // namespace conpool::fault
