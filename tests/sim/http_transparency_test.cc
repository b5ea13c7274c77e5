// One program over http1, TLS http1, h2c and h2: the same events and results, and the server sees
// the same requests.
#include <algorithm>
#include <functional>

#include "sim/http_world.h"

namespace conpool::sim {
namespace {

// Fields that only say how a message is framed.
bool is_framing(const std::string& name) {
  return name == "transfer-encoding" || name == "connection" || name == "keep-alive" ||
         name == "host" || name == "trailer" || name == "x-request-id" || name == "expect";
}

std::string text_of(const HttpFields& fields) {
  std::string text = "{";
  for (const auto& [name, value] : fields) {
    if (is_framing(name)) continue;
    text += (text.size() > 1 ? " " : "") + name + "=" + value;
  }
  return text + "}";
}

std::string text_of(const std::string& body) {
  if (body.size() <= 40) return "'" + body + "'";
  return std::to_string(body.size()) + ":" + std::to_string(origin::hash_of(body));
}

// "HCF 200 {x-a=1} 'hello'", with trailers behind.
std::string text_of(const Reply& reply) {
  if (!reply.ended) return "did not end";
  if (reply.status != 0) {
    return reply.events + " " + status_name(reply.status) + " proof " +
           std::to_string(reply.proof) + " " + text_of(reply.body);
  }
  std::string text = reply.events + " " + std::to_string(reply.code) + " " + text_of(reply.fields) +
                     " " + text_of(reply.body);
  for (const int code : reply.interims)
    text = std::to_string(code) + " " + text;
  if (!reply.trailers.empty()) text += " " + text_of(reply.trailers);
  return text;
}

// "POST /x origin.test {x-a=1} 'body'".
std::string text_of(const HttpRequest& request) {
  HttpFields fields = request.fields;
  // A length is said where it is known; HTTP/2 may leave it out.
  std::erase_if(fields, [](const auto& field) { return field.first == "content-length"; });
  std::string text = request.method + " " + request.target + " " + request.authority + " " +
                     text_of(fields) + " " + std::to_string(request.body_size) + ":" +
                     std::to_string(request.body_hash % 1000);
  if (!request.trailers.empty()) text += " " + text_of(request.trailers);
  return text;
}

std::string seen(const std::string& head, const std::string& body, const std::string& rest = "") {
  return head + " " + std::to_string(body.size()) + ":" +
         std::to_string(origin::hash_of(body) % 1000) + rest;
}

struct Case {
  std::string name;
  Ask ask;
  HttpAnswer answer;
  std::string expected;                                       // of the reply
  std::string seen;                                           // by the server; empty: not looked at
  OptionList options;                                         // of the endpoint
  std::function<void(HttpWorld&, conpool_op)> act = nullptr;  // after the start
  bool lives = true;  // the next request, which asks for nothing special, succeeds
};

Ask get(const std::string& target = "/", HttpFields fields = {}) {
  return {.target = target, .fields = std::move(fields)};
}

Ask post(const std::string& body, HttpFields fields = {}) {
  return {.method = "POST", .target = "/", .fields = std::move(fields), .body = body};
}

HttpAnswer text(const std::string& body, HttpFields fields = {}, uint16_t status = 200) {
  HttpAnswer answer;
  answer.status = status;
  answer.fields = std::move(fields);
  answer.text = body;
  return answer;
}

HttpAnswer echo() {
  HttpAnswer answer;
  answer.body = origin::HttpBody::Echo;
  return answer;
}

HttpAnswer fault(HttpFault kind, int64_t at, const std::string& body = "abcdef") {
  HttpAnswer answer = text(body);
  answer.fault = kind;
  answer.fault_at = at;
  return answer;
}

class Transparency : public ::testing::TestWithParam<Wire> {
 protected:
  void run(const Case& each) {
    SCOPED_TRACE(each.name);
    HttpWorld world;
    world.network.host("*").latency = ms(5);
    world.open();
    HttpServer& server = world.serve_on(GetParam());
    server.set_answer(each.answer);
    conpool_endpoint* endpoint = world.target(GetParam(), each.options);
    Ask ask = each.ask;
    ask.id = "asked";
    const conpool_op op = world.start(endpoint, ask);
    if (each.act) each.act(world, op);
    EXPECT_EQ(text_of(world.finish(op)), each.expected) << world.reply(op).report;
    EXPECT_LE(server.seen("asked"), 1u);
    if (!each.seen.empty() && !server.log().empty()) {
      EXPECT_EQ(text_of(*server.log().front()), each.seen);
    }
    EXPECT_EQ(server.http_counts().bad_requests, 0u) << server.http_counts().first_problem;
    if (world.reply(op).status == 0) {
      EXPECT_EQ(world.reply(op).version, is_h2(GetParam()) ? 20 : 11);
      EXPECT_EQ(world.reply(op).sends, 1u);
    }
    server.set_answer(text("again"));
    const Reply next = world.perform(endpoint, get());
    EXPECT_EQ(next.body, "again") << next.report;
    EXPECT_EQ(world.metric("pool.requests.running"), 0);
  }
};

TEST_P(Transparency, Responses) {
  HttpAnswer no_content = text("", {{"x-a", "1"}}, 204);
  HttpAnswer not_modified = text("", {{"etag", "\"1\""}}, 304);
  HttpAnswer hinted = text("body");
  hinted.interim = {{.status = 103, .fields = {{"link", "</a>"}}}, {.status = 102}};
  hinted.head_delay = ms(20);
  HttpAnswer trailed = text("body");
  trailed.framing = HttpFraming::Chunked;
  trailed.trailers = {{"x-sum", "9"}, {"x-sum", "10"}};
  HttpAnswer slow = text("abcdef");
  slow.piece = 1;
  slow.piece_delay = ms(30);
  HttpAnswer large;
  large.body = origin::HttpBody::Pattern;
  large.pattern_size = 3'000'000;
  const std::string large_text = text_of(origin::pattern(0, 3'000'000));
  HttpAnswer chunked = large;
  chunked.framing = HttpFraming::Chunked;
  chunked.piece = 777;
  const HttpFields repeated = {
      {"set-cookie", "a=1"}, {"x-empty", ""}, {"set-cookie", "b=2"}, {"x-bytes", "\xc3\xa9\x80"}};
  Ask head = get();
  head.method = "HEAD";
  Ask whole = get();
  whole.how = CONPOOL_WHOLE;
  const std::vector<Case> cases = {
      {"a small one", get(), text("hello", {{"x-a", "1"}}),
       "HCF 200 {content-length=5 x-a=1} 'hello'"},
      {"an empty one", get(), text(""), "HF 200 {content-length=0} ''"},
      {"one without a body", get(), no_content, "HF 204 {x-a=1} ''"},
      {"not modified", get(), not_modified, "HF 304 {content-length=0 etag=\"1\"} ''"},
      {"of HEAD", head, text("hello"), "HF 200 {content-length=5} ''"},
      {"of an error", get(), text("no", {}, 404), "HCF 404 {content-length=2} 'no'"},
      {"of another error", get(), text("", {}, 599), "HF 599 {content-length=0} ''"},
      {"interim ones before it", get(), hinted, "102 103 IHCF 200 {content-length=4} 'body'"},
      {"trailers", get(), trailed, "HCTF 200 {} 'body' {x-sum=9 x-sum=10}"},
      {"slow pieces", get(), slow, "HCF 200 {content-length=6} 'abcdef'"},
      {"large and sized", get(), large, "HCF 200 {content-length=3000000} " + large_text},
      {"large in small pieces", get(), chunked, "HCF 200 {} " + large_text},
      {"large and whole", whole, chunked, "F 200 {} " + large_text},
      {"whole with trailers", whole, trailed, "F 200 {} 'body' {x-sum=9 x-sum=10}"},
      {"repeated, empty and other fields", get(), text("", repeated),
       "HF 200 {content-length=0 set-cookie=a=1 x-empty= set-cookie=b=2 x-bytes=\xc3\xa9\x80} ''"},
  };
  for (const Case& each : cases)
    run(each);
}

TEST_P(Transparency, Requests) {
  const std::string large = origin::pattern(0, 1'000'000, 5);
  Ask options = get("*");
  options.method = "OPTIONS";
  Ask brew = post("tea", {{"x-a", "1"}, {"x-b", ""}, {"x-a", "2"}});
  brew.method = "BREW";
  brew.target = "/pot?size=1&x=%20";
  Ask named = get("/", {{"Host", "other.test"}, {"TE", "trailers"}});
  Ask sized = post("abc", {{"Content-Length", "3"}});
  Ask remove = post("why");
  remove.method = "DELETE";
  Ask trailed = post("body");
  trailed.trailers = {{"x-sum", "1"}, {"x-end", ""}};
  Ask expecting = post(large, {{"Expect", "100-continue"}});
  const auto pieces = [](std::vector<std::string> parts) {
    return [parts](HttpWorld& world, conpool_op op) {
      for (size_t i = 0; i < parts.size(); ++i) {
        EXPECT_NE(world.write_piece(op, parts[i], i + 1 == parts.size()), 0u);
        world.run_for(ms(20));
      }
    };
  };
  Ask streamed;
  streamed.method = "POST";
  streamed.pieces = -1;
  Ask announced = streamed;
  announced.pieces = 7;
  Ask streamed_trailers = streamed;
  streamed_trailers.trailers = {{"x-sum", "1"}};
  const std::string echoed = "HCF 200 {content-length=1000000} " + text_of(large);
  HttpAnswer ok = text("ok");
  const std::string fine = "HCF 200 {content-length=2} 'ok'";
  const std::vector<Case> cases = {
      {"OPTIONS *", options, ok, fine, seen("OPTIONS * origin.test {}", "")},
      {"any method, any fields", brew, ok, fine,
       seen("BREW /pot?size=1&x=%20 origin.test {x-a=1 x-b= x-a=2}", "tea")},
      {"another host", named, ok, fine, seen("GET / other.test {te=trailers}", "")},
      {"a length that was given", sized, ok, fine, seen("POST / origin.test {}", "abc")},
      {"an empty body", post(""), ok, fine, seen("POST / origin.test {}", "")},
      {"DELETE with a body", remove, ok, fine, seen("DELETE / origin.test {}", "why")},
      {"trailers", trailed, ok, fine, seen("POST / origin.test {}", "body", " {x-sum=1 x-end=}")},
      {"large", post(large), echo(), echoed, seen("POST / origin.test {}", large)},
      {"in pieces",
       streamed,
       ok,
       fine,
       seen("POST / origin.test {}", "abcdefg"),
       {},
       pieces({"abc", "", "defg"})},
      {"in pieces, with an empty end",
       streamed,
       ok,
       fine,
       seen("POST / origin.test {}", "abc"),
       {},
       pieces({"abc", ""})},
      {"in pieces that were announced",
       announced,
       ok,
       fine,
       seen("POST / origin.test {}", "abcdefg"),
       {},
       pieces({"abc", "defg"})},
      {"in pieces and trailers",
       streamed_trailers,
       ok,
       fine,
       seen("POST / origin.test {}", "abc", " {x-sum=1}"),
       {},
       pieces({"abc", ""})},
  };
  for (const Case& each : cases)
    run(each);
  HttpAnswer continued = echo();
  run({"large, once the server wants it", expecting, continued,
       "100 IHCF 200 {content-length=1000000} " + text_of(large),
       seen("POST / origin.test {}", large)});
}

TEST_P(Transparency, Errors) {
  Ask whole = get();
  whole.how = CONPOOL_WHOLE;
  whole.options = {{"response.max_body", "5"}};
  HttpAnswer chunked = text("abcdef");
  chunked.framing = HttpFraming::Chunked;
  HttpAnswer talkative = text("abcdef");
  for (int i = 0; i < 4; ++i)
    talkative.interim.push_back({.status = 103});
  HttpAnswer wordy =
      text("abcdef", {{"x-a", std::string(900, 'a')}, {"x-b", std::string(200, 'b')}});
  HttpAnswer many = text("abcdef");
  for (int i = 0; i < 10; ++i)
    many.fields.emplace_back("x-" + std::to_string(i), "y");
  const std::vector<Case> cases = {
      {"a body over the limit", whole, text("abcdef"), "F E_HTTP_BODY_LIMIT proof 2 ''"},
      {"a body that grows over the limit", whole, chunked, "F E_HTTP_BODY_LIMIT proof 2 ''"},
      {"a header over the limit",
       get(),
       wordy,
       "F E_HTTP_HEADER_LIMIT proof 2 ''",
       "",
       {{"response.max_header", "1KiB"}}},
      {"too many fields",
       get(),
       many,
       "F E_HTTP_HEADER_LIMIT proof 2 ''",
       "",
       {{"response.max_fields", "9"}}},
      {"too many interim responses",
       get(),
       talkative,
       "IF E_HTTP_INTERIM_LIMIT proof 2 ''",
       "",
       {{"response.max_interim", "3"}}},
  };
  for (const Case& each : cases)
    run(each);
}

TEST_P(Transparency, Timeouts) {
  const auto limited = [](const std::string& option, const std::string& value) {
    Ask ask = get();
    ask.options = {{option, value}};
    return ask;
  };
  const std::vector<Case> cases = {
      {"no answer", limited("first_byte.timeout", "200ms"), fault(HttpFault::Silence, -1),
       "F E_HTTP_FIRST_BYTE_TIMEOUT proof 2 ''"},
      {"a stall", limited("stall.timeout", "200ms"), fault(HttpFault::Silence, 3),
       "HCF E_STALL_TIMEOUT proof 2 'abc'"},
      {"the whole takes too long", limited("total.timeout", "200ms"), fault(HttpFault::Silence, 3),
       "HCF E_TIMEOUT proof 2 'abc'"},
      {"the whole takes too long without an answer", limited("total.timeout", "200ms"),
       fault(HttpFault::Silence, -1), "F E_TIMEOUT proof 2 ''"},
  };
  for (const Case& each : cases)
    run(each);
}

TEST_P(Transparency, Cancels) {
  const auto cancel_after = [](Nanos delay) {
    return [delay](HttpWorld& world, conpool_op op) {
      if (delay > 0) world.run_for(delay);
      EXPECT_EQ(conpool_op_cancel(op), 0);
      EXPECT_EQ(conpool_op_cancel(op), 0);
    };
  };
  Ask upload;
  upload.method = "POST";
  upload.pieces = -1;
  const auto cancel_upload = [](HttpWorld& world, conpool_op op) {
    const conpool_op write = world.write_piece(op, "abc", false);
    world.run_for(ms(100));
    EXPECT_TRUE(world.take(Nanos{0}));
    EXPECT_EQ(world.write_status(write), 0);
    EXPECT_EQ(conpool_op_cancel(op), 0);
  };
  const std::vector<Case> cases = {
      {"at once", get(), text("x"), "F E_CANCELLED proof 0 ''", "", {}, cancel_after(0)},
      {"while it dials", get(), text("x"), "F E_CANCELLED proof 0 ''", "", {}, cancel_after(ms(2))},
      {"while the server thinks",
       get(),
       fault(HttpFault::Silence, -1),
       "F E_CANCELLED proof 2 ''",
       "",
       {},
       cancel_after(ms(200))},
      {"in the middle of the body",
       get(),
       fault(HttpFault::Silence, 3),
       "HCF E_CANCELLED proof 2 'abc'",
       "",
       {},
       cancel_after(ms(200))},
      {"in the middle of an upload",
       upload,
       echo(),
       "HCF E_CANCELLED proof 2 'abc'",
       "",
       {},
       cancel_upload},
  };
  for (const Case& each : cases)
    run(each);
}

// What the connection's end is called depends on the protocol; what became of the request does not.
TEST_P(Transparency, ConnectionsThatEnd) {
  for (const HttpFault kind : {HttpFault::Close, HttpFault::Reset}) {
    for (const int64_t at : {-1, 0, 3}) {
      HttpWorld world;
      world.network.host("*").latency = ms(5);
      world.open();
      HttpServer& server = world.serve_on(GetParam());
      server.set_answer(fault(kind, at));
      conpool_endpoint* endpoint = world.target(GetParam());
      Ask ask = post("body");
      ask.id = "asked";
      const Reply reply = world.perform(endpoint, ask);
      EXPECT_LT(reply.status, 0);
      EXPECT_EQ(reply.proof, uint64_t{CONPOOL_PROOF_MAYBE_PROCESSED});
      EXPECT_EQ(reply.events, at < 0 ? "F" : at == 0 ? "HF" : "HCF") << reply.line;
      EXPECT_EQ(reply.body, at == 3 ? "abc" : "");
      EXPECT_EQ(reply.sends, 1u);
      EXPECT_EQ(server.seen("asked"), 1u);
      server.set_answer(text("again"));
      EXPECT_EQ(world.perform(endpoint, get()).body, "again");
    }
  }
}

// A consumer that keeps its chunks holds the server back, and nobody else.
TEST_P(Transparency, AHeldBodyHoldsTheServerBack) {
  HttpWorld world;
  world.network.host("*").latency = ms(5);
  world.network.host("*").send_buffer = 64 * 1024;
  world.network.host("*").receive_buffer = 64 * 1024;
  world.open();
  HttpServer& server = world.serve_on(GetParam());
  conpool_endpoint* endpoint = world.target(GetParam(), {{"h2.stream_window", "128KiB"},
                                                         {"h2.window_max", "128KiB"},
                                                         {"endpoint.max_connections", "2"}});
  world.hold_chunks = true;
  const conpool_op op = world.start(endpoint, get("/bytes/5000000"));
  for (int i = 0; i < 200; ++i)
    (void)world.take(ms(10));
  EXPECT_GT(world.reply(op).body.size(), 10'000u);
  EXPECT_LT(world.reply(op).body.size(), 1'000'000u);
  EXPECT_LT(server.counts().bytes_out, 2'000'000u);
  world.hold_chunks = false;
  EXPECT_TRUE(world.perform(endpoint, get("/bytes/100000")).ok());
  EXPECT_FALSE(world.reply(op).ended);
  world.free_chunks();
  const Reply& reply = world.finish(op);
  EXPECT_TRUE(reply.ok()) << reply.report;
  EXPECT_TRUE(reply.body == origin::pattern(0, 5'000'000));
}

TEST_P(Transparency, APoolThatHoldsTooMuchAsksForNoMore) {
  HttpWorld world;
  world.open({{"pool.max_pinned", "64KiB"}});
  world.serve_on(GetParam());
  conpool_endpoint* endpoint =
      world.target(GetParam(), {{"h2.stream_window", "128KiB"}, {"h2.window_max", "128KiB"}});
  world.hold_chunks = true;
  const conpool_op keeper = world.start(endpoint, get("/bytes/5000000"));
  while (world.reply(keeper).body.size() < 100'000)
    ASSERT_TRUE(world.take(kSecond));
  world.hold_chunks = false;
  // Its own reader is not behind, but somebody else's is, and the limit is the pool's.
  const conpool_op other = world.start(endpoint, get("/bytes/5000000"));
  for (int i = 0; i < 200; ++i)
    (void)world.take(ms(10));
  EXPECT_GT(world.reply(other).body.size(), 100'000u);
  EXPECT_LT(world.reply(other).body.size(), 2'000'000u);
  world.free_chunks();
  EXPECT_TRUE(world.finish(other).ok());
  EXPECT_TRUE(world.finish(keeper).ok());
}

std::string test_name(const ::testing::TestParamInfo<Wire>& info) {
  constexpr const char* kNames[] = {"Http1", "TlsHttp1", "H2c", "H2"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Http, Transparency, ::testing::ValuesIn(kWires), test_name);

}  // namespace
}  // namespace conpool::sim
