// What is due of a response.
#include "origin/http_reply.h"

#include <algorithm>

namespace conpool::origin {

HttpReply::HttpReply(HttpAnswer answer, const HttpRequest& request,
                     std::optional<uint64_t> request_length, Time now)
    : answer_(std::move(answer)),
      has_body_(request.method != "HEAD" && answer_.status != 204 && answer_.status != 304),
      started_(answer_.early || answer_.body == HttpBody::Echo),
      last_(now) {
  if (answer_.framing == HttpFraming::Sized && answer_.status != 204) {
    if (answer_.body == HttpBody::Text) length_ = answer_.text.size();
    if (answer_.body == HttpBody::Pattern) length_ = answer_.pattern_size;
    if (answer_.body == HttpBody::Echo) length_ = request_length;
  }
}

void HttpReply::request_bytes(std::string_view bytes) {
  if (answer_.body == HttpBody::Echo && has_body_) echo_.append(bytes);
}

void HttpReply::request_end(Time now) {
  request_complete_ = true;
  if (!started_) last_ = now;
  started_ = true;
}

HttpReply::Step HttpReply::step(Time now) {
  due_ = kNever;
  if (!started_) return Step::Wait;
  if (interim_ < answer_.interim.size()) {
    due_ = last_ + interim().delay;
    return now < due_ ? Step::Wait : Step::Interim;
  }
  if (!head_done_) {
    due_ = last_ + answer_.head_delay;
    if (now < due_) return Step::Wait;
    const bool fault = answer_.fault != HttpFault::None && answer_.fault_at < 0;
    return fault ? Step::Fault : Step::Head;
  }
  return body_step(now);
}

bool HttpReply::fault_is_here() const {
  return answer_.fault != HttpFault::None && answer_.fault_at >= 0 &&
         offset_ >= static_cast<uint64_t>(answer_.fault_at);
}

HttpReply::Step HttpReply::body_step(Time now) {
  bool complete = !has_body_;
  if (has_body_) {
    switch (answer_.body) {
      case HttpBody::Text:
        complete = offset_ >= answer_.text.size();
        break;
      case HttpBody::Pattern:
        complete = offset_ >= answer_.pattern_size;
        break;
      case HttpBody::Echo:
        complete = request_complete_ && held() == 0;
        break;
    }
  }
  if (complete || fault_is_here()) {
    if (answer_.fault != HttpFault::None) return Step::Fault;
    return has_body_ && !answer_.trailers.empty() && !trailers_done_ ? Step::Trailers : Step::End;
  }
  if (offset_ > 0 && answer_.piece_delay > 0) {
    due_ = last_ + answer_.piece_delay;
    if (now < due_) return Step::Wait;
  }
  due_ = kNever;
  return answer_.body == HttpBody::Echo && held() == 0 ? Step::Wait : Step::Body;
}

void HttpReply::did(Step step, Time now) {
  last_ = now;
  if (step == Step::Interim) ++interim_;
  if (step == Step::Head) head_done_ = true;
  if (step == Step::Trailers) trailers_done_ = true;
}

std::string HttpReply::take_body(size_t most, Time now) {
  size_t size = std::min(most, std::max<size_t>(1, answer_.piece));
  if (answer_.fault != HttpFault::None && answer_.fault_at >= 0)
    size = std::min<uint64_t>(size, static_cast<uint64_t>(answer_.fault_at) - offset_);
  std::string bytes;
  switch (answer_.body) {
    case HttpBody::Text:
      bytes = answer_.text.substr(offset_, size);
      break;
    case HttpBody::Pattern:
      size = std::min<uint64_t>(size, answer_.pattern_size - offset_);
      bytes = pattern(offset_, size, answer_.pattern_seed);
      break;
    case HttpBody::Echo:
      bytes = echo_.substr(echo_at_, size);
      echo_at_ += bytes.size();
      if (echo_at_ == echo_.size() || echo_at_ > kEchoBytes) {
        echo_.erase(0, echo_at_);
        echo_at_ = 0;
      }
      break;
  }
  offset_ += bytes.size();
  last_ = now;
  return bytes;
}

}  // namespace conpool::origin
