// One accepted connection of the scripted server.
#include "origin/session.h"

#include <algorithm>

namespace conpool::origin {

Session::Session(Server& server, uint64_t number, Script script, std::unique_ptr<io::Stream> stream,
                 bool ready)
    : Connection(number),
      server_(server),
      loop_(server.loop_),
      script_(std::move(script)),
      stream_(std::move(stream)),
      ready_(ready),
      reply_timer_([this] { release_due(); }),
      slow_timer_([this] {
        slow_pause_ = false;
        send();
      }),
      idle_timer_([this] { on_idle(); }),
      age_timer_([this] { end(script_.ending); }) {}

void Session::start() {
  stream_->set_handler(this);
  if (ready_) begin();
}

void Session::begin() {
  begun_ = true;
  if (script_.read) stream_->read(true);
  if (script_.close_after > 0) loop_.arm(age_timer_, loop_.now() + script_.close_after);
  touch();
  if (!script_.greeting.empty()) queue(script_.greeting, script_.greeting_delay, false);
}

void Session::on_data(Slice data) {
  touch();
  server_.counts_.bytes_in += data.size();
  received_ += data.size();
  if (!ending_set_) {
    in_.append(as_text(data.span()));
    take_requests();
  }
  if (!over_ && !ending_set_ && received_ >= script_.close_after_bytes) end(script_.ending);
}

void Session::on_eof() {
  if (half_closed_) {
    ++server_.counts_.peer_closed;
    finish(false);
    return;
  }
  // What was asked before the end is still answered.
  ++server_.counts_.peer_closed;
  end(Ending::Close);
}

void Session::on_failed(const Failure&) {
  ++server_.counts_.peer_failed;
  finish(false);
}

void Session::take_requests() {
  if (script_.answer == Answer::Silent) in_.clear();
  if (script_.answer == Answer::Echo && !in_.empty()) {
    std::string bytes = std::move(in_);
    in_.clear();
    answer(std::move(bytes));
  }
  const bool sized = script_.answer == Answer::Fixed && script_.request_size > 0;
  size_t taken = 0;
  while (!over_ && !ending_set_ && taken < in_.size()) {
    const std::string_view rest = std::string_view(in_).substr(taken);
    const size_t newline = sized ? std::string_view::npos : rest.find('\n');
    const size_t size = sized ? script_.request_size : newline + 1;  // npos + 1 = 0: no line yet
    if (size == 0 || size > rest.size()) break;
    taken += size;
    if (script_.answer == Answer::Fixed) {
      answer(script_.reply);
    } else {
      take_line(rest.substr(0, newline));
    }
  }
  in_.erase(0, taken);
  if (!over_ && !sized && in_.size() > Server::kLineBytes) end(Ending::Reset);
}

void Session::take_line(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const auto found = script_.replies.find(line);
  answer((found == script_.replies.end() ? script_.unknown : found->second) + '\n');
}

void Session::answer(std::string bytes) {
  ++server_.counts_.requests;
  queue(std::move(bytes), script_.reply_delay, ++requests_ >= script_.close_after_requests);
}

void Session::queue(std::string bytes, Nanos delay, bool last) {
  if (!script_.write) bytes.clear();
  Time due = loop_.now() + delay;
  if (!replies_.empty()) due = std::max(due, replies_.back().due);
  replies_.push_back(Reply{due, std::move(bytes), last});
  release_due();
}

// Replies whose time has come go out; too many unsent bytes hold back the reading.
void Session::release_due() {
  while (!replies_.empty() && replies_.front().due <= loop_.now()) {
    Reply reply = std::move(replies_.front());
    replies_.pop_front();
    out_ += reply.bytes;
    if (!reply.last) continue;
    replies_.clear();
    end_after_output(script_.ending);
    return;
  }
  if (!replies_.empty()) loop_.arm(reply_timer_, replies_.front().due);
  send();
}

void Session::send() {
  while (!over_ && !half_closed_ && begun_ && !slow_pause_ && out_offset_ < out_.size()) {
    if (!write_some(script_.slow_bytes > 0 ? script_.slow_bytes : SIZE_MAX)) break;
    if (script_.slow_bytes > 0 && out_offset_ < out_.size()) {
      slow_pause_ = true;
      loop_.arm(slow_timer_, loop_.now() + script_.slow_interval);
    }
  }
  if (over_ || !begun_) return;
  if (out_offset_ == out_.size()) {
    out_.clear();
    out_offset_ = 0;
  }
  if (script_.read) stream_->read(out_.size() - out_offset_ < Server::kPendingBytes);
  end_if_sent();
}

// False when the stream takes no more for now, or ended.
bool Session::write_some(size_t limit) {
  const uint64_t allowed = script_.close_after_sent - std::min(script_.close_after_sent, sent_);
  const size_t size =
      static_cast<size_t>(std::min<uint64_t>({out_.size() - out_offset_, limit, allowed}));
  if (size > 0) {
    const iovec part{out_.data() + out_offset_, size};
    Result<size_t> accepted = stream_->writev({&part, 1});
    if (!accepted || !stream_->flush()) {
      ++server_.counts_.peer_failed;
      finish(false);
      return false;
    }
    out_offset_ += *accepted;
    sent_ += *accepted;
    server_.counts_.bytes_out += *accepted;
    if (*accepted > 0) touch();
    if (*accepted < size) return false;
  }
  if (sent_ < script_.close_after_sent) return true;
  out_.clear();
  out_offset_ = 0;
  end(script_.ending);
  return false;
}

void Session::end_if_sent() {
  if (!out_.empty() || !replies_.empty() || !ending_set_ || half_closed_) return;
  if (ending_ == Ending::HalfClose) {
    half_closed_ = true;
    if (!stream_->shutdown_write()) finish(false);
    return;
  }
  if (ending_ == Ending::Reset) ++server_.counts_.resets;
  finish(ending_ == Ending::Reset);
}

void Session::end(Ending ending) {
  if (over_) return;
  if (ending != Ending::Reset && begun_) {
    end_after_output(ending);
    return;
  }
  if (ending == Ending::Reset) ++server_.counts_.resets;
  finish(ending == Ending::Reset);
}

void Session::end_after_output(Ending ending) {
  ending_set_ = true;
  ending_ = ending;
  age_timer_.cancel();
  send();
}

void Session::touch() {
  last_byte_ = loop_.now();
  Time next = kNever;
  if (script_.close_after_idle > 0) next = last_byte_ + script_.close_after_idle;
  if (script_.unsolicited_after > 0 && !unsolicited_sent_) {
    next = std::min(next, last_byte_ + script_.unsolicited_after);
  }
  loop_.arm(idle_timer_, next);
}

void Session::on_idle() {
  const Nanos idle = loop_.now() - last_byte_;
  if (script_.close_after_idle > 0 && idle >= script_.close_after_idle) {
    end(out_offset_ < out_.size() ? Ending::Reset : script_.ending);  // it does not take our bytes
    return;
  }
  unsolicited_sent_ = true;
  queue(script_.unsolicited, 0, false);
}

void Session::finish(bool abort) {
  if (over_) return;
  over_ = true;
  for (Timer* timer : {&reply_timer_, &slow_timer_, &idle_timer_, &age_timer_})
    timer->cancel();
  stream_->set_handler(nullptr);
  stream_->close(abort);
  loop_.discard(std::move(stream_));
  server_.remove(*this);
}

}  // namespace conpool::origin
