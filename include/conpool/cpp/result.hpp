// conpool for C++: who owns an object, what failed, and a value or the reason why there is none.
#pragma once

#include <conpool/conpool.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace conpool {

using Nanos = std::chrono::nanoseconds;

inline constexpr Nanos kForever{CONPOOL_FOREVER};

// --- the library

// 0x00MMmmpp of the library that runs.
inline std::uint32_t version() noexcept {
  return conpool_version();
}
inline const char* version_string() noexcept {
  return conpool_version_string();
}
// "E_CONNECT_REFUSED", "connection refused", CONPOOL_CLASS_*; also for codes of newer libraries.
inline const char* status_name(conpool_status status) noexcept {
  return conpool_status_name(status);
}
inline const char* status_text(conpool_status status) noexcept {
  return conpool_status_text(status);
}
inline std::int32_t status_class(conpool_status status) noexcept {
  return conpool_status_class(status);
}

// --- owning

namespace detail {

// Owns one object of the library.
template <typename T, void (*Free)(T*)>
class Handle {
 public:
  Handle() noexcept = default;
  // Takes over an object that a C function gave.
  explicit Handle(T* raw) noexcept : raw_(raw) {}
  Handle(Handle&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) reset(std::exchange(other.raw_, nullptr));
    return *this;
  }
  ~Handle() { reset(); }

  // True unless it is empty.
  explicit operator bool() const noexcept { return raw_ != nullptr; }
  // For C functions; it stays this handle's.
  T* raw() const noexcept { return raw_; }
  // Gives it up to the caller.
  [[nodiscard]] T* detach() noexcept { return std::exchange(raw_, nullptr); }
  // Frees it now.
  void reset(T* raw = nullptr) noexcept {
    if (T* old = std::exchange(raw_, raw)) Free(old);
  }

 private:
  T* raw_ = nullptr;
};

// A copy of a text of the library, which is freed.
inline std::string take_text(char* text) {
  const std::unique_ptr<char, void (*)(char*)> owner(text, conpool_text_free);
  return text == nullptr ? std::string() : std::string(text);
}

// What C takes for a text: never NULL, as the data of an empty view may be.
inline const char* chars(std::string_view text) noexcept {
  return text.data() == nullptr ? "" : text.data();
}
inline std::string_view view(const char* text, std::size_t size) noexcept {
  return text == nullptr ? std::string_view() : std::string_view(text, size);
}

}  // namespace detail

// --- errors

// One try of a dial: a DNS query or a connection attempt.
struct Attempt {
  std::string target;  // "tcp:127.0.0.1:8088" or "AAAA localhost @192.0.2.53:53"
  conpool_status status = CONPOOL_OK;
  std::int32_t phase = CONPOOL_PHASE_NONE;
  std::int32_t os_errno = 0;
  Nanos started{0};  // from the dial's start
  Nanos duration{0};
};

// Why something failed: a status code, and beside it, where the library had more to say, the ledger
// of what was tried. Immutable; any thread.
class Error {
 public:
  Error() noexcept = default;
  // `object` becomes this error's; NULL where there is only a code. Then `proof` is what is known
  // of the bytes that were to be sent.
  explicit Error(conpool_status status, conpool_error* object = nullptr,
                 std::int32_t proof = CONPOOL_PROOF_MAYBE_PROCESSED) noexcept
      : status_(status),
        proof_(object == nullptr ? proof : conpool_error_proof(object)),
        object_(object) {}
  // Takes over an error object that a C function gave.
  static Error of(conpool_error* object) noexcept {
    return Error(conpool_error_status(object), object);
  }

  // CONPOOL_E_*, its name and its class.
  conpool_status status() const noexcept { return status_; }
  const char* name() const noexcept { return conpool_status_name(status_); }
  std::int32_t status_class() const noexcept { return conpool_status_class(status_); }
  // One line that is enough to find the cause.
  const char* line() const noexcept {
    return object_ ? conpool_error_line(object_.raw()) : conpool_status_text(status_);
  }
  // Several lines: the cause, its contexts, each attempt.
  const char* report() const noexcept {
    return object_ ? conpool_error_report(object_.raw()) : conpool_status_text(status_);
  }
  // CONPOOL_PHASE_*: where the op was.
  std::int32_t phase() const noexcept { return conpool_error_phase(object_.raw()); }
  // CONPOOL_PROOF_*: what became of the bytes that were to be sent. What did not start sent none;
  // of an op that ended with a code alone nobody can tell.
  std::int32_t proof() const noexcept { return proof_; }
  // True when the peer certainly did not process what was sent, so that sending it again is safe.
  bool safe_to_retry() const noexcept { return proof() != CONPOOL_PROOF_MAYBE_PROCESSED; }
  std::int32_t os_errno() const noexcept { return conpool_error_os_errno(object_.raw()); }
  // HTTP/2's code, or -1.
  std::int64_t h2_code() const noexcept { return conpool_error_h2_code(object_.raw()); }
  // OpenSSL's X509_V_ERR_*, or 0.
  std::int64_t tls_verify() const noexcept { return conpool_error_tls_verify(object_.raw()); }
  // Of CONPOOL_E_BREAKER_OPEN: from the failure to the next trial.
  std::optional<Nanos> retry_after() const noexcept {
    const std::int64_t after = conpool_error_retry_after(object_.raw());
    return after < 0 ? std::nullopt : std::optional<Nanos>(after);
  }
  // Everything that was tried, in the order of its start.
  std::vector<Attempt> attempts() const {
    std::vector<Attempt> all(conpool_error_attempt_count(object_.raw()));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const conpool_error* error = object_.raw();
      all[i].target = conpool_error_attempt_target(error, i);
      all[i].status = conpool_error_attempt_status(error, i);
      all[i].phase = conpool_error_attempt_phase(error, i);
      all[i].os_errno = conpool_error_attempt_os_errno(error, i);
      all[i].started = Nanos(conpool_error_attempt_started(error, i));
      all[i].duration = Nanos(conpool_error_attempt_duration(error, i));
    }
    return all;
  }
  // The library's object, or NULL.
  const conpool_error* raw() const noexcept { return object_.raw(); }

 private:
  conpool_status status_ = CONPOOL_OK;
  std::int32_t proof_ = CONPOOL_PROOF_MAYBE_PROCESSED;
  detail::Handle<conpool_error, conpool_error_free> object_;
};

namespace detail {

// Of a call that starts or makes something, and failed: no op, and nothing sent.
inline Error not_begun(conpool_status status, conpool_error* object = nullptr) noexcept {
  return Error(status, object, CONPOOL_PROOF_NEVER_SENT);
}

// A value was taken where there is an error: a mistake in the program, which ends with the reason.
[[noreturn]] inline void no_value(const Error& error) noexcept {
  std::fprintf(stderr, "conpool: value() of a failure: %s: %s\n", error.name(), error.line());
  std::abort();
}

}  // namespace detail

// A value, or the Error why there is none; the verbs of std::expected. Taking the value of a
// failure ends the program, with the error's line on stderr.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) noexcept : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& value() & { return *checked(); }
  const T& value() const& { return *const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return &value(); }
  template <typename U>
  T value_or(U&& other) && {
    return has_value() ? std::move(*checked()) : static_cast<T>(std::forward<U>(other));
  }
  // CONPOOL_OK, or the error's code.
  conpool_status status() const noexcept { return has_value() ? CONPOOL_OK : error().status(); }
  // The error; an empty one beside a value.
  const Error& error() const& noexcept {
    static const Error none;
    const Error* error = std::get_if<1>(&state_);
    return error != nullptr ? *error : none;
  }
  Error error() && noexcept {
    Error* error = std::get_if<1>(&state_);
    return error != nullptr ? std::move(*error) : Error();
  }

 private:
  T* checked() {
    T* value = std::get_if<0>(&state_);
    if (value == nullptr) detail::no_value(error());
    return value;
  }
  std::variant<T, Error> state_;
};

// Success, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() noexcept = default;
  Result(Error error) noexcept : error_(std::move(error)) {}

  bool has_value() const noexcept { return error_.status() == CONPOOL_OK; }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const {
    if (!has_value()) detail::no_value(error_);
  }
  conpool_status status() const noexcept { return error_.status(); }
  const Error& error() const& noexcept { return error_; }
  Error error() && noexcept { return std::move(error_); }

 private:
  Error error_;
};

namespace detail {

// A T from a C function that gives an object: call(&raw).
template <typename T, typename Raw, typename Call>
Result<T> made(Call call) {
  Raw* raw = nullptr;
  const conpool_status status = call(&raw);
  if (status != CONPOOL_OK) return not_begun(status);
  return T(raw);
}
// The same where an error object tells more: call(&raw, &error).
template <typename T, typename Raw, typename Call>
Result<T> made_or_told(Call call) {
  Raw* raw = nullptr;
  conpool_error* error = nullptr;
  const conpool_status status = call(&raw, &error);
  if (status != CONPOOL_OK) return not_begun(status, error);
  return T(raw);
}
template <typename Call>
Result<void> done_or_told(Call call) {
  conpool_error* error = nullptr;
  const conpool_status status = call(&error);
  return status == CONPOOL_OK ? Result<void>() : Result<void>(not_begun(status, error));
}
inline Result<void> done(conpool_status status) {
  return status == CONPOOL_OK ? Result<void>() : Result<void>(not_begun(status));
}
template <typename Call>
Result<std::string> text(Call call) {
  char* text = nullptr;
  const conpool_status status = call(&text);
  if (status != CONPOOL_OK) return not_begun(status);
  return take_text(text);
}

}  // namespace detail

// The library's own tables as JSON text: "options", "statuses", "events", "build".
inline Result<std::string> describe(const char* what) {
  return detail::text([&](char** out) { return conpool_describe(what, out); });
}

}  // namespace conpool
