// Requests: whole and streamed answers, bodies of every kind, and how requests end.
#include "http_support.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

namespace capi_test {
namespace {

class Requests : public testing::TestWithParam<const char*> {
 protected:
  PoolPtr pool_ = make_pool({{"loop.drive", GetParam()}});
};

// --- whole answers -------------------------------------------------------------------------------

TEST_P(Requests, GetIsAnsweredWhole) {
  HttpServer server([](const HttpRequest&) {
    return answer("hello", 200, "X-One: 1\r\nx-two: 2\r\nX-One: again\r\n");
  });
  const RequestPtr request = make_request(pool_, "GET", server.url("/path?q=1"));
  const Answer got = perform(request);
  ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
  const conpool_response* r = got.response.get();
  EXPECT_EQ(conpool_response_status(r), 200);
  EXPECT_EQ(conpool_response_version(r), 11);
  EXPECT_EQ(got.body(), "hello");
  EXPECT_EQ(conpool_response_header_count(r), 4u);
  size_t size = 0;
  EXPECT_STREQ(conpool_response_header_name(r, 1, &size), "X-One");
  EXPECT_EQ(size, 5u);
  EXPECT_STREQ(conpool_response_header_value(r, 1, &size), "1");
  EXPECT_EQ(size, 1u);
  EXPECT_STREQ(conpool_response_header(r, "x-one", 1, &size), "again");
  EXPECT_EQ(conpool_response_header(r, "x-one", 2, &size), nullptr);
  EXPECT_EQ(size, 0u);
  EXPECT_EQ(conpool_response_header_name(r, 4, &size), nullptr);
  EXPECT_EQ(conpool_response_header_value(r, 4, nullptr), nullptr);
  EXPECT_EQ(conpool_response_trailer_count(r), 0u);
  const Json facts = got.facts();
  EXPECT_EQ(facts["sends"].number(), 1);
  EXPECT_EQ(facts["resends"].items.size(), 0u);
  EXPECT_FALSE(facts["reused"].truth);
  EXPECT_EQ(facts["address"].text, server.authority());
  EXPECT_EQ(facts["protocol"].text, "HTTP/1.1");
  EXPECT_EQ(facts["body_received"].number(), 5);
  EXPECT_LE(facts["leased_ns"].number(), facts["sent_ns"].number());
  EXPECT_LE(facts["sent_ns"].number(), facts["head_ns"].number());
  EXPECT_LE(facts["head_ns"].number(), facts["total_ns"].number());
}

TEST_P(Requests, UseOneConnectionOneAfterAnother) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "GET", server.url("/a"));
  for (int i = 0; i < 20; ++i) {
    const Answer got = perform(request);
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    EXPECT_EQ(got.body(), "/a");
    EXPECT_EQ(got.facts()["reused"].truth, i > 0);
  }
  EXPECT_EQ(server.accepted(), 1);
  EXPECT_EQ(metric(pool_, "pool.requests.made"), 20);
  EXPECT_EQ(metric(pool_, "pool.requests.done"), 20);
  EXPECT_EQ(metric(pool_, "pool.requests.running"), 0);
  EXPECT_EQ(metric(pool_, "pool.requests.sent"), 20);
  EXPECT_EQ(metric(pool_, "pool.request.time.count"), 20);
}

TEST_P(Requests, SendWhatWasAskedAndNothingElse) {
  std::string head;
  HttpServer server([&head](const HttpRequest& request) {
    head = request.head;
    return answer("");
  });
  const RequestPtr request = make_request(pool_, "M-GET", server.url("/x?y"));
  add_header(request, "X-A", " 1 ");
  add_header(request, "x-b", "");
  add_header(request, "X-A", "2\t3");
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(head, "M-GET /x?y HTTP/1.1\r\nHost: " + server.authority() +
                      "\r\nx-a: 1\r\nx-b: \r\nx-a: 2\t3\r\n\r\n");
}

TEST_P(Requests, NameAnotherHost) {
  std::string host;
  HttpServer server([&host](const HttpRequest& request) {
    EXPECT_EQ(request.count("host"), 1u);
    host = request.field("host");
    return answer("");
  });
  const RequestPtr request = make_request(pool_, "GET", server.url("/"));
  add_header(request, "Host", "example.org:8080");
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(host, "example.org:8080");
}

TEST_P(Requests, WithoutABodyInTheAnswer) {
  HttpServer server([](const HttpRequest& request) -> std::optional<std::string> {
    if (request.method == "HEAD") return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    if (request.target == "/204") return "HTTP/1.1 204 No\r\n\r\n";
    return "HTTP/1.1 304 Not\r\nContent-Length: 70000000000\r\n\r\n";
  });
  for (const auto& [method, target, status] :
       {std::tuple{"HEAD", "/", 200}, {"GET", "/204", 204}, {"GET", "/304", 304}}) {
    const Answer got = perform(make_request(pool_, method, server.url(target)));
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    EXPECT_EQ(conpool_response_status(got.response.get()), status);
    EXPECT_EQ(conpool_response_body(got.response.get(), nullptr), nullptr);
  }
  EXPECT_EQ(server.accepted(), 1);
}

TEST_P(Requests, ChunkedAnswersWithTrailers) {
  HttpServer server([](const HttpRequest&) {
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n";
  });
  const Answer got = perform(make_request(pool_, "GET", server.url()));
  ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
  EXPECT_EQ(got.body(), "hello world");
  ASSERT_EQ(conpool_response_trailer_count(got.response.get()), 1u);
  EXPECT_STREQ(conpool_response_trailer_name(got.response.get(), 0, nullptr), "X-Sum");
  EXPECT_STREQ(conpool_response_trailer_value(got.response.get(), 0, nullptr), "11");
}

TEST_P(Requests, AtAnEndpoint) {
  HttpServer server(HttpServer::echo);
  const EndpointPtr endpoint = make_endpoint(pool_, server.url());
  conpool_request* raw = nullptr;
  ASSERT_EQ(conpool_request_new_at(endpoint.get(), "OPTIONS", "*", 1, &raw, nullptr), CONPOOL_OK);
  const RequestPtr request(raw);
  EXPECT_EQ(perform(request).body(), "*");
}

TEST_P(Requests, ManyAtOnceOfOneRequest) {
  HttpServer server(HttpServer::echo);
  const QueuePtr queue = make_queue(pool_);
  const RequestPtr request = make_request(pool_, "POST", server.url());
  set_body(request, "same");
  for (int i = 0; i < 100; ++i)
    start_request(request, queue);
  for (int i = 0; i < 100; ++i) {
    const Event event = next_event(queue);
    ASSERT_EQ(event->status, CONPOOL_OK) << event.report();
    EXPECT_EQ(body_of(static_cast<const conpool_response*>(event->object)), "same");
    EXPECT_EQ(event->value[0], 1u);
  }
  EXPECT_LE(server.accepted(), 16);
}

// --- bodies --------------------------------------------------------------------------------------

TEST_P(Requests, BodiesFromMemory) {
  HttpServer server([](const HttpRequest& request) {
    EXPECT_EQ(request.field("content-length"), std::to_string(request.body.size()));
    return answer(request.body);
  });
  for (const size_t size : {0u, 1u, 65536u, 5000000u}) {
    const std::string body = pattern(size);
    const RequestPtr request = make_request(pool_, "POST", server.url());
    set_body(request, body);
    const Answer got = perform(request);
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    EXPECT_EQ(got.body(), body);
  }
}

TEST_P(Requests, BodiesFromAFile) {
  HttpServer server([](const HttpRequest& request) {
    EXPECT_EQ(request.field("content-length"), std::to_string(request.body.size()));
    return answer(request.body);
  });
  const std::string content = pattern(1500000);
  const TempFile file(content);
  const struct {
    int64_t offset;
    int64_t size;
  } ranges[] = {{0, -1}, {0, 0}, {1000, -1}, {7, 262144}, {0, 524288}, {1499999, 1}, {1500000, -1}};
  for (const auto& range : ranges) {
    const RequestPtr request = make_request(pool_, "PUT", server.url());
    ASSERT_EQ(conpool_request_body_fd(request.get(), file.fd(), range.offset, range.size),
              CONPOOL_OK);
    const Answer got = perform(request);
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    EXPECT_EQ(got.body(),
              content.substr(static_cast<size_t>(range.offset),
                             range.size < 0 ? std::string::npos : static_cast<size_t>(range.size)));
  }
}

TEST_P(Requests, FilesThatAreNoBodies) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "PUT", server.url());
  const TempFile file("0123456789");
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  EXPECT_EQ(conpool_request_body_fd(request.get(), pipe_fds[0], 0, -1), CONPOOL_E_BAD_BODY);
  EXPECT_EQ(conpool_request_body_fd(request.get(), -1, 0, -1), CONPOOL_E_BAD_BODY);
  EXPECT_EQ(conpool_request_body_fd(request.get(), file.fd(), 11, -1), CONPOOL_E_BAD_BODY);
  EXPECT_EQ(conpool_request_body_fd(request.get(), file.fd(), 5, 6), CONPOOL_E_BAD_BODY);
  EXPECT_EQ(conpool_request_body_fd(request.get(), file.fd(), -1, 1), CONPOOL_E_BAD_BODY);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_P(Requests, AFileThatGotShorterFailsTheRequest) {
  HttpServer server(HttpServer::echo);
  const TempFile file(pattern(1000000));
  const RequestPtr request = make_request(pool_, "PUT", server.url());
  ASSERT_EQ(conpool_request_body_fd(request.get(), file.fd(), 0, -1), CONPOOL_OK);
  ASSERT_EQ(ftruncate(file.fd(), 400000), 0);
  const Answer got = perform(request);
  EXPECT_EQ(got.status, CONPOOL_E_HTTP_BODY_SOURCE);
  EXPECT_NE(got.line().find("the file ended after 400000 bytes"), std::string::npos) << got.line();
}

TEST_P(Requests, BodiesInPieces) {
  HttpServer server([](const HttpRequest& request) {
    return answer(request.body, 200, "X-Framing: " + request.field("content-length") + "\r\n");
  });
  for (const bool sized : {false, true}) {
    const QueuePtr queue = make_queue(pool_);
    const RequestPtr request = make_request(pool_, "POST", server.url());
    const std::string big = pattern(300000);
    ASSERT_EQ(conpool_request_body_stream(request.get(), sized ? 300006 : -1), CONPOOL_OK);
    const conpool_op op = start_request(request);
    const conpool_op pieces[] = {write_piece(op, "abc", false), write_piece(op, "", false),
                                 write_piece(op, big, false), write_piece(op, "xyz", true)};
    conpool_op late = 5;
    EXPECT_EQ(conpool_body_write(op, "x", 1, 0, nullptr, 0, &late), CONPOOL_E_WRONG_STATE);
    EXPECT_EQ(late, 5u);
    const uint64_t sizes[] = {3, 0, 300000, 3};
    for (int i = 0; i < 4; ++i) {
      const Event written = wait_for(pieces[i]);
      EXPECT_EQ(written->status, CONPOOL_OK);
      EXPECT_EQ(written->kind, uint32_t{CONPOOL_EVENT_WRITE});
      EXPECT_EQ(written->value[0], sizes[i]);
    }
    const Event event = wait_for(op);
    ASSERT_EQ(event->status, CONPOOL_OK) << event.report();
    const auto* response = static_cast<const conpool_response*>(event->object);
    EXPECT_EQ(body_of(response), "abc" + big + "xyz");
    EXPECT_STREQ(conpool_response_header(response, "x-framing", 0, nullptr), sized ? "300006" : "");
    EXPECT_EQ(conpool_body_write(op, "x", 1, 0, nullptr, 0, &late), CONPOOL_E_STALE);
  }
}

TEST_P(Requests, PiecesKeepToTheAnnouncedLength) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "POST", server.url());
  ASSERT_EQ(conpool_request_body_stream(request.get(), 10), CONPOOL_OK);
  const conpool_op op = start_request(request);
  conpool_op piece = 5;
  EXPECT_EQ(conpool_body_write(op, "0123456789+", 11, 0, nullptr, 0, &piece),
            CONPOOL_E_HTTP_BODY_LENGTH);
  EXPECT_EQ(conpool_body_write(op, "012345678", 9, 1, nullptr, 0, &piece),
            CONPOOL_E_HTTP_BODY_LENGTH);
  EXPECT_EQ(piece, 5u);
  const conpool_op first = write_piece(op, "01234", false);
  EXPECT_EQ(conpool_body_write(op, "567890", 6, 0, nullptr, 0, &piece), CONPOOL_E_HTTP_BODY_LENGTH);
  const conpool_op second = write_piece(op, "56789", false);
  // The end may be said as well, while the request runs.
  const conpool_status said = conpool_body_write(op, "", 0, 1, nullptr, 0, &piece);
  EXPECT_TRUE(said == CONPOOL_OK || said == CONPOOL_E_STALE) << said;
  if (said == CONPOOL_OK) {
    EXPECT_EQ(wait_for(piece)->status, CONPOOL_OK);
  }
  EXPECT_EQ(wait_for(first)->status, CONPOOL_OK);
  EXPECT_EQ(wait_for(second)->status, CONPOOL_OK);
  EXPECT_EQ(wait_for(op)->status, CONPOOL_OK);
}

TEST_P(Requests, AnAnnouncedLengthNeedsNoLastPiece) {
  HttpServer server(HttpServer::echo);
  for (const std::string body : {"0123456789", ""}) {
    const RequestPtr request = make_request(pool_, "POST", server.url());
    ASSERT_EQ(conpool_request_body_stream(request.get(), static_cast<int64_t>(body.size())),
              CONPOOL_OK);
    const conpool_op op = start_request(request);
    if (!body.empty()) {
      EXPECT_EQ(wait_for(write_piece(op, body, false))->status, CONPOOL_OK);
    }
    const Event event = wait_for(op);
    ASSERT_EQ(event->status, CONPOOL_OK) << event.report();
    conpool_op late = 5;
    EXPECT_EQ(conpool_body_write(op, "", 0, 1, nullptr, 0, &late), CONPOOL_E_STALE);
  }
}

TEST_P(Requests, OnePieceBodyAtATime) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "POST", server.url());
  ASSERT_EQ(conpool_request_body_stream(request.get(), -1), CONPOOL_OK);
  EXPECT_EQ(perform(request).status, CONPOOL_E_WRONG_STATE);
  for (int i = 0; i < 2; ++i) {
    const conpool_op op = start_request(request);
    conpool_op other = 5;
    conpool_error* error = nullptr;
    EXPECT_EQ(
        conpool_request_start(request.get(), nullptr, CONPOOL_WHOLE, nullptr, 0, &other, &error),
        CONPOOL_E_WRONG_STATE);
    const ErrorPtr owned(error);
    EXPECT_EQ(other, 5u);
    const conpool_op piece = write_piece(op, "all", true);
    EXPECT_EQ(wait_for(piece)->status, CONPOOL_OK);
    EXPECT_EQ(wait_for(op)->status, CONPOOL_OK);
  }
}

// Reads nothing of what comes, until the peer closes.
Server::Serve deaf() {
  return [](int fd) {
    pollfd watched{fd, POLLRDHUP, 0};
    poll(&watched, 1, -1);
  };
}

TEST_P(Requests, ACancelledPieceEndsTheRequest) {
  HttpServer server(deaf());
  const RequestPtr request = make_request(pool_, "POST", server.url());
  ASSERT_EQ(conpool_request_body_stream(request.get(), 60000000), CONPOOL_OK);
  const std::string big = pattern(30000000);
  const conpool_op op = start_request(request);
  const conpool_op first = write_piece(op, big, false);
  const conpool_op second = write_piece(op, big, true);
  EXPECT_EQ(conpool_op_cancel(second), CONPOOL_OK);
  EXPECT_EQ(wait_for(second)->status, CONPOOL_E_CANCELLED);
  const Event ended = wait_for(op);
  EXPECT_EQ(ended->status, CONPOOL_E_CANCELLED);
  EXPECT_NE(ended.line().find("a piece of its body was cancelled"), std::string::npos);
  const Event other = wait_for(first);
  EXPECT_EQ(other->status, CONPOOL_E_CANCELLED);
  EXPECT_LT(other->value[0], big.size());
}

TEST_P(Requests, TrailersFollowTheBody) {
  HttpRequest seen;
  HttpServer server([&seen](const HttpRequest& request) {
    seen = request;
    return answer("");
  });
  const RequestPtr request = make_request(pool_, "POST", server.url());
  set_body(request, "body");
  add_trailer(request, "X-Sum", " 42 ");
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(seen.body, "body");
  EXPECT_EQ(seen.field("trailer"), "x-sum");
  ASSERT_EQ(seen.trailers.size(), 1u);
  EXPECT_EQ(seen.trailers.find("x-sum")->second, "42");
}

TEST_P(Requests, ExpectHoldsTheBody) {
  std::atomic<bool> body_came_early{false};
  HttpServer server(Server::Serve([&](int fd) {
    HttpReader reader(fd);
    HttpRequest request;
    if (!reader.read_head(&request)) return;
    EXPECT_EQ(request.field("expect"), "100-continue");
    char byte;
    body_came_early = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
    send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    reader.read_body(&request);
    send_all(fd, answer(request.body));
  }));
  const RequestPtr request = make_request(pool_, "POST", server.url(), {{"expect.timeout", "30s"}});
  set_body(request, "held");
  add_header(request, "Expect", "100-Continue");
  const Answer got = perform(request);
  ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
  EXPECT_EQ(got.body(), "held");
  EXPECT_FALSE(body_came_early);
}

// --- streams -------------------------------------------------------------------------------------

TEST_P(Requests, StreamedAnswersComeInOrder) {
  HttpServer server([](const HttpRequest&) {
    return "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
           "chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n";
  });
  const QueuePtr queue = make_queue(pool_);
  start_request(make_request(pool_, "GET", server.url()), queue, CONPOOL_STREAM);
  const Streamed got = take_stream(queue);
  EXPECT_EQ(got.events, (std::vector<std::string>{"INTERIM 103", "HEAD 200", "CHUNKS", "TRAILERS",
                                                  "FINAL OK"}));
  EXPECT_EQ(got.body, "abcdef");
  EXPECT_EQ(got.final_event->value[0], 1u);
  const auto* last = static_cast<const conpool_response*>(got.final_event->object);
  EXPECT_EQ(conpool_response_trailer_count(last), 1u);
  EXPECT_EQ(conpool_response_body(last, nullptr), nullptr);
}

TEST_P(Requests, StreamedBodiesOfEverySize) {
  HttpServer server(HttpServer::echo);
  const QueuePtr queue = make_queue(pool_);
  for (const size_t size : {1u, 4095u, 4096u, 1000000u, 20000000u}) {
    const std::string body = pattern(size);
    const RequestPtr request = make_request(pool_, "POST", server.url());
    set_body(request, body);
    start_request(request, queue, CONPOOL_STREAM);
    const Streamed got = take_stream(queue);
    EXPECT_EQ(got.events.back(), "FINAL OK") << got.final_event.report();
    EXPECT_TRUE(got.body == body);
  }
}

TEST_P(Requests, ChunksThatAreKeptHoldTheServerBack) {
  constexpr size_t kWhole = 64 * 1024 * 1024;
  std::atomic<size_t> sent{0};
  HttpServer server(Server::Serve([&sent](int fd) {
    HttpReader reader(fd);
    HttpRequest request;
    if (!reader.read_head(&request)) return;
    send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kWhole) + "\r\n\r\n");
    const std::string part(65536, 'x');
    while (sent < kWhole && send_all(fd, part))
      sent += part.size();
  }));
  const QueuePtr queue = make_queue(pool_);
  start_request(make_request(pool_, "GET", server.url()), queue, CONPOOL_STREAM);
  std::vector<ChunkPtr> kept;
  size_t held = 0;
  size_t received = 0;
  conpool_event raw{};
  // Until nothing comes any more while everything is kept.
  while (conpool_queue_next(queue.get(), &raw, 1, 300 * kMs) == 1) {
    if (raw.kind == CONPOOL_EVENT_CHUNK) {
      kept.emplace_back(static_cast<conpool_chunk*>(std::exchange(raw.object, nullptr)));
      held += conpool_chunk_size(kept.back().get());
    }
    conpool_event_dispose(&raw);
  }
  EXPECT_GT(held, 0u);
  EXPECT_LT(held, size_t{4} << 20);
  EXPECT_LT(sent, kWhole);
  received = held;
  kept.clear();
  Event last;
  for (;;) {
    Event event = next_event(queue);
    if (event->kind == CONPOOL_EVENT_RESPONSE) {
      last = std::move(event);
      break;
    }
    received += conpool_chunk_size(static_cast<const conpool_chunk*>(event->object));
  }
  EXPECT_EQ(last->status, CONPOOL_OK) << last.report();
  EXPECT_EQ(received, kWhole);
}

// --- ends ----------------------------------------------------------------------------------------

TEST_P(Requests, FailuresTellWhatHappened) {
  const ClosedPort closed;
  const Answer refused = perform(
      make_request(pool_, "GET", "http://127.0.0.1:" + std::to_string(closed.port()) + "/x"));
  EXPECT_EQ(refused.status, CONPOOL_E_CONNECT_REFUSED);
  EXPECT_EQ(refused.proof(), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_EQ(conpool_error_phase(refused.error.get()), CONPOOL_PHASE_CONNECT);
  EXPECT_NE(refused.line().find("GET http://127.0.0.1:"), std::string::npos) << refused.line();
  EXPECT_GE(conpool_error_attempt_count(refused.error.get()), 1u);
  EXPECT_EQ(conpool_error_h2_code(refused.error.get()), -1);

  HttpServer server(
      [](const HttpRequest&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"; });
  HttpServer cut([](const HttpRequest& request) -> std::optional<std::string> {
    return request.number == 1 ? std::optional<std::string>("HTTP/9.9 what\r\n\r\n") : std::nullopt;
  });
  const Answer malformed = perform(make_request(pool_, "GET", cut.url()));
  EXPECT_EQ(malformed.status, CONPOOL_E_HTTP_MALFORMED) << malformed.line();
  EXPECT_EQ(malformed.proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
}

TEST_P(Requests, AWholeBodyHasALimit) {
  HttpServer server([](const HttpRequest& request) -> std::optional<std::string> {
    const std::string body = pattern(std::stoul(request.target.substr(2)));
    if (request.target[1] == 's') return answer(body);
    char size[32];
    snprintf(size, sizeof(size), "%zx", body.size());
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(size) + "\r\n" +
           body + "\r\n0\r\n\r\n";
  });
  for (const char* kind : {"/s", "/c"}) {
    const Options limit = {{"response.max_body", "100000"}};
    EXPECT_EQ(
        perform(make_request(pool_, "GET", server.url(kind + std::string("100000"))), limit).status,
        CONPOOL_OK);
    const Answer over =
        perform(make_request(pool_, "GET", server.url(kind + std::string("100001"))), limit);
    EXPECT_EQ(over.status, CONPOOL_E_HTTP_BODY_LIMIT);
    EXPECT_NE(over.line().find("response.max_body = 100000"), std::string::npos) << over.line();
  }
}

HttpServer::Script silent() {
  return [](const HttpRequest&) { return std::string(); };
}

TEST_P(Requests, TimeoutsNameTheirOption) {
  HttpServer server(silent());
  const RequestPtr request = make_request(pool_, "GET", server.url());
  const Answer first = perform(request, {{"first_byte.timeout", "30ms"}});
  EXPECT_EQ(first.status, CONPOOL_E_HTTP_FIRST_BYTE_TIMEOUT);
  EXPECT_EQ(first.proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_NE(first.line().find("first_byte.timeout = 30ms"), std::string::npos) << first.line();
  const Answer total = perform(request, {{"total.timeout", "30ms"}});
  EXPECT_EQ(total.status, CONPOOL_E_TIMEOUT);
  HttpServer stops(
      [](const HttpRequest&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"; });
  const Answer stall =
      perform(make_request(pool_, "GET", stops.url()), {{"stall.timeout", "30ms"}});
  EXPECT_EQ(stall.status, CONPOOL_E_STALL_TIMEOUT);
  HttpServer reads_nothing(deaf());
  const std::string big = pattern(30000000);
  const RequestPtr upload = make_request(pool_, "POST", reads_nothing.url());
  set_body(upload, big);
  const Answer stuck = perform(upload, {{"stall.timeout", "100ms"}});
  EXPECT_EQ(stuck.status, CONPOOL_E_STALL_TIMEOUT);
  EXPECT_EQ(conpool_error_phase(stuck.error.get()), CONPOOL_PHASE_SEND);
  // A silent server is no stall while the first byte is waited for.
  const Answer patient =
      perform(request, {{"stall.timeout", "1ms"}, {"first_byte.timeout", "50ms"}});
  EXPECT_EQ(patient.status, CONPOOL_E_HTTP_FIRST_BYTE_TIMEOUT);
}

TEST_P(Requests, AreCancelledWhereverTheyAre) {
  HttpServer server(silent());
  const EndpointPtr endpoint =
      make_endpoint(pool_, server.url(), {{"endpoint.max_connections", "1"}});
  const QueuePtr queue = make_queue(pool_);
  conpool_request* raw = nullptr;
  ASSERT_EQ(conpool_request_new_at(endpoint.get(), "GET", "/", 1, &raw, nullptr), CONPOOL_OK);
  const RequestPtr request(raw);
  const conpool_op running = start_request(request, queue);
  const conpool_op waiting = start_request(request, queue);
  if (std::string_view(GetParam()) == "thread") {
    EXPECT_TRUE(eventually([&] { return server.requests() == 1; }));
  }
  EXPECT_EQ(conpool_op_cancel(waiting), CONPOOL_OK);
  const Event first = next_event(queue);
  EXPECT_EQ(first->op, waiting);
  EXPECT_EQ(first->status, CONPOOL_E_CANCELLED);
  EXPECT_EQ(first->value[0], 0u);
  EXPECT_EQ(first->value[1], uint64_t{CONPOOL_PROOF_NEVER_SENT});
  EXPECT_EQ(conpool_op_cancel(running), CONPOOL_OK);
  const Event second = next_event(queue);
  EXPECT_EQ(second->op, running);
  EXPECT_EQ(second->status, CONPOOL_E_CANCELLED);
  EXPECT_EQ(conpool_op_cancel(running), CONPOOL_E_STALE);
}

TEST_P(Requests, CancelledWhileTheirBodyComes) {
  HttpServer server(
      [](const HttpRequest&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"; });
  const QueuePtr queue = make_queue(pool_);
  const conpool_op op =
      start_request(make_request(pool_, "GET", server.url()), queue, CONPOOL_STREAM);
  ChunkPtr kept;
  while (kept == nullptr) {
    Event event = next_event(queue);
    if (event->kind == CONPOOL_EVENT_CHUNK)
      kept.reset(static_cast<conpool_chunk*>(std::exchange(event->object, nullptr)));
  }
  EXPECT_EQ(conpool_op_cancel(op), CONPOOL_OK);
  const Streamed rest = take_stream(queue);
  EXPECT_EQ(rest.events.back(), "FINAL E_CANCELLED");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(conpool_chunk_data(kept.get())),
                        conpool_chunk_size(kept.get())),
            "only this");
}

TEST_P(Requests, EndWithTheirPool) {
  HttpServer server(silent());
  HttpServer good(HttpServer::echo);
  const QueuePtr queue = make_queue(pool_);
  const RequestPtr request = make_request(pool_, "GET", server.url());
  const Answer kept = perform(make_request(pool_, "GET", good.url("/kept")));
  start_request(request, queue);
  const RequestPtr upload = make_request(pool_, "POST", server.url());
  ASSERT_EQ(conpool_request_body_stream(upload.get(), -1), CONPOOL_OK);
  const conpool_op op = start_request(upload, queue);
  const conpool_op piece = write_piece(op, "abc", false, queue);
  (void)piece;
  if (std::string_view(GetParam()) == "thread") {
    EXPECT_TRUE(eventually([&] { return server.requests() >= 1; }));
  }
  pool_.reset();
  int finals = 0;
  conpool_event raw{};
  while (finals < 3 && conpool_queue_next(queue.get(), &raw, 1, 0) == 1) {
    EXPECT_NE(raw.flags & CONPOOL_EVENT_FINAL, 0u);
    if (raw.kind == CONPOOL_EVENT_RESPONSE) {
      EXPECT_EQ(raw.status, CONPOOL_E_CLOSED);
    }
    ++finals;
    conpool_event_dispose(&raw);
  }
  EXPECT_EQ(finals, 3);
  // What was received outlives the pool; what is started at it is refused.
  EXPECT_EQ(kept.body(), "/kept");
  EXPECT_EQ(kept.facts()["status"].number(), 200);
  EXPECT_EQ(perform(request).status, CONPOOL_E_CLOSED);
  conpool_op late = 5;
  EXPECT_EQ(conpool_body_write(op, "x", 1, 0, nullptr, 0, &late), CONPOOL_E_STALE);
}

TEST_P(Requests, AQueuesCloseGivesBorrowedBodiesBack) {
  HttpServer server(deaf());
  auto body = std::make_unique<std::string>(pattern(30000000));
  const RequestPtr request = make_request(pool_, "POST", server.url());
  set_body(request, *body);
  QueuePtr queue = make_queue(pool_);
  start_request(request, queue);
  if (std::string_view(GetParam()) == "caller") {
    conpool_event raw{};
    conpool_queue_next(queue.get(), &raw, 1, 20 * kMs);
  } else {
    EXPECT_TRUE(eventually([&] { return server.open() == 1; }));
  }
  queue.reset();
  body.reset();  // a use of it would be seen by the sanitizers
  EXPECT_EQ(metric(pool_, "pool.requests.running"), 0);
  EXPECT_EQ(metric(pool_, "pool.requests.failed"), 1);
  EXPECT_EQ(metric(pool_, "pool.connections.open"), 0);
}

// --- usage ---------------------------------------------------------------------------------------

TEST_P(Requests, AreFrozenByTheirFirstStart) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "GET", server.url());
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_request_header(request.get(), "a", 1, "b", 1, &error), CONPOOL_E_WRONG_STATE);
  const ErrorPtr owned(error);
  EXPECT_NE(std::strstr(conpool_error_line(error), "was started"), nullptr);
  EXPECT_EQ(conpool_request_trailer(request.get(), "a", 1, "b", 1, nullptr), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(conpool_request_body(request.get(), "x", 1), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(conpool_request_body_stream(request.get(), 1), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(conpool_request_body_fd(request.get(), 0, 0, 1), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(conpool_request_idempotent(request.get(), 1), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(perform(request).status, CONPOOL_OK);
}

TEST_P(Requests, AndLeasesNeedEndpointsOfTheirOwn) {
  Server server(Server::echo);
  const EndpointPtr raw = make_endpoint(pool_, server.url());
  const EndpointPtr http = make_endpoint(pool_, "http://" + server.address());
  conpool_request* request = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_request_new_at(raw.get(), "GET", "/", 1, &request, &error),
            CONPOOL_E_UNSUPPORTED);
  const ErrorPtr owned(error);
  EXPECT_NE(std::strstr(conpool_error_line(error), "scheme \"http\" or \"https\""), nullptr);
  conpool_op op = 5;
  EXPECT_EQ(conpool_endpoint_acquire(http.get(), nullptr, nullptr, 0, &op), CONPOOL_E_UNSUPPORTED);
  EXPECT_EQ(op, 5u);
}

TEST_P(Requests, ConnectAhead) {
  HttpServer server(HttpServer::echo);
  const EndpointPtr endpoint = make_endpoint(pool_, server.url());
  conpool_op op = 0;
  EXPECT_EQ(conpool_endpoint_preconnect(endpoint.get(), 0, nullptr, nullptr, 0, &op),
            CONPOOL_E_INVALID);
  ASSERT_EQ(conpool_endpoint_preconnect(endpoint.get(), 2, nullptr, nullptr, 0, &op), CONPOOL_OK);
  const Event ready = wait_for(op);
  EXPECT_EQ(ready->status, CONPOOL_OK) << ready.report();
  EXPECT_EQ(ready->kind, uint32_t{CONPOOL_EVENT_PRECONNECT});
  EXPECT_EQ(ready->value[0], 2u);
  EXPECT_EQ(metric(pool_, "pool.dials.started"), 2);
  conpool_request* raw = nullptr;
  ASSERT_EQ(conpool_request_new_at(endpoint.get(), "GET", "/", 1, &raw, nullptr), CONPOOL_OK);
  const RequestPtr request(raw);
  EXPECT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(metric(pool_, "pool.dials.started"), 2);
}

TEST_P(Requests, AreTheParentsAfterAFork) {
  HttpServer server(HttpServer::echo);
  const RequestPtr request = make_request(pool_, "GET", server.url());
  const Answer before = perform(request);
  ASSERT_EQ(before.status, CONPOOL_OK);
  const pid_t child = fork();
  if (child == 0) {
    conpool_response* response = nullptr;
    conpool_op op = 0;
    bool good = conpool_perform(request.get(), nullptr, &response, nullptr) == CONPOOL_E_FORKED;
    good = good && conpool_request_start(request.get(), nullptr, CONPOOL_WHOLE, nullptr, 0, &op,
                                         nullptr) == CONPOOL_E_FORKED;
    good =
        good && conpool_request_header(request.get(), "a", 1, "b", 1, nullptr) == CONPOOL_E_FORKED;
    good = good && conpool_response_status(before.response.get()) == 200;
    conpool_request_free(request.get());
    conpool_response_free(before.response.get());
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(perform(request).status, CONPOOL_OK);
}

INSTANTIATE_TEST_SUITE_P(Drives, Requests, testing::Values("thread", "caller"),
                         [](const auto& drive) { return std::string(drive.param); });

}  // namespace
}  // namespace capi_test
