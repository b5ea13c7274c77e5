// The HTTP/1.1 session: one exchange at a time on a connection.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/settings.h"
#include "http1/body_writer.h"
#include "http1/decoder.h"
#include "io/loop.h"
#include "session/http.h"

namespace conpool::http1 {

// Where a session's connection leads, for the details of its failures.
struct Place {
  std::string address;   // "tcp:127.0.0.1:8088"
  std::string endpoint;  // "localhost:8088"
};

// Invariants: Idle and Active read (Active unless its consumer is behind); a byte, an end or a
// failure while Idle ends the session, and one that waits when the first byte of a request is about
// to be written ends the exchange with that byte unsent. So nothing that came unasked until then
// meets a later request; what comes after it cannot be told from the answer. An exchange ends once,
// with on_done or cancel(). A request's bytes leave at the end of the turn that began it or that
// brought more of its body.
//
// Lifecycle. New → Idle → Active → Idle … ; Active → Spent when an exchange leaves a connection
// that cannot be used again: the lease's end told so, the owner closes it; Dead from each, when the
// transport ends or close() is called.
class Session final : public session::HttpSession,
                      private session::Exchange,
                      private io::StreamHandler {
 public:
  // Body bytes that may wait for consumed(); above it reading stops until half of it is left.
  static constexpr size_t kUnconsumedBytes = 256 * 1024;
  // Turns that a fresh connection's first request waits at most for bytes to be read that are there
  // before it.
  static constexpr int kFirstWaits = 16;

  Session(io::Loop& loop, std::unique_ptr<io::Stream> stream, const Values& values, Place place);
  ~Session() override;

  // --- session::HttpSession
  void start(session::Owner& owner) override;
  session::Capacity capacity() const override { return {}; }
  io::Peek peek() override;
  void check(Callback<void(Result<void>)> done) override;
  void idle(bool idle) override { stream_->idle(idle); }
  void close(bool abort) override;
  io::StreamFacts facts() const override { return stream_->facts(); }
  uint64_t bytes_in() const override { return bytes_in_; }
  uint64_t bytes_out() const override { return bytes_out_ + sent_bytes(); }
  session::HttpVersion version() const override { return session::HttpVersion::Http11; }
  session::Exchange& begin(const session::RequestHead& head, session::BodySource* body,
                           session::ExchangeHandler& handler,
                           const session::ExchangeOptions& options) override;
  void ask() override {}
  session::HttpFigures figures() const override;

 private:
  enum class State : uint8_t {
    New,     // start() is due
    Idle,    // no exchange; nothing may come
    Active,  // an exchange runs
    Spent,   // its last exchange ended; the owner closes it
    Dead,    // the transport is gone
  };

  void transition(State next);

  // --- session::Exchange
  void body_ready() override;
  void consumed(size_t bytes) override;
  session::ExchangeEnd cancel() override;

  // --- io::StreamHandler
  void on_connected() override {}
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override { send(); }
  void on_failed(const Failure& failure) override;

  bool active() const { return state_ == State::Active; }
  // Whether this exchange still runs: what a handler was told may have ended it.
  bool runs(uint64_t exchange) const { return active() && exchange_ == exchange; }
  uint64_t sent_bytes() const { return active() ? writer_.accepted() : 0; }
  void send_later();
  void send();
  bool may_begin_to_write();
  bool must_read_first(io::Peek seen);
  void arm_expect();
  void receive(const Slice& data);
  bool tell(Decoder::Event event, const Slice& data);
  bool tell_head(bool interim);
  void tell_body(const Slice& data);
  void complete(bool more_bytes);
  void set_reading(bool on);
  void transport_ended(const Failure& failure);
  Failure from_peer(Failure failure) const;
  Failure ending(const Failure& failure);
  session::ExchangeEnd end_of(Failure failure) const;
  State judge_place(session::ExchangeEnd* end) const;
  // Ends the exchange and tells its handler; nothing touches the exchange after it.
  void finish(session::ExchangeEnd end, State next);
  void fail_exchange(Failure failure);
  void leave_exchange(State next);
  void die(const Failure& failure, bool abort);

  io::Loop& loop_;
  std::unique_ptr<io::Stream> stream_;
  const Place place_;
  // Deferred calls hold it weakly: they may outlive the session.
  std::shared_ptr<Session*> self_;
  session::Owner* owner_ = nullptr;
  State state_ = State::New;
  bool reading_ = false;

  BodyWriter writer_;
  Decoder decoder_;
  session::ExchangeHandler* handler_ = nullptr;
  Nanos expect_timeout_ = 0;
  Timer expect_timer_;
  Timer resume_timer_;
  bool send_due_ = false;
  bool told_sent_ = false;
  int waits_ = 0;
  bool served_ = false;    // an exchange was completed before
  uint64_t exchange_ = 0;  // counts; the number of the running or last one
  size_t unconsumed_ = 0;
  Nanos told_idle_limit_ = 0;

  Callback<void(Result<void>)> check_done_;
  uint64_t bytes_in_ = 0;
  uint64_t bytes_out_ = 0;
};

}  // namespace conpool::http1
