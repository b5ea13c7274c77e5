// Names, texts and classes of status codes, made from status.def.
#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace conpool {

std::string_view status_name(int32_t status) noexcept {
  switch (static_cast<Status>(status)) {
#define STATUS(name, value, class_, text) \
  case Status::name:                      \
    return #name;
#include "base/status.def"
#undef STATUS
  }
  return "UNKNOWN";
}

std::string_view status_text(int32_t status) noexcept {
  switch (static_cast<Status>(status)) {
#define STATUS(name, value, class_, text) \
  case Status::name:                      \
    return text;
#include "base/status.def"
#undef STATUS
  }
  return "unknown status";
}

StatusClass status_class(int32_t status) noexcept {
  if (status == 0) return StatusClass::NONE;
  if (status > -100 || status <= -1000) return StatusClass::UNKNOWN;
  return static_cast<StatusClass>(-status / 100);
}

std::string_view phase_name(Phase phase) noexcept {
  switch (phase) {
    case Phase::None:
      return "none";
    case Phase::Queue:
      return "queue";
    case Phase::Dns:
      return "dns";
    case Phase::Connect:
      return "connect";
    case Phase::Hop:
      return "hop";
    case Phase::Tls:
      return "tls";
    case Phase::Session:
      return "session";
    case Phase::Send:
      return "send";
    case Phase::Receive:
      return "receive";
  }
  return "none";
}

std::string_view errno_name(int error) noexcept {
  const char* name = strerrorname_np(error);
  return name == nullptr || error == 0 ? std::string_view() : std::string_view(name);
}

}  // namespace conpool
