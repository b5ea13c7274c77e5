// DNS exchanges of the real world against a scripted server on a thread of its own.
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "unit/io/uv_support.h"

namespace conpool::io {
namespace {

using Bytes = std::vector<uint8_t>;
using Answers = std::vector<Bytes>;

constexpr uint8_t kServfail = 2;
constexpr uint8_t kNxdomain = 3;
constexpr uint8_t kRefused = 5;

// The question section's end in a query.
size_t question_end(const Bytes& query) {
  size_t at = 12;
  while (at < query.size() && query[at] != 0)
    at += query[at] + 1u;
  return at + 5;
}

// "host.test" of a query.
std::string question_name(const Bytes& query) {
  std::string name;
  size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    if (!name.empty()) name += '.';
    name.append(reinterpret_cast<const char*>(&query[at + 1]), query[at]);
    at += query[at] + 1u;
  }
  return name;
}

uint16_t question_type(const Bytes& query) {
  const size_t end = question_end(query);
  return static_cast<uint16_t>(query[end - 4] << 8 | query[end - 3]);
}

Bytes answer_to(const Bytes& query, uint8_t rcode, bool truncated = false,
                bool with_record = false) {
  Bytes answer(query.begin(), query.begin() + static_cast<long>(question_end(query)));
  answer[2] = static_cast<uint8_t>(0x81 | (truncated ? 2 : 0));  // QR, RD
  answer[3] = static_cast<uint8_t>(0x80 | rcode);
  answer[6] = 0;
  answer[7] = with_record ? 1 : 0;
  answer[8] = answer[9] = answer[10] = answer[11] = 0;
  if (with_record) {
    const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7};
    answer.insert(answer.end(), std::begin(record), std::end(record));
  }
  return answer;
}

// Answers UDP and TCP on one port of 127.0.0.1 or ::1.
class DnsServer {
 public:
  // What to send back, each as a message of its own; nothing to stay silent.
  using Script = std::function<Answers(const Bytes& query, bool tcp)>;

  explicit DnsServer(Script script, int domain = AF_INET) : script_(std::move(script)) {
    for (int attempt = 0; attempt < 50 && !open(domain); ++attempt) {
    }
    EXPECT_EQ(pipe2(stop_, O_CLOEXEC), 0);
    thread_ = std::thread([this] { run(); });
  }
  ~DnsServer() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
    ::close(udp_);
    ::close(tcp_);
  }
  const SocketAddress& address() const { return address_; }
  int udp_queries() const { return udp_queries_; }
  int tcp_queries() const { return tcp_queries_; }
  std::vector<uint16_t> source_ports() const {
    const std::lock_guard lock(mutex_);
    return source_ports_;
  }

 private:
  bool open(int domain) {
    SocketAddress any = domain == AF_INET ? loopback() : loopback6();
    sockaddr_storage storage{};
    socklen_t size = any.to_sockaddr(&storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    udp_ = ::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tcp_ = ::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(udp_, address, size) == 0 && ::getsockname(udp_, address, &size) == 0 &&
        ::bind(tcp_, address, size) == 0 && ::listen(tcp_, 16) == 0) {
      address_ = *SocketAddress::from_sockaddr(address, size);
      return true;
    }
    ::close(udp_);
    ::close(tcp_);
    return false;
  }

  void run() {
    for (;;) {
      pollfd entries[] = {{stop_[0], POLLIN, 0}, {udp_, POLLIN, 0}, {tcp_, POLLIN, 0}};
      if (::poll(entries, 3, -1) < 0) return;
      if (entries[0].revents != 0) return;
      if (entries[1].revents != 0) serve_udp();
      if (entries[2].revents != 0) serve_tcp();
    }
  }

  void serve_udp() {
    Bytes query(65536);
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t got =
        ::recvfrom(udp_, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 12) return;
    query.resize(static_cast<size_t>(got));
    ++udp_queries_;
    {
      const std::lock_guard lock(mutex_);
      source_ports_.push_back(
          SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&from), size)->port());
    }
    for (const Bytes& answer : script_(query, false)) {
      ::sendto(udp_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  void serve_tcp() {
    const int fd = ::accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC);
    uint8_t head[2];
    if (::recv(fd, head, 2, MSG_WAITALL) == 2) {
      Bytes query(static_cast<size_t>(head[0] << 8 | head[1]));
      if (::recv(fd, query.data(), query.size(), MSG_WAITALL) ==
          static_cast<ssize_t>(query.size())) {
        ++tcp_queries_;
        for (const Bytes& answer : script_(query, true)) {
          Bytes framed{static_cast<uint8_t>(answer.size() >> 8),
                       static_cast<uint8_t>(answer.size())};
          framed.insert(framed.end(), answer.begin(), answer.end());
          for (const uint8_t byte : framed)
            ::send(fd, &byte, 1, MSG_NOSIGNAL);  // byte by byte
        }
      }
    }
    ::close(fd);
  }

  Script script_;
  SocketAddress address_;
  int udp_ = -1;
  int tcp_ = -1;
  int stop_[2] = {-1, -1};
  std::atomic<int> udp_queries_{0};
  std::atomic<int> tcp_queries_{0};
  mutable std::mutex mutex_;
  std::vector<uint16_t> source_ports_;
  std::thread thread_;
};

using Answer = Result<Bytes>;

class UvDnsTest : public UvTest {
 protected:
  DnsQuery query(const SocketAddress& server, Nanos timeout = 5 * kSecond, uint16_t type = 1,
                 std::string name = "host.test") {
    return DnsQuery{.name = std::move(name), .type = type, .server = server, .timeout = timeout};
  }
  Answer ask(DnsQuery query) {
    std::optional<Answer> result;
    auto exchange = loop_->exchange(std::move(query),
                                    [&](Answer answer) { result.emplace(std::move(answer)); });
    EXPECT_FALSE(result.has_value()) << "never from inside exchange()";
    EXPECT_TRUE(run_until([&] { return result.has_value(); }));
    if (!result) return fail(Status::E_INTERNAL, "no answer");
    return std::move(*result);
  }
  Answer ask(const DnsServer& server, Nanos timeout = 5 * kSecond) {
    return ask(query(server.address(), timeout));
  }
  static int rcode(const Answer& answer) { return answer ? (*answer)[3] & 15 : -1; }
};

TEST_F(UvDnsTest, CarriesTheRawAnswer) {
  DnsServer server([](const Bytes& query, bool) {
    EXPECT_EQ(question_name(query), "host.test");
    EXPECT_EQ(question_type(query), 28);
    return Answers{answer_to(query, 0, false, true)};
  });
  Answer answer = ask(query(server.address(), kSecond, 28));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->size(), 12u + 11 + 4 + 16);
  EXPECT_EQ(rcode(answer), 0);
  EXPECT_EQ(server.udp_queries(), 1);
  EXPECT_EQ(loop_->live_handles(), 0u);
}

TEST_F(UvDnsTest, WorksOverIpv6) {
  DnsServer server([](const Bytes& query, bool) { return Answers{answer_to(query, 0)}; }, AF_INET6);
  EXPECT_EQ(rcode(ask(server)), 0);
}

TEST_F(UvDnsTest, EveryRcodeComesRawAfterOneSend) {
  for (const uint8_t code :
       {uint8_t{0}, uint8_t{1}, kServfail, kNxdomain, uint8_t{4}, kRefused, uint8_t{9}}) {
    DnsServer server([code](const Bytes& query, bool) { return Answers{answer_to(query, code)}; });
    EXPECT_EQ(rcode(ask(server)), code);
    EXPECT_EQ(server.udp_queries(), 1) << "one try, whatever the rcode";
  }
}

TEST_F(UvDnsTest, SilenceEndsExactlyAtTheTimeout) {
  DnsServer server([](const Bytes&, bool) { return Answers(); });
  const Time start = loop_->now();  // deadlines count from the cached time
  Answer answer = ask(server, 80 * kMillisecond);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_DNS_TIMEOUT);
  EXPECT_GE(clock_now() - start, 80 * kMillisecond);
  EXPECT_EQ(server.udp_queries(), 1);
}

TEST_F(UvDnsTest, AnAnswerAfterTheTimeoutIsIgnored) {
  std::atomic<bool> go{false};
  DnsServer server([&](const Bytes& query, bool) {
    go.wait(false);
    return Answers{answer_to(query, 0)};
  });
  EXPECT_EQ(ask(server, 20 * kMillisecond).error().status, Status::E_DNS_TIMEOUT);
  go = true;
  go.notify_all();
  run_for(20 * kMillisecond);
  EXPECT_EQ(rcode(ask(server)), 0) << "the channel goes on";
}

TEST_F(UvDnsTest, AClosedPortIsUnreachableAtOnce) {
  SocketAddress nobody;
  {
    DnsServer server([](const Bytes&, bool) { return Answers(); });
    nobody = server.address();
  }
  const Time start = clock_now();
  Answer answer = ask(query(nobody, 5 * kSecond));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_DNS_UNREACHABLE);
  EXPECT_EQ(answer.error().os_error, ECONNREFUSED);
  EXPECT_LT(clock_now() - start, 2 * kSecond);
}

TEST_F(UvDnsTest, TruncationMovesToTcp) {
  DnsServer server(
      [](const Bytes& query, bool tcp) { return Answers{answer_to(query, 0, !tcp, tcp)}; });
  Answer answer = ask(server);
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)[2] & 2, 0) << "the complete answer";
  EXPECT_EQ((*answer)[7], 1);
  EXPECT_EQ(server.udp_queries(), 1);
  EXPECT_EQ(server.tcp_queries(), 1);
}

TEST_F(UvDnsTest, TcpThatClosesWithoutAnAnswerFails) {
  DnsServer server([](const Bytes& query, bool tcp) {
    return tcp ? Answers() : Answers{answer_to(query, 0, true)};
  });
  Answer answer = ask(server);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_DNS_UNREACHABLE);
}

TEST_F(UvDnsTest, TcpThatClosesDisturbsNoOtherQuery) {
  DnsServer server([](const Bytes& query, bool tcp) {
    if (query[13] == 's') return Answers();  // slow.test is never answered
    return tcp ? Answers() : Answers{answer_to(query, 0, true)};
  });
  std::optional<Answer> other;
  auto waiting = loop_->exchange(query(server.address(), 200 * kMillisecond, 1, "slow.test"),
                                 [&](Answer answer) { other.emplace(std::move(answer)); });
  Answer closed = ask(query(server.address(), 5 * kSecond, 1, "closed.test"));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().status, Status::E_DNS_UNREACHABLE);
  EXPECT_TRUE(run_until([&] { return other.has_value(); }));
  ASSERT_TRUE(other && !*other);
  EXPECT_EQ(other->error().status, Status::E_DNS_TIMEOUT) << "not the other name's failure";
}

TEST_F(UvDnsTest, AnswersToAnotherQuestionAndGarbageAreIgnored) {
  DnsServer server([](const Bytes& query, bool) {
    Bytes wrong_id = answer_to(query, 0, false, true);
    wrong_id[0] ^= 0x55;
    Bytes wrong_name = answer_to(query, 0, false, true);
    wrong_name[13] ^= 1;
    Bytes wrong_type = answer_to(query, 0, false, true);
    wrong_type[question_end(query) - 3] = 15;
    Bytes cut = answer_to(query, 0, false, true);
    cut.resize(14);
    Bytes loop = answer_to(query, 0, false, true);
    loop[12] = 0xc0;  // a pointer to itself
    loop[13] = 12;
    return Answers{wrong_id, wrong_name,     wrong_type, cut,
                   loop,     Bytes{1, 2, 3}, Bytes{},    answer_to(query, kNxdomain)};
  });
  EXPECT_EQ(rcode(ask(server)), kNxdomain);
}

TEST_F(UvDnsTest, ALongGarbageAnswerIsCarriedAsItIs) {
  DnsServer server([](const Bytes& query, bool) {
    Bytes answer = answer_to(query, 0);
    answer[7] = 200;  // records that are not there
    for (int i = 0; i < 300; ++i)
      answer.push_back(static_cast<uint8_t>(i * 37));
    return Answers{answer};
  });
  Answer answer = ask(server);
  ASSERT_TRUE(answer) << "judging it is the resolver's work";
  EXPECT_EQ(answer->size(), 12u + 11 + 4 + 300);
}

TEST_F(UvDnsTest, ADestroyedExchangeNeverAnswers) {
  DnsServer server([](const Bytes& query, bool) { return Answers{answer_to(query, 0)}; });
  // Before anything happened.
  auto exchange = loop_->exchange(query(server.address()), [](Answer) { ADD_FAILURE(); });
  EXPECT_EQ(loop_->live_handles(), 1u);
  exchange.reset();
  EXPECT_EQ(loop_->live_handles(), 0u);
  run_for(20 * kMillisecond);

  // In the turn of its answer, by a neighbour's callback.
  std::unique_ptr<DnsExchange> pair[2];
  int answers = 0;
  for (int i = 0; i < 2; ++i) {
    pair[i] = loop_->exchange(query(server.address()), [&, i](Answer) {
      ++answers;
      pair[1 - i].reset();
    });
  }
  ASSERT_TRUE(run_until([&] { return answers > 0; }));
  pair[0].reset();
  pair[1].reset();
  run_for(20 * kMillisecond);
  EXPECT_LE(answers, 2);
}

TEST_F(UvDnsTest, AnExchangeMayBeDestroyedInItsOwnCallback) {
  DnsServer server([](const Bytes& query, bool) { return Answers{answer_to(query, 0)}; });
  std::unique_ptr<DnsExchange> exchange;
  bool done = false;
  exchange = loop_->exchange(query(server.address()), [&](Answer) {
    exchange.reset();
    done = true;
  });
  ASSERT_TRUE(run_until([&] { return done; }));
  // The same at the timeout.
  DnsServer silent([](const Bytes&, bool) { return Answers(); });
  done = false;
  exchange = loop_->exchange(query(silent.address(), 5 * kMillisecond), [&](Answer) {
    exchange.reset();
    done = true;
  });
  ASSERT_TRUE(run_until([&] { return done; }));
}

TEST_F(UvDnsTest, TheLoopMayGoWithQueriesInFlight) {
  DnsServer server([](const Bytes&, bool) { return Answers(); });
  const int before = open_descriptors();
  for (int i = 0; i < 10; ++i) {
    auto loop = std::move(*make_uv_loop());
    auto exchange = loop->exchange(query(server.address()), [](Answer) { ADD_FAILURE(); });
    if (i % 2 == 0) loop->run_turn(0);
    exchange.reset();
    loop.reset();
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(UvDnsTest, WhatItCannotDoIsSaid) {
  std::array<uint8_t, 16> ip{0xfe, 0x80};
  ip[15] = 1;
  Answer answer = ask(query(SocketAddress::v6(ip, 53, 1)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_UNSUPPORTED);
  EXPECT_NE(answer.error().detail.find("scope"), std::string::npos);
  answer = ask(query(SocketAddress::unix_path("/run/dns")));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_UNSUPPORTED);
  // Refused by c-ares itself, from inside the call.
  DnsServer server([](const Bytes&, bool) { return Answers(); });
  answer = ask(query(server.address(), kSecond, 1, std::string(64, 'a') + ".test"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_BAD_NAME);
  answer = ask(query(server.address(), kSecond, 1, "a..test"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().status, Status::E_BAD_NAME);
  EXPECT_EQ(server.udp_queries(), 0);
}

TEST_F(UvDnsTest, ManyAtOnceAndRenewedChannels) {
  DnsServer server([](const Bytes& query, bool) { return Answers{answer_to(query, 0)}; });
  const int before = open_descriptors();
  std::vector<std::unique_ptr<DnsExchange>> exchanges;
  int done = 0;
  int failed = 0;
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 50; ++i) {
      exchanges.push_back(
          loop_->exchange(query(server.address(), 10 * kSecond), [&](Answer answer) {
            ++done;
            if (!answer) ++failed;
          }));
    }
    ASSERT_TRUE(run_until([&] { return done == 50 * (round + 1); }));
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(server.udp_queries(), 600);
  std::vector<uint16_t> ports = server.source_ports();
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  EXPECT_GE(ports.size(), 3u) << "a new port with every channel at the least";
  exchanges.clear();
  ASSERT_TRUE(run_until([&] { return open_descriptors() <= before; }));
}

TEST_F(UvDnsTest, ALongerTimeoutThanTheChannelsGetsANewOne) {
  std::atomic<bool> silent{true};
  DnsServer server(
      [&](const Bytes& query, bool) { return silent ? Answers() : Answers{answer_to(query, 0)}; });
  EXPECT_EQ(ask(server, 10 * kMillisecond).error().status, Status::E_DNS_TIMEOUT);
  const Time start = loop_->now();
  EXPECT_EQ(ask(server, 1200 * kMillisecond).error().status, Status::E_DNS_TIMEOUT);
  EXPECT_GE(clock_now() - start, 1200 * kMillisecond)
      << "c-ares' own timeout of 1010 ms is not ours";
  silent = false;
  EXPECT_EQ(rcode(ask(server)), 0);
}

TEST_F(UvDnsTest, WaitingDoesNotSpin) {
  DnsServer server([](const Bytes&, bool) { return Answers(); });
  bool done = false;
  auto exchange =
      loop_->exchange(query(server.address(), 100 * kMillisecond), [&](Answer) { done = true; });
  int turns = 0;
  ASSERT_TRUE(run_until([&] {
    ++turns;
    return done;
  }));
  EXPECT_LE(turns, 8);
}

TEST(UvDnsLimits, WithoutADescriptorTheExchangeSaysSo) {
  const pid_t child = fork();
  if (child == 0) {
    auto loop = std::move(*make_uv_loop());
    const rlim_t used = static_cast<rlim_t>(dup(0));
    close(static_cast<int>(used));
    const rlimit none{used, 4096};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) _exit(1);
    Status status = Status::OK;
    auto exchange = loop->exchange(
        DnsQuery{.name = "host.test", .server = loopback(53)},
        [&](Answer answer) { status = answer ? Status::E_INTERNAL : answer.error().status; });
    const Time limit = clock_now() + 5 * kSecond;
    while (status == Status::OK && clock_now() < limit)
      loop->run_turn(limit);
    _exit(status == Status::E_FD_LIMIT ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace conpool::io
