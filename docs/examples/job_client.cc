// Leases connections to the job server from several threads: each job goes over a lease of its own,
// and the pool keeps few connections busy with all of them.
//
// usage: job_client URL THREADS JOBS NUMBER      job_client tcp://127.0.0.1:8080 4 100 20
//
// Every thread sends NUMBER (0 to 90: larger ones have no 64-bit answer) so many times and checks
// each answer. It prints what came back, how many connections it took, and the time of a job: the
// median and the slowest of a hundred. Exit codes: 0, 2 for wrong arguments, 3 when a thread or the
// pool cannot be made, 4 for errors.
#include <algorithm>
#include <chrono>
#include <conpool/conpool.hpp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "number_of.h"

namespace {

using Clock = std::chrono::steady_clock;

std::int64_t fibonacci(int n) {
  std::int64_t a = 0, b = 1;
  for (int i = 0; i < n; ++i)
    b = std::exchange(a, b) + b;
  return a;
}

// Sends a line over a lease and reads the line that answers it.
conpool::Result<std::string> ask(const conpool::Endpoint& server, const std::string& line,
                                 bool* opened) {
  conpool::Result<conpool::Connection> lease = server.acquire();
  if (!lease) return std::move(lease).error();
  *opened = !lease->reused();
  conpool::Result<std::uint64_t> sent = lease->write(line + "\n");
  if (!sent) return std::move(sent).error();
  std::string answer;
  while (answer.empty() || answer.back() != '\n') {
    conpool::Result<conpool::Chunk> chunk = lease->read();
    if (!chunk) return std::move(chunk).error();
    if (!*chunk) return conpool::Error(CONPOOL_E_CONNECTION_CLOSED);
    answer += chunk->text();
  }
  lease->release();  // a lease that is dropped without this, as above, closes its connection
  answer.pop_back();
  return answer;
}

struct Tally {
  std::vector<double> milliseconds;
  int right = 0, wrong = 0, connections = 0;
  std::string complaint;
};

void work(const conpool::Endpoint& server, int jobs, int number, Tally* tally) {
  const std::string expected = "Result: " + std::to_string(fibonacci(number));
  for (int i = 0; i < jobs; ++i) {
    bool opened = false;  // a connection; none that failed
    const Clock::time_point start = Clock::now();
    const conpool::Result<std::string> answer = ask(server, std::to_string(number), &opened);
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    tally->milliseconds.push_back(took.count());
    tally->connections += opened;
    if (answer && *answer == expected) {
      ++tally->right;
    } else {
      ++tally->wrong;
      tally->complaint = answer ? *answer : answer.error().report();
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count == 5 ? number_of(arguments[2], 1, 1024) : -1;
  const int jobs = count == 5 ? number_of(arguments[3], 1, 10000000) : -1;
  const int number = count == 5 ? number_of(arguments[4], 0, 90) : -1;
  if (threads < 0 || jobs < 0 || number < 0) {
    std::fprintf(stderr,
                 "usage: job_client URL THREADS(1..1024) JOBS(1..10000000) NUMBER(0..90)\n");
    return 2;
  }
  const conpool::Result<conpool::Pool> pool = conpool::Pool::create();
  if (!pool) {
    std::fprintf(stderr, "%s\n", pool.error().report());
    return 3;
  }
  const conpool::Result<conpool::Endpoint> server = pool->endpoint(arguments[1]);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().report());
    return 2;
  }
  std::vector<Tally> tallies(static_cast<std::size_t>(threads));
  std::vector<std::thread> running;
  bool complete = true;
  try {
    for (Tally& tally : tallies)
      running.emplace_back([&] { work(*server, jobs, number, &tally); });
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "thread %zu of %d cannot be started: %s\n", running.size() + 1, threads,
                 error.what());
    complete = false;
  }
  for (std::thread& thread : running)
    thread.join();
  if (!complete) return 3;

  Tally all;
  for (const Tally& tally : tallies) {
    all.right += tally.right;
    all.wrong += tally.wrong;
    all.connections += tally.connections;
    all.milliseconds.insert(all.milliseconds.end(), tally.milliseconds.begin(),
                            tally.milliseconds.end());
    if (!tally.complaint.empty()) all.complaint = tally.complaint;
  }
  std::sort(all.milliseconds.begin(), all.milliseconds.end());
  const std::size_t slow = (all.milliseconds.size() * 99 + 99) / 100 - 1;
  std::printf("%d results, %d errors, %d connections, median %.3f ms, p99 %.3f ms\n", all.right,
              all.wrong, all.connections, all.milliseconds[all.milliseconds.size() / 2],
              all.milliseconds[slow]);
  if (!all.complaint.empty()) std::printf("%s\n", all.complaint.c_str());
  return all.wrong == 0 ? 0 : 4;
}
