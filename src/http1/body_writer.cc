// Blocks of a request, one writev each where the stream takes it.
#include "http1/body_writer.h"

#include <algorithm>
#include <array>

#include "http1/encode.h"

namespace conpool::http1 {

void BodyWriter::begin(const session::RequestHead& head, session::BodySource* body) {
  head_ = &head;
  body_ = body;
  size_.reset();
  if (body != nullptr) size_ = body->size();
  size_left_ = size_.value_or(0);
  chunked_ = body != nullptr && is_chunked(head, size_);
  held_ = expects_continue(head, size_, body != nullptr);
  ended_ = body == nullptr || (!chunked_ && size_left_ == 0);
  stopped_ = sent_ = false;
  accepted_ = 0;
  piece_left_ = 0;
  tail_text_.clear();
  tail_at_ = 0;
  lead_ = head.http1_head;
  if (lead_.empty()) {
    own_head_ = encode_head(head, size_, body != nullptr);
    lead_ = own_head_;
  }
}

Result<BodyWriter::Progress> BodyWriter::send(io::Stream& stream) {
  size_t burst = 0;
  while (!stopped_) {
    // The first piece goes out with the head, in one writev.
    const bool joinable = accepted_ == 0 && piece_left_ == 0 && tail_left() == 0;
    if (!ended_ && !held_ && (block_done() || joinable)) {
      const Result<void> got = next_block();
      if (!got) return fail(got.error());
    }
    if (block_done()) {
      // What the stream itself holds must not wait for a body that may never come.
      const Result<bool> flushed = stream.flush();
      if (!flushed) return fail(flushed.error());
      if (!ended_) return Progress::Starved;
      sent_ = *flushed;
      return sent_ ? Progress::Sent : Progress::Accepted;
    }
    const Result<bool> whole = offer(stream, &burst);
    if (!whole) return fail(whole.error());
    if (!*whole) return Progress::Blocked;
    if (burst >= kBurst && !all_accepted()) return Progress::Paused;
  }
  return Progress::Starved;
}

// Takes the source's next piece, if there is one, as the next block.
Result<void> BodyWriter::next_block() {
  const session::BodySource::Piece piece = body_->peek();
  if (piece.bytes.empty() && !piece.last) return {};
  if (!chunked_) return next_sized(piece);
  next_chunk(piece);
  return {};
}

Result<void> BodyWriter::next_sized(const session::BodySource::Piece& piece) {
  const uint64_t size = piece.bytes.size();
  if (size > size_left_ || (piece.last && size < size_left_)) {
    return fail(Status::E_HTTP_BODY_LENGTH,
                std::to_string(*size_) + " bytes were announced, the source has " +
                    (piece.last ? "" : "at least ") + std::to_string(*size_ - size_left_ + size));
  }
  piece_left_ = size;
  size_left_ -= size;
  ended_ = size_left_ == 0;
  return {};
}

void BodyWriter::next_chunk(const session::BodySource::Piece& piece) {
  tail_text_.clear();
  tail_at_ = 0;
  if (!piece.bytes.empty()) {
    if (lead_.empty()) {
      lead_text_.clear();
    } else {
      lead_text_.assign(lead_);
    }
    append_chunk_line(&lead_text_, piece.bytes.size());
    lead_ = lead_text_;
    tail_text_ = "\r\n";
  }
  piece_left_ = piece.bytes.size();
  if (!piece.last) return;
  append_last_chunk(&tail_text_, head_->trailers);
  ended_ = true;
}

Result<bool> BodyWriter::offer(io::Stream& stream, size_t* burst) {
  std::array<iovec, 3> parts;
  size_t count = 0;
  size_t offered = 0;
  const auto add = [&parts, &count, &offered](const void* data, size_t size) {
    if (size == 0) return;
    parts[count++] = {const_cast<void*>(data), size};
    offered += size;
  };
  add(lead_.data(), lead_.size());
  size_t piece = 0;
  if (piece_left_ > 0) {
    const std::span<const uint8_t> bytes = body_->peek().bytes;
    piece = static_cast<size_t>(std::min<uint64_t>(bytes.size(), piece_left_));
    add(bytes.data(), piece);
  }
  if (piece == piece_left_) add(tail_text_.data() + tail_at_, tail_left());
  const Result<size_t> accepted = stream.writev({parts.data(), count});
  if (!accepted) return fail(accepted.error());
  account(*accepted, piece);
  *burst += *accepted;
  return *accepted == offered;
}

void BodyWriter::account(size_t accepted, size_t piece) {
  accepted_ += accepted;
  const size_t lead = std::min(accepted, lead_.size());
  lead_.remove_prefix(lead);
  accepted -= lead;
  const size_t taken = std::min(accepted, piece);
  piece_left_ -= taken;
  tail_at_ += accepted - taken;
  if (taken > 0) body_->take(taken);
}

}  // namespace conpool::http1
