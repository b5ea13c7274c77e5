// The two libraries: the process's own, and seeded ones that repeat themselves.
#include <openssl/rand.h>

#include <ctime>

#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

// One scenario: a full handshake, data, a resumed handshake. All bytes of both directions.
class Scenario : public TlsWorld {
 public:
  explicit Scenario(uint64_t seed, int version) : TlsWorld(seed) {
    server_options.max_version = version;
    ticket_key = "k";
    std::string all;
    for (int round = 0; round < 2; ++round) {
      handshake();
      expect_open(round == 1);
      write_all(*client, "request");
      write_all(*server, "answer");
      loop.run();
      trace += loop.last().from[0].recorded + loop.last().from[1].recorded;
    }
  }
  void TestBody() override {}
  std::string trace;
};

TEST(Library, SeededHandshakesRepeatByteForByte) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const std::string first = Scenario(1, version).trace;
    EXPECT_GT(first.size(), 2000u);
    EXPECT_TRUE(Scenario(1, version).trace == first);
    EXPECT_FALSE(Scenario(2, version).trace == first);
  }
}

TEST(Library, SeededLibrariesAreIndependent) {
  const auto a = *tls::Library::seeded(5, kWall);
  const auto b = *tls::Library::seeded(5, kWall);
  unsigned char x[40], y[40], z[40];
  ASSERT_EQ(RAND_bytes_ex(a->context(), x, sizeof x, 0), 1);
  ASSERT_EQ(RAND_bytes_ex(b->context(), y, sizeof y, 0), 1);
  EXPECT_EQ(std::memcmp(x, y, sizeof x), 0);
  ASSERT_EQ(RAND_priv_bytes_ex(a->context(), z, sizeof z, 0), 1);
  EXPECT_NE(std::memcmp(x, z, sizeof x), 0);
  EXPECT_TRUE(a->is_seeded());
}

TEST(Library, ProcessIsOneAndNotSeeded) {
  const auto library = *tls::Library::process(true);
  EXPECT_EQ(*tls::Library::process(false), library);
  EXPECT_FALSE(library->is_seeded());
  EXPECT_EQ(library->unix_time(), 0);
  unsigned char x[16], y[16];
  ASSERT_EQ(RAND_bytes_ex(library->context(), x, sizeof x, 0), 1);
  ASSERT_EQ(RAND_bytes_ex(library->context(), y, sizeof y, 0), 1);
  EXPECT_NE(std::memcmp(x, y, sizeof x), 0);
  library->thread_stop();
  EXPECT_EQ(ERR_peek_error(), 0u);
}

// The process's library end to end, by the wall clock and with the system's trust store loaded.
TEST(Library, ProcessHandshake) {
  const auto library = *tls::Library::process(true);
  const int64_t now = std::time(nullptr);
  const auto authority = *tls::Authority::make(library, "A", now - kDay, now + kDay);
  const tls::Certificate leaf = *authority->issue({.common_name = "s",
                                                   .names = {"a.example"},
                                                   .not_before = now - kDay,
                                                   .not_after = now + kDay});
  Values values;
  for (const bool system : {false, true}) {
    values.tls_ca_pem = system ? "" : authority->certificate_pem();
    const auto context = *tls::make_context(library, values);
    const auto server_context = *tls::ServerContext::make(
        library, {.certificate_pem = leaf.certificate_pem, .key_pem = leaf.key_pem});
    FakeLoop loop;
    Recorder c, s;
    auto [a, b] = loop.pipe();
    auto client =
        *tls::ClientStream::make(loop, std::move(a), {.context = context, .name = "a.example"});
    client->set_handler(&c);
    auto server = *tls::ServerStream::make(loop, std::move(b), server_context);
    server->set_handler(&s);
    loop.run();
    EXPECT_EQ(c.connected, system ? 0 : 1) << failure_line(c.failure);
    if (system) {
      EXPECT_EQ(c.failure->status, Status::E_TLS_CERTIFICATE);
    }
    loop.discard(std::unique_ptr<io::Stream>(std::move(client)));
    loop.discard(std::unique_ptr<io::Stream>(std::move(server)));
    loop.run();
  }
  EXPECT_EQ(ERR_peek_error(), 0u);
}

// An error that the host program left in the queue must not be taken for ours.
TEST(Library, StaleErrorsOfTheProgramDoNotMatter) {
  class Dirty : public TlsWorld {
   public:
    Dirty() {
      ERR_raise(ERR_LIB_USER, 1);
      open();
      client->read(true);
      for (int i = 0; i < 100; ++i) {
        ERR_raise(ERR_LIB_USER, 1);
        loop.turn();
      }
      expect_open();
      ERR_raise(ERR_LIB_USER, 1);
      write_all(*client, "x");
      ERR_clear_error();
    }
    void TestBody() override {}
  } dirty;
}

}  // namespace
}  // namespace conpool::test
