// The search list: see the header.
#include "resolver/search.h"

#include <algorithm>

#include "base/limits.h"
#include "resolver/special_names.h"

namespace conpool::resolver {

std::vector<std::string> search_names(const Host& host, const std::vector<std::string>& search,
                                      int64_t ndots) {
  std::vector<std::string> names;
  const bool as_it_stands_first = std::count(host.name.begin(), host.name.end(), '.') >= ndots;
  if (host.absolute || as_it_stands_first) names.push_back(host.name);
  if (host.absolute) return names;
  for (const std::string& domain : search) {
    std::string name = host.name + "." + domain;
    if (name.size() > limits::kHostNameBytes) continue;
    if (classify_name(name) != SpecialName::None) continue;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(std::move(name));
    }
  }
  if (std::find(names.begin(), names.end(), host.name) == names.end()) names.push_back(host.name);
  return names;
}

}  // namespace conpool::resolver
