// Reads new lines of the event log, and writes them for people.
#include "cli/event_log.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/handles.h"
#include "cli/readouts.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kAttempt = "race.attempt_";
constexpr std::string_view kConnected = "race.attempt_connected";
constexpr size_t kNameWidth = 25;

LoggedEvent event_of(std::string_view line) {
  LoggedEvent event;
  const Json json = Json::parse(line, nullptr, false);  // the library's own, so it is not doubted
  if (!json.is_object()) return event;
  for (const auto& [name, value] : json.items()) {
    if (name == "time_ns") {
      event.time_ns = value.get<int64_t>();
    } else if (name == "event") {
      event.name = value.get<std::string>();
    } else if (name != "sequence" && name != "level") {
      event.fields.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return event;
}

bool is_duration(std::string_view name) {
  return name.size() > 3 && name.substr(name.size() - 3) == "_ns";
}

std::string seconds_text(int64_t nanoseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%4lld.%06lld", static_cast<long long>(nanoseconds / 1000000000),
                static_cast<long long>(nanoseconds % 1000000000 / 1000));
  return text;
}

}  // namespace

std::string_view LoggedEvent::field(std::string_view wanted) const {
  for (const auto& [key, value] : fields) {
    if (key == wanted) return value;
  }
  return {};
}

int64_t LoggedEvent::number(std::string_view wanted) const {
  return std::strtoll(std::string(field(wanted)).c_str(), nullptr, 10);
}

std::vector<LoggedEvent> EventLog::next() {
  std::vector<LoggedEvent> events;
  char* read = nullptr;
  uint64_t lost = 0;
  if (conpool_pool_events_since(pool_, "jsonl", next_, 0, &next_, &lost, &read) != CONPOOL_OK)
    return events;
  lost_ += lost;
  const Text text(read);
  std::string_view rest(text.get());
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    events.push_back(event_of(line));
  }
  return events;
}

std::string event_line(const LoggedEvent& event, int64_t origin_ns) {
  std::string line = seconds_text(event.time_ns - origin_ns) + "  " + event.name;
  if (event.name.size() < kNameWidth) line.append(kNameWidth - event.name.size(), ' ');
  const bool attempt = event.name.compare(0, kAttempt.size(), kAttempt) == 0;
  for (const auto& [name, value] : event.fields) {
    if (name == "text") {
      line += " " + value;
    } else if (name == "errno" && attempt) {
      line += " SO_ERROR=" + value;
    } else if (is_duration(name)) {
      line += " " + name.substr(0, name.size() - 3) + "=" +
              duration_text(std::strtoll(value.c_str(), nullptr, 10));
    } else {
      line += " " + name + "=" + value;
    }
  }
  if (event.name == kConnected) line += " SO_ERROR=0";
  return line + "\n";
}

std::string failure_text(const LoggedEvent& event) {
  const std::string_view status = event.field("status");
  const std::string_view cause = event.field("errno");
  const std::string_view detail = event.field("text");
  std::string text = status.empty() ? "" : status_text(status);
  // The detail of one with an errno is longer than an event has room for.
  if (!cause.empty()) return text.append(" (").append(cause).append(")");
  if (!text.empty() && !detail.empty()) text += ": ";
  return text.append(detail);
}

}  // namespace conpool::cli
