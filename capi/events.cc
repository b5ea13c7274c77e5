// Readouts of the event ring, and the application's own events in it.
#include <algorithm>

#include "capi/guard.h"
#include "capi/handles.h"
#include "observe/events.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

constexpr std::string_view kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool is_event_name(std::string_view name) {
  return !name.empty() && name.size() <= observe::EventRecord::kNameBytes &&
         name.find_first_not_of(kNameCharacters) == std::string_view::npos;
}

using Render = std::string (*)(std::span<const observe::EventRecord>, Time origin);

Render render_of(std::string_view format) {
  if (format == "jsonl") {
    return [](std::span<const observe::EventRecord> records, Time) {
      return observe::events_jsonl(records);
    };
  }
  if (format == "text") return observe::events_text;
  if (format == "trace") {
    return [](std::span<const observe::EventRecord> records, Time) {
      return observe::events_trace(records);
    };
  }
  return nullptr;
}

}  // namespace

conpool_status conpool_pool_events_since(conpool_pool* pool, const char* format, uint64_t since,
                                         uint64_t limit, uint64_t* next, uint64_t* lost,
                                         char** out) noexcept {
  return guard([&] {
    if (pool == nullptr || format == nullptr || out == nullptr) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    const Render render = render_of(format);
    if (render == nullptr) return code(Status::E_INVALID);
    const observe::EventRing::Snapshot part = pool->core->ring().snapshot(
        since, limit == 0 ? SIZE_MAX : static_cast<size_t>(std::min<uint64_t>(limit, SIZE_MAX)));
    *out = copy_text(render(part.records, pool->core->created_at()));
    if (next != nullptr) *next = part.next;
    // Number 0 asks for what is kept: nothing of that is lost.
    if (lost != nullptr) *lost = since == 0 ? 0 : part.lost;
    return code(Status::OK);
  });
}

conpool_status conpool_pool_events(conpool_pool* pool, const char* format, char** out) noexcept {
  return conpool_pool_events_since(pool, format, 0, 0, nullptr, nullptr, out);
}

conpool_status conpool_pool_event(conpool_pool* pool, int32_t level, const char* name,
                                  size_t name_size, const char* text, size_t text_size) noexcept {
  return guard([&] {
    if (pool == nullptr || name == nullptr || (text == nullptr && text_size != 0)) {
      return code(Status::E_INVALID);
    }
    if (level < CONPOOL_LEVEL_ERROR || level > CONPOOL_LEVEL_DEBUG) return code(Status::E_INVALID);
    if (!is_event_name(text_of(name, name_size))) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    pool->core->ring().emit(
        {.kind = observe::EventKind::Application,
         .time = pool->core->now(),
         .text = text == nullptr ? std::string_view() : text_of(text, text_size),
         .name = text_of(name, name_size),
         .level = static_cast<observe::EventLevel>(level)});
    return code(Status::OK);
  });
}
