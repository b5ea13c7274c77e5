// Requests that are sent again by themselves, and those that never are; and many threads at once.
#include <algorithm>
#include <thread>

#include "http_support.h"

namespace capi_test {
namespace {

class Again : public testing::TestWithParam<const char*> {
 protected:
  PoolPtr pool_ = make_pool({{"loop.drive", GetParam()}});
};

HttpServer::Script never_twice() {
  return [](const HttpRequest& request) -> std::optional<std::string> {
    if (request.number > 1) return std::nullopt;  // read, and then the connection ends
    return answer(request.method);
  };
}

TEST_P(Again, AnIdempotentOneSurvivesAStaleConnection) {
  HttpServer server(never_twice());
  const RequestPtr request = make_request(pool_, "GET", server.url());
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  const Answer got = perform(request);
  ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
  const Json facts = got.facts();
  EXPECT_EQ(facts["sends"].number(), 2);
  ASSERT_EQ(facts["resends"].items.size(), 1u);
  EXPECT_FALSE(facts["reused"].truth);
  EXPECT_EQ(facts["attempts"].items.size(), 1u);  // of the dial of the connection that served it
  EXPECT_EQ(server.requests(), 3);
  EXPECT_EQ(metric(pool_, "pool.resends.stale"), 1);
}

TEST_P(Again, AnotherOneDoesNot) {
  HttpServer server(never_twice());
  const RequestPtr request = make_request(pool_, "POST", server.url("/buy?card=1"));
  set_body(request, "x");
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  const Answer got = perform(request);
  EXPECT_EQ(got.status, CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(got.proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_EQ(server.requests(), 2);
  EXPECT_NE(got.line().find("POST " + server.url("/buy")), std::string::npos) << got.line();
  EXPECT_EQ(got.line().find("card"), std::string::npos) << got.line();
}

TEST_P(Again, OneDeclaredIdempotentDoes) {
  HttpServer server(never_twice());
  const RequestPtr request = make_request(pool_, "POST", server.url());
  set_body(request, "x");
  ASSERT_EQ(conpool_request_idempotent(request.get(), 1), CONPOOL_OK);
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(server.requests(), 3);
  EXPECT_EQ(perform(request, {{"retry.stale", "0"}}).status, CONPOOL_E_HTTP_NO_RESPONSE);
}

TEST_P(Again, OneDeclaredNotIdempotentDoesNotWhateverItsMethod) {
  HttpServer server(never_twice());
  const RequestPtr request = make_request(pool_, "GET", server.url());
  ASSERT_EQ(conpool_request_idempotent(request.get(), 0), CONPOOL_OK);
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  EXPECT_EQ(perform(request).status, CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(server.requests(), 2);
}

TEST_P(Again, AFreshConnectionThatEndsIsNoStaleOne) {
  HttpServer server([](const HttpRequest&) { return std::optional<std::string>(); });
  const Answer got = perform(make_request(pool_, "GET", server.url()));
  EXPECT_EQ(got.status, CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(server.requests(), 1);
}

// Every connection ends with its second request, and the server has no good one after the first.
TEST_P(Again, TheErrorListsEverySending) {
  std::atomic<int> served{0};
  HttpServer server([&served](const HttpRequest& request) -> std::optional<std::string> {
    if (served++ > 0) return std::nullopt;
    return answer(request.method);
  });
  const RequestPtr request = make_request(pool_, "GET", server.url("/x"));
  ASSERT_EQ(perform(request).status, CONPOOL_OK);
  const Answer got = perform(request);
  EXPECT_EQ(got.status, CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(got.proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_NE(got.line().find("after 2 sends"), std::string::npos) << got.line();
  ASSERT_EQ(conpool_error_attempt_count(got.error.get()), 1u);
  EXPECT_EQ(conpool_error_attempt_target(got.error.get(), 0), server.authority());
  EXPECT_EQ(conpool_error_attempt_status(got.error.get(), 0), CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(conpool_error_attempt_phase(got.error.get(), 0), CONPOOL_PHASE_RECEIVE);
}

TEST_P(Again, BodiesBeginAnew) {
  std::vector<std::string> bodies;
  HttpServer server([&bodies](const HttpRequest& request) -> std::optional<std::string> {
    bodies.push_back(request.body);
    if (request.number > 1) return std::nullopt;
    return answer("");
  });
  const std::string content = pattern(700000);
  const TempFile file(content);
  for (const bool from_file : {false, true}) {
    bodies.clear();
    const RequestPtr request = make_request(pool_, "PUT", server.url());
    if (from_file) {
      ASSERT_EQ(conpool_request_body_fd(request.get(), file.fd(), 0, -1), CONPOOL_OK);
    } else {
      set_body(request, content);
    }
    ASSERT_EQ(perform(request).status, CONPOOL_OK);
    const Answer got = perform(request);
    ASSERT_EQ(got.status, CONPOOL_OK) << got.line();
    ASSERT_GE(bodies.size(), 2u);
    for (const std::string& body : bodies)
      EXPECT_TRUE(body == content);
  }
}

TEST_P(Again, PiecesThatWereTakenDoNot) {
  HttpServer server(never_twice());
  const RequestPtr first = make_request(pool_, "PUT", server.url());
  ASSERT_EQ(perform(first).status, CONPOOL_OK);
  const RequestPtr request = make_request(pool_, "PUT", server.url());
  ASSERT_EQ(conpool_request_body_stream(request.get(), 3), CONPOOL_OK);
  const conpool_op op = start_request(request);
  const conpool_op piece = write_piece(op, "abc", true);
  EXPECT_EQ(wait_for(op)->status, CONPOOL_E_HTTP_NO_RESPONSE);
  wait_for(piece);
  EXPECT_EQ(server.requests(), 2);
}

INSTANTIATE_TEST_SUITE_P(Drives, Again, testing::Values("thread", "caller"),
                         [](const auto& drive) { return std::string(drive.param); });

// --- threads -------------------------------------------------------------------------------------

TEST(Threads, PerformAtOnce) {
  HttpServer server(HttpServer::echo);
  const PoolPtr pool = make_pool();
  const RequestPtr shared = make_request(pool, "POST", server.url());
  set_body(shared, "shared");
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const std::string target = "/" + std::to_string(t);
      const RequestPtr own = make_request(pool, "GET", server.url(target));
      for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(perform(shared).body(), "shared");
        EXPECT_EQ(perform(own).body(), target);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(server.requests(), 800);
  EXPECT_EQ(metric(pool, "pool.requests.done"), 800);
}

// Chunks are freed on other threads than the one that takes the events.
TEST(Threads, FreeChunksAnywhere) {
  const std::string whole = pattern(8000000);
  HttpServer server([&whole](const HttpRequest&) { return answer(whole); });
  const PoolPtr pool = make_pool();
  const QueuePtr queue = make_queue(pool);
  const RequestPtr request = make_request(pool, "GET", server.url());
  for (int round = 0; round < 5; ++round) {
    start_request(request, queue, CONPOOL_STREAM);
    std::vector<std::thread> threads;
    size_t size = 0;
    for (bool over = false; !over;) {
      Event event = next_event(queue);
      over = event->kind == CONPOOL_EVENT_RESPONSE;
      if (event->kind != CONPOOL_EVENT_CHUNK) continue;
      auto* chunk = static_cast<conpool_chunk*>(std::exchange(event->object, nullptr));
      size += conpool_chunk_size(chunk);
      if (threads.size() < 4) {
        threads.emplace_back([chunk] { conpool_chunk_free(chunk); });
      } else {
        conpool_chunk_free(chunk);
      }
    }
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_EQ(size, whole.size());
  }
}

TEST(Threads, WritePiecesFromEachInOrder) {
  HttpServer server(HttpServer::echo);
  const PoolPtr pool = make_pool();
  const QueuePtr queue = make_queue(pool);
  const RequestPtr request = make_request(pool, "POST", server.url());
  ASSERT_EQ(conpool_request_body_stream(request.get(), -1), CONPOOL_OK);
  const conpool_op op = start_request(request);
  std::vector<std::thread> threads;
  for (const char* piece : {"a", "b", "c", "d"}) {
    threads.emplace_back([&queue, op, piece] {
      for (int i = 0; i < 100; ++i)
        write_piece(op, piece, false, queue);
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  write_piece(op, "", true, queue);
  for (int i = 0; i < 401; ++i)
    EXPECT_EQ(next_event(queue)->status, CONPOOL_OK);
  const Event done = wait_for(op);
  const std::string body = body_of(static_cast<const conpool_response*>(done->object));
  EXPECT_EQ(body.size(), 400u);
  for (const char c : {'a', 'b', 'c', 'd'})
    EXPECT_EQ(std::count(body.begin(), body.end(), c), 100);
}

// One thread drives; a second one is told so, and its request is over when it is told.
TEST(Threads, ASecondDriverIsBusy) {
  std::atomic<bool> seen{false};
  HttpServer server([&seen](const HttpRequest& request) {
    if (request.target == "/slow") seen = true;
    return request.target == "/slow" ? std::string() : answer("");
  });
  const PoolPtr pool = make_pool({{"loop.drive", "caller"}});
  const RequestPtr slow = make_request(pool, "GET", server.url("/slow"));
  const RequestPtr other = make_request(pool, "GET", server.url("/"));
  const conpool_op op = start_request(slow);
  // Between two turns the other one may be faster, and then this one is busy.
  std::thread driver([op] {
    conpool_event event = {};
    conpool_status status = CONPOOL_E_BUSY;
    while (status == CONPOOL_E_BUSY)
      status = conpool_op_wait(op, CONPOOL_FOREVER, &event);
    EXPECT_EQ(status, CONPOOL_OK);
    EXPECT_EQ(event.status, CONPOOL_E_CANCELLED);
    conpool_event_dispose(&event);
  });
  EXPECT_TRUE(eventually([&] { return seen.load(); }));
  for (int i = 0; i < 20; ++i) {
    const Answer got = perform(other);
    EXPECT_TRUE(got.status == CONPOOL_E_BUSY || got.status == CONPOOL_OK) << got.line();
  }
  EXPECT_EQ(conpool_op_cancel(op), CONPOOL_OK);
  driver.join();
  EXPECT_EQ(perform(other).status, CONPOOL_OK);
}

}  // namespace
}  // namespace capi_test
