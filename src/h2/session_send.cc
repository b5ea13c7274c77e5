// The HTTP/2 session, outwards: what a turn left to say, in one write at its end.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cassert>

#include "base/error.h"
#include "h2/callbacks.h"
#include "h2/session.h"

namespace conpool::h2 {

using session::LeaseEnd;

namespace {

constexpr size_t kParts = 16;       // of one write
constexpr size_t kRoundsMost = 32;  // writes of one turn: other connections have their turn too

nghttp2_nv line(std::string_view name, std::string_view value) {
  // nghttp2 reads them when it writes the HEADERS frame; until then nobody may change them.
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

}  // namespace

// --- the turn's end
// -------------------------------------------------------------------------------

void Session::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_.defer([session = std::weak_ptr<Session*>(self_)] {
    if (const auto alive = session.lock()) (*alive)->turn_ends(false);
  });
}

// Waits for one more round of deferred calls: in the first one the pool grants leases, and what
// they send goes into the same write.
void Session::turn_ends(bool second) {
  if (!second) {
    loop_.defer([session = std::weak_ptr<Session*>(self_)] {
      if (const auto alive = session.lock()) (*alive)->turn_ends(true);
    });
    return;
  }
  scheduled_ = false;
  try {
    flush();
  } catch (const std::bad_alloc&) {
    die({.status = Status::E_NOMEM});
  }
  deliver();
}

void Session::on_writable() {
  blocked_ = false;
  try {
    flush();
  } catch (const std::bad_alloc&) {
    die({.status = Status::E_NOMEM});
  }
  deliver();
}

void Session::flush() {
  if (nomem_) die({.status = Status::E_NOMEM});
  if (dead()) {
    while (Exchange* exchange = pending_.front())
      finish_unsent(*exchange, failure_);
    return;
  }
  size_t rounds = 0;
  while (!blocked_ && !dead()) {
    if (++rounds > kRoundsMost) return loop_.arm(next_turn_, loop_.now());
    if (!fill() || output_.empty() || !write()) break;
  }
  if (own_goaway_ && !dead()) die(broken_rules());
  update_reading();
}

// Takes frames from nghttp2 until it has none or enough wait.
bool Session::fill() {
  if (settings_sent_ == kNever) settings_sent_ = loop_.now();
  while (output_.size() < kFill) {
    const uint64_t before = output_.end();
    const bool asked = !pending_.empty();
    if (asked) submit_next();
    if (!pull()) return false;
    // Nothing follows nghttp2's own GOAWAY.
    if ((!asked && output_.end() == before) || own_goaway_) break;
  }
  return true;
}

bool Session::pull() {
  const uint8_t* data = nullptr;
  in_nghttp2_ = true;
  const ssize_t size = nghttp2_session_mem_send(nghttp2_, &data);
  in_nghttp2_ = false;
  if (size < 0) {
    const bool memory = nomem_ || size == NGHTTP2_ERR_NOMEM;
    die(memory ? Failure{.status = Status::E_NOMEM}
               : Failure{.status = Status::E_INTERNAL,
                         .detail = nghttp2_strerror(static_cast<int>(size))});
    return false;
  }
  if (size > 0) output_.append({data, static_cast<size_t>(size)});
  if (ends_here_ != nullptr) {
    ends_here_->sent_at = output_.end();
    unsent_.push_back(*ends_here_);
    ends_here_ = nullptr;
  }
  return true;
}

// One write. False when the transport took less than all, or failed.
bool Session::write() {
  std::array<iovec, kParts> parts;
  const size_t count = output_.parts(parts);
  size_t offered = 0;
  for (size_t i = 0; i < count; ++i)
    offered += parts[i].iov_len;
  const Result<size_t> accepted = stream_->writev({parts.data(), count});
  if (!accepted) {
    die(accepted.error());
    return false;
  }
  output_.drop(*accepted);
  tell_sent();
  if (*accepted < offered) {
    blocked_ = true;
    return false;
  }
  if (const Result<bool> flushed = stream_->flush(); !flushed) {
    die(flushed.error());
    return false;
  }
  return true;
}

void Session::tell_sent() {
  for (Exchange* first = unsent_.front(); first != nullptr && first->sent_at <= output_.accepted();
       first = unsent_.front()) {
    first->ListNode<UnsentTag>::unlink();
    tell(Event::Kind::Sent, first);
  }
}

// A peer that does not take our answers is not read any more, so that it is owed no further ones.
void Session::update_reading() {
  const bool wanted =
      !dead() && !(blocked_ && nghttp2_session_get_outbound_queue_size(nghttp2_) > kQueued);
  if (wanted == reading_) return;
  reading_ = wanted;
  if (!dead()) stream_->read(wanted);
}

// Best effort, where nghttp2 cannot be asked any more: only between two frames.
void Session::send_goaway(uint32_t code) {
  if (blocked_ || !output_.empty() || output_.end() == 0) return;
  const std::array<uint8_t, 17> frame = {0,
                                         0,
                                         8,
                                         NGHTTP2_GOAWAY,
                                         0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         static_cast<uint8_t>(code >> 24),
                                         static_cast<uint8_t>(code >> 16),
                                         static_cast<uint8_t>(code >> 8),
                                         static_cast<uint8_t>(code)};
  const iovec part{const_cast<uint8_t*>(frame.data()), frame.size()};
  if (stream_->writev({&part, 1})) (void)stream_->flush();
}

// --- requests
// -------------------------------------------------------------------------------------

void Session::submit_next() {
  Exchange& exchange = *pending_.front();
  if (state_ != State::Open) return finish_unsent(exchange, failure_);
  if (opened_ >= limit_) {
    return finish_unsent(exchange, {.status = Status::E_H2_REFUSED,
                                    .detail = "the server takes no more than " +
                                              std::to_string(limit_) + " streams at once now"});
  }
  if (!submit(exchange) && exchange.running()) {
    finish_unsent(exchange,
                  {.status = Status::E_INTERNAL, .detail = "the stream cannot be opened"});
  }
}

bool Session::submit(Exchange& exchange) {
  const session::RequestHead& head = exchange.head;
  std::vector<nghttp2_nv>& lines = lines_;
  lines.clear();
  lines.push_back(line(":method", head.method));
  lines.push_back(line(":scheme", head.scheme));
  lines.push_back(line(":authority", head.authority));
  lines.push_back(line(":path", head.target));
  for (size_t i = 0; i < head.fields.size(); ++i)
    lines.push_back(line(head.fields[i].name, head.fields[i].value));
  if (exchange.body != nullptr) {
    if (const std::optional<uint64_t> size = exchange.body->size()) {
      exchange.content_length = std::to_string(*size);
      lines.push_back(line("content-length", exchange.content_length));
    }
    for (size_t i = 0; i < head.trailers.size(); ++i) {
      if (i > 0) exchange.trailer += ", ";
      exchange.trailer += head.trailers[i].name;
    }
    if (!exchange.trailer.empty()) lines.push_back(line("trailer", exchange.trailer));
    if (head.expect_continue) {
      exchange.held = true;
      lines.push_back(line("expect", "100-continue"));
    }
  }
  const nghttp2_data_provider provider = body_provider();
  const int32_t id =
      nghttp2_submit_request(nghttp2_, nullptr, lines.data(), lines.size(),
                             exchange.body != nullptr ? &provider : nullptr, &exchange);
  if (id == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (id < 0) return false;
  exchange.ListNode<PendingTag>::unlink();
  exchange.id = id;
  exchange.state = Exchange::State::Submitted;
  ++opened_;
  ++begun_;
  rst_credit_.add(1);
  headers_credit_.add(1);
  update_credit_.add(1);
  if (exchange.held) {
    exchange.expect.set_callback([this, &exchange] { release_body(exchange); });
    loop_.arm(exchange.expect, deadline_after(loop_.now(), exchange.options.expect_timeout));
  }
  if (id >= kLastStream) {
    // What else waits goes elsewhere, as what the peer refuses does.
    drain({.status = Status::E_H2_REFUSED, .detail = "the connection's stream ids are used up"});
  }
  return true;
}

void Session::frame_starts(int32_t stream) {
  if (Exchange* exchange = find(stream)) exchange->headers_at = output_.end();
}

void Session::frame_sent(uint8_t type, uint8_t flags, int32_t stream, uint32_t code) {
  if (type == NGHTTP2_GOAWAY) {
    own_goaway_ = true;
    own_goaway_code_ = code;
  } else if (type == NGHTTP2_RST_STREAM) {
    ++resets_sent_;
  } else if (type == NGHTTP2_HEADERS) {
    Exchange* exchange = find(stream);
    if (exchange == nullptr) return;
    exchange->state = Exchange::State::Open;
    if ((flags & NGHTTP2_FLAG_END_STREAM) != 0) ends_here_ = exchange;
  }
}

// A request that nghttp2 could not send, and had perhaps no stream for yet.
void Session::frame_not_sent(int32_t stream, int code) {
  for (Exchange* exchange = running_.front(); exchange != nullptr;
       exchange = running_.next(*exchange)) {
    if (exchange->id != stream || exchange->state != Exchange::State::Submitted) continue;
    return finish_unsent(
        *exchange,
        {.status = code == NGHTTP2_ERR_FRAME_SIZE_ERROR ? Status::E_BAD_FIELD : Status::E_INTERNAL,
         .detail = nghttp2_strerror(code)});
  }
}

// --- bodies
// ---------------------------------------------------------------------------------------

ssize_t Session::body_read(int32_t stream, size_t room, uint32_t* flags) {
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return NGHTTP2_ERR_DEFERRED;  // its RST_STREAM is on the way
  if (exchange->held || exchange->refused) return NGHTTP2_ERR_DEFERRED;
  const session::BodySource::Piece piece = exchange->body->peek();
  if (!exchange->running()) return NGHTTP2_ERR_DEFERRED;
  const size_t size = std::min(piece.bytes.size(), room);
  const bool last = piece.last && size == piece.bytes.size();
  if (size == 0 && !last) {
    exchange->waits = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (const std::optional<uint64_t> announced = exchange->body->size()) {
    const uint64_t sent = exchange->body_sent + size;
    if (sent > *announced || (last && sent < *announced)) {
      finish(*exchange,
             {.status = Status::E_HTTP_BODY_LENGTH,
              .detail = (last ? "" : "at least ") + std::to_string(sent) + " bytes in place of " +
                        std::to_string(*announced)},
             proof_of(*exchange), LeaseEnd::Reusable);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (!last) return static_cast<ssize_t>(size);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  const session::Fields& trailers = exchange->head.trailers;
  if (trailers.empty()) return static_cast<ssize_t>(size);
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  std::vector<nghttp2_nv> lines;
  lines.reserve(trailers.size());
  for (size_t i = 0; i < trailers.size(); ++i)
    lines.push_back(line(trailers[i].name, trailers[i].value));
  if (nghttp2_submit_trailer(nghttp2_, stream, lines.data(), lines.size()) != 0) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  return static_cast<ssize_t>(size);
}

// Takes the frame that body_read announced: one copy, from the source into the output.
int Session::body_send(int32_t stream, const uint8_t* frame_head, size_t size, bool end_stream) {
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  constexpr size_t kFrameHead = 9;
  output_.append({frame_head, kFrameHead});
  if (size > 0) {
    output_.append(exchange->body->peek().bytes.first(size));
    exchange->body_sent += size;
  }
  data_since_ping_ = true;
  update_credit_.add(10);
  if (end_stream) {
    exchange->sent_at = output_.end();
    unsent_.push_back(*exchange);
  }
  if (size > 0) exchange->body->take(size);
  return output_.size() < kFill ? 0 : static_cast<int>(NGHTTP2_ERR_PAUSE);
}

// The wait for 100 (Continue) is over.
void Session::release_body(Exchange& exchange) {
  exchange.held = false;
  exchange.expect.cancel();
  if (exchange.refused || exchange.state != Exchange::State::Open) return;
  nghttp2_session_resume_data(nghttp2_, exchange.id);
  schedule();
}

void Session::reset(int32_t stream, uint32_t code) {
  if (dead()) return;
  if (nghttp2_submit_rst_stream(nghttp2_, NGHTTP2_FLAG_NONE, stream, code) != 0) nomem_ = true;
  schedule();
}

}  // namespace conpool::h2
