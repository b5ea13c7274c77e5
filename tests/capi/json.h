// Reads JSON texts strictly, into values that tests look at.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace capi_test {

struct Json {
  enum class Kind { Null, Bool, Number, Text, List, Object };
  Kind kind = Kind::Null;
  std::string text;  // of a number: as written
  bool truth = false;
  std::vector<Json> items;
  std::map<std::string, Json> members;

  bool has(const std::string& name) const { return members.count(name) != 0; }
  const Json& operator[](const std::string& name) const { return members.at(name); }
  long long number() const { return std::stoll(text); }
};

// False when the whole text is not one JSON value (RFC 8259); `reason` then says where.
bool parse_json(std::string_view text, Json* out, std::string* reason);

}  // namespace capi_test
