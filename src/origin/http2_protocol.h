// Http2Protocol: a scripted HTTP/2 server on one connection, over nghttp2.
#pragma once

#include <nghttp2/nghttp2.h>

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/callback.h"
#include "origin/http_connection.h"
#include "origin/http_reply.h"

namespace conpool::origin {

// Frames come out of nghttp2 only in pump(). A fault of a response is carried out there too, behind
// the frames that were made before it. What the script does after so many requests is planned when
// that request's head has come, and done when it is due.
class Http2Protocol final : public HttpSpeaker {
 public:
  explicit Http2Protocol(HttpConnection& connection);
  ~Http2Protocol() override;

  void on_bytes(std::string_view bytes) override;
  bool on_eof() override;
  void pump() override;
  bool busy() const override { return !streams_.empty(); }
  void on_idle() override;
  void stop() override;

 private:
  struct Stream {
    explicit Stream(Callback<void()> on_timer) : timer(std::move(on_timer)) {}
    int32_t id = 0;
    std::shared_ptr<HttpRequest> request = std::make_shared<HttpRequest>();
    std::optional<HttpReply> reply;  // from the head of the request on
    bool submitted = false;          // the response's head is with nghttp2
    bool silent = false;
    size_t owed = 0;  // bytes of the request's body that still fill the window
    Timer timer;
  };
  struct Planned {
    Time due;
    Callback<void()> act;
  };
  struct Calls;  // nghttp2's callbacks

  void make_session();
  void open();
  void fire(uint64_t requests);
  void plan(Nanos delay, Callback<void()> act);
  void run_planned();
  void send_settings(const H2Settings& settings);
  void send_goaway(const H2Goaway& goaway);
  void send_frames();
  void broken(int error);
  void problem(const char* text);

  Stream* find(int32_t id);
  void begin_stream(int32_t id);
  void add_field(Stream& stream, bool trailer, std::string name, std::string value);
  void begin_request(Stream& stream, bool complete);
  void end_request(Stream& stream);
  void take_data(Stream& stream, std::string_view bytes);
  void drive(Stream& stream);
  void submit_head(Stream& stream);
  ssize_t give_data(Stream& stream, uint8_t* to, size_t size, uint32_t* flags);
  void submit_trailers(Stream& stream);
  void fault(Stream& stream);
  void reset(Stream& stream, uint32_t error);
  void close_stream(int32_t id);
  void on_frame(const nghttp2_frame& frame);
  void on_frame_sent(const nghttp2_frame& frame);
  HttpServer& server() { return connection_.server(); }
  HttpCounts& counts();

  HttpConnection& connection_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Stream>> streams_;
  std::vector<int32_t> faults_;  // streams
  std::list<Planned> planned_;
  Timer planned_timer_;
  std::string raw_;       // goes out behind the frames that wait
  bool closing_ = false;  // once no stream is left
  int32_t last_id_ = H2Goaway::kEvery;  // of the last GOAWAY
  bool had_problem_ = false;
  bool own_goaway_ = false;  // was sent by the script
};

}  // namespace conpool::origin
