// c-ares as the carrier of single DNS exchanges: one try, one server, raw answers.
#pragma once

// ares_query is deprecated since 1.28 and works everywhere.
#define CARES_NO_DEPRECATED
#include <ares.h>

#include <map>
#include <memory>
#include <vector>

#include "io/uv/loop_core.h"

namespace conpool::io::uv {

class DnsChannel;
class DnsChannels;

// Vocabulary: an exchange belongs to the caller; a query belongs to c-ares until its callback and
// may be an orphan (its exchange is gone or has timed out). A channel carries the queries to one
// server over UDP, or one query over TCP when the answer was truncated: c-ares fails everything a
// channel carries when one of its connections breaks, so another name's TCP must not be in it.
//
// Invariants:
//  - the deadline of an exchange is a timer of ours; c-ares' own timeout is longer and only clears
//    away what became an orphan;
//  - c-ares callbacks record and defer; none calls into c-ares, and no user code runs under one;
//  - a channel is renewed after kQueriesPerChannel queries or kChannelLife (a new source port), or
//  when
//    a query needs a longer timeout; a retired one is destroyed, outside of c-ares, at its last
//    answer.
class UvExchange final : public DnsExchange {
 public:
  UvExchange(DnsChannels& channels, UvLoop& loop, DnsQuery query, DnsCallback done);
  ~UvExchange() override;

 private:
  friend class DnsChannels;
  friend class DnsChannel;
  using Outcome = Result<std::vector<uint8_t>>;
  // What a deferred call holds: null once the exchange ended or was destroyed.
  using Link = std::shared_ptr<UvExchange*>;

  void complete_later(Outcome outcome);
  void complete(Outcome outcome);
  void repeat_over_tcp_later();

  DnsChannels& channels_;
  UvLoop& loop_;
  LiveMark live_;
  DnsQuery query_;
  DnsCallback done_;
  Link link_;
  Timer timeout_;
};

class DnsChannel final : public Discardable {
 public:
  static constexpr uint32_t kQueriesPerChannel = 256;
  static constexpr Nanos kChannelLife = 60 * kSecond;
  static constexpr Nanos kOrphanGrace = kSecond;  // that c-ares' timeout exceeds ours by

  enum class Transport : uint8_t { Udp, Tcp };

  DnsChannel(UvLoop& loop, const SocketAddress& server, Nanos timeout, Transport transport);
  ~DnsChannel() override;

  Result<void> open();
  void send(const DnsQuery& query, UvExchange& exchange);
  bool fresh_for(Time now, Nanos timeout) const;
  bool expired(Time now) const { return now - born_ >= kChannelLife; }
  size_t in_flight() const { return in_flight_; }
  const SocketAddress& server() const { return server_; }

 private:
  struct Query {
    DnsChannel* channel;
    UvExchange::Link link;
  };
  // The poll of one of c-ares' sockets.
  class Socket final : public PollOwner {
   public:
    Socket(DnsChannel& channel, int fd) : channel_(channel), fd_(fd) {}
    PollHandle::Ptr poll;
    int wanted = 0;  // what c-ares asked to watch

   private:
    void on_poll(int status, int events) override;
    void on_poll_thrown(Status status) noexcept override;
    DnsChannel& channel_;
    int fd_;
  };

  static void on_answer(void* argument, int status, int timeouts, unsigned char* answer,
                        int size) noexcept;
  static void on_socket_state(void* argument, ares_socket_t fd, int readable,
                              int writable) noexcept;
  // c-ares' socket functions, so that its sockets are like ours: CLOEXEC and without SIGPIPE.
  static ares_socket_t make_socket(int domain, int type, int protocol, void* argument) noexcept;
  static int close_socket(ares_socket_t fd, void* argument) noexcept;
  static int connect_socket(ares_socket_t fd, const sockaddr* address, ares_socklen_t size,
                            void* argument) noexcept;
  static ares_ssize_t receive(ares_socket_t fd, void* buffer, size_t size, int flags,
                              sockaddr* address, ares_socklen_t* address_size,
                              void* argument) noexcept;
  static ares_ssize_t send_parts(ares_socket_t fd, const iovec* parts, int count,
                                 void* argument) noexcept;
  UvExchange::Outcome outcome_of(int status, const unsigned char* answer, int size) const;
  void process(ares_socket_t readable, ares_socket_t writable);
  void arm_timer();

  UvLoop& loop_;
  SocketAddress server_;
  Transport transport_;
  Nanos cares_timeout_;
  Time born_;
  ares_channel channel_ = nullptr;
  std::map<int, std::unique_ptr<Socket>> sockets_;
  std::vector<std::unique_ptr<Socket>> closed_sockets_;  // until c-ares returns
  Timer timer_;
  uint32_t sent_ = 0;
  size_t in_flight_ = 0;
  int last_errno_ = 0;  // of a socket function, told in failures
};

class DnsChannels {
 public:
  explicit DnsChannels(UvLoop& loop) : loop_(loop) {}
  std::unique_ptr<DnsExchange> start(DnsQuery query, DnsCallback done);
  // Puts the exchange's question again, over a connection of its own.
  void repeat_over_tcp(UvExchange& exchange);

 private:
  Result<DnsChannel*> channel_for(const DnsQuery& query);
  void sweep();

  UvLoop& loop_;
  std::vector<std::unique_ptr<DnsChannel>> current_;  // one per server
  std::vector<std::unique_ptr<DnsChannel>> retired_;  // until their queries ended
};

}  // namespace conpool::io::uv
