// A session on a stream that a test holds in its hands, with everything it tells.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "http1/encode.h"
#include "http1/session.h"
#include "io/sim/sim_world.h"

namespace conpool::http1 {

// What both ends of a FakeStream see; outlives it.
struct Wire {
  io::StreamHandler* handler = nullptr;
  std::string written;
  std::vector<size_t> writes;  // sizes accepted, one per writev
  size_t room = SIZE_MAX;      // bytes that writev still accepts
  std::optional<Failure> write_failure;
  bool flushes = true;
  bool reading = false;
  bool idle = false;
  bool closed = false;
  bool aborted = false;
  io::Peek peek = io::Peek::Quiet;
  size_t peeks = 0;
};

class FakeStream final : public io::Stream {
 public:
  explicit FakeStream(Wire& wire) : wire_(wire) {}
  ~FakeStream() override { close(); }

  void set_handler(io::StreamHandler* handler) override { wire_.handler = handler; }
  void read(bool on) override { wire_.reading = on; }
  Result<size_t> writev(std::span<const iovec> parts) override {
    if (wire_.write_failure) return fail(*wire_.write_failure);
    size_t accepted = 0;
    for (const iovec& part : parts) {
      const size_t size = std::min(part.iov_len, wire_.room);
      wire_.written.append(static_cast<const char*>(part.iov_base), size);
      wire_.room -= size;
      accepted += size;
    }
    wire_.writes.push_back(accepted);
    return accepted;
  }
  Result<bool> flush() override { return wire_.flushes; }
  Result<void> shutdown_write() override { return {}; }
  io::Peek peek() override {
    ++wire_.peeks;
    return wire_.peek;
  }
  Result<int> lend(bool) override { return fail(Status::E_UNSUPPORTED); }
  io::Peek reclaim() override { return io::Peek::Failed; }
  void idle(bool on) override { wire_.idle = on; }
  io::StreamFacts facts() const override { return {}; }
  void close(bool abort = false) override {
    if (wire_.closed) return;
    wire_.closed = true;
    wire_.aborted = abort;
    wire_.handler = nullptr;
  }
  bool closed() const override { return wire_.closed; }

 private:
  Wire& wire_;
};

// True while the test is inside a call into the session: nothing may be told then.
struct Inside {
  explicit Inside(bool& flag) : flag_(flag) { flag_ = true; }
  ~Inside() { flag_ = false; }
  bool& flag_;
};

class Body final : public session::BodySource {
 public:
  explicit Body(bool& inside) : inside_(inside) {}
  std::optional<uint64_t> size() const override { return announced; }
  Piece peek() override {
    EXPECT_FALSE(inside_);
    const std::string_view text = std::string_view(bytes).substr(0, most);
    return {as_bytes(text), last && text.size() == bytes.size()};
  }
  void take(size_t size) override {
    EXPECT_FALSE(inside_);
    ASSERT_LE(size, bytes.size());
    bytes.erase(0, size);
    taken += size;
  }

  std::optional<uint64_t> announced;
  std::string bytes;       // there now
  bool last = true;        // nothing comes after them
  size_t most = SIZE_MAX;  // of one piece
  uint64_t taken = 0;

 private:
  bool& inside_;
};

class Handler final : public session::ExchangeHandler {
 public:
  explicit Handler(bool& inside) : inside_(inside) {}

  void on_sent() override { note("sent"); }
  void on_interim(session::ResponseHead told) override {
    note("interim " + std::to_string(told.status));
  }
  void on_head(session::ResponseHead told) override {
    head = std::move(told);
    note("head " + std::to_string(head.status));
  }
  void on_body(Slice slice) override {
    EXPECT_FALSE(slice.empty());
    body += as_text(slice.span());
    if (!log.ends_with("body ")) {
      note("body");
    } else if (on_event) {
      on_event("body");
    }
  }
  void on_trailers(session::Fields fields) override {
    for (size_t i = 0; i < fields.size(); ++i)
      trailers.append(fields[i].name).append("=").append(fields[i].value).append(";");
    note("trailers");
  }
  void on_done(const session::ExchangeEnd& told) override {
    EXPECT_FALSE(done);
    done = true;
    end = told;
    note("done");
  }

  std::string log;
  session::ResponseHead head;
  std::string body;
  std::string trailers;
  bool done = false;
  session::ExchangeEnd end;
  std::function<void(std::string_view)> on_event;

 private:
  void note(const std::string& what) {
    EXPECT_FALSE(inside_ && !closing) << what;
    EXPECT_TRUE(!done || what == "done") << what;
    log += what + " ";
    if (on_event) on_event(what);
  }
  bool& inside_;

 public:
  bool closing = false;  // close() tells its end at once
};

class PoolSide final : public session::Owner {
 public:
  explicit PoolSide(bool& inside) : inside_(inside) {}
  void on_capacity(session::Capacity) override { note("capacity"); }
  void on_hold(bool) override { note("hold"); }
  void on_idle_limit(Nanos limit) override {
    idle_limit = limit;
    note("limit");
  }
  void on_drain(const Failure&) override { note("drain"); }
  void on_dead(const Failure& failure) override {
    why = failure;
    note("dead");
    if (when_dead) when_dead();
  }

  std::string log;
  Nanos idle_limit = 0;
  Failure why{.status = Status::OK};
  std::function<void()> when_dead;

 private:
  void note(std::string_view what) {
    EXPECT_FALSE(inside_) << what;
    log.append(what).append(" ");
  }
  bool& inside_;
};

class Rig {
 public:
  Rig() : loop(io::make_sim_loop(network, 1)) { open(); }

  // A fresh session on a fresh stream.
  void open() {
    session.reset();
    turn();  // frees the old stream
    wire = std::make_unique<Wire>();
    pool = std::make_unique<PoolSide>(inside);
    session = std::make_unique<Session>(*loop, std::make_unique<FakeStream>(*wire), values,
                                        Place{"tcp:192.0.2.1:80", "example.org:80"});
    session->start(*pool);
    EXPECT_TRUE(wire->reading);
    EXPECT_NE(wire->handler, nullptr);
  }
  ~Rig() {
    session.reset();
    turn();
  }

  // Forgets the last exchange and begins the next.
  void begin(const std::string& method = "GET", bool with_body = false) {
    start(method, with_body);
    turn();
  }
  // The same without the rest of the turn.
  void start(const std::string& method = "GET", bool with_body = false) {
    handler = std::make_unique<Handler>(inside);
    head.method = method;
    head.scheme = "http";
    head.authority = "example.org";
    head.target = "/";
    head.head_only = method == "HEAD";
    head.http1_head = encode_head(head, body.announced, with_body);
    const Inside call(inside);
    exchange = &session->begin(head, with_body ? &body : nullptr, *handler, options);
  }
  void ready() {
    {
      const Inside call(inside);
      exchange->body_ready();
    }
    turn();
  }
  void consumed(size_t size) {
    const Inside call(inside);
    exchange->consumed(size);
  }
  session::ExchangeEnd cancel() {
    const Inside call(inside);
    return exchange->cancel();
  }
  void close(bool abort = false) {
    if (handler) handler->closing = true;
    const Inside call(inside);
    session->close(abort);
  }
  void turn() { loop->run_turn(loop->now()); }
  void wait(Nanos time) { network.run(*loop, loop->now() + time); }
  void writable(size_t room) {
    wire->room = room;
    wire->handler->on_writable();
  }

  // The peer's doing. Answers whether anybody listened.
  bool data(std::string_view bytes) {
    if (wire->handler == nullptr || !wire->reading) return false;
    wire->handler->on_data(Slice::copy_of(as_bytes(bytes)));
    return true;
  }
  bool eof() {
    if (wire->handler == nullptr || !wire->reading) return false;
    wire->handler->on_eof();
    return true;
  }
  bool failed(Failure failure) {
    if (wire->handler == nullptr) return false;
    wire->handler->on_failed(failure);
    return true;
  }

  bool idle() { return session->figures().active == 0 && session->peek() == io::Peek::Quiet; }
  std::string request() { return std::exchange(wire->written, {}); }

  bool inside = false;
  Values values = default_values();
  io::SimNetwork network;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<Wire> wire;
  std::unique_ptr<PoolSide> pool;
  std::unique_ptr<Session> session;
  session::RequestHead head;
  Body body{inside};
  std::unique_ptr<Handler> handler;
  session::ExchangeOptions options;
  session::Exchange* exchange = nullptr;
};

inline constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
inline constexpr std::string_view kNoContent = "HTTP/1.1 204 No Content\r\n\r\n";

inline std::string end_text(const session::ExchangeEnd& end) {
  static constexpr const char* kProofs[] = {"never-sent", "not-processed", "maybe-processed"};
  static constexpr const char* kLeases[] = {"reusable", "broken", "not-processed"};
  std::string text(status_name(end.failure.status));
  if (end.failure.status != Status::OK) text.append(" ").append(phase_name(end.phase));
  text.append(" ").append(kProofs[static_cast<size_t>(end.proof)]);
  text.append(" ").append(kLeases[static_cast<size_t>(end.lease)]);
  if (end.stale) text += " stale";
  return text;
}

}  // namespace conpool::http1
