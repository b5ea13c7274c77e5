// Tests of the loopback origin: a thread of its own, plain and TLS, counts from other threads.
#include "origin/loopback.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace conpool::origin {
namespace {

LoopbackOptions lines() {
  LoopbackOptions options;
  options.script.answer = Answer::Lines;
  return options;
}

// A blocking client: connects, sends, and reads until it has as much as it expects.
std::string ask(uint16_t port, std::string_view request, size_t expected) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[256];
    ssize_t size = 0;
    while (answer.size() < expected && (size = recv(fd, buffer, sizeof buffer, 0)) > 0)
      answer.append(buffer, static_cast<size_t>(size));
  }
  close(fd);
  return answer;
}

TEST(Loopback, ServesFromAThreadOfItsOwnAndCounts) {
  auto origin = Loopback::start(lines());
  ASSERT_TRUE(origin) << origin.error().detail;
  EXPECT_EQ((*origin)->addresses().front(), "127.0.0.1:" + std::to_string((*origin)->port()));
  EXPECT_TRUE((*origin)->authority_pem().empty());
  EXPECT_EQ(ask((*origin)->port(), "ping\nping\n", 10), "pong\npong\n");
  const LoopbackCounts counts = (*origin)->counts();
  EXPECT_EQ(counts.server.accepted, 1u);
  EXPECT_EQ(counts.server.requests, 2u);
  EXPECT_EQ(counts.server.bytes_in, 10u);
  EXPECT_EQ(counts.server.bytes_out, 10u);
  EXPECT_EQ(counts.handshakes_full, 0u);
}

TEST(Loopback, BothFamiliesHaveOnePort) {
  auto origin = Loopback::start(lines());
  ASSERT_TRUE(origin);
  if ((*origin)->addresses().size() < 2) GTEST_SKIP() << "no IPv6 here";
  EXPECT_EQ((*origin)->addresses()[1], "[::1]:" + std::to_string((*origin)->port()));
}

TEST(Loopback, OneThatSpeaksNoTlsIsCountedAsFailed) {
  LoopbackOptions options = lines();
  options.tls = true;
  auto origin = Loopback::start(std::move(options));
  ASSERT_TRUE(origin) << origin.error().detail;
  EXPECT_NE((*origin)->authority_pem().find("BEGIN CERTIFICATE"), std::string::npos);
  // The answer is a TLS alert and the end.
  EXPECT_EQ(ask((*origin)->port(), "ping\n", 1000).find("pong"), std::string::npos);
  const LoopbackCounts counts = (*origin)->counts();
  EXPECT_EQ(counts.server.accepted, 1u);
  EXPECT_EQ(counts.server.peer_failed, 1u);
  EXPECT_EQ(counts.handshakes_full + counts.handshakes_resumed, 0u);
}

TEST(Loopback, ServesHttp) {
  auto origin = Loopback::start({.http = LoopbackHttp{}});
  ASSERT_TRUE(origin) << origin.error().detail;
  const std::string answer =
      "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/octet-stream\r\n\r\n" +
      pattern(0, 2);
  EXPECT_EQ(
      ask((*origin)->port(), "GET /bytes/2 HTTP/1.1\r\nHost: localhost\r\n\r\n", answer.size()),
      answer);
  const LoopbackCounts counts = (*origin)->counts();
  EXPECT_EQ(counts.server.requests, 1u);
  EXPECT_EQ(counts.http.http1_requests, 1u);
}

// What the origin picks of this offer (in ALPN's form), and how its first frame begins.
std::string agree(uint16_t port, const std::string& offer, const std::string& hello) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string said = "nothing";
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(context);
  SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offer.data()),
                      static_cast<unsigned>(offer.size()));
  SSL_set_fd(ssl, fd);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      SSL_connect(ssl) == 1) {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    said = size == 0 ? "" : std::string(reinterpret_cast<const char*>(name), size);
    SSL_write(ssl, hello.data(), static_cast<int>(hello.size()));
    char buffer[12];
    const int got = SSL_read(ssl, buffer, sizeof buffer);
    said += " " + std::string(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  }
  SSL_free(ssl);
  SSL_CTX_free(context);
  close(fd);
  return said;
}

TEST(Loopback, ServesBothVersionsOfHttpOverTls) {
  auto origin = Loopback::start({.http = LoopbackHttp{}, .tls = true});
  ASSERT_TRUE(origin) << origin.error().detail;
  const uint16_t port = (*origin)->port();
  const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  EXPECT_EQ(agree(port, "\x08http/1.1", request), "http/1.1 HTTP/1.1 200");
  EXPECT_EQ(agree(port, "", request), " HTTP/1.1 200");
  // SETTINGS of one value: MAX_CONCURRENT_STREAMS.
  const std::string settings("\0\0\x06\x04\0\0\0\0\0\0\x03\0", 12);
  EXPECT_EQ(agree(port, "\x02h2\x08http/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            "h2 " + settings);
  const LoopbackCounts counts = (*origin)->counts();
  EXPECT_EQ(counts.http.http1_connections, 2u);
  EXPECT_EQ(counts.http.http2_connections, 1u);
  EXPECT_EQ(counts.http.requests, 2u);
}

TEST(Loopback, EndsWithConnectionsOpen) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  {
    auto origin = Loopback::start(lines());
    ASSERT_TRUE(origin);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons((*origin)->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  char byte = 0;
  EXPECT_LE(recv(fd, &byte, 1, 0), 0);  // the end or a reset, at once
  close(fd);
}

}  // namespace
}  // namespace conpool::origin
