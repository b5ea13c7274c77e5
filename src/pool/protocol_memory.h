// ProtocolMemory: what an endpoint's server spoke the last time, so that the next dial need not
// find out. Pure.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace conpool::pool {

// What is known expires as a whole a while after it was last confirmed.
class ProtocolMemory {
 public:
  enum class Known : uint8_t {
    Unknown,     // one dial decides
    Http1,       // h2 is still offered
    Http2,       // with its last stream limit
    NeedsHttp1,  // only http/1.1 is offered: the server said so, or could not do what it agreed to
  };

  explicit ProtocolMemory(Nanos lifetime) : lifetime_(lifetime) {}

  Known known(Time now) const { return now < expires_ ? known_ : Known::Unknown; }
  // A connection that speaks it was established. What demands HTTP/1.1 stays until it expires.
  void note_http1(Time now);
  void note_http2(Time now);
  void note_needs_http1(Time now);
  void note_stream_limit(uint32_t limit) { stream_limit_ = limit; }
  // 0 = not known.
  uint32_t stream_limit(Time now) const { return now < expires_ ? stream_limit_ : 0; }

  // The server said how long it keeps idle connections (Keep-Alive: timeout=).
  void note_idle_limit(Time now, Nanos limit);
  // The server closed a connection that had been idle so long: learned at the second time alike,
  // since a single close may have any reason.
  void note_idle_close(Time now, Nanos idle);
  // kNever = not known.
  Nanos idle_limit(Time now) const { return now < idle_expires_ ? idle_limit_ : kNever; }

  // Closes earlier than this teach nothing.
  static constexpr Nanos kLeastLearned = kSecond;
  // A demand for HTTP/1.1 holds at least so long: the request that met it is sent again meanwhile.
  static constexpr Nanos kLeastNeed = kMinute;

 private:
  const Nanos lifetime_;
  Known known_ = Known::Unknown;
  Time expires_ = 0;
  uint32_t stream_limit_ = 0;
  Nanos idle_limit_ = kNever;
  Time idle_expires_ = 0;
  Nanos suspected_ = 0;  // the idle time of the last close
  Time suspected_at_ = 0;
};

}  // namespace conpool::pool
