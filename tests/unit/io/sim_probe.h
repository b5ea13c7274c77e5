// Probes for tests in the simulated world: streams that record what happens to them, and a rig of
// loop and network.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/sim/sim_world.h"

namespace conpool::io {

inline SocketAddress address_of(std::string_view text) {
  Result<SocketAddress> address = parse_address_and_port(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address ? *address : SocketAddress();
}

// A stream with a handler that notes every event and its time.
class Probe final : public StreamHandler {
 public:
  Probe(Loop& loop, std::unique_ptr<Stream> owned)
      : stream(std::move(owned)), accepted_at(loop.now()), loop_(loop) {
    stream->set_handler(this);
    stream->read(true);
  }
  ~Probe() { stream->set_handler(nullptr); }

  void on_connected() override {
    connected_at = loop_.now();
    log += "connected ";
    if (on_connect) on_connect(*this);
  }
  void on_data(Slice slice) override {
    EXPECT_FALSE(slice.empty());
    data.append(as_text(slice.span()));
    pieces.push_back(slice.size());
    data_at = loop_.now();
    if (log.empty() || !log.ends_with("data ")) log += "data ";
    if (on_bytes) on_bytes(*this);
  }
  void on_eof() override {
    eof_at = loop_.now();
    log += "eof ";
  }
  void on_writable() override {
    writable_at = loop_.now();
    log += "writable ";
    if (on_room) on_room(*this);
  }
  void on_failed(const Failure& cause) override {
    failed_at = loop_.now();
    failure = cause;
    log += "failed ";
  }

  Result<size_t> write(std::string_view bytes) {
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    return stream->writev({&part, 1});
  }

  std::unique_ptr<Stream> stream;
  std::function<void(Probe&)> on_connect, on_bytes, on_room;
  std::string data;
  std::vector<size_t> pieces;
  std::string log;
  Time accepted_at = 0;
  Time connected_at = kNever;
  Time data_at = kNever;
  Time eof_at = kNever;
  Time writable_at = kNever;
  Time failed_at = kNever;
  Failure failure{.status = Status::OK};

 private:
  Loop& loop_;
};

class SimRig : public ListenHandler {
 public:
  virtual ~SimRig() = default;
  explicit SimRig(uint64_t seed = 1) : loop(make_sim_loop(network, seed)) {}

  void listen(std::string_view where) { listen(address_of(where)); }
  void listen(const SocketAddress& where) {
    auto made = loop->listen(where, 128, this);
    ASSERT_TRUE(made.has_value());
    listeners.push_back(std::move(*made));
  }
  Probe& connect(std::string_view where, const ConnectOptions& options = {}) {
    return connect(address_of(where), options);
  }
  Probe& connect(const SocketAddress& where, const ConnectOptions& options = {}) {
    auto stream = loop->connect(where, options);
    EXPECT_TRUE(stream.has_value());
    probes.push_back(std::make_unique<Probe>(*loop, std::move(*stream)));
    return *probes.back();
  }
  void on_accepted(std::unique_ptr<Stream> stream) override {
    accepted.push_back(std::make_unique<Probe>(*loop, std::move(stream)));
    if (on_accept) on_accept(*accepted.back());
  }
  void run(Time until) { network.run(*loop, until); }
  // A connected pair over a listener on this address.
  std::pair<Probe*, Probe*> pair(std::string_view where) {
    listen(where);
    Probe& client = connect(where);
    const size_t before = accepted.size();
    EXPECT_TRUE(network.run(*loop, loop->now() + kMinute, [&] {
      return accepted.size() > before && client.connected_at != kNever;
    }));
    return {&client, accepted.back().get()};
  }

  SimNetwork network;
  std::unique_ptr<Loop> loop;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<std::unique_ptr<Probe>> accepted;
  std::function<void(Probe&)> on_accept;
};

}  // namespace conpool::io
