// The wall between C++ and C: no exception leaves the library, and no object of a parent process is
// used.
#pragma once

#include <new>

#include "base/error.h"
#include "conpool/conpool.h"
#include "ops/error_object.h"
#include "ops/fork.h"

namespace conpool::capi {

constexpr conpool_status code(Status status) {
  return static_cast<conpool_status>(status);
}

// Gives the caller a worded error, if it asked for one.
inline conpool_status refuse(conpool_error** out, Failure failure, std::string context = {}) {
  const conpool_status status = code(failure.status);
  if (out != nullptr) {
    std::vector<std::string> contexts;
    if (!context.empty()) contexts.push_back(std::move(context));
    auto* object =
        new ops::ErrorObject(make_error(std::move(failure), Phase::None, std::move(contexts)));
    *out = reinterpret_cast<conpool_error*>(static_cast<ops::Object*>(object));
  }
  return status;
}

template <typename Function>
conpool_status guard(Function&& function) noexcept {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return code(Status::E_NOMEM);
  } catch (...) {
    return code(Status::E_INTERNAL);
  }
}

inline std::string_view text_of(const char* text, size_t size) {
  return size == CONPOOL_NUL_TERMINATED ? std::string_view(text) : std::string_view(text, size);
}

// A copy that conpool_text_free frees.
char* copy_text(std::string_view text);

}  // namespace conpool::capi
