// The sending half of an exchange: head, body and framing, handed to a stream without a copy of the
// body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/stream.h"
#include "session/http.h"

namespace conpool::http1 {

// Vocabulary: what is sent is a row of blocks: the head; then for each piece of the body its lead
// (a chunk's first line), its bytes, and its tail (the chunk's end, the last chunk). Bytes belong
// to the source and are named in the writev itself.
//
// Lifecycle: begin() → send() until Sent. A body is held after the head until release_body().
class BodyWriter {
 public:
  enum class Progress : uint8_t {
    Blocked,   // the stream takes no more: on_writable
    Starved,   // the source has nothing now: body_ready, or release_body
    Paused,    // enough for one turn: call again in the next
    Accepted,  // the stream took the last byte, and holds some still: on_writable
    Sent,      // the last byte left the stream too
  };
  // Bytes that one send() hands on at most before others have their turn.
  static constexpr size_t kBurst = 1024 * 1024;

  void begin(const session::RequestHead& head, session::BodySource* body);
  // Fails with what the stream said, or E_HTTP_BODY_LENGTH.
  Result<Progress> send(io::Stream& stream);
  void release_body() { held_ = false; }
  // Sends nothing more.
  void stop() { stopped_ = true; }

  bool held() const { return held_ && !stopped_; }
  bool untouched() const { return accepted_ == 0; }
  bool all_accepted() const { return ended_ && block_done(); }
  bool sent() const { return sent_; }
  uint64_t accepted() const { return accepted_; }

 private:
  size_t tail_left() const { return tail_text_.size() - tail_at_; }
  bool block_done() const { return lead_.empty() && piece_left_ == 0 && tail_left() == 0; }
  Result<void> next_block();
  Result<void> next_sized(const session::BodySource::Piece& piece);
  void next_chunk(const session::BodySource::Piece& piece);
  // Offers the block; answers whether the stream took all of it.
  Result<bool> offer(io::Stream& stream, size_t* burst);
  void account(size_t accepted, size_t piece);

  const session::RequestHead* head_ = nullptr;
  session::BodySource* body_ = nullptr;
  std::string own_head_;  // for a request whose head was not encoded before
  std::optional<uint64_t> size_;
  uint64_t size_left_ = 0;  // announced and not yet taken as a block
  bool chunked_ = false;
  bool held_ = false;
  bool ended_ = false;  // no block follows this one
  bool stopped_ = false;
  bool sent_ = false;
  uint64_t accepted_ = 0;

  std::string_view lead_;
  std::string lead_text_;
  uint64_t piece_left_ = 0;  // of this block, still with the source
  std::string tail_text_;
  size_t tail_at_ = 0;
};

}  // namespace conpool::http1
