// Frames that nobody sent, and frames that never arrive.
#include "fault/http2_layer.h"

#include <algorithm>

namespace conpool::fault {
namespace {

// RFC 9113 section 6.
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kRstStream = 3;
constexpr uint8_t kPushPromise = 5;
constexpr uint8_t kGoaway = 7;
constexpr uint8_t kWindowUpdate = 8;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr uint32_t kRefusedStream = 7;
constexpr uint32_t kCancel = 8;

void add32(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out->push_back(static_cast<char>(value >> shift));
}

std::string frame(uint8_t type, uint32_t stream, std::initializer_list<uint32_t> payload) {
  std::string out{0, 0, static_cast<char>(4 * payload.size()), static_cast<char>(type), 0};
  add32(&out, stream);
  for (const uint32_t word : payload)
    add32(&out, word);
  return out;
}

}  // namespace

// --- frames

size_t FrameCutter::take(std::span<const uint8_t> bytes) {
  if (head_size_ < kHead) {
    const size_t size = std::min(kHead - head_size_, bytes.size());
    std::copy_n(bytes.begin(), size, head_.begin() + static_cast<ptrdiff_t>(head_size_));
    head_size_ += size;
    if (head_size_ == kHead) left_ = this->size();
    return size;
  }
  const size_t size = std::min(left_, bytes.size());
  left_ -= size;
  return size;
}

uint32_t FrameCutter::size() const {
  return uint32_t{head_[0]} << 16 | uint32_t{head_[1]} << 8 | head_[2];
}

uint32_t FrameCutter::stream() const {
  return (uint32_t{head_[5]} & 0x7f) << 24 | uint32_t{head_[6]} << 16 | uint32_t{head_[7]} << 8 |
         head_[8];
}

// --- the layer

Http2Layer::Http2Layer(io::Loop& loop, std::unique_ptr<io::Stream> lower, StreamOwner& owner,
                       uint64_t id)
    : Layer(loop), owner_(&owner), id_(id) {
  adopt(std::move(lower));
}

Http2Layer::~Http2Layer() {
  leave();
}

void Http2Layer::leave() {
  if (StreamOwner* owner = std::exchange(owner_, nullptr)) owner->forget_http2(id_);
}

// A send that was cancelled before its stream opened is forgotten as soon as the next one is alone.
void Http2Layer::begin_send(bool alone) {
  if (alone || expected_.size() >= kMostExpected) expected_.clear();
  expected_.push_back({});
}

void Http2Layer::arm(const Rule& rule) {
  if (!expected_.empty()) expected_.back() = {rule.kind, rule.code};
}

// --- out
// ------------------------------------------------------------------------------------------------

void Http2Layer::stream_opens(uint32_t stream) {
  last_opened_ = stream;
  if (expected_.empty()) return;
  const Expected expected = expected_.front();
  expected_.pop_front();
  if (!expected.kind || unprocessed_from_ != 0) return;
  if (expected.kind == Kind::Goaway) {
    unprocessed_from_ = stream;
    put_in_later(frame(kGoaway, 0, {stream < 2 ? 0 : stream - 2, expected.code}));
    return;
  }
  if (expected.code == kRefusedStream) out_.clear_flag(kEndStream);
  target_ = stream;
  target_ends_ = (out_.flags() & kEndStream) != 0;
  put_in_later(frame(kRstStream, stream, {expected.code}));
}

// Decides what becomes of the frame whose head is complete.
void Http2Layer::out_head() {
  const uint32_t stream = out_.stream();
  if (out_.type() == kHeaders && stream > last_opened_) stream_opens(stream);
  passing_ = (unprocessed_from_ == 0 || stream < unprocessed_from_) && !cancelled_.contains(stream);
  if (passing_) {
    held_.append(reinterpret_cast<const char*>(out_.head().data()), FrameCutter::kHead);
  } else if (out_.type() == kData && out_.size() > 0) {
    // The connection's window was spent on it and nobody would ever give it back.
    put_in_later(frame(kWindowUpdate, 0, {out_.size()}));
  }
}

void Http2Layer::out_frame_ended() {
  const bool block_ends = (out_.type() == kHeaders || out_.type() == kContinuation) &&
                          (out_.flags() & kEndHeaders) != 0;
  if (block_ends && target_ != 0 && out_.stream() == target_) {
    if (!target_ends_) {
      held_ += frame(kRstStream, target_, {kCancel});
      cancelled_.insert(target_);
    }
    target_ = 0;
  }
  out_.next_frame();
}

void Http2Layer::pass_out(std::span<const uint8_t> bytes) {
  if (preface_left_ > 0) {
    const size_t size = std::min(preface_left_, bytes.size());
    held_.append(reinterpret_cast<const char*>(bytes.data()), size);
    preface_left_ -= size;
    bytes = bytes.subspan(size);
  }
  while (!bytes.empty()) {
    const bool in_head = !out_.head_complete();
    const size_t size = out_.take(bytes);
    if (!in_head && passing_) held_.append(reinterpret_cast<const char*>(bytes.data()), size);
    bytes = bytes.subspan(size);
    if (in_head && out_.head_complete()) out_head();
    if (out_.frame_complete()) out_frame_ended();
  }
}

// True when nothing is held any more.
Result<bool> Http2Layer::push() {
  while (held_sent_ < held_.size()) {
    const iovec rest{held_.data() + held_sent_, held_.size() - held_sent_};
    Result<size_t> accepted = lower()->writev({&rest, 1});
    if (!accepted) return fail(std::move(accepted.error()));
    held_sent_ += *accepted;
    if (*accepted < rest.iov_len) return false;
  }
  held_.clear();
  held_sent_ = 0;
  return true;
}

Result<size_t> Http2Layer::writev(std::span<const iovec> parts) {
  if (Result<void> good = usable(); !good) return fail(std::move(good.error()));
  Result<bool> empty = push();
  if (!empty) return fail_now(std::move(empty.error()));
  owes_room_ = !*empty;
  if (owes_room_) return size_t{0};
  size_t taken = 0;
  for (const iovec& part : parts) {
    const size_t size = std::min(part.iov_len, kMostHeld - taken);
    pass_out({static_cast<const uint8_t*>(part.iov_base), size});
    taken += size;
    owes_room_ = size < part.iov_len;
    if (owes_room_) break;
  }
  empty = push();
  if (!empty) return fail_now(std::move(empty.error()));
  if (owes_room_ && *empty) {
    owe_writable();
    owes_room_ = false;
    tell_later();
  }
  return taken;
}

void Http2Layer::on_writable() {
  if (!open()) return;
  const Result<bool> empty = push();
  if (!empty) return Layer::on_failed(empty.error());
  if (*empty && std::exchange(owes_room_, false)) Layer::on_writable();
}

Result<bool> Http2Layer::flush() {
  if (Result<void> good = usable(); !good) return fail(std::move(good.error()));
  Result<bool> empty = push();
  if (!empty) return fail_now(std::move(empty.error()));
  if (*empty) return Layer::flush();
  owes_room_ = true;
  return false;
}

Result<void> Http2Layer::shutdown_write() {
  if (const Result<bool> empty = flush(); !empty) return fail(Failure(empty.error()));
  return lower()->shutdown_write();
}

Result<int> Http2Layer::lend(bool) {
  return fail(Status::E_UNSUPPORTED, "a connection of HTTP/2 cannot be lent");
}

void Http2Layer::close(bool abort) {
  if (closed()) return;
  leave();
  // A last GOAWAY of ours, where there is room for it.
  if (!abort && open()) (void)push();
  Layer::close(abort);
}

// --- in
// -------------------------------------------------------------------------------------------------

bool Http2Layer::may_put_in() const {
  return settings_came_ && in_.between_frames() && !in_block_;
}

void Http2Layer::put_in() {
  if (to_put_in_.empty() || !may_put_in()) return;
  add(Slice::copy_of(as_bytes(to_put_in_)));
  to_put_in_.clear();
}

void Http2Layer::put_in_later(std::string frame) {
  to_put_in_ += frame;
  put_in();
  tell_later();
}

void Http2Layer::in_frame_ended() {
  const bool opens = in_.type() == kHeaders || in_.type() == kPushPromise;
  if (opens || in_.type() == kContinuation) in_block_ = (in_.flags() & kEndHeaders) == 0;
  settings_came_ = true;
  in_.next_frame();
}

// Heads are passed on whole, so that a frame can still be left out when its head is known.
void Http2Layer::on_data(Slice data) {
  size_t begin = 0;  // of what is not yet passed on
  size_t at = 0;
  const auto pass = [&] {
    if (at > begin) add(data.sub(begin, at - begin));
    begin = at;
  };
  while (at < data.size()) {
    const bool in_head = !in_.head_complete();
    const size_t head_before = in_.head().size();
    const size_t head_at = at;
    at += in_.take(data.span().subspan(at));
    if (in_head && !in_.head_complete()) {
      // The rest of the head comes with the next bytes.
      at = head_at;
      pass();
      at = begin = data.size();
      break;
    }
    if (in_head) {
      // The server's own GOAWAY would promise more than ours did.
      dropping_ = unprocessed_from_ != 0 && in_.type() == kGoaway;
      if (head_before > 0 || dropping_) {
        const size_t head_end = at;
        at = head_at;
        pass();
        at = begin = head_end;
        if (!dropping_) add(Slice::copy_of(in_.head()));
      }
    } else if (dropping_) {
      begin = at;
    }
    if (!in_.frame_complete()) continue;
    in_frame_ended();
    if (to_put_in_.empty()) continue;
    pass();
    put_in();
  }
  pass();
  tell();
}

void Http2Layer::on_eof() {
  if (!in_.head_complete() && !in_.between_frames()) add(Slice::copy_of(in_.head()));
  Layer::on_eof();
}

}  // namespace conpool::fault
