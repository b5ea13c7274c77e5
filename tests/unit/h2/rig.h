// A session over a stream in memory, under virtual time; the test is the server, by frames made by
// hand or through nghttp2's server side.
#pragma once

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "h2/session.h"
#include "io/sim/sim_world.h"
#include "wire.h"

namespace conpool::h2::test {

// --- one request ------------------------------------------------------------------------------

class TestBody final : public session::BodySource {
 public:
  std::optional<uint64_t> announced;
  std::string bytes;
  bool ended = true;  // `bytes` is all there will be
  size_t piece = SIZE_MAX;
  size_t taken = 0;

  std::optional<uint64_t> size() const override { return announced; }
  Piece peek() override {
    const size_t left = bytes.size() - taken;
    const size_t now = std::min(left, piece);
    return {{reinterpret_cast<const uint8_t*>(bytes.data()) + taken, now}, ended && now == left};
  }
  void take(size_t size) override { taken += size; }
};

inline session::RequestHead request_head(std::string_view target = "/",
                                         std::string_view method = "GET") {
  session::RequestHead head;
  head.method = method;
  head.scheme = "https";
  head.authority = "example.test";
  head.target = target;
  head.fields.add("user-agent", "test");
  head.head_only = method == "HEAD";
  return head;
}

// A request and all that happened to it. Gives the window back by itself unless told to hold it.
struct Call final : session::ExchangeHandler {
  session::RequestHead head = request_head();
  TestBody body;
  bool with_body = false;
  session::ExchangeOptions options;
  session::Exchange* exchange = nullptr;  // while it runs
  bool holds = false;                     // consumes nothing
  size_t held = 0;

  std::string log;  // "sent head=200 body trailers done"
  std::vector<uint16_t> interims;
  session::ResponseHead response;
  session::Fields trailers;
  std::string received;
  size_t parts = 0;
  size_t referenced = 0;  // parts that share the slab of what was read
  bool done = false;
  session::ExchangeEnd end;
  Callback<void()> then;  // runs in the next event

  void happened() {
    if (Callback<void()> run = std::move(then)) run();
  }
  void on_sent() override {
    log += "sent ";
    happened();
  }
  void on_interim(session::ResponseHead interim) override {
    interims.push_back(interim.status);
    log += "interim ";
    happened();
  }
  void on_head(session::ResponseHead got) override {
    response = std::move(got);
    log += "head ";
    happened();
  }
  void on_body(Slice bytes) override {
    EXPECT_FALSE(bytes.empty());
    received.append(as_text(bytes.span()));
    ++parts;
    if (bytes.slab()->capacity() > bytes.size()) ++referenced;
    if (!log.ends_with("body ")) log += "body ";
    if (holds) {
      held += bytes.size();
    } else {
      exchange->consumed(bytes.size());
    }
    happened();
  }
  void on_trailers(session::Fields got) override {
    trailers = std::move(got);
    log += "trailers ";
    happened();
  }
  void on_done(const session::ExchangeEnd& how) override {
    EXPECT_FALSE(done);
    done = true;
    end = how;
    exchange = nullptr;
    log += "done";
    happened();
  }
  Status status() const { return end.failure.status; }
};

struct Watch final : session::Owner {
  std::vector<session::Capacity> capacities;
  std::vector<bool> holds;
  std::vector<Failure> drains;
  std::vector<Failure> deaths;
  const std::vector<std::unique_ptr<Call>>* calls = nullptr;

  void on_capacity(session::Capacity capacity) override { capacities.push_back(capacity); }
  void on_hold(bool held) override { holds.push_back(held); }
  void on_idle_limit(Nanos) override { FAIL() << "an HTTP/2 server told an idle limit"; }
  void on_drain(const Failure& why) override { drains.push_back(why); }
  void on_dead(const Failure& why) override {
    deaths.push_back(why);
    if (calls == nullptr) return;
    for (const auto& call : *calls)
      EXPECT_EQ(call->exchange, nullptr) << "ended after its connection";
  }
};

struct Rig {
  io::SimNetwork network;
  std::unique_ptr<io::Loop> loop = io::make_sim_loop(network, 1);
  std::shared_ptr<Wire> wire = std::make_shared<Wire>();
  Values values = default_values();
  Remembered remembered;
  Watch watch;
  std::unique_ptr<Session> session;
  std::vector<std::unique_ptr<Call>> calls;

  ~Rig() {
    session.reset();
    turn();
  }

  // Without the server's SETTINGS.
  void open() {
    make();
    session->start(watch);
    turn();
  }
  void make() {
    watch.calls = &calls;
    session = std::make_unique<Session>(*loop, std::make_unique<WireStream>(wire), values,
                                        Place{"tcp:192.0.2.1:443", "example.test:443"}, remembered);
  }
  // With it; what the client sent so far is forgotten.
  void open_with(std::string_view server_settings) {
    open();
    feed(std::string(server_settings) + settings_ack());
    wire->sent.clear();
  }
  void turn() { network.run(*loop, loop->now()); }
  void pass(Nanos time) { network.run(*loop, loop->now() + time); }
  // Bytes from the server, as one read, and the turn that follows.
  void feed(std::string_view bytes) {
    if (wire->handler != nullptr && !wire->closed) wire->handler->on_data(slice(bytes));
    turn();
  }
  // A slab larger than the bytes, as reads give.
  static Slice slice(std::string_view bytes) {
    Slab* slab = Slab::make(bytes.size() + 1);
    std::memcpy(slab->data(), bytes.data(), bytes.size());
    Slice all(slab, slab->data(), bytes.size());
    slab->unref();
    return all;
  }
  void eof() {
    if (wire->handler != nullptr && !wire->closed) wire->handler->on_eof();
    turn();
  }
  void cut(Status status = Status::E_CONNECTION_RESET) {
    if (wire->handler != nullptr && !wire->closed) wire->handler->on_failed({.status = status});
    turn();
  }
  // The transport takes `more` bytes again.
  void unblock(size_t more = SIZE_MAX) {
    wire->room = more;
    if (!wire->starved) return;
    wire->starved = false;
    wire->handler->on_writable();
    turn();
  }
  std::vector<Frame> sent() {
    const std::vector<Frame> frames = frames_of(wire->sent);
    wire->sent.clear();
    return frames;
  }
  size_t sent_of(uint8_t type) {
    size_t count = 0;
    for (const Frame& one : sent())
      count += one.type == type ? 1 : 0;
    return count;
  }

  Call& prepare(std::string_view target = "/", std::string_view method = "GET") {
    calls.push_back(std::make_unique<Call>());
    calls.back()->head = request_head(target, method);
    return *calls.back();
  }
  Call& begin(Call& call) {
    call.exchange =
        &session->begin(call.head, call.with_body ? &call.body : nullptr, call, call.options);
    return call;
  }
  // In the turn that is still to come.
  Call& get(std::string_view target = "/") { return begin(prepare(target)); }
  Call& post(std::string body, bool sized = true) {
    Call& call = prepare("/", "POST");
    call.with_body = true;
    if (sized) call.body.announced = body.size();
    call.body.bytes = std::move(body);
    return begin(call);
  }
  session::ExchangeEnd cancel(Call& call) {
    session::Exchange* exchange = std::exchange(call.exchange, nullptr);
    return exchange->cancel();
  }
};

// --- a whole server ---------------------------------------------------------------------------

// nghttp2's server side: keeps requests and answers them when the test says so.
class Peer {
 public:
  struct Request {
    std::map<std::string, std::string> fields;
    std::map<std::string, std::string> trailers;
    std::string body;
    bool headers_done = false;
    bool complete = false;
    bool reset = false;
    std::string answer;  // what is left of the body
    std::vector<std::pair<std::string, std::string>> answer_trailers;
  };

  explicit Peer(const std::vector<nghttp2_settings_entry>& settings_now = {});
  ~Peer() { nghttp2_session_del(session_); }
  Peer(const Peer&) = delete;

  // False when the client broke the rules.
  bool take(std::string_view bytes) {
    return nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                    bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  std::string give() {
    std::string out;
    const uint8_t* bytes = nullptr;
    for (ssize_t n; (n = nghttp2_session_mem_send(session_, &bytes)) > 0;)
      out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
    return out;
  }
  void answer(int32_t stream, std::string_view status, std::string body,
              std::vector<std::pair<std::string, std::string>> fields = {},
              std::vector<std::pair<std::string, std::string>> trailers = {});
  nghttp2_session* raw() { return session_; }

  std::map<int32_t, Request> requests;
  size_t open = 0;  // streams
  size_t most_open = 0;

 private:
  static nghttp2_nv nv(const std::string& name, const std::string& value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
            NGHTTP2_NV_FLAG_NONE};
  }
  nghttp2_session* session_ = nullptr;
};

inline Peer::Peer(const std::vector<nghttp2_settings_entry>& settings_now) {
  nghttp2_session_callbacks* c = nullptr;
  nghttp2_session_callbacks_new(&c);
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      c, [](nghttp2_session*, const nghttp2_frame* f, void* user) {
        auto& peer = *static_cast<Peer*>(user);
        if (f->headers.cat == NGHTTP2_HCAT_REQUEST) {
          peer.requests[f->hd.stream_id];
          peer.most_open = std::max(peer.most_open, ++peer.open);
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_header_callback(
      c, [](nghttp2_session*, const nghttp2_frame* f, const uint8_t* name, size_t name_size,
            const uint8_t* value, size_t value_size, uint8_t, void* user) {
        Request& request = static_cast<Peer*>(user)->requests[f->hd.stream_id];
        auto& fields = request.headers_done ? request.trailers : request.fields;
        fields[std::string(as_text({name, name_size}))] = as_text({value, value_size});
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      c,
      [](nghttp2_session*, uint8_t, int32_t stream, const uint8_t* bytes, size_t size, void* user) {
        static_cast<Peer*>(user)->requests[stream].body.append(as_text({bytes, size}));
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      c, [](nghttp2_session*, const nghttp2_frame* f, void* user) {
        if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) return 0;
        Request& request = static_cast<Peer*>(user)->requests[f->hd.stream_id];
        request.headers_done = true;
        request.complete = request.complete || (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      c, [](nghttp2_session*, int32_t stream, uint32_t code, void* user) {
        auto& peer = *static_cast<Peer*>(user);
        --peer.open;
        peer.requests[stream].reset = code != 0;
        return 0;
      });
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_stream_reset_rate_limit(option, 1'000'000, 1'000'000);
  nghttp2_session_server_new2(&session_, c, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(c);
  nghttp2_submit_settings(session_, 0, settings_now.data(), settings_now.size());
}

inline void Peer::answer(int32_t stream, std::string_view status, std::string body,
                         std::vector<std::pair<std::string, std::string>> fields,
                         std::vector<std::pair<std::string, std::string>> trailers) {
  Request& request = requests[stream];
  request.answer = std::move(body);
  request.answer_trailers = std::move(trailers);
  const std::string name = ":status";
  const std::string value(status);
  std::vector<nghttp2_nv> lines = {nv(name, value)};
  for (const auto& [key, text] : fields)
    lines.push_back(nv(key, text));
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session* s, int32_t id, uint8_t* out, size_t room,
                              uint32_t* flags, nghttp2_data_source*, void* user) {
    Request& asked = static_cast<Peer*>(user)->requests[id];
    const size_t size = std::min(room, asked.answer.size());
    std::memcpy(out, asked.answer.data(), size);
    asked.answer.erase(0, size);
    if (asked.answer.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!asked.answer_trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        std::vector<nghttp2_nv> last;
        for (const auto& [key, text] : asked.answer_trailers)
          last.push_back(nv(key, text));
        nghttp2_submit_trailer(s, id, last.data(), last.size());
      }
    }
    return static_cast<ssize_t>(size);
  };
  const bool empty = request.answer.empty() && request.answer_trailers.empty();
  nghttp2_submit_response(session_, stream, lines.data(), lines.size(),
                          empty ? nullptr : &provider);
}

// The session with that server: bytes go to and fro until both are quiet.
struct PeerRig : Rig {
  explicit PeerRig(std::vector<nghttp2_settings_entry> server = {})
      : settings_now(std::move(server)) {}
  std::vector<nghttp2_settings_entry> settings_now;
  std::unique_ptr<Peer> peer;
  size_t read_size = 65536;

  void connect() {
    peer = std::make_unique<Peer>(settings_now);
    open();
    talk();
  }
  void talk() {
    for (;;) {
      turn();
      std::string up;
      up.swap(wire->sent);
      if (!up.empty()) {
        ASSERT_TRUE(peer->take(up));
      }
      const std::string down = wire->closed ? "" : peer->give();
      for (size_t at = 0; at < down.size(); at += read_size)
        feed(std::string_view(down).substr(at, read_size));
      if (up.empty() && down.empty() && wire->sent.empty()) return;
    }
  }
  // The one request that is complete and was not answered.
  int32_t last() const { return peer->requests.rbegin()->first; }
};

}  // namespace conpool::h2::test
