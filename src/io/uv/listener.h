// Listening sockets of TCP and unix paths.
#pragma once

#include "io/uv/loop_core.h"

namespace conpool::io::uv {

// Invariant: without a free descriptor the listener stops watching for kRetry, because the waiting
// connection would keep the socket readable and the loop spinning.
class UvListener final : public Listener, private PollOwner {
 public:
  static constexpr Nanos kRetry = 100 * kMillisecond;
  static constexpr int kAcceptsPerEvent = 64;  // others get their turn too

  static Result<std::unique_ptr<Listener>> open(UvLoop& loop, const SocketAddress& address,
                                                int backlog, ListenHandler* handler);
  ~UvListener() override;
  SocketAddress address() const override { return address_; }
  void close() override;

 private:
  UvListener(UvLoop& loop, Fd fd, const SocketAddress& address, ListenHandler* handler);
  void on_poll(int status, int events) override;
  void on_poll_thrown(Status status) noexcept override;
  bool accept_one();  // false: no more for now

  UvLoop& loop_;
  LiveMark live_;
  Fd fd_;
  PollHandle::Ptr poll_;
  SocketAddress address_;
  ListenHandler* handler_;
  Timer retry_;
};

}  // namespace conpool::io::uv
