// Holding back, and telling in order.
#include "fault/layer.h"

#include <utility>

namespace conpool::fault {

Layer::Layer(io::Loop& loop) : loop_(loop), self_(std::make_shared<Layer*>(this)) {
  timer_.set_callback([this] { tell(); });
}

Layer::~Layer() {
  if (lower_ != nullptr) loop_.discard(std::move(lower_));
}

void Layer::adopt(std::unique_ptr<io::Stream> lower) {
  lower_ = std::move(lower);
  lower_->set_handler(this);
  lower_reading_ = false;
  follow_reading();
}

void Layer::set_handler(io::StreamHandler* handler) {
  handler_ = handler;
  if (handler_ == nullptr || !open()) return;
  follow_reading();
  if (!waiting_.empty() || end_ != End::None || owes_connected_ || owes_writable_) tell_later();
}

void Layer::read(bool on) {
  reading_ = on;
  if (!open()) return;
  follow_reading();
  if (on && (!waiting_.empty() || end_ != End::None)) tell_later();
}

void Layer::follow_reading() {
  if (lower_ == nullptr || !open()) return;
  const bool wanted =
      reading_ && handler_ != nullptr && waiting_.empty() && end_ == End::None && wants_bytes();
  if (wanted == lower_reading_) return;
  lower_reading_ = wanted;
  lower_->read(wanted);
}

void Layer::add(Slice bytes) {
  if (!bytes.empty() && end_ == End::None) waiting_.push_back(std::move(bytes));
}

void Layer::add_eof() {
  if (end_ == End::None) end_ = End::Eof;
}

void Layer::add_failure(Failure failure) {
  if (end_ == End::Failure) return;
  end_ = End::Failure;  // also behind an EOF: the other direction broke
  failure_ = std::move(failure);
}

void Layer::tell_later() {
  if (std::exchange(later_, true)) return;
  loop_.defer([self = std::weak_ptr<Layer*>(self_)] {
    const std::shared_ptr<Layer*> alive = self.lock();
    if (alive == nullptr) return;
    (*alive)->later_ = false;
    (*alive)->tell();
  });
}

void Layer::tell() {
  if (telling_ || !open() || handler_ == nullptr) return;
  telling_ = true;
  if (std::exchange(owes_connected_, false)) handler_->on_connected();
  while (open() && handler_ != nullptr && reading_ && !waiting_.empty()) {
    if (const Time at = due(); at > loop_.now()) {
      loop_.arm(timer_, at);
      break;
    }
    const size_t size = share(waiting_.front().size());
    Slice piece = waiting_.front().sub(0, size);
    if (size == waiting_.front().size()) {
      waiting_.pop_front();
    } else {
      waiting_.front().remove_prefix(size);
    }
    handler_->on_data(std::move(piece));
  }
  if (waiting_.empty() && end_ != End::None) tell_end();
  tell_writable();
  telling_ = false;
  follow_reading();
}

void Layer::tell_end() {
  if (!open() || handler_ == nullptr || !reading_) return;
  if (end_ == End::Eof && told_end_) return;
  if (const Time at = due(); at > loop_.now()) return loop_.arm(timer_, at);
  if (end_ == End::Eof) {
    told_end_ = true;
    return handler_->on_eof();
  }
  failing();
  state_ = State::Failed;
  timer_.cancel();
  const Failure cause = failure_;
  handler_->on_failed(cause);
}

void Layer::tell_writable() {
  if (!owes_writable_ || !open() || handler_ == nullptr) return;
  owes_writable_ = false;
  handler_->on_writable();
}

Unexpected Layer::fail_now(Failure failure) {
  state_ = State::Failed;
  timer_.cancel();
  waiting_.clear();
  return fail(std::move(failure));
}

Result<void> Layer::usable() {
  if (!open()) return fail(Status::E_CLOSED, "the stream is closed");
  if (end_ != End::Failure) return {};
  failing();
  return fail_now(failure_);
}

Result<bool> Layer::flush() {
  if (!open()) return fail(Status::E_CLOSED, "the stream is closed");
  return lower_ == nullptr ? Result<bool>(true) : lower_->flush();
}

io::Peek Layer::peek() {
  if (!open()) return io::Peek::Failed;
  if (!waiting_.empty()) return io::Peek::Data;
  if (end_ != End::None) return end_ == End::Eof ? io::Peek::Eof : io::Peek::Failed;
  return lower_ == nullptr ? io::Peek::Quiet : lower_->peek();
}

io::Peek Layer::reclaim() {
  if (lower_ == nullptr) return io::Peek::Failed;
  const io::Peek found = lower_->reclaim();
  return open() ? found : io::Peek::Failed;
}

void Layer::idle(bool on) {
  if (lower_ != nullptr) lower_->idle(on);
}

void Layer::close(bool abort) {
  if (state_ == State::Closed) return;
  state_ = State::Closed;
  handler_ = nullptr;
  timer_.cancel();
  waiting_.clear();
  if (lower_ != nullptr) lower_->close(abort);
}

void Layer::on_connected() {
  owes_connected_ = true;
  tell();
}

void Layer::on_data(Slice data) {
  add(std::move(data));
  tell();
}

void Layer::on_eof() {
  add_eof();
  tell();
}

void Layer::on_writable() {
  owes_writable_ = true;
  tell();
}

void Layer::on_failed(const Failure& failure) {
  add_failure(failure);
  if (waiting_.empty() && open() && handler_ != nullptr && !telling_) {
    // The lower stream decided to tell it, whether anybody reads or not.
    state_ = State::Failed;
    timer_.cancel();
    return handler_->on_failed(failure);
  }
  tell();
}

}  // namespace conpool::fault
