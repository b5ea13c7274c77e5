// One completion queue, consumed by as many threads as the machine has cores: events cost CPU.
//
// usage: queue_threads URL THREADS REQUESTS WORK_MS      queue_threads http://… 2 500 10
//
// No function of the program runs on the library's loop, so events that are slow to handle hold no
// connection up, and a queue may have any number of consumers: each event comes to one of them.
// Each event here costs WORK_MS (0 to 60000) of one core's time. Prints how many cores the
// consumers kept busy, the share of each, and how much of their time they waited for events.
#include <time.h>

#include <atomic>
#include <chrono>
#include <conpool/conpool.hpp>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "number_of.h"

namespace {

// Processor time of the calling thread.
double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

struct Run {
  const conpool::Queue& queue;
  const conpool::Request& request;
  std::uint64_t requests;
  double work_ms;
  std::vector<std::atomic<int>> deliveries;
  std::atomic<std::uint64_t> started{0}, ended{0}, failed{0};

  // Starts the next request; the queue is closed once the last one has ended.
  void start_one() {
    const std::uint64_t number = started++;
    if (number >= requests) return;
    const conpool::Result<conpool_op> op = request.start({queue, number});
    if (op) return;
    std::fprintf(stderr, "%s\n", op.error().line());
    ++failed;
    count_one();
  }
  void count_one() {
    if (++ended == requests) queue.close();
  }
};

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

struct Times {
  double busy_ms = 0;    // of a processor
  double waited_ms = 0;  // for events
};

Times consume(Run& run) {
  Times times;
  const double start = cpu_ms();
  for (;;) {
    const Clock::time_point before = Clock::now();
    const conpool::Result<conpool::Event> event = run.queue.next();
    times.waited_ms += Milliseconds(Clock::now() - before).count();
    if (!event) {  // closed: all is done
      times.busy_ms = cpu_ms() - start;
      return times;
    }
    if (!*event || !event->is_final()) continue;
    ++run.deliveries[event->user_data()];
    if (event->status() != CONPOOL_OK) ++run.failed;
    for (const double begun = cpu_ms(); cpu_ms() - begun < run.work_ms;) {
    }
    run.start_one();
    run.count_one();
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count == 5 ? number_of(arguments[2], 1, 1024) : -1;
  const int requests = count == 5 ? number_of(arguments[3], 1, 10000000) : -1;
  const int work_ms = count == 5 ? number_of(arguments[4], 0, 60000) : -1;
  if (threads < 0 || requests < 0 || work_ms < 0) {
    std::fprintf(stderr,
                 "usage: queue_threads URL THREADS(1..1024) REQUESTS(1..10000000) "
                 "WORK_MS(0..60000)\n");
    return 2;
  }
  const conpool::Result<conpool::Pool> made = conpool::Pool::create();
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().report());
    return 3;
  }
  const conpool::Pool& pool = *made;
  const conpool::Queue queue = pool.queue().value();
  const conpool::Result<conpool::Request> request = pool.request("GET", arguments[1]);
  if (!request) {
    std::fprintf(stderr, "%s\n", request.error().report());
    return 2;
  }
  Run run{queue, *request, static_cast<std::uint64_t>(requests), static_cast<double>(work_ms),
          std::vector<std::atomic<int>>(static_cast<std::size_t>(requests))};
  const Clock::time_point start = Clock::now();
  std::vector<Times> times(static_cast<std::size_t>(threads));
  std::vector<std::thread> consumers;
  bool complete = true;
  try {
    for (Times& each : times)
      consumers.emplace_back([&] { each = consume(run); });
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "thread %zu of %d cannot be started: %s\n", consumers.size() + 1, threads,
                 error.what());
    complete = false;
    queue.close();  // which ends those that wait for events
  }
  for (int i = 0; complete && i < 4 * threads;
       ++i)  // so many under way: nobody waits for the next event
    run.start_one();
  for (std::thread& consumer : consumers)
    consumer.join();
  if (!complete) return 3;
  const double took_ms = Milliseconds(Clock::now() - start).count();

  int once = 0;
  for (const std::atomic<int>& delivered : run.deliveries)
    once += delivered == 1;
  Times all;
  for (const Times& each : times) {
    all.busy_ms += each.busy_ms;
    all.waited_ms += each.waited_ms;
  }
  std::printf("%d of %d events delivered once, %llu failed, %.2f cores of %d threads:", once,
              requests, static_cast<unsigned long long>(run.failed), all.busy_ms / took_ms,
              threads);
  for (const Times& each : times)
    std::printf(" %.2f", each.busy_ms / took_ms);
  std::printf(", waited %.1f%%\n", 100 * all.waited_ms / took_ms / threads);
  return once == requests && run.failed == 0 ? 0 : 4;
}
