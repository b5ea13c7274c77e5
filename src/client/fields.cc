// The rules for methods and fields of requests.
#include "client/fields.h"

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "base/name.h"
#include "base/text.h"
#include "session/http.h"

namespace conpool::client {
namespace {

// RFC 9110 §5.6.2.
bool is_token_byte(char c) {
  return is_letter(c) || is_digit(c) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

struct Forbidden {
  std::string_view name;
  std::string_view why;
};

// They belong to one connection, which is the sessions' (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
constexpr std::array<Forbidden, 7> kConnection{{
    {"connection", "belongs to the connection"},
    {"keep-alive", "belongs to the connection"},
    {"proxy-connection", "belongs to the connection"},
    {"transfer-encoding", "belongs to the connection: the library frames the body itself"},
    {"upgrade", "belongs to the connection: protocols are not switched"},
    {"http2-settings", "belongs to the connection: protocols are not switched"},
    {"trailer", "is written by the library; add trailers with conpool_request_trailer"},
}};

// They mean something before the body is read (RFC 9110 §6.5.1).
constexpr std::array<std::string_view, 34> kNotInTrailers{
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "vary",
    "warning",
    "www-authenticate",
    "authentication-info",
    "accept-encoding",
    "forwarded",
};

Unexpected refuse(std::string_view what, std::string_view why) {
  return fail(Status::E_BAD_FIELD, in_quotes(what) + " " + std::string(why));
}

Result<void> check_name(std::string_view name) {
  if (name.empty()) return fail(Status::E_BAD_FIELD, "a field has an empty name");
  if (name.front() == ':') {
    return refuse(name, "is a pseudo field of HTTP/2: method, URL and Host set those");
  }
  for (const char c : name) {
    if (is_token_byte(c)) continue;
    return refuse(name, "is not a field name: it has the byte " +
                            byte_text(static_cast<unsigned char>(c)) +
                            "; letters, digits and !#$%&'*+-.^_`|~ may stand there");
  }
  for (const Forbidden& forbidden : kConnection) {
    if (session::same_name(name, forbidden.name)) return refuse(name, forbidden.why);
  }
  return {};
}

}  // namespace

Result<void> check_method(std::string_view method) {
  if (method.empty()) return fail(Status::E_BAD_METHOD, "the method is empty");
  for (const char c : method) {
    if (is_token_byte(c)) continue;
    return fail(Status::E_BAD_METHOD, in_quotes(method) + " is not a method: it has the byte " +
                                          byte_text(static_cast<unsigned char>(c)) +
                                          "; write \"GET\", \"POST\", …");
  }
  if (method.size() > limits::kRequestHeadBytes)
    return fail(Status::E_BAD_METHOD, in_quotes(method) + " is too long");
  if (method == "CONNECT") {
    return fail(Status::E_UNSUPPORTED, "method CONNECT asks for a tunnel, which is not supported");
  }
  return {};
}

Result<FieldUse> check_header_name(std::string_view name) {
  if (const Result<void> good = check_name(name); !good) return fail(Failure(good.error()));
  if (session::same_name(name, "host")) return FieldUse::Host;
  if (session::same_name(name, "content-length")) return FieldUse::ContentLength;
  if (session::same_name(name, "expect")) return FieldUse::Expect;
  return FieldUse::Plain;
}

Result<void> check_trailer_name(std::string_view name) {
  if (const Result<void> good = check_name(name); !good) return fail(Failure(good.error()));
  const bool forbidden =
      std::any_of(kNotInTrailers.begin(), kNotInTrailers.end(),
                  [name](std::string_view other) { return session::same_name(name, other); });
  if (!forbidden) return {};
  return refuse(name,
                "may not be a trailer: it must be known before the body (RFC 9110 section "
                "6.5.1)");
}

Result<std::string_view> check_value(std::string_view name, std::string_view value) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!value.empty() && is_space(value.front()))
    value.remove_prefix(1);
  while (!value.empty() && is_space(value.back()))
    value.remove_suffix(1);
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 0x20 && byte != 0x7f) || byte == '\t') continue;
    // The value may be a secret: it is not repeated.
    return fail(Status::E_BAD_FIELD, "the value of " + in_quotes(name) + " has the byte " +
                                         byte_text(byte) + ": control bytes may not stand there");
  }
  if (session::same_name(name, "te") && !session::same_name(value, "trailers")) {
    return fail(Status::E_BAD_FIELD, "the value of " + in_quotes(name) +
                                         " may be \"trailers\" alone; codings belong to "
                                         "the connection");
  }
  return value;
}

Result<void> check_authority(std::string_view value) {
  const auto wrong = [value](std::string_view why) {
    return fail(Status::E_BAD_FIELD,
                "Host " + in_quotes(value) + " is no host and port: " + std::string(why));
  };
  if (value.empty()) return wrong("it is empty");
  const size_t bracket = value.rfind(']');
  const size_t colon = value.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  const std::string_view host = has_port ? value.substr(0, colon) : value;
  if (host.find(':') != std::string_view::npos && !host.starts_with('['))
    return wrong("an IPv6 address stands in brackets");
  if (host.find('%') != std::string_view::npos) return wrong("a zone is not part of it");
  if (const Result<Host> parsed = parse_host(host); !parsed) return wrong(parsed.error().detail);
  if (has_port) {
    const Result<uint16_t> port = parse_port(value.substr(colon + 1));
    if (!port) return wrong(port.error().detail);
  }
  return {};
}

Result<uint64_t> parse_content_length(std::string_view value) {
  constexpr uint64_t kMost = INT64_MAX;
  uint64_t size = 0;
  for (const char c : value) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (!is_digit(c) || size > (kMost - digit) / 10) {
      size = kMost + 1;
      break;
    }
    size = size * 10 + digit;
  }
  if (value.empty() || size > kMost)
    return fail(Status::E_BAD_FIELD, "Content-Length " + in_quotes(value) + " is not a length");
  return size;
}

}  // namespace conpool::client
