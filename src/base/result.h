// Result<T>: a value or a Failure, with the verbs of std::expected (which g++ 12's C++20 lacks).
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

#include "base/status.h"

namespace conpool {

// What one room tells the room above when something fails. base/error.h builds the ledger.
struct Failure {
  Status status = Status::E_INTERNAL;
  int os_error = 0;         // errno, or 0
  int64_t tls_verify = 0;   // X509_V_ERR_*, or 0
  uint32_t h2_error = 0;    // RFC 9113 §7, meaningful with an HTTP status only
  std::string detail = {};  // one line, lower case, no full stop; may be empty
};

struct Unexpected {
  Failure failure;
};

[[nodiscard]] inline Unexpected fail(Failure failure) {
  return Unexpected{std::move(failure)};
}
[[nodiscard]] inline Unexpected fail(Status status, std::string detail = {}) {
  return Unexpected{Failure{.status = status, .detail = std::move(detail)}};
}
[[nodiscard]] inline Unexpected fail_errno(Status status, int os_error, std::string detail = {}) {
  return Unexpected{Failure{.status = status, .os_error = os_error, .detail = std::move(detail)}};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit
  Result(Unexpected error)  // NOLINT: implicit by design
      : state_(std::in_place_index<1>, std::move(error.failure)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & {
    assert(has_value());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    assert(has_value());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    assert(has_value());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Failure& error() & {
    assert(!has_value());
    return *std::get_if<1>(&state_);
  }
  const Failure& error() const& {
    assert(!has_value());
    return *std::get_if<1>(&state_);
  }
  Failure&& error() && {
    assert(!has_value());
    return std::move(*std::get_if<1>(&state_));
  }
  template <typename U>
  T value_or(U&& other) && {
    return has_value() ? std::move(*this).value() : static_cast<T>(std::forward<U>(other));
  }

 private:
  std::variant<T, Failure> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Unexpected error) : failed_(true), failure_(std::move(error.failure)) {}  // NOLINT

  bool has_value() const { return !failed_; }
  explicit operator bool() const { return !failed_; }
  Failure& error() & {
    assert(failed_);
    return failure_;
  }
  const Failure& error() const& {
    assert(failed_);
    return failure_;
  }

 private:
  bool failed_ = false;
  Failure failure_;
};

}  // namespace conpool
