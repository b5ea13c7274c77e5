// What a plan does to connections, the same in both worlds.
#include <gtest/gtest.h>

#include "fault/injector.h"
#include "io/sim/sim_world.h"
#include "unit/io/uv_support.h"

namespace conpool::fault {
namespace {

using io::Peek;
using io::Recorder;

enum class WorldKind { Sim, Uv };

// A client under a plan, and a plain server, on one loop.
class FaultStreamTest : public testing::TestWithParam<WorldKind> {
 protected:
  FaultStreamTest() {
    if (GetParam() == WorldKind::Sim) {
      loop_ = io::make_sim_loop(network_, 1);
    } else {
      auto made = io::make_uv_loop();
      EXPECT_TRUE(made.has_value());
      loop_ = std::move(*made);
    }
  }
  ~FaultStreamTest() override {
    client_.reset();
    server_.reset();
    acceptor_.streams.clear();
    listener_.reset();
    injector_.reset();
    for (int i = 0; i < 3; ++i)
      loop_->run_turn(loop_->now());
    EXPECT_EQ(loop_->live_handles(), 0u);
  }

  void plan(const std::string& text, uint64_t seed = 42) {
    Result<Plan> parsed = Plan::parse(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().detail;
    injector_ = std::make_unique<Injector>(std::move(*parsed), seed, *loop_,
                                           observe::Emitter(&ring_), figures_);
  }
  template <typename F>
  bool run_until(F&& done, Nanos limit = 10 * kSecond) {
    const Time end = loop_->now() + limit;
    while (!done()) {
      if (loop_->now() >= end) return false;
      loop_->run_turn(end);
    }
    return true;
  }
  void run_for(Nanos time) {
    (void)run_until([] { return false; }, time);
  }
  void listen() {
    const SocketAddress at =
        GetParam() == WorldKind::Sim ? *parse_address_and_port("192.0.2.1:80") : io::loopback();
    auto made = loop_->listen(at, 16, &acceptor_);
    ASSERT_TRUE(made.has_value());
    listener_ = std::move(*made);
  }
  void dial() {
    auto stream = loop_->connect(listener_->address(), {.purpose = "origin.test:80"});
    ASSERT_TRUE(stream.has_value());
    client_ = std::move(*stream);
    client_->set_handler(&at_client_);
    client_->read(true);
  }
  void connect() {
    listen();
    dial();
    ASSERT_TRUE(run_until([&] { return at_client_.connected && !acceptor_.streams.empty(); }));
    server_ = std::move(acceptor_.streams.front());
    acceptor_.streams.clear();
    server_->set_handler(&at_server_);
    server_->read(true);
  }
  void send(uint64_t request, bool alone = true, uint32_t attempt = 1) {
    injector_->before_send({.endpoint = "origin.test:80",
                            .peer = client_->facts().peer,
                            .stream = client_->facts().tapped,
                            .request = request,
                            .attempt = attempt,
                            .alone = alone});
  }
  static Result<size_t> write(io::Stream& stream, std::string_view text) {
    const iovec part{const_cast<char*>(text.data()), text.size()};
    return stream.writev({&part, 1});
  }
  // The client asks, and once it came to the server, the server answers.
  void ask(std::string_view question, std::string_view answer) {
    const size_t before = at_server_.bytes;
    ASSERT_TRUE(write(*client_, question).has_value());
    ASSERT_TRUE(run_until([&] { return at_server_.bytes >= before + question.size(); }));
    if (!answer.empty()) {
      ASSERT_TRUE(write(*server_, answer).has_value());
    }
  }
  std::string injected() {
    std::string all;
    for (const observe::EventRecord& record : ring_.snapshot().records) {
      if (record.kind != observe::EventKind::FaultInjected) continue;
      all += std::to_string(record.values[0]) + " " + std::string(record.text_view()) + "\n";
    }
    return all;
  }

  io::SimNetwork network_;
  std::unique_ptr<io::Loop> loop_;
  observe::EventRing ring_{256, observe::EventLevel::INFO};
  observe::Metrics figures_{observe::MetricScope::POOL};
  std::unique_ptr<Injector> injector_;
  io::Acceptor acceptor_;
  std::unique_ptr<io::Listener> listener_;
  Recorder at_client_, at_server_;
  std::unique_ptr<io::Stream> client_, server_;
};

INSTANTIATE_TEST_SUITE_P(Worlds, FaultStreamTest, testing::Values(WorldKind::Sim, WorldKind::Uv),
                         [](const auto& world) {
                           return std::string(world.param == WorldKind::Sim ? "Sim" : "Uv");
                         });

TEST_P(FaultStreamTest, WithoutAHitEverythingPasses) {
  plan("reset requests=99; refuse connects=99");
  connect();
  send(1);
  ask("question", "answer");
  EXPECT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  EXPECT_TRUE(client_->shutdown_write().has_value());
  EXPECT_TRUE(run_until([&] { return at_server_.eof; }));
  EXPECT_TRUE(server_->shutdown_write().has_value());
  EXPECT_TRUE(run_until([&] { return at_client_.eof; }));
  EXPECT_EQ(client_->peek(), Peek::Eof);
  EXPECT_EQ(injected(), "");
  EXPECT_EQ(figures_.get(observe::Counter::FaultsInjected), 0);
}

TEST_P(FaultStreamTest, ARefusalIsToldLaterAndReachesNobody) {
  plan("refuse connects=1");
  listen();
  dial();
  EXPECT_FALSE(at_client_.failed()) << "never from inside the call";
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.failures[0].status, Status::E_CONNECT_REFUSED);
  EXPECT_EQ(at_client_.failures[0].os_error, ECONNREFUSED);
  EXPECT_FALSE(at_client_.connected);
  EXPECT_EQ(injected(), "1 refuse " + listener_->address().text() + "\n");
  EXPECT_EQ(figures_.get(observe::Counter::FaultsInjected), 1);
  // The second is not selected.
  dial();
  EXPECT_TRUE(run_until([&] { return at_client_.connected; }));
}

TEST_P(FaultStreamTest, ABlackHoleNeverAnswers) {
  plan("blackhole");
  listen();
  dial();
  EXPECT_EQ(*write(*client_, "hello"), 0u);
  EXPECT_EQ(client_->shutdown_write().error().status, Status::E_WRONG_STATE);
  run_for(300 * kMillisecond);
  EXPECT_FALSE(at_client_.connected);
  EXPECT_FALSE(at_client_.failed());
  EXPECT_TRUE(acceptor_.streams.empty());
  client_->close();
  EXPECT_TRUE(client_->closed());
}

TEST_P(FaultStreamTest, AConnectIsDelayed) {
  plan("connect_delay delay=150ms");
  listen();
  const Time start = loop_->now();
  dial();
  EXPECT_EQ(*write(*client_, "hello"), 0u);
  ASSERT_TRUE(run_until([&] { return at_client_.connected; }));
  EXPECT_GE(loop_->now() - start, 150 * kMillisecond);
  ASSERT_TRUE(run_until([&] { return at_client_.writable == 1; }));
  EXPECT_EQ(*write(*client_, "hello"), 5u);
}

TEST_P(FaultStreamTest, ADelayedRefusalComesLate) {
  plan("connect_delay delay=100ms; refuse");
  listen();
  const Time start = loop_->now();
  dial();
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_GE(loop_->now() - start, 100 * kMillisecond);
}

TEST_P(FaultStreamTest, AResetComesInPlaceOfTheAnswer) {
  plan("reset requests=7");
  connect();
  send(7);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.data, "");
  EXPECT_EQ(at_client_.failures[0].status, Status::E_CONNECTION_RESET);
  EXPECT_EQ(at_client_.failures[0].os_error, ECONNRESET);
  EXPECT_EQ(client_->peek(), Peek::Failed);
  EXPECT_EQ(write(*client_, "x").error().status, Status::E_CLOSED);
  EXPECT_EQ(injected(), "7 reset origin.test:80\n");
  EXPECT_TRUE(run_until([&] { return at_server_.failed(); })) << "the server gets an RST";
}

TEST_P(FaultStreamTest, AResetComesAfterSoManyBytesOfTheAnswer) {
  plan("reset after=4");
  connect();
  // What came before the request belongs to nobody's answer.
  ASSERT_TRUE(write(*server_, "early").has_value());
  ASSERT_TRUE(run_until([&] { return at_client_.data == "early"; }));
  send(1);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.data, "earlyansw");
  EXPECT_EQ(at_client_.failures[0].os_error, ECONNRESET);
}

TEST_P(FaultStreamTest, ATruncatedAnswerEndsCleanly) {
  plan("truncate after=4");
  connect();
  send(1);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.eof; }));
  EXPECT_EQ(at_client_.data, "answ");
  EXPECT_EQ(client_->peek(), Peek::Eof);
  run_for(50 * kMillisecond);
  EXPECT_FALSE(at_client_.failed());
  EXPECT_EQ(at_client_.data, "answ");
  EXPECT_EQ(*write(*client_, "more"), 4u) << "our direction goes on";
}

TEST_P(FaultStreamTest, ClosedUnderUsIsSeenWhenItIsWrittenTo) {
  plan("close");
  connect();
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  send(1);
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  const Result<size_t> written = write(*client_, "question");
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().status, Status::E_CONNECTION_CLOSED);
  EXPECT_EQ(written.error().os_error, EPIPE);
  EXPECT_EQ(client_->peek(), Peek::Failed);
  run_for(50 * kMillisecond);
  EXPECT_FALSE(at_client_.failed()) << "told once";
  EXPECT_EQ(at_server_.data, "");
  EXPECT_TRUE(at_server_.eof);
}

TEST_P(FaultStreamTest, HalfOpenTakesTheRequestAndIsSilent) {
  plan("half_open");
  connect();
  send(1);
  ask("question", "answer");
  EXPECT_TRUE(server_->shutdown_write().has_value());
  run_for(300 * kMillisecond);
  EXPECT_EQ(at_server_.data, "question");
  EXPECT_EQ(at_client_.data, "");
  EXPECT_FALSE(at_client_.eof);
  EXPECT_FALSE(at_client_.failed());
  EXPECT_EQ(client_->peek(), Peek::Quiet);
  // A peer that resets is not heard either.
  server_->close(true);
  run_for(50 * kMillisecond);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(*write(*client_, "again"), 5u);
    run_for(10 * kMillisecond);
  }
  EXPECT_FALSE(at_client_.failed());
  EXPECT_TRUE(client_->shutdown_write().has_value());
}

TEST_P(FaultStreamTest, AnAnswerIsDelayedOnce) {
  plan("read_delay delay=200ms requests=1");
  connect();
  send(1);
  const Time start = loop_->now();
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
  EXPECT_GE(loop_->now() - start, 200 * kMillisecond);
  send(2);
  const Time again = loop_->now();
  ask("question", "second");
  ASSERT_TRUE(run_until([&] { return at_client_.data == "answersecond"; }));
  EXPECT_LT(loop_->now() - again, 200 * kMillisecond);
}

TEST_P(FaultStreamTest, WhatIsHeldBackIsSeenByPeekAndToldInOrder) {
  plan("read_delay delay=100ms");
  connect();
  send(1);
  ask("question", "answer");
  EXPECT_TRUE(server_->shutdown_write().has_value());
  ASSERT_TRUE(run_until([&] { return client_->peek() == Peek::Data; }));
  run_for(50 * kMillisecond);
  EXPECT_EQ(at_client_.data, "");
  EXPECT_FALSE(at_client_.eof);
  ASSERT_TRUE(run_until([&] { return at_client_.eof; }));
  EXPECT_EQ(at_client_.data, "answer");
}

TEST_P(FaultStreamTest, ReadingOffHoldsBackWhatWaits) {
  plan("read_delay delay=50ms");
  connect();
  send(1);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return client_->peek() == Peek::Data; }));
  client_->read(false);
  run_for(100 * kMillisecond);
  EXPECT_EQ(at_client_.data, "");
  client_->read(true);
  EXPECT_EQ(at_client_.data, "") << "never from inside the call";
  EXPECT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
}

TEST_P(FaultStreamTest, ASlowPeerTakesItsTime) {
  plan("slow rate=1000 requests=1");
  connect();
  send(1);
  const std::string answer(300, 'a');
  const Time start = loop_->now();
  ask("question", answer);
  ASSERT_TRUE(run_until([&] { return at_client_.data.size() == answer.size(); }));
  EXPECT_GE(loop_->now() - start, 250 * kMillisecond);
  EXPECT_LT(loop_->now() - start, kSecond);
  EXPECT_GE(at_client_.reads, 6u);
  // It is over with the next request.
  send(2);
  const Time again = loop_->now();
  ask("question", answer);
  ASSERT_TRUE(run_until([&] { return at_client_.data.size() == 2 * answer.size(); }));
  EXPECT_LT(loop_->now() - again, 250 * kMillisecond);
}

TEST_P(FaultStreamTest, SlowAndResetGoTogether) {
  plan("slow rate=1000; reset after=100");
  connect();
  send(1);
  const Time start = loop_->now();
  ask("question", std::string(300, 'a'));
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.data.size(), 100u);
  EXPECT_GE(loop_->now() - start, 50 * kMillisecond);
  EXPECT_EQ(at_client_.failures[0].os_error, ECONNRESET);
}

TEST_P(FaultStreamTest, WhatWasArmedIsOverWithTheNextSendThatIsAlone) {
  plan("reset requests=1 after=100");
  connect();
  send(1);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
  send(2);
  ask("question", std::string(200, 'b'));
  ASSERT_TRUE(run_until([&] { return at_client_.data.size() == 206; }));
  EXPECT_FALSE(at_client_.failed());
}

TEST_P(FaultStreamTest, SendsThatShareAConnectionKeepTheirFaults) {
  plan("reset requests=1 after=10");
  connect();
  send(1);
  send(2, false);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
  send(3, false);
  ask("question", "answer");
  ASSERT_TRUE(run_until([&] { return at_client_.failed(); }));
  EXPECT_EQ(at_client_.data, "answeransw");
}

TEST_P(FaultStreamTest, NoMoreThanSoManyAreArmedAtOnce) {
  plan("reset after=1000000");
  connect();
  for (uint64_t i = 1; i <= FaultStream::kMostArmed + 5; ++i)
    send(i, false);
  EXPECT_EQ(figures_.get(observe::Counter::FaultsInjected),
            static_cast<int64_t>(FaultStream::kMostArmed));
  ask("question", "answer");
  EXPECT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
}

TEST_P(FaultStreamTest, TheAnswerToAClientHelloIsAnAlert) {
  plan("tls_alert code=70");
  connect();
  const std::string hello("\x16\x03\x01\x00\x02\x01\x00", 7);
  ask("plain first", "fine");
  ASSERT_TRUE(run_until([&] { return at_client_.data == "fine"; }));
  EXPECT_EQ(injected(), "") << "no handshake yet";
  at_client_.data.clear();
  ask(hello, "a server hello");
  ASSERT_TRUE(run_until([&] { return at_client_.eof; }));
  EXPECT_EQ(at_client_.data, std::string("\x15\x03\x03\x00\x02\x02\x46", 7));
  EXPECT_EQ(injected(), "1 tls_alert " + listener_->address().text() + "\n");
}

TEST_P(FaultStreamTest, ALentDescriptorPassesByThePlan) {
  plan("reset");
  connect();
  send(1);
  Result<int> fd = client_->lend(false);
  ASSERT_TRUE(fd.has_value());
  ASSERT_TRUE(write(*server_, "answer").has_value());
  run_for(20 * kMillisecond);
  EXPECT_EQ(client_->reclaim(), Peek::Data);
  if (GetParam() == WorldKind::Uv) {
    ::close(*fd);
  } else {
    network_.lent(*fd)->close();
  }
  EXPECT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
}

TEST_P(FaultStreamTest, StreamsOutliveTheInjector) {
  plan("reset requests=2");
  connect();
  injector_.reset();
  ask("question", "answer");
  EXPECT_TRUE(run_until([&] { return at_client_.data == "answer"; }));
  client_->close();
}

// Closed in every state, at every moment: nothing is told any more.
TEST_P(FaultStreamTest, ClosedInTheMiddleItTellsNothing) {
  for (const char* text : {"reset after=3", "truncate after=3", "read_delay delay=20ms",
                           "slow rate=100", "half_open", "connect_delay delay=1s", "blackhole"}) {
    injector_.reset();
    plan(text);
    listen();
    Recorder handler;
    auto stream = loop_->connect(listener_->address(), {});
    ASSERT_TRUE(stream.has_value());
    (*stream)->set_handler(&handler);
    (*stream)->read(true);
    (void)run_until([&] { return handler.connected && !acceptor_.streams.empty(); },
                    20 * kMillisecond);
    client_ = std::move(*stream);
    if (handler.connected) {
      send(1);
      ASSERT_TRUE(write(*client_, "question").has_value());
      ASSERT_TRUE(write(*acceptor_.streams[0], "answer").has_value());
      (void)run_until([&] { return handler.bytes > 0 || client_->peek() != Peek::Quiet; },
                      20 * kMillisecond);
    }
    const size_t before = handler.bytes;
    const bool ended = handler.eof;
    loop_->discard(std::move(client_));
    run_for(60 * kMillisecond);
    EXPECT_EQ(handler.bytes, before) << text;
    EXPECT_EQ(handler.eof, ended) << text;
    acceptor_.streams.clear();
    listener_.reset();
  }
}

// A handler that closes the stream from inside its own events.
struct Closer final : io::StreamHandler {
  io::Stream* stream = nullptr;
  int calls = 0;
  void end() {
    ++calls;
    stream->close();
  }
  void on_connected() override {}
  void on_data(Slice) override { end(); }
  void on_eof() override { end(); }
  void on_writable() override {}
  void on_failed(const Failure&) override { end(); }
};

TEST_P(FaultStreamTest, AHandlerMayCloseInAnyEvent) {
  for (const char* text : {"reset", "reset after=3", "truncate", "truncate after=3",
                           "slow rate=1000", "read_delay delay=5ms"}) {
    injector_.reset();
    plan(text);
    at_client_ = {};
    at_server_ = {};
    connect();
    Closer closer;
    closer.stream = client_.get();
    client_->set_handler(&closer);
    send(1);
    ask("question", "answer");
    EXPECT_TRUE(run_until([&] { return closer.calls == 1; })) << text;
    run_for(20 * kMillisecond);
    EXPECT_EQ(closer.calls, 1) << text;
    client_.reset();
    server_.reset();
    listener_.reset();
  }
}

}  // namespace
}  // namespace conpool::fault
