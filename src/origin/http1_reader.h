// Http1Reader: HTTP/1.1 requests cut from bytes, as a strict server reads them (RFC 9112).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "origin/http_script.h"

namespace conpool::origin {

struct Http1Head {
  std::string method;
  std::string target;
  bool http10 = false;
  HttpFields fields;  // lower-case names
  std::string host;
  std::optional<uint64_t> length;  // Content-Length
  bool chunked = false;
  bool close = false;  // Connection: close, or 1.0
  bool expect_continue = false;
};

// A machine on bytes: next() takes from the front of its input and tells what that was.
//
// Strict: lines end with CRLF; no folding, no white space around names; one Host; one
// Content-Length of digits, never beside Transfer-Encoding, which is "chunked"; no chunk
// extensions; limits on all of it. A client that writes anything else is at fault.
class Http1Reader {
 public:
  static constexpr size_t kLineBytes = 16 * 1024;
  static constexpr size_t kHeadBytes = 128 * 1024;
  static constexpr size_t kFields = 256;

  enum class Event : uint8_t {
    More,  // the input is used up
    Head,  // head() is there
    Body,  // body() is there; it points into the input
    End,   // the request is complete, trailers() are there; the next one may follow
    Bad,   // problem() says why; nothing follows
  };
  Event next(std::string_view& input);

  const Http1Head& head() const { return head_; }
  std::string_view body() const { return body_; }
  const HttpFields& trailers() const { return trailers_; }
  const std::string& problem() const { return problem_; }
  // No byte of the next request has come.
  bool between() const { return state_ == State::RequestLine && line_.empty(); }

 private:
  enum class State : uint8_t {
    RequestLine,
    Fields,
    Sized,  // `left_` bytes of a body
    ChunkSize,
    ChunkData,  // `left_` bytes of a chunk
    ChunkEnd,   // its CRLF
    Trailers,
    Complete,  // End is due
    Bad,
  };

  bool take_line(std::string_view& input);
  Event take_body(std::string_view& input, State after);
  bool request_line();
  bool field_line(HttpFields& fields);
  bool judge_head();
  bool judge_framing();
  bool chunk_size();
  Event bad(std::string problem);
  bool wrong(std::string problem);

  State state_ = State::RequestLine;
  std::string line_;
  bool line_complete_ = false;
  size_t head_bytes_ = 0;
  uint64_t left_ = 0;
  Http1Head head_;
  std::string_view body_;
  HttpFields trailers_;
  std::string problem_;
};

}  // namespace conpool::origin
