// Text forms of event records: JSON lines, readable lines, and a Chrome trace.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "observe/events.h"
#include "observe/text.h"

namespace conpool::observe {

namespace {

bool is_duration(std::string_view name) {
  return name.ends_with("_ns");
}

void append_key(std::string* out, std::string_view key) {
  if (out->back() != '{') out->push_back(',');
  append_json_string(out, key);
  out->push_back(':');
}

void append_error_name(std::string* out, int error) {
  const std::string_view name = errno_name(error);
  if (!name.empty()) {
    out->append(name);
  } else {
    out->append("errno ");
    append_int(out, error);
  }
}

// The members that JSON lines and a trace's args share.
void append_details(std::string* out, const EventRecord& record) {
  const EventInfo& info = event_info(record.kind);
  if (record.op != 0) {
    append_key(out, "op");
    out->push_back('"');
    append_uint(out, record.op);
    out->push_back('"');
  }
  if (record.status != Status::OK) {
    append_key(out, "status");
    append_json_string(out, status_name(record.status));
  }
  if (record.os_error != 0) {
    append_key(out, "errno");
    std::string name;
    append_error_name(&name, record.os_error);
    append_json_string(out, name);
  }
  for (size_t i = 0; i < 2; ++i) {
    if (info.values[i].empty()) continue;
    append_key(out, info.values[i]);
    append_int(out, record.values[i]);
  }
  if (record.text_size != 0) {
    append_key(out, "text");
    append_json_string(out, record.text_view());
  }
}

// "race.won"; "app.NAME" for the application's own.
std::string event_name(const EventRecord& record) {
  std::string name(event_info(record.kind).name);
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, record.name_view());
  return name;
}

void append_id(std::string* out, std::string_view name, uint64_t id) {
  if (id == 0) return;
  append_key(out, name);
  append_uint(out, id);
}

void append_jsonl(std::string* out, const EventRecord& record) {
  out->push_back('{');
  append_key(out, "sequence");
  append_uint(out, record.sequence);
  append_key(out, "time_ns");
  append_int(out, record.time);
  append_key(out, "level");
  append_json_string(out, level_name(record.level));
  append_key(out, "event");
  append_json_string(out, event_name(record));
  append_id(out, "endpoint", record.endpoint);
  append_id(out, "connection", record.connection);
  if (record.duration != 0) {
    append_key(out, "duration_ns");
    append_int(out, record.duration);
  }
  append_details(out, record);
  out->append("}\n");
}

void append_padded(std::string* out, std::string_view text, size_t width) {
  out->append(text);
  if (text.size() < width) out->append(width - text.size(), ' ');
}

void append_text_line(std::string* out, const EventRecord& record, Time origin) {
  const EventInfo& info = event_info(record.kind);
  std::string time;
  append_scaled(&time, (record.time - origin) / kMicrosecond, 6);
  if (time.size() < 11) out->append(11 - time.size(), ' ');
  out->append(time).append("  ");
  append_padded(out, level_name(record.level), 7);
  out->push_back(' ');
  append_padded(out, event_name(record), 25);

  std::string rest;
  const auto id = [&rest](std::string_view name, uint64_t value) {
    if (value == 0) return;
    rest.append(" ").append(name).append("=");
    append_uint(&rest, value);
  };
  id("endpoint", record.endpoint);
  id("connection", record.connection);
  id("op", record.op);
  for (size_t i = 0; i < 2; ++i) {
    std::string_view name = info.values[i];
    if (name.empty()) continue;
    const bool time_value = is_duration(name);
    if (time_value) name.remove_suffix(3);
    rest.append(" ").append(name).append("=");
    if (time_value) {
      rest.append(duration_text(record.values[i]));
    } else {
      append_int(&rest, record.values[i]);
    }
  }
  if (record.text_size != 0) {
    rest.push_back(' ');
    append_plain(&rest, record.text_view());
  }
  if (record.duration != 0) rest.append(" in ").append(duration_text(record.duration));
  if (record.status != Status::OK) {
    rest.append(": ").append(status_text(record.status));
    if (record.os_error != 0) {
      rest.append(" (");
      append_error_name(&rest, record.os_error);
      rest.push_back(')');
    }
  }
  out->append(rest).push_back('\n');
}

void append_trace_name(std::string* out, uint64_t endpoint) {
  out->append("{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":");
  append_uint(out, endpoint);
  out->append(",\"tid\":0,\"args\":{\"name\":\"");
  out->append(endpoint == 0 ? "pool" : "endpoint ");
  if (endpoint != 0) append_uint(out, endpoint);
  out->append("\"}}");
}

void append_trace(std::string* out, const EventRecord& record) {
  const bool span = record.duration > 0;
  out->append(span ? "{\"ph\":\"X\"" : "{\"ph\":\"i\",\"s\":\"t\"");
  append_key(out, "name");
  append_json_string(out, event_name(record));
  append_key(out, "cat");
  append_json_string(out, level_name(record.level));
  // Trace times are microseconds; three decimals keep the nanoseconds.
  append_key(out, "ts");
  append_scaled(out, record.time - (span ? record.duration : 0), 3);
  if (span) {
    append_key(out, "dur");
    append_scaled(out, record.duration, 3);
  }
  append_key(out, "pid");
  append_uint(out, record.endpoint);
  append_key(out, "tid");
  append_uint(out, record.connection);
  append_key(out, "args");
  out->push_back('{');
  append_key(out, "sequence");
  append_uint(out, record.sequence);
  append_details(out, record);
  out->append("}}");
}

}  // namespace

std::string events_jsonl(std::span<const EventRecord> records) {
  std::string out;
  for (const EventRecord& record : records)
    append_jsonl(&out, record);
  return out;
}

std::string events_text(std::span<const EventRecord> records, Time origin) {
  std::string out;
  for (const EventRecord& record : records)
    append_text_line(&out, record, origin);
  return out;
}

std::string events_trace(std::span<const EventRecord> records) {
  std::set<uint64_t> endpoints;
  for (const EventRecord& record : records)
    endpoints.insert(record.endpoint);
  std::string out = "[";
  for (uint64_t endpoint : endpoints) {
    if (out.size() > 1) out.append(",\n");
    append_trace_name(&out, endpoint);
  }
  for (const EventRecord& record : records) {
    if (out.size() > 1) out.append(",\n");
    append_trace(&out, record);
  }
  out.append("]\n");
  return out;
}

}  // namespace conpool::observe
