// The search list: which absolute names a typed name stands for, in the order of trying them.
#pragma once

#include <string>
#include <vector>

#include "base/name.h"

namespace conpool::resolver {

// resolv.conf(5): a name with at least `ndots` dots is tried as it stands before the list, any
// other one after it; an absolute name as it stands only. Expansions that would be too long, or
// that end in a special name, are left out. Never empty.
std::vector<std::string> search_names(const Host& host, const std::vector<std::string>& search,
                                      int64_t ndots);

}  // namespace conpool::resolver
