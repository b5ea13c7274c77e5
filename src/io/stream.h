// Stream: the one interface of TCP and unix sockets, TLS, and hops. A byte pipe that never queues.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace conpool::io {

// Anything that must outlive the call that ended it; freed by Loop::discard at the turn's end.
class Discardable {
 public:
  virtual ~Discardable() = default;
};

// Receives a stream's events, always on the loop's thread, never from inside a call into the
// stream. The handler may close the stream in any of them, but must not destroy it there: it hands
// the stream to Loop::discard, which frees it at the end of the turn.
class StreamHandler {
 public:
  virtual void on_connected() = 0;       // once, for a stream made by connect
  virtual void on_data(Slice data) = 0;  // only while reading is on; never empty
  virtual void on_eof() = 0;             // the peer ended its direction; writing may go on
  virtual void on_writable() = 0;        // after a writev that accepted less than offered
  virtual void on_failed(const Failure& failure) = 0;  // terminal: nothing follows

 protected:
  ~StreamHandler() = default;
};

enum class Peek : uint8_t {
  Quiet,   // open, nothing to read
  Data,    // bytes wait
  Eof,     // the peer ended its direction
  Failed,  // reset or otherwise broken
};

// Facts about an established stream; zero or empty where unknown or not of this kind.
struct StreamFacts {
  SocketAddress local;
  SocketAddress peer;
  Nanos rtt = 0;        // TCP_INFO's smoothed round trip
  uint64_t tapped = 0;  // what the loop's tap numbered it by; 0 = it made it plain
};

class Stream : public Discardable {
 public:
  ~Stream() override = default;

  virtual void set_handler(StreamHandler* handler) = 0;
  // Off until switched on. While on, data, eof and failure are reported as they come; while off,
  // the peer is held back by its own flow control (a failure may still be reported).
  virtual void read(bool on) = 0;
  // Offers bytes; answers how many were accepted (0 when the peer holds us back). When fewer than
  // offered were accepted, on_writable follows once more fit. A failure is terminal and is returned
  // here only, not reported through on_failed too.
  virtual Result<size_t> writev(std::span<const iovec> parts) = 0;
  // Pushes out what the layer itself holds (TLS records). True when nothing is held any more;
  // otherwise on_writable follows.
  virtual Result<bool> flush() = 0;
  // Ends our direction (FIN; close-notify in TLS) after everything accepted so far.
  virtual Result<void> shutdown_write() = 0;
  // What a read would find right now, without consuming it.
  virtual Peek peek() = 0;
  // Lends the descriptor: a CLOEXEC duplicate in the asked blocking mode that the caller owns. From
  // here to reclaim the stream watches, reads and writes nothing. E_UNSUPPORTED for layered
  // streams.
  virtual Result<int> lend(bool blocking) = 0;
  // Takes the stream back: restores O_NONBLOCK and answers what a peek finds. Anything but Quiet
  // means that the stream cannot be used for another lease.
  virtual Peek reclaim() = 0;
  // Told true while nobody uses the stream: it may give buffers back until bytes move again.
  virtual void idle(bool on) { (void)on; }
  virtual StreamFacts facts() const = 0;
  // Closes at once, without waiting; idempotent. No event comes after it. `abort` resets the peer
  // (SO_LINGER 0) and sends no close-notify.
  virtual void close(bool abort = false) = 0;
  virtual bool closed() const = 0;
};

}  // namespace conpool::io
