// EndpointSpec: what a caller named, normalised and frozen. Its key is the pool's key.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/settings.h"
#include "dial/dial.h"

namespace conpool::pool {

enum class Kind : uint8_t { Raw, Http };

struct EndpointSpec {
  Kind kind = Kind::Raw;
  dial::Target target;
  std::string scheme;     // "tcp", "tls", "unix", "http", "https"
  std::string authority;  // of Http: "example.org", "example.org:8080", "[2001:db8::1]:8080"
  std::string name;       // "tcp://localhost:6379", for texts and labels
  std::string key;        // differs whenever two endpoints must not share a connection
  SettingsPtr settings;   // pool's and endpoint's values, files read, validated
};

// Each answers with target and name filled; finish_spec adds the rest.
Result<EndpointSpec> parse_endpoint_url(std::string_view url);
Result<EndpointSpec> make_host_spec(std::string_view scheme, std::string_view host,
                                    std::span<const uint16_t> ports);
Result<EndpointSpec> make_address_spec(std::string_view scheme, std::string_view addresses);

// Checks target and values against each other, interns the values and makes the key.
Result<void> finish_spec(EndpointSpec* spec, const Values& values);

}  // namespace conpool::pool
