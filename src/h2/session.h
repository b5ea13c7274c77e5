// The HTTP/2 session: many exchanges on one connection, by nghttp2 without its own I/O.
//
// Lifecycle. New → Open → (Draining →) Dead. Draining: GOAWAY came or the stream ids are used up;
// what runs goes on, nothing new begins. Dead: the transport is closed.
//
// Two directions, and nothing calls back in between:
//   In   bytes → nghttp2 → callbacks that change the state and collect events → when nghttp2 has
//        returned, deliver() runs them. So a handler may begin, cancel or close whatever it likes.
//   Out  begin, cancel, consumed, … only note what is due; the frames of a whole turn are collected
//        at its end (flush) and leave in one write.
//
// A request is given to nghttp2 at the flush and not before: until then the stream limit may still
// shrink and a cancel costs nothing. nghttp2's queue is only drained while the output is short, so
// a peer that stops reading is owed no more than kFill bytes and the answers to what was read
// before reading stopped (kQueued).
//
// Flow control. The connection's window is given back as bytes arrive, a stream's as the
// application gives them back (consumed): a reader that stops stalls its own stream alone. What an
// application can be made to hold is thereby the sum of the windows of its streams, not the
// connection's window. Cancelled streams return all of theirs, since only the connection's counts.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/settings.h"
#include "h2/exchange.h"
#include "h2/frame_scanner.h"
#include "h2/glitches.h"
#include "h2/output.h"
#include "h2/window.h"
#include "io/loop.h"
#include "session/http.h"

namespace conpool::h2 {

// What failures say about where they happened.
struct Place {
  std::string address;   // "tcp:127.0.0.1:8443"
  std::string endpoint;  // "localhost:8443"
};

// What earlier connections of the endpoint taught.
struct Remembered {
  uint32_t stream_limit = 100;  // holds until the peer's SETTINGS
  Nanos rtt = 0;                // until one is measured; 0 = unknown
};

class Session final : public session::HttpSession, private io::StreamHandler {
 public:
  static constexpr size_t kFill = 64 * 1024;       // output that waits for the transport
  static constexpr size_t kQueued = 256;           // frames behind it, from which reading stops
  static constexpr size_t kReferenced = 4096;      // body parts from this size on are not copied
  static constexpr int32_t kLastStream = 1 << 30;  // the connection retires at this stream id
  static constexpr size_t kBombFactor = 4;       // header limits, from which one block is an attack
  static constexpr Nanos kPingsApart = kSecond;  // background PINGs, at least

  Session(io::Loop& loop, std::unique_ptr<io::Stream> stream, const Values& values, Place place,
          Remembered remembered);
  ~Session() override;

  // --- session::Session
  void start(session::Owner& owner) override;
  session::Capacity capacity() const override;
  // Bytes that wait are frames, and no reason not to lend.
  io::Peek peek() override;
  void check(Callback<void(Result<void>)> done) override;
  void idle(bool idle) override;
  void close(bool abort) override;
  io::StreamFacts facts() const override { return stream_->facts(); }
  uint64_t bytes_in() const override { return bytes_in_; }
  uint64_t bytes_out() const override { return output_.accepted(); }

  // --- session::HttpSession
  session::HttpVersion version() const override { return session::HttpVersion::Http2; }
  session::Exchange& begin(const session::RequestHead& head, session::BodySource* body,
                           session::ExchangeHandler& handler,
                           const session::ExchangeOptions& options) override;
  void ask() override;
  session::HttpFigures figures() const override;

  // For the endpoint's memory: the limit in force, and the round trip (0 = not measured).
  uint32_t stream_limit() const { return limit_; }
  Nanos rtt() const { return rtt_; }
  const Place& place() const { return place_; }
  uint64_t resets_sent() const { return resets_sent_; }
  // Before start: the id of the first stream, to come to the end of the ids soon.
  void set_next_stream_id(int32_t id);

 private:
  friend struct Callbacks;
  friend struct Exchange;
  enum class State : uint8_t { New, Open, Draining, Dead };

  struct Event {
    enum class Kind : uint8_t {
      Sent,
      Interim,
      Head,
      Body,
      Trailers,
      Done,
      Capacity,
      Hold,
      Drain,
      Dead,
      Checked,
    };
    Kind kind;
    bool on = false;  // Hold
    Exchange* exchange = nullptr;
    Slice bytes = {};
    std::unique_ptr<session::ResponseHead> interim = {};
  };

  void transition(State next);
  bool dead() const { return state_ == State::Dead; }

  // --- io::StreamHandler
  void on_connected() override {}
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override;
  void on_failed(const Failure& failure) override;

  // --- in (session_receive.cc); the frame_… ones are nghttp2's callbacks and answer its codes
  void receive(const Slice& data);
  void receive_failed(int code);
  void broken_by_peer();
  Failure broken_rules() const;
  int frame_begins(uint8_t type, uint8_t flags, int32_t stream, size_t size);
  int header_block_begins(int32_t stream);
  int header_line(int32_t stream, std::string_view name, std::string_view value);
  int header_block_ends(int32_t stream, bool end_stream);
  int data_part(int32_t stream, const uint8_t* data, size_t size);
  int data_ends(int32_t stream, bool end_stream, size_t size);
  int settings_came();
  void settings_acknowledged();
  int ping_answered(const uint8_t* opaque);
  int goaway_came(int32_t last, uint32_t code, std::string_view text);
  void goaway_ends(Exchange& exchange, Failure why);
  void reset_came(int32_t stream, uint32_t code);
  void frame_invalid(uint8_t type, int32_t stream, int code);
  void stream_closed(int32_t stream, uint32_t code);
  int glitch(const char* what);
  int count_unreported();
  void response_complete(Exchange& exchange);
  void head_limit(Exchange& exchange, std::string detail);
  void take_status(Exchange& exchange);
  Exchange* find(int32_t stream);

  // --- out (session_send.cc)
  void schedule();
  void turn_ends(bool second);
  void flush();
  bool fill();
  bool pull();
  bool write();
  void tell_sent();
  void submit_next();
  bool submit(Exchange& exchange);
  void update_reading();
  void frame_starts(int32_t stream);
  void frame_sent(uint8_t type, uint8_t flags, int32_t stream, uint32_t code);
  void frame_not_sent(int32_t stream, int code);
  ssize_t body_read(int32_t stream, size_t room, uint32_t* flags);
  int body_send(int32_t stream, const uint8_t* frame_head, size_t size, bool end_stream);
  void release_body(Exchange& exchange);
  void reset(int32_t stream, uint32_t code);
  void send_goaway(uint32_t code);

  // --- ends and events (session.cc)
  void finish(Exchange& exchange, Failure failure, Proof proof, session::LeaseEnd lease);
  void finish_unsent(Exchange& exchange, Failure failure);
  void leave(Exchange& exchange, Exchange::State state);
  Proof proof_of(const Exchange& exchange) const;
  void die(Failure failure);
  void end_by(Exchange& exchange, const Failure& failure);
  void drain(Failure why);
  void deliver();
  void run(Event event);
  void free_gone();
  void tell(Event::Kind kind, Exchange* exchange = nullptr) {
    events_.push_back({kind, false, exchange});
  }
  void out_of_memory() { nomem_ = true; }

  // --- exchanges' calls
  void exchange_ready(Exchange& exchange);
  void exchange_consumed(Exchange& exchange, size_t bytes);
  session::ExchangeEnd exchange_cancelled(Exchange& exchange);

  // --- questions
  void question(bool hold);
  void on_keep_warm();

  io::Loop& loop_;
  std::unique_ptr<io::Stream> stream_;
  const Place place_;
  nghttp2_session* nghttp2_ = nullptr;
  session::Owner* owner_ = nullptr;
  State state_ = State::New;
  std::shared_ptr<Session*> self_;  // deferred calls hold it weakly

  // Options.
  const uint32_t max_streams_;
  const uint32_t ideal_streams_;
  const uint32_t stream_window_;
  const uint32_t connection_window_;
  const uint32_t window_max_;
  const size_t max_header_;
  const size_t max_fields_;
  const int64_t max_interim_;
  const Nanos ping_timeout_;
  const Nanos ping_interval_;

  // Exchanges.
  List<Exchange, OwnedTag> running_;
  List<Exchange, OwnedTag> ended_;
  List<Exchange, OwnedTag> gone_;
  List<Exchange, PendingTag> pending_;
  List<Exchange, UnsentTag> unsent_;  // whole in the output, not yet with the transport
  uint32_t active_ = 0;               // running
  uint32_t opened_ = 0;               // running and not pending: streams the peer counts
  uint64_t begun_ = 0;
  bool completed_ = false;    // some exchange has
  bool covers_some_ = false;  // GOAWAY came, and promises to process some of them

  // The peer.
  uint32_t limit_;
  uint32_t peer_limit_ = 0;
  bool settings_came_ = false;
  bool goaway_came_ = false;
  uint32_t goaway_code_ = 0;
  std::string goaway_text_;
  std::string first_bytes_;  // until SETTINGS came: what the peer said instead

  // Limits.
  Glitches glitches_;
  Credit rst_credit_{1000};
  Credit headers_credit_{1000};
  Credit update_credit_{100'000};
  FrameScanner scanner_;
  uint64_t unknown_frames_ = 0;  // came since the last count
  int64_t dropped_data_ = 0;     // small DATA frames that came and that nghttp2 has not reported
  bool data_since_ping_ = false;
  uint32_t header_offences_ = 0;
  size_t block_bytes_ = 0;  // of the header block that comes in
  const char* flood_ = nullptr;
  bool nomem_ = false;
  bool in_nghttp2_ = false;
  std::string complaint_;  // nghttp2's last words on the peer
  bool own_goaway_ = false;
  uint32_t own_goaway_code_ = 0;

  // Output.
  Output output_;
  Exchange* ends_here_ = nullptr;  // whose last frame nghttp2 is about to hand over
  std::vector<nghttp2_nv> lines_;  // of the request that is being submitted
  Timer next_turn_;
  bool blocked_ = false;  // on_writable will tell
  bool scheduled_ = false;
  bool reading_ = false;
  uint64_t resets_sent_ = 0;

  // Input.
  const Slice* input_ = nullptr;  // what nghttp2 reads right now
  std::vector<Event> events_;
  bool delivering_ = false;
  uint64_t bytes_in_ = 0;
  Time heard_ = 0;

  // Windows and the round trip.
  WindowGrowth window_;
  Nanos rtt_;
  Time settings_sent_ = kNever;
  bool settings_acknowledged_ = false;

  // The question to the peer.
  bool asked_ = false;
  bool held_ = false;
  uint64_t ping_number_ = 0;
  Time ping_sent_ = 0;
  uint64_t pings_ = 0;
  Timer ping_timer_;
  Timer warm_timer_;
  Callback<void(Result<void>)> check_done_;

  Failure failure_;  // of a dead session
};

}  // namespace conpool::h2
