// The event ring: recording and reading.
#include "observe/events.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "observe/text.h"

namespace conpool::observe {

std::string_view level_name(EventLevel level) noexcept {
  switch (level) {
    case EventLevel::ERROR:
      return "error";
    case EventLevel::WARNING:
      return "warning";
    case EventLevel::INFO:
      return "info";
    case EventLevel::DEBUG:
      return "debug";
  }
  return "debug";
}

// The records' memory is touched only as they fill: a large ring that stays empty costs no pages.
EventRing::EventRing(size_t capacity, EventLevel level)
    : capacity_(capacity),
      level_(level),
      records_(std::make_unique_for_overwrite<EventRecord[]>(capacity)) {
  assert(capacity > 0);
}

void EventRing::emit(const Event& event) noexcept {
  const EventLevel level = event.level.value_or(event_info(event.kind).level);
  if (level > level_) return;
  assert(event.name.size() <= EventRecord::kNameBytes);
  EventRecord record;
  record.time = event.time;
  record.endpoint = event.endpoint;
  record.connection = event.connection;
  record.op = event.op;
  record.values[0] = event.first;
  record.values[1] = event.second;
  record.duration = event.duration;
  record.status = event.status;
  record.os_error = event.os_error;
  record.kind = event.kind;
  record.level = level;
  const std::string_view text = cut_utf8(event.text, EventRecord::kTextBytes - event.name.size());
  record.name_size = static_cast<uint8_t>(event.name.size());
  record.text_size = static_cast<uint8_t>(text.size());
  std::memset(record.text, 0, sizeof record.text);
  std::copy(event.name.begin(), event.name.end(), record.text);
  std::copy(text.begin(), text.end(), record.text + record.name_size);

  const std::lock_guard lock(mutex_);
  record.sequence = next_;
  records_[(next_ - 1) % capacity_] = record;
  ++next_;
}

EventRing::Snapshot EventRing::snapshot(uint64_t since, size_t limit) const {
  Snapshot result;
  since = std::max<uint64_t>(since, 1);
  const std::lock_guard lock(mutex_);
  const uint64_t oldest = oldest_locked();
  uint64_t from = std::min(since, next_);
  if (from < oldest) {
    result.lost = oldest - from;
    from = oldest;
  }
  const uint64_t count = std::min<uint64_t>(next_ - from, limit);
  result.records.reserve(count);
  for (uint64_t i = from; i < from + count; ++i) {
    result.records.push_back(records_[(i - 1) % capacity_]);
  }
  result.next = from + count;
  return result;
}

uint64_t EventRing::recorded() const {
  const std::lock_guard lock(mutex_);
  return next_ - 1;
}

uint64_t EventRing::overwritten() const {
  const std::lock_guard lock(mutex_);
  return oldest_locked() - 1;
}

}  // namespace conpool::observe
