// ReplayStream: a stream of which somebody has read the beginning already.
#pragma once

#include <memory>
#include <string>

#include "base/timer.h"
#include "io/loop.h"

namespace conpool::origin {

// Gives its handler the bytes that were read before, then goes on with the stream below. Everything
// else is the stream's below.
class ReplayStream final : public io::Stream, private io::StreamHandler {
 public:
  // `ended`: the peer's end was read, too.
  ReplayStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, std::string first, bool ended);

  void set_handler(io::StreamHandler* handler) override { handler_ = handler; }
  void read(bool on) override;
  Result<size_t> writev(std::span<const iovec> parts) override { return lower_->writev(parts); }
  Result<bool> flush() override { return lower_->flush(); }
  Result<void> shutdown_write() override { return lower_->shutdown_write(); }
  io::Peek peek() override;
  Result<int> lend(bool) override;
  io::Peek reclaim() override { return peek(); }
  io::StreamFacts facts() const override { return lower_->facts(); }
  void close(bool abort) override;
  bool closed() const override { return lower_->closed(); }

 private:
  void on_connected() override {}
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override;
  void on_failed(const Failure& failure) override;
  bool replaying() const { return !first_.empty() || ended_; }
  void replay();

  io::Loop& loop_;
  std::unique_ptr<io::Stream> lower_;
  io::StreamHandler* handler_ = nullptr;
  std::string first_;
  bool ended_;  // and not yet told
  bool reading_ = false;
  Timer timer_;  // nothing is told from inside a call
};

}  // namespace conpool::origin
