// Fuzz target: what a server sends to an HTTP/2 session with some open requests. The first byte
// says how the session is used, the second how the bytes are cut into reads. Checks that every
// exchange ends once, in order, and that nothing is left.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../unit/h2/wire.h"
#include "h2/session.h"
#include "io/sim/sim_world.h"

namespace {

using namespace conpool;            // NOLINT: a program of one file
using namespace conpool::h2::test;  // NOLINT

void require(bool holds) {
  if (!holds) std::abort();
}

class Body final : public session::BodySource {
 public:
  std::optional<uint64_t> size() const override { return {}; }
  Piece peek() override { return {as_bytes("a request's body").subspan(taken_), true}; }
  void take(size_t size) override { taken_ += size; }

 private:
  size_t taken_ = 0;
};

struct Call final : session::ExchangeHandler {
  session::RequestHead head;
  Body body;
  session::Exchange* exchange = nullptr;
  bool reads = true;
  bool sent = false;
  bool headed = false;
  bool trailed = false;
  bool over = false;

  void on_sent() override {
    require(!sent && !over);
    sent = true;
  }
  void on_interim(session::ResponseHead response) override {
    require(!headed && !over && response.status >= 100 && response.status < 200);
  }
  void on_head(session::ResponseHead response) override {
    require(!headed && !over && response.status >= 200 && response.status < 1000);
    require(response.fields.bytes() <= 65536 && response.fields.size() <= 256);
    headed = true;
  }
  void on_body(Slice bytes) override {
    require(headed && !trailed && !over && !bytes.empty());
    if (reads) exchange->consumed(bytes.size());
  }
  void on_trailers(session::Fields fields) override {
    require(headed && !trailed && !over && !fields.empty());
    trailed = true;
  }
  void on_done(const session::ExchangeEnd& end) override {
    require(!over);
    require(end.failure.status != Status::OK || headed);
    require(!end.needs_http1 || end.proof == Proof::NotProcessed);
    require(end.proof == Proof::MaybeProcessed || !headed || end.failure.status != Status::OK);
    over = true;
    exchange = nullptr;
  }
};

struct Owner final : session::Owner {
  bool drained = false;
  bool dead = false;
  void on_capacity(session::Capacity capacity) override {
    require(!dead && capacity.soft <= capacity.hard && capacity.hard <= 1000);
  }
  void on_hold(bool) override { require(!dead); }
  void on_idle_limit(Nanos) override { require(false); }
  void on_drain(const Failure&) override {
    require(!drained && !dead);
    drained = true;
  }
  void on_dead(const Failure& why) override {
    require(!dead && why.status != Status::OK);
    dead = true;
  }
};

void play(uint8_t how, size_t piece, std::string_view bytes) {
  io::SimNetwork network;
  const std::unique_ptr<io::Loop> loop = io::make_sim_loop(network, 1);
  const auto turn = [&] { network.run(*loop, loop->now()); };
  const auto wire = std::make_shared<Wire>();
  Owner owner;
  std::vector<std::unique_ptr<Call>> calls;
  auto session = std::make_unique<h2::Session>(
      *loop, std::make_unique<WireStream>(wire), default_values(),
      h2::Place{"tcp:192.0.2.1:443", "example.test:443"}, h2::Remembered{});
  session->start(owner);
  const auto feed = [&](std::string_view part) {
    if (wire->closed) return;
    Slab* slab = Slab::make(part.size());
    std::copy(part.begin(), part.end(), slab->data());
    wire->handler->on_data(Slice(slab, slab->data(), part.size()));
    slab->unref();
    turn();
  };
  for (unsigned i = 0; i <= (how & 3U); ++i) {
    calls.push_back(std::make_unique<Call>());
    Call& call = *calls.back();
    call.head.method = i == 1 ? "POST" : i == 2 ? "HEAD" : "GET";
    call.head.scheme = "https";
    call.head.authority = "example.test";
    call.head.target = "/";
    call.head.expect_continue = (how & 4U) != 0;
    call.reads = (how & 8U) == 0;
    call.exchange = &session->begin(call.head, i == 1 ? &call.body : nullptr, call, {});
  }
  turn();
  if ((how & 16U) == 0) feed(settings() + settings_ack());
  if ((how & 32U) != 0) session->ask();
  for (size_t at = 0; at < bytes.size(); at += piece) {
    feed(bytes.substr(at, piece));
    if ((how & 64U) != 0 && at >= bytes.size() / 2 && calls.front()->exchange != nullptr) {
      calls.front()->exchange->cancel();
      calls.front()->exchange = nullptr;
      calls.front()->over = true;
    }
  }
  if (!wire->closed) wire->handler->on_eof();
  turn();
  require(owner.dead && wire->closed);
  require(session->figures().active == 0);
  for (const auto& call : calls)
    require(call->over);
  session.reset();
  turn();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  play(data[0], data[1] < 128 ? size : data[1] - 127U, as_text({data + 2, size - 2}));
  return 0;
}
