// TLS over another stream: the writing side, and closing.
#include <openssl/ssl.h>

#include <algorithm>

#include "tls/errors.h"
#include "tls/tls_stream.h"

namespace conpool::tls {

namespace {

constexpr size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr size_t kRecordOverhead = 256;  // header, nonce, padding and tag of any cipher suite

// Walks over the parts and gives one record's plaintext at a time, without copying where a part is
// large enough on its own.
class Gatherer {
 public:
  explicit Gatherer(std::span<const iovec> parts) : parts_(parts) { skip_empty(); }
  bool done() const { return parts_.empty(); }
  size_t left_in_part() const { return parts_.front().iov_len - offset_; }

  std::span<const char> next(char* buffer) {
    if (left_in_part() >= kRecord || parts_.size() == 1) {
      const size_t size = std::min(left_in_part(), kRecord);
      return {data(), size};
    }
    Gatherer ahead = *this;
    size_t size = 0;
    while (!ahead.done() && size < kRecord) {
      const size_t part = std::min(ahead.left_in_part(), kRecord - size);
      std::copy_n(ahead.data(), part, buffer + size);
      size += part;
      ahead.advance(part);
    }
    return {buffer, size};
  }

  void advance(size_t size) {
    while (size > 0) {
      const size_t part = std::min(left_in_part(), size);
      offset_ += part;
      size -= part;
      skip_empty();
    }
  }

 private:
  const char* data() const { return static_cast<const char*>(parts_.front().iov_base) + offset_; }
  void skip_empty() {
    while (!parts_.empty() && offset_ == parts_.front().iov_len) {
      parts_ = parts_.subspan(1);
      offset_ = 0;
    }
  }

  std::span<const iovec> parts_;
  size_t offset_ = 0;
};

}  // namespace

Result<size_t> TlsStream::writev(std::span<const iovec> parts) {
  if (state_ == State::Closed || state_ == State::Failed) return fail(Status::E_CLOSED);
  if (state_ != State::Open) {
    return fail(Status::E_WRONG_STATE, "the TLS handshake is not complete");
  }
  if (sent_end_ || end_due_) return fail(Status::E_WRONG_STATE, "the writing side has ended");
  ErrorScope errors;
  Gatherer gatherer(parts);
  size_t accepted = 0;
  char buffer[kRecord];  // NOLINT: filled by next() as far as it is used
  while (!gatherer.done() && !half_message_) {
    const std::span<const char> plain = gatherer.next(buffer);
    if (held() + plain.size() + kRecordOverhead > kMaxHeld) {
      if (const Result<bool> pushed = push(); !pushed) return end(pushed.error());
      if (held() + plain.size() + kRecordOverhead > kMaxHeld) break;
    }
    size_t written = 0;
    const int result = SSL_write_ex(ssl_, plain.data(), plain.size(), &written);
    if (result != 1) {
      const int reason = SSL_get_error(ssl_, result);
      if (reason != SSL_ERROR_WANT_READ) return end(classify(reason));
      half_message_ = true;
      break;
    }
    gatherer.advance(written);
    accepted += written;
  }
  if (!gatherer.done()) owed_writable_ = true;
  if (half_message_) follow_reading();
  if (held() > 0 && !lower_full_) flush_later();
  return accepted;
}

Result<bool> TlsStream::flush() {
  if (state_ == State::Closed || state_ == State::Failed) return fail(Status::E_CLOSED);
  Result<bool> pushed = push();
  if (!pushed) return end(pushed.error());
  if (!*pushed) owed_writable_ = true;
  return pushed;
}

void TlsStream::flush_later() {
  if (flush_due_) return;
  flush_due_ = true;
  loop_.defer([self = std::weak_ptr<TlsStream*>(self_)] {
    const std::shared_ptr<TlsStream*> alive = self.lock();
    if (alive == nullptr) return;
    TlsStream& stream = **alive;
    stream.flush_due_ = false;
    if (stream.state_ != State::Open) return;
    if (const Result<bool> pushed = stream.push(); !pushed) stream.report(pushed.error());
  });
}

Result<bool> TlsStream::push() {
  if (lower_full_) return false;
  while (held() > 0) {
    const iovec part{out_.data() + out_sent_, held()};
    const Result<size_t> taken = lower_->writev({&part, 1});
    if (!taken) return fail(taken.error());
    out_sent_ += *taken;
    if (*taken < part.iov_len) {
      lower_full_ = true;
      if (out_sent_ >= kMaxHeld / 2) {
        out_.erase(0, out_sent_);
        out_sent_ = 0;
      }
      return false;
    }
  }
  out_.clear();
  out_sent_ = 0;
  const Result<bool> flushed = lower_->flush();
  if (!flushed) return fail(flushed.error());
  if (!*flushed) {
    lower_full_ = true;
    return false;
  }
  if (fin_due_) {
    fin_due_ = false;
    if (const Result<void> ended = lower_->shutdown_write(); !ended) return fail(ended.error());
  }
  return true;
}

Result<void> TlsStream::shutdown_write() {
  if (state_ == State::Closed || state_ == State::Failed) return fail(Status::E_CLOSED);
  if (state_ != State::Open) {
    return fail(Status::E_WRONG_STATE, "the TLS handshake is not complete");
  }
  if (sent_end_ || end_due_) return {};
  if (SSL_in_init(ssl_) != 0) {  // OpenSSL refuses while half a message of the peer is here
    end_due_ = true;
    half_message_ = true;
    follow_reading();
    return {};
  }
  if (const Result<void> sent = send_end(); !sent) return end(sent.error());
  return {};
}

Result<void> TlsStream::send_end() {
  sent_end_ = true;
  {
    ErrorScope errors;
    const int result = SSL_shutdown(ssl_);
    if (result < 0) {
      const int reason = SSL_get_error(ssl_, result);
      if (reason != SSL_ERROR_WANT_READ) return fail(classify(reason));
    }
  }
  fin_due_ = true;
  if (const Result<bool> pushed = push(); !pushed) return fail(pushed.error());
  return {};
}

void TlsStream::close(bool abort) {
  if (state_ == State::Closed) return;
  if (state_ == State::Open && !abort && !broken_ && lower_ != nullptr) {
    ErrorScope errors;
    if (!sent_end_ && SSL_in_init(ssl_) == 0) SSL_shutdown(ssl_);
    sent_end_ = true;
    fin_due_ = false;
    (void)push();  // as far as it goes at once: close does not wait
  }
  transition(State::Closed);
  handler_ = nullptr;
  lower_->close(abort);
  out_ = std::string();
  out_sent_ = 0;
  in_ = Slice();
}

Result<int> TlsStream::lend(bool) {
  return fail(Status::E_UNSUPPORTED,
              "a TLS connection's descriptor cannot be lent: its bytes are encrypted");
}

io::Peek TlsStream::reclaim() {
  return io::Peek::Failed;
}

void TlsStream::idle(bool on) {
  if (!on || state_ != State::Open) return;
  SSL_free_buffers(ssl_);  // refuses while it holds bytes, and allocates again when bytes move
  if (held() == 0) {
    out_ = std::string();
    out_sent_ = 0;
  }
}

}  // namespace conpool::tls
