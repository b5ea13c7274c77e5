// Scripted HTTP/1.1 servers in the simulated world, asked by hand-written bytes.
#include "origin/http_server.h"

#include <gtest/gtest.h>

#include "unit/io/sim_probe.h"

namespace conpool::origin {
namespace {

using io::Probe;

// One way takes 1 ms; a client's bytes are answered 2 ms after they were written.
struct Rig : io::SimRig {
  explicit Rig(HttpScript script = {}) : server(*loop, std::move(script)) {
    network.host("192.0.2.1").latency = kMillisecond;
    EXPECT_TRUE(server.listen(io::address_of("192.0.2.1:80")));
  }
  Probe& dial() {
    Probe& client = connect("192.0.2.1:80");
    EXPECT_TRUE(
        network.run(*loop, loop->now() + kSecond, [&] { return client.connected_at != kNever; }));
    return client;
  }
  void run_for(Nanos time) { run(loop->now() + time); }
  // What comes back within a second.
  std::string ask(Probe& client, std::string_view request) {
    client.data.clear();
    EXPECT_TRUE(client.write(request));
    run_for(kSecond);
    return client.data;
  }
  const HttpRequest& last() { return *server.log().back(); }

  HttpServer server;
};

std::string get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

std::string post(const std::string& path, const std::string& body, const std::string& fields = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: a\r\ncontent-length: " + std::to_string(body.size()) +
         "\r\n" + fields + "\r\n" + body;
}

TEST(HttpServer, ServesTheDemosPaths) {
  Rig rig;
  Probe& client = rig.dial();
  EXPECT_EQ(rig.ask(client, get("/")),
            "HTTP/1.1 200 OK\r\ncontent-length: 33\r\ncontent-type: text/plain\r\n\r\n"
            "hello from conpool's demo origin\n");
  EXPECT_EQ(
      rig.ask(client, get("/bytes/5?x")),
      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: application/octet-stream\r\n\r\n" +
          pattern(0, 5));
  EXPECT_EQ(rig.ask(client, get("/chunked/20000")),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "
            "application/octet-stream\r\n\r\n4000\r\n" +
                pattern(0, 16384) + "\r\ne20\r\n" + pattern(16384, 3616) + "\r\n0\r\n\r\n");
  EXPECT_EQ(rig.ask(client, post("/echo", "abc", "Content-Type: text/x\r\n")),
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-type: text/x\r\n\r\nabc");
  const Time before = rig.loop->now();
  EXPECT_TRUE(rig.ask(client, get("/delay/50")).ends_with("after 50 ms\n"));
  EXPECT_EQ(client.data_at - before, 52 * kMillisecond);
  EXPECT_TRUE(rig.ask(client, get("/status/503")).starts_with("HTTP/1.1 503 Service Unavailable"));
  EXPECT_TRUE(rig.ask(client, get("/status/204")).ends_with("content-type: text/plain\r\n\r\n"));
  for (const char* wrong : {"/bytes/", "/bytes/-1", "/bytes/1x", "/delay/99999999", "/status/100",
                            "/status/600", "/other"})
    EXPECT_TRUE(rig.ask(client, get(wrong)).starts_with("HTTP/1.1 404 ")) << wrong;
  EXPECT_EQ(rig.server.counts().accepted, 1u);
  EXPECT_EQ(rig.server.http_counts().requests, 14u);
  EXPECT_EQ(rig.server.http_counts().answered, 14u);
  EXPECT_EQ(rig.server.http_counts().http1_connections, 1u);
  EXPECT_EQ(rig.server.http_counts().bad_requests, 0u);
}

TEST(HttpServer, KeepsALogOfRequests) {
  Rig rig;
  Probe& client = rig.dial();
  rig.ask(client, post("/echo?q", "hello", "X-Request-Id: r1\r\n"));
  const HttpRequest& request = rig.last();
  EXPECT_EQ(request.id, "r1");
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/echo?q");
  EXPECT_EQ(request.authority, "a");
  EXPECT_EQ(request.body_size, 5u);
  EXPECT_EQ(request.body_hash, hash_of("hello"));
  EXPECT_TRUE(request.complete && request.answered && request.ended);
  EXPECT_EQ(rig.server.seen("r1"), 1u);
  EXPECT_EQ(rig.server.http_counts().repeated, 0u);
  rig.ask(client, get("/", "x-request-id: r1\r\n"));
  EXPECT_EQ(rig.last().on_its_connection, 1u);
  EXPECT_EQ(rig.server.seen("r1"), 2u);
  EXPECT_EQ(rig.server.http_counts().repeated, 1u);
}

TEST(HttpServer, EchoesLongBodiesAsTheyComeInBothFramings) {
  Rig rig;
  Probe& client = rig.dial();
  const std::string body = pattern(0, 3'000'000, 7);
  std::string sent = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
  sent += "2dc6c0\r\n" + body + "\r\n0\r\nx-t: 1\r\n\r\n";
  size_t at = 0;
  const Time limit = rig.loop->now() + kMinute;
  while (rig.loop->now() < limit && !client.data.ends_with("0\r\n\r\n")) {
    Result<size_t> accepted = client.write(std::string_view(sent).substr(at));
    ASSERT_TRUE(accepted);
    at += *accepted;
    rig.run_for(kMillisecond);
  }
  std::string echoed;
  size_t from = client.data.find("\r\n\r\n") + 4;
  for (;;) {
    const size_t end = client.data.find("\r\n", from);
    const size_t size = std::stoul(client.data.substr(from, end - from), nullptr, 16);
    if (size == 0) break;
    echoed += client.data.substr(end + 2, size);
    from = end + 2 + size + 2;
  }
  EXPECT_TRUE(echoed == body);
  EXPECT_EQ(rig.last().trailers, (HttpFields{{"x-t", "1"}}));
  EXPECT_EQ(rig.last().body_hash, hash_of(body));
}

TEST(HttpServer, AnswersPipelinedRequestsInTheirOrder) {
  Rig rig;
  Probe& client = rig.dial();
  const std::string all = rig.ask(client, get("/delay/20") + post("/echo", "x") + get("/delay/1"));
  EXPECT_LT(all.find("after 20 ms\n"), all.find("\r\n\r\nx"));
  EXPECT_LT(all.find("\r\n\r\nx"), all.find("after 1 ms\n"));
  EXPECT_NE(all.find("after 1 ms\n"), std::string::npos);
}

TEST(HttpServer, SendsInterimResponsesHeadPiecesAndTrailersInTheirTime) {
  Rig rig;
  HttpAnswer answer;
  answer.status = 201;
  answer.fields = {{"X-A", "1"}, {"x-a", "2"}};
  answer.text = "abcdef";
  answer.piece = 3;
  answer.framing = HttpFraming::Chunked;
  answer.trailers = {{"x-sum", "9"}};
  answer.interim = {{.status = 103, .fields = {{"link", "</x>"}}, .delay = 10 * kMillisecond}};
  answer.head_delay = 20 * kMillisecond;
  answer.piece_delay = 5 * kMillisecond;
  answer.keep_alive_timeout = 7 * kSecond;
  rig.server.set_answer(answer);
  Probe& client = rig.dial();
  const Time before = rig.loop->now();
  ASSERT_TRUE(client.write(get("/")));
  const auto run_to = [&](Nanos since) { rig.run(before + since); };
  run_to(11 * kMillisecond);
  EXPECT_EQ(client.data, "");
  run_to(12 * kMillisecond);
  EXPECT_EQ(client.data, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
  client.data.clear();
  run_to(31 * kMillisecond);
  EXPECT_EQ(client.data, "");
  run_to(32 * kMillisecond);
  EXPECT_EQ(client.data,
            "HTTP/1.1 201 \r\ntransfer-encoding: chunked\r\nkeep-alive: timeout=7\r\nX-A: 1\r\n"
            "x-a: 2\r\n\r\n3\r\nabc\r\n");
  client.data.clear();
  run_to(37 * kMillisecond);
  EXPECT_EQ(client.data, "3\r\ndef\r\n0\r\nx-sum: 9\r\n\r\n");
}

TEST(HttpServer, SaysNothingAfterTheHeadOfWhatHasNoBody) {
  Rig rig;
  Probe& client = rig.dial();
  EXPECT_EQ(rig.ask(client, "HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-type: application/octet-stream\r\n"
            "\r\n");
  EXPECT_EQ(rig.ask(client, "HEAD /chunked/9 HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "
            "application/octet-stream\r\n\r\n");
  EXPECT_EQ(client.eof_at, kNever);
}

TEST(HttpServer, SendsA100WhenItIsExpected) {
  Rig rig;
  Probe& client = rig.dial();
  EXPECT_EQ(rig.ask(client,
                    "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
                    "content-length: 2\r\n\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
  EXPECT_EQ(rig.ask(client, "ab"), "ab");
  HttpAnswer refusal;
  refusal.status = 417;
  refusal.early = true;
  refusal.send_continue = false;
  refusal.keep_alive = false;
  rig.server.set_answer(refusal);
  EXPECT_EQ(rig.ask(client,
                    "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
                    "content-length: 2\r\n\r\n"),
            "HTTP/1.1 417 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  EXPECT_NE(client.eof_at, kNever);
}

TEST(HttpServer, RefusesBadRequestsAndKeepsTheReason) {
  Rig rig;
  Probe& client = rig.dial();
  EXPECT_EQ(rig.ask(client, "GET / HTTP/1.1\r\n\r\n"),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  EXPECT_NE(client.eof_at, kNever);
  EXPECT_EQ(rig.server.http_counts().bad_requests, 1u);
  EXPECT_EQ(rig.server.http_counts().first_problem, "not one Host field");
  EXPECT_EQ(rig.server.http_counts().requests, 0u);
}

TEST(HttpServer, ClosesWhereItSaysSo) {
  HttpScript script;
  script.close_after_requests = 2;
  Rig rig(script);
  Probe& twice = rig.dial();
  EXPECT_EQ(rig.ask(twice, get("/status/200")).find("connection: close"), std::string::npos);
  EXPECT_NE(rig.ask(twice, get("/status/200")).find("connection: close"), std::string::npos);
  EXPECT_NE(twice.eof_at, kNever);

  Probe& asked = rig.dial();
  rig.ask(asked, get("/", "Connection: close\r\n"));
  EXPECT_NE(asked.eof_at, kNever);

  HttpAnswer delimited;
  delimited.text = "to the end";
  delimited.framing = HttpFraming::Close;
  rig.server.set_answer(delimited);
  Probe& ended = rig.dial();
  EXPECT_EQ(rig.ask(ended, get("/")), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end");
  EXPECT_NE(ended.eof_at, kNever);
}

TEST(HttpServer, ClosesWhenIdleAndNotWhileItWorks) {
  HttpScript script;
  script.idle_timeout = 100 * kMillisecond;
  Rig rig(script);
  Probe& client = rig.dial();  // at 2; accepted at 3
  ASSERT_TRUE(client.write(get("/delay/500")));
  rig.run_for(kSecond);
  EXPECT_TRUE(client.data.ends_with("after 500 ms\n"));
  EXPECT_EQ(client.eof_at, (2 + 1 + 500 + 100 + 1) * kMillisecond);
}

struct FaultCase {
  HttpFault fault;
  int64_t at;
  std::string data;
  std::string log;
};

TEST(HttpServer, FailsAtTheByteTheScriptSays) {
  const std::string head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
  const std::vector<FaultCase> cases = {
      {HttpFault::Close, -1, "", "connected eof "},
      {HttpFault::Reset, -1, "", "connected failed "},
      {HttpFault::Silence, -1, "", "connected "},
      {HttpFault::Close, 0, head, "connected data eof "},
      {HttpFault::Reset, 4, head + "abcd", "connected data failed "},
      {HttpFault::ResetStream, 4, head + "abcd", "connected data failed "},
      {HttpFault::Close, 6, head + "abcdef", "connected data eof "},
      {HttpFault::Silence, 3, head + "abc", "connected data "},
  };
  for (const FaultCase& each : cases) {
    Rig rig;
    HttpAnswer answer;
    answer.text = "abcdef";
    answer.fault = each.fault;
    answer.fault_at = each.at;
    rig.server.set_answer(answer);
    Probe& client = rig.dial();
    EXPECT_EQ(rig.ask(client, get("/")), each.data);
    EXPECT_EQ(client.log, each.log) << each.data;
    EXPECT_FALSE(rig.last().answered && each.at < 6);
    EXPECT_EQ(rig.server.counts().open, each.fault == HttpFault::Silence ? 1u : 0u);
    client.stream->close();
    rig.run_for(kSecond);
    EXPECT_EQ(rig.server.counts().open, 0u);
  }
}

TEST(HttpServer, CutsTheConnectionAtAnyByte) {
  for (uint64_t cut = 1; cut < 40; ++cut) {
    HttpScript script;
    script.cut_after_sent = cut;
    Rig rig(script);
    Probe& client = rig.dial();
    EXPECT_EQ(rig.ask(client, get("/")).size(), cut);
    EXPECT_NE(client.eof_at, kNever);
  }
  HttpScript script;
  script.cut_after_received = 10;
  script.ending = Ending::Reset;
  Rig rig(script);
  Probe& client = rig.dial();
  rig.ask(client, "GET / HTT");
  EXPECT_EQ(client.failed_at, kNever);
  rig.ask(client, "P");
  EXPECT_NE(client.failed_at, kNever);
}

TEST(HttpServer, GivesRawAnswersAndUnaskedBytes) {
  Rig rig;
  HttpAnswer answer;
  answer.raw = "HTTP/1.1 200\nwhatever\n";
  answer.unsolicited = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
  answer.unsolicited_after = 10 * kMillisecond;
  rig.server.set_answer(answer);
  Probe& client = rig.dial();
  ASSERT_TRUE(client.write(get("/")));
  rig.run_for(11 * kMillisecond);
  EXPECT_EQ(client.data, answer.raw);
  rig.run_for(1 * kMillisecond);
  EXPECT_EQ(client.data, answer.raw + answer.unsolicited);
  EXPECT_EQ(client.eof_at, kNever);
}

TEST(HttpServer, StopsReading) {
  HttpScript script;
  script.stop_reading_after_requests = 1;
  Rig rig(script);
  Probe& client = rig.dial();
  EXPECT_TRUE(rig.ask(client, get("/")).starts_with("HTTP/1.1 200"));
  EXPECT_EQ(rig.ask(client, get("/")), "");
  EXPECT_EQ(rig.server.http_counts().requests, 1u);
}

TEST(HttpServer, MayEndInEveryState) {
  for (Nanos when = 0; when < 30 * kMillisecond; when += kMillisecond / 2) {
    io::SimRig rig;
    rig.network.host("192.0.2.1").latency = kMillisecond;
    auto server = std::make_unique<HttpServer>(*rig.loop);
    ASSERT_TRUE(server->listen(io::address_of("192.0.2.1:80")));
    Probe& client = rig.connect("192.0.2.1:80");
    client.on_connect = [](Probe& self) {
      (void)self.write(get("/delay/5") + get("/bytes/1000000"));
    };
    rig.run(when);
    server.reset();
    rig.run(kSecond);
    client.stream->close();
    rig.run(2 * kSecond);
    EXPECT_EQ(rig.loop->live_handles(), 0u);
  }
}

}  // namespace
}  // namespace conpool::origin
