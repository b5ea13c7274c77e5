// The code of docs/cpp.md, which shows the marked parts. usage: guide SITE ECHO REFUSED
#include <conpool/conpool.hpp>

#include <algorithm>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

// [request]
conpool::Result<void> fetch(const conpool::Pool& pool, const std::string& url) {
  conpool::Result<conpool::Request> request = pool.request("GET", url);
  if (!request) return std::move(request).error();
  if (auto set = request->header("accept", "text/plain"); !set) return set;
  conpool::Result<conpool::Response> response = request->perform();
  if (!response) return std::move(response).error();
  std::cout << response->status() << ' ' << response->body();
  return {};
}
// [end]

// [options]
conpool::Result<conpool::Pool> small_pool() {
  auto options =
      conpool::Config::of({{"endpoint.max_connections", "4"}, {"connect.timeout", "2s"}});
  if (!options) return std::move(options).error();
  return conpool::Pool::create(*options);
}
// [end]

// [streaming]
conpool::Result<std::size_t> stream(const conpool::Pool& pool, const std::string& url) {
  auto request = pool.request("GET", url);
  if (!request) return std::move(request).error();
  auto parts = pool.stream(*request);
  if (!parts) return std::move(parts).error();
  std::size_t total = 0;
  while (!parts->over()) {
    conpool::Result<conpool::Event> event = parts->next();
    if (!event) return std::move(event).error();
    if (event->kind() == CONPOOL_EVENT_CHUNK) total += event->take<conpool::Chunk>()->size();
  }
  return total;
}
// [end]

// [connection]
conpool::Result<std::string> echo(const conpool::Pool& pool, const std::string& url) {
  auto endpoint = pool.endpoint(url);
  if (!endpoint) return std::move(endpoint).error();
  auto connection = endpoint->acquire();
  if (!connection) return std::move(connection).error();
  if (auto wrote = connection->write("hello\n"); !wrote) return std::move(wrote).error();
  auto answer = connection->read();
  if (!answer) return std::move(answer).error();
  connection->release();  // for the next one; without it the connection closes
  return std::string(answer->text());
}
// [end]

// [errors]
void explain(const conpool::Error& error) {
  std::cout << error.name() << '\n';
  if (error.status_class() == CONPOOL_CLASS_CONNECT) std::cout << "no connection\n";
  if (error.phase() == CONPOOL_PHASE_CONNECT) std::cout << "while connecting\n";
  if (error.proof() == CONPOOL_PROOF_NEVER_SENT) std::cout << "nothing was sent\n";
  for (const conpool::Attempt& attempt : error.attempts())
    std::cout << "tried " << attempt.target << '\n';
}
// [end]

// [many]
conpool::Task<int> fetch_all(conpool::Dispatcher& io, const conpool::Pool& pool,
                             const std::string& url) {
  std::vector<conpool::Pending<conpool::Response>> running;
  for (int i = 0; i < 32; ++i)
    running.push_back(io.get(pool, url));  // started; not waited for yet
  int good = 0;
  for (auto& one : running) {
    conpool::Result<conpool::Response> response = co_await one;
    good += response.has_value();
  }
  co_return good;
}

int many(const conpool::Pool& pool, const std::string& url) {
  auto io = conpool::Dispatcher::create(pool);
  if (!io) return 0;
  return io->run(fetch_all(*io, pool, url)).value_or(0);
}
// [end]

// [threads]
int threads(const conpool::Pool& pool, const std::string& url) {
  std::vector<int> statuses(8);
  std::vector<std::thread> workers;
  for (int& status : statuses)
    workers.emplace_back([&pool, &url, &status] {
      if (auto response = pool.get(url)) status = response->status();
    });
  for (std::thread& worker : workers)
    worker.join();
  return static_cast<int>(std::count(statuses.begin(), statuses.end(), 200));
}
// [end]

// [events]
void observe(const conpool::Pool& pool) {
  pool.event(CONPOOL_LEVEL_WARNING, "stock.low", "3 left").value();
  const std::string events = pool.events_since(0, 0, "text")->text;
  std::cout << (events.find("stock.low") != events.npos ? "recorded\n" : "not recorded\n");
  const std::string figures = pool.metrics("openmetrics").value();
  const bool counted = figures.find("conpool_pool_requests_done_total") != figures.npos;
  std::cout << (counted ? "counted\n" : "not counted\n");
}
// [end]

int main(int argc, char** argv) {
  auto pool = small_pool();
  if (argc < 4 || !pool) return 2;
  const std::string site = argv[1];
  if (!fetch(*pool, site)) return 4;
  std::cout << conpool::Config::of({{"connect.timout", "2s"}}).error().name() << '\n';
  std::cout << stream(*pool, site + "bytes/1000000").value() << " bytes\n";
  std::cout << echo(*pool, argv[2]).value();
  explain(pool->get(argv[3]).error());
  std::cout << many(*pool, site) << " answers\n" << threads(*pool, site) << " answers\n";
  observe(*pool);
}
