// One connection of a scripted HTTP server.
#include "origin/http_connection.h"

#include <algorithm>

#include "origin/http1_protocol.h"
#include "origin/http2_protocol.h"
#include "tls/tls_stream.h"

namespace conpool::origin {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // RFC 9113 §3.4

}  // namespace

HttpConnection::HttpConnection(HttpServer& server, uint64_t number, HttpScript script,
                               std::unique_ptr<io::Stream> stream, bool ready)
    : Connection(number),
      server_(server),
      loop_(server.loop_),
      script_(std::move(script)),
      stream_(std::move(stream)),
      ready_(ready),
      later_timer_([this] {
        release_due();
        run();
      }),
      idle_timer_([this] { on_idle(); }),
      age_timer_([this] { end(script_.ending); }) {}

void HttpConnection::start() {
  stream_->set_handler(this);
  if (ready_) begin();
}

void HttpConnection::on_connected() {
  const auto* secured = dynamic_cast<const tls::TlsStream*>(stream_.get());
  if (secured != nullptr) {
    const bool h2 = secured->tls_facts().alpn == "h2";
    speak(h2 ? HttpProtocol::Http2 : HttpProtocol::Http1);
  }
  begin();
}

void HttpConnection::begin() {
  begun_ = true;
  if (script_.close_after > 0) loop_.arm(age_timer_, loop_.now() + script_.close_after);
  run();
}

void HttpConnection::on_data(Slice data) {
  server_.counts_.bytes_in += data.size();
  received_ += data.size();
  idle_timer_.cancel();
  const std::string_view bytes = as_text(data.span());
  if (!ending()) {
    if (speaker_ == nullptr) {
      choose(bytes);
    } else {
      speaker_->on_bytes(bytes);
    }
  }
  if (!ending() && received_ >= script_.cut_after_received) {
    if (speaker_ != nullptr) speaker_->pump();  // what it says first, if only that
    end_after_output(script_.ending);
  }
  run();
}

// Plaintext: HTTP/2 by prior knowledge begins with its preface (RFC 9113 §3.3).
void HttpConnection::choose(std::string_view bytes) {
  first_.append(bytes);
  const size_t size = std::min(first_.size(), kPreface.size());
  const bool h2 =
      script_.http2 && std::string_view(first_).substr(0, size) == kPreface.substr(0, size);
  if (h2 && size < kPreface.size()) return;
  speak(h2 ? HttpProtocol::Http2 : HttpProtocol::Http1);
  const std::string all = std::move(first_);
  first_.clear();
  if (speaker_ != nullptr) speaker_->on_bytes(all);
}

void HttpConnection::speak(HttpProtocol protocol) {
  if (protocol == HttpProtocol::Http1) {
    ++server_.http_counts_.http1_connections;
    speaker_ = std::make_unique<Http1Protocol>(*this);
    return;
  }
  ++server_.http_counts_.http2_connections;
  speaker_ = std::make_unique<Http2Protocol>(*this);
}

void HttpConnection::on_eof() {
  got_eof_ = true;
  ++server_.counts_.peer_closed;
  if (half_closed_) {
    finish(false);
    return;
  }
  if (!ending() && (speaker_ == nullptr || !speaker_->on_eof())) end_after_output(Ending::Close);
  run();
}

void HttpConnection::on_failed(const Failure&) {
  ++server_.counts_.peer_failed;
  finish(false);
}

void HttpConnection::queue(std::string_view bytes) {
  if (!ending()) out_.append(bytes);
}

void HttpConnection::queue_later(std::string bytes, Nanos delay) {
  later_.push_back({loop_.now() + delay, std::move(bytes)});
  release_due();
}

// Moves what is due behind what waits already; sends nothing.
void HttpConnection::release_due() {
  Time next = kNever;
  for (auto at = later_.begin(); at != later_.end();) {
    if (at->due > loop_.now()) {
      next = std::min(next, at->due);
      ++at;
      continue;
    }
    queue(at->bytes);
    at = later_.erase(at);
  }
  loop_.arm(later_timer_, next);
}

uint64_t HttpConnection::count_request() {
  const uint64_t number = requests_++;
  if (requests_ >= script_.stop_reading_after_requests) stopped_reading_ = true;
  return number;
}

void HttpConnection::run() {
  if (running_ || over_ || !begun_) return;
  running_ = true;
  for (;;) {
    if (speaker_ != nullptr && !ending()) speaker_->pump();
    if (over_ || out_at_ == out_.size() || !send()) break;
  }
  running_ = false;
  if (over_ || end_if_sent()) return;
  follow_reading();
  follow_idle();
}

// False when the stream takes no more for now, or ended.
bool HttpConnection::send() {
  const uint64_t allowed = script_.cut_after_sent - std::min(script_.cut_after_sent, sent_);
  const auto size =
      static_cast<size_t>(std::min<uint64_t>({out_.size() - out_at_, kWriteBytes, allowed}));
  size_t accepted = 0;
  if (size > 0) {
    const iovec part{out_.data() + out_at_, size};
    Result<size_t> written = stream_->writev({&part, 1});
    if (!written || !stream_->flush()) {
      ++server_.counts_.peer_failed;
      finish(false);
      return false;
    }
    accepted = *written;
  }
  out_at_ += accepted;
  sent_ += accepted;
  server_.counts_.bytes_out += accepted;
  if (sent_ >= script_.cut_after_sent) {
    out_.clear();
    out_at_ = 0;
    end_after_output(script_.ending);
    return false;
  }
  if (out_at_ == out_.size() || out_at_ > kOutBytes) {
    out_.erase(0, out_at_);
    out_at_ = 0;
  }
  return accepted == size;
}

// True when the connection is over.
bool HttpConnection::end_if_sent() {
  if (!ending_set_ || half_closed_ || out_at_ < out_.size()) return false;
  const Result<bool> flushed = stream_->flush();
  if (flushed && !*flushed) return false;  // on_writable follows
  if (ending_ == Ending::HalfClose && !got_eof_) {
    half_closed_ = true;
    if (speaker_ != nullptr) speaker_->stop();
    if (stream_->shutdown_write()) return false;
  }
  if (ending_ == Ending::Reset) ++server_.counts_.resets;
  finish(ending_ == Ending::Reset);
  return true;
}

void HttpConnection::end(Ending ending) {
  if (over_) return;
  if (ending != Ending::Reset && begun_) {
    end_after_output(ending);
    run();
    return;
  }
  if (ending == Ending::Reset) ++server_.counts_.resets;
  finish(ending == Ending::Reset);
}

void HttpConnection::end_after_output(Ending ending) {
  if (ending_set_) return;
  ending_set_ = true;
  ending_ = ending;
  later_.clear();
  age_timer_.cancel();
}

void HttpConnection::follow_reading() {
  const bool full = speaker_ != nullptr && speaker_->full();
  stream_->read(script_.read && !stopped_reading_ && !full && !got_eof_);
}

void HttpConnection::follow_idle() {
  const bool busy = half_closed_ || ending_set_ || (speaker_ != nullptr && speaker_->busy());
  if (script_.idle_timeout == 0 || busy) {
    idle_timer_.cancel();
  } else if (!idle_timer_.armed()) {
    loop_.arm(idle_timer_, loop_.now() + script_.idle_timeout);
  }
}

void HttpConnection::on_idle() {
  if (speaker_ != nullptr) speaker_->on_idle();
  end_after_output(Ending::Close);
  run();
}

void HttpConnection::finish(bool abort) {
  if (over_) return;
  over_ = true;
  for (Timer* timer : {&later_timer_, &idle_timer_, &age_timer_})
    timer->cancel();
  if (speaker_ != nullptr) speaker_->stop();
  stream_->set_handler(nullptr);
  stream_->close(abort);
  loop_.discard(std::move(stream_));
  server_.remove(*this);
}

}  // namespace conpool::origin
