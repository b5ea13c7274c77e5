// PostgreSQL's SSLRequest, alone and under a handshake.
#include "tls/postgres_hop.h"
#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

Result<tls::Hop::Step> answer(const std::string& bytes) {
  tls::PostgresHop hop;
  std::span<const uint8_t> data = as_bytes(bytes);
  return hop.on_data(data);
}

TEST(PostgresHop, Request) {
  tls::PostgresHop hop;
  EXPECT_EQ(as_text(hop.start()), std::string_view("\0\0\0\x08\x04\xd2\x16\x2f", 8));
}

TEST(PostgresHop, Answers) {
  EXPECT_EQ(*answer("S"), tls::Hop::Step::Done);
  EXPECT_EQ(*answer(""), tls::Hop::Step::NeedMore);
  for (const char* bad : {"N", "E", "Epassword", "H", "SX", "NX", "x"}) {
    SCOPED_TRACE(bad);
    const auto step = answer(bad);
    ASSERT_FALSE(step.has_value());
    EXPECT_EQ(step.error().status, Status::E_HOP_FAILED);
    EXPECT_EQ(step.error().detail.find("password"), std::string::npos);
  }
  EXPECT_NE(answer("N").error().detail.find("does not accept TLS"), std::string::npos);
  EXPECT_NE(answer("H").error().detail.find("72"), std::string::npos);
  EXPECT_NE(answer("SX").error().detail.find("1 bytes followed"), std::string::npos);
}

class HopStream : public TlsWorld {
 public:
  void connect() {
    make_contexts();
    auto [a, b] = loop.pipe();
    c = Recorder();
    client = *tls::ClientStream::make(
        loop, std::move(a),
        {.context = context, .name = "a.example", .hop = std::make_unique<tls::PostgresHop>()});
    client->set_handler(&c);
    peer = std::move(b);
    peer->set_handler(&plain);
    peer->read(true);
    loop.run();
    EXPECT_EQ(plain.data, std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8));
  }
  std::unique_ptr<io::Stream> peer;
  Recorder plain;
};

TEST_F(HopStream, GoesOnToTls) {
  connect();
  write_all(*peer, "S");
  plain.data.clear();
  server = *tls::ServerStream::make(loop, std::move(peer), server_context);
  server->set_handler(&s);
  server->read(true);
  client->read(true);
  loop.run();
  expect_open();
  write_all(*client, "startup");
  loop.run();
  EXPECT_EQ(s.data, "startup");
}

TEST_F(HopStream, Refusals) {
  struct Case {
    const char* bytes;
    const char* words;
  };
  for (const Case& one : {Case{"N", "does not accept TLS"}, Case{"E", "error"},
                          Case{"HTTP/1.1 400", "72"}, Case{"S\x16\x03\x03", "3 bytes followed"}}) {
    SCOPED_TRACE(one.words);
    plain = Recorder();
    connect();
    write_all(*peer, one.bytes);
    loop.run();
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.failure->status, Status::E_HOP_FAILED);
    EXPECT_NE(c.failure->detail.find(one.words), std::string::npos) << c.failure->detail;
    EXPECT_EQ(plain.data.size(), 8u);  // not a byte of TLS was sent
    close();
  }
}

TEST_F(HopStream, EofAndResetBeforeTheAnswer) {
  connect();
  (void)peer->shutdown_write();
  loop.run();
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_HOP_FAILED);
  close();
  plain = Recorder();
  connect();
  peer->close(true);
  loop.run();
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_HOP_FAILED);
  EXPECT_EQ(c.failure->os_error, ECONNRESET);
}

}  // namespace
}  // namespace conpool::test
