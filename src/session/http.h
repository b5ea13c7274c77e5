// HTTP as sessions of both versions and their users see it: what is asked, what comes back, and one
// exchange of the two.
//
// Threads: the loop's. No session calls a handler, a body or its owner from inside a call into the
// session or into one of its exchanges: what such a call causes is told later, in the same turn or
// another.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "session/session.h"

namespace conpool::session {

enum class HttpVersion : uint8_t { Http10 = 10, Http11 = 11, Http2 = 20 };

// One field line (RFC 9110 §5). Views: valid while the block they point into is unchanged.
struct Field {
  std::string_view name;
  std::string_view value;
};

// Field lines in the order of their arrival, in one block of memory. A NUL follows each name and
// each value there, for C.
class Fields {
 public:
  void add(std::string_view name, std::string_view value);
  void reserve(size_t lines, size_t bytes);
  void clear();
  size_t size() const { return lines_.size(); }
  bool empty() const { return lines_.empty(); }
  // Names and values together.
  size_t bytes() const { return text_.size() - kEnds * lines_.size(); }
  Field operator[](size_t index) const;
  // The value of the `nth` line of that name, by RFC 9110's case-insensitive comparison.
  std::optional<std::string_view> find(std::string_view name, size_t nth = 0) const;

 private:
  static constexpr size_t kEnds = 2;  // the NULs of a line
  struct Line {
    uint32_t at;
    uint32_t name_size;
    uint32_t value_size;
  };
  std::string text_;
  std::vector<Line> lines_;
};

// ASCII only, as field names are compared.
bool same_name(std::string_view a, std::string_view b);

// What is asked. The client checked every part and froze it; sessions trust it.
struct RequestHead {
  std::string method;      // a token: "GET"
  std::string scheme;      // "http", "https"
  std::string authority;   // "example.org:8080": Host, :authority
  std::string target;      // "/path?query", or "*" (OPTIONS)
  Fields fields;           // lower-case names; no Host, Content-Length, Transfer-Encoding, Expect,
                           // Trailer, nor anything that belongs to one connection
  Fields trailers;         // lower-case names; only with a body
  std::string http1_head;  // http1::encode_head of the whole
  bool head_only = false;  // HEAD: the response has no body
  bool expect_continue = false;  // hold the body until 100 (Continue) or ExchangeOptions'
                                 // expect_timeout
};

// Where a request's body comes from. Belongs to the exchange's user and outlives the exchange.
class BodySource {
 public:
  struct Piece {
    std::span<const uint8_t> bytes;  // valid until take()
    bool last = false;               // nothing comes after them. Empty and not last: wait for
                                     // Exchange::body_ready
  };
  // Known in advance: Content-Length. Unknown: chunked (HTTP/1.1).
  virtual std::optional<uint64_t> size() const = 0;
  virtual Piece peek() = 0;
  // The session has handed the first `size` bytes on: to the kernel, or into a frame that will go.
  virtual void take(size_t size) = 0;

 protected:
  ~BodySource() = default;
};

struct ResponseHead {
  HttpVersion version = HttpVersion::Http11;
  uint16_t status = 0;
  Fields fields;  // of HTTP/2 without pseudo fields; names as they came
};

// How an exchange ended.
struct ExchangeEnd {
  Failure failure{.status = Status::OK};  // OK: the response is complete
  Phase phase = Phase::Receive;           // where it was when it failed
  Proof proof = Proof::MaybeProcessed;    // what became of the request, whatever the result
  LeaseEnd lease = LeaseEnd::Reusable;    // what became of the place
  // The connection had served before, and ended without a byte since this request began: the race
  // against an idle server that closes (RFC 9112 §9.3.1), or restarts.
  bool stale = false;
  // The connection has completed exchanges: a peer that refuses the rest of them makes progress all
  // the same.
  bool served = false;
  // Demands that the request is sent again over HTTP/1.1 (HTTP_1_1_REQUIRED, or the peer does not
  // speak HTTP/2 at all). Always with proof NotProcessed.
  bool needs_http1 = false;
};

// Receives what happens to an exchange, in this order: sent and interim as they come, head, body…,
// trailers, done. The request may still be under way when the head comes.
class ExchangeHandler {
 public:
  // The last byte of the request was handed to the transport.
  virtual void on_sent() = 0;
  // A response below 200, never 101.
  virtual void on_interim(ResponseHead head) = 0;
  virtual void on_head(ResponseHead head) = 0;
  // Never empty. Give the room back with Exchange::consumed.
  virtual void on_body(Slice bytes) = 0;
  virtual void on_trailers(Fields trailers) = 0;
  // Once; the exchange is gone with it.
  virtual void on_done(const ExchangeEnd& end) = 0;

 protected:
  ~ExchangeHandler() = default;
};

// One request and its response on a session. Belongs to the session; gone after on_done or cancel.
class Exchange {
 public:
  // The source has more bytes, or its end, after an empty piece.
  virtual void body_ready() = 0;
  // So many body bytes of on_body are no longer held by the application: the peer may send as many
  // more.
  virtual void consumed(size_t bytes) = 0;
  // Ends it now; the handler hears no more of it. Answers what became of the place and the request.
  virtual ExchangeEnd cancel() = 0;

 protected:
  ~Exchange() = default;
};

struct ExchangeOptions {
  Nanos expect_timeout = kSecond;  // how long an expect_continue body waits for the 100
};

// Figures of a session, for readouts.
struct HttpFigures {
  uint64_t exchanges = 0;   // begun so far (HTTP/2: streams opened)
  uint32_t active = 0;      // running
  uint32_t peer_limit = 0;  // SETTINGS_MAX_CONCURRENT_STREAMS as the peer set it; 0 = did not say
  uint64_t pings = 0;       // sent
  uint64_t glitches = 0;    // odd frames of the peer
};

class HttpSession : public Session {
 public:
  virtual HttpVersion version() const = 0;
  // A lease began: sends the request. `head`, `body` and `handler` stay until the exchange's end;
  // `body` is null for a request without one.
  virtual Exchange& begin(const RequestHead& head, BodySource* body, ExchangeHandler& handler,
                          const ExchangeOptions& options) = 0;
  // Something took too long: HTTP/2 asks whether the peer still answers (PING), holds new leases
  // meanwhile and dies without an answer in time. HTTP/1.1 cannot ask.
  virtual void ask() = 0;
  virtual HttpFigures figures() const = 0;
};

}  // namespace conpool::session
