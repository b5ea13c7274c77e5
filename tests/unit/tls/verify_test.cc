// Who is accepted and who is refused: certificates, names, versions, ALPN, client certificates.
#include "unit/tls/tls_world.h"

namespace conpool::test {
namespace {

class Verify : public TlsWorld {};

TEST_F(Verify, GoodCertificateIsAccepted) {
  handshake();
  expect_open();
  const tls::TlsFacts& facts = client->tls_facts();
  EXPECT_EQ(facts.version, "TLSv1.3");
  EXPECT_EQ(facts.cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(facts.alpn, "");
  EXPECT_EQ(facts.server_name, "a.example");
  EXPECT_TRUE(facts.verified);
  EXPECT_EQ(facts.peer_subject, "CN=server");
  EXPECT_EQ(facts.peer_issuer, "CN=Test Authority");
  EXPECT_EQ(facts.peer_not_after, "2026-05-29T20:26:40Z");
  EXPECT_EQ(client->facts().rtt, 0);
}

TEST_F(Verify, NamesIgnoreCaseAndTheTrailingDot) {
  handshake("A.Example.");
  expect_open();
  EXPECT_EQ(client->tls_facts().server_name, "a.example");
}

TEST_F(Verify, ExpiredIsRefusedWithTheFacts) {
  serve(*authority->issue({.common_name = "old",
                           .names = {"a.example"},
                           .not_before = kWall - 3 * kDay,
                           .not_after = kWall - kDay}));
  handshake();
  expect_refused(X509_V_ERR_CERT_HAS_EXPIRED, "certificate has expired (depth 0)");
  for (const char* fact : {"subject CN=old", "issuer CN=Test Authority", "names a.example",
                           "valid 2026-05-25T20:26:40Z to 2026-05-27T20:26:40Z"}) {
    EXPECT_NE(c.failure->detail.find(fact), std::string::npos) << c.failure->detail;
  }
  ASSERT_TRUE(s.failure.has_value());
  EXPECT_EQ(s.failure->detail, "the peer sent alert 45 (certificate expired)");
}

TEST_F(Verify, NotYetValidIsRefused) {
  serve(*authority->issue({.common_name = "new",
                           .names = {"a.example"},
                           .not_before = kWall + kDay,
                           .not_after = kWall + 2 * kDay}));
  handshake();
  expect_refused(X509_V_ERR_CERT_NOT_YET_VALID, "certificate is not yet valid");
}

TEST_F(Verify, SelfSignedIsRefused) {
  serve(*tls::self_signed(library, {.common_name = "self",
                                    .names = {"a.example"},
                                    .not_before = kWall - kDay,
                                    .not_after = kWall + kDay}));
  handshake();
  expect_refused(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "self-signed certificate");
}

TEST_F(Verify, UnknownAuthorityIsRefused) {
  auto other = *tls::Authority::make(library, "Other Authority", kWall - kDay, kWall + kDay);
  serve(*other->issue({.common_name = "server",
                       .names = {"a.example"},
                       .not_before = kWall - kDay,
                       .not_after = kWall + kDay}));
  handshake();
  expect_refused(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
                 "unable to get local issuer certificate");
}

TEST_F(Verify, ExpiredAuthorityIsRefusedAtItsDepth) {
  auto old = *tls::Authority::make(library, "Old Authority", kWall - 9 * kDay, kWall - kDay);
  values.tls_ca_pem = old->certificate_pem();
  serve(*old->issue({.common_name = "server",
                     .names = {"a.example"},
                     .not_before = kWall - kDay,
                     .not_after = kWall + kDay}));
  handshake();
  expect_refused(X509_V_ERR_CERT_HAS_EXPIRED, "(depth 1): subject CN=Old Authority");
}

TEST_F(Verify, CertificateForAnotherPurposeIsRefused) {
  serve(*authority->issue({.common_name = "client",
                           .names = {"a.example"},
                           .not_before = kWall - kDay,
                           .not_after = kWall + kDay,
                           .client = true}));
  handshake();
  expect_refused(X509_V_ERR_INVALID_PURPOSE, "purpose");
}

TEST_F(Verify, LeafThatIsNoAuthorityCannotSign) {
  // The server's own certificate is trusted by nobody as an authority.
  values.tls_ca_pem = certificate.certificate_pem;
  handshake();
  EXPECT_EQ(c.connected, 0);
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_CERTIFICATE);
}

TEST_F(Verify, WrongHostIsRefused) {
  handshake("b.example");
  expect_refused(X509_V_ERR_HOSTNAME_MISMATCH, "hostname mismatch for b.example");
  EXPECT_NE(c.failure->detail.find("names a.example"), std::string::npos);
}

TEST_F(Verify, CommonNameCountsForNothing) {
  serve(*authority->issue(
      {.common_name = "a.example", .not_before = kWall - kDay, .not_after = kWall + kDay}));
  handshake();
  expect_refused(X509_V_ERR_HOSTNAME_MISMATCH, "names none");
}

TEST_F(Verify, Wildcards) {
  struct Case {
    const char* pattern;
    const char* name;
    bool good;
  };
  const Case cases[] = {
      {"*.a.example", "x.a.example", true},
      {"*.a.example", "X.A.EXAMPLE", true},
      {"*.a.example", "a.example", false},
      {"*.a.example", "x.y.a.example", false},
      {"x*.a.example", "xy.a.example", false},
      {"*y.a.example", "xy.a.example", false},
      {"x*y.a.example", "xzy.a.example", false},
      {"x.*.example", "x.a.example", false},
      {"*", "localhost", false},
      {"*.example", "a.example", false},
      {"*.0.0.1", "127.0.0.1", false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(std::string(one.pattern) + " for " + one.name);
    serve(issue({one.pattern}));
    handshake(one.name);
    if (one.good) {
      expect_open();
    } else {
      EXPECT_EQ(c.connected, 0);
      ASSERT_TRUE(c.failure.has_value());
      EXPECT_EQ(c.failure->status, Status::E_TLS_CERTIFICATE);
    }
  }
}

TEST_F(Verify, IpLiteralsNeedAnIpNameAndSendNoSni) {
  serve(issue({}, {"192.0.2.1", "2001:db8::1"}));
  for (const char* name : {"192.0.2.1", "2001:db8::1", "[2001:db8::1]", "2001:DB8:0::1"}) {
    SCOPED_TRACE(name);
    handshake(name);
    expect_open();
    EXPECT_EQ(client->tls_facts().server_name, "");
  }
  handshake("192.0.2.2");
  expect_refused(X509_V_ERR_IP_ADDRESS_MISMATCH, "192.0.2.2");
  serve(issue({"192.0.2.1"}));  // the address as a DNS name
  handshake("192.0.2.1");
  expect_refused(X509_V_ERR_IP_ADDRESS_MISMATCH, "IP address mismatch");
}

TEST_F(Verify, NulInACertificatesNameDeceivesNobody) {
  serve(issue({std::string("a.example\0.evil.example", 23)}));
  handshake();
  expect_refused(X509_V_ERR_HOSTNAME_MISMATCH, "a.example\\x00.evil.example");
}

TEST_F(Verify, TooLongNameIsRefused) {
  make_contexts();
  auto [a, b] = loop.pipe();
  const auto made = tls::ClientStream::make(loop, std::move(a),
                                            {.context = context, .name = std::string(254, 'x')});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().status, Status::E_TLS_CONFIG);
}

TEST_F(Verify, NulInTheAskedNameIsRefused) {
  make_contexts();
  auto [a, b] = loop.pipe();
  const auto made = tls::ClientStream::make(
      loop, std::move(a), {.context = context, .name = std::string("a.example\0x", 11)});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().status, Status::E_TLS_CONFIG);
}

TEST_F(Verify, NoNameIsRefusedUnlessInsecure) {
  make_contexts();
  auto [a, b] = loop.pipe();
  const auto made = tls::ClientStream::make(loop, std::move(a), {.context = context, .name = ""});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().status, Status::E_TLS_CONFIG);
  EXPECT_NE(made.error().detail.find("tls.server_name"), std::string::npos);
}

TEST_F(Verify, InsecureAcceptsAnything) {
  serve(*tls::self_signed(library, {.common_name = "self",
                                    .names = {"x"},
                                    .not_before = kWall - 3 * kDay,
                                    .not_after = kWall - kDay}));
  values.tls_insecure = 1;
  handshake();
  expect_open();
  EXPECT_FALSE(client->tls_facts().verified);
}

TEST_F(Verify, Versions) {
  server_options.max_version = TLS1_2_VERSION;
  handshake();
  expect_open();
  EXPECT_EQ(client->tls_facts().version, "TLSv1.2");
  values.tls_min_version = static_cast<int64_t>(TlsMinVersion::V1_3);
  context = nullptr;
  handshake();
  EXPECT_EQ(c.connected, 0);
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
  EXPECT_EQ(c.failure->detail, "the peer sent alert 70 (protocol version)");
}

TEST_F(Verify, OldVersionsAreRefused) {
  server_options.min_version = TLS1_VERSION;
  server_options.max_version = TLS1_1_VERSION;
  make_contexts();
  SSL_CTX_set_security_level(server_context->native(), 0);
  handshake();
  EXPECT_EQ(c.connected, 0);
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
}

TEST_F(Verify, Alpn) {
  values.tls_alpn = "h2,http/1.1";
  handshake();
  expect_open();
  EXPECT_EQ(client->tls_facts().alpn, "");  // the server knows nothing of ALPN

  server_options.alpn = {"http/1.1", "h2"};
  server_context = nullptr;
  handshake();
  expect_open();
  EXPECT_EQ(client->tls_facts().alpn, "http/1.1");  // the server's preference
  EXPECT_EQ(server->tls_facts().alpn, "http/1.1");

  server_options.alpn = {"imap"};
  server_context = nullptr;
  handshake();
  expect_open();
  EXPECT_EQ(client->tls_facts().alpn, "");

  server_options.alpn_required = true;
  server_context = nullptr;
  handshake();
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_EQ(c.failure->status, Status::E_TLS_ALPN);
  EXPECT_EQ(c.failure->detail, "the peer sent alert 120 (no application protocol)");
}

int choose_unoffered(SSL*, const unsigned char** out, unsigned char* size, const unsigned char*,
                     unsigned int, void*) {
  *out = reinterpret_cast<const unsigned char*>("spdy");
  *size = 4;
  return SSL_TLSEXT_ERR_OK;
}

TEST_F(Verify, ProtocolThatWasNotOfferedIsRefused) {
  values.tls_alpn = "h2";
  make_contexts();
  SSL_CTX_set_alpn_select_cb(server_context->native(), choose_unoffered, nullptr);
  handshake();
  EXPECT_EQ(c.connected, 0);
  ASSERT_TRUE(c.failure.has_value());
  EXPECT_NE(c.failure->status, Status::E_INTERNAL);
}

TEST_F(Verify, ClientCertificates) {
  server_options.client_ca_pem = authority->certificate_pem();
  server_options.client_certificate_required = true;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SCOPED_TRACE(version);
    server_options.max_version = version;
    server_context = nullptr;
    context = nullptr;
    values.tls_cert_pem = values.tls_key_pem = "";
    handshake();
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE) << failure_line(c.failure);
    EXPECT_EQ(s.connected, 0);

    const tls::Certificate mine = *authority->issue({.common_name = "me",
                                                     .not_before = kWall - kDay,
                                                     .not_after = kWall + kDay,
                                                     .client = true});
    values.tls_cert_pem = mine.certificate_pem;
    values.tls_key_pem = mine.key_pem;
    context = nullptr;
    handshake();
    expect_open();
    EXPECT_EQ(server->tls_facts().peer_subject, "CN=me");
    EXPECT_EQ(context->client_fingerprint().size(), 64u);

    auto other = *tls::Authority::make(library, "Other", kWall - kDay, kWall + kDay);
    const tls::Certificate alien = *other->issue({.common_name = "me",
                                                  .not_before = kWall - kDay,
                                                  .not_after = kWall + kDay,
                                                  .client = true});
    values.tls_cert_pem = alien.certificate_pem;
    values.tls_key_pem = alien.key_pem;
    context = nullptr;
    handshake();
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.failure->detail, "the peer sent alert 48 (unknown CA)");
    EXPECT_EQ(c.failure->status, Status::E_TLS_HANDSHAKE);
  }
}

// --- contexts

TEST_F(Verify, BadOptionsAreNamedWithTheReason) {
  struct Case {
    std::function<void(Values*)> change;
    const char* words;
  };
  const tls::Certificate other = issue({"other"});
  const std::string cut = certificate.certificate_pem.substr(0, 200);
  const Case cases[] = {
      {[](Values* v) { v->tls_ca_pem = "rubbish"; }, "tls.ca_pem has no certificate"},
      {[](Values* v) {
         v->tls_ca_pem = "rubbish";
         v->tls_ca_file = "/etc/ca.pem";
       },
       "tls.ca_file (/etc/ca.pem) has no certificate"},
      {[&](Values* v) { v->tls_ca_pem = certificate.certificate_pem + cut; },
       "tls.ca_pem: certificate 2 cannot be read"},
      {[&](Values* v) { v->tls_cert_pem = certificate.certificate_pem; }, "tls.key_pem"},
      {[&](Values* v) {
         v->tls_cert_pem = certificate.certificate_pem;
         v->tls_key_pem = "rubbish";
       },
       "tls.key_pem has no usable key"},
      {[&](Values* v) {
         v->tls_cert_pem = certificate.certificate_pem;
         v->tls_key_pem = other.key_pem;
       },
       "tls.key_pem does not belong to tls.cert_pem"},
      {[&](Values* v) {
         v->tls_cert_pem = certificate.key_pem;
         v->tls_key_pem = certificate.key_pem;
       },
       "tls.cert_pem has no certificate"},
      {[](Values* v) { v->tls_alpn = "h2,,x"; }, "tls.alpn"},
      {[](Values* v) { v->tls_alpn = std::string(256, 'x'); }, "tls.alpn"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.words);
    Values bad = values;
    one.change(&bad);
    const auto made = tls::make_context(library, bad);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().status, Status::E_TLS_CONFIG);
    EXPECT_NE(made.error().detail.find(one.words), std::string::npos) << made.error().detail;
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
}

TEST_F(Verify, CacheSharesContextsAndRebuildsSpoiledOnes) {
  tls::ContextCache cache(library);
  const auto first = *cache.get(1, values);
  EXPECT_EQ(*cache.get(1, values), first);
  EXPECT_NE(*cache.get(2, values), first);
  EXPECT_EQ(cache.size(), 2u);
  first->spoil();
  const auto second = *cache.get(1, values);
  EXPECT_NE(second, first);
  EXPECT_NE(second->serial(), first->serial());
  cache.forget(1);
  EXPECT_EQ(cache.size(), 1u);
  Values bad = values;
  bad.tls_ca_pem = "rubbish";
  EXPECT_FALSE(cache.get(3, bad).has_value());
  EXPECT_EQ(cache.size(), 1u);
}

TEST_F(Verify, VerifyName) {
  bool literal = false;
  EXPECT_EQ(tls::verify_name("A.Example.", &literal), "a.example");
  EXPECT_FALSE(literal);
  EXPECT_EQ(tls::verify_name("[::1]", &literal), "::1");
  EXPECT_TRUE(literal);
  EXPECT_EQ(tls::verify_name("fe80::1%eth0", &literal), "fe80::1");
  EXPECT_TRUE(literal);
}

}  // namespace
}  // namespace conpool::test
