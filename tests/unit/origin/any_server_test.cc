// A server that tells its clients apart, in the simulated world.
#include "origin/any_server.h"

#include <gtest/gtest.h>

#include "origin/simulated_internet.h"
#include "unit/io/sim_probe.h"

namespace conpool::origin {
namespace {

using io::Probe;

struct Rig : io::SimRig {
  Rig() : server(*loop) { EXPECT_TRUE(server.listen(SocketAddress())); }
  // Connects anywhere; one way takes half a millisecond.
  Probe& dial(const std::string& where) {
    Probe& client = connect(where);
    EXPECT_TRUE(
        network.run(*loop, loop->now() + kSecond, [&] { return client.connected_at != kNever; }));
    return client;
  }
  AnyServer server;
};

TEST(SpokenBy, TellsProtocolsByTheirFirstBytes) {
  for (const char* http : {"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                           "M-SEARCH * HTTP/1.0\n", "GET http://a/ HTTP/1.1\r\nHost: a"})
    EXPECT_EQ(spoken_by(http), Spoken::Http) << http;
  for (const char* unknown : {"", "G", "GET", "GET ", "GET / HTTP/1.1", "PING", "GET /x\r"})
    EXPECT_EQ(spoken_by(unknown), Spoken::Unknown) << unknown;
  for (const char* bytes : {"hello", "PING\r\n", "*1\r\n", " ", "GET\n", "GET / HTTP/3\r\n", "\r\n",
                            "ABCDEFGHIJKLMNOPQRSTU", "GET/"})
    EXPECT_EQ(spoken_by(bytes), Spoken::Bytes) << bytes;
  const std::string record(
      "\x16\x03\x01\x00\x02"
      "ab",
      7);
  EXPECT_EQ(spoken_by(record), Spoken::Tls);
  for (size_t size = 1; size < record.size(); ++size)
    EXPECT_EQ(spoken_by(record.substr(0, size)), Spoken::Unknown) << size;
  EXPECT_EQ(spoken_by(std::string("\x16\x02\x01\x00\x00", 5)), Spoken::Bytes);
}

std::string hello_asking(const std::string& name) {
  const auto number = [](size_t value) {
    return std::string{static_cast<char>(value >> 8), static_cast<char>(value)};
  };
  const std::string list = std::string(1, '\0') + number(name.size()) + name;
  const std::string content = number(list.size()) + list;
  const std::string other = std::string("\x00\x10\x00\x01x", 5);
  const std::string extensions =
      other + std::string("\x00\x00", 2) + number(content.size()) + content;
  const std::string body = std::string(34, 'r') + std::string("\x01s", 2) +
                           std::string("\x00\x02\x13\x01", 4) + std::string("\x01\x00", 2) +
                           number(extensions.size()) + extensions;
  const std::string hello = std::string("\x01\x00", 2) + number(body.size()) + body;
  return std::string("\x16\x03\x01", 3) + number(hello.size()) + hello;
}

TEST(AskedName, IsReadFromTheHello) {
  const std::string hello = hello_asking("www.example.org");
  EXPECT_EQ(spoken_by(hello), Spoken::Tls);
  EXPECT_EQ(asked_name(hello), "www.example.org");
  // Cut anywhere, it is no name, and never read beyond.
  for (size_t size = 0; size < hello.size(); ++size)
    EXPECT_EQ(asked_name(std::string_view(hello).substr(0, size)), "") << size;
}

TEST(AnyServer, ListensEverywhereAndEchoesWhatIsNoHttp) {
  Rig rig;
  for (const char* where : {"192.0.2.1:80", "[2001:db8::7]:9", "203.0.113.9:65535"}) {
    Probe& client = rig.dial(where);
    EXPECT_TRUE(client.write("hello"));
    const Time before = rig.loop->now();
    rig.run(before + kSecond);
    EXPECT_EQ(client.data, "hello") << where;
    EXPECT_EQ(client.data_at - before, kMillisecond);
  }
  EXPECT_EQ(rig.server.bytes().counts().accepted, 3u);
}

TEST(AnyServer, ServesHttp) {
  Rig rig;
  Probe& client = rig.dial("192.0.2.1:80");
  EXPECT_TRUE(client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  rig.run(rig.loop->now() + kSecond);
  EXPECT_TRUE(client.data.starts_with("HTTP/1.1 200 OK\r\n")) << client.data;
  client.data.clear();
  EXPECT_TRUE(client.write("GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n"));
  rig.run(rig.loop->now() + kSecond);
  EXPECT_TRUE(client.data.starts_with("HTTP/1.1 204 ")) << client.data;
  EXPECT_EQ(rig.server.http().http_counts().requests, 2u);
}

TEST(AnyServer, WaitsALittleForTheRestOfARequestLine) {
  Rig rig;
  Probe& slow = rig.dial("192.0.2.1:80");
  EXPECT_TRUE(slow.write("GET / HT"));
  rig.run(rig.loop->now() + 2 * kMillisecond);
  EXPECT_TRUE(slow.write("TP/1.1\r\nHost: a\r\n\r\n"));
  rig.run(rig.loop->now() + kSecond);
  EXPECT_TRUE(slow.data.starts_with("HTTP/1.1 200 OK\r\n")) << slow.data;

  Probe& raw = rig.dial("192.0.2.1:80");
  EXPECT_TRUE(raw.write("PING"));
  const Time before = rig.loop->now();
  rig.run(before + kSecond);
  EXPECT_EQ(raw.data, "PING");
  EXPECT_EQ(raw.data_at - before, kMillisecond + AnyServer::kPatience);
}

TEST(AnyServer, EndsWithItsClientAndWithNewcomers) {
  Rig rig;
  rig.dial("192.0.2.1:80").stream->close();
  Probe& undecided = rig.dial("192.0.2.1:80");
  EXPECT_TRUE(undecided.write("GE"));
  rig.run(rig.loop->now() + kMillisecond);
  // The rig's end closes what is left, and checks it.
}

TEST(SimulatedInternet, NamesHaveFixedAddresses) {
  EXPECT_EQ(SimulatedInternet::address_of("Example.ORG.", Family::V4),
            SimulatedInternet::address_of("example.org", Family::V4));
  // These are part of every recorded run.
  EXPECT_EQ(SimulatedInternet::address_of("example.org", Family::V4).ip_text(), "203.0.113.12");
  EXPECT_EQ(SimulatedInternet::address_of("example.org", Family::V6).ip_text(),
            "2001:db8::a3d9:4198:3dbb:4a25");
}

}  // namespace
}  // namespace conpool::origin
