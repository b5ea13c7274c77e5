// Resumption: what may be resumed, what must not, and what is checked again.
#include "tls/session_cache.h"
#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

class TicketsOf : public TlsWorld, public ::testing::WithParamInterface<int> {
 public:
  TicketsOf() {
    server_options.max_version = GetParam();
    ticket_key = tls::ticket_key({.host = "a.example"});
  }
  bool v13() const { return GetParam() == TLS1_3_VERSION; }
  void connect(const std::string& name = "a.example") {
    handshake(name);
    if (client->closed() || c.failure) return;
    (void)client->shutdown_write();
    (void)server->shutdown_write();
    loop.run();
  }
};

TEST_P(TicketsOf, SecondHandshakeIsResumed) {
  connect();
  expect_open(false);
  EXPECT_EQ(sessions->keys(), 1u);
  EXPECT_EQ(sessions->tickets(), v13() ? 2u : 1u);
  connect();
  expect_open(true);
  EXPECT_TRUE(client->tls_facts().verified);
  EXPECT_EQ(client->tls_facts().peer_subject, "CN=server");
}

TEST_P(TicketsOf, ClosedWithoutAnyCourtesyStillResumes) {
  handshake();
  client->close(true);
  handshake();
  expect_open(true);
}

TEST_P(TicketsOf, EachTicketIsUsedOnce) {
  connect();
  const std::string& key = ticket_key;
  (void)key;
  const size_t before = sessions->tickets();
  open();
  EXPECT_EQ(sessions->tickets(), before - 1);
}

TEST_P(TicketsOf, ResumptionOff) {
  values.tls_resumption = 0;
  connect();
  connect();
  expect_open(false);
  EXPECT_EQ(sessions->tickets(), 0u);
}

TEST_P(TicketsOf, NoKeyNoResumption) {
  ticket_key = "";
  connect();
  connect();
  expect_open(false);
}

// Every field of the key, one after the other. A field added to TicketFields without a line here
// fails the size check.
TEST_P(TicketsOf, EveryFieldSeparates) {
  struct Shape {
    std::string kind, host;
    std::vector<uint16_t> ports;
    std::vector<SocketAddress> addresses;
    uint64_t settings_id;
    std::string partition, verify_name, sni;
    std::vector<std::string> alpn;
    std::string client_fingerprint, hop;
  };
  static_assert(sizeof(Shape) == sizeof(tls::TicketFields), "a new field needs a line below");
  const tls::TicketFields base{.kind = "http",
                               .host = "a.example",
                               .ports = {443, 8443},
                               .addresses = {SocketAddress::v4({192, 0, 2, 1}, 443)},
                               .settings_id = 7,
                               .partition = "p",
                               .verify_name = "a.example",
                               .sni = "a.example",
                               .alpn = {"h2", "http/1.1"},
                               .client_fingerprint = "f",
                               .hop = ""};
  using Flip = std::function<void(tls::TicketFields*)>;
  const Flip flips[] = {
      [](auto* f) { f->kind = "raw"; },
      [](auto* f) { f->host = "b.example"; },
      [](auto* f) { f->ports = {443}; },
      [](auto* f) {
        f->ports = {8443, 443};
      },
      [](auto* f) { f->addresses = {}; },
      [](auto* f) {
        f->addresses = {SocketAddress::v4({192, 0, 2, 2}, 443)};
      },
      [](auto* f) {
        f->addresses = {SocketAddress::v4({192, 0, 2, 1}, 444)};
      },
      [](auto* f) { f->settings_id = 8; },
      [](auto* f) { f->partition = "q"; },
      [](auto* f) { f->verify_name = "b.example"; },
      [](auto* f) { f->sni = ""; },
      [](auto* f) {
        f->alpn = {"http/1.1", "h2"};
      },
      [](auto* f) { f->alpn = {"h2"}; },
      [](auto* f) { f->client_fingerprint = "g"; },
      [](auto* f) { f->hop = "postgres"; },
      // The same bytes, cut differently.
      [](auto* f) {
        f->kind = "htt";
        f->host = "pa.example";
      },
      [](auto* f) { f->alpn = {"h2http/1.1"}; },
  };
  for (size_t i = 0; i < std::size(flips); ++i) {
    SCOPED_TRACE(i);
    tls::TicketFields other = base;
    flips[i](&other);
    ticket_key = tls::ticket_key(base);
    sessions->clear();
    connect();
    ticket_key = tls::ticket_key(other);
    connect();
    expect_open(false);
    ticket_key = tls::ticket_key(base);
    connect();
    expect_open(true);
  }
}

// What the stream adds by itself, under one and the same key of the caller.
TEST_P(TicketsOf, TrustIdentityNameAndAlpnSeparateWhateverTheCallerSays) {
  serve(issue({"a.example", "b.example"}));
  const std::function<void()> changes[] = {
      [&] { values.tls_min_version = 0; },  // any other context at all
      [&] { values.tls_alpn = "h2"; },
      [&] {
        const tls::Certificate mine = issue({"me"});
        values.tls_cert_pem = mine.certificate_pem;
        values.tls_key_pem = mine.key_pem;
      },
      [&] { values.tls_ca_pem += certificate.certificate_pem; },
  };
  for (const auto& change : changes) {
    connect();
    const std::shared_ptr<tls::Context> kept = context;
    change();
    context = nullptr;
    connect();
    expect_open(false);
    context = kept;
    connect();
    expect_open(true);
    context = nullptr;
    sessions->clear();
  }
  connect("a.example");
  connect("b.example");
  expect_open(false);
}

TEST_P(TicketsOf, InsecureSessionIsNeverResumedUnderVerification) {
  serve(*tls::self_signed(library, {.common_name = "self",
                                    .names = {"a.example"},
                                    .not_before = kWall - kDay,
                                    .not_after = kWall + kDay}));
  values.tls_insecure = 1;
  connect();
  connect();
  expect_open(true);
  values.tls_insecure = 0;
  context = nullptr;
  connect();
  expect_refused(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "self-signed");
}

// Puts a session where the keys would never let it be: the check after the handshake must catch it.
class SmuggledTicket : public TicketsOf {
 public:
  // Takes a session from `from`, then opens a connection to `to` that offers it.
  void smuggle(const std::string& to) {
    SSL_SESSION* session = SSL_get1_session(client->native());
    // With TLS 1.3 the session of the connection is that of its last ticket.
    SSL_set_shutdown(client->native(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    sessions->clear();
    const std::shared_ptr<tls::Context> verified = context;
    close();
    open_only(to, session);
    SSL_SESSION_free(session);
  }
  void open_only(const std::string& name, SSL_SESSION* session) {
    make_contexts();
    auto [a, b] = loop.pipe();
    c = Recorder();
    s = Recorder();
    // The first flight leaves with make(), so the session is slipped into the cache under its key.
    const bool literal = name.find_first_not_of("0123456789.") == std::string::npos;
    tls::TicketFields own;
    own.kind = ticket_key;
    own.settings_id = context->serial();
    own.verify_name = name;
    own.sni = literal ? "" : name;
    own.alpn = context->alpn();
    own.client_fingerprint = context->client_fingerprint();
    SSL_SESSION_up_ref(session);
    sessions->put(tls::ticket_key(own), tls::SessionPtr(session, {library}), loop.now());
    client = *tls::ClientStream::make(
        loop, std::move(a),
        {.context = context, .name = name, .ticket_key = ticket_key, .sessions = sessions});
    client->set_handler(&c);
    server = *tls::ServerStream::make(loop, std::move(b), server_context);
    server->set_handler(&s);
    server->read(true);
    client->read(true);
    loop.run();
  }
};

TEST_P(SmuggledTicket, GoodOneIsResumed) {
  handshake("a.example");
  smuggle("a.example");
  expect_open(true);
}

TEST_P(SmuggledTicket, OtherNameIsRefused) {
  handshake("a.example");
  smuggle("b.example");
  expect_refused(X509_V_ERR_HOSTNAME_MISMATCH, "resumed session");
  EXPECT_EQ(s.connected, v13() ? 0 : s.connected);
  EXPECT_EQ(sessions->tickets(), 0u);
}

TEST_P(SmuggledTicket, NameToAddressIsRefused) {
  handshake("a.example");
  smuggle("192.0.2.1");
  expect_refused(X509_V_ERR_IP_ADDRESS_MISMATCH, "resumed session");
}

TEST_P(SmuggledTicket, UnverifiedOneIsRefused) {
  serve(*tls::self_signed(library, {.common_name = "self",
                                    .names = {"a.example"},
                                    .not_before = kWall - kDay,
                                    .not_after = kWall + kDay}));
  values.tls_insecure = 1;
  handshake("a.example");
  expect_open();
  values.tls_insecure = 0;
  context = nullptr;
  smuggle("a.example");
  expect_refused(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "resumed session");
}

INSTANTIATE_TEST_SUITE_P(Versions, TicketsOf, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));
INSTANTIATE_TEST_SUITE_P(Versions, SmuggledTicket,
                         ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

// --- the cache by itself

class Cache : public TlsWorld {
 public:
  tls::SessionPtr session(long seconds = 300) {
    SSL_SESSION* made = SSL_SESSION_new();
    SSL_SESSION_set_protocol_version(made, TLS1_2_VERSION);
    SSL_SESSION_set_timeout(made, seconds);
    return tls::SessionPtr(made, {library});
  }
};

TEST_F(Cache, KeepsTwoPerKeyNewestFirst) {
  tls::SessionCache cache;
  tls::SessionPtr first = session(), second = session(), third = session();
  SSL_SESSION *b = second.get(), *c3 = third.get();
  cache.put("k", std::move(first), 0);
  cache.put("k", std::move(second), 0);
  cache.put("k", std::move(third), 0);
  EXPECT_EQ(cache.tickets(), 2u);
  EXPECT_EQ(cache.take("k", 0).get(), c3);
  EXPECT_EQ(cache.take("k", 0).get(), b);
  EXPECT_EQ(cache.take("k", 0), nullptr);
  EXPECT_EQ(cache.keys(), 0u);
}

TEST_F(Cache, HonoursTheLifetimeToTheNanosecond) {
  tls::SessionCache cache;
  cache.put("k", session(300), 1000);
  EXPECT_EQ(cache.take("k", 1000 + 300 * kSecond), nullptr);
  cache.put("k", session(300), 1000);
  EXPECT_NE(cache.take("k", 1000 + 300 * kSecond - 1), nullptr);
  cache.put("k", session(0), 0);
  EXPECT_EQ(cache.keys(), 0u);
  cache.put("k", session(100L * 86400), 0);  // no server may say more than a week
  EXPECT_EQ(cache.take("k", tls::SessionCache::kMaxLifetime), nullptr);
}

TEST_F(Cache, DropsTheKeyUnusedForLongest) {
  tls::SessionCache cache(3);
  for (const char* key : {"a", "b", "c"}) {
    cache.put(key, session(), 0);
    cache.put(key, session(), 0);
  }
  EXPECT_NE(cache.take("a", 0), nullptr);  // now b is the oldest
  cache.put("d", session(), 0);
  EXPECT_EQ(cache.keys(), 3u);
  EXPECT_EQ(cache.take("b", 0), nullptr);
  EXPECT_NE(cache.take("a", 0), nullptr);
  cache.drop("c");
  cache.drop("none");
  EXPECT_EQ(cache.take("c", 0), nullptr);
  EXPECT_EQ(cache.tickets(), 1u);
}

}  // namespace
}  // namespace conpool::test
