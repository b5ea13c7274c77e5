// Acceptor: what scripted servers of every protocol share: addresses, accepted connections, counts.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "io/loop.h"

namespace conpool::origin {

enum class Ending : uint8_t {
  Close,      // FIN after what is still to be sent
  Reset,      // RST at once
  HalfClose,  // FIN after what is still to be sent, then reads on until the peer ends too
};

struct Counts {
  uint64_t accepted = 0;
  uint64_t open = 0;
  uint64_t most_open = 0;
  uint64_t requests = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t resets = 0;       // sent by the script
  uint64_t peer_closed = 0;  // ended by the peer in an orderly way
  uint64_t peer_failed = 0;  // reset by the peer, or broken (TLS handshakes too)
};

// Wraps accepted streams, in TLS for instance. A wrapped stream reports on_connected when it can be
// used; nullptr drops the connection.
using StreamFactory = Callback<std::unique_ptr<io::Stream>(std::unique_ptr<io::Stream>)>;

// One accepted connection, whatever is spoken on it.
class Connection : public io::Discardable {
 public:
  explicit Connection(uint64_t number) : number_(number) {}
  virtual void start() = 0;  // once the acceptor has it in its list
  virtual void end(Ending ending) = 0;
  uint64_t number() const { return number_; }

 private:
  const uint64_t number_;
};

// Lives on the loop's thread, ends before the loop; never destroyed inside one of its own
// callbacks. Servers derive from it, and call kill() in their destructors.
class Acceptor : private io::ListenHandler {
 public:
  static constexpr int kBacklog = 1024;

  explicit Acceptor(io::Loop& loop) : loop_(loop) {}
  virtual ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // For connections accepted from now on.
  void set_stream_factory(StreamFactory factory) { factory_ = std::move(factory); }

  // Several addresses may be served by one server. After stop, it may listen again.
  Result<void> listen(const SocketAddress& address);
  // Serves a stream that somebody else accepted, and can be used; the stream factory is not asked.
  void adopt(std::unique_ptr<io::Stream> stream) { begin(std::move(stream), true); }
  SocketAddress address(size_t index = 0) const;
  // Refuses new connections; running ones go on.
  void stop_listening();
  // Ends the running connections.
  void end_connections(Ending ending);
  // What the end of the server's process does: both, with resets.
  void kill();

  const Counts& counts() const { return counts_; }

 protected:
  // `ready`: the stream can be used from the start, else on_connected tells.
  virtual std::unique_ptr<Connection> make(uint64_t number, std::unique_ptr<io::Stream> stream,
                                           bool ready) = 0;
  // The connection ended: takes it out of the list and hands it to the loop.
  void remove(Connection& connection);

  io::Loop& loop_;
  Counts counts_;

 private:
  void on_accepted(std::unique_ptr<io::Stream> stream) override;
  void begin(std::unique_ptr<io::Stream> stream, bool ready);

  StreamFactory factory_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace conpool::origin
