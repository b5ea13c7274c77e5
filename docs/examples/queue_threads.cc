// One completion queue, consumed by as many threads as the machine has cores: events cost CPU.
//
// usage: queue_threads URL THREADS REQUESTS WORK_MS      queue_threads http://… 2 500 10
//
// No function of the program runs on the library's loop, so events that are slow to handle hold no
// connection up, and a queue may have any number of consumers: each event comes to one of them.
// Each event here costs WORK_MS of one core's time. Prints how many cores the consumers kept busy,
// the share of each, and how much of their time they waited for events.
#include <time.h>

#include <atomic>
#include <chrono>
#include <conpool/conpool.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

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
  const int threads = count == 5 ? std::atoi(arguments[2]) : 0;
  const int requests = count == 5 ? std::atoi(arguments[3]) : 0;
  if (threads < 1 || requests < 1) {
    std::fprintf(stderr, "usage: queue_threads URL THREADS REQUESTS WORK_MS\n");
    return 2;
  }
  const conpool::Pool pool = conpool::Pool::create().value();
  const conpool::Queue queue = pool.queue().value();
  const conpool::Result<conpool::Request> request = pool.request("GET", arguments[1]);
  if (!request) {
    std::fprintf(stderr, "%s\n", request.error().report());
    return 2;
  }
  Run run{queue, *request, static_cast<std::uint64_t>(requests), std::atof(arguments[4]),
          std::vector<std::atomic<int>>(static_cast<std::size_t>(requests))};
  const Clock::time_point start = Clock::now();
  std::vector<Times> times(static_cast<std::size_t>(threads));
  std::vector<std::thread> consumers;
  for (Times& each : times)
    consumers.emplace_back([&] { each = consume(run); });
  for (int i = 0; i < 4 * threads; ++i)  // so many under way: nobody waits for the next event
    run.start_one();
  for (std::thread& consumer : consumers)
    consumer.join();
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
