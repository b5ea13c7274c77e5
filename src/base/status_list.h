// Lists of HTTP statuses as options write them: "502,503", "200-399".
#pragma once

#include <string_view>

#include "base/result.h"

namespace conpool {

// E_OPTION_RANGE, naming the item and what it may be, for anything but statuses and ranges of them,
// 100 to 599.
Result<void> check_status_list(std::string_view list);
// Of a list that was checked.
bool status_list_has(std::string_view list, int status);

}  // namespace conpool
