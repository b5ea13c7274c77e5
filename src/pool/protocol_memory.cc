// What a server spoke, and how long it keeps idle connections.
#include "pool/protocol_memory.h"

#include <algorithm>

namespace conpool::pool {

void ProtocolMemory::note_http1(Time now) {
  if (known(now) == Known::NeedsHttp1) return;
  known_ = Known::Http1;
  stream_limit_ = 0;
  expires_ = deadline_after(now, lifetime_);
}

void ProtocolMemory::note_http2(Time now) {
  if (known(now) != Known::Http2) stream_limit_ = 0;
  known_ = Known::Http2;
  expires_ = deadline_after(now, lifetime_);
}

void ProtocolMemory::note_needs_http1(Time now) {
  known_ = Known::NeedsHttp1;
  stream_limit_ = 0;
  expires_ = deadline_after(now, std::max(lifetime_, kLeastNeed));
}

void ProtocolMemory::note_idle_limit(Time now, Nanos limit) {
  idle_limit_ = limit;
  idle_expires_ = deadline_after(now, lifetime_);
}

void ProtocolMemory::note_idle_close(Time now, Nanos idle) {
  if (idle < kLeastLearned) return;
  // Connections that close together, as when a server restarts, are one occasion.
  if (suspected_ > 0 && now - suspected_at_ < idle / 2) return;
  const Nanos tolerance = std::max(idle / 10, 200 * kMillisecond);
  const Nanos least = std::min(idle, suspected_);
  if (suspected_ > 0 && std::max(idle, suspected_) - least <= tolerance)
    note_idle_limit(now, least);
  suspected_ = idle;
  suspected_at_ = now;
}

}  // namespace conpool::pool
