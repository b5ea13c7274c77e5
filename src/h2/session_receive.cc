// The HTTP/2 session, inwards: bytes through nghttp2 to events.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>

#include "base/text.h"
#include "h2/session.h"

namespace conpool::h2 {

using session::LeaseEnd;

namespace {

constexpr size_t kComplaintBytes = 200;  // of nghttp2's words, which repeat the peer's
constexpr size_t kFirstBytes = 24;       // of a peer that does not speak HTTP/2, for the error
constexpr size_t kPaddedEmpty = 256;     // the longest DATA that may be nothing but padding

// A DATA frame that may carry nothing.
bool may_be_empty(uint8_t flags, size_t size) {
  return size == 0 || ((flags & NGHTTP2_FLAG_PADDED) != 0 && size <= kPaddedEmpty);
}

constexpr size_t kFieldOverhead = 32;  // RFC 9113 section 6.5.2

}  // namespace

void Session::on_data(Slice data) {
  if (dead()) return;
  heard_ = loop_.now();
  bytes_in_ += data.size();
  try {
    receive(data);
  } catch (const std::bad_alloc&) {
    die({.status = Status::E_NOMEM});
  }
  deliver();
}

void Session::on_eof() {
  die({.status = Status::E_CONNECTION_CLOSED});
  deliver();
}

void Session::on_failed(const Failure& failure) {
  die(failure);
  deliver();
}

void Session::receive(const Slice& data) {
  if (!settings_came_ && first_bytes_.size() < kFirstBytes) {
    first_bytes_ += as_text(data.span()).substr(0, kFirstBytes - first_bytes_.size());
  }
  complaint_.clear();
  scanner_.scan(data.span(), [this](uint8_t type, uint8_t flags, size_t size) {
    if (type == NGHTTP2_DATA && may_be_empty(flags, size)) ++dropped_data_;
    if (type > NGHTTP2_CONTINUATION) ++unknown_frames_;
  });
  input_ = &data;
  in_nghttp2_ = true;
  const ssize_t taken = nghttp2_session_mem_recv(nghttp2_, data.data(), data.size());
  in_nghttp2_ = false;
  input_ = nullptr;
  if (taken < 0) return receive_failed(static_cast<int>(taken));
  if (const int code = count_unreported()) return receive_failed(code);
  if (!goaway_came_ && nghttp2_session_check_request_allowed(nghttp2_) == 0) {
    return broken_by_peer();
  }
  if (nomem_) return die({.status = Status::E_NOMEM});
  if (nghttp2_session_want_write(nghttp2_) != 0) schedule();
  update_reading();
}

// nghttp2 gave up; it must not be asked for anything any more.
void Session::receive_failed(int code) {
  if (nomem_ || code == NGHTTP2_ERR_NOMEM) return die({.status = Status::E_NOMEM});
  const bool too_many = flood_ != nullptr || code == NGHTTP2_ERR_FLOODED ||
                        code == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
  const uint32_t told = too_many ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
  send_goaway(told);
  die({.status = too_many ? Status::E_H2_FLOOD : Status::E_H2_PROTOCOL,
       .h2_error = told,
       .detail = flood_ != nullptr ? flood_ : nghttp2_strerror(code)});
}

// nghttp2 has a GOAWAY ready and ignores all else.
void Session::broken_by_peer() {
  uint64_t before = 0;
  do {
    before = output_.end();
    if (!pull()) return;
  } while (!own_goaway_ && output_.end() > before);
  if (!blocked_) (void)write();
  die(broken_rules());
}

Failure Session::broken_rules() const {
  return {.status = Status::E_H2_PROTOCOL,
          .h2_error = own_goaway_code_,
          .detail = complaint_.empty()
                        ? std::string(nghttp2_http2_strerror(own_goaway_code_))
                        : without_control_bytes(complaint_.substr(0, kComplaintBytes))};
}

// --- limits
// ---------------------------------------------------------------------------------------

int Session::glitch(const char* what) {
  if (glitches_.spend(loop_.now())) return 0;
  flood_ = what;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

// Frames that nghttp2 drops in silence. DATA that was under way when we reset its stream is no
// fault of the peer's; more is.
int Session::count_unreported() {
  for (; unknown_frames_ > 0; --unknown_frames_) {
    if (const int code = glitch("frames of unknown types")) return code;
  }
  for (; dropped_data_ > 0; --dropped_data_) {
    if (headers_credit_.spend()) continue;
    if (const int code = glitch("empty DATA on closed streams")) return code;
  }
  dropped_data_ = 0;
  return 0;
}

// Every frame that nghttp2 does not drop, before anything else is done with it.
int Session::frame_begins(uint8_t type, uint8_t flags, int32_t stream, size_t size) {
  const bool ack = (flags & NGHTTP2_FLAG_ACK) != 0;
  switch (type) {
    case NGHTTP2_DATA:
      // An open stream's: data_ends looks at it, when the padding is known.
      if (may_be_empty(flags, size)) --dropped_data_;
      return 0;
    case NGHTTP2_HEADERS:
      if (find(stream) != nullptr || headers_credit_.spend()) return 0;
      return glitch("HEADERS on closed streams");
    case NGHTTP2_PRIORITY:
      return glitch("PRIORITY frames");
    case NGHTTP2_RST_STREAM:
      return rst_credit_.spend() ? 0 : glitch("RST_STREAM on closed streams");
    case NGHTTP2_SETTINGS:
      return ack || !settings_came_ ? 0 : glitch("SETTINGS frames");
    case NGHTTP2_PING:
      if (ack) return 0;
      // Servers measure the path of an upload with PINGs.
      if (data_since_ping_) {
        data_since_ping_ = false;
        return 0;
      }
      return glitch("PING frames");
    case NGHTTP2_GOAWAY:
      return goaway_came_ ? glitch("GOAWAY frames") : 0;
    case NGHTTP2_WINDOW_UPDATE:
      return update_credit_.spend() ? 0 : glitch("WINDOW_UPDATE frames");
    default:
      return 0;  // nghttp2 refuses PUSH_PROMISE and limits CONTINUATION
  }
}

void Session::head_limit(Exchange& exchange, std::string detail) {
  ++header_offences_;
  const int32_t id = exchange.id;
  finish(exchange, {.status = Status::E_HTTP_HEADER_LIMIT, .detail = std::move(detail)},
         Proof::MaybeProcessed, LeaseEnd::Reusable);
  reset(id, NGHTTP2_CANCEL);
}

// --- responses
// ------------------------------------------------------------------------------------

int Session::header_block_begins(int32_t stream) {
  block_bytes_ = 0;
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return 0;
  exchange->block_fields = 0;
  if (exchange->has_head) return 0;
  exchange->response.version = session::HttpVersion::Http2;
  exchange->response.status = 0;
  exchange->response.fields.clear();
  exchange->response.fields.reserve(16, 512);  // what most responses need
  return 0;
}

int Session::header_line(int32_t stream, std::string_view name, std::string_view value) {
  const size_t size = name.size() + value.size() + kFieldOverhead;
  block_bytes_ += size;
  // SETTINGS_MAX_HEADER_LIST_SIZE only asks: a few bytes can name the table's largest entry over
  // and over, so what comes out is counted, on streams that are over too.
  if (block_bytes_ > kBombFactor * max_header_) {
    flood_ = "a header far beyond its limit";
    if (Exchange* exchange = find(stream)) head_limit(*exchange, flood_);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return 0;
  exchange->field_bytes += size;
  if (name == ":status") {
    // nghttp2 took care that it is three digits.
    for (const char digit : value)
      exchange->response.status =
          static_cast<uint16_t>(exchange->response.status * 10 + digit - '0');
    return 0;
  }
  if (exchange->field_bytes > max_header_ || ++exchange->block_fields > max_fields_) {
    head_limit(*exchange, exchange->field_bytes > max_header_
                              ? "more than " + std::to_string(max_header_) + " bytes"
                              : "more than " + std::to_string(max_fields_) + " lines");
    if (header_offences_ < 2) return 0;
    flood_ = "headers beyond the limit, again";
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  (exchange->has_head ? exchange->trailers : exchange->response.fields).add(name, value);
  return 0;
}

int Session::header_block_ends(int32_t stream, bool end_stream) {
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return 0;
  if (!exchange->has_head) {
    take_status(*exchange);
  } else if (!exchange->trailers.empty()) {
    tell(Event::Kind::Trailers, exchange);
  }
  if (end_stream && exchange->running()) response_complete(*exchange);
  return 0;
}

void Session::take_status(Exchange& exchange) {
  const uint16_t status = exchange.response.status;
  if (status >= 200) {
    exchange.has_head = true;
    tell(Event::Kind::Head, &exchange);
    if (!exchange.held) return;
    // A final answer instead of 100: it does not wait for the body (RFC 9110 section 10.1.1).
    exchange.refused = true;
    return release_body(exchange);
  }
  if (status < 100) {
    const int32_t id = exchange.id;
    finish(exchange,
           {.status = Status::E_HTTP_MALFORMED, .detail = "status " + std::to_string(status)},
           Proof::MaybeProcessed, LeaseEnd::Reusable);
    return reset(id, NGHTTP2_PROTOCOL_ERROR);
  }
  if (++exchange.interims > max_interim_) {
    const int32_t id = exchange.id;
    finish(exchange,
           {.status = Status::E_HTTP_INTERIM_LIMIT,
            .detail = "more than " + std::to_string(max_interim_)},
           Proof::MaybeProcessed, LeaseEnd::Reusable);
    return reset(id, NGHTTP2_CANCEL);
  }
  if (status == 100 && exchange.held) release_body(exchange);
  events_.push_back(
      {.kind = Event::Kind::Interim,
       .exchange = &exchange,
       .interim = std::make_unique<session::ResponseHead>(std::move(exchange.response))});
}

int Session::data_part(int32_t stream, const uint8_t* data, size_t size) {
  // The connection's window goes back at once, so that no reader holds up another.
  if (nghttp2_session_consume_connection(nghttp2_, size) != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
  const Time now = loop_.now();
  if (const uint32_t grown = settings_acknowledged_ ? window_.arrived(size, now, rtt_, 0) : 0) {
    nghttp2_session_set_local_window_size(nghttp2_, NGHTTP2_FLAG_NONE, 0,
                                          static_cast<int32_t>(grown));
  }
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return 0;
  exchange->unread += size;
  if (const uint32_t grown = settings_acknowledged_
                                 ? exchange->window.arrived(size, now, rtt_, exchange->unread)
                                 : 0) {
    nghttp2_session_set_local_window_size(nghttp2_, NGHTTP2_FLAG_NONE, stream,
                                          static_cast<int32_t>(grown));
  }
  const bool inside = data >= input_->data() && data + size <= input_->data() + input_->size();
  const bool referenced = inside && size >= kReferenced;
  events_.push_back({.kind = Event::Kind::Body,
                     .exchange = exchange,
                     .bytes = referenced
                                  ? input_->sub(static_cast<size_t>(data - input_->data()), size)
                                  : Slice::copy_of({data, size})});
  return 0;
}

int Session::data_ends(int32_t stream, bool end_stream, size_t size) {
  if (end_stream) {
    if (Exchange* exchange = find(stream)) response_complete(*exchange);
    return 0;
  }
  return size == 0 ? glitch("empty DATA frames") : 0;
}

void Session::response_complete(Exchange& exchange) {
  const int32_t id = exchange.id;
  const bool sent = nghttp2_session_get_stream_local_close(nghttp2_, id) == 1;
  finish(exchange, {.status = Status::OK}, Proof::MaybeProcessed, LeaseEnd::Reusable);
  completed_ = true;
  // RFC 9113 section 8.1: the server needs no more of the request.
  if (!sent) reset(id, NGHTTP2_NO_ERROR);
}

// --- frames of the connection
// ---------------------------------------------------------------------

int Session::settings_came() {
  settings_came_ = true;
  first_bytes_.clear();
  const uint32_t told =
      nghttp2_session_get_remote_settings(nghttp2_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  peer_limit_ = told == UINT32_MAX ? 0 : told;
  const uint32_t limit = std::min(told, max_streams_);
  if (limit == limit_) return 0;
  limit_ = limit;
  tell(Event::Kind::Capacity);
  return 0;
}

void Session::settings_acknowledged() {
  if (settings_acknowledged_) return;
  settings_acknowledged_ = true;
  if (settings_sent_ != kNever) rtt_ = std::max<Nanos>(loop_.now() - settings_sent_, 1);
}

int Session::goaway_came(int32_t last, uint32_t code, std::string_view text) {
  goaway_came_ = true;
  covers_some_ = last > 0;
  goaway_code_ = code;
  goaway_text_ = nghttp2_http2_strerror(code);
  if (!text.empty()) goaway_text_ += ", " + in_quotes(text);
  const Failure why{.status = Status::E_H2_GOAWAY, .h2_error = code, .detail = goaway_text_};
  drain(why);
  for (Exchange* exchange = running_.front(); exchange != nullptr;) {
    Exchange* const next = running_.next(*exchange);
    if (exchange->state != Exchange::State::Open) {
      finish_unsent(*exchange, why);
    } else if (exchange->id > last) {
      goaway_ends(*exchange, why);
    }
    exchange = next;
  }
  return 0;
}

// RFC 9113 section 6.8: above the last id nothing was processed. A peer that answers all the same
// contradicts itself.
void Session::goaway_ends(Exchange& exchange, Failure why) {
  if (exchange.has_head) {
    return finish(exchange, std::move(why), Proof::MaybeProcessed, LeaseEnd::Reusable);
  }
  if (why.h2_error == NGHTTP2_HTTP_1_1_REQUIRED) {
    why.status = Status::E_H2_HTTP_1_1_REQUIRED;
    exchange.end.needs_http1 = true;
    return finish(exchange, std::move(why), Proof::NotProcessed, LeaseEnd::NotProcessed);
  }
  const bool unsent = proof_of(exchange) == Proof::NeverSent;
  finish(exchange, std::move(why), unsent ? Proof::NeverSent : Proof::NotProcessed,
         LeaseEnd::NotProcessed);
}

void Session::reset_came(int32_t stream, uint32_t code) {
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return;
  // Either code promises that nothing was processed (RFC 9113 section 8.7), unless it comes after
  // an answer.
  if (!exchange->has_head && code == NGHTTP2_REFUSED_STREAM) {
    return finish(*exchange, {.status = Status::E_H2_REFUSED, .h2_error = code},
                  Proof::NotProcessed, LeaseEnd::NotProcessed);
  }
  if (!exchange->has_head && code == NGHTTP2_HTTP_1_1_REQUIRED) {
    exchange->end.needs_http1 = true;
    return finish(*exchange, {.status = Status::E_H2_HTTP_1_1_REQUIRED, .h2_error = code},
                  Proof::NotProcessed, LeaseEnd::NotProcessed);
  }
  finish(*exchange,
         {.status = Status::E_H2_STREAM_RESET,
          .h2_error = code,
          .detail = code <= NGHTTP2_HTTP_1_1_REQUIRED ? nghttp2_http2_strerror(code)
                                                      : "error code " + std::to_string(code)},
         Proof::MaybeProcessed, LeaseEnd::Reusable);
}

// nghttp2 refuses a message and resets its stream.
void Session::frame_invalid(uint8_t type, int32_t stream, int code) {
  if (type != NGHTTP2_HEADERS) return;
  if (code != NGHTTP2_ERR_HTTP_HEADER && code != NGHTTP2_ERR_HTTP_MESSAGING) return;
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return;
  finish(
      *exchange,
      {.status = Status::E_HTTP_MALFORMED,
       .h2_error = NGHTTP2_PROTOCOL_ERROR,
       .detail = complaint_.empty() ? std::string("the header or trailer breaks RFC 9113")
                                    : without_control_bytes(complaint_.substr(0, kComplaintBytes))},
      Proof::MaybeProcessed, LeaseEnd::Reusable);
}

// The stream is over for nghttp2. Whatever ended in order was finished before: what is left are
// streams that nghttp2 itself reset.
void Session::stream_closed(int32_t stream, uint32_t code) {
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return;
  const bool malformed = code == NGHTTP2_PROTOCOL_ERROR;
  finish(*exchange,
         {.status = malformed ? Status::E_HTTP_MALFORMED : Status::E_H2_PROTOCOL,
          .h2_error = code,
          .detail = malformed ? "the body is not as long as its content-length says"
                              : nghttp2_http2_strerror(code)},
         proof_of(*exchange), LeaseEnd::Reusable);
}

}  // namespace conpool::h2
