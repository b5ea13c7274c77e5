// Scripted HTTP/2 servers in the simulated world, asked by an nghttp2 client.
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include "origin/http_server.h"
#include "unit/io/sim_probe.h"

namespace conpool::origin {
namespace {

using io::Probe;

// What came of one stream.
struct Answered {
  std::string interim;  // statuses
  std::string status;
  HttpFields fields;
  std::string body;
  HttpFields trailers;
  std::optional<uint32_t> closed;  // with this error
};

// A client over a probe: frames come in with its data, and go out whenever `flush` is called.
struct Client {
  explicit Client(Probe& on, bool settings = true) : probe(on) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    if (settings) nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
    probe.on_bytes = [this](Probe& self) {
      const std::string bytes = std::move(self.data);
      self.data.clear();
      received += bytes;
      nghttp2_session_mem_recv(session, reinterpret_cast<const uint8_t*>(bytes.data()),
                               bytes.size());
      flush();
    };
    probe.on_room = [this](Probe&) { flush(); };
    flush();
  }
  ~Client() {
    probe.on_bytes = nullptr;
    probe.on_room = nullptr;
    nghttp2_session_del(session);
  }

  void flush() {
    for (;;) {
      const uint8_t* data = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session, &data);
      if (size <= 0) break;
      out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    if (out.empty()) return;
    const Result<size_t> accepted = probe.write(out);
    failed = failed || !accepted;
    if (accepted) out.erase(0, *accepted);
  }

  int32_t ask(const std::string& method, const std::string& path, HttpFields more = {},
              std::optional<std::string> body = {}) {
    HttpFields fields{
        {":method", method}, {":scheme", "http"}, {":authority", "a"}, {":path", path}};
    fields.insert(fields.end(), more.begin(), more.end());
    std::vector<nghttp2_nv> block;
    for (auto& [name, value] : fields)
      block.push_back({reinterpret_cast<uint8_t*>(name.data()),
                       reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
                       NGHTTP2_NV_FLAG_NONE});
    nghttp2_data_provider provider{};
    provider.read_callback = read_body;
    const int32_t id = nghttp2_submit_request(session, nullptr, block.data(), block.size(),
                                              body ? &provider : nullptr, nullptr);
    if (body) bodies[id] = *body;
    flush();
    return id;
  }
  int32_t get(const std::string& path, const std::string& id = "") {
    return ask("GET", path, id.empty() ? HttpFields{} : HttpFields{{"x-request-id", id}});
  }

  static Client& self(void* user) { return *static_cast<Client*>(user); }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                       void* user) {
    Answered& stream = self(user).streams[frame->hd.stream_id];
    std::string field(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (field == ":status") {
      (text[0] == '1' ? stream.interim : stream.status) += text;
    } else {
      const bool trailer = frame->headers.cat == NGHTTP2_HCAT_HEADERS && !stream.body.empty();
      (trailer ? stream.trailers : stream.fields).emplace_back(field, text);
    }
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      self(user).goaways += std::to_string(frame->goaway.last_stream_id) + "/" +
                            std::to_string(frame->goaway.error_code) + " ";
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
      ++self(user).pongs;
    return 0;
  }
  static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                     void* user) {
    self(user).streams[id].body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_close(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    self(user).streams[id].closed = error;
    return 0;
  }
  static ssize_t read_body(nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags,
                           nghttp2_data_source*, void* user) {
    std::string& body = self(user).bodies[id];
    const size_t given = std::min(size, body.size());
    std::copy_n(body.data(), given, to);
    body.erase(0, given);
    if (body.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(given);
  }

  Probe& probe;
  nghttp2_session* session = nullptr;
  std::string out;
  std::string received;
  std::map<int32_t, Answered> streams;
  std::map<int32_t, std::string> bodies;
  std::string goaways;
  int pongs = 0;
  bool failed = false;  // a write
};

struct Rig : io::SimRig {
  explicit Rig(HttpScript script = {}) : server(*loop, std::move(script)) {
    network.host("192.0.2.1").latency = kMillisecond;
    EXPECT_TRUE(server.listen(io::address_of("192.0.2.1:80")));
  }
  Client& dial(bool settings = true) {
    Probe& probe = connect("192.0.2.1:80");
    EXPECT_TRUE(
        network.run(*loop, loop->now() + kSecond, [&] { return probe.connected_at != kNever; }));
    clients.push_back(std::make_unique<Client>(probe, settings));
    return *clients.back();
  }
  void run_for(Nanos time) { run(loop->now() + time); }
  const HttpCounts& counts() { return server.http_counts(); }

  HttpServer server;
  std::vector<std::unique_ptr<Client>> clients;
};

TEST(Http2Server, ServesTheDemosPathsOnOneConnection) {
  Rig rig;
  Client& client = rig.dial();
  const int32_t text = client.get("/");
  const int32_t bytes = client.get("/bytes/100000");
  const int32_t chunked = client.get("/chunked/7");
  const int32_t delay = client.get("/delay/50");
  const int32_t empty = client.get("/status/204");
  const int32_t head = client.ask("HEAD", "/bytes/9");
  rig.run_for(kSecond);
  EXPECT_EQ(client.streams[text].status, "200");
  EXPECT_EQ(client.streams[text].body, "hello from conpool's demo origin\n");
  EXPECT_EQ(field_of(client.streams[text].fields, "content-length"), "33");
  EXPECT_TRUE(client.streams[bytes].body == pattern(0, 100000));
  EXPECT_EQ(client.streams[chunked].body, pattern(0, 7));
  EXPECT_EQ(field_of(client.streams[chunked].fields, "content-length"), "");
  EXPECT_EQ(client.streams[delay].body, "after 50 ms\n");
  EXPECT_EQ(client.streams[empty].status, "204");
  EXPECT_EQ(field_of(client.streams[head].fields, "content-length"), "9");
  EXPECT_EQ(client.streams[head].body, "");
  for (const auto& [id, stream] : client.streams)
    EXPECT_EQ(stream.closed, 0u) << id;
  EXPECT_EQ(rig.counts().http2_connections, 1u);
  EXPECT_EQ(rig.counts().answered, 6u);
  EXPECT_EQ(rig.counts().most_streams, 6u);
  EXPECT_EQ(rig.counts().open_streams, 0u);
  EXPECT_EQ(rig.counts().bad_requests, 0u) << rig.counts().first_problem;
}

TEST(Http2Server, EchoesBodiesThroughItsWindow) {
  Rig rig;
  Client& client = rig.dial();
  const std::string body = pattern(0, 1'000'000, 3);
  const int32_t echo = client.ask("POST", "/echo", {{"x-request-id", "e"}}, body);
  const int32_t drop = client.ask("POST", "/", {}, body);
  rig.run_for(kMinute);
  EXPECT_TRUE(client.streams[echo].body == body);
  EXPECT_EQ(client.streams[drop].status, "200");
  const HttpRequest& request = *rig.server.log().front();
  EXPECT_EQ(request.id, "e");
  EXPECT_EQ(request.authority, "a");
  EXPECT_EQ(request.body_size, body.size());
  EXPECT_EQ(request.body_hash, hash_of(body));
  EXPECT_TRUE(request.complete && request.answered && request.ended);
  EXPECT_EQ(rig.server.log().back()->body_hash, hash_of(body));
}

TEST(Http2Server, SendsInterimResponsesPiecesAndTrailers) {
  Rig rig;
  HttpAnswer answer;
  answer.text = "abcdef";
  answer.piece = 3;
  answer.piece_delay = 10 * kMillisecond;
  answer.framing = HttpFraming::Chunked;
  answer.trailers = {{"x-sum", "9"}};
  answer.interim = {{.status = 103}};
  rig.server.set_answer(answer);
  Client& client = rig.dial();
  const int32_t id = client.ask("POST", "/", {{"expect", "100-continue"}}, "body");
  rig.run_for(5 * kMillisecond);
  EXPECT_EQ(client.streams[id].interim, "100103");
  EXPECT_EQ(client.streams[id].body, "abc");
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(client.streams[id].body, "abcdef");
  EXPECT_EQ(client.streams[id].trailers, (HttpFields{{"x-sum", "9"}}));
  EXPECT_EQ(client.streams[id].closed, 0u);
}

TEST(Http2Server, ResetsStreamsWithTheCodeAndAtTheByteOfTheScript) {
  for (const int64_t at : {-1, 0, 4, 6}) {
    for (uint32_t code = 0; code <= 13; ++code) {
      Rig rig;
      HttpAnswer answer;
      answer.text = "abcdef";
      answer.fault = HttpFault::ResetStream;
      answer.fault_at = at;
      answer.h2_error = code;
      rig.server.set_answer(answer);
      Client& client = rig.dial();
      const int32_t id = client.get("/", "x");
      rig.run_for(kSecond);
      EXPECT_EQ(client.streams[id].closed, code);
      EXPECT_EQ(client.streams[id].body, std::string("abcdef").substr(0, at < 0 ? 0 : at));
      EXPECT_EQ(client.streams[id].status, at < 0 ? "" : "200");
      const bool unprocessed = code == NGHTTP2_REFUSED_STREAM || code == NGHTTP2_HTTP_1_1_REQUIRED;
      EXPECT_EQ(rig.server.log().front()->refused, unprocessed);
      EXPECT_EQ(rig.server.seen("x"), unprocessed ? 0u : 1u);
      EXPECT_EQ(rig.counts().resets_sent, 1u);
      EXPECT_EQ(client.probe.eof_at, kNever);
    }
  }
}

TEST(Http2Server, EndsConnectionsInTheMiddleOfAResponse) {
  for (const HttpFault fault : {HttpFault::Close, HttpFault::Reset, HttpFault::Silence}) {
    Rig rig;
    HttpAnswer answer;
    answer.text = "abcdef";
    answer.fault = fault;
    answer.fault_at = 4;
    rig.server.set_answer(answer);
    Client& client = rig.dial();
    const int32_t id = client.get("/");
    rig.run_for(kSecond);
    EXPECT_EQ(client.streams[id].body, "abcd");
    EXPECT_EQ(client.probe.eof_at != kNever, fault == HttpFault::Close);
    EXPECT_EQ(client.failed || client.probe.failed_at != kNever, fault == HttpFault::Reset);
    EXPECT_FALSE(rig.server.log().front()->answered);
    EXPECT_EQ(rig.counts().open_streams, fault == HttpFault::Silence ? 1u : 0u);
    client.probe.stream->close();
    rig.run_for(kSecond);
    EXPECT_EQ(rig.counts().open_streams, 0u);
    EXPECT_TRUE(rig.server.log().front()->ended);
  }
}

TEST(Http2Server, RefusesTheFirstStreamsOrAllOfThem) {
  HttpScript script;
  script.refuse_streams = 2;
  Rig rig(script);
  Client& client = rig.dial();
  const int32_t first = client.get("/", "x");
  const int32_t second = client.get("/", "x");
  const int32_t third = client.get("/", "x");
  rig.run_for(kSecond);
  EXPECT_EQ(client.streams[first].closed, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(client.streams[second].closed, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(client.streams[third].status, "200");
  EXPECT_EQ(rig.server.seen("x"), 1u);
  EXPECT_EQ(rig.counts().repeated, 0u);
  EXPECT_EQ(rig.counts().refused, 2u);

  script.refuse_streams = 0;
  script.http1_required = true;
  rig.server.set_script(script);
  Client& other = rig.dial();
  const int32_t id = other.get("/");
  rig.run_for(kSecond);
  EXPECT_EQ(other.streams[id].closed, uint32_t{NGHTTP2_HTTP_1_1_REQUIRED});
}

TEST(Http2Server, SaysGoawayAsTheScriptDoes) {
  HttpScript script;
  script.goaways = {{.after_requests = 2, .last_id = H2Goaway::kEvery, .close = false},
                    {.after_requests = 2, .delay = 10 * kMillisecond, .last_id = 3}};
  Rig rig(script);
  rig.server.set_answer_chooser([](const HttpRequest& request) {
    HttpAnswer answer;
    answer.text = "late";
    answer.head_delay = (50 + 10 * request.stream) * kMillisecond;
    return answer;
  });
  Client& client = rig.dial();
  const int32_t one = client.get("/", "1");
  const int32_t three = client.get("/", "3");
  const int32_t five = client.get("/", "5");
  rig.run_for(5 * kMillisecond);
  EXPECT_EQ(client.goaways, "2147483647/0 ");
  rig.run_for(kSecond);
  EXPECT_EQ(client.goaways, "2147483647/0 3/0 ");
  EXPECT_EQ(client.streams[one].body, "late");
  EXPECT_EQ(client.streams[three].body, "late");
  EXPECT_EQ(client.streams[five].closed, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_NE(client.probe.eof_at, kNever);
  EXPECT_TRUE(rig.server.log()[2]->refused);
  EXPECT_EQ(rig.server.seen("5"), 0u);
  EXPECT_EQ(rig.counts().goaways_sent, 2u);
}

TEST(Http2Server, GoawayWithLastIdNullDisownsEverything) {
  HttpScript script;
  script.goaways = {{.after_requests = 1, .last_id = 0, .error = NGHTTP2_INTERNAL_ERROR}};
  Rig rig(script);
  Client& client = rig.dial();
  const int32_t id = client.get("/delay/10", "x");
  rig.run_for(kSecond);
  EXPECT_EQ(client.goaways, "0/2 ");
  EXPECT_EQ(client.streams[id].closed, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(rig.server.seen("x"), 0u);
  EXPECT_NE(client.probe.eof_at, kNever);
}

TEST(Http2Server, ClosesAfterRequestsAndWhenIdleWithAGoaway) {
  HttpScript script;
  script.close_after_requests = 2;
  script.idle_timeout = 100 * kMillisecond;
  Rig rig(script);
  Client& first = rig.dial();
  const int32_t one = first.get("/");
  const int32_t three = first.get("/delay/20");
  rig.run_for(90 * kMillisecond);
  EXPECT_EQ(first.streams[one].status, "200");
  EXPECT_EQ(first.streams[three].status, "200");
  EXPECT_EQ(first.goaways, "3/0 ");
  EXPECT_NE(first.probe.eof_at, kNever);

  Client& second = rig.dial();
  const Time start = rig.loop->now();
  nghttp2_submit_ping(second.session, NGHTTP2_FLAG_NONE, nullptr);
  rig.run(start + 50 * kMillisecond);
  nghttp2_submit_ping(second.session, NGHTTP2_FLAG_NONE, nullptr);
  second.flush();
  rig.run(start + kSecond);
  EXPECT_EQ(second.goaways, "0/0 ");
  EXPECT_EQ(second.probe.eof_at, start + (50 + 1 + 100 + 1) * kMillisecond);
  EXPECT_EQ(second.pongs, 2);
}

TEST(Http2Server, ChangesItsSettings) {
  HttpScript script;
  script.settings.max_concurrent = 3;
  script.settings_changes = {{.after_requests = 1, .settings = {.max_concurrent = 0}},
                             {.after_requests = 1,
                              .delay = 50 * kMillisecond,
                              .settings = {.max_concurrent = 2, .initial_window = 10}}};
  Rig rig(script);
  Client& client = rig.dial();
  rig.run_for(5 * kMillisecond);
  const auto remote = [&](nghttp2_settings_id id) {
    return nghttp2_session_get_remote_settings(client.session, id);
  };
  EXPECT_EQ(remote(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 3u);
  client.get("/");
  rig.run_for(5 * kMillisecond);
  EXPECT_EQ(remote(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 0u);
  rig.run_for(50 * kMillisecond);
  EXPECT_EQ(remote(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 2u);
  EXPECT_EQ(remote(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 10u);
  EXPECT_EQ(rig.counts().over_limit, 0u);
}

TEST(Http2Server, BeginsAsTheScriptSays) {
  const auto begin = [](H2Opening opening) {
    HttpScript script;
    script.opening = opening;
    return script;
  };
  Rig dies(begin(H2Opening::DieBeforeSettings));
  Client& dead = dies.dial();
  dies.run_for(kSecond);
  EXPECT_EQ(dead.received, "");
  EXPECT_NE(dead.probe.eof_at, kNever);

  Rig answers(begin(H2Opening::Http1Bytes));
  Client& puzzled = answers.dial();
  answers.run_for(kSecond);
  EXPECT_TRUE(puzzled.received.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(puzzled.probe.eof_at, kNever);

  Rig silent(begin(H2Opening::Silence));
  Client& waiting = silent.dial();
  silent.run_for(kMinute);
  EXPECT_EQ(waiting.received, "");
  EXPECT_EQ(waiting.probe.eof_at, kNever);

  HttpScript old;
  old.http2 = false;
  Rig http1(old);
  Client& refused = http1.dial();
  http1.run_for(kSecond);
  EXPECT_TRUE(refused.received.starts_with("HTTP/1.1 400 "));
}

TEST(Http2Server, KeepsPingsUnansweredAndSendsRawFrames) {
  HttpScript script;
  script.ack_pings = false;
  script.raw = {{.after_requests = 1, .frames = std::string("\0\0\0\x6a\0\0\0\0\0", 9)}};
  Rig rig(script);
  Client& client = rig.dial();
  nghttp2_submit_ping(client.session, NGHTTP2_FLAG_NONE, nullptr);
  client.get("/");
  rig.run_for(kSecond);
  EXPECT_EQ(client.pongs, 0);
  EXPECT_EQ(rig.counts().pings, 1u);
  EXPECT_NE(client.received.find(script.raw[0].frames), std::string::npos);
}

TEST(Http2Server, CountsCancelsAndBrokenClients) {
  Rig rig;
  Client& client = rig.dial();
  const int32_t id = client.get("/delay/500");
  rig.run_for(10 * kMillisecond);
  EXPECT_EQ(rig.counts().open_streams, 1u);
  nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  client.flush();
  rig.run_for(kSecond);
  EXPECT_EQ(rig.counts().open_streams, 0u);
  EXPECT_EQ(rig.counts().resets_received, 1u);
  EXPECT_FALSE(rig.server.log().front()->answered);
  ASSERT_TRUE(client.probe.write(std::string("\0\0\1\0\0\0\0\0\0x", 10)));  // DATA on stream 0
  rig.run_for(kSecond);
  EXPECT_NE(client.probe.eof_at, kNever);
  EXPECT_EQ(rig.counts().bad_requests, 1u);
  EXPECT_NE(rig.counts().first_problem, "");
}

TEST(Http2Server, CutsTheConnectionAtAnyByteAndEndsInEveryState) {
  for (uint64_t cut = 1; cut < 200; ++cut) {
    HttpScript script;
    script.cut_after_sent = cut;
    script.ending = cut % 2 == 0 ? Ending::Reset : Ending::Close;
    Rig rig(script);
    Client& client = rig.dial();
    client.get("/bytes/100");
    client.get("/delay/3");
    rig.run_for(cut % 7 * kMillisecond);
    if (cut % 3 == 0) rig.server.kill();
    rig.run_for(kSecond);
    EXPECT_LE(client.received.size(), cut);
    EXPECT_EQ(rig.counts().open_streams, 0u);
    EXPECT_EQ(rig.server.counts().open, 0u);
  }
}

}  // namespace
}  // namespace conpool::origin
