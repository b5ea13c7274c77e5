// C++ coroutines: fetches many URLs, at most LIMIT at once, and talks to a line server over a
// lease, all on one thread.
//
// usage: coroutines LIMIT LINE_SERVER URL...
//        coroutines 4 tcp://127.0.0.1:6379 http://… http://…
//
// What a coroutine call takes has a name of its own, because g++ 12 destroys some temporaries in an
// expression with co_await twice; see conpool/cpp/task.hpp.
#include <conpool/conpool.hpp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "number_of.h"

using conpool::Connection;
using conpool::Dispatcher;
using conpool::Result;
using conpool::Task;

namespace {

// Takes URLs from the list until it is empty; as many of these run as the limit allows.
Task<int> fetch(Dispatcher& io, const conpool::Pool& pool, std::vector<std::string>& urls) {
  int failed = 0;
  while (!urls.empty()) {
    const std::string url = std::move(urls.back());
    urls.pop_back();
    Result<conpool::Response> got = co_await io.get(pool, url);
    if (got) {
      std::printf("%s: %d, %zu bytes\n", url.c_str(), got->status(), got->body().size());
    } else {
      std::printf("%s: %s\n", url.c_str(), got.error().line());
      ++failed;
    }
  }
  co_return failed;
}

// One line there, one line back, over a connection that the pool keeps.
Task<Result<std::string>> ask(Dispatcher& io, const conpool::Endpoint& server, std::string line) {
  Result<Connection> lease = co_await io.acquire(server);
  if (!lease) co_return std::move(lease).error();
  Result<std::uint64_t> sent = co_await io.write(*lease, line);
  if (!sent) co_return std::move(sent).error();
  std::string answer;
  while (answer.empty() || answer.back() != '\n') {
    Result<conpool::Chunk> chunk = co_await io.read(*lease);
    if (!chunk) co_return std::move(chunk).error();
    if (!*chunk) co_return conpool::Error(CONPOOL_E_CONNECTION_CLOSED);
    answer += chunk->text();
  }
  lease->release();
  co_return answer;
}

Task<int> all(Dispatcher& io, const conpool::Pool& pool, const conpool::Endpoint& server, int limit,
              std::vector<std::string> urls) {
  std::vector<Task<int>> fetching;
  for (int i = 0; i < limit; ++i) {
    fetching.push_back(fetch(io, pool, urls));
    fetching.back().start();  // to its first request; the others run beside it
  }
  Task<Result<std::string>> asking = ask(io, server, "PING\r\n");
  Result<std::string> answer = co_await asking;
  std::printf("%s",
              answer ? answer->c_str() : (std::string(answer.error().report()) + "\n").c_str());
  int failed = answer ? 0 : 1;
  for (Task<int>& task : fetching)
    failed += co_await task;
  co_return failed;
}

}  // namespace

int main(int count, char** arguments) {
  const int limit = count > 3 ? number_of(arguments[1], 1, 1000000) : -1;
  if (limit < 0) return std::puts("usage: coroutines LIMIT LINE_SERVER URL..."), 2;
  const conpool::Pool pool = conpool::Pool::create().value();
  Dispatcher io = Dispatcher::create(pool).value();
  const Result<conpool::Endpoint> server = pool.endpoint(arguments[2]);
  if (!server) return std::puts(server.error().report()), 2;
  std::vector<std::string> urls(arguments + 3, arguments + count);
  const Result<int> failed = io.run(all(io, pool, *server, limit, std::move(urls)));
  if (!failed) return std::puts(failed.error().report()), 1;
  return *failed == 0 ? 0 : 4;
}
