// DNS exchanges over c-ares, one channel per server.
#include "io/uv/dns_channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#include "io/uv/own_sockets.h"

namespace conpool::io::uv {
namespace {

constexpr int kClassIn = 1;       // RFC 1035 §3.2.4
constexpr int kHeaderBytes = 12;  // RFC 1035 §4.1.1
constexpr int kFlagsByte = 2;     // with the bit TC
constexpr unsigned char kTruncated = 0x02;

int init_library_once() {
  // Never undone: another user of c-ares in this process may still run.
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  return status;
}

int milliseconds(Nanos duration) {
  const Nanos rounded = (duration + kMillisecond - 1) / kMillisecond;
  return static_cast<int>(std::min<Nanos>(rounded, std::numeric_limits<int>::max()));
}

Failure ares_failure(int status) {
  Failure failure{.status = Status::E_INTERNAL, .detail = ares_strerror(status)};
  if (status == ARES_ENOMEM) failure.status = Status::E_NOMEM;
  return failure;
}

}  // namespace

// --- exchange ---------------------------------------------------------------------------------

UvExchange::UvExchange(DnsChannels& channels, UvLoop& loop, DnsQuery query, DnsCallback done)
    : channels_(channels),
      loop_(loop),
      live_(loop.mark_live()),
      query_(std::move(query)),
      done_(std::move(done)),
      link_(std::make_shared<UvExchange*>(this)),
      timeout_([this] { complete(fail(Status::E_DNS_TIMEOUT)); }) {}

UvExchange::~UvExchange() {
  *link_ = nullptr;
}

void UvExchange::complete_later(Outcome outcome) {
  timeout_.cancel();  // answered in time, although the callback runs at the turn's end
  loop_.defer([link = link_, outcome = std::move(outcome)]() mutable {
    if (*link != nullptr) (*link)->complete(std::move(outcome));
  });
}

void UvExchange::complete(Outcome outcome) {
  timeout_.cancel();
  *link_ = nullptr;  // a late answer finds an orphan
  live_.reset();
  DnsCallback done = std::move(done_);
  done(std::move(outcome));  // may destroy this exchange
}

void UvExchange::repeat_over_tcp_later() {
  loop_.defer([link = link_] {
    if (*link != nullptr) (*link)->channels_.repeat_over_tcp(**link);
  });
}

// --- channels ---------------------------------------------------------------------------------

std::unique_ptr<DnsExchange> DnsChannels::start(DnsQuery query, DnsCallback done) {
  auto exchange = std::make_unique<UvExchange>(*this, loop_, std::move(query), std::move(done));
  sweep();
  const DnsQuery& asked = exchange->query_;
  Result<DnsChannel*> channel = channel_for(asked);
  if (!channel) {
    exchange->complete_later(fail(std::move(channel).error()));
    return exchange;
  }
  loop_.arm(exchange->timeout_, deadline_after(loop_.now(), std::max<Nanos>(asked.timeout, 0)));
  (*channel)->send(asked, *exchange);
  return exchange;
}

// Within the exchange's time, which runs on.
void DnsChannels::repeat_over_tcp(UvExchange& exchange) {
  const DnsQuery& query = exchange.query_;
  auto channel =
      std::make_unique<DnsChannel>(loop_, query.server, query.timeout, DnsChannel::Transport::Tcp);
  if (Result<void> opened = channel->open(); !opened) {
    return exchange.complete(fail(std::move(opened.error())));
  }
  retired_.push_back(std::move(channel));  // takes no other query, goes with this one
  retired_.back()->send(query, exchange);
}

Result<DnsChannel*> DnsChannels::channel_for(const DnsQuery& query) {
  const SocketAddress& server = query.server;
  if (server.family() != Family::V4 && server.family() != Family::V6) {
    return fail(Status::E_UNSUPPORTED,
                "a DNS server needs an IP address and a port, not " + server.text());
  }
  if (server.scope_id() != 0) {
    return fail(Status::E_UNSUPPORTED, "the DNS server address " + server.text() +
                                           " has a scope; use an address without one");
  }
  auto found = std::find_if(current_.begin(), current_.end(),
                            [&](const auto& channel) { return channel->server() == server; });
  if (found != current_.end()) {
    if ((*found)->fresh_for(loop_.now(), query.timeout)) return found->get();
    retired_.push_back(std::move(*found));
    current_.erase(found);
    sweep();
  }
  auto channel =
      std::make_unique<DnsChannel>(loop_, server, query.timeout, DnsChannel::Transport::Udp);
  if (Result<void> opened = channel->open(); !opened) return fail(std::move(opened.error()));
  current_.push_back(std::move(channel));
  return current_.back().get();
}

void DnsChannels::sweep() {
  // Destroyed at the turn's end: this may run inside a callback of the same channel's poll.
  const auto discard_if = [this](auto& channels, auto&& ended) {
    for (auto& channel : channels) {
      if (ended(*channel)) loop_.discard(std::unique_ptr<Discardable>(std::move(channel)));
    }
    std::erase(channels, nullptr);
  };
  discard_if(retired_, [](const DnsChannel& channel) { return channel.in_flight() == 0; });
  discard_if(current_, [now = loop_.now()](const DnsChannel& channel) {
    return channel.in_flight() == 0 && channel.expired(now);
  });
}

// --- one channel ------------------------------------------------------------------------------

DnsChannel::DnsChannel(UvLoop& loop, const SocketAddress& server, Nanos timeout,
                       Transport transport)
    : loop_(loop),
      server_(server),
      transport_(transport),
      cares_timeout_(deadline_after(std::max<Nanos>(timeout, 0), kOrphanGrace)),
      born_(loop.now()),
      timer_([this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }) {}

DnsChannel::~DnsChannel() {
  timer_.cancel();
  if (channel_ != nullptr) ares_destroy(channel_);  // ends its queries with ARES_EDESTRUCTION
  assert(in_flight_ == 0);
}

bool DnsChannel::fresh_for(Time now, Nanos timeout) const {
  return sent_ < kQueriesPerChannel && !expired(now) &&
         deadline_after(timeout, kOrphanGrace) <= cares_timeout_;
}

Result<void> DnsChannel::open() {
  if (int status = init_library_once(); status != ARES_SUCCESS) return fail(ares_failure(status));
  ares_options options{};
  // NOCHECKRESP: every rcode's message comes to us instead of turning into "refused".
  options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
  options.flags |= transport_ == Transport::Tcp ? ARES_FLAG_USEVC : ARES_FLAG_IGNTC;
  options.timeout = milliseconds(cares_timeout_);
  options.tries = 1;
  options.ndots = 1;
  char lookups[] = "b";  // DNS only: no hosts file
  options.lookups = lookups;
  options.sock_state_cb = &DnsChannel::on_socket_state;
  options.sock_state_cb_data = this;
  // Everything is given, servers, domains and sort list as empty, so that c-ares reads no file.
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
             ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
             ARES_OPT_SORTLIST;
#ifdef ARES_FLAG_EDNS
  // Giving flags switches off the EDNS that 1.22 made the default; before it, EDNS is broken for
  // overlapping queries.
  if (int version = 0; ares_version(&version) != nullptr && version >= 0x011600) {
    options.flags |= ARES_FLAG_EDNS;
  }
#endif
#ifdef ARES_OPT_QUERY_CACHE
  options.qcache_max_ttl = 0;  // the cache is ours
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  int status = ares_init_options(&channel_, &options, mask);
  if (status != ARES_SUCCESS) {
    channel_ = nullptr;
    return fail(ares_failure(status));
  }
  static const ares_socket_functions functions = {
      &DnsChannel::make_socket, &DnsChannel::close_socket, &DnsChannel::connect_socket,
      &DnsChannel::receive, &DnsChannel::send_parts};
  ares_set_socket_functions(channel_, &functions, this);
  ares_addr_port_node node{};
  node.family = server_.family() == Family::V4 ? AF_INET : AF_INET6;
  std::memcpy(&node.addr, server_.ip().data(), server_.family() == Family::V4 ? 4 : 16);
  node.udp_port = node.tcp_port = server_.port();
  status = ares_set_servers_ports(channel_, &node);
  if (status != ARES_SUCCESS) return fail(ares_failure(status));
  return {};
}

void DnsChannel::send(const DnsQuery& query, UvExchange& exchange) {
  auto state = std::make_unique<Query>(Query{this, exchange.link_});
  ++sent_;
  ++in_flight_;
  // May call on_answer before it returns, which owns the state from here.
  ares_query(channel_, query.name.c_str(), kClassIn, query.type, &DnsChannel::on_answer,
             state.release());
  closed_sockets_.clear();
  arm_timer();
}

void DnsChannel::on_answer(void* argument, int status, int, unsigned char* answer,
                           int size) noexcept {
  const std::unique_ptr<Query> query(static_cast<Query*>(argument));
  DnsChannel& channel = *query->channel;
  --channel.in_flight_;
  UvExchange* exchange = *query->link;
  if (exchange == nullptr || status == ARES_EDESTRUCTION) return;
  // c-ares gave up before the exchange's time: newer ones shorten timeouts by experience. Ours
  // decides.
  if (status == ARES_ETIMEOUT) return;
  try {
    if (channel.transport_ == Transport::Udp && answer != nullptr && size >= kHeaderBytes &&
        (answer[kFlagsByte] & kTruncated) != 0) {
      return exchange->repeat_over_tcp_later();
    }
    exchange->complete_later(channel.outcome_of(status, answer, size));
  } catch (...) {
    // Nothing could be kept: the exchange ends by its own timeout, which needs no memory.
    if (!exchange->timeout_.armed()) *query->link = nullptr;
  }
}

UvExchange::Outcome DnsChannel::outcome_of(int status, const unsigned char* answer,
                                           int size) const {
  if (answer != nullptr && size >= kHeaderBytes) return std::vector<uint8_t>(answer, answer + size);
  const std::string who = "server " + server_.text();
  switch (status) {
    case ARES_ECONNREFUSED:  // every trouble with a socket
      if (last_errno_ == EMFILE || last_errno_ == ENFILE) {
        return fail_errno(Status::E_FD_LIMIT, last_errno_, who);
      }
      return fail_errno(Status::E_DNS_UNREACHABLE, last_errno_, who);
    case ARES_ENOMEM:
      return fail(Status::E_NOMEM);
    case ARES_EBADNAME:
      return fail(Status::E_BAD_NAME, "the name cannot be put into a DNS message");
    case ARES_ENOTFOUND:  // .onion (RFC 7686), without a message
      return fail(Status::E_DNS_RESERVED);
    default:
      return fail(Status::E_DNS_BAD_ANSWER, who + ": " + ares_strerror(status));
  }
}

void DnsChannel::process(ares_socket_t readable, ares_socket_t writable) {
  ares_process_fd(channel_, readable, writable);
  arm_timer();
  closed_sockets_.clear();  // last: the caller may be one of them
}

void DnsChannel::arm_timer() {
  timeval left{};
  if (in_flight_ == 0 || ares_timeout(channel_, nullptr, &left) == nullptr) {
    timer_.cancel();
    return;
  }
  // Old versions check in microseconds what they report in whole milliseconds: one more avoids a
  // spin.
  const Nanos delay = left.tv_sec * kSecond + (left.tv_usec / 1000 + 2) * kMillisecond;
  loop_.arm(timer_, deadline_after(loop_.now(), delay));
}

// --- its sockets ------------------------------------------------------------------------------

void DnsChannel::Socket::on_poll(int status, int events) {
  if (status < 0) {
    events = UV_READABLE | UV_WRITABLE;
    poll->watch(wanted);  // libuv has stopped; c-ares does not tell again what it wants
  }
  channel_.process((events & UV_READABLE) != 0 ? fd_ : ARES_SOCKET_BAD,
                   (events & UV_WRITABLE) != 0 ? fd_ : ARES_SOCKET_BAD);
}

void DnsChannel::Socket::on_poll_thrown(Status) noexcept {
  // The queries end by their own timeouts.
}

void DnsChannel::on_socket_state(void* argument, ares_socket_t fd, int readable,
                                 int writable) noexcept {
  auto* self = static_cast<DnsChannel*>(argument);
  const auto found = self->sockets_.find(fd);
  if (readable == 0 && writable == 0) {
    if (found == self->sockets_.end()) return;
    found->second->poll.reset();  // before c-ares closes the descriptor
    try {
      // The socket's own on_poll may be on the stack.
      self->closed_sockets_.push_back(std::move(found->second));
    } catch (...) {
      (void)found->second.release();  // a small leak is better than a dangling caller
    }
    self->sockets_.erase(found);
    return;
  }
  const int events = (readable != 0 ? UV_READABLE : 0) | (writable != 0 ? UV_WRITABLE : 0);
  try {
    Socket* socket = found == self->sockets_.end() ? nullptr : found->second.get();
    if (socket == nullptr) {
      auto fresh = std::make_unique<Socket>(*self, fd);
      Result<PollHandle::Ptr> poll = PollHandle::make(self->loop_, fd, fresh.get());
      if (!poll) return;  // unwatched: the query ends by its timeout
      fresh->poll = std::move(*poll);
      socket = fresh.get();
      self->sockets_[fd] = std::move(fresh);
    }
    socket->wanted = events;
    socket->poll->watch(events);
  } catch (...) {
    // Unwatched: the query ends by its timeout.
  }
}

ares_socket_t DnsChannel::make_socket(int domain, int type, int protocol, void* argument) noexcept {
  auto* self = static_cast<DnsChannel*>(argument);
  const int fd = ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    self->last_errno_ = errno;
    return ARES_SOCKET_BAD;
  }
  uv::own_socket(fd);
  const int on = 1;
  if (type == SOCK_STREAM) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int DnsChannel::close_socket(ares_socket_t fd, void*) noexcept {
  return uv::close_socket(fd);
}

int DnsChannel::connect_socket(ares_socket_t fd, const sockaddr* address, ares_socklen_t size,
                               void* argument) noexcept {
  const int rc = ::connect(fd, address, size);
  if (rc != 0 && errno != EINPROGRESS) static_cast<DnsChannel*>(argument)->last_errno_ = errno;
  return rc;
}

ares_ssize_t DnsChannel::receive(ares_socket_t fd, void* buffer, size_t size, int flags,
                                 sockaddr* address, ares_socklen_t* address_size,
                                 void* argument) noexcept {
  const ssize_t received =
      ::recvfrom(fd, buffer, size, flags | MSG_DONTWAIT, address, address_size);
  if (received < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
    static_cast<DnsChannel*>(argument)->last_errno_ = errno;
  }
  return received;
}

ares_ssize_t DnsChannel::send_parts(ares_socket_t fd, const iovec* parts, int count,
                                    void* argument) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  const ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
    static_cast<DnsChannel*>(argument)->last_errno_ = errno;
  }
  return sent;
}

}  // namespace conpool::io::uv
