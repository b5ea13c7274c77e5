// Coroutines over the dispatcher. Everything a coroutine call takes has a name: g++ 12 destroys
// some temporaries of an expression with co_await twice.
#include <memory>

#include "support.h"

namespace cpp_test {
namespace {

using namespace conpool;

// Counts itself: a coroutine whose frame is destroyed twice, or never, shows.
struct Counted {
  explicit Counted(int* count) : count_(count) { ++*count_; }
  Counted(const Counted& other) : count_(other.count_) { ++*count_; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*count_; }

 private:
  int* count_;
};

Task<std::string> fetch(Dispatcher& io, const Pool& pool, std::string url) {
  Result<Response> got = co_await io.get(pool, url);
  if (!got) co_return got.error().name();
  co_return std::string(got->body());
}

// --- requests ------------------------------------------------------------------------------------

TEST(Coroutines, AwaitRequests) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(fetch(io, pool, server.url("/a"))).value(), "/a");
  EXPECT_EQ(io.run(fetch(io, pool, "ftp://h/")).value(), "E_BAD_URL");
  const ClosedPort port;
  EXPECT_EQ(io.run(fetch(io, pool, "http://127.0.0.1:" + std::to_string(port.port()))).value(),
            "E_CONNECT_REFUSED");
}

Task<std::size_t> crawl(Dispatcher& io, const Pool& pool, const HttpServer& server, int pages) {
  std::vector<Task<std::string>> tasks;
  for (int i = 0; i < pages; ++i) {
    tasks.push_back(fetch(io, pool, server.url("/" + std::to_string(i))));
    tasks.back().start();
  }
  std::size_t right = 0;
  for (int i = 0; i < pages; ++i) {
    const std::string body = co_await tasks[static_cast<std::size_t>(i)];
    right += body == "/" + std::to_string(i);
  }
  co_return right;
}

TEST(Coroutines, ManyAtOnce) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool({{"endpoint.max_waiters", "10000"}});
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(crawl(io, pool, server, 2000)).value(), 2000u);
  EXPECT_LE(server.accepted(), 16);
  EXPECT_TRUE(io.idle());
}

Task<int> pending_at_once(Dispatcher& io, const Pool& pool, const HttpServer& server) {
  std::vector<Pending<Response>> all;
  for (int i = 0; i < 50; ++i)
    all.push_back(io.get(pool, server.url("/" + std::to_string(i))));
  int right = 0;
  for (std::size_t i = all.size(); i-- > 0;) {  // in another order than they come
    Result<Response> got = co_await all[i];
    right += got && got->body() == "/" + std::to_string(i);
  }
  co_return right;
}

TEST(Coroutines, AwaitInAnyOrder) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(pending_at_once(io, pool, server)).value(), 50);
}

// In the simulated network every name is a healthy server; this one thread drives it, in virtual
// time, and HTTPS is HTTP/2.
Task<int> versions(Dispatcher& io, const Pool& pool, int count) {
  std::vector<Pending<Response>> all;
  for (int i = 0; i < count; ++i)
    all.push_back(io.get(pool, "https://host" + std::to_string(i % 5) + ".example/"));
  int right = 0;
  for (Pending<Response>& pending : all) {
    Result<Response> got = co_await pending;
    right += got && got->status() == 200 && got->http_version() == 20;
  }
  co_return right;
}

TEST(Coroutines, DriveThePoolThemselves) {
  const Pool pool = make_pool({{"loop.world", "simulated"}});
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(versions(io, pool, 300)).value(), 300);
}

// --- leases --------------------------------------------------------------------------------------

Task<Result<std::string>> converse(Dispatcher& io, const Endpoint& endpoint, std::string line) {
  Result<Connection> lease = co_await io.acquire(endpoint);
  if (!lease) co_return std::move(lease).error();
  Result<std::uint64_t> sent = co_await io.write(*lease, line);
  if (!sent) co_return std::move(sent).error();
  std::string answer;
  while (answer.empty() || answer.back() != '\n') {
    Result<Chunk> chunk = co_await io.read(*lease);
    if (!chunk) co_return std::move(chunk).error();
    if (!*chunk) co_return Error(CONPOOL_E_CONNECTION_CLOSED);
    answer += chunk->text();
  }
  lease->release();
  co_return answer;
}

Task<int> conversations(Dispatcher& io, const Endpoint& endpoint, int count) {
  std::vector<Task<Result<std::string>>> tasks;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(converse(io, endpoint, "line " + std::to_string(i) + "\n"));
    tasks.back().start();
  }
  int right = 0;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    Result<std::string> answer = co_await tasks[i];
    right += answer && *answer == "+line " + std::to_string(i) + "\n";
  }
  co_return right;
}

TEST(Coroutines, HoldLeases) {
  Server server(Server::lines);
  const Pool pool = make_pool({{"endpoint.max_connections", "4"}});
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  EXPECT_EQ(io.run(conversations(io, endpoint, 200)).value(), 200);
  EXPECT_LE(server.most_open(), 4);
  // A Result stays what it is: no Result of a Result.
  const Result<std::string> one = io.run(converse(io, endpoint, "x\n"));
  EXPECT_EQ(one.value(), "+x\n");
}

// --- streams -------------------------------------------------------------------------------------

Task<std::string> upload(Dispatcher& io, const Pool& pool, std::string url, std::string body) {
  Request request = pool.request("PUT", url).value();
  request.body_stream().value();
  AsyncStream stream = io.stream(request).value();
  for (std::size_t at = 0; at < body.size(); at += 100000) {
    const std::string_view piece = std::string_view(body).substr(at, 100000);
    Result<std::uint64_t> taken =
        co_await io.body_write(stream.op(), piece, at + 100000 >= body.size());
    if (!taken) co_return taken.error().name();
  }
  std::string echoed;
  for (;;) {
    Result<Event> event = co_await stream.next();
    if (!event) co_return event.error().name();
    if (event->kind() == CONPOOL_EVENT_CHUNK) echoed += event->take<Chunk>().value().text();
    if (event->is_final()) break;
  }
  Result<Event> after = co_await stream.next();
  if (!after || *after) co_return "an event after the end";
  co_return echoed;
}

TEST(Coroutines, StreamBothWays) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const std::string body = capi_test::pattern(3000000);
  EXPECT_EQ(io.run(upload(io, pool, server.url(), body)).value(), body);
}

// --- cancelling ----------------------------------------------------------------------------------

Task<void> wait_for_ever(Dispatcher& io, const Endpoint& endpoint, int* alive,
                         conpool_status* end) {
  const Counted counted(alive);
  Result<Connection> lease = co_await io.acquire(endpoint);
  const std::string much(32 << 20, 'x');
  Pending<std::uint64_t> write = io.write(*lease, much);  // borrows from this frame
  Result<Chunk> chunk = co_await io.read(*lease);
  *end = chunk.status();
}

TEST(Coroutines, DestroyingATaskCancelsWhatItAwaits) {
  Server server(Server::echo);
  Server silent(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(silent.url()).value();
  for (int turns = 0; turns < 6; ++turns) {
    int alive = 0;
    conpool_status end = CONPOOL_OK;
    {
      Task<void> task = wait_for_ever(io, endpoint, &alive, &end);
      task.start();
      EXPECT_EQ(alive, 1);
      for (int i = 0; i < turns; ++i)
        ASSERT_TRUE(io.run_once(Nanos(2000000)));
    }
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(end, CONPOOL_OK);
  }
  ASSERT_TRUE(io.run());
}

// Await what is not theirs.
Task<void> await_other(Pending<Response>& pending, int* alive) {
  const Counted counted(alive);
  Result<Response> got = co_await pending;
  ++*alive;
}
Task<void> await_parts(AsyncStream& stream, int* alive) {
  const Counted counted(alive);
  for (;;) {
    Result<Event> event = co_await stream.next();
    if (!event || !*event) co_return;
  }
}

TEST(Coroutines, ATaskMayGoBeforeThePendingThatItAwaits) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Pending<Response> pending = io.get(pool, server.url("/x"));
  int alive = 0;
  {
    Task<void> task = await_other(pending, &alive);
    task.start();
    EXPECT_EQ(alive, 1);
  }
  ASSERT_TRUE(io.run());
  EXPECT_EQ(alive, 0);  // and nobody was resumed
  EXPECT_EQ(pending.result().value().body(), "/x");
}

TEST(Coroutines, ThePendingMayGoBeforeTheTaskThatAwaitsIt) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  int alive = 0;
  auto pending = std::make_unique<Pending<Response>>(io.get(pool, "http://" + server.address()));
  {
    Task<void> task = await_other(*pending, &alive);
    task.start();
    pending.reset();
    ASSERT_TRUE(io.run());
    EXPECT_FALSE(task.done());
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Coroutines, AStreamMayGoBeforeTheTaskThatAwaitsIt) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Request request = pool.request("GET", "http://" + server.address()).value();
  for (const bool replaced : {false, true}) {
    int alive = 0;
    auto stream = std::make_unique<AsyncStream>(io.stream(request).value());
    {
      Task<void> task = await_parts(*stream, &alive);
      task.start();
      AsyncStream other = io.stream(request).value();
      if (replaced) {
        *stream = std::move(other);
        stream->cancel();
      } else {
        stream.reset();
        other.cancel();
      }
      ASSERT_TRUE(io.run());
      EXPECT_FALSE(task.done());
    }
    EXPECT_EQ(alive, 0);
  }
}

TEST(Coroutines, ATaskMayGoBeforeTheStreamThatItAwaits) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Request request = pool.request("GET", server.url("/x")).value();
  AsyncStream stream = io.stream(request).value();
  int alive = 0;
  {
    Task<void> task = await_parts(stream, &alive);
    task.start();
  }
  ASSERT_TRUE(io.run());
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(stream.next().await_resume().value().kind(), CONPOOL_EVENT_HEAD);
}

Task<conpool_status> cancelled(Dispatcher& io, const Pool& pool, std::string url) {
  Pending<Response> pending = io.get(pool, url);
  pending.cancel();
  Result<Response> got = co_await pending;
  co_return got.status();
}

TEST(Coroutines, CancelOps) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(cancelled(io, pool, "http://" + server.address())).value(), CONPOOL_E_CANCELLED);
}

TEST(Coroutines, StopCancelsTheTaskThatRuns) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  io.stop();
  EXPECT_EQ(io.run(fetch(io, pool, "http://" + server.address())).status(), CONPOOL_E_CANCELLED);
  ASSERT_TRUE(io.run());
}

TEST(Coroutines, TheDispatcherMayGoFirst) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  auto io = std::make_unique<Dispatcher>(make_dispatcher(pool));
  Task<std::string> task = fetch(*io, pool, "http://" + server.address());
  task.start();
  io.reset();
  EXPECT_FALSE(task.done());
}

// --- tasks ---------------------------------------------------------------------------------------

Task<int> number(int value) {
  co_return value;
}
Task<void> nothing() {
  co_return;
}
Task<std::unique_ptr<int>> boxed(int value) {
  auto box = std::make_unique<int>(value);
  co_return box;
}

Task<long> sum(int count) {
  long total = 0;
  for (int i = 0; i < count; ++i) {
    Task<int> next = number(1);
    total += co_await next;
    co_await nothing();
  }
  const std::unique_ptr<int> box = co_await boxed(5);
  co_return total + *box;
}

TEST(Tasks, ManyThatAreDoneAtOnceNeedNoStack) {
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(sum(300000)).value(), 300005);
}

TEST(Tasks, AreMovedAndDropped) {
  Task<int> empty;
  EXPECT_FALSE(empty.done());
  empty.start();
  Task<int> task = number(3);
  EXPECT_FALSE(task.done());
  empty = std::move(task);
  empty.start();
  empty.start();
  EXPECT_TRUE(empty.done());
  EXPECT_EQ(empty.result(), 3);
  empty = number(4);
  const Task<int> never = number(5);
}

Task<int> deep(Dispatcher& io, const Pool& pool, const std::string& url, int levels) {
  if (levels == 0) {
    Result<Response> got = co_await io.get(pool, url);
    co_return got ? got->status() : 0;
  }
  Task<int> inner = deep(io, pool, url, levels - 1);
  const int status = co_await inner;
  co_return status + 1;
}

TEST(Tasks, Nest) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(deep(io, pool, server.url(), 100)).value(), 300);
}

Task<int> ladder(int rungs) {
  if (rungs == 0) co_return 0;
  Task<int> inner = ladder(rungs - 1);
  const int below = co_await inner;
  co_return below + 1;
}

TEST(Tasks, ManyInsideEachOtherNeedNoStack) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(ladder(200000)).value(), 200000);
  EXPECT_EQ(io.run(deep(io, pool, server.url(), 200000)).value(), 200200);
}

Task<void> hold(Dispatcher& io, const Endpoint& endpoint, int levels, int* alive) {
  const Counted counted(alive);
  if (levels == 0) {
    Result<Connection> lease = co_await io.acquire(endpoint);
    Result<Chunk> chunk = co_await io.read(*lease);
  } else {
    Task<void> inner = hold(io, endpoint, levels - 1, alive);
    co_await inner;
  }
}

TEST(Tasks, GoWithThoseThatTheyAwait) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  int alive = 0;
  {
    Task<void> task = hold(io, endpoint, 1000, &alive);
    task.start();
    EXPECT_EQ(alive, 1001);
  }
  EXPECT_EQ(alive, 0);
  ASSERT_TRUE(io.run());
}

// A coroutine of another kind: it runs at once and belongs to nobody.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::abort(); }
  };
};
Detached add_up(int count, int* total) {
  for (int i = 0; i < count; ++i) {
    Task<int> next = ladder(1);
    *total += co_await next;
  }
}
Task<int> started_inside(int count) {
  int total = 0;
  add_up(count, &total);
  const int at_once = total;
  co_await nothing();
  co_return at_once;
}

Task<std::string> body_of(Task<std::string>& fetched) {
  std::string body = co_await fetched;
  co_return body;
}

TEST(Tasks, MayBeAwaitedByOneThatIsGone) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Task<std::string> shared = fetch(io, pool, server.url("/shared"));
  shared.start();
  {
    Task<std::string> gone = body_of(shared);
    gone.start();
  }
  EXPECT_TRUE(io.run());
  EXPECT_TRUE(shared.done());
  EXPECT_EQ(io.run(body_of(shared)).value(), "/shared");
}

TEST(Tasks, MayBeMovedWhileTheyAreAwaited) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Task<std::string> first = fetch(io, pool, server.url("/moved"));
  Task<std::string> waiter = body_of(first);
  waiter.start();
  const Task<std::string> second = std::move(first);
  EXPECT_TRUE(io.run());
  EXPECT_TRUE(second.done());
  EXPECT_TRUE(waiter.done());
  EXPECT_EQ(waiter.result(), "/moved");
}

TEST(Tasks, MayGoWhileTheyAreAwaited) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Task<std::string> task = fetch(io, pool, server.url("/"));
  Task<std::string> waiter = body_of(task);
  waiter.start();
  task = Task<std::string>();
  EXPECT_TRUE(io.run());
  EXPECT_FALSE(waiter.done());
}

TEST(Tasks, AreAwaitedByOtherCoroutines) {
  int total = 0;
  add_up(300000, &total);
  EXPECT_EQ(total, 300000);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(started_inside(1000)).value(), 1000);
}

// Waits until somebody resumes it by hand.
struct Parked {
  std::coroutine_handle<>* where;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) const noexcept { *where = coroutine; }
  void await_resume() const noexcept {}
};
Task<int> parked(int levels, std::coroutine_handle<>* where) {
  if (levels == 0) {
    const Parked once{where};
    co_await once;
    const int own = co_await ladder(10);
    co_return own;
  }
  Task<int> inner = parked(levels - 1, where);
  const int below = co_await inner;
  const int own = co_await ladder(1);
  co_return below + own;
}

TEST(Tasks, AreResumedByOtherLoops) {
  std::coroutine_handle<> where;
  Task<int> task = parked(100, &where);
  task.start();
  EXPECT_FALSE(task.done());
  where.resume();
  ASSERT_TRUE(task.done());
  EXPECT_EQ(task.result(), 110);
}

// What waits for nothing of this dispatcher is told, and does not hang.
Task<void> lost() {
  co_await std::suspend_always{};
}

TEST(Tasks, ThatNothingCanWakeAreAnError) {
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(lost()).status(), CONPOOL_E_WRONG_STATE);
}

#if defined(__cpp_exceptions)
Task<int> throws(Dispatcher& io, const Pool& pool, std::string url) {
  Result<Response> got = co_await io.get(pool, url);
  if (!got) throw std::string(got.error().name());
  co_return 1;
}
Task<std::string> catches(Dispatcher& io, const Pool& pool, std::string url) {
  std::string caught;
  try {
    Task<int> inner = throws(io, pool, url);
    co_await inner;
  } catch (const std::string& name) {
    caught = name;
  }
  co_return caught;
}

TEST(Tasks, PassExceptionsOn) {
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run(catches(io, pool, "ftp://h/")).value(), "E_BAD_URL");
  EXPECT_THROW(static_cast<void>(io.run(throws(io, pool, "ftp://h/"))), std::string);
}
#endif

}  // namespace
}  // namespace cpp_test
