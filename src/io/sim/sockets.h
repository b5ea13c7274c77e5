// The handles on simulated sockets: stream, listener, and the holder of a lent descriptor.
#pragma once

#include "io/sim/tcp.h"

namespace conpool::io::sim {

class SimStream final : public Stream {
 public:
  SimStream(std::shared_ptr<World> world, std::shared_ptr<Connection> connection, Side side);
  ~SimStream() override;

  void set_handler(StreamHandler* handler) override;
  void read(bool on) override;
  Result<size_t> writev(std::span<const iovec> parts) override;
  Result<bool> flush() override { return true; }
  Result<void> shutdown_write() override;
  Peek peek() override;
  Result<int> lend(bool blocking) override;
  Peek reclaim() override;
  StreamFacts facts() const override;
  void close(bool abort) override;
  bool closed() const override { return closed_; }

  // Tells the handler what the socket has for it; called in the poll, through
  // Connection::mark_ready.
  void dispatch();
  // The process that held the server's end went away.
  void taken_away();

 private:
  End& end() { return connection_->end(side_); }
  const End& end() const { return connection_->end(side_); }
  bool listening() const { return handler_ != nullptr && !closed_ && !lent_; }
  void wake_if_pending();
  void tell_input(bool dead);
  Result<void> check_usable();
  void tell_failure();
  Failure failure() const;
  void let_go(bool abort);  // of the descriptor: closed or failed

  std::shared_ptr<World> world_;
  std::shared_ptr<Connection> connection_;
  const Side side_;
  StreamHandler* handler_ = nullptr;
  bool reading_ = false;
  bool connected_ = false;  // on_connected was told, or this is a server's stream
  bool eof_told_ = false;
  bool failed_ = false;  // the failure was told or returned
  bool want_writable_ = false;
  bool write_ended_ = false;
  bool lent_ = false;
  bool holds_ = true;  // false when the process was taken away
  bool live_ = true;
  bool closed_ = false;
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<World> world, const SocketAddress& address, ListenHandler* handler);
  ~SimListener() override { close(); }
  SocketAddress address() const override { return address_; }
  void close() override;
  void accept(std::shared_ptr<Connection> connection);

 private:
  struct Shared {
    SimListener* listener = nullptr;
  };
  std::shared_ptr<World> world_;
  SocketAddress address_;
  ListenHandler* handler_;
  std::shared_ptr<Shared> shared_;  // for accepts on their way that outlive the listener
};

// The listener for this destination: its own address, the family's wildcard on this port, or the
// one that listens everywhere.
SimListener* find_listener(World& world, const SocketAddress& address);

class SimSocketImpl final : public SimSocket {
 public:
  SimSocketImpl(World& world, std::shared_ptr<Connection> connection, Side side)
      : world_(world), connection_(std::move(connection)), side_(side) {
    connection_->hold(side_);
    ++world_.live.lent;
  }
  ~SimSocketImpl() override { close(); }
  size_t write(std::string_view bytes) override;
  std::string read(size_t limit) override;
  bool eof() const override;
  bool failed() const override;
  void shutdown_write() override { connection_->shutdown_write(side_); }
  void close() override;

 private:
  World& world_;
  std::shared_ptr<Connection> connection_;
  const Side side_;
  bool closed_ = false;
};

}  // namespace conpool::io::sim
