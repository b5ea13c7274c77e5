// Streams and listeners of the real world against real sockets.
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "unit/io/uv_support.h"

namespace conpool::io {
namespace {

std::string temporary_path() {
  char dir[] = "/tmp/conpool-uv-XXXXXX";
  EXPECT_NE(mkdtemp(dir), nullptr);
  return dir;
}

class UvStreamTest : public UvPairTest {
 protected:
  // A port of 127.0.0.1 that nobody listens on: bound, so that nobody else gets it.
  SocketAddress closed_port() {
    holder_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(holder_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(holder_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    return loopback(ntohs(address.sin_port));
  }
  void TearDown() override {
    if (holder_ >= 0) ::close(holder_);
    UvPairTest::TearDown();
  }
  void exchange_greetings() {
    client_->read(true);
    server_->read(true);
    EXPECT_EQ(write(*client_, "hello"), 5u);
    EXPECT_EQ(write(*server_, "welcome"), 7u);
    EXPECT_TRUE(run_until([&] { return at_server_.bytes == 5 && at_client_.bytes == 7; }));
    EXPECT_EQ(at_server_.data, "hello");
    EXPECT_EQ(at_client_.data, "welcome");
  }
  int holder_ = -1;
};

TEST_F(UvStreamTest, ConnectsOverIpv4AndTellsTheFacts) {
  connect_pair(loopback(), {.keepalive = 30 * kSecond, .user_timeout = 20 * kSecond});
  exchange_greetings();
  const StreamFacts facts = client_->facts();
  EXPECT_EQ(facts.peer, listener_->address());
  EXPECT_EQ(facts.local, server_->facts().peer);
  EXPECT_GT(facts.rtt, 0);
}

TEST_F(UvStreamTest, SetsTheOptionsOfTheConnection) {
  connect_pair(loopback(), {.keepalive = 30 * kSecond, .user_timeout = 20 * kSecond});
  Result<int> fd = client_->lend(false);
  ASSERT_TRUE(fd);
  const auto option = [&](int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(getsockopt(*fd, level, name, &value, &size), 0);
    return value;
  };
  EXPECT_NE(option(IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_NE(option(SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
  ::close(*fd);
}

TEST_F(UvStreamTest, ConnectsOverIpv6) {
  connect_pair(loopback6());
  exchange_greetings();
  EXPECT_EQ(client_->facts().peer.family(), Family::V6);
}

TEST_F(UvStreamTest, ConnectsOverUnixSockets) {
  const std::string dir = temporary_path();
  connect_pair(SocketAddress::unix_path(dir + "/s"));
  exchange_greetings();
  EXPECT_EQ(client_->facts().rtt, 0);
  listener_->close();
  EXPECT_NE(access((dir + "/s").c_str(), F_OK), 0) << "the path goes with the listener";
  rmdir(dir.c_str());
}

TEST_F(UvStreamTest, ConnectsOverAbstractUnixSockets) {
  connect_pair(SocketAddress::unix_path("@conpool-test-" + std::to_string(getpid())));
  exchange_greetings();
}

TEST_F(UvStreamTest, RefusalComesThroughTheHandler) {
  Recorder at_client;
  auto stream = start_connect(closed_port(), &at_client);
  ASSERT_TRUE(stream);
  EXPECT_FALSE(at_client.failed()) << "never from inside connect";
  ASSERT_TRUE(run_until([&] { return at_client.failed(); }));
  EXPECT_FALSE(at_client.connected);
  EXPECT_EQ(at_client.failures[0].status, Status::E_CONNECT_REFUSED);
  EXPECT_EQ(at_client.failures[0].os_error, ECONNREFUSED);
  EXPECT_EQ(loop_->live_handles(), 0u) << "a failed stream holds no descriptor";
}

TEST_F(UvStreamTest, InstantFailuresAreReturned) {
  // A link-local destination without a scope has no route: EINVAL on the spot.
  std::array<uint8_t, 16> ip{0xfe, 0x80};
  ip[15] = 1;
  Result<std::unique_ptr<Stream>> stream = loop_->connect(SocketAddress::v6(ip, 80), {});
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().status, Status::E_CONNECT_UNREACHABLE);

  // Broadcast needs a permission that no TCP socket has.
  stream = loop_->connect(SocketAddress::v4({255, 255, 255, 255}, 80), {});
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().status, Status::E_CONNECT_UNREACHABLE);

  stream = loop_->connect(SocketAddress::unix_path("/nonexistent/conpool"), {});
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().status, Status::E_CONNECT_FAILED);
  EXPECT_EQ(stream.error().os_error, ENOENT);

  stream = loop_->connect(SocketAddress(), {});
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().status, Status::E_BAD_ADDRESS);
}

TEST_F(UvStreamTest, AFullUnixQueueIsARefusal) {
  Acceptor acceptor;
  auto listener = loop_->listen(
      SocketAddress::unix_path("@conpool-full-" + std::to_string(getpid())), 0, &acceptor);
  ASSERT_TRUE(listener);
  std::vector<std::unique_ptr<Stream>> streams;
  Recorder at_client;
  for (int i = 0; i < 16; ++i) {
    Result<std::unique_ptr<Stream>> stream = loop_->connect((*listener)->address(), {});
    if (stream) {
      (*stream)->set_handler(&at_client);
      streams.push_back(std::move(*stream));
      continue;
    }
    EXPECT_EQ(stream.error().status, Status::E_CONNECT_REFUSED);
    EXPECT_EQ(stream.error().os_error, EAGAIN);
    return;
  }
  ADD_FAILURE() << "the queue never filled";
}

TEST_F(UvStreamTest, ClosingCancelsAConnect) {
  Acceptor acceptor;
  auto listener = start_listen(loopback(), &acceptor);
  Recorder at_client;
  auto stream = start_connect(listener->address(), &at_client);
  stream->close();
  EXPECT_TRUE(stream->closed());
  stream->close();  // again is harmless
  EXPECT_EQ(loop_->live_handles(), 1u);
  run_for(20 * kMillisecond);
  EXPECT_FALSE(at_client.connected);
  EXPECT_FALSE(at_client.failed());
  loop_->discard(std::move(stream));
  loop_->run_turn(0);
}

TEST_F(UvStreamTest, WritingBeforeTheConnectionAcceptsNothingAndIsToldLater) {
  Acceptor acceptor;
  auto listener = start_listen(loopback(), &acceptor);
  Recorder at_client;
  auto stream = start_connect(listener->address(), &at_client);
  EXPECT_EQ(write(*stream, "early"), 0u);
  EXPECT_EQ(stream->peek(), Peek::Quiet);
  ASSERT_TRUE(run_until([&] { return at_client.writable == 1; }));
  EXPECT_TRUE(at_client.connected);
  EXPECT_EQ(write(*stream, "now"), 3u);
}

// Sends `total` patterned bytes from one stream to the other, holding back the reader at times.
struct Pump {
  Stream& from;
  size_t total;
  size_t sent = 0;
  std::string chunk = std::string(100'000, 'x');

  void go() {
    while (sent < total) {
      const iovec parts[] = {{chunk.data(), std::min(chunk.size() / 2, total - sent)},
                             {chunk.data(), std::min(chunk.size() / 2, total - sent) / 2}};
      const size_t offered = parts[0].iov_len + parts[1].iov_len;
      Result<size_t> accepted = from.writev(parts);
      ASSERT_TRUE(accepted);
      sent += *accepted;
      if (*accepted < offered) return;
    }
  }
};

TEST_F(UvStreamTest, LargeTransfersBothWaysWithBackPressure) {
  connect_pair();
  at_client_.keep = at_server_.keep = false;
  constexpr size_t kTotal = 20'000'000;
  Pump up{*client_, kTotal};
  Pump down{*server_, kTotal};
  up.go();
  down.go();
  EXPECT_LT(up.sent, kTotal) << "the peer reads nothing yet";
  run_for(20 * kMillisecond);
  EXPECT_EQ(at_client_.writable + at_server_.writable, 0);
  EXPECT_EQ(at_server_.bytes, 0u) << "reading is off";

  client_->read(true);
  server_->read(true);
  Timer again([&] { server_->read(true); });
  int turns = 0;
  int seen_client = 0;
  int seen_server = 0;
  ASSERT_TRUE(run_until([&] {
    if (std::exchange(seen_client, at_client_.writable) != at_client_.writable) up.go();
    if (std::exchange(seen_server, at_server_.writable) != at_server_.writable) down.go();
    // Off and on again, in the middle of the stream.
    if (++turns % 64 == 0) {
      server_->read(false);
      loop_->arm(again, loop_->now() + kMillisecond);
    }
    return up.sent >= kTotal && down.sent >= kTotal && at_server_.bytes == up.sent &&
           at_client_.bytes == down.sent;
  }));
  EXPECT_GT(at_client_.writable, 0);
}

TEST_F(UvStreamTest, ManyPartsGoOutInOneCall) {
  connect_pair();
  server_->read(true);
  std::string letters = "abcdefghij";
  std::vector<iovec> parts;
  for (int i = 0; i < 3000; ++i)
    parts.push_back({letters.data() + i % 10, 1});  // > IOV_MAX
  Result<size_t> accepted = client_->writev(parts);
  ASSERT_TRUE(accepted);
  EXPECT_EQ(*accepted, 3000u);
  ASSERT_TRUE(run_until([&] { return at_server_.bytes == 3000; }));
  EXPECT_EQ(at_server_.data.substr(990, 20), "abcdefghijabcdefghij");
}

TEST_F(UvStreamTest, KeptSlicesStayIntactAndShareSlabs) {
  connect_pair();
  at_server_.hold = true;
  server_->read(true);
  for (int i = 0; i < 100; ++i) {
    const std::string text(200, static_cast<char>('A' + i % 26));
    ASSERT_EQ(write(*client_, text), 200u);
    ASSERT_TRUE(run_until([&] { return at_server_.bytes == 200u * (i + 1); }));
  }
  std::string joined;
  std::vector<Slab*> slabs;
  for (const Slice& slice : at_server_.slices) {
    joined += as_text(slice.span());
    if (slabs.empty() || slabs.back() != slice.slab()) slabs.push_back(slice.slab());
  }
  EXPECT_EQ(joined, at_server_.data);
  EXPECT_EQ(slabs.size(), 1u) << "small slices share a slab";
  at_server_.slices.clear();
  at_server_.hold = false;
}

TEST_F(UvStreamTest, ALargeReadTakesAFreshSlabWhenTheOldOneIsPinned) {
  connect_pair();
  at_server_.hold = true;
  at_server_.keep = false;
  server_->read(true);
  Pump up{*client_, 1'000'000};
  up.go();
  int seen = 0;
  ASSERT_TRUE(run_until([&] {
    if (std::exchange(seen, at_client_.writable) != at_client_.writable) up.go();
    return up.sent >= 1'000'000 && at_server_.bytes == up.sent;
  }));
  for (const Slice& slice : at_server_.slices) {
    EXPECT_LE(slice.size(), Slab::kSize);
    EXPECT_TRUE(std::all_of(slice.span().begin(), slice.span().end(),
                            [](uint8_t byte) { return byte == 'x'; }));
  }
  at_server_.slices.clear();
}

TEST_F(UvStreamTest, HalfCloseLetsTheOtherDirectionGoOn) {
  connect_pair();
  client_->read(true);
  server_->read(true);
  EXPECT_EQ(write(*client_, "request"), 7u);
  ASSERT_TRUE(client_->shutdown_write());
  EXPECT_TRUE(client_->shutdown_write()) << "again is harmless";
  const iovec more = part("more");
  EXPECT_EQ(client_->writev({&more, 1}).error().status, Status::E_WRONG_STATE);
  ASSERT_TRUE(run_until([&] { return at_server_.eof; }));
  EXPECT_EQ(at_server_.data, "request");
  EXPECT_EQ(write(*server_, "reply"), 5u);
  ASSERT_TRUE(run_until([&] { return at_client_.bytes == 5; }));
  EXPECT_FALSE(at_client_.eof);
  server_->close();
  ASSERT_TRUE(run_until([&] { return at_client_.eof; }));
  EXPECT_FALSE(at_client_.failed());
}

TEST_F(UvStreamTest, AnEndedDirectionDoesNotSpin) {
  connect_pair();
  client_->read(true);
  ASSERT_TRUE(server_->shutdown_write());
  ASSERT_TRUE(run_until([&] { return at_client_.eof; }));
  int turns = 0;
  const Time end = clock_now() + 30 * kMillisecond;
  while (clock_now() < end) {
    loop_->run_turn(end);
    ++turns;
  }
  EXPECT_LE(turns, 4);
}

TEST_F(UvStreamTest, PeekTellsEachState) {
  connect_pair();
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  EXPECT_EQ(write(*server_, "x"), 1u);
  EXPECT_EQ(client_->peek(), Peek::Data) << "loopback delivers at once";
  EXPECT_EQ(client_->peek(), Peek::Data) << "nothing is consumed";
  client_->read(true);
  ASSERT_TRUE(run_until([&] { return at_client_.bytes == 1; }));
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  client_->read(false);
  server_->close();
  EXPECT_EQ(client_->peek(), Peek::Eof);
}

TEST_F(UvStreamTest, PeekedFailureIsStillReportedByReading) {
  connect_pair();
  server_->close(true);
  EXPECT_EQ(client_->peek(), Peek::Failed);
  EXPECT_EQ(client_->peek(), Peek::Failed);
  client_->read(true);
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_FALSE(at_client_.eof);
  EXPECT_EQ(at_client_.failures[0].status, Status::E_CONNECTION_RESET);
}

TEST_F(UvStreamTest, AbortResetsThePeer) {
  connect_pair();
  server_->read(true);
  client_->close(true);
  ASSERT_TRUE(run_until([&] { return at_server_.failed(); }));
  EXPECT_EQ(at_server_.failures.size(), 1u);
  EXPECT_EQ(at_server_.failures[0].status, Status::E_CONNECTION_RESET);
  EXPECT_FALSE(at_server_.eof);
}

TEST_F(UvStreamTest, AResetWhileReadingIsOffNeitherSpinsNorGetsLost) {
  connect_pair();
  client_->read(true);
  loop_->run_turn(0);
  client_->read(false);
  EXPECT_EQ(write(*server_, "last words"), 10u);
  server_->close(true);
  int turns = 0;
  const Time end = clock_now() + 30 * kMillisecond;
  while (clock_now() < end) {
    loop_->run_turn(end);
    ++turns;
  }
  EXPECT_LE(turns, 4);
  EXPECT_EQ(at_client_.bytes, 0u);
  client_->read(true);
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.failures[0].status, Status::E_CONNECTION_RESET);
}

TEST_F(UvStreamTest, AResetEndsAWriterThatDoesNotRead) {
  connect_pair();
  Pump up{*client_, 50'000'000};
  up.go();
  ASSERT_LT(up.sent, up.total);
  server_->close(true);
  ASSERT_TRUE(run_until([&] { return at_client_.writable > 0; }));
  const iovec more = part("more");
  Result<size_t> accepted = client_->writev({&more, 1});
  ASSERT_FALSE(accepted);
  EXPECT_EQ(accepted.error().status, Status::E_CONNECTION_RESET);
  EXPECT_FALSE(at_client_.failed()) << "a failure is told once";
  accepted = client_->writev({&more, 1});
  EXPECT_EQ(accepted.error().status, Status::E_CLOSED);
}

TEST_F(UvStreamTest, AProgramThatNeverTouchedSigpipeSurvives) {
  struct sigaction action {};
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &action), 0);
  ASSERT_EQ(action.sa_handler, SIG_DFL);
  connect_pair();
  server_->close(true);
  run_for(5 * kMillisecond);
  const iovec more = part("more");
  (void)client_->writev({&more, 1});
  Result<size_t> accepted = client_->writev({&more, 1});
  EXPECT_FALSE(accepted);
}

TEST_F(UvStreamTest, ClosingInsideAnEventEndsAllEvents) {
  connect_pair();
  server_->read(true);
  at_server_.when_data = [&] { loop_->discard(std::move(server_)); };
  EXPECT_EQ(write(*client_, "bye"), 3u);
  client_->close();
  run_for(10 * kMillisecond);
  EXPECT_EQ(at_server_.reads, 1u);
  EXPECT_FALSE(at_server_.eof);
  EXPECT_FALSE(at_server_.failed());
}

TEST_F(UvStreamTest, AnExceptionInAHandlerFailsItsOwnStream) {
  connect_pair();
  server_->read(true);
  at_server_.when_data = [] { throw std::bad_alloc(); };
  EXPECT_EQ(write(*client_, "x"), 1u);
  ASSERT_TRUE(run_until([&] { return at_server_.failed(); }));
  EXPECT_EQ(at_server_.failures[0].status, Status::E_NOMEM);
  EXPECT_FALSE(at_client_.failed());
}

// --- lend -------------------------------------------------------------------------------------

TEST_F(UvStreamTest, ALentDescriptorWorksInBlockingModeAndComesBack) {
  connect_pair();
  client_->read(true);
  Result<int> fd = client_->lend(true);
  ASSERT_TRUE(fd);
  EXPECT_EQ(fcntl(*fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(*fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(client_->lend(false).error().status, Status::E_WRONG_STATE);
  const iovec one = part("x");
  EXPECT_EQ(client_->writev({&one, 1}).error().status, Status::E_WRONG_STATE);

  ASSERT_EQ(::send(*fd, "ping", 4, 0), 4);
  server_->read(true);
  ASSERT_TRUE(run_until([&] { return at_server_.bytes == 4; }));
  EXPECT_EQ(write(*server_, "pong"), 4u);
  run_for(10 * kMillisecond);
  EXPECT_EQ(at_client_.bytes, 0u) << "the loop keeps its hands off";
  char reply[8];
  ASSERT_EQ(::recv(*fd, reply, sizeof reply, 0), 4);

  EXPECT_EQ(client_->reclaim(), Peek::Quiet);
  EXPECT_NE(fcntl(*fd, F_GETFL) & O_NONBLOCK, 0) << "the mode is shared";
  ::close(*fd);
  server_->read(true);
  EXPECT_EQ(write(*server_, "after"), 5u);
  ASSERT_TRUE(run_until([&] { return at_client_.bytes == 5; }));
}

TEST_F(UvStreamTest, ReclaimTellsWhatTheBorrowerLeft) {
  connect_pair();
  Result<int> fd = client_->lend(false);
  ASSERT_TRUE(fd);
  EXPECT_NE(fcntl(*fd, F_GETFL) & O_NONBLOCK, 0);
  ::close(*fd);
  EXPECT_EQ(write(*server_, "unread"), 6u);
  EXPECT_EQ(client_->reclaim(), Peek::Data);
  fd = client_->lend(false);
  ASSERT_TRUE(fd);
  char bytes[16];
  ASSERT_EQ(::recv(*fd, bytes, sizeof bytes, 0), 6);
  ::close(*fd);
  server_->close();
  EXPECT_EQ(client_->reclaim(), Peek::Eof);
}

TEST_F(UvStreamTest, ClosingALentStreamLeavesTheDuplicateToItsOwner) {
  connect_pair();
  Result<int> fd = client_->lend(true);
  ASSERT_TRUE(fd);
  client_->close();
  server_->read(true);
  ASSERT_EQ(::send(*fd, "still", 5, 0), 5);
  ASSERT_TRUE(run_until([&] { return at_server_.bytes == 5; }));
  ::close(*fd);
  ASSERT_TRUE(run_until([&] { return at_server_.eof; }));
}

// --- descriptors ------------------------------------------------------------------------------

TEST_F(UvStreamTest, NothingLeaksOverManyConnections) {
  const SocketAddress nobody = closed_port();
  Acceptor acceptor;
  auto listener = start_listen(loopback(), &acceptor);
  const int before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    Recorder good;
    Recorder bad;
    auto first = start_connect(listener->address(), &good);
    auto second = start_connect(nobody, &bad);
    auto third = start_connect(listener->address(), &good);
    third->close(i % 2 == 0);
    ASSERT_TRUE(run_until([&] { return good.connected && bad.failed(); }));
    loop_->discard(std::move(first));
    loop_->discard(std::move(second));
    loop_->discard(std::move(third));
    acceptor.streams.clear();
    loop_->run_turn(0);
  }
  ASSERT_TRUE(run_until([&] {
    acceptor.streams.clear();
    return open_descriptors() == before;
  }));
  EXPECT_EQ(loop_->live_handles(), 1u);
}

TEST_F(UvStreamTest, AForkedChildLetsGoOfTheSocketsAndTheParentGoesOn) {
  connect_pair();
  client_->read(true);
  server_->read(true);
  loop_->run_turn(0);
  const int before = open_descriptors();
  const pid_t child = fork();
  if (child == 0) {
    // Both ends and the listener.
    _exit(before - open_descriptors() == 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  exchange_greetings();
  server_->close();
  EXPECT_TRUE(run_until([&] { return at_client_.eof; })) << "no copy holds the connection open";
}

// Runs `body` in a forked child with few descriptors; its result is the child's exit status.
template <typename F>
int in_child(F&& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

TEST(UvLimits, WithoutADescriptorConnectSaysSoAndAcceptDoesNotSpin) {
  const int status = in_child([] {
    auto loop = std::move(*make_uv_loop());
    Acceptor acceptor;
    auto listener = std::move(*loop->listen(loopback(), 64, &acceptor));
    Recorder at_client;
    auto client = std::move(*loop->connect(listener->address(), {}));
    client->set_handler(&at_client);

    const rlim_t used = static_cast<rlim_t>(dup(0));  // the lowest free number
    close(static_cast<int>(used));
    const rlimit none{used, 4096};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
    Result<std::unique_ptr<Stream>> refused = loop->connect(listener->address(), {});
    if (refused || refused.error().status != Status::E_FD_LIMIT) return 2;
    if (make_uv_loop().error().status != Status::E_FD_LIMIT) return 3;
    int turns = 0;
    const Time end = clock_now() + 250 * kMillisecond;
    while (clock_now() < end) {
      loop->run_turn(end);
      ++turns;
    }
    if (!at_client.connected || !acceptor.streams.empty()) return 4;
    if (turns > 20) return 5;  // one try each 100 ms
    const rlimit enough{256, 4096};
    if (setrlimit(RLIMIT_NOFILE, &enough) != 0) return 6;
    const Time limit = clock_now() + 5 * kSecond;
    while (acceptor.streams.empty() && clock_now() < limit)
      loop->run_turn(limit);
    return acceptor.streams.size() == 1 ? 0 : 7;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace conpool::io
