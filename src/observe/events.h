// The event ring: typed events of every transition, kept in a fixed number of records.
//
// Vocabulary. An event is what a transition reports; a record is its fixed-size copy in the ring; a
// sequence number counts the recorded events from 1 and never repeats. A record that is overwritten
// is lost, and counted. Threads. Any thread may read; writing is meant for the loop's thread and is
// safe on any. What the level filters out costs one load and one comparison, provided that the
// caller asks wants() before it builds texts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace conpool::observe {

// In the order of the choices of events.level.
enum class EventLevel : uint8_t { ERROR, WARNING, INFO, DEBUG };

enum class EventKind : uint16_t {
#define EVENT(name, dotted, level, first, second, text) name,
#include "observe/events.def"
#undef EVENT
};

struct EventInfo {
  std::string_view name;  // "race.won"
  EventLevel level;
  std::array<std::string_view, 2> values;  // names of the two numbers; "" = unused
  std::string_view text;
};

inline constexpr EventInfo kEventTable[] = {
#define EVENT(name, dotted, level, first, second, text) \
  {dotted, EventLevel::level, {first, second}, text},
#include "observe/events.def"
#undef EVENT
};
inline constexpr size_t kEventKinds = std::size(kEventTable);

constexpr const EventInfo& event_info(EventKind kind) {
  return kEventTable[static_cast<size_t>(kind)];
}
std::string_view level_name(EventLevel level) noexcept;

// What a transition reports. Ids are 0 where there is none; name and text are copied, as much of
// the text as a record holds beside the name.
struct Event {
  EventKind kind;
  Time time = 0;
  uint64_t endpoint = 0;
  uint64_t connection = 0;
  uint64_t op = 0;
  Status status = Status::OK;
  int os_error = 0;
  int64_t first = 0;   // named by the event's row
  int64_t second = 0;  // named by the event's row
  Nanos duration = 0;  // how long the thing took that ended with this event
  std::string_view text = {};
  std::string_view name = {};       // of the application's own events: at most kNameBytes
  std::optional<EventLevel> level;  // of those too; the others have their row's
};

struct EventRecord {
  static constexpr size_t kTextBytes = 96;  // of name and text together
  static constexpr size_t kNameBytes = 32;

  uint64_t sequence;
  Time time;
  uint64_t endpoint;
  uint64_t connection;
  uint64_t op;
  int64_t values[2];
  Nanos duration;
  Status status;
  int32_t os_error;
  EventKind kind;
  EventLevel level;
  uint8_t name_size;
  uint8_t text_size;
  char text[kTextBytes];  // the name, then the text

  std::string_view name_view() const { return {text, name_size}; }
  std::string_view text_view() const { return {text + name_size, text_size}; }
};
static_assert(std::is_trivially_copyable_v<EventRecord>);

class EventRing {
 public:
  // `capacity` ≥ 1. Events above `level` (less urgent ones) are not recorded.
  EventRing(size_t capacity, EventLevel level);

  bool wants(EventKind kind) const noexcept { return event_info(kind).level <= level_; }
  void emit(const Event& event) noexcept;
  EventLevel level() const noexcept { return level_; }
  size_t capacity() const noexcept { return capacity_; }

  struct Snapshot {
    std::vector<EventRecord> records;  // in order of sequence
    uint64_t lost = 0;                 // of those asked for: overwritten before they were read
    uint64_t next = 1;                 // pass as `since` to go on
  };
  // The records from sequence number `since` on, the oldest first and at most `limit`.
  Snapshot snapshot(uint64_t since = 1, size_t limit = SIZE_MAX) const;

  uint64_t recorded() const;     // ever, overwritten ones included
  uint64_t overwritten() const;  // recorded and gone

 private:
  uint64_t oldest_locked() const { return next_ > capacity_ ? next_ - capacity_ : 1; }

  const size_t capacity_;
  const EventLevel level_;
  mutable std::mutex mutex_;
  std::unique_ptr<EventRecord[]> records_;
  uint64_t next_ = 1;  // sequence number of the next record; its place is (next_ - 1) % capacity_
};

// A ring together with the endpoint that events carry when they name none of their own. Small: pass
// by value.
class Emitter {
 public:
  Emitter() = default;  // records nothing
  explicit Emitter(EventRing* ring, uint64_t endpoint = 0) : ring_(ring), endpoint_(endpoint) {}

  Emitter with_endpoint(uint64_t id) const { return Emitter(ring_, id); }

  bool wants(EventKind kind) const noexcept { return ring_ != nullptr && ring_->wants(kind); }
  void emit(Event event) const noexcept {
    if (!wants(event.kind)) return;
    if (event.endpoint == 0) event.endpoint = endpoint_;
    ring_->emit(event);
  }

 private:
  EventRing* ring_ = nullptr;
  uint64_t endpoint_ = 0;
};

// One JSON object per line. 64-bit op ids are strings; ids of 0, status OK, unused values and an
// empty text are left out.
std::string events_jsonl(std::span<const EventRecord> records);
// One readable line per record; times count from `origin` (the pool's start, say).
std::string events_text(std::span<const EventRecord> records, Time origin);
// A Chrome trace-event array: endpoints as processes, connections as threads. An event with a
// duration becomes a span that ends at the event's time.
std::string events_trace(std::span<const EventRecord> records);

}  // namespace conpool::observe
