// HttpReply: one scripted response in the making: what of it is due, in either protocol.
#pragma once

#include <optional>
#include <string>

#include "origin/http_script.h"

namespace conpool::origin {

// A machine. The protocol asks step(), does what it says, and asks again.
//
//   interim responses → head → body pieces → trailers → end, with the answer's delays between them;
//   a fault takes the place of what would have followed.
class HttpReply {
 public:
  static constexpr size_t kEchoBytes = 256 * 1024;  // held; more holds the request's body back

  enum class Step : uint8_t {
    Wait,      // until due(), or for more of the request
    Interim,   // send interim(), then did()
    Head,      // then did()
    Body,      // take_body()
    Trailers,  // then did()
    End,
    Fault,
  };

  // `request_length`: of the request's body, where it was said.
  HttpReply(HttpAnswer answer, const HttpRequest& request, std::optional<uint64_t> request_length,
            Time now);

  const HttpAnswer& answer() const { return answer_; }
  void request_bytes(std::string_view bytes);
  void request_end(Time now);

  Step step(Time now);
  Time due() const { return due_; }
  const HttpInterim& interim() const { return answer_.interim[interim_]; }
  void did(Step step, Time now);
  // At most so many bytes, and no more than a piece.
  std::string take_body(size_t most, Time now);

  // The response may have a body at all.
  bool has_body() const { return has_body_; }
  std::optional<uint64_t> length() const { return length_; }
  // Bytes of an echo that wait.
  size_t held() const { return echo_.size() - echo_at_; }

 private:
  Step body_step(Time now);
  bool fault_is_here() const;

  HttpAnswer answer_;
  bool has_body_;
  std::optional<uint64_t> length_;
  bool started_ = false;
  bool request_complete_ = false;
  size_t interim_ = 0;
  bool head_done_ = false;
  bool trailers_done_ = false;
  Time last_ = 0;  // when the part before was done
  Time due_ = kNever;
  uint64_t offset_ = 0;
  std::string echo_;
  size_t echo_at_ = 0;
};

}  // namespace conpool::origin
