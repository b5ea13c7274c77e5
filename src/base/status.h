// Status codes and phases, made from status.def.
#pragma once

#include <cstdint>
#include <string_view>

namespace conpool {

enum class Status : int32_t {
#define STATUS(name, value, class_, text) name = value,
#include "base/status.def"
#undef STATUS
};

enum class StatusClass : int32_t {
  NONE = 0,
  USAGE = 1,
  SYSTEM = 2,
  DNS = 3,
  CONNECT = 4,
  TLS = 5,
  HTTP = 6,
  LIMIT = 7,
  BREAKER = 8,
  ENDED = 9,
  UNKNOWN = 10,
};

// Where in an op's life something happened.
enum class Phase : uint8_t { None, Queue, Dns, Connect, Hop, Tls, Session, Send, Receive };

// "E_CONNECT_REFUSED"; "UNKNOWN" for a value this build does not know.
std::string_view status_name(int32_t status) noexcept;
std::string_view status_text(int32_t status) noexcept;
// Also right for codes of a newer library: the block of one hundred tells the class.
StatusClass status_class(int32_t status) noexcept;
std::string_view phase_name(Phase phase) noexcept;
// "ECONNREFUSED"; "errno 4711" is left to the caller when the result is empty.
std::string_view errno_name(int error) noexcept;

inline std::string_view status_name(Status s) noexcept {
  return status_name(static_cast<int32_t>(s));
}
inline std::string_view status_text(Status s) noexcept {
  return status_text(static_cast<int32_t>(s));
}
inline StatusClass status_class(Status s) noexcept {
  return status_class(static_cast<int32_t>(s));
}
// Of a connection and of what came over it: not of a name, of the pool or of the caller.
inline bool of_connection(Status s) noexcept {
  const StatusClass kind = status_class(s);
  return kind == StatusClass::CONNECT || kind == StatusClass::TLS || kind == StatusClass::HTTP;
}

}  // namespace conpool
