// Results, errors, options and handles: what they answer, and what an empty one does.
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

namespace cpp_test {
namespace {

using namespace conpool;

// --- Result --------------------------------------------------------------------------------------

TEST(Result, HoldsAValueOrAnError) {
  Result<std::string> good = std::string("text");
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, "text");
  EXPECT_EQ(good->size(), 4u);
  EXPECT_EQ(good.status(), CONPOOL_OK);
  EXPECT_EQ(good.error().status(), CONPOOL_OK);
  EXPECT_EQ(std::move(good).value_or("other"), "text");

  Result<std::string> bad = Error(CONPOOL_E_TIMEOUT);
  ASSERT_FALSE(bad);
  EXPECT_FALSE(bad.has_value());
  EXPECT_EQ(bad.status(), CONPOOL_E_TIMEOUT);
  EXPECT_STREQ(bad.error().name(), "E_TIMEOUT");
  EXPECT_STREQ(bad.error().line(), "the deadline passed");
  EXPECT_EQ(std::move(bad).value_or("other"), "other");

  const Result<int> constant = 5;
  EXPECT_EQ(*constant, 5);
  EXPECT_EQ(constant.value(), 5);
  EXPECT_TRUE(Result<void>());
  const Result<void> failed = Error(CONPOOL_E_BUSY);
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.error().status(), CONPOOL_E_BUSY);
}

TEST(Result, CarriesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 7);
  Result<Event> event = Event();
  const Result<Event> moved = std::move(event);
  EXPECT_FALSE(*moved);
}

TEST(ResultDeath, TheValueOfAFailureEndsTheProgramWithTheReason) {
  const Result<Endpoint> refused = make_pool().endpoint("tcp://localhost");
  EXPECT_EQ(refused.status(), CONPOOL_E_BAD_PORT);
  EXPECT_DEATH(static_cast<void>(refused.value()), "conpool: value\\(\\) of a failure: E_BAD_PORT");
  EXPECT_DEATH(Result<void>(Error(CONPOOL_E_CLOSED)).value(), "E_CLOSED: closed");
}

// --- options and errors --------------------------------------------------------------------------

TEST(Config, NamesWhatItRefuses) {
  const Result<Config> unknown = Config::of({{"connect.timeout", "1s"}, {"conect.timeout", "1s"}});
  EXPECT_EQ(unknown.status(), CONPOOL_E_UNKNOWN_OPTION);
  EXPECT_NE(std::string_view(unknown.error().line()).find("connect.timeout"), std::string::npos);
  Config config;
  EXPECT_FALSE(config);  // nothing set: no object of the library is made
  EXPECT_EQ(config.set("total.timeout", "10").status(), CONPOOL_E_OPTION_TYPE);
  EXPECT_EQ(config.set("race.max_candidates", "65").status(), CONPOOL_E_OPTION_RANGE);
  EXPECT_TRUE(config.set("partition", {}));  // an empty view is an empty text
  EXPECT_TRUE(config.set("total.timeout", "10s"));
  EXPECT_TRUE(config);
  EXPECT_EQ(Pool::create(config).status(), CONPOOL_OK);
}

TEST(Error, ListsEveryAttempt) {
  const ClosedPort port;
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(port.url()).value();
  const Result<Connection> refused = endpoint.acquire();
  ASSERT_FALSE(refused);
  const Error& error = refused.error();
  EXPECT_EQ(error.status(), CONPOOL_E_CONNECT_REFUSED);
  EXPECT_EQ(error.status_class(), CONPOOL_CLASS_CONNECT);
  EXPECT_EQ(error.phase(), CONPOOL_PHASE_CONNECT);
  EXPECT_EQ(error.proof(), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_TRUE(error.safe_to_retry());
  EXPECT_EQ(error.os_errno(), ECONNREFUSED);
  EXPECT_EQ(error.h2_code(), -1);
  EXPECT_EQ(error.tls_verify(), 0);
  EXPECT_EQ(error.retry_after(), std::nullopt);
  EXPECT_NE(error.raw(), nullptr);
  EXPECT_EQ(std::string_view(error.line()).find("connection refused (ECONNREFUSED)"), 0u);
  EXPECT_NE(std::string_view(error.report()).find("attempts:"), std::string::npos);
  const std::vector<Attempt> attempts = error.attempts();
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].target, "tcp:127.0.0.1:" + std::to_string(port.port()));
  EXPECT_EQ(attempts[0].status, CONPOOL_E_CONNECT_REFUSED);
  EXPECT_EQ(attempts[0].phase, CONPOOL_PHASE_CONNECT);
  EXPECT_EQ(attempts[0].os_errno, ECONNREFUSED);
  EXPECT_GE(attempts[0].started.count(), 0);
  EXPECT_GT(attempts[0].duration.count(), 0);
}

TEST(Error, WithoutALedgerTellsItsCode) {
  const Error error(CONPOOL_E_STALE);
  EXPECT_STREQ(error.line(), "the id names no running op");
  EXPECT_STREQ(error.report(), error.line());
  EXPECT_TRUE(error.attempts().empty());
  EXPECT_EQ(error.phase(), CONPOOL_PHASE_NONE);
  conpool_error* raw = nullptr;
  EXPECT_EQ(conpool_config_set(nullptr, "x", "", 0, &raw), CONPOOL_E_INVALID);
  const Error taken = Error::of(raw);
  EXPECT_EQ(taken.status(), CONPOOL_E_INVALID);
  EXPECT_EQ(taken.raw(), raw);
  const Error newer(-455);  // a code of a newer library
  EXPECT_STREQ(newer.name(), "UNKNOWN");
  EXPECT_EQ(newer.status_class(), CONPOOL_CLASS_CONNECT);
}

TEST(Library, TellsItsTables) {
  EXPECT_EQ(version() >> 16, static_cast<std::uint32_t>(CONPOOL_VERSION_MAJOR));
  EXPECT_STREQ(version_string(), "0.1.0");
  EXPECT_STREQ(status_name(CONPOOL_E_CLOSED), "E_CLOSED");
  EXPECT_STREQ(status_text(CONPOOL_E_CLOSED), "closed");
  EXPECT_EQ(status_class(CONPOOL_E_CLOSED), CONPOOL_CLASS_ENDED);
  for (const char* what : {"options", "statuses", "events", "build"})
    EXPECT_NE(describe(what).value().find('{'), std::string::npos) << what;
  EXPECT_EQ(describe("colours").status(), CONPOOL_E_INVALID);
}

// --- handles -------------------------------------------------------------------------------------

// Every function of an empty handle answers, and none crashes.
TEST(Handles, EmptyOnesAnswer) {
  const Pool pool;
  const Endpoint endpoint;
  Request request;
  const Response response;
  const Chunk chunk;
  const Connection connection;
  const Queue queue;
  Lookup lookup;
  Event event;
  const std::uint16_t port = 1;
  const conpool_status invalid = CONPOOL_E_INVALID;
  EXPECT_EQ(pool.endpoint("tcp://h:1").status(), invalid);
  EXPECT_EQ(pool.endpoint_host("tcp", "h", {&port, 1}).status(), invalid);
  EXPECT_EQ(pool.endpoint_addresses("tcp", "127.0.0.1:1").status(), invalid);
  EXPECT_EQ(pool.request("GET", "http://h/").status(), invalid);
  EXPECT_EQ(pool.get("http://h/").status(), invalid);
  EXPECT_EQ(pool.stream(request).status(), invalid);
  EXPECT_EQ(pool.queue().status(), invalid);
  EXPECT_EQ(pool.close(Nanos(0)).status(), invalid);
  EXPECT_EQ(pool.metrics().status(), invalid);
  EXPECT_EQ(pool.events().status(), invalid);
  EXPECT_EQ(pool.events_since(0).status(), invalid);
  EXPECT_EQ(pool.event(CONPOOL_LEVEL_INFO, "x").status(), invalid);
  EXPECT_EQ(pool.explain(endpoint).status(), invalid);
  EXPECT_EQ(pool.unset_resolver().status(), invalid);
  EXPECT_EQ(pool.set_resolver({queue}).status(), invalid);
  EXPECT_EQ(endpoint.acquire().status(), invalid);
  EXPECT_EQ(endpoint.preconnect(1).status(), invalid);
  EXPECT_EQ(endpoint.request("GET", "/").status(), invalid);
  EXPECT_EQ(endpoint.force_breaker("auto").status(), invalid);
  EXPECT_EQ(request.header("a", "b").status(), invalid);
  EXPECT_EQ(request.trailer("a", "b").status(), invalid);
  EXPECT_EQ(request.body("x").status(), invalid);
  EXPECT_EQ(request.body_borrowed("x").status(), invalid);
  EXPECT_FALSE(request.borrows());
  EXPECT_EQ(request.body_fd(0).status(), invalid);
  EXPECT_EQ(request.body_stream().status(), invalid);
  EXPECT_EQ(request.idempotent().status(), invalid);
  EXPECT_EQ(request.perform().status(), invalid);
  EXPECT_EQ(request.start().status(), invalid);
  EXPECT_EQ(connection.read().status(), invalid);
  EXPECT_EQ(connection.write("x").status(), invalid);
  EXPECT_EQ(connection.shutdown_write().status(), invalid);
  EXPECT_EQ(connection.lend().status(), invalid);
  EXPECT_EQ(connection.describe().status(), invalid);
  EXPECT_EQ(queue.next(Nanos(0)).status(), invalid);
  EXPECT_EQ(queue.fd().status(), invalid);
  queue.wake();
  queue.close();
  EXPECT_EQ(lookup.answer("127.0.0.1").status(), invalid);
  EXPECT_EQ(lookup.fail("no").status(), invalid);
  EXPECT_EQ(response.describe().status(), invalid);
  EXPECT_TRUE(response.headers().empty() && response.trailers().empty());
  EXPECT_TRUE(response.body().empty());
  EXPECT_EQ(chunk.size(), 0u);
  EXPECT_TRUE(chunk.text().empty());
  EXPECT_FALSE(event);
  EXPECT_EQ(event.take<Connection>().status(), CONPOOL_E_UNSUPPORTED);
  EXPECT_EQ(cancel(0).status(), CONPOOL_E_STALE);
  EXPECT_EQ(Op<Chunk>().get().status(), CONPOOL_E_STALE);
  EXPECT_EQ(Dispatcher::create(pool).status(), invalid);
}

TEST(Handles, MoveAndOwn) {
  Pool pool = make_pool();
  conpool_pool* const raw = pool.raw();
  Pool moved = std::move(pool);
  EXPECT_FALSE(pool);
  EXPECT_EQ(moved.raw(), raw);
  pool = std::move(moved);
  EXPECT_EQ(pool.raw(), raw);
  Pool& same = pool;
  pool = std::move(same);
  EXPECT_EQ(pool.raw(), raw);
  Pool taken(pool.detach());
  EXPECT_FALSE(pool);
  taken = make_pool();
  EXPECT_NE(taken.raw(), nullptr);
}

TEST(Handles, AreFreedInAnyOrder) {
  HttpServer server(HttpServer::echo);
  std::optional<Pool> pool = make_pool();
  const Endpoint endpoint = pool->endpoint(server.url()).value();
  const Request request = endpoint.request("GET", "/x").value();
  Response response = request.perform().value();
  const Queue queue = pool->queue().value();
  pool.reset();
  EXPECT_EQ(response.body(), "/x");
  EXPECT_EQ(request.perform().status(), CONPOOL_E_CLOSED);
  EXPECT_EQ(queue.next(Nanos(0)).status(), CONPOOL_OK);
}

TEST(Handles, InAChildProcessAnswer) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Response response = endpoint.request("GET", "/x").value().perform().value();
  Dispatcher io = make_dispatcher(pool);
  Pending<Response> pending = io.get(pool, server.url("/y"));
  const pid_t child = fork();
  if (child == 0) {
    int wrong = pool.get(server.url()).status() != CONPOOL_E_FORKED;
    wrong += endpoint.request("GET", "/").status() != CONPOOL_E_FORKED;
    wrong += io.run_once(Nanos(0)).status() != CONPOOL_E_FORKED;
    std::move(pending).then([](Result<Response>) {});
    { Dispatcher gone = std::move(io); }
    _exit(wrong);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(io.run());
  EXPECT_EQ(pending.result().value().body(), "/y");
}

TEST(Events, ForeignKindsAreDisposedOf) {
  // A real event that looks like one of a newer library: its object is freed all the same.
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Queue queue = pool.queue().value();
  Request request = pool.request("GET", server.url("/a")).value();
  ASSERT_TRUE(request.start({queue, 5}));
  Event event = queue.next(kLong).value();
  EXPECT_EQ(event.user_data(), 5u);
  conpool_event raw = event.raw();
  static_cast<void>(std::exchange(event, Event()).take<Response>().value().detach());
  raw.kind = 4711;
  Event foreign(raw);
  EXPECT_TRUE(foreign);
  EXPECT_EQ(foreign.kind(), 4711u);
  EXPECT_EQ(foreign.take<Chunk>().status(), CONPOOL_E_UNSUPPORTED);
}

Task<int> number() {
  co_return 1;
}
Task<int> awaits_what_was_moved() {
  Task<int> task = number();
  Task<int> other = std::move(task);
  co_return co_await task;
}

TEST(TasksDeathTest, EmptyOnesSayWhatIsWrong) {
  EXPECT_DEATH(awaits_what_was_moved().start(), "empty Task .* moved from");
  EXPECT_DEATH(Task<int>().result(), "empty Task");
  EXPECT_DEATH(number().result(), "not done");
}

}  // namespace
}  // namespace cpp_test
