// Servers that restart, close idle connections at awkward moments, or misbehave.
#include "sim/world.h"

namespace conpool::sim {
namespace {

constexpr const char* kWhere = "192.0.2.1:80";
constexpr Nanos kOneWay = 5 * kMillisecond;

struct Death : SimPool {
  explicit Death(const OptionList& options = {}, origin::Script script = {}) {
    network.host("*").latency = kOneWay;
    open(options);
    server = &serve(kWhere, std::move(script));
    target = endpoint("tcp://192.0.2.1:80");
  }
  origin::Server* server;
  conpool_endpoint* target;
};

// The server closes after an idle second; leases begin at every moment around the arrival of its
// FIN.
TEST(Death, NoDeadConnectionIsHandedOutAroundTheIdleTimeout) {
  origin::Script script;
  script.close_after_idle = kSecond;
  Death s(OptionList{{"events.level", "warning"}}, script);
  Rng rng(7);
  int reused = 0, fresh = 0, lost = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Outcome lease = s.lease(s.target);
    ASSERT_EQ(lease.status, 0) << lease.line;
    ++(lease.value == 1 ? reused : fresh);
    const Time granted = s.now();
    const conpool_op write = s.write(lease.connection, "ping");
    const conpool_op read = s.read(lease.connection);
    const Outcome wrote = s.wait(write);
    const Outcome got = s.wait(read);
    // The FIN may cross our bytes on the wire: nobody can know. Had it arrived when the lease was
    // granted, it would have shown at once.
    const bool dead = !wrote.ok() || !got.ok() || got.eof();
    if (dead) {
      ++lost;
      ASSERT_GT(s.now(), granted) << "round " << i << ": a connection known to be dead was lent";
    }
    conpool_connection_release(lease.connection, dead ? CONPOOL_BROKEN : CONPOOL_REUSABLE);
    // Its last byte reached the server one way before now, and its FIN needs one way back.
    const Nanos end = kSecond;
    s.run_for(rng.between(end - 4 * kOneWay, end + 2 * kOneWay));
  }
  EXPECT_GT(reused, 1000);
  EXPECT_GT(fresh, 1000);
  EXPECT_GT(lost, 0);  // else the rounds missed the moment
}

TEST(Death, ARestartWhileConnectionsAreIdleIsSeen) {
  Death s;
  for (int round = 0; round < 200; ++round) {
    std::vector<Outcome> leases;
    for (int i = 0; i < 8; ++i)
      leases.push_back(s.lease(s.target));
    for (const Outcome& lease : leases)
      conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
    s.run_for(ms(20));
    s.server->kill();
    ASSERT_TRUE(s.server->listen(*parse_address_and_port(kWhere)).has_value());
    s.run_for(kOneWay);  // the resets are here now
    const Outcome lease = s.lease(s.target);
    ASSERT_EQ(lease.status, 0) << lease.line;
    EXPECT_EQ(lease.value, 0u) << "a dead connection was handed out";
    EXPECT_EQ(s.exchange(lease.connection, "alive"), "alive");
    conpool_connection_release(lease.connection, CONPOOL_BROKEN);
  }
}

// The death arrives in the same instant as the acquire.
TEST(Death, ADeathInTheInstantOfTheAcquireIsSeen) {
  Death s(OptionList{{"breaker.mode", "off"}});  // each round ends as broken
  for (int round = 0; round < 200; ++round) {
    const Outcome first = s.lease(s.target);
    conpool_connection_release(first.connection, CONPOOL_REUSABLE);
    s.run_for(ms(20));
    s.server->end_connections(round % 2 == 0 ? origin::Ending::Close : origin::Ending::Reset);
    s.run_until(s.now() + kOneWay - 1);
    const Time arrival = s.now() + 1;
    conpool_op op = 0;
    s.network.at(arrival, [&] { op = s.acquire(s.target); });
    s.run_until(arrival);
    ASSERT_NE(op, 0u);
    const Outcome lease = s.wait(op);
    ASSERT_EQ(lease.status, 0);
    EXPECT_EQ(lease.value, 0u) << "a dead connection was handed out";
    conpool_connection_release(lease.connection, CONPOOL_BROKEN);
    s.run_for(ms(50));
  }
}

TEST(Death, AnActiveCheckFindsASilentDeath) {
  Death s(OptionList{{"check.send", "ping"},
                     {"check.expect", "ping"},
                     {"check.after", "100ms"},
                     {"check.timeout", "200ms"}});
  const Outcome first = s.lease(s.target);
  conpool_connection_release(first.connection, CONPOOL_REUSABLE);
  s.run_for(kSecond);
  s.network.host("192.0.2.1").vanished = true;
  const Time from = s.now();
  s.network.at(from + ms(100), [&] { s.network.host("192.0.2.1").vanished = false; });
  const Outcome lease = s.lease(s.target);
  EXPECT_EQ(lease.status, 0) << lease.line;
  EXPECT_EQ(s.exchange(lease.connection, "alive"), "alive");
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

// --- peers that misbehave: a clear error in time, never a hang

TEST(Death, AResetInTheMiddleEndsReadAndWrite) {
  origin::Script script;
  script.close_after_bytes = 100;
  script.ending = origin::Ending::Reset;
  Death s({}, script);
  const Outcome lease = s.lease(s.target);
  const conpool_op read = s.read(lease.connection);
  const conpool_op write = s.write(lease.connection, std::string(4'000'000, 'x'));
  const Outcome wrote = s.wait(write);
  EXPECT_EQ(wrote.status, CONPOOL_E_CONNECTION_RESET) << wrote.line;
  EXPECT_NE(wrote.line.find("writing to tcp:192.0.2.1:80"), std::string::npos) << wrote.line;
  Outcome got = s.wait(read);
  while (got.ok() && !got.eof())
    got = s.wait(s.read(lease.connection));
  EXPECT_EQ(got.status, CONPOOL_E_CONNECTION_RESET) << got.line;
  EXPECT_LE(s.now(), kSecond);
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

TEST(Death, AStallAfterTheAcceptEndsTheReadInTime) {
  Death s(OptionList{{"stall.timeout", "700ms"}});
  s.network.host("192.0.2.9").syn = io::SimSyn::Stall;
  const Outcome lease = s.lease(s.endpoint("tcp://192.0.2.9:80"));
  ASSERT_EQ(lease.status, 0);
  const Time from = s.now();
  const Outcome got = s.wait(s.read(lease.connection));
  EXPECT_EQ(got.status, CONPOOL_E_STALL_TIMEOUT) << got.line;
  EXPECT_EQ(got.time - from, ms(700));
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

TEST(Death, APeerThatStopsReadingEndsTheWriteInTime) {
  origin::Script script;
  script.read = false;
  Death s(OptionList{{"stall.timeout", "700ms"}, {"tcp.user_timeout", "0"}}, script);
  const Outcome lease = s.lease(s.target);
  const Time from = s.now();
  const Outcome wrote = s.wait(s.write(lease.connection, std::string(4'000'000, 'x')));
  EXPECT_EQ(wrote.status, CONPOOL_E_STALL_TIMEOUT) << wrote.line;
  EXPECT_GT(wrote.value, 0u);
  EXPECT_GE(wrote.time - from, ms(700));
  EXPECT_LE(wrote.time - from, ms(800));
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);  // it is not: it was cut short
  s.run_for(ms(1));
  EXPECT_EQ(s.network.live().client_streams, 0u);
}

TEST(Death, EarlyBytesBelongToTheFirstLease) {
  origin::Script script;
  script.greeting = "220 welcome\r\n";
  Death s({}, script);
  const Outcome lease = s.lease(s.target);
  ASSERT_EQ(lease.status, 0) << lease.line;
  EXPECT_EQ(s.wait(s.read(lease.connection)).data, "220 welcome\r\n");
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

TEST(Death, UnsolicitedBytesOnAnIdleConnectionEndIt) {
  origin::Script script;
  script.unsolicited = "surprise";
  script.unsolicited_after = ms(500);
  Death s({}, script);
  const Outcome first = s.lease(s.target);
  conpool_connection_release(first.connection, CONPOOL_REUSABLE);
  s.run_for(kSecond);
  EXPECT_EQ(s.network.live().client_streams, 0u);
  const Outcome lease = s.lease(s.target);
  EXPECT_EQ(lease.value, 0u);
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

TEST(Death, BytesThatTheLeaseDidNotReadKeepTheConnectionOutOfThePool) {
  Death s;
  const Outcome first = s.lease(s.target);
  EXPECT_EQ(s.wait(s.write(first.connection, "unread")).status, 0);
  s.run_for(ms(50));
  conpool_connection_release(first.connection, CONPOOL_REUSABLE);
  const Outcome lease = s.lease(s.target);
  EXPECT_EQ(lease.value, 0u);
  EXPECT_EQ(s.exchange(lease.connection, "mine"), "mine");
  conpool_connection_release(lease.connection, CONPOOL_REUSABLE);
}

TEST(Death, APeerThatVanishesDuringATransferIsNoticed) {
  Death s(OptionList{{"stall.timeout", "30s"}, {"tcp.user_timeout", "2s"}});
  const Outcome lease = s.lease(s.target);
  s.network.host("192.0.2.1").vanished = true;
  const conpool_op read = s.read(lease.connection);
  EXPECT_EQ(s.wait(s.write(lease.connection, "into the void")).status, 0);
  const Outcome got = s.wait(read);
  EXPECT_LT(got.status, 0);
  EXPECT_LE(got.time, 31 * kSecond);
  conpool_connection_release(lease.connection, CONPOOL_BROKEN);
}

}  // namespace
}  // namespace conpool::sim
