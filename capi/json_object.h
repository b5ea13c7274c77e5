// A JSON object, written member by member.
#pragma once

#include <string>
#include <string_view>

#include "observe/text.h"

namespace conpool::capi {

// Its braces are those of its scope. Members with a value of their own kind write it after key().
class JsonObject {
 public:
  explicit JsonObject(std::string* out) : out_(*out) { out_ += '{'; }
  ~JsonObject() { out_ += '}'; }
  void text(std::string_view name, std::string_view value) {
    key(name);
    observe::append_json_string(&out_, value);
  }
  void number(std::string_view name, int64_t value) {
    key(name);
    out_ += std::to_string(value);
  }
  void flag(std::string_view name, bool value) {
    key(name);
    out_ += value ? "true" : "false";
  }
  void key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    observe::append_json_string(&out_, name);
    out_ += ':';
  }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace conpool::capi
