// Every allocation inside OpenSSL fails once: a clean failure each time, never a crash or a leak.
#include <openssl/crypto.h>

#include <cstdlib>

#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

long countdown = -1;  // allocations until the one that fails; negative = never
long seen = 0;
long live = 0;

bool fails() {
  ++seen;
  return countdown > 0 && --countdown == 0;
}
void* failing_malloc(size_t size, const char*, int) {
  if (fails()) return nullptr;
  void* memory = std::malloc(size);
  if (memory != nullptr) ++live;
  return memory;
}
void* failing_realloc(void* old, size_t size, const char* file, int line) {
  if (old == nullptr) return failing_malloc(size, file, line);
  return fails() ? nullptr : std::realloc(old, size);
}
void counting_free(void* memory, const char*, int) {
  if (memory != nullptr) --live;
  std::free(memory);
}

// Must run before OpenSSL's first allocation.
const int installed = CRYPTO_set_mem_functions(failing_malloc, failing_realloc, counting_free);

class Memory : public TlsWorld {
 public:
  // False when the stream could not even be made.
  bool run_once() {
    close();
    make_contexts();
    auto [a, b] = loop.pipe();
    c = Recorder();
    s = Recorder();
    server = *tls::ServerStream::make(loop, std::move(b), server_context);
    server->set_handler(&s);
    server->read(true);
    seen = 0;
    countdown = next;
    auto made = tls::ClientStream::make(
        loop, std::move(a),
        {.context = context, .name = "a.example", .ticket_key = "k", .sessions = sessions});
    if (!made) {
      countdown = -1;
      // Either way the next connection gets a context of its own.
      if (made.error().status != Status::E_NOMEM) {
        EXPECT_EQ(made.error().status, Status::E_TLS_HANDSHAKE);
      }
      EXPECT_TRUE(context->spoiled()) << made.error().detail;
      return false;
    }
    client = std::move(*made);
    client->set_handler(&c);
    client->read(true);
    loop.run();
    if (c.connected == 1 && !c.failure) {
      iovec part{const_cast<char*>("ping"), 4};
      (void)client->writev({&part, 1});
      loop.run();
      client->close();
    }
    countdown = -1;
    loop.run();
    return true;
  }
  long next = -1;
};

TEST_F(Memory, EveryAllocationFailsOnce) {
  ASSERT_EQ(installed, 1);
  ASSERT_TRUE(run_once());
  const long total = seen;
  ASSERT_GT(total, 100);
  int refused = 0;
  for (next = 1; next <= total; next += next < 60 ? 1 : 7) {
    SCOPED_TRACE(next);
    run_once();
    close();
    EXPECT_LE(c.connected, 1);
    if (c.failure || c.connected == 0) ++refused;
    if (context->spoiled()) context = nullptr;
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  EXPECT_GT(refused, 10);
  // All is well again afterwards.
  next = -1;
  context = nullptr;
  server_context = nullptr;
  sessions->clear();
  ASSERT_TRUE(run_once());
  EXPECT_EQ(c.connected, 1);
  // And nothing is kept: the same round twice leaves the same number of blocks.
  sessions->clear();
  close();
  ASSERT_TRUE(run_once());
  sessions->clear();
  close();
  const long before = live;
  ASSERT_TRUE(run_once());
  sessions->clear();
  close();
  EXPECT_EQ(live, before);
}

}  // namespace
}  // namespace conpool::test
