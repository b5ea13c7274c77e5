// The error an event carries: one reference to a ledger that several waiters may share.
#pragma once

#include <mutex>
#include <string>

#include "base/error.h"
#include "ops/op.h"

namespace conpool::ops {

class ErrorObject final : public Object {
 public:
  explicit ErrorObject(ErrorPtr error) : error_(std::move(error)) {}
  void dispose() noexcept override { delete this; }

  const Error& error() const { return *error_; }
  // Made at the first call, on the caller's thread: the loop does not format texts nobody reads.
  const std::string& line() const {
    std::call_once(once_, [this] { make_texts(); });
    return line_;
  }
  const std::string& report() const {
    std::call_once(once_, [this] { make_texts(); });
    return report_;
  }

 private:
  void make_texts() const {
    line_ = error_->line();
    report_ = error_->report();
  }
  ErrorPtr error_;
  mutable std::once_flag once_;
  mutable std::string line_;
  mutable std::string report_;
};

// Ends an op as failed. Without memory for the object the event goes without one.
inline void finish_failed(Op& op, const ErrorPtr& error, uint64_t value0 = 0) noexcept {
  Object* object = error == nullptr ? nullptr : new (std::nothrow) ErrorObject(error);
  op.finish(error == nullptr ? Status::E_NOMEM : error->cause.status, object, value0);
}

}  // namespace conpool::ops
