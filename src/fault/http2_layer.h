// Http2Layer: between TLS and the HTTP/2 session of a connection whose plan resets streams or goes
// away.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <set>
#include <string>

#include "fault/fault_stream.h"
#include "fault/layer.h"

namespace conpool::fault {

// Where the frames of one direction begin and end (RFC 9113 section 4.1), whatever the pieces.
class FrameCutter {
 public:
  static constexpr size_t kHead = 9;

  // Takes bytes up to the end of the head or of the payload that is under way; answers how many.
  size_t take(std::span<const uint8_t> bytes);

  // A head is complete and was not looked at, or everything of the last frame has come.
  bool head_complete() const { return head_size_ == kHead; }
  bool between_frames() const { return head_size_ == 0; }
  bool frame_complete() const { return head_complete() && left_ == 0; }
  void next_frame() { head_size_ = 0; }
  std::span<const uint8_t> head() const { return {head_.data(), head_size_}; }
  void clear_flag(uint8_t flag) { head_[4] = static_cast<uint8_t>(head_[4] & ~flag); }

  uint32_t size() const;
  uint8_t type() const { return head_[3]; }
  uint8_t flags() const { return head_[4]; }
  uint32_t stream() const;

 private:
  std::array<uint8_t, kHead> head_{};
  size_t head_size_ = 0;
  size_t left_ = 0;  // of the payload
};

// Vocabulary. A send expects the next stream that the session opens: sessions open streams in the
// order of their leases. The target is the stream of a send that has a fault.
//
// What it promises stays true of the server. A stream that GOAWAY calls unprocessed never leaves,
// nor does anything behind it. The header block of a stream that is reset does, since the next ones
// build on it (RFC 7541), but one that is refused does not end its request, and the server is told
// RST_STREAM (CANCEL) of every one that is not complete. What the server still says on it passes:
// nghttp2 ignores it and keeps the compression and the windows right.
//
// Frames are put in between the server's, never before its SETTINGS and never inside a header block
// (RFC 9113 sections 3.4 and 6.10).
class Http2Layer final : public Layer {
 public:
  static constexpr size_t kMostHeld = 64 * 1024;  // of ours that the lower stream has not accepted
  static constexpr size_t kMostExpected = 4096;

  Http2Layer(io::Loop& loop, std::unique_ptr<io::Stream> lower, StreamOwner& owner, uint64_t id);
  ~Http2Layer() override;
  void owner_gone() { owner_ = nullptr; }

  void begin_send(bool alone);
  void arm(const Rule& rule);

  Result<size_t> writev(std::span<const iovec> parts) override;
  Result<bool> flush() override;
  Result<void> shutdown_write() override;
  Result<int> lend(bool blocking) override;
  io::StreamFacts facts() const override { return lower()->facts(); }
  void close(bool abort) override;

 private:
  struct Expected {
    std::optional<Kind> kind;
    uint32_t code = 0;
  };

  // --- out
  void pass_out(std::span<const uint8_t> bytes);
  void out_head();
  void stream_opens(uint32_t stream);
  void out_frame_ended();
  Result<bool> push();
  // --- in
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override;
  bool may_put_in() const;
  void put_in();
  void put_in_later(std::string frame);
  void in_frame_ended();
  void leave();

  StreamOwner* owner_;
  const uint64_t id_;
  std::deque<Expected> expected_;

  FrameCutter out_;
  size_t preface_left_ = 24;
  bool passing_ = true;  // the frame that is under way
  uint32_t last_opened_ = 0;
  uint32_t unprocessed_from_ = 0;  // by our GOAWAY; 0 = none
  uint32_t target_ = 0;            // of a reset, while its header block leaves
  bool target_ends_ = false;       // the block is the whole request
  std::set<uint32_t> cancelled_;
  std::string held_;
  size_t held_sent_ = 0;
  bool owes_room_ = false;

  FrameCutter in_;
  bool settings_came_ = false;
  bool in_block_ = false;
  bool dropping_ = false;  // the frame that is under way
  std::string to_put_in_;
};

}  // namespace conpool::fault
