// Exchange: one request and its response, as a stream of an HTTP/2 session.
//
// Pending → Submitted → Open → Ended → (told), and Gone from each.
//   Pending    waits for the turn's end; nghttp2 does not know of it.
//   Submitted  in nghttp2's queue; no byte of it exists yet.
//   Open       its HEADERS are in the output, perhaps on the wire.
//   Ended      its end is known and waits to be told.
//   Gone       cancelled: nobody is told any more, the record waits to be freed.
// The session owns the record, on the list of its state.
#pragma once

#include <string>

#include "base/list.h"
#include "base/timer.h"
#include "h2/window.h"
#include "session/http.h"

namespace conpool::h2 {

class Session;
struct OwnedTag;
struct PendingTag;
struct UnsentTag;

struct Exchange final : session::Exchange,
                        ListNode<OwnedTag>,
                        ListNode<PendingTag>,
                        ListNode<UnsentTag> {
  enum class State : uint8_t { Pending, Submitted, Open, Ended, Gone };
  static constexpr uint64_t kNowhere = UINT64_MAX;

  Exchange(Session& session_, const session::RequestHead& head_, session::BodySource* body_,
           session::ExchangeHandler& handler_, const session::ExchangeOptions& options_,
           WindowGrowth window_)
      : session(&session_),
        head(head_),
        body(body_),
        handler(handler_),
        options(options_),
        window(window_) {}

  void body_ready() override;
  void consumed(size_t bytes) override;
  session::ExchangeEnd cancel() override;

  bool running() const {
    return state == State::Pending || state == State::Submitted || state == State::Open;
  }

  Session* session;  // null when the session was closed
  const session::RequestHead& head;
  session::BodySource* body;
  session::ExchangeHandler& handler;
  const session::ExchangeOptions options;
  State state = State::Pending;
  int32_t id = 0;

  // The request. Positions are those of the session's output.
  uint64_t headers_at = kNowhere;  // first byte of HEADERS
  uint64_t sent_at = kNowhere;     // one past the last byte of the request
  uint64_t body_sent = 0;
  uint64_t heard_before = 0;  // bytes that the peer had sent when it began
  bool on_used = false;       // an exchange had completed on the connection before
  std::string content_length;
  std::string trailer;   // names of the trailer's fields
  bool waits = false;    // the source had nothing
  bool held = false;     // expect_continue: no body yet
  bool refused = false;  // a final response came instead of 100: the body is not sent any more
  Timer expect;

  // The response.
  session::ResponseHead response;
  session::Fields trailers;
  size_t field_bytes = 0;   // of all its field lines, as SETTINGS_MAX_HEADER_LIST_SIZE counts them
  size_t block_fields = 0;  // lines of the block that comes in
  int64_t interims = 0;
  bool has_head = false;
  size_t unread = 0;  // body bytes that the application holds
  WindowGrowth window;

  session::ExchangeEnd end;
};

}  // namespace conpool::h2
