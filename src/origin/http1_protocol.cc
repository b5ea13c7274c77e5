// The scripted HTTP/1.1 server.
#include "origin/http1_protocol.h"

#include <cstdio>

namespace conpool::origin {
namespace {

std::string_view reason_of(uint16_t status) {
  switch (status) {
    case 100:
      return "Continue";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 503:
      return "Service Unavailable";
    default:
      return "";  // RFC 9112 §4: may be empty
  }
}

std::string head_text(uint16_t status, const HttpFields& fields) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_of(status));
  text += "\r\n";
  for (const auto& [name, value] : fields)
    text += name + ": " + value + "\r\n";
  return text + "\r\n";
}

}  // namespace

Http1Protocol::Http1Protocol(HttpConnection& connection)
    : connection_(connection), timer_([this] { connection_.run(); }) {}

void Http1Protocol::on_bytes(std::string_view bytes) {
  in_.append(bytes);
}

bool Http1Protocol::on_eof() {
  if (!reply_ || !request_over_ || silent_) return false;
  close_ = true;
  return true;
}

void Http1Protocol::stop() {
  timer_.cancel();
  if (request_ != nullptr) request_->ended = true;
}

bool Http1Protocol::busy() const {
  return reply_.has_value() || !reader_.between() || in_at_ < in_.size();
}

void Http1Protocol::pump() {
  while (!connection_.ending()) {
    const bool read = take_input();
    if (connection_.ending()) return;
    if (!make_output() && !read) return;
  }
}

// True when something was taken.
bool Http1Protocol::take_input() {
  if (reply_ && (request_over_ || reply_->held() > HttpReply::kEchoBytes)) return false;
  std::string_view rest = std::string_view(in_).substr(in_at_);
  const Http1Reader::Event event = reader_.next(rest);
  in_at_ = in_.size() - rest.size();
  switch (event) {
    case Http1Reader::Event::More:
      in_.clear();
      in_at_ = 0;
      return false;
    case Http1Reader::Event::Head:
      begin_exchange();
      return true;
    case Http1Reader::Event::Body:
      take_body();
      return true;
    case Http1Reader::Event::End:
      end_request();
      return true;
    case Http1Reader::Event::Bad:
      refuse();
      return true;
  }
  return false;
}

void Http1Protocol::begin_exchange() {
  const Http1Head& head = reader_.head();
  request_ = std::make_shared<HttpRequest>();
  request_->id = field_of(head.fields, "x-request-id");
  request_->method = head.method;
  request_->target = head.target;
  request_->authority = head.host;
  request_->fields = head.fields;
  request_->connection = connection_.number();
  request_->on_its_connection = connection_.count_request();
  request_->time = connection_.now();
  server().note(request_);
  HttpAnswer answer = server().answer(*request_);
  const bool no_body = !head.length && !head.chunked;
  const auto length = no_body ? std::optional<uint64_t>(0) : head.length;
  const bool wait = head.expect_continue && answer.send_continue && !no_body;
  if (wait && in_at_ == in_.size()) connection_.queue(head_text(100, {}));
  if (answer.framing == HttpFraming::Chunked && head.http10) answer.framing = HttpFraming::Close;
  close_ = close_ || head.close || !answer.keep_alive || answer.framing == HttpFraming::Close ||
           request_->on_its_connection + 1 >= connection_.script().close_after_requests;
  reply_.emplace(std::move(answer), *request_, length, connection_.now());
  request_over_ = reply_over_ = chunked_ = trailers_sent_ = false;
}

void Http1Protocol::take_body() {
  request_->body_size += reader_.body().size();
  request_->body_hash = hash_of(reader_.body(), request_->body_hash);
  if (!reply_over_) reply_->request_bytes(reader_.body());
}

void Http1Protocol::end_request() {
  request_->trailers = reader_.trailers();
  request_over_ = true;
  server().completed(*request_);
  if (reply_over_) {
    end_exchange();
  } else {
    reply_->request_end(connection_.now());
  }
}

void Http1Protocol::refuse() {
  server().problem(reader_.problem());
  connection_.queue(head_text(400, {{"content-length", "0"}, {"connection", "close"}}));
  connection_.end_after_output(Ending::Close);
}

// True when something of the response was made.
bool Http1Protocol::make_output() {
  if (!reply_ || reply_over_ || silent_ || !connection_.has_room()) return false;
  const Time now = connection_.now();
  const HttpReply::Step step = reply_->step(now);
  switch (step) {
    case HttpReply::Step::Wait:
      connection_.loop().arm(timer_, reply_->due());
      return false;
    case HttpReply::Step::Interim:
      connection_.queue(head_text(reply_->interim().status, reply_->interim().fields));
      reply_->did(step, now);
      return true;
    case HttpReply::Step::Head:
      queue_head();
      if (!reply_over_) reply_->did(step, now);
      return true;
    case HttpReply::Step::Body:
      queue_piece();
      return true;
    case HttpReply::Step::Trailers:
      queue_trailers();
      reply_->did(step, now);
      return true;
    case HttpReply::Step::End:
      if (chunked_ && !trailers_sent_) connection_.queue("0\r\n\r\n");
      end_reply();
      return true;
    case HttpReply::Step::Fault:
      fault();
      return true;
  }
  return false;
}

void Http1Protocol::queue_head() {
  const HttpAnswer& answer = reply_->answer();
  if (!answer.raw.empty()) {
    connection_.queue(answer.raw);
    end_reply();
    return;
  }
  HttpFields fields;
  chunked_ = false;
  if (reply_->length()) {
    fields.emplace_back("content-length", std::to_string(*reply_->length()));
  } else if (answer.framing != HttpFraming::Close && answer.status != 204) {
    chunked_ = reply_->has_body();
    fields.emplace_back("transfer-encoding", "chunked");
  }
  if (close_) fields.emplace_back("connection", "close");
  if (answer.keep_alive_timeout > 0) {
    fields.emplace_back("keep-alive",
                        "timeout=" + std::to_string(answer.keep_alive_timeout / kSecond));
  }
  fields.insert(fields.end(), answer.fields.begin(), answer.fields.end());
  connection_.queue(head_text(answer.status, fields));
}

void Http1Protocol::queue_piece() {
  const std::string bytes = reply_->take_body(kPieceBytes, connection_.now());
  if (!chunked_) {
    connection_.queue(bytes);
    return;
  }
  char size[24];
  const int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  connection_.queue({size, static_cast<size_t>(length)});
  connection_.queue(bytes);
  connection_.queue("\r\n");
}

void Http1Protocol::queue_trailers() {
  trailers_sent_ = true;
  if (!chunked_) return;
  std::string text = "0\r\n";
  for (const auto& [name, value] : reply_->answer().trailers)
    text += name + ": " + value + "\r\n";
  connection_.queue(text + "\r\n");
}

void Http1Protocol::fault() {
  switch (reply_->answer().fault) {
    case HttpFault::None:
      break;
    case HttpFault::Close:
      connection_.end_after_output(Ending::Close);
      break;
    case HttpFault::Reset:
    case HttpFault::ResetStream:
      connection_.end_after_output(Ending::Reset);
      break;
    case HttpFault::Silence:
      silent_ = true;
      break;
  }
}

void Http1Protocol::end_reply() {
  reply_over_ = true;
  server().answered(*request_);
  const HttpAnswer& answer = reply_->answer();
  if (!answer.unsolicited.empty())
    connection_.queue_later(answer.unsolicited, answer.unsolicited_after);
  if (close_) {
    connection_.end_after_output(Ending::Close);
  } else if (request_over_) {
    end_exchange();
  }
}

void Http1Protocol::end_exchange() {
  timer_.cancel();
  reply_.reset();
  request_.reset();
}

}  // namespace conpool::origin
