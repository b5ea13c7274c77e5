// Lists of HTTP statuses as options write them: "502,503", "200-399".
#pragma once

#include <string_view>

#include "base/result.h"

namespace conpool {

inline constexpr int kLeastStatus = 100;
inline constexpr int kLeastErrorStatus = 400;

// E_OPTION_RANGE, naming the item and what it may be, for anything but statuses and ranges of them,
// `least` to 599.
Result<void> check_status_list(std::string_view list, int least);
// Of a list that was checked.
bool status_list_has(std::string_view list, int status);

}  // namespace conpool
