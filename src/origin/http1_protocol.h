// Http1Protocol: a scripted HTTP/1.1 server on one connection.
#pragma once

#include <memory>
#include <optional>

#include "origin/http1_reader.h"
#include "origin/http_connection.h"
#include "origin/http_reply.h"

namespace conpool::origin {

// One exchange at a time: requests that are pipelined wait in `in_`. An exchange is over when both
// its request and its response are.
class Http1Protocol final : public HttpSpeaker {
 public:
  static constexpr size_t kInBytes = 64 * 1024;  // waiting; more stops reading
  static constexpr size_t kPieceBytes = 64 * 1024;

  explicit Http1Protocol(HttpConnection& connection);

  void on_bytes(std::string_view bytes) override;
  bool on_eof() override;
  void pump() override;
  bool busy() const override;
  bool full() const override { return in_.size() - in_at_ > kInBytes; }
  void on_idle() override {}
  void stop() override;

 private:
  bool take_input();
  void begin_exchange();
  void take_body();
  void end_request();
  void refuse();
  bool make_output();
  void queue_head();
  void queue_piece();
  void queue_trailers();
  void fault();
  void end_reply();
  void end_exchange();
  HttpServer& server() { return connection_.server(); }

  HttpConnection& connection_;
  Http1Reader reader_;
  std::string in_;
  size_t in_at_ = 0;
  std::shared_ptr<HttpRequest> request_;
  std::optional<HttpReply> reply_;
  bool request_over_ = false;
  bool reply_over_ = false;
  bool silent_ = false;
  bool chunked_ = false;  // the response
  bool trailers_sent_ = false;
  bool close_ = false;  // once the response is out
  Timer timer_;
};

}  // namespace conpool::origin
