// Server: scripted servers for the demo, simulated fleets and tests, in both worlds.
//
//   origin::Script script;
//   script.answer = origin::Answer::Lines;             // "ping\n" → "pong\n"
//   script.close_after_idle = 30 * kSecond;
//   origin::Server server(loop, script);
//   Result<void> listening = server.listen(address);   // port 0: the system picks one
//   … server.address(), server.counts() …
#pragma once

#include <functional>
#include <map>
#include <string>

#include "origin/acceptor.h"

namespace conpool::origin {

enum class Answer : uint8_t {
  Silent,  // reads and says nothing
  Echo,    // what came in goes out; each read counts as a request
  Lines,   // each line is looked up in `replies`
  Fixed,   // each request (`request_size` bytes, or a line when 0) gets `reply`
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

// The script of the connection with this number (from 0).
using ScriptChooser = std::function<Script(uint64_t number)>;

class Server final : public Acceptor {
 public:
  static constexpr size_t kLineBytes = 64 * 1024;       // a longer line ends the connection
  static constexpr size_t kPendingBytes = 1024 * 1024;  // replies not yet sent; more stops reading

  explicit Server(io::Loop& loop, Script script = {});
  ~Server() override;

  // For connections accepted from now on.
  void set_script(Script script);
  void set_script_chooser(ScriptChooser chooser) { chooser_ = std::move(chooser); }

 private:
  friend class Session;
  std::unique_ptr<Connection> make(uint64_t number, std::unique_ptr<io::Stream> stream,
                                   bool ready) override;

  ScriptChooser chooser_;
};

}  // namespace conpool::origin
