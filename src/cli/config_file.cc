// Reads the configuration event by event, so that a key that is written twice is seen.
#include "cli/config_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/arguments.h"
#include "cli/handles.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostBytes = 1 << 20;
constexpr char kOptions[] = "options";

std::string shown(const SettingValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* decimal = std::get_if<double>(&value)) return Json(*decimal).dump();
  return in_quotes(std::get<std::string>(value));
}

// One object of keys and plain values, in which "options" is an object of the library's options.
class Reader {
 public:
  // `file`: how errors name it.
  Reader(HarnessSettings* settings, std::string file)
      : settings_(settings), file_(std::move(file)) {}
  const std::string& wrong() const { return wrong_; }

  bool null() { return misplaced("null"); }
  bool boolean(bool value) { return take(value); }
  bool number_integer(Json::number_integer_t value) { return take(int64_t{value}); }
  bool number_unsigned(Json::number_unsigned_t value) {
    if (value > INT64_MAX) return take(static_cast<double>(value));
    return take(static_cast<int64_t>(value));
  }
  bool number_float(Json::number_float_t value, const std::string& written) {
    written_ = written;
    return take(value);
  }
  bool string(std::string& value) { return take(value); }
  bool binary(Json::binary_t&) { return misplaced("binary"); }

  bool start_object(size_t) {
    if (depth_ == 0 || (depth_ == 1 && key_ == kOptions)) {
      ++depth_;
      return true;
    }
    return misplaced("an object");
  }
  bool end_object() {
    --depth_;
    return true;
  }
  bool start_array(size_t) { return misplaced("an array"); }
  bool end_array() { return true; }

  bool key(std::string& name) {
    if (!(depth_ == 1 ? keys_ : options_).insert(name).second)
      return refuse(in_quotes(name) + " is written twice");
    key_ = name;
    if (depth_ == 1 && name != kOptions && !known(name)) return refuse(unknown(name));
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: …; last read: 'what may be
    // long or no text'; expected …"
    const std::string text = error.what();
    const size_t begin = text.find("] ");
    const size_t from = begin == std::string::npos ? 0 : begin + 2;
    return refuse("no valid JSON: " + text.substr(from, text.find("; last read") - from));
  }

 private:
  static bool known(const std::string& name) {
    for (const std::string& each : setting_keys()) {
      if (each == name) return true;
    }
    return false;
  }
  static std::string unknown(const std::string& name) {
    std::vector<std::string> keys = setting_keys();
    keys.emplace_back(kOptions);
    const std::string near = nearest(name, keys);
    if (!near.empty()) return in_quotes(name) + " is no key; did you mean \"" + near + "\"?";
    std::string text = in_quotes(name) + " is no key; the keys are";
    for (const std::string& each : keys)
      text += (each == keys.front() ? " " : each == kOptions ? " and " : ", ") + each;
    return text;
  }
  bool refuse(const std::string& text) {
    wrong_ = text;
    return false;
  }
  bool refuse_value(const std::string& what, const std::string& allowed) {
    return refuse(in_quotes(key_) + " is " + what + ": write " + allowed);
  }
  bool misplaced(const char* what) {
    if (depth_ == 0) return refuse(std::string("it is ") + what + ": write an object");
    if (depth_ == 2) return refuse_value(what, "a text, a number, true or false");
    if (key_ == kOptions) return refuse_value(what, "an object");
    HarnessSettings scratch;  // an empty text is no value of any key
    return refuse_value(what, set_setting(&scratch, key_, std::string()).value_or("another value"));
  }
  bool take(const SettingValue& value) {
    const auto* decimal = std::get_if<double>(&value);
    const std::string what = decimal != nullptr && !written_.empty() ? written_ : shown(value);
    written_.clear();
    if (depth_ == 0) return misplaced(what.c_str());
    if (depth_ == 2) return take_option(value, what);
    if (key_ == kOptions) return refuse_value(what, "an object");
    const std::optional<std::string> allowed = set_setting(settings_, key_, value);
    if (allowed) return refuse_value(what, *allowed);
    settings_->given[key_] = file_ + ": " + in_quotes(key_);
    return true;
  }
  bool take_option(const SettingValue& value, const std::string& what) {
    const auto* text = std::get_if<std::string>(&value);
    const std::string typed = text != nullptr ? *text : what;
    conpool_config* made = nullptr;
    conpool_error* reason = nullptr;
    conpool_status status = conpool_config_new(&made);
    const Config config(made);
    if (status == CONPOOL_OK) {
      status = conpool_config_set(config.get(), key_.c_str(), typed.data(), typed.size(), &reason);
    }
    const Error error(reason);
    if (status != CONPOOL_OK) return refuse("options: " + failure_line(error.get(), status));
    settings_->options.emplace_back(key_, typed);
    return true;
  }

  HarnessSettings* settings_;
  std::string file_;
  int depth_ = 0;
  std::string key_;
  std::string written_;  // a decimal number, as it stands in the file
  std::set<std::string> keys_;
  std::set<std::string> options_;
  std::string wrong_;
};

// Nothing, or why the file cannot be read.
std::optional<std::string> read_file(const std::string& path, std::string* out) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::strerror(errno);
  std::optional<std::string> wrong;
  char piece[16384];
  for (;;) {
    const ssize_t got = read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) wrong = std::strerror(errno);
    if (got <= 0) break;
    out->append(piece, static_cast<size_t>(got));
    if (out->size() <= kMostBytes) continue;
    wrong = "it is longer than 1 MiB";
    break;
  }
  close(fd);
  return wrong;
}

}  // namespace

std::optional<Problem> read_config(const std::string& path, HarnessSettings* settings) {
  std::string text;
  const std::string file = "--config " + in_quotes(path);
  const std::optional<std::string> unread = read_file(path, &text);
  if (unread) return Problem{kBadArguments, file + " cannot be read: " + *unread};
  Reader reader(settings, file);
  if (Json::sax_parse(text, &reader)) return std::nullopt;
  return Problem{kBadArguments, file + ": " + reader.wrong()};
}

}  // namespace conpool::cli
