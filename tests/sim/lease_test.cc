// What a lease does with its connection: reads, writes, half-close, loans, cancels, pinned bytes.
#include "sim/world.h"

namespace conpool::sim {
namespace {

struct Lending : SimPool {
  explicit Lending(const OptionList& options, origin::Script script = {}) {
    network.host("*").latency = ms(5);
    open(options);
    server = &serve("192.0.2.1:80", std::move(script));
    target = endpoint("tcp://192.0.2.1:80");
    connection = lease(target).connection;
  }
  // Gives the connection back; answers whether the next lease gets the same one.
  bool comes_back() {
    conpool_connection_release(connection, CONPOOL_REUSABLE);
    const Outcome next = lease(target);
    connection = next.connection;
    return next.value == 1;
  }
  ~Lending() { conpool_connection_release(connection, CONPOOL_BROKEN); }
  origin::Server* server;
  conpool_endpoint* target;
  conpool_connection* connection;
};

TEST(Lease, ReadsTakeNoMoreThanTheyAskFor) {
  Lending s(OptionList{});
  EXPECT_TRUE(s.wait(s.write(s.connection, "abcdef")).ok());
  s.run_for(ms(50));
  EXPECT_EQ(s.wait(s.read(s.connection, 2)).data, "ab");
  EXPECT_EQ(s.wait(s.read(s.connection, 1)).data, "c");
  EXPECT_EQ(s.wait(s.read(s.connection)).data, "def");
  EXPECT_TRUE(s.comes_back());
}

TEST(Lease, ReadsAndWritesEndInTheOrderOfTheirStart) {
  Lending s(OptionList{});
  const conpool_op first = s.read(s.connection, 3);
  const conpool_op second = s.read(s.connection, 3);
  std::vector<conpool_op> writes;
  for (int i = 0; i < 40; ++i)
    writes.push_back(s.write(s.connection, std::string(1, static_cast<char>('a' + i % 26))));
  for (const conpool_op op : writes)
    EXPECT_TRUE(s.wait(op).ok());
  EXPECT_EQ(s.wait(first).data + s.wait(second).data, "abcdef");
}

TEST(Lease, HalfCloseLetsTheAnswerCome) {
  Lending s(OptionList{});
  EXPECT_TRUE(s.wait(s.write(s.connection, "last words")).ok());
  EXPECT_TRUE(s.wait(s.shutdown_write(s.connection)).ok());
  EXPECT_EQ(s.wait(s.write(s.connection, "more")).status, CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(s.wait(s.read(s.connection)).data, "last words");
  EXPECT_TRUE(s.wait(s.read(s.connection)).eof());
  EXPECT_TRUE(s.wait(s.read(s.connection)).eof());  // and again
  EXPECT_FALSE(s.comes_back());
}

TEST(Lease, ACancelledReadLosesNothing) {
  Lending s(OptionList{});
  const conpool_op read = s.read(s.connection);
  s.run_for(ms(1));
  EXPECT_EQ(conpool_op_cancel(read), 0);
  EXPECT_EQ(s.wait(read).status, CONPOOL_E_CANCELLED);
  EXPECT_EQ(s.exchange(s.connection, "all of it"), "all of it");
  EXPECT_TRUE(s.comes_back());
}

TEST(Lease, ACancelledWriteThatWasHalfDoneEndsTheConnection) {
  origin::Script script;
  script.read = false;
  Lending s(OptionList{}, script);
  const conpool_op write = s.write(s.connection, std::string(2'000'000, 'x'));
  const conpool_op behind = s.write(s.connection, "behind");
  s.run_for(ms(50));
  EXPECT_EQ(conpool_op_cancel(write), 0);
  const Outcome end = s.wait(write);
  EXPECT_EQ(end.status, CONPOOL_E_CANCELLED);
  EXPECT_GT(end.value, 0u);
  EXPECT_LT(s.wait(behind).status, 0);
  EXPECT_FALSE(s.comes_back());
}

TEST(Lease, ReleaseEndsWhatRuns) {
  Lending s(OptionList{});
  const conpool_op read = s.read(s.connection);
  EXPECT_FALSE(s.comes_back());
  EXPECT_EQ(s.wait(read).status, CONPOOL_E_CANCELLED);
}

TEST(Lease, ALoanAndItsReturn) {
  Lending s(OptionList{});
  int32_t fd = -1;
  conpool_chunk* early = nullptr;
  ASSERT_EQ(conpool_connection_lend(s.connection, 1, &fd, &early), 0);
  EXPECT_EQ(early, nullptr);
  EXPECT_EQ(s.wait(s.read(s.connection)).status, CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(conpool_connection_lend(s.connection, 1, &fd, &early), CONPOOL_E_WRONG_STATE);
  io::SimSocket* socket = s.network.lent(fd);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->write("by hand"), 7u);
  s.run_for(ms(50));
  EXPECT_EQ(socket->read(), "by hand");
  socket->close();
  EXPECT_TRUE(s.comes_back());
  EXPECT_EQ(s.exchange(s.connection, "by the pool"), "by the pool");
}

TEST(Lease, ALoanThatLeavesBytesBehindDoesNotComeBack) {
  Lending s(OptionList{});
  int32_t fd = -1;
  conpool_chunk* early = nullptr;
  ASSERT_EQ(conpool_connection_lend(s.connection, 0, &fd, &early), 0);
  EXPECT_EQ(s.network.lent(fd)->write("unread"), 6u);
  s.run_for(ms(50));
  s.network.lent(fd)->close();
  EXPECT_FALSE(s.comes_back());
}

TEST(Lease, ALoanGivesTheBytesThatCameBefore) {
  Lending s(OptionList{});
  EXPECT_TRUE(s.wait(s.write(s.connection, "early")).ok());
  s.run_for(ms(50));
  EXPECT_EQ(s.wait(s.read(s.connection, 1)).data, "e");
  int32_t fd = -1;
  conpool_chunk* early = nullptr;
  ASSERT_EQ(conpool_connection_lend(s.connection, 0, &fd, &early), 0);
  ASSERT_NE(early, nullptr);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(conpool_chunk_data(early)),
                        conpool_chunk_size(early)),
            "arly");
  conpool_chunk_free(early);
  s.network.lent(fd)->close();
}

TEST(Lease, PinnedBytesHoldReadingBackUntilTheyAreFreed) {
  Lending s(OptionList{{"pool.max_pinned", "64KiB"}});
  EXPECT_TRUE(s.wait(s.write(s.connection, std::string(200'000, 'x'))).ok());
  std::vector<conpool_event> held;
  size_t bytes = 0;
  for (;;) {
    conpool_event event{};
    const conpool_op read = s.read(s.connection);
    if (conpool_op_wait(read, kSecond, &event) != 0) {
      EXPECT_EQ(conpool_op_cancel(read), 0);
      EXPECT_EQ(s.wait(read).status, CONPOOL_E_CANCELLED);
      break;
    }
    ASSERT_EQ(event.status, 0);
    bytes += event.value[0];
    held.push_back(event);
  }
  EXPECT_GE(bytes, 64u * 1024);
  EXPECT_LT(bytes, 200'000u);
  for (conpool_event& event : held)
    conpool_event_dispose(&event);
  while (bytes < 200'000) {
    const Outcome piece = s.wait(s.read(s.connection));
    ASSERT_TRUE(piece.ok()) << piece.line;
    bytes += piece.data.size();
  }
  EXPECT_EQ(bytes, 200'000u);
}

}  // namespace
}  // namespace conpool::sim
