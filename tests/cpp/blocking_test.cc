// Waiting calls, ops that are waited for later, queues: every function once, and what goes wrong.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <set>
#include <thread>

#include "support.h"

namespace cpp_test {
namespace {

using namespace conpool;

// --- requests ------------------------------------------------------------------------------------

TEST(Requests, AreAnswered) {
  HttpServer server([](const HttpRequest& request) {
    return capi_test::answer(request.method + " " + request.field("x-a") + " " + request.body, 201,
                             "x-b: 1\r\nX-B: 2\r\n");
  });
  const Pool pool = make_pool();
  Request request = pool.request("POST", server.url("/p?q")).value();
  ASSERT_TRUE(request.header("X-A", "1"));
  ASSERT_TRUE(request.body("body"));
  ASSERT_TRUE(request.idempotent());
  const Response response = request.perform().value();
  EXPECT_EQ(response.status(), 201);
  EXPECT_EQ(response.http_version(), 11);
  EXPECT_EQ(response.body(), "POST 1 body");
  EXPECT_EQ(response.header("x-b"), "1");
  EXPECT_EQ(response.header("X-b", 1), "2");
  EXPECT_EQ(response.header("x-b", 2), std::nullopt);
  std::size_t found = 0;
  for (const Field& field : response.headers())
    found += field.name == "Content-Length" && field.value == "11";
  EXPECT_EQ(found, 1u);
  EXPECT_TRUE(response.trailers().empty());
  EXPECT_NE(response.describe().value().find("\"protocol\""), std::string::npos);
  EXPECT_EQ(request.header("late", "1").status(), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(pool.get(server.url("/a")).value().status(), 201);
}

TEST(Requests, RefuseWhatIsWrongWithASentence) {
  const Pool pool = make_pool();
  EXPECT_EQ(pool.request("G T", "http://h/").status(), CONPOOL_E_BAD_METHOD);
  const Result<Request> url = pool.request("GET", "ftp://h/");
  EXPECT_EQ(url.status(), CONPOOL_E_BAD_URL);
  EXPECT_NE(std::string_view(url.error().line()).find("ftp"), std::string::npos);
  Request request = pool.request("GET", "http://h/").value();
  EXPECT_EQ(request.header("a b", "c").status(), CONPOOL_E_BAD_FIELD);
  EXPECT_EQ(request.trailer("content-length", "3").status(), CONPOOL_E_BAD_FIELD);
  EXPECT_EQ(request.body_fd(-1).status(), CONPOOL_E_BAD_BODY);
  const Config of_a_pool = Config::of({{"pool.max_ops", "5"}}).value();
  EXPECT_EQ(request.perform(of_a_pool).status(), CONPOOL_E_OPTION_SCOPE);
}

TEST(Requests, TellWhyTheyFailed) {
  HttpServer server([](const HttpRequest&) { return std::nullopt; });
  const Pool pool = make_pool();
  const Result<Response> cut = pool.request("POST", server.url("/")).value().perform();
  EXPECT_EQ(cut.status(), CONPOOL_E_HTTP_NO_RESPONSE);
  EXPECT_EQ(cut.error().proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_FALSE(cut.error().safe_to_retry());
}

// What ended with a code alone: nobody can tell what became of what was sent.
TEST(Proofs, OfWhatEndedWithoutAWord) {
  Server silent(Server::silent);
  const Pool pool = make_pool();
  EXPECT_FALSE(Error(CONPOOL_E_CLOSED).safe_to_retry());
  Request request = pool.request("POST", "http://" + silent.address()).value();
  ASSERT_TRUE(request.body("x"));

  auto io = std::make_unique<Dispatcher>(make_dispatcher(pool));
  Pending<Response> pending = io->perform(request);
  ASSERT_TRUE(eventually([&] { return silent.accepted() == 1; }));
  io.reset();
  const Result<Response> dropped = pending.result();
  EXPECT_EQ(dropped.status(), CONPOOL_E_CLOSED);
  EXPECT_EQ(dropped.error().proof(), CONPOOL_PROOF_MAYBE_PROCESSED);
  EXPECT_FALSE(dropped.error().safe_to_retry());

  Stream stream = pool.stream(request).value();
  stream.queue().close();
  EXPECT_FALSE(stream.next().error().safe_to_retry());

  // Nobody reads, so the write cannot end before it is cancelled.
  Server deaf([](int fd) {
    pollfd closed{fd, POLLRDHUP, 0};
    poll(&closed, 1, -1);
  });
  const Connection lease = pool.endpoint(deaf.url()).value().acquire().value();
  const std::string much(64 << 20, 'x');
  Op<std::uint64_t> write = lease.start_write(much).value();
  write.cancel();
  const Result<std::uint64_t> half = write.get();
  ASSERT_FALSE(half);
  EXPECT_EQ(half.error().safe_to_retry(),
            half.error().raw() != nullptr &&
                conpool_error_proof(half.error().raw()) != CONPOOL_PROOF_MAYBE_PROCESSED);
}

TEST(Proofs, OfWhatNeverStarted) {
  const Pool pool = make_pool();
  EXPECT_EQ(Endpoint().acquire().error().proof(), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_EQ(Connection().write("x").error().proof(), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_EQ(Request().start().error().proof(), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_TRUE(pool.request("GET", "ftp://h/").error().safe_to_retry());
  Dispatcher io = make_dispatcher(pool);
  EXPECT_TRUE(io.get(pool, "ftp://h/").result().error().safe_to_retry());
}

TEST(Proofs, OfAnEventThatNamesOne) {
  conpool_event raw{};
  raw.kind = CONPOOL_EVENT_RESPONSE;
  raw.status = CONPOOL_E_CANCELLED;
  raw.value[1] = CONPOOL_PROOF_NOT_PROCESSED;
  EXPECT_EQ(Event(raw).take<Response>().error().proof(), CONPOOL_PROOF_NOT_PROCESSED);
  raw.kind = CONPOOL_EVENT_WRITE;
  raw.value[1] = 0;
  EXPECT_FALSE(Event(raw).take<std::uint64_t>().error().safe_to_retry());
}

TEST(Requests, KeepTheirBodyForOpsThatRun) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const std::string body = capi_test::pattern(3000000);
  std::optional<Op<Response>> op;
  {
    Request request = pool.request("PUT", server.url()).value();
    ASSERT_TRUE(request.body(body));
    op = request.start().value();
  }
  EXPECT_EQ(op->get().value().body(), body);
  Request borrowed = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(borrowed.body_borrowed(body));
  EXPECT_TRUE(borrowed.borrows());
  EXPECT_EQ(borrowed.perform().value().body(), body);
}

TEST(Requests, SendFilesAndTrailers) {
  HttpServer server([](const HttpRequest& request) {
    const auto check = request.trailers.find("x-check");
    return capi_test::answer(request.body + (check == request.trailers.end() ? "" : check->second));
  });
  const Pool pool = make_pool();
  const capi_test::TempFile file("0123456789");
  Request request = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(request.body_fd(file.fd(), 2, 5));
  ASSERT_TRUE(request.trailer("x-check", "!"));
  EXPECT_EQ(request.perform().value().body(), "23456!");
}

TEST(Requests, GoToAnEndpoint) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Config options = Config::of({{"endpoint.max_connections", "2"}}).value();
  const Endpoint endpoint = pool.endpoint(server.url(), options).value();
  EXPECT_EQ(endpoint.preconnect(2).value(), 2u);
  EXPECT_EQ(endpoint.start_preconnect(1).value().get().value(), 2u);
  EXPECT_EQ(endpoint.request("GET", "/one").value().perform().value().body(), "/one");
  EXPECT_TRUE(eventually([&] { return server.accepted() == 2; }));
  EXPECT_EQ(endpoint.acquire().status(), CONPOOL_E_UNSUPPORTED);
  ASSERT_TRUE(endpoint.force_breaker("open"));
  const Result<Response> open = endpoint.request("GET", "/").value().perform();
  EXPECT_EQ(open.status(), CONPOOL_E_BREAKER_OPEN);
  EXPECT_EQ(open.error().retry_after(), std::nullopt);
  ASSERT_TRUE(endpoint.force_breaker("auto"));
  EXPECT_TRUE(endpoint.request("GET", "/").value().perform());
  const std::uint16_t port = static_cast<std::uint16_t>(
      std::stoi(server.authority().substr(server.authority().find(':') + 1)));
  const Endpoint host = pool.endpoint_host("http", "127.0.0.1", {&port, 1}).value();
  EXPECT_EQ(host.request("GET", "/h").value().perform().value().body(), "/h");
  const Config named = Config::of({{"tls.server_name", "name.test"}}).value();
  const Endpoint addresses = pool.endpoint_addresses("http", server.authority(), named).value();
  EXPECT_EQ(addresses.request("GET", "/l").value().perform().value().body(), "/l");
}

// --- streams -------------------------------------------------------------------------------------

TEST(Streams, ComeInParts) {
  const std::string body = capi_test::pattern(1000000);
  HttpServer server([&](const HttpRequest&) { return capi_test::answer(body); });
  const Pool pool = make_pool();
  Stream stream = pool.stream(pool.request("GET", server.url()).value()).value();
  EXPECT_NE(stream.op(), 0u);
  Parts parts;
  while (!stream.over())
    keep(&parts, stream.next(kLong).value());
  EXPECT_EQ(parts.body, body);
  EXPECT_EQ(parts.kinds.front(), static_cast<std::uint32_t>(CONPOOL_EVENT_HEAD));
  EXPECT_EQ(parts.kinds.back(), static_cast<std::uint32_t>(CONPOOL_EVENT_RESPONSE));
  EXPECT_EQ(parts.status, 200);
  EXPECT_FALSE(stream.next().value());  // over: an empty event, at once
}

TEST(Streams, SendTheirBodyInPieces) {
  std::promise<void> asked;  // the request must not end before all was asked of it
  HttpServer server([ready = asked.get_future().share()](const HttpRequest& request) {
    ready.wait();
    return HttpServer::echo(request);
  });
  const Pool pool = make_pool();
  Request request = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(request.body_stream());
  EXPECT_EQ(request.perform().status(), CONPOOL_E_WRONG_STATE);
  Stream stream = pool.stream(request).value();
  std::string sent;
  for (int i = 0; i < 20; ++i) {
    const std::string piece = capi_test::pattern(10000 + static_cast<std::size_t>(i));
    EXPECT_EQ(stream.write(piece).value(), piece.size());
    sent += piece;
  }
  EXPECT_TRUE(stream.write("", true));
  EXPECT_EQ(stream.write("more").status(), CONPOOL_E_WRONG_STATE);
  asked.set_value();
  Parts parts;
  while (!stream.over())
    keep(&parts, stream.next(kLong).value());
  EXPECT_EQ(parts.body, sent);
  EXPECT_EQ(start_body_write(stream.op(), "x", false).status(), CONPOOL_E_STALE);
}

TEST(Streams, EndWithTheirError) {
  HttpServer server([](const HttpRequest&) {
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n";
  });
  const Pool pool = make_pool();
  Stream stream = pool.stream(pool.request("GET", server.url()).value()).value();
  Result<Event> event = stream.next(kLong);
  while (event && !stream.over())
    event = stream.next(kLong);
  EXPECT_TRUE(stream.over());
  EXPECT_EQ(event.status(), CONPOOL_E_HTTP_MALFORMED);
}

TEST(Streams, MayBeDroppedAndReplacedInEveryState) {
  const std::string body = capi_test::pattern(2000000);
  HttpServer server([&](const HttpRequest&) { return capi_test::answer(body); });
  const Pool pool = make_pool();
  Request request = pool.request("PUT", server.url()).value();
  ASSERT_TRUE(request.body(capi_test::pattern(500000)));
  Stream stream = pool.stream(request).value();
  for (int events = 0; events < 6; ++events) {
    stream = pool.stream(request).value();
    for (int i = 0; i < events; ++i)
      EXPECT_TRUE(stream.next(kLong));
  }
  stream.cancel();
  Result<Event> event = stream.next(kLong);
  while (event && !stream.over())
    event = stream.next(kLong);
  EXPECT_TRUE(stream.over());
  EXPECT_EQ(event.status(), CONPOOL_E_CANCELLED);
}

TEST(Streams, ThatWereMovedFromCommandNothing) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Request request = pool.request("GET", server.url("/x")).value();
  Stream first = pool.stream(request).value();
  Stream second = std::move(first);
  Stream third = pool.stream(request).value();
  third.cancel();
  third = std::move(second);
  for (Stream* old : {&first, &second}) {
    EXPECT_EQ(old->op(), 0u);
    EXPECT_TRUE(old->over());
    old->cancel();
    EXPECT_EQ(old->next().status(), CONPOOL_E_INVALID);
    EXPECT_FALSE(old->write("x"));
  }
  Parts parts;
  while (!third.over())
    keep(&parts, third.next(kLong).value());
  EXPECT_EQ(parts.body, "/x");
}

TEST(Streams, KeepTheirBodyUntilTheyAreReplaced) {
  Server silent([](int fd) {
    // Nothing is read: the body is still being sent when its stream is replaced.
    pollfd end{fd, POLLRDHUP, 0};
    poll(&end, 1, -1);
  });
  const Pool pool = make_pool();
  auto upload = [&] {
    Request request = pool.request("PUT", "http://" + silent.address()).value();
    request.body(capi_test::pattern(8 << 20)).value();
    return pool.stream(request).value();
  };
  Stream stream = upload();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(eventually([&] { return silent.accepted() > i; }));
    stream = upload();
  }
}

// --- leases --------------------------------------------------------------------------------------

TEST(Leases, AreReadWrittenAndPooled) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  Connection first = endpoint.acquire().value();
  EXPECT_FALSE(first.reused());
  EXPECT_EQ(first.address(), server.address());
  EXPECT_NE(first.describe().value().find("\"address\""), std::string::npos);
  EXPECT_EQ(first.write("hello").value(), 5u);
  EXPECT_EQ(read_exactly(first, 5), "hello");
  first.release();
  EXPECT_FALSE(first);
  first.release();  // an empty one: nothing happens
  Connection second = endpoint.acquire().value();
  EXPECT_TRUE(second.reused());
  second.close();
  Connection third = endpoint.acquire().value();
  EXPECT_FALSE(third.reused());
  EXPECT_TRUE(third.shutdown_write());
  const Chunk end = third.read().value();
  EXPECT_FALSE(end);
  EXPECT_EQ(end.size(), 0u);
}

TEST(Leases, DroppedOnesAreNotPooled) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  { const Connection dropped = endpoint.acquire().value(); }
  EXPECT_FALSE(endpoint.acquire().value().reused());
}

TEST(Leases, LendTheirDescriptor) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  Connection connection = endpoint.acquire().value();
  {
    Loan loan = connection.lend().value();
    EXPECT_FALSE(loan.early());
    ASSERT_EQ(send(loan.fd(), "ping", 4, MSG_NOSIGNAL), 4);
    char bytes[4];
    ASSERT_EQ(recv(loan.fd(), bytes, 4, MSG_WAITALL), 4);
    EXPECT_EQ(std::string_view(bytes, 4), "ping");
    Loan moved = std::move(loan);
    const int fd = moved.fd();
    moved.close();
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  }
  connection.release();
  connection = endpoint.acquire().value();
  EXPECT_TRUE(connection.reused());
  Loan again = connection.lend(false).value();
  EXPECT_NE(fcntl(again.fd(), F_GETFL) & O_NONBLOCK, 0);
  const int fd = again.detach_fd();
  EXPECT_EQ(again.fd(), -1);
  EXPECT_EQ(close(fd), 0);
}

// --- ops -----------------------------------------------------------------------------------------

TEST(Ops, AreWaitedForLater) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  Op<Connection> acquire = endpoint.start_acquire().value();
  const Connection connection = acquire.get().value();
  EXPECT_EQ(acquire.get().status(), CONPOOL_E_STALE);
  Op<Chunk> read = connection.start_read(3).value();
  EXPECT_FALSE(read.wait_for(Nanos(0)).value());
  Op<std::uint64_t> write = connection.start_write("abcdef").value();
  EXPECT_EQ(write.get().value(), 6u);
  EXPECT_TRUE(read.wait_for(kLong).value());
  EXPECT_EQ(read.id(), 0u);
  EXPECT_EQ(read.get().value().text(), "abc");
  EXPECT_EQ(connection.read().value().text(), "def");
  Op<Chunk> never = connection.start_read().value();
  never.cancel();
  EXPECT_EQ(never.get().status(), CONPOOL_E_CANCELLED);
}

TEST(Ops, ThatAreDroppedEndFirst) {
  Server server(Server::silent);
  const Pool pool = make_pool({{"endpoint.max_connections", "1"}});
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  { const Op<Connection> dropped = endpoint.start_acquire().value(); }
  const Connection connection = endpoint.acquire().value();
  { const Op<Connection> waiting = endpoint.start_acquire().value(); }
  {
    // More than the peer's kernel takes: the write is under way, and its memory goes with the
    // scope.
    const std::string much(64 << 20, 'x');
    Op<std::uint64_t> write = connection.start_write(much).value();
    Op<std::uint64_t> other = connection.start_shutdown_write().value();
    write = std::move(other);
  }
  EXPECT_FALSE(connection.write("x"));
}

TEST(Ops, GiveBackAConnectionNobodyTook) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  {
    Op<Connection> dropped = endpoint.start_acquire().value();
    ASSERT_TRUE(dropped.wait_for(kLong).value());
  }
  EXPECT_TRUE(endpoint.acquire().value().reused());
}

// --- queues --------------------------------------------------------------------------------------

TEST(Queues, ReportOps) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Queue queue = pool.queue().value();
  const int fd = queue.fd().value();
  const conpool_op op = endpoint.start_acquire({queue, 1}).value();
  pollfd readable{fd, POLLIN, 0};
  ASSERT_EQ(poll(&readable, 1, 30000), 1);
  Event event = queue.next(Nanos(0)).value();
  EXPECT_EQ(event.op(), op);
  EXPECT_EQ(event.user_data(), 1u);
  EXPECT_EQ(event.kind(), static_cast<std::uint32_t>(CONPOOL_EVENT_CONNECTION));
  EXPECT_TRUE(event.is_final());
  EXPECT_FALSE(event.is_eof());
  EXPECT_GT(event.time().count(), 0);
  EXPECT_EQ(event.value(), 0u);
  const Connection connection = event.take<Connection>().value();

  const std::string text = "bytes";
  ASSERT_TRUE(connection.start_write({queue, 2}, text));
  ASSERT_TRUE(connection.start_read({queue, 3}, text.size()));
  ASSERT_TRUE(endpoint.start_preconnect({queue, 4}, 1));
  std::set<std::uint64_t> seen;
  std::array<Event, 4> events;
  while (seen.size() < 3) {
    const std::size_t count = queue.next(events, kLong).value();
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(seen.insert(events[i].user_data()).second);
      if (events[i].user_data() == 2) {
        EXPECT_EQ(events[i].take<std::uint64_t>().value(), 5u);
      } else if (events[i].user_data() == 3) {
        EXPECT_EQ(events[i].take<Chunk>().value().text(), text);
      }
    }
  }
  ASSERT_TRUE(connection.start_shutdown_write({queue, 5}));
  EXPECT_TRUE(queue.next(kLong).value().take<void>());
  ASSERT_TRUE(connection.start_read({queue, 6}));
  event = queue.next(kLong).value();
  EXPECT_TRUE(event.is_eof());
  EXPECT_FALSE(event.take<Chunk>().value());
  queue.wake();
  EXPECT_FALSE(queue.next(kLong).value());
  EXPECT_FALSE(queue.next(Nanos(0)).value());
  ASSERT_TRUE(connection.start_read({queue, 7}));
  queue.close();
  EXPECT_EQ(queue.next().status(), CONPOOL_E_CLOSED);
}

TEST(Queues, TakeBackALeaseThatNobodyTook) {
  Server server(Server::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Queue queue = pool.queue().value();
  for (std::uint64_t i = 0; i < 3; ++i) {
    Event event;
    ASSERT_TRUE(endpoint.start_acquire({queue, i}));
    event = queue.next(kLong).value();
    ASSERT_EQ(event.kind(), static_cast<std::uint32_t>(CONPOOL_EVENT_CONNECTION));
    EXPECT_EQ(event.value() != 0, i > 0);
    event = Event();
  }
  const Connection last = endpoint.acquire().value();
  EXPECT_TRUE(last.reused());
  ASSERT_TRUE(last.write("x"));
  EXPECT_EQ(read_exactly(last, 1), "x");
  EXPECT_EQ(server.accepted(), 1);
}

TEST(Queues, GiveEachEventOnceToManyThreads) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Queue queue = pool.queue().value();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Request request = endpoint.request("GET", "/").value();
  constexpr std::uint64_t kOps = 400;
  std::array<std::atomic<int>, kOps> seen{};
  std::atomic<std::uint64_t> all{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (;;) {
        const Result<Event> event = queue.next();
        if (!event) return;
        if (!*event) continue;
        ++seen[event->user_data()];
        if (++all == kOps) queue.close();
      }
    });
  }
  for (std::uint64_t i = 0; i < kOps; ++i)
    EXPECT_TRUE(request.start({queue, i}));
  for (std::thread& thread : threads)
    thread.join();
  for (const std::atomic<int>& count : seen)
    EXPECT_EQ(count, 1);
}

// --- pools ---------------------------------------------------------------------------------------

TEST(Pools, TellWhatTheyDo) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  ASSERT_TRUE(endpoint.request("GET", "/").value().perform());
  EXPECT_NE(pool.metrics().value().find("requests"), std::string::npos);
  EXPECT_EQ(pool.metrics("json").value().front(), '{');
  EXPECT_NE(pool.metrics("openmetrics").value().find("# EOF"), std::string::npos);
  EXPECT_EQ(pool.metrics("runes").status(), CONPOOL_E_INVALID);
  EXPECT_NE(pool.explain(endpoint).value().find("127.0.0.1"), std::string::npos);
  ASSERT_TRUE(pool.event(CONPOOL_LEVEL_INFO, "deploy", "v2"));
  EXPECT_EQ(pool.event(CONPOOL_LEVEL_INFO, "two words").status(), CONPOOL_E_INVALID);
  EXPECT_NE(pool.events("text").value().find("app.deploy"), std::string::npos);
  const EventsPart part = pool.events_since(0, 1).value();
  EXPECT_EQ(part.next, 2u);
  EXPECT_EQ(part.lost, 0u);
  const EventsPart rest = pool.events_since(part.next).value();
  EXPECT_NE(rest.text.find("app.deploy"), std::string::npos);
}

TEST(Pools, Close) {
  Server server(Server::silent);
  const Pool pool = make_pool();
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Connection lease = endpoint.acquire().value();
  EXPECT_EQ(pool.close(Nanos(0)).value(), 1u);
  EXPECT_EQ(endpoint.acquire().status(), CONPOOL_E_CLOSED);
  const Queue queue = pool.queue().value();
  ASSERT_TRUE(pool.start_close({queue, 9}, Nanos(0)));
  Event event = queue.next(kLong).value();
  EXPECT_EQ(event.kind(), static_cast<std::uint32_t>(CONPOOL_EVENT_CLOSED));
  EXPECT_TRUE(pool.start_close(Nanos(0)).value().get());
}

TEST(Pools, AskTheProgramForNames) {
  Server server(Server::echo);
  const Pool pool = make_pool({{"dns.backend", "queue"}});
  const Queue queue = pool.queue().value();
  ASSERT_TRUE(pool.set_resolver({queue, 3}));
  const Endpoint endpoint =
      pool.endpoint("tcp://name.example:" + std::to_string(server.port())).value();
  Op<Connection> acquire = endpoint.start_acquire().value();
  for (int i = 0; i < 2; ++i) {
    Event event = queue.next(kLong).value();
    Lookup lookup = event.take<Lookup>().value();
    EXPECT_STREQ(lookup.name(), "name.example");
    if (lookup.family() == 6) {
      EXPECT_TRUE(lookup.fail("none of ours"));
    } else {
      EXPECT_EQ(lookup.answer("not an address").status(), CONPOOL_E_BAD_ADDRESS);
      EXPECT_TRUE(lookup);
      EXPECT_TRUE(lookup.answer("127.0.0.1"));
    }
    EXPECT_FALSE(lookup);
  }
  EXPECT_TRUE(acquire.get());
  EXPECT_TRUE(pool.unset_resolver());
  EXPECT_EQ(make_pool().set_resolver({queue}).status(), CONPOOL_E_WRONG_STATE);
}

TEST(Pools, MayBeDrivenByTheirCaller) {
  HttpServer server(HttpServer::echo);
  const Pool pool = make_pool({{"loop.drive", "caller"}});
  EXPECT_EQ(pool.get(server.url("/a")).value().body(), "/a");
  Request request = pool.request("GET", server.url("/b")).value();
  Op<Response> op = request.start().value();
  EXPECT_EQ(op.get().value().body(), "/b");
  { const Op<Response> dropped = request.start().value(); }
  Stream stream = pool.stream(request).value();
  Parts parts;
  while (!stream.over())
    keep(&parts, stream.next(kLong).value());
  EXPECT_EQ(parts.body, "/b");
}

TEST(Pools, OpsMayGoWhileAnotherThreadDrives) {
  Server server(Server::silent);
  const Pool pool = make_pool({{"loop.drive", "caller"}});
  const Endpoint endpoint = pool.endpoint(server.url()).value();
  const Connection connection = endpoint.acquire().value();
  const Queue queue = pool.queue().value();
  std::atomic<bool> driving{false};
  std::thread driver([&] {
    driving = true;
    while (queue.next().status() != CONPOOL_E_CLOSED) {
    }
  });
  EXPECT_TRUE(eventually([&] {
    Op<Chunk> read = connection.start_read().value();
    return driving && read.wait_for(Nanos(0)).status() == CONPOOL_E_BUSY;
  }));
  {
    const std::string much(64 << 20, 'x');
    const Op<std::uint64_t> write = connection.start_write(much).value();
  }
  queue.close();
  driver.join();
}

TEST(Pools, EndBeforeTheirOps) {
  Server server(Server::silent);
  std::optional<Pool> pool = make_pool();
  const Endpoint endpoint = pool->endpoint(server.url()).value();
  const Connection connection = endpoint.acquire().value();
  Op<Chunk> read = connection.start_read().value();
  const Op<Chunk> dropped = connection.start_read().value();
  pool.reset();
  EXPECT_EQ(read.get().status(), CONPOOL_E_CLOSED);
  EXPECT_FALSE(connection.read());
}

}  // namespace
}  // namespace cpp_test
