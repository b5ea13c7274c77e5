// TLS over another stream: the handshake and the reading side.
#include "tls/tls_stream.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <cassert>
#include <new>
#include <optional>

#include "tls/errors.h"

namespace conpool::tls {

namespace {

constexpr size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;  // 16 KiB
constexpr size_t kFirstBytes = 16;

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes)
    text.push_back(c >= 0x20 && c < 0x7f ? c : '.');
  return text;
}

// What a peer that does not speak TLS said; empty when its first byte is that of a TLS record.
std::string foreign_text(std::string_view first) {
  if (first.empty()) return {};
  if (first.starts_with("HTTP/") || first.starts_with("GET ") || first.starts_with("POST ")) {
    return "the peer does not speak TLS: it speaks plain HTTP";
  }
  const auto type = static_cast<unsigned char>(first.front());
  if (type >= 0x14 && type <= 0x18) return {};  // RFC 8446 §5.1, and heartbeat
  return "the peer does not speak TLS: it sent \"" + printable(first) + "\"";
}

// RFC 8446 §6.2: alerts about certificates.
bool about_certificates(int alert) {
  return (alert >= SSL_AD_NO_CERTIFICATE && alert <= SSL_AD_UNKNOWN_CA && alert != 47) ||
         alert == SSL_AD_CERTIFICATE_REQUIRED || alert == SSL_AD_ACCESS_DENIED;
}

std::string alert_text(int alert) {
  return "the peer sent alert " + std::to_string(alert) + " (" + SSL_alert_desc_string_long(alert) +
         ")";
}

}  // namespace

TlsStream::TlsStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, Scratch& scratch)
    : loop_(loop),
      lower_(std::move(lower)),
      scratch_(scratch),
      self_(std::make_shared<TlsStream*>(this)) {
  lower_->set_handler(this);
}

TlsStream::~TlsStream() {
  free_ssl();
  loop_.discard(std::move(lower_));
}

void TlsStream::free_ssl() {
  if (ssl_ == nullptr) return;
  // Without a shutdown on record SSL_free would mark the stored tickets as not resumable.
  if (!broken_) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(std::exchange(ssl_, nullptr));
}

void TlsStream::transition(State next) {
  switch (next) {
    case State::New:
      assert(false);
      break;
    case State::Hop:
      assert(state_ == State::New);
      break;
    case State::Handshake:
      assert(state_ == State::New || state_ == State::Hop);
      break;
    case State::Open:
      assert(state_ == State::Handshake);
      break;
    case State::Failed:
      assert(state_ != State::Closed && state_ != State::Failed);
      break;
    case State::Closed:
      assert(state_ != State::Closed);
      break;
  }
  state_ = next;
}

Result<void> TlsStream::make_ssl(const Library& library, SSL_CTX* context, bool server) {
  ErrorScope errors;
  ssl_ = SSL_new(context);
  BIO* bio = ssl_ != nullptr ? make_bio(library.context(), this) : nullptr;
  if (bio == nullptr) {
    out_of_memory();
    return fail(Status::E_NOMEM, "a TLS connection cannot be made");
  }
  SSL_set_bio(ssl_, bio, bio);
  if (server) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
  }
  return {};
}

Result<void> TlsStream::start(std::unique_ptr<Hop> hop) {
  hop_ = std::move(hop);
  if (hop_ == nullptr) return begin_handshake();
  transition(State::Hop);
  const std::span<const uint8_t> request = hop_->start();
  out_.assign(reinterpret_cast<const char*>(request.data()), request.size());
  if (const Result<bool> pushed = push(); !pushed) return end(pushed.error());
  follow_reading();
  return {};
}

// Runs OpenSSL once with no input at hand: a client's first flight, or nothing.
Result<void> TlsStream::begin_handshake() {
  transition(State::Handshake);
  ErrorScope errors;
  const int done = SSL_do_handshake(ssl_);
  const int reason = SSL_get_error(ssl_, done);
  if (done != 1 && reason != SSL_ERROR_WANT_READ) return end(classify(reason));
  if (const Result<bool> pushed = push(); !pushed) return end(pushed.error());
  follow_reading();
  return {};
}

// --- OpenSSL's end

size_t TlsStream::bio_read(char* out, size_t size) {
  const size_t part = std::min(size, in_.size());
  if (part == 0) return 0;
  std::memcpy(out, in_.data(), part);
  in_.remove_prefix(part);
  if (in_.empty()) in_ = Slice();
  return part;
}

bool TlsStream::bio_write(const char* data, size_t size) {
  if (held() + size > kMaxHeld + kMaxOwnOutput) {
    overflowed_ = true;
    return false;
  }
  out_.append(data, size);
  return true;
}

// --- events of the lower stream

bool TlsStream::keep_input(Slice data) {
  if (in_.empty()) {
    in_ = std::move(data);
    return true;
  }
  try {
    std::string both(as_text(in_.span()));
    both += as_text(data.span());
    in_ = Slice::copy_of(as_bytes(both));
  } catch (const std::bad_alloc&) {
    report(Failure{.status = Status::E_NOMEM});
    return false;
  }
  return true;
}

void TlsStream::on_data(Slice data) {
  switch (state_) {
    case State::Hop:
      run_hop(data);
      return;
    case State::Handshake:
      handshake_input_ += data.size();
      if (first_bytes_.size() < kFirstBytes) {
        first_bytes_ += as_text(data.span()).substr(0, kFirstBytes - first_bytes_.size());
      }
      if (handshake_input_ > kMaxHandshakeInput) {
        report(Failure{.status = Status::E_TLS_HANDSHAKE,
                       .detail = "the peer's handshake is larger than " +
                                 std::to_string(kMaxHandshakeInput) + " bytes"});
        return;
      }
      if (keep_input(std::move(data))) run_handshake();
      return;
    case State::Open:
      if (got_end_) return;  // RFC 8446 §6.1: nothing counts after close-notify
      if (!keep_input(std::move(data))) return;
      if (half_message_) finish_half_message();
      process();
      return;
    case State::New:
    case State::Failed:
    case State::Closed:
      return;
  }
}

void TlsStream::on_eof() {
  lower_ended_ = true;
  if (state_ == State::Hop) {
    report(Failure{.status = Status::E_HOP_FAILED,
                   .detail = "the peer closed the connection before it answered (" +
                             std::string(hop_->name()) + ")"});
  } else if (state_ == State::Handshake) {
    std::string detail = foreign_text(first_bytes_);
    if (detail.empty()) detail = "the peer closed the connection during the handshake";
    report(Failure{.status = Status::E_TLS_HANDSHAKE, .detail = detail});
  } else if (state_ == State::Open) {
    process();
  }
}

void TlsStream::on_failed(const Failure& failure) {
  if (state_ == State::Failed || state_ == State::Closed) return;
  Failure told = failure;
  if (state_ == State::Hop || state_ == State::Handshake) {
    told.detail = std::string(status_text(failure.status)) +
                  (state_ == State::Hop ? " before the hop's answer" : " during the handshake");
    told.status = state_ == State::Hop ? Status::E_HOP_FAILED : Status::E_TLS_HANDSHAKE;
    if (failure.status == Status::E_NOMEM) told.status = Status::E_NOMEM;
  }
  report(told);
}

void TlsStream::on_writable() {
  if (state_ == State::Failed || state_ == State::Closed) return;
  lower_full_ = false;
  const Result<bool> pushed = push();
  if (!pushed) {
    report(pushed.error());
    return;
  }
  if (*pushed && owed_writable_ && !half_message_ && state_ == State::Open) {
    owed_writable_ = false;
    if (handler_ != nullptr) handler_->on_writable();
  }
}

// --- hop and handshake

void TlsStream::run_hop(const Slice& data) {
  std::span<const uint8_t> rest = data.span();
  const Result<Hop::Step> step = hop_->on_data(rest);
  if (!step) {
    report(step.error());
    return;
  }
  if (*step == Hop::Step::NeedMore) return;
  if (!rest.empty()) {
    report(Failure{
        .status = Status::E_HOP_FAILED,
        .detail = std::to_string(rest.size()) + " bytes followed the answer before TLS began"});
    return;
  }
  if (const Result<void> begun = begin_handshake(); !begun && handler_ != nullptr) {
    handler_->on_failed(begun.error());
  }
}

void TlsStream::run_handshake() {
  std::optional<Failure> failure;
  bool done = false;
  {
    ErrorScope errors;
    const int result = SSL_do_handshake(ssl_);
    done = result == 1;
    if (!done) {
      const int reason = SSL_get_error(ssl_, result);
      if (reason != SSL_ERROR_WANT_READ) failure = classify(reason);
    }
  }
  if (done) {
    finish_handshake();
    return;
  }
  const Result<bool> pushed = push();  // our flight, or the alert that tells the peer why
  if (failure) {
    report(*failure);
  } else if (!pushed) {
    report(pushed.error());
  }
}

void TlsStream::finish_handshake() {
  Result<void> accepted = accept_handshake();
  if (!accepted) {
    out_.clear();  // our Finished is not sent to a peer that we do not accept
    out_sent_ = 0;
    report(accepted.error());
    return;
  }
  if (const Result<bool> pushed = push(); !pushed) {
    report(pushed.error());
    return;
  }
  tls_facts_ = read_facts(ssl_);
  transition(State::Open);
  follow_reading();
  if (handler_ != nullptr) handler_->on_connected();
  process();
}

// --- reading

bool TlsStream::has_input() const {
  return !in_.empty() || (ssl_ != nullptr && SSL_pending(ssl_) > 0) ||
         ((got_end_ || lower_ended_) && !told_end_);
}

void TlsStream::read(bool on) {
  if (reading_ == on) return;
  reading_ = on;
  if (state_ != State::Open || processing_) return;
  if (on && has_input()) process_later();
  follow_reading();
}

void TlsStream::follow_reading() {
  bool wanted = state_ == State::Hop || state_ == State::Handshake;
  if (state_ == State::Open) {
    wanted = !got_end_ && !lower_ended_ && in_.empty() && (reading_ || half_message_);
  }
  if (wanted == lower_reading_ || state_ == State::Closed) return;
  lower_reading_ = wanted;
  lower_->read(wanted);
}

void TlsStream::process_later() {
  if (process_due_) return;
  process_due_ = true;
  loop_.defer([self = std::weak_ptr<TlsStream*>(self_)] {
    const std::shared_ptr<TlsStream*> alive = self.lock();
    if (alive == nullptr) return;
    (*alive)->process_due_ = false;
    (*alive)->process();
  });
}

void TlsStream::process() {
  if (processing_ || state_ != State::Open) return;
  processing_ = true;
  while (state_ == State::Open && reading_ && !told_end_ && decrypt_once()) {
  }
  processing_ = false;
  if (state_ != State::Open) return;
  const Result<bool> pushed = push();  // what OpenSSL answered to the peer's messages
  if (!pushed) {
    report(pushed.error());
    return;
  }
  follow_reading();
}

bool TlsStream::decrypt_once() {
  Slice plain;
  std::optional<Failure> failure;
  bool full = false;
  if (!got_end_) try {
      ErrorScope errors;
      const std::span<uint8_t> space = scratch_.space(kRecord);
      size_t size = 0;
      int result = 1;
      while (result == 1 && size < space.size()) {
        size_t got = 0;
        result = SSL_read_ex(ssl_, space.data() + size, space.size() - size, &got);
        if (result == 1) size += got;
      }
      full = result == 1;
      if (!full) {
        const int reason = SSL_get_error(ssl_, result);
        if (reason == SSL_ERROR_ZERO_RETURN) {
          got_end_ = true;
        } else if (reason != SSL_ERROR_WANT_READ) {
          failure = classify(reason);
        }
      }
      if (size > 0) plain = scratch_.take(size);
    } catch (const std::bad_alloc&) {
      failure = Failure{.status = Status::E_NOMEM};
    }
  if (!plain.empty() && handler_ != nullptr) handler_->on_data(std::move(plain));
  if (state_ != State::Open) return false;
  if (failure) {
    (void)push();  // the alert
    report(*failure);
    return false;
  }
  if (full) return true;
  if (reading_) deliver_end();
  return false;
}

void TlsStream::deliver_end() {
  if (told_end_) return;
  if (got_end_) {
    told_end_ = true;
    if (handler_ != nullptr) handler_->on_eof();
  } else if (lower_ended_) {
    report(Failure{.status = Status::E_TLS_TRUNCATED});
  }
}

void TlsStream::finish_half_message() {
  std::optional<Failure> failure;
  {
    ErrorScope errors;
    const int result = SSL_do_handshake(ssl_);
    half_message_ = result != 1;
    if (half_message_) {
      const int reason = SSL_get_error(ssl_, result);
      if (reason != SSL_ERROR_WANT_READ) failure = classify(reason);
    }
  }
  if (failure) {
    report(*failure);
    return;
  }
  if (half_message_) return;
  if (end_due_) {
    end_due_ = false;
    if (const Result<void> sent = send_end(); !sent) {
      report(sent.error());
      return;
    }
  }
  if (owed_writable_ && !lower_full_) {
    owed_writable_ = false;
    if (handler_ != nullptr) handler_->on_writable();
  }
}

io::Peek TlsStream::peek() {
  if (state_ == State::Closed || state_ == State::Failed || broken_) return io::Peek::Failed;
  if (state_ != State::Open) return lower_->peek();
  if (!got_end_ && (!in_.empty() || SSL_pending(ssl_) > 0)) {
    // Tickets and key updates are consumed on the way; data stays inside OpenSSL.
    ErrorScope errors;
    char byte = 0;
    size_t got = 0;
    const int result = SSL_peek_ex(ssl_, &byte, 1, &got);
    if (result == 1) return io::Peek::Data;
    const int reason = SSL_get_error(ssl_, result);
    if (reason == SSL_ERROR_ZERO_RETURN) {
      got_end_ = true;
    } else if (reason != SSL_ERROR_WANT_READ) {
      (void)classify(reason);
      return io::Peek::Failed;
    }
    if (held() > 0) flush_later();
    if (!processing_) follow_reading();
  }
  if (got_end_) return io::Peek::Eof;
  if (lower_ended_) return io::Peek::Eof;
  return lower_->peek();
}

// --- failures

Failure TlsStream::classify(int ssl_error) {
  const QueuedError error = take_errors();
  broken_ = true;
  if (error.out_of_memory || no_memory_) {
    out_of_memory();
    return Failure{.status = Status::E_NOMEM, .detail = "inside TLS"};
  }
  // Some of OpenSSL's layers report a failed allocation as nothing but this.
  if (error.internal) out_of_memory();
  const bool open = state_ == State::Open;
  Failure failure{.status = open ? Status::E_TLS_PROTOCOL : Status::E_TLS_HANDSHAKE};
  if (overflowed_) {
    failure.detail = "the peer asks for more answers than it reads";
    return failure;
  }
  if (error.alert >= 0) {
    failure.detail = alert_text(error.alert);
    if (error.alert == SSL_AD_NO_APPLICATION_PROTOCOL) failure.status = Status::E_TLS_ALPN;
    // In TLS 1.3 a server judges our certificate after our side of the handshake is complete.
    if (about_certificates(error.alert)) failure.status = Status::E_TLS_HANDSHAKE;
    return failure;
  }
  failure.detail = error.text.empty() ? "OpenSSL error " + std::to_string(ssl_error) : error.text;
  if (open) return failure;
  if (const std::string foreign = foreign_text(first_bytes_); !foreign.empty()) {
    failure.detail = foreign;
    return failure;
  }
  return explain(std::move(failure));
}

void TlsStream::report(const Failure& failure) {
  if (state_ == State::Failed || state_ == State::Closed) return;
  transition(State::Failed);
  follow_reading();
  if (handler_ != nullptr) handler_->on_failed(failure);
}

Unexpected TlsStream::end(Failure failure) {
  if (state_ != State::Failed && state_ != State::Closed) {
    transition(State::Failed);
    follow_reading();
  }
  return fail(std::move(failure));
}

}  // namespace conpool::tls
