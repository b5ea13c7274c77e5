// Server: scripted servers for the demo, simulated fleets and tests, in both worlds.
//
//   origin::Script script;
//   script.answer = origin::Answer::Lines;             // "ping\n" → "pong\n"
//   script.close_after_idle = 30 * kSecond;
//   origin::Server server(loop, script);
//   Result<void> listening = server.listen(address);   // port 0: the system picks one
//   … server.address(), server.counts() …
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/loop.h"

namespace conpool::origin {

enum class Answer : uint8_t {
  Silent,  // reads and says nothing
  Echo,    // what came in goes out; each read counts as a request
  Lines,   // each line is looked up in `replies`
  Fixed,   // each request (`request_size` bytes, or a line when 0) gets `reply`
};

enum class Ending : uint8_t {
  Close,      // FIN after what is still to be sent
  Reset,      // RST at once
  HalfClose,  // FIN after what is still to be sent, then reads on until the peer ends too
};

// How one connection is served. The default echoes for ever.
struct Script {
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  std::string greeting;  // sent unasked when the connection stands
  Nanos greeting_delay = 0;
  Answer answer = Answer::Echo;
  std::map<std::string, std::string, std::less<>> replies{{"ping", "pong"}};
  std::string unknown = "error";  // the reply to other lines
  std::string reply;
  size_t request_size = 0;
  Nanos reply_delay = 0;
  std::string unsolicited;  // sent once, `unsolicited_after` a time without a byte
  Nanos unsolicited_after = 0;
  size_t slow_bytes =
      0;  // send so many bytes at a time, one every `slow_interval`; 0 = as fast as it goes
  Nanos slow_interval = kMillisecond;

  uint64_t close_after_bytes = kUnlimited;     // received
  uint64_t close_after_sent = kUnlimited;      // the byte after it is never sent
  uint64_t close_after_requests = kUnlimited;  // once their replies are out
  Nanos close_after_idle = 0;                  // without a byte either way; 0 = never
  Nanos close_after = 0;                       // of the connection's age; 0 = never
  Ending ending = Ending::Close;

  bool read = true;   // false: never reads, so that the peer's writes stall
  bool write = true;  // false: never writes, whatever it is asked
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
// The script of the connection with this number (from 0).
using ScriptChooser = std::function<Script(uint64_t number)>;

class Session;

// Lives on the loop's thread, ends before the loop; never destroyed inside one of its own
// callbacks.
class Server final : private io::ListenHandler {
 public:
  static constexpr int kBacklog = 1024;
  static constexpr size_t kLineBytes = 64 * 1024;       // a longer line ends the connection
  static constexpr size_t kPendingBytes = 1024 * 1024;  // replies not yet sent; more stops reading

  explicit Server(io::Loop& loop, Script script = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void set_stream_factory(StreamFactory factory) { factory_ = std::move(factory); }
  // For connections accepted from now on.
  void set_script(Script script);
  void set_script_chooser(ScriptChooser chooser) { chooser_ = std::move(chooser); }

  // Several addresses may be served by one server. After stop, it may listen again.
  Result<void> listen(const SocketAddress& address);
  SocketAddress address(size_t index = 0) const;
  // Refuses new connections; running ones go on.
  void stop_listening();
  // Ends the running connections.
  void end_connections(Ending ending);
  // What the end of the server's process does: both, with resets.
  void kill();

  const Counts& counts() const { return counts_; }

 private:
  friend class Session;
  void on_accepted(std::unique_ptr<io::Stream> stream) override;
  void remove(Session& session);

  io::Loop& loop_;
  ScriptChooser chooser_;
  StreamFactory factory_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::map<uint64_t, std::unique_ptr<Session>> sessions_;
  Counts counts_;
};

}  // namespace conpool::origin
