// An in-memory pair of streams and a loop to drive them: segmentation, back-pressure, resets.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/loop.h"

namespace conpool::test {

class PipeEnd;

struct PipeDirection {
  std::string bytes;            // written, not delivered yet
  std::string recorded;         // all that was ever written
  size_t capacity = 64 * 1024;  // writev accepts no more than this
  size_t segment = 64 * 1024;   // bytes of one on_data
  bool ended = false;           // FIN was sent
  bool told_end = false;
  bool owes_writable = false;
};

struct PipeCore {
  PipeEnd* ends[2] = {nullptr, nullptr};
  PipeDirection from[2];  // from[i] = written by end i
  bool reset = false;
};

class FakeLoop final : public io::Loop {
 public:
  uint64_t random_seed() override { return 1; }
  void run_turn(Time) override { turn(); }
  void wake() override {}
  int fd() override { return -1; }
  Result<std::unique_ptr<io::Stream>> start_connect(const SocketAddress&,
                                                    const io::ConnectOptions&) override {
    return fail(Status::E_UNSUPPORTED);
  }
  Result<std::unique_ptr<io::Listener>> listen(const SocketAddress&, int,
                                               io::ListenHandler*) override {
    return fail(Status::E_UNSUPPORTED);
  }
  Result<SocketAddress> source_address(const SocketAddress&) override {
    return fail(Status::E_UNSUPPORTED);
  }
  std::unique_ptr<io::DnsExchange> start_exchange(io::DnsQuery, io::DnsCallback) override {
    return nullptr;
  }
  std::unique_ptr<io::Job> start_job(Callback<void()>, Callback<void()>) override {
    return nullptr;
  }
  io::SystemLookup system_lookup() override { return {}; }
  std::optional<io::FileStamp> file_stamp(const std::string&) override { return std::nullopt; }
  Result<std::string> read_file(const std::string&, size_t) override {
    return fail(Status::E_UNSUPPORTED);
  }
  size_t live_handles() const override { return 0; }

  void advance(Nanos time) { set_now(now() + time); }
  std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> pipe();
  PipeCore& core(size_t index) { return *cores_[index]; }
  PipeCore& last() { return *cores_.back(); }
  // True when something was delivered.
  bool turn();
  // Turns until nothing moves any more.
  void run(int limit = 2'000'000) {
    while (limit-- > 0 && turn()) {
    }
  }

 private:
  bool deliver(PipeCore& core, int to);
  std::vector<std::shared_ptr<PipeCore>> cores_;
};

class PipeEnd final : public io::Stream {
 public:
  PipeEnd(std::shared_ptr<PipeCore> core, int side) : core_(std::move(core)), side_(side) {
    core_->ends[side_] = this;
  }
  ~PipeEnd() override {
    close(false);
    core_->ends[side_] = nullptr;
  }
  void set_handler(io::StreamHandler* handler) override { handler_ = handler; }
  void read(bool on) override { reading_ = on; }
  Result<size_t> writev(std::span<const iovec> parts) override {
    if (closed_ || failed_) return fail(Status::E_CLOSED);
    if (core_->reset || core_->ends[1 - side_] == nullptr) {
      failed_ = true;
      return fail_errno(Status::E_CONNECTION_RESET, EPIPE);
    }
    PipeDirection& out = core_->from[side_];
    size_t accepted = 0;
    for (const iovec& part : parts) {
      const size_t room = out.capacity - std::min(out.capacity, out.bytes.size());
      const size_t size = std::min(room, part.iov_len);
      out.bytes.append(static_cast<const char*>(part.iov_base), size);
      out.recorded.append(static_cast<const char*>(part.iov_base), size);
      accepted += size;
      if (size < part.iov_len) {
        out.owes_writable = true;
        break;
      }
    }
    return accepted;
  }
  Result<bool> flush() override { return true; }
  Result<void> shutdown_write() override {
    core_->from[side_].ended = true;
    return {};
  }
  io::Peek peek() override {
    if (closed_ || failed_ || core_->reset) return io::Peek::Failed;
    if (!core_->from[1 - side_].bytes.empty()) return io::Peek::Data;
    return core_->from[1 - side_].ended ? io::Peek::Eof : io::Peek::Quiet;
  }
  Result<int> lend(bool) override { return fail(Status::E_UNSUPPORTED); }
  io::Peek reclaim() override { return io::Peek::Failed; }
  io::StreamFacts facts() const override { return {}; }
  void close(bool abort) override {
    if (closed_) return;
    closed_ = true;
    handler_ = nullptr;
    core_->from[side_].ended = true;
    if (abort) core_->reset = true;
  }
  bool closed() const override { return closed_; }

 private:
  friend class FakeLoop;
  std::shared_ptr<PipeCore> core_;
  int side_;
  io::StreamHandler* handler_ = nullptr;
  bool reading_ = false;
  bool closed_ = false;
  bool failed_ = false;
};

inline std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> FakeLoop::pipe() {
  auto core = std::make_shared<PipeCore>();
  cores_.push_back(core);
  return {std::make_unique<PipeEnd>(core, 0), std::make_unique<PipeEnd>(core, 1)};
}

inline bool FakeLoop::deliver(PipeCore& core, int to) {
  PipeDirection& in = core.from[1 - to];
  PipeDirection& out = core.from[to];
  PipeEnd* end = core.ends[to];
  if (end == nullptr || end->closed_ || end->failed_ || end->handler_ == nullptr) return false;
  if (core.reset) {
    end->failed_ = true;
    end->handler_->on_failed(Failure{.status = Status::E_CONNECTION_RESET, .os_error = ECONNRESET});
    return true;
  }
  bool moved = false;
  if (out.owes_writable && out.bytes.size() <= out.capacity / 2) {
    out.owes_writable = false;
    end->handler_->on_writable();
    moved = true;
  }
  if (end->closed_ || end->handler_ == nullptr || !end->reading_) return moved;
  if (!in.bytes.empty()) {
    const size_t size = std::min(in.segment, in.bytes.size());
    Slice slice = Slice::copy_of(as_bytes(in.bytes).subspan(0, size));
    in.bytes.erase(0, size);
    end->handler_->on_data(std::move(slice));
    return true;
  }
  if (in.ended && !in.told_end) {
    in.told_end = true;
    end->handler_->on_eof();
    return true;
  }
  return moved;
}

inline bool FakeLoop::turn() {
  bool moved = false;
  for (size_t i = 0; i < cores_.size(); ++i) {
    const std::shared_ptr<PipeCore> core = cores_[i];
    moved = deliver(*core, 0) || moved;
    moved = deliver(*core, 1) || moved;
  }
  moved = moved || has_deferred();
  finish_turn();
  return moved;
}

}  // namespace conpool::test
