// TLS as a program sees it: verified or refused in words, facts, loans refused, a silent peer.
//
// The peer is OpenSSL itself, on the server's threads, with a certificate made for the test.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json.h"
#include "support.h"

namespace capi_test {
namespace {

// A self-signed certificate for one name, and a server's context with it.
class Identity {
 public:
  explicit Identity(const std::string& name, long valid_from = -3600, long valid_to = 3600) {
    key_ = EVP_EC_gen("P-256");
    certificate_ = X509_new();
    X509_set_version(certificate_, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), valid_from);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), valid_to);
    X509_set_pubkey(certificate_, key_);
    X509_NAME* subject = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("conpool test"), -1, -1, 0);
    X509_set_issuer_name(certificate_, subject);
    X509_EXTENSION* names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, name.c_str());
    X509_add_ext(certificate_, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate_, key_, EVP_sha256());
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context_, certificate_);
    SSL_CTX_use_PrivateKey(context_, key_);
  }
  ~Identity() {
    SSL_CTX_free(context_);
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  std::string pem() const {
    BIO* memory = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(memory, certificate_);
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory, &text);
    std::string copy(text, static_cast<size_t>(size));
    BIO_free(memory);
    return copy;
  }
  // Echoes over TLS until the end; answers a close-notify with its own.
  Server::Serve echo() const {
    return [this](int fd) {
      SSL* ssl = SSL_new(context_);
      SSL_set_fd(ssl, fd);
      char buffer[4096];
      if (SSL_accept(ssl) == 1) {
        for (int got = 0; (got = SSL_read(ssl, buffer, sizeof(buffer))) > 0;)
          SSL_write(ssl, buffer, got);
        SSL_shutdown(ssl);
      }
      SSL_free(ssl);
      ERR_clear_error();
    };
  }

 private:
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  SSL_CTX* context_ = nullptr;
};

std::string tls_url(const Server& server) {
  return "tls://" + server.address();
}

class Tls : public testing::Test {
 protected:
  // The server's side, OpenSSL's own, writes to sockets that the client may have closed.
  static void SetUpTestSuite() { signal(SIGPIPE, SIG_IGN); }
  Identity identity_{"IP:127.0.0.1,DNS:good.test"};
  Server server_{identity_.echo()};
  PoolPtr pool_ = make_pool();
};

TEST_F(Tls, LeasesAndFacts) {
  const EndpointPtr endpoint =
      make_endpoint(pool_, tls_url(server_), {{"tls.ca_pem", identity_.pem()}});
  for (int i = 0; i < 3; ++i) {
    Event event = acquire(endpoint);
    ASSERT_EQ(event->status, CONPOOL_OK) << event.report();
    EXPECT_EQ(event->value[0], i == 0 ? 0u : 1u);
    conpool_connection* c = event.connection();
    EXPECT_EQ(write_all(c, "secret")->status, CONPOOL_OK);
    EXPECT_EQ(read_exactly(c, 6), "secret");
    char* text = nullptr;
    ASSERT_EQ(conpool_connection_describe(c, &text), CONPOOL_OK);
    Json facts;
    std::string reason;
    ASSERT_TRUE(parse_json(text, &facts, &reason)) << reason;
    conpool_text_free(text);
    EXPECT_EQ(facts["tls"]["version"].text, "TLSv1.3");
    EXPECT_TRUE(facts["tls"]["verified"].truth);
    EXPECT_NE(facts["tls"]["peer_subject"].text.find("conpool test"), std::string::npos);
    conpool_connection_release(c, CONPOOL_REUSABLE);
  }
  EXPECT_EQ(server_.accepted(), 1);
}

TEST_F(Tls, TheDescriptorIsNotLent) {
  conpool_connection* c =
      lease(make_endpoint(pool_, tls_url(server_), {{"tls.ca_pem", identity_.pem()}}));
  int32_t fd = -7;
  conpool_chunk* chunk = nullptr;
  EXPECT_EQ(conpool_connection_lend(c, 1, &fd, &chunk), CONPOOL_E_UNSUPPORTED);
  EXPECT_EQ(fd, -7);
  EXPECT_EQ(write_all(c, "goes on")->status, CONPOOL_OK);
  EXPECT_EQ(read_exactly(c, 7), "goes on");
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(Tls, CertificatesThatAreRefused) {
  const Identity late("IP:127.0.0.1", -7200, -3600);
  const Identity other("DNS:other.test");
  Server expired(late.echo());
  Server wrong(other.echo());
  const struct {
    std::string url;
    std::string trusted;
    long verify;
    const char* words;
  } cases[] = {{tls_url(server_), other.pem(), 0, "self-signed"},
               {tls_url(expired), late.pem(), X509_V_ERR_CERT_HAS_EXPIRED, "expired"},
               {tls_url(wrong), other.pem(), X509_V_ERR_IP_ADDRESS_MISMATCH, "127.0.0.1"}};
  for (const auto& c : cases) {
    const Event event = acquire(make_endpoint(pool_, c.url, {{"tls.ca_pem", c.trusted}}));
    EXPECT_EQ(event->status, CONPOOL_E_TLS_CERTIFICATE) << event.report();
    EXPECT_EQ(conpool_error_phase(event.error()), CONPOOL_PHASE_TLS);
    EXPECT_NE(conpool_error_tls_verify(event.error()), 0);
    if (c.verify != 0) {
      EXPECT_EQ(conpool_error_tls_verify(event.error()), c.verify) << event.report();
    }
    EXPECT_NE(event.report().find(c.words), std::string::npos) << event.report();
    // Unless the program says that it wants no verification.
    conpool_connection_release(lease(make_endpoint(pool_, c.url, {{"tls.insecure", "true"}})),
                               CONPOOL_BROKEN);
  }
}

TEST_F(Tls, AListOfAddressesWithAName) {
  conpool_endpoint* out = nullptr;
  const ConfigPtr config =
      make_config({{"tls.server_name", "good.test"}, {"tls.ca_pem", identity_.pem()}});
  ASSERT_EQ(conpool_endpoint_new_addresses(pool_.get(), "tls", server_.address().c_str(),
                                           CONPOOL_NUL_TERMINATED, config.get(), &out, nullptr),
            CONPOOL_OK);
  const EndpointPtr endpoint(out);
  conpool_connection_release(lease(endpoint), CONPOOL_BROKEN);
}

TEST_F(Tls, OurEndSendsACloseNotify) {
  conpool_connection* c =
      lease(make_endpoint(pool_, tls_url(server_), {{"tls.ca_pem", identity_.pem()}}));
  conpool_op op = 0;
  ASSERT_EQ(conpool_connection_shutdown_write(c, nullptr, 0, &op), CONPOOL_OK);
  EXPECT_EQ(wait_for(op)->status, CONPOOL_OK);
  const Event end = read_some(c);
  EXPECT_EQ(end->status, CONPOOL_OK) << end.report();
  EXPECT_NE(end->flags & CONPOOL_EVENT_EOF, 0u);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(Tls, ASilentPeerAndOneThatTalksPlain) {
  Server silent(Server::silent);
  const int64_t start = monotonic_ns();
  const Event event = acquire(make_endpoint(pool_, tls_url(silent), {{"tls.timeout", "60ms"}}));
  EXPECT_GE(monotonic_ns() - start, 60 * kMs);
  EXPECT_EQ(event->status, CONPOOL_E_TLS_TIMEOUT) << event.report();
  Server plain([](int fd) { (void)!send(fd, "220 hello\r\n", 11, MSG_NOSIGNAL); });
  const Event talk = acquire(make_endpoint(pool_, tls_url(plain)));
  EXPECT_EQ(conpool_status_class(talk->status), CONPOOL_CLASS_TLS) << talk.report();
}

TEST_F(Tls, PoolsAreFreedDuringHandshakes) {
  Server silent(Server::silent);
  for (int i = 0; i < 30; ++i) {
    PoolPtr pool = make_pool();
    const EndpointPtr endpoint = make_endpoint(
        pool, i % 2 == 0 ? tls_url(silent) : tls_url(server_), {{"tls.ca_pem", identity_.pem()}});
    const int before = silent.accepted() + server_.accepted();
    const conpool_op op = start_acquire(endpoint);
    if (i % 3 == 0) {
      EXPECT_TRUE(eventually([&] { return silent.accepted() + server_.accepted() > before; }));
    }
    pool.reset();
    const Event event = wait_for(op);
    EXPECT_TRUE(event->status == CONPOOL_E_CLOSED || event->status == CONPOOL_OK);
  }
}

TEST(BadTlsOptions, AreRefusedWithTheirName) {
  const PoolPtr pool = make_pool();
  const struct {
    Options options;
    conpool_status status;
    const char* words;
  } cases[] = {
      {{{"tls.ca_pem", "no certificate"}}, CONPOOL_E_TLS_CONFIG, "tls.ca_pem"},
      {{{"tls.ca_file", "/nonexistent/ca.pem"}}, CONPOOL_E_TLS_CONFIG, "/nonexistent/ca.pem"},
      {{{"tls.cert_pem", "nothing"}}, CONPOOL_E_TLS_CONFIG, "tls.key"},
      {{{"tls.alpn", std::string(256, 'p')}}, CONPOOL_E_OPTION_RANGE, "tls.alpn"},
      {{{"tls.server_name", "a..b"}}, CONPOOL_E_BAD_NAME, "a..b"},
  };
  for (const auto& c : cases) {
    const ConfigPtr config = make_config(c.options);
    conpool_endpoint* out = nullptr;
    conpool_error* error = nullptr;
    EXPECT_EQ(conpool_endpoint_new(pool.get(), "tls://h:1", CONPOOL_NUL_TERMINATED, config.get(),
                                   &out, &error),
              c.status)
        << c.words << ": " << conpool_error_line(error);
    const ErrorPtr owned(error);
    EXPECT_NE(std::string(conpool_error_line(error)).find(c.words), std::string::npos)
        << conpool_error_line(error);
  }
}

}  // namespace
}  // namespace capi_test
