// The dispatcher: results told to functions, failed starts, the host's own loop, and its end in
// every state.
#include <poll.h>

#include <memory>
#include <thread>

#include "support.h"

namespace cpp_test {
namespace {

using namespace conpool;

bool readable(int fd, int timeout_ms) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, timeout_ms) == 1;
}

TEST(Dispatcher, TellsFunctions) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_TRUE(io.idle());
  std::vector<std::string> bodies;
  for (int i = 0; i < 20; ++i) {
    // A function may own what cannot be copied, and start more.
    io.get(pool, server.url("/" + std::to_string(i)))
        .then([&, own = std::make_unique<int>(i)](Result<Response> got) {
          EXPECT_EQ(got.value().body(), "/" + std::to_string(*own));
          bodies.emplace_back(got->body());
          io.get(pool, server.url("/more")).then([&](Result<Response> more) {
            bodies.emplace_back(more.value().body());
          });
        });
  }
  EXPECT_FALSE(io.idle());
  ASSERT_TRUE(io.run());
  EXPECT_EQ(bodies.size(), 40u);
  EXPECT_TRUE(io.idle());
  EXPECT_TRUE(io.run());  // nothing to do: at once
}

TEST(Dispatcher, LeasesReadsAndWrites) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  Connection lease;
  io.preconnect(endpoint, 1).then([](Result<std::uint64_t> open) { EXPECT_EQ(open.value(), 1u); });
  io.acquire(endpoint).then([&](Result<Connection> got) { lease = std::move(got).value(); });
  ASSERT_TRUE(io.run());
  std::string answer;
  std::uint64_t written = 0;
  io.read(lease, 4).then([&](Result<Chunk> chunk) { answer = chunk.value().text(); });
  io.write(lease, "ping").then([&](Result<std::uint64_t> count) { written = count.value(); });
  ASSERT_TRUE(io.run());
  EXPECT_EQ(answer, "ping");
  EXPECT_EQ(written, 4u);
  bool ended = false;
  io.shutdown_write(lease).then([](Result<std::uint64_t> done) { EXPECT_TRUE(done); });
  io.read(lease).then([&](Result<Chunk> chunk) { ended = !chunk.value(); });
  io.start<Chunk>([&](const Report& report) {
      return lease.start_read(report, 1);
    }).then([](Result<Chunk> chunk) { EXPECT_TRUE(!chunk || !*chunk); });
  ASSERT_TRUE(io.run());
  EXPECT_TRUE(ended);
  io.close(pool, Nanos(0)).then([](Result<std::uint64_t> broken) { EXPECT_TRUE(broken); });
  ASSERT_TRUE(io.run());
}

TEST(Dispatcher, TellsFailedStartsLater) {
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  int told = 0;
  io.get(pool, "ftp://h/").then([&](Result<Response> got) {
    EXPECT_EQ(got.status(), CONPOOL_E_BAD_URL);
    EXPECT_NE(std::string_view(got.error().line()).find("ftp"), std::string::npos);
    ++told;
  });
  io.acquire(Endpoint()).then([&](Result<Connection> got) {
    EXPECT_EQ(got.status(), CONPOOL_E_INVALID);
    ++told;
  });
  EXPECT_EQ(told, 0);
  ASSERT_TRUE(io.run());
  EXPECT_EQ(told, 2);
  EXPECT_EQ(io.stream(Request()).status(), CONPOOL_E_INVALID);
  EXPECT_TRUE(io.idle());
}

TEST(Dispatcher, LivesInALoopOfTheProgram) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const int fd = io.fd().value();
  EXPECT_EQ(io.fd().value(), fd);
  EXPECT_FALSE(readable(fd, 0));
  int told = 0;
  // A failed start is no event of the queue; the descriptor tells of it all the same.
  io.get(pool, "ftp://h/").then([&](Result<Response>) { ++told; });
  EXPECT_TRUE(readable(fd, 30000));
  EXPECT_EQ(io.run_once(Nanos(0)).value(), 1u);
  EXPECT_FALSE(readable(fd, 0));
  io.get(pool, server.url()).then([&](Result<Response> got) {
    EXPECT_TRUE(got);
    ++told;
    io.get(pool, "ftp://h/").then([&](Result<Response>) { ++told; });
  });
  while (told < 3) {
    ASSERT_TRUE(readable(fd, 30000));
    ASSERT_TRUE(io.run_once(Nanos(0)));
  }
  EXPECT_FALSE(readable(fd, 0));
  EXPECT_EQ(io.run_once(Nanos(0)).value(), 0u);
}

TEST(Dispatcher, WaitsNoLongerThanItIsTold) {
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  EXPECT_EQ(io.run_once(Nanos(1000000)).value(), 0u);
}

TEST(Dispatcher, StopsFromAnyThread) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Connection lease;
  io.acquire(pool.endpoint(server.url()).value()).then([&](Result<Connection> got) {
    lease = std::move(got).value();
  });
  ASSERT_TRUE(io.run());
  Pending<Chunk> read = io.read(lease);
  std::thread other([&] { io.stop(); });
  EXPECT_TRUE(io.run());
  other.join();
  EXPECT_FALSE(read.done());
  read.cancel();
  EXPECT_TRUE(io.run());
  EXPECT_TRUE(read.done());
  EXPECT_EQ(read.op(), 0u);
  EXPECT_EQ(read.result().status(), CONPOOL_E_CANCELLED);
  EXPECT_EQ(read.result().status(), CONPOOL_E_STALE);
}

#if defined(__cpp_exceptions)
TEST(Dispatcher, LetsExceptionsOutAndGoesOn) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  int told = 0;
  for (int i = 0; i < 10; ++i) {
    io.get(pool, i % 2 == 0 ? server.url() : "ftp://h/").then([&](Result<Response>) {
      ++told;
      throw 5;
    });
  }
  int thrown = 0;
  while (!io.idle()) {
    try {
      ASSERT_TRUE(io.run());
    } catch (int) {
      ++thrown;
    }
  }
  EXPECT_EQ(told, 10);
  EXPECT_EQ(thrown, 10);
}
#endif

// --- streams -------------------------------------------------------------------------------------

TEST(Dispatcher, TellsTheParts) {
  const std::string body = capi_test::pattern(1000000);
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Request request = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(request.body_stream());
  AsyncStream stream = io.stream(request).value();
  const conpool_op op = stream.op();
  Parts parts;
  std::move(stream).each([&](Result<Event> event) { keep(&parts, std::move(event).value()); });
  EXPECT_EQ(stream.op(), 0u);
  io.body_write(op, std::string_view(body).substr(0, 1000), false)
      .then([&](Result<std::uint64_t> taken) {
        EXPECT_EQ(taken.value(), 1000u);
        io.body_write(op, std::string_view(body).substr(1000), true).then([](auto rest) {
          EXPECT_TRUE(rest);
        });
      });
  ASSERT_TRUE(io.run());
  EXPECT_EQ(parts.body, body);
  EXPECT_EQ(parts.status, 200);
}

TEST(Dispatcher, TellsPartsThatCameBeforeTheFunction) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Request request = pool.request("GET", server.url("/x")).value();
  AsyncStream stream = io.stream(request).value();
  ASSERT_TRUE(io.run());
  Parts parts;
  std::move(stream).each([&](Result<Event> event) { keep(&parts, std::move(event).value()); });
  EXPECT_TRUE(parts.kinds.empty());
  ASSERT_TRUE(io.run());
  EXPECT_EQ(parts.body, "/x");
  EXPECT_EQ(parts.status, 200);
}

TEST(Dispatcher, FunctionsMayRunIt) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Request request = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(request.body(capi_test::pattern(300000)));
  Parts parts;
  int depth = 0;
  int inner = 0;
  io.stream(request).value().each([&, own = std::string(100, 'q')](Result<Event> event) {
    EXPECT_EQ(++depth, 1);  // not inside itself
    // What it captured is there afterwards, although the response ends meanwhile.
    io.get(pool, server.url("/y")).then([&](Result<Response>) {
      EXPECT_TRUE(io.run_once(Nanos(0)));
      ++inner;
    });
    EXPECT_TRUE(io.run_once(Nanos(20000000)));
    keep(&parts, std::move(event).value());
    EXPECT_EQ(own, std::string(100, 'q'));
    --depth;
  });
  ASSERT_TRUE(io.run());
  EXPECT_EQ(parts.body, capi_test::pattern(300000));
  EXPECT_EQ(parts.status, 200);
  EXPECT_EQ(parts.kinds.size(), static_cast<std::size_t>(inner));
  EXPECT_TRUE(io.idle());
}

// --- names ---------------------------------------------------------------------------------------

TEST(Dispatcher, ResolvesForThePool) {
  Server server(Server::echo);
  const Pool pool = make_pool({{"dns.backend", "queue"}});
  Dispatcher io = make_dispatcher(pool);
  int asked = 0;
  ASSERT_TRUE(io.set_resolver(pool, [&](Lookup lookup) {
    ++asked;
    EXPECT_TRUE(lookup.answer(lookup.family() == 4 ? "127.0.0.1" : ""));
  }));
  const Endpoint endpoint =
      pool.endpoint("tcp://name.example:" + std::to_string(server.port())).value();
  bool connected = false;
  io.acquire(endpoint).then([&](Result<Connection> got) { connected = got.has_value(); });
  ASSERT_TRUE(io.run());
  EXPECT_TRUE(connected);
  EXPECT_GE(asked, 1);
  EXPECT_TRUE(pool.unset_resolver());
  EXPECT_EQ(io.set_resolver(make_pool(), [](Lookup) {}).status(), CONPOOL_E_WRONG_STATE);
}

// --- ends ----------------------------------------------------------------------------------------

TEST(DispatcherEnd, DestroysFunctionsThatWereNotCalled) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  const auto alive = std::make_shared<int>(0);
  {
    Dispatcher io = make_dispatcher(pool);
    io.get(pool, "http://" + server.address()).then([alive](Result<Response>) { FAIL(); });
    io.get(pool, "ftp://h/").then([alive](Result<Response>) { FAIL(); });
    const Request request = pool.request("GET", "http://" + server.address()).value();
    io.stream(request).value().each([alive](Result<Event>) { FAIL(); });
    EXPECT_EQ(alive.use_count(), 4);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(DispatcherEnd, LeasesThatNobodyWasToldOfGoBack) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  for (int i = 0; i < 3; ++i) {
    Dispatcher io = make_dispatcher(pool);
    Pending<Connection> acquire = io.acquire(endpoint);
    ASSERT_TRUE(io.run());
    std::move(acquire).then([](Result<Connection>) { FAIL(); });
  }
  const Connection last = endpoint.acquire().value();
  EXPECT_TRUE(last.reused());
  ASSERT_TRUE(last.write("x"));
  EXPECT_EQ(read_exactly(last, 1), "x");
  EXPECT_EQ(server.accepted(), 1);
}

TEST(DispatcherEnd, LeavesPendingOnesAnError) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  auto io = std::make_unique<Dispatcher>(make_dispatcher(pool));
  const Request request = pool.request("GET", "http://" + server.address()).value();
  Pending<Response> pending = io->perform(request);
  Pending<Response> failed = io->get(pool, "ftp://h/");
  AsyncStream stream = io->stream(request).value();
  io.reset();
  EXPECT_TRUE(pending.done());
  EXPECT_EQ(pending.result().status(), CONPOOL_E_CLOSED);
  EXPECT_EQ(failed.result().status(), CONPOOL_E_BAD_URL);
  AsyncStream::Next next = stream.next();
  EXPECT_TRUE(next.await_ready());
  EXPECT_EQ(next.await_resume().status(), CONPOOL_E_CLOSED);
  bool called = false;
  std::move(pending).then([&](Result<Response>) { called = true; });
  std::move(stream).each([&](Result<Event>) { called = true; });
  EXPECT_FALSE(called);
}

TEST(DispatcherEnd, PendingOnesMayGoInEveryState) {
  HttpServer server(HttpServer::echo);
  Server silent(Server::silent);
  const Pool pool = make_pool({{"endpoint.max_connections", "4"}});
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(silent.url()).value();
  for (int turns = 0; turns < 4; ++turns) {
    Pending<Response> response = io.get(pool, server.url("/a"));
    Pending<Connection> lease = io.acquire(endpoint);
    const std::string text = capi_test::pattern(1 << 20);
    Request request = pool.request("PUT", server.url()).value();
    ASSERT_TRUE(request.body_borrowed(text));
    Pending<Response> borrows = io.perform(request);
    AsyncStream stream = io.stream(request).value();
    for (int i = 0; i < turns; ++i)
      ASSERT_TRUE(io.run_once(Nanos(1000000)));
    response = io.get(pool, server.url("/b"));
    stream = io.stream(request).value();
  }
  ASSERT_TRUE(io.run());
  EXPECT_TRUE(io.idle());
  // Connections that came for nobody went back: nothing is leased.
  EXPECT_TRUE(eventually([&] { return silent.open() <= 4; }));
  EXPECT_EQ(pool.close(Nanos(0)).value(), 0u);
}

TEST(DispatcherEnd, WritesGiveTheirMemoryBackFirst) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  Pending<Connection> acquire = io.acquire(endpoint);
  ASSERT_TRUE(io.run());
  const Connection lease = acquire.result().value();
  int told = 0;
  {
    const std::string much(64 << 20, 'x');
    Pending<std::uint64_t> write = io.write(lease, much);
    io.get(pool, "ftp://h/").then([&](Result<Response>) { ++told; });
    io.acquire(endpoint).then([&](Result<Connection> got) { told += got.has_value(); });
  }
  ASSERT_TRUE(io.run());
  EXPECT_EQ(told, 2);  // what came while it waited was told afterwards
}

// Holds the events of a queue that the program takes by itself, while one of their functions
// destroys a write whose event is among them.
class Batches : public testing::Test {
 protected:
  Batches() {
    Pending<Connection> acquire = io.acquire(pool.endpoint(server.url()).value());
    EXPECT_TRUE(io.run());
    lease = acquire.result().value();
    io.get(pool, http.url("/x")).then([this](Result<Response> got) {
      EXPECT_TRUE(got);
      write.reset();
      ++told;
    });
    take(1);
    write = std::make_unique<Pending<std::uint64_t>>(io.write(lease, text));
    io.get(pool, http.url("/y")).then([this](Result<Response> got) {
      EXPECT_TRUE(got);
      ++told;
    });
    take(3);
  }
  void take(std::size_t until) {
    while (count < until) {
      const Result<std::size_t> more = io.queue().next(std::span(batch).subspan(count), kLong);
      ASSERT_GT(more.value(), 0u);
      count += *more;
    }
  }

  Server server{Server::echo};
  HttpServer http{HttpServer::echo};
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  Connection lease;
  const std::string text = "hello";
  std::unique_ptr<Pending<std::uint64_t>> write;
  std::array<Event, 16> batch;
  std::size_t count = 0;
  int told = 0;
};

TEST_F(Batches, AreToldWhole) {
  io.dispatch(std::span(batch).first(count));
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(io.idle());
}

TEST_F(Batches, OneByOneDoNotHangEither) {
  for (Event& event : batch)
    Dispatcher::dispatch(std::move(event));
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(io.idle());
}

TEST_F(Batches, KeepWhatAWriteHasSetAside) {
  const std::string much(64 << 20, 'x');
  Server silent(Server::silent);
  Pending<Connection> acquire = io.acquire(pool.endpoint(silent.url()).value());
  while (!acquire.done())
    ASSERT_TRUE(io.run_once());
  const Connection other = acquire.result().value();
  // Runs until its connection breaks: the end comes while the batch is in the program's hands.
  auto endless = std::make_unique<Pending<std::uint64_t>>(io.write(other, much));
  io.get(pool, http.url("/z")).then([&](Result<Response>) { endless.reset(); });
  std::array<Event, 1> one;
  ASSERT_EQ(io.queue().next(one, kLong).value(), 1u);
  io.dispatch(one);
  io.dispatch(std::span(batch).first(count));
  ASSERT_TRUE(io.run());
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(io.idle());
}

TEST(DispatcherEnd, ForeignEventsAreIgnored) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  std::string body;
  io.get(pool, server.url("/x")).then([&](Result<Response> got) { body = got.value().body(); });
  Event event = io.queue().next(kLong).value();
  conpool_event newer = event.raw();  // an event of a kind that does not exist yet, of the same op
  newer.kind = 4711;
  newer.flags = 0;
  newer.object = nullptr;
  Dispatcher::dispatch(Event(newer));
  EXPECT_EQ(body, "");
  Dispatcher::dispatch(Event());
  Dispatcher::dispatch(std::move(event));
  EXPECT_EQ(body, "/x");
}

TEST(DispatcherEnd, AFinalEventOfAForeignKindIsAnError) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  Dispatcher io = make_dispatcher(pool);
  conpool_status status = CONPOOL_OK;
  io.get(pool, server.url("/x")).then([&](Result<Response> got) { status = got.status(); });
  Event event = io.queue().next(kLong).value();
  conpool_event newer = event.raw();
  newer.kind = 4711;
  newer.object = nullptr;
  Dispatcher::dispatch(Event(newer));
  EXPECT_EQ(status, CONPOOL_E_UNSUPPORTED);
  EXPECT_TRUE(io.idle());
}

TEST(DispatcherEnd, ThePoolMayGoFirst) {
  Server server(Server::silent);
  std::optional<Pool> pool = make_pool();
  Dispatcher io = make_dispatcher(*pool);
  conpool_status status = CONPOOL_OK;
  io.get(*pool, "http://" + server.address()).then([&](Result<Response> got) {
    status = got.status();
  });
  pool.reset();
  ASSERT_TRUE(io.run());
  EXPECT_EQ(status, CONPOOL_E_CLOSED);
}

}  // namespace
}  // namespace cpp_test
