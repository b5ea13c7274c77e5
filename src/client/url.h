// From a request's URL to what is connected to and what is asked there.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace conpool::client {

struct HttpUrl {
  std::string endpoint;  // "https://example.org:8443", for pool::parse_endpoint_url
  std::string target;    // "/path?query"
};

// Splits "http://host/path?query". E_BAD_URL, naming the input, for another scheme, a missing host,
// user information, a fragment, and bytes that may not stand in a target. What the host and the
// port must be is checked with the endpoint.
Result<HttpUrl> split_url(std::string_view url);

// What may stand in the request line: "/path?query", or "*" with method OPTIONS (RFC 9112 §3.2).
Result<void> check_target(std::string_view method, std::string_view target);

}  // namespace conpool::client
