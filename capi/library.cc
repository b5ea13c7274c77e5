// Version, status codes, texts, and the library's tables as JSON.
#include <cstdlib>
#include <cstring>

#include "base/settings.h"
#include "base/status.h"
#include "capi/guard.h"
#include "h2/version.h"
#include "io/uv/versions.h"
#include "observe/events.h"
#include "observe/text.h"
#include "tls/library.h"

#define CONPOOL_STRING_OF(x) #x
#define CONPOOL_STRING(x) CONPOOL_STRING_OF(x)

namespace conpool::capi {

// The header's constants and the table cannot disagree.
#define STATUS(name, value, class_, text) static_assert(CONPOOL_##name == (value));
#include "base/status.def"
#undef STATUS
static_assert(CONPOOL_CLASS_UNKNOWN == static_cast<int>(StatusClass::UNKNOWN));
static_assert(CONPOOL_CLASS_ENDED == static_cast<int>(StatusClass::ENDED));
static_assert(CONPOOL_PHASE_RECEIVE == static_cast<int>(Phase::Receive));
static_assert(CONPOOL_PROOF_MAYBE_PROCESSED == static_cast<int>(Proof::MaybeProcessed));
static_assert(sizeof(conpool_event) == 64);

char* copy_text(std::string_view text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  return copy;
}

namespace {

void member(std::string* out, std::string_view name, std::string_view value, bool first = false) {
  *out += first ? "{" : ",";
  observe::append_json_string(out, name);
  *out += ':';
  observe::append_json_string(out, value);
}

std::string_view type_name(OptionType type) {
  static constexpr std::string_view kNames[] = {"duration", "count", "size", "bool",
                                                "choice",   "text",  "list", "bytes"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view unit_name(OptionType type) {
  switch (type) {
    case OptionType::DURATION:
      return "ns, us, ms, s, min or h";
    case OptionType::SIZE:
      return "bytes";
    default:
      return "";
  }
}

std::string options_json() {
  static constexpr std::string_view kScopes[] = {"pool", "endpoint", "request"};
  std::string out = "[";
  for (const OptionInfo& option : option_table()) {
    if (out.size() > 1) out += ",\n";
    member(&out, "name", option.name, true);
    member(&out, "type", type_name(option.type));
    member(&out, "unit", unit_name(option.type));
    member(&out, "default", option.default_text);
    member(&out, option.type == OptionType::CHOICE ? "choices" : "least", option.least);
    member(&out, "most", option.most);
    member(&out, "scope", kScopes[static_cast<size_t>(option.scope)]);
    member(&out, "live", option.live ? "yes" : "no");
    member(&out, "since", option.since);
    member(&out, "text", option.text);
    out += "}";
  }
  return out + "]\n";
}

std::string statuses_json() {
  std::string out = "[";
  const auto row = [&out](std::string_view name, int32_t value, std::string_view status_class,
                          std::string_view text) {
    if (out.size() > 1) out += ",\n";
    member(&out, "name", name, true);
    out += ",\"value\":" + std::to_string(value);
    member(&out, "class", status_class);
    member(&out, "text", text);
    out += "}";
  };
#define STATUS(name, value, class_, text) row(#name, value, #class_, text);
#include "base/status.def"
#undef STATUS
  return out + "]\n";
}

std::string events_json() {
  std::string out = "[";
  for (const observe::EventInfo& event : observe::kEventTable) {
    if (out.size() > 1) out += ",\n";
    member(&out, "name", event.name, true);
    member(&out, "level", observe::level_name(event.level));
    member(&out, "first", event.values[0]);
    member(&out, "second", event.values[1]);
    member(&out, "text", event.text);
    out += "}";
  }
  return out + "]\n";
}

std::string build_json() {
  std::string out;
  member(&out, "version", conpool_version_string(), true);
  member(&out, "libuv", io::libuv_version());
  member(&out, "c-ares", io::cares_version());
  member(&out, "openssl", tls::openssl_version());
  member(&out, "nghttp2", h2::nghttp2_version());
  return out + "}\n";
}

}  // namespace
}  // namespace conpool::capi

using namespace conpool;
using namespace conpool::capi;

uint32_t conpool_version(void) noexcept {
  return (CONPOOL_VERSION_MAJOR << 16) | (CONPOOL_VERSION_MINOR << 8) | CONPOOL_VERSION_PATCH;
}

const char* conpool_version_string(void) noexcept {
  return CONPOOL_STRING(CONPOOL_VERSION_MAJOR) "." CONPOOL_STRING(
      CONPOOL_VERSION_MINOR) "." CONPOOL_STRING(CONPOOL_VERSION_PATCH);
}

// The views are of string literals, so data() ends in NUL.
const char* conpool_status_name(conpool_status status) noexcept {
  return status_name(status).data();
}
const char* conpool_status_text(conpool_status status) noexcept {
  return status_text(status).data();
}
int32_t conpool_status_class(conpool_status status) noexcept {
  return static_cast<int32_t>(status_class(status));
}

conpool_status conpool_describe(const char* what, char** out) noexcept {
  return guard([&] {
    if (what == nullptr || out == nullptr) return code(Status::E_INVALID);
    const std::string_view name(what);
    if (name == "options") {
      *out = copy_text(options_json());
    } else if (name == "statuses") {
      *out = copy_text(statuses_json());
    } else if (name == "events") {
      *out = copy_text(events_json());
    } else if (name == "build") {
      *out = copy_text(build_json());
    } else {
      return code(Status::E_INVALID);
    }
    return CONPOOL_OK + 0;
  });
}

void conpool_text_free(char* text) noexcept {
  std::free(text);
}
