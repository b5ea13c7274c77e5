// What the tests of tls share: a seeded library, an authority, recorders, and a client with a
// server.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tls/certificates.h"
#include "tls/client_stream.h"
#include "tls/postgres_hop.h"
#include "tls/server_stream.h"
#include "unit/tls/pipe_stream.h"

namespace conpool::test {

inline constexpr int64_t kWall = 1'780'000'000;  // 2026-05-28
inline constexpr int64_t kDay = 86'400;

class Recorder final : public io::StreamHandler {
 public:
  void on_connected() override {
    ++connected;
    if (when_connected) when_connected();
  }
  void on_data(Slice slice) override {
    EXPECT_FALSE(slice.empty());
    EXPECT_EQ(ends, 0);
    data += as_text(slice.span());
    ++deliveries;
    if (when_data) when_data();
  }
  void on_eof() override {
    ++ends;
    if (when_end) when_end();
  }
  void on_writable() override {
    ++writables;
    if (when_writable) when_writable();
  }
  void on_failed(const Failure& f) override {
    EXPECT_FALSE(failure.has_value());
    failure = f;
    if (when_failed) when_failed();
  }

  int connected = 0, ends = 0, writables = 0, deliveries = 0;
  std::string data;
  std::optional<Failure> failure;
  std::function<void()> when_connected, when_data, when_end, when_writable, when_failed;
};

inline std::string failure_line(const std::optional<Failure>& failure) {
  if (!failure) return "no failure";
  return std::string(status_name(failure->status)) + ": " + failure->detail;
}

inline size_t write_all(io::Stream& stream, const std::string& text) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  Result<size_t> written = stream.writev({&part, 1});
  EXPECT_TRUE(written.has_value());
  return written ? *written : 0;
}

class TlsWorld : public ::testing::Test {
 public:
  explicit TlsWorld(uint64_t seed = 1) {
    library = *tls::Library::seeded(seed, kWall);
    authority =
        *tls::Authority::make(library, "Test Authority", kWall - 10 * kDay, kWall + 10 * kDay);
    values.tls_ca_pem = authority->certificate_pem();
    values.tls_resumption = 1;
    certificate = issue({"a.example"});
    server_options.certificate_pem = certificate.certificate_pem;
    server_options.key_pem = certificate.key_pem;
    sessions = std::make_shared<tls::SessionCache>();
  }
  ~TlsWorld() override {
    close();
    EXPECT_EQ(ERR_peek_error(), 0u);
  }

  tls::Certificate issue(std::vector<std::string> names, std::vector<std::string> ips = {}) {
    return *authority->issue({.common_name = "server",
                              .names = std::move(names),
                              .ips = std::move(ips),
                              .not_before = kWall - kDay,
                              .not_after = kWall + kDay});
  }
  void serve(const tls::Certificate& with) {
    server_options.certificate_pem = with.certificate_pem;
    server_options.key_pem = with.key_pem;
    server_context = nullptr;
  }
  void make_contexts() {
    if (context == nullptr) {
      Result<std::shared_ptr<tls::Context>> made = tls::make_context(library, values);
      ASSERT_TRUE(made.has_value()) << made.error().detail;
      context = *made;
    }
    if (server_context == nullptr) {
      Result<std::shared_ptr<tls::ServerContext>> made =
          tls::ServerContext::make(library, server_options);
      ASSERT_TRUE(made.has_value()) << made.error().detail;
      server_context = *made;
    }
  }
  // A fresh connection; the handshake has not moved yet.
  void open(const std::string& name = "a.example", std::unique_ptr<tls::Hop> hop = nullptr) {
    close();
    make_contexts();
    auto [a, b] = loop.pipe();
    c = Recorder();
    s = Recorder();
    client = *tls::ClientStream::make(loop, std::move(a),
                                      {.context = context,
                                       .name = name,
                                       .ticket_key = ticket_key,
                                       .sessions = sessions,
                                       .hop = std::move(hop)});
    client->set_handler(&c);
    server = *tls::ServerStream::make(loop, std::move(b), server_context);
    server->set_handler(&s);
    server->read(true);
  }
  void handshake(const std::string& name = "a.example") {
    open(name);
    client->read(true);
    loop.run();
  }
  void close() {
    if (client != nullptr) loop.discard(std::unique_ptr<io::Stream>(std::move(client)));
    if (server != nullptr) loop.discard(std::unique_ptr<io::Stream>(std::move(server)));
    loop.run();
  }
  void expect_open(bool resumed = false) {
    EXPECT_EQ(c.connected, 1) << failure_line(c.failure) << " / " << failure_line(s.failure);
    EXPECT_FALSE(c.failure.has_value()) << failure_line(c.failure);
    EXPECT_EQ(s.connected, 1) << failure_line(s.failure);
    if (c.connected == 1) {
      EXPECT_EQ(client->tls_facts().resumed, resumed);
    }
  }
  void expect_refused(int64_t code, const std::string& words) {
    EXPECT_EQ(c.connected, 0);
    ASSERT_TRUE(c.failure.has_value());
    EXPECT_EQ(c.failure->status, Status::E_TLS_CERTIFICATE) << failure_line(c.failure);
    EXPECT_EQ(c.failure->tls_verify, code) << failure_line(c.failure);
    EXPECT_NE(c.failure->detail.find(words), std::string::npos) << c.failure->detail;
  }

  FakeLoop loop;
  std::shared_ptr<tls::Library> library;
  std::unique_ptr<tls::Authority> authority;
  tls::Certificate certificate;
  Values values;
  tls::ServerOptions server_options;
  std::shared_ptr<tls::Context> context;
  std::shared_ptr<tls::ServerContext> server_context;
  std::shared_ptr<tls::SessionCache> sessions;
  std::string ticket_key;
  std::unique_ptr<tls::ClientStream> client;
  std::unique_ptr<tls::ServerStream> server;
  Recorder c, s;
};

}  // namespace conpool::test
