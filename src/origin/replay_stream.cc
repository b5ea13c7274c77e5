// A stream whose first bytes come again.
#include "origin/replay_stream.h"

namespace conpool::origin {

ReplayStream::ReplayStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, std::string first,
                           bool ended)
    : loop_(loop),
      lower_(std::move(lower)),
      first_(std::move(first)),
      ended_(ended),
      timer_([this] { replay(); }) {
  lower_->read(false);
  lower_->set_handler(this);
}

void ReplayStream::read(bool on) {
  reading_ = on;
  if (replaying()) {
    if (on) loop_.arm(timer_, loop_.now());
  } else {
    lower_->read(on);
  }
}

void ReplayStream::replay() {
  if (!reading_ || closed() || handler_ == nullptr) return;
  if (!first_.empty()) {
    const std::string bytes = std::exchange(first_, {});
    handler_->on_data(
        Slice::copy_of({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
    if (!reading_ || closed()) return;
  }
  if (ended_) {
    ended_ = false;
    handler_->on_eof();
  } else if (!replaying()) {
    lower_->read(true);
  }
}

io::Peek ReplayStream::peek() {
  if (closed()) return io::Peek::Failed;
  if (!first_.empty()) return io::Peek::Data;
  return ended_ ? io::Peek::Eof : lower_->peek();
}

Result<int> ReplayStream::lend(bool) {
  return fail(Status::E_UNSUPPORTED, "the stream's beginning was read already");
}

void ReplayStream::close(bool abort) {
  timer_.cancel();
  handler_ = nullptr;
  lower_->close(abort);
}

// What the stream below had in hand when it was handed over comes behind what was read before.
void ReplayStream::on_data(Slice data) {
  if (!first_.empty()) {
    first_.append(as_text(data.span()));
  } else if (handler_ != nullptr) {
    handler_->on_data(std::move(data));
  }
}

void ReplayStream::on_eof() {
  if (!first_.empty()) {
    ended_ = true;
  } else if (handler_ != nullptr) {
    handler_->on_eof();
  }
}

void ReplayStream::on_writable() {
  if (handler_ != nullptr) handler_->on_writable();
}

void ReplayStream::on_failed(const Failure& failure) {
  timer_.cancel();
  first_.clear();
  ended_ = false;
  if (handler_ != nullptr) handler_->on_failed(failure);
}

}  // namespace conpool::origin
