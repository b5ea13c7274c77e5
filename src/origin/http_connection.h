// HttpConnection: one connection of a scripted HTTP server, below the protocol.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "origin/http_server.h"

namespace conpool::origin {

class HttpConnection;

// What is spoken on a connection. Never destroyed inside one of its own calls.
class HttpSpeaker {
 public:
  virtual ~HttpSpeaker() = default;
  virtual void on_bytes(std::string_view bytes) = 0;
  // The client sends no more; true when what it asked will still be answered, and the speaker ends
  // the connection after it.
  virtual bool on_eof() = 0;
  // Queues what can be sent now, while there is room for it.
  virtual void pump() = 0;
  // A request is under way.
  virtual bool busy() const = 0;
  // Too much of the client's is waiting already.
  virtual bool full() const { return false; }
  // Nobody asked for anything in time: ends the connection.
  virtual void on_idle() = 0;
  // The connection is gone.
  virtual void stop() = 0;
};

// Bytes come in and go to the speaker, which is chosen when the connection stands (ALPN), or by the
// first bytes. What it queues waits in `out_` until the stream takes it. Once `ending_` is set
// nothing more is said: what waits is sent, then the connection ends. After finish() it is with the
// loop's discarded objects and hears nothing more.
class HttpConnection final : public Connection, private io::StreamHandler {
 public:
  static constexpr size_t kOutBytes = 256 * 1024;  // waiting; more holds the speaker back
  static constexpr size_t kWriteBytes = 64 * 1024;

  HttpConnection(HttpServer& server, uint64_t number, HttpScript script,
                 std::unique_ptr<io::Stream> stream, bool ready);

  void start() override;
  void end(Ending ending) override;

  // --- for speakers
  HttpServer& server() { return server_; }
  io::Loop& loop() { return loop_; }
  Time now() const { return loop_.now(); }
  const HttpScript& script() const { return script_; }
  void queue(std::string_view bytes);
  void queue_later(std::string bytes, Nanos delay);
  bool has_room() const { return out_.size() - out_at_ < kOutBytes; }
  bool ending() const { return over_ || ending_set_; }
  void end_after_output(Ending ending);
  // A request's head came: what the script does after so many of them. Answers its number here.
  uint64_t count_request();
  // Asks the speaker for output and sends it. Nothing of the caller may be touched afterwards
  // unless it is known to live on.
  void run();

 private:
  struct Later {
    Time due;
    std::string bytes;
  };

  void on_connected() override;
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override { run(); }
  void on_failed(const Failure& failure) override;

  void begin();
  void choose(std::string_view bytes);
  void speak(HttpProtocol protocol);
  void release_due();
  bool send();
  bool end_if_sent();
  void follow_reading();
  void follow_idle();
  void on_idle();
  void finish(bool abort);

  HttpServer& server_;
  io::Loop& loop_;
  const HttpScript script_;
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<HttpSpeaker> speaker_;
  const bool ready_;
  bool begun_ = false;
  bool over_ = false;
  bool running_ = false;
  bool ending_set_ = false;
  Ending ending_ = Ending::Close;
  bool half_closed_ = false;
  bool got_eof_ = false;
  bool stopped_reading_ = false;
  std::string first_;  // until the protocol is known
  std::string out_;
  size_t out_at_ = 0;
  std::deque<Later> later_;
  uint64_t requests_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
  Timer later_timer_;
  Timer idle_timer_;
  Timer age_timer_;
};

}  // namespace conpool::origin
