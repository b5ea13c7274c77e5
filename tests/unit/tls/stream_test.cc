// The stream's contract: bytes, back-pressure, ends, hostile input, handlers that close.
#include <csignal>

#include "base/rng.h"
#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

std::string pattern(size_t size) {
  Rng rng(7);
  std::string text(size, '\0');
  for (char& c : text)
    c = static_cast<char>(rng.next());
  return text;
}

class StreamOf : public TlsWorld, public ::testing::WithParamInterface<int> {
 public:
  StreamOf() { server_options.max_version = GetParam(); }
};

// Writes all of `text` as the stream takes it.
struct Writer {
  Writer(io::Stream& to, Recorder& events, std::string bytes) : stream(to), text(std::move(bytes)) {
    events.when_writable = [this] { go(); };
  }
  void go() {
    if (sent < text.size()) {
      iovec part{text.data() + sent, text.size() - sent};
      const Result<size_t> taken = stream.writev({&part, 1});
      ASSERT_TRUE(taken.has_value());
      sent += *taken;
    }
  }
  io::Stream& stream;
  std::string text;
  size_t sent = 0;
};

TEST_P(StreamOf, BytesBothWays) {
  handshake();
  expect_open();
  EXPECT_EQ(write_all(*client, "ping"), 4u);
  EXPECT_EQ(*client->flush(), true);
  loop.run();
  EXPECT_EQ(s.data, "ping");
  EXPECT_EQ(write_all(*server, "pong"), 4u);
  loop.run();  // without a flush it goes out at the turn's end
  EXPECT_EQ(c.data, "pong");
}

TEST_P(StreamOf, PartsAreGatheredIntoRecords) {
  handshake();
  const size_t before = loop.last().from[0].recorded.size();
  std::vector<std::string> texts(100, "0123456789");
  std::vector<iovec> parts;
  for (std::string& text : texts)
    parts.push_back({text.data(), text.size()});
  parts.insert(parts.begin() + 3, iovec{nullptr, 0});
  EXPECT_EQ(*client->writev(parts), 1000u);
  EXPECT_EQ(*client->writev({}), 0u);
  loop.run();
  EXPECT_EQ(s.data.size(), 1000u);
  EXPECT_EQ(s.deliveries, 1);
  EXPECT_LT(loop.last().from[0].recorded.size() - before, 1100u);  // one record
}

TEST_P(StreamOf, ByteByByte) {
  open();
  loop.last().from[0].segment = 1;
  loop.last().from[1].segment = 1;
  client->read(true);
  loop.run();
  expect_open();
  write_all(*client, pattern(3000));
  write_all(*server, pattern(2000));
  loop.run();
  EXPECT_EQ(s.data, pattern(3000));
  EXPECT_EQ(c.data, pattern(2000));
}

TEST_P(StreamOf, WritesWhileHalfATicketIsHere) {
  open();
  client->read(true);
  loop.last().from[1].segment = 1;
  // At every byte of the server's output, tickets included, the client writes a byte.
  size_t written = 0;
  for (int i = 0; i < 20000 && loop.turn(); ++i) {
    if (c.connected == 1 && written < 2000) written += write_all(*client, "x");
  }
  loop.run();
  expect_open();
  EXPECT_GT(written, 100u);
  EXPECT_EQ(s.data.size(), written);
}

TEST_P(StreamOf, WriteIsFinishedByTheRestOfATicketEvenWithReadingOff) {
  if (GetParam() != TLS1_3_VERSION) return;
  // Tickets that carry a client certificate, in records that are too short for them.
  const tls::Certificate mine = *authority->issue(
      {.common_name = "me", .not_before = kWall - kDay, .not_after = kWall + kDay, .client = true});
  values.tls_cert_pem = mine.certificate_pem;
  values.tls_key_pem = mine.key_pem;
  server_options.client_ca_pem = authority->certificate_pem();
  make_contexts();
  SSL_CTX_set_max_send_fragment(server_context->native(), 512);
  open();
  loop.last().from[1].segment = 1;
  client->read(true);
  while (c.connected == 0)
    ASSERT_TRUE(loop.turn());
  // In the middle of the tickets.
  bool held = false;
  for (int i = 0; i < 5000 && !held && loop.turn(); ++i)
    held = write_all(*client, "x") == 0;
  ASSERT_TRUE(held);
  client->read(false);
  c.data.clear();
  EXPECT_TRUE(client->shutdown_write().has_value());
  loop.run();
  EXPECT_EQ(s.ends, 1);
  EXPECT_EQ(c.writables, 1);
}

TEST_P(StreamOf, LargeTransfersUnderBackPressure) {
  handshake();
  loop.last().from[0].capacity = 5000;
  loop.last().from[0].segment = 1777;
  loop.last().from[1].capacity = 70000;
  loop.last().from[1].segment = 1448;
  Writer up(*client, c, pattern(3 << 20));
  Writer down(*server, s, pattern(1 << 20));
  up.go();
  down.go();
  EXPECT_LT(up.sent, size_t{64 * 1024 + 5000});  // bounded: held plus what the pipe took
  loop.run();
  EXPECT_EQ(up.sent, up.text.size());
  EXPECT_TRUE(s.data == up.text);
  EXPECT_TRUE(c.data == down.text);
}

TEST_P(StreamOf, ReadingOffHoldsThePeerBack) {
  handshake();
  client->read(false);
  Writer down(*server, s, pattern(1 << 20));
  down.go();
  loop.run();
  EXPECT_EQ(c.data, "");
  EXPECT_LT(down.sent, size_t{300 * 1024});
  EXPECT_EQ(client->peek(), io::Peek::Data);
  // One delivery, then off again from inside it.
  c.when_data = [this] { client->read(false); };
  const int before = c.deliveries;
  client->read(true);
  EXPECT_EQ(c.deliveries, before);  // nothing calls back from inside a call
  loop.run();
  EXPECT_EQ(c.deliveries, before + 1);
  c.when_data = nullptr;
  client->read(true);
  loop.run();
  EXPECT_TRUE(c.data == down.text);
}

TEST_P(StreamOf, KeptSlicesStayIntact) {
  handshake();
  class Keeper final : public io::StreamHandler {
   public:
    void on_connected() override {}
    void on_data(Slice data) override { slices.push_back(std::move(data)); }
    void on_eof() override {}
    void on_writable() override {}
    void on_failed(const Failure&) override {}
    std::vector<Slice> slices;
  } keeper;
  client->set_handler(&keeper);
  Writer down(*server, s, pattern(1 << 20));
  down.go();
  loop.run();
  std::string all;
  for (const Slice& slice : keeper.slices)
    all += as_text(slice.span());
  EXPECT_TRUE(all == down.text);
  client->set_handler(&c);
}

TEST_P(StreamOf, CloseNotifyBothWays) {
  handshake();
  write_all(*client, "last");
  EXPECT_TRUE(client->shutdown_write().has_value());
  EXPECT_TRUE(client->shutdown_write().has_value());
  iovec part{const_cast<char*>("x"), 1};
  EXPECT_EQ(client->writev({&part, 1}).error().status, Status::E_WRONG_STATE);
  loop.run();
  EXPECT_EQ(s.data, "last");
  EXPECT_EQ(s.ends, 1);
  EXPECT_FALSE(s.failure.has_value());
  // The other direction goes on.
  write_all(*server, "answer");
  loop.run();
  EXPECT_EQ(c.data, "answer");
  EXPECT_EQ(c.ends, 0);
  EXPECT_TRUE(server->shutdown_write().has_value());
  loop.run();
  EXPECT_EQ(c.ends, 1);
  EXPECT_FALSE(c.failure.has_value());
  EXPECT_EQ(client->peek(), io::Peek::Eof);
}

TEST_P(StreamOf, ShutdownWaitsForWhatWasAccepted) {
  handshake();
  loop.last().from[0].capacity = 1000;
  const size_t taken = write_all(*client, pattern(50000));
  EXPECT_EQ(taken, 50000u);
  EXPECT_EQ(*client->flush(), false);
  EXPECT_TRUE(client->shutdown_write().has_value());
  EXPECT_FALSE(loop.last().from[0].ended);
  loop.run();
  EXPECT_EQ(s.data.size(), 50000u);
  EXPECT_EQ(s.ends, 1);
  EXPECT_EQ(c.writables, 1);  // owed by flush
}

TEST_P(StreamOf, CloseSendsCloseNotifyAbortDoesNot) {
  handshake();
  client->close();
  EXPECT_TRUE(client->closed());
  client->close();
  loop.run();
  EXPECT_EQ(s.ends, 1);
  EXPECT_FALSE(s.failure.has_value());

  handshake();
  client->close(true);
  loop.run();
  EXPECT_EQ(s.ends, 0);
  ASSERT_TRUE(s.failure.has_value());
  EXPECT_EQ(s.failure->status, Status::E_CONNECTION_RESET);
}

TEST_P(StreamOf, EofWithoutCloseNotifyIsTruncation) {
  handshake();
  write_all(*server, "half");
  ASSERT_TRUE(server->flush().has_value());
  server->lower().close();
  loop.run();
  EXPECT_EQ(c.data, "half");
  EXPECT_EQ(c.ends, 0);
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_TRUNCATED);
  EXPECT_EQ(client->peek(), io::Peek::Failed);
}

TEST_P(StreamOf, EofInsideARecordIsTruncation) {
  handshake();
  const size_t before = loop.last().from[1].recorded.size();
  write_all(*server, pattern(1000));
  ASSERT_TRUE(server->flush().has_value());
  std::string& bytes = loop.last().from[1].bytes;
  bytes.resize(bytes.size() - (loop.last().from[1].recorded.size() - before) / 2);
  server->lower().close();
  loop.run();
  EXPECT_EQ(c.data, "");
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_TRUNCATED);
}

TEST_P(StreamOf, HandshakeCutAtEveryLength) {
  handshake();
  const std::string flight = loop.last().from[1].recorded;
  const size_t whole = flight.size();
  close();
  for (size_t cut = 0; cut < whole; cut += cut < 200 ? 1 : 37) {
    SCOPED_TRACE(cut);
    open();
    client->read(true);
    bool ended = false;
    for (int i = 0; i < 1000; ++i) {
      PipeDirection& from = loop.last().from[1];
      if (!ended && from.recorded.size() >= cut) {
        const size_t delivered = from.recorded.size() - from.bytes.size();
        from.bytes.resize(cut > delivered ? cut - delivered : 0);
        server->lower().close();
        ended = true;
      }
      if (!loop.turn()) break;
    }
    ASSERT_TRUE(c.failure.has_value());
    if (c.connected == 0) {
      EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
      EXPECT_NE(c.failure->detail.find("closed the connection during the handshake"),
                std::string::npos);
    } else {
      EXPECT_EQ(c.failure->status, Status::E_TLS_TRUNCATED);
    }
  }
}

TEST_P(StreamOf, ChangedBytesAreRefused) {
  handshake();
  write_all(*server, pattern(100));
  ASSERT_TRUE(server->flush().has_value());
  loop.last().from[1].bytes.back() ^= 1;
  loop.run();
  EXPECT_EQ(c.data, "");
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_PROTOCOL);
  ASSERT_TRUE(s.failure.has_value());  // it got the alert
  EXPECT_EQ(s.failure->detail, "the peer sent alert 20 (bad record mac)");
}

TEST_P(StreamOf, DataBeforeABadRecordIsDelivered) {
  handshake();
  write_all(*server, "good");
  ASSERT_TRUE(server->flush().has_value());
  loop.last().from[1].bytes += "rubbish that is no record";
  loop.run();
  EXPECT_EQ(c.data, "good");
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_PROTOCOL);
}

TEST_P(StreamOf, ResetDuringTheHandshakeAndAfter) {
  open();
  client->read(true);
  loop.last().reset = true;
  loop.run();
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
  EXPECT_EQ(c.failure->os_error, ECONNRESET);
  handshake();
  loop.last().reset = true;
  iovec part{const_cast<char*>("x"), 1};
  EXPECT_TRUE(client->writev({&part, 1}).has_value());
  EXPECT_EQ(client->flush().error().status, Status::E_CONNECTION_RESET);
  loop.run();
  EXPECT_FALSE(c.failure.has_value());  // it was returned, so it is not reported too
  EXPECT_EQ(client->writev({&part, 1}).error().status, Status::E_CLOSED);
}

TEST_P(StreamOf, HandlersMayCloseAnywhere) {
  for (int where = 0; where < 5; ++where) {
    for (const bool abort : {false, true}) {
      SCOPED_TRACE(where);
      open();
      client->read(true);
      const auto shut = [this, abort] { client->close(abort); };
      if (where == 0) c.when_connected = shut;
      if (where == 1) c.when_data = shut;
      if (where == 2) c.when_end = shut;
      if (where == 3) c.when_writable = shut;
      if (where == 4) c.when_failed = shut;
      loop.last().from[0].capacity = 4000;
      for (int i = 0; i < 50 && c.connected == 0; ++i)
        loop.turn();
      if (!client->closed()) {
        write_all(*client, pattern(100000));
        if (s.connected == 1) write_all(*server, "data");
        if (where == 2 && s.connected == 1) (void)server->shutdown_write();
        if (where == 4) loop.last().reset = true;
      }
      loop.run();
      EXPECT_TRUE(client->closed());
      EXPECT_LE(c.deliveries, 1);
    }
  }
}

TEST_P(StreamOf, HandlersMayDiscardAnywhere) {
  for (int where = 0; where < 3; ++where) {
    open();
    client->read(true);
    const auto drop = [this] { loop.discard(std::unique_ptr<io::Stream>(std::move(client))); };
    if (where == 0) c.when_connected = drop;
    if (where == 1) c.when_data = drop;
    if (where == 2) c.when_end = drop;
    for (int i = 0; i < 50 && s.connected == 0; ++i)
      loop.turn();
    write_all(*server, "data");
    (void)server->shutdown_write();
    loop.run();
    EXPECT_EQ(client, nullptr);
  }
}

TEST_P(StreamOf, DestroyedBeforeItsDeferredCalls) {
  handshake();
  client->read(false);
  write_all(*server, "data");
  ASSERT_TRUE(server->flush().has_value());
  write_all(*client, "data");
  client->read(true);
  client.reset();
  loop.run();
}

TEST_P(StreamOf, PeekTakesTicketsForQuiet) {
  open();
  c.when_connected = [this] { client->read(true); };
  loop.run();
  expect_open();
  EXPECT_EQ(client->peek(), io::Peek::Quiet);
  write_all(*server, "early");
  ASSERT_TRUE(server->flush().has_value());
  EXPECT_EQ(client->peek(), io::Peek::Data);
  client->read(false);
  loop.run();
  EXPECT_EQ(client->peek(), io::Peek::Data);
  client->read(true);
  loop.run();
  EXPECT_EQ(c.data, "early");  // peeking lost nothing
  EXPECT_EQ(client->peek(), io::Peek::Quiet);
}

TEST_P(StreamOf, PeekSeesThroughWhatIsNotDecryptedYet) {
  handshake();
  // Reading goes off inside a delivery while more ciphertext of the same slice waits.
  c.when_data = [this] { client->read(false); };
  Writer down(*server, s, pattern(60000));
  down.go();
  (void)server->shutdown_write();
  loop.last().from[1].segment = 1 << 20;
  loop.run();
  c.when_data = nullptr;
  EXPECT_NE(client->peek(), io::Peek::Quiet);
  client->read(true);
  loop.run();
  EXPECT_TRUE(c.data == down.text);
  EXPECT_EQ(c.ends, 1);
}

TEST_P(StreamOf, IdleGivesBuffersBackAndBytesStillFlow) {
  handshake();
  for (int i = 0; i < 3; ++i) {
    client->idle(true);
    write_all(*client, "ping");
    write_all(*server, "pong");
    loop.run();
    client->idle(false);
  }
  EXPECT_EQ(s.data, "pingpingping");
  EXPECT_EQ(c.data, "pongpongpong");
}

TEST_P(StreamOf, LendIsUnsupported) {
  handshake();
  EXPECT_EQ(client->lend(true).error().status, Status::E_UNSUPPORTED);
  EXPECT_EQ(client->reclaim(), io::Peek::Failed);
}

TEST_P(StreamOf, WritingBeforeTheHandshakeIsRefused) {
  open();
  iovec part{const_cast<char*>("x"), 1};
  EXPECT_EQ(client->writev({&part, 1}).error().status, Status::E_WRONG_STATE);
  EXPECT_EQ(client->shutdown_write().error().status, Status::E_WRONG_STATE);
}

INSTANTIATE_TEST_SUITE_P(Versions, StreamOf, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) {
                           return version.param == TLS1_3_VERSION ? "V1_3" : "V1_2";
                         });

// --- peers that are not what they should be

class Hostile : public TlsWorld {
 public:
  // A client against bytes.
  std::unique_ptr<io::Stream> against(const std::string& bytes) {
    close();
    make_contexts();
    auto [a, b] = loop.pipe();
    c = Recorder();
    client =
        *tls::ClientStream::make(loop, std::move(a), {.context = context, .name = "a.example"});
    client->set_handler(&c);
    write_all(*b, bytes);
    loop.run();
    return std::move(b);
  }
};

TEST_F(Hostile, PlainHttpIsRecognised) {
  against("HTTP/1.1 400 Bad Request\r\n\r\n");
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
  EXPECT_EQ(c.failure->detail, "the peer does not speak TLS: it speaks plain HTTP");
}

TEST_F(Hostile, OtherTextIsShown) {
  against("220 mail.example ESMTP\r\n");
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->detail, "the peer does not speak TLS: it sent \"220 mail.example\"");
  auto peer = against("+OK");  // shorter than a record's header
  (void)peer->shutdown_write();
  loop.run();
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->detail, "the peer does not speak TLS: it sent \"+OK\"");
}

TEST_F(Hostile, AlertIsNamed) {
  against(std::string("\x15\x03\x03\x00\x02\x02\x28", 7));
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
  EXPECT_EQ(c.failure->detail, "the peer sent alert 40 (handshake failure)");
}

TEST_F(Hostile, RandomBytesNeverHangOrCrash) {
  Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    std::string bytes(static_cast<size_t>(rng.between(1, 400)), '\0');
    for (char& b : bytes)
      b = static_cast<char>(rng.next());
    if (round % 2 == 0)
      bytes.replace(0, std::min<size_t>(5, bytes.size()), "\x16\x03\x03\x00\x40",
                    std::min<size_t>(5, bytes.size()));
    auto peer = against(bytes);
    (void)peer->shutdown_write();
    loop.run();
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.connected, 0);
  }
}

TEST_F(Hostile, MutatedServerFlightsNeverPass) {
  handshake();
  const std::string flight = loop.last().from[1].recorded;
  close();
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    std::string bytes = flight;
    const size_t at = static_cast<size_t>(rng.up_to(bytes.size() - 1));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.up_to(7)));
    auto peer = against(bytes);
    (void)peer->shutdown_write();
    loop.run();
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.connected, 0);
  }
}

TEST_F(Hostile, EndlessHandshakeIsCutOff) {
  close();
  make_contexts();
  auto [a, b] = loop.pipe();
  c = Recorder();
  client = *tls::ClientStream::make(loop, std::move(a), {.context = context, .name = "a.example"});
  client->set_handler(&c);
  // Warning alerts in TLS 1.2's form, one after the other.
  for (int i = 0; i < 200000 && !c.failure; ++i) {
    write_all(*b, std::string("\x15\x03\x03\x00\x02\x01\x5a", 7));
    loop.turn();
  }
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
}

TEST_F(Hostile, RenegotiationIsRefused) {
  server_options.max_version = TLS1_2_VERSION;
  make_contexts();
  SSL_CTX_clear_options(server_context->native(), SSL_OP_NO_RENEGOTIATION);
  handshake();
  expect_open();
  ASSERT_EQ(SSL_renegotiate(server->native()), 1);
  SSL_do_handshake(server->native());
  ERR_clear_error();
  ASSERT_TRUE(server->flush().has_value());
  loop.run();
  ASSERT_TRUE(s.failure.has_value());
  EXPECT_NE(s.failure->detail.find("no renegotiation"), std::string::npos)
      << failure_line(s.failure);
  EXPECT_EQ(SSL_get_finished(client->native(), nullptr, 0) > 0, true);
}

TEST_F(Hostile, KeyUpdateFloodIsBounded) {
  handshake();
  // The server asks for key updates and never reads our answers.
  server->read(false);
  loop.last().from[0].capacity = 0;
  for (int i = 0; i < 20000 && !c.failure; ++i) {
    SSL_key_update(server->native(), SSL_KEY_UPDATE_REQUESTED);
    write_all(*server, "x");
    loop.turn();
  }
  loop.run();
  EXPECT_TRUE(c.failure.has_value());
}

}  // namespace
}  // namespace conpool::test
