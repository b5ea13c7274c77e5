// What may stand in a request: methods, field names and values (RFC 9110 §5, §9), checked before
// anything is sent.
#pragma once

#include <string_view>

#include "base/result.h"

namespace conpool::client {

// What a header field is to a request.
enum class FieldUse : uint8_t {
  Plain,          // goes out as it is
  Host,           // names the request's host in place of the endpoint's
  ContentLength,  // must be right; the sessions write their own
  Expect,         // 100-continue
};

// A token; not CONNECT, which asks for a tunnel (E_UNSUPPORTED).
Result<void> check_method(std::string_view method);
// Checks a header field's name, and what the name means to a request. E_BAD_FIELD.
Result<FieldUse> check_header_name(std::string_view name);
// Checks a trailer field's name: besides, it must mean nothing before the body (RFC 9110 §6.5.1).
Result<void> check_trailer_name(std::string_view name);
// The value without the white space around it. E_BAD_FIELD for control bytes.
Result<std::string_view> check_value(std::string_view name, std::string_view value);
// "host", "host:port" or "[2001:db8::1]:port".
Result<void> check_authority(std::string_view value);
// Decimal digits alone.
Result<uint64_t> parse_content_length(std::string_view value);

}  // namespace conpool::client
