// A program that returns from main with live pools and work in flight. exit_test.py runs it many
// times: each must end with code 0, at once.
//
// usage: exit-busy URL TLS_URL SECONDS_TO_LIVE
#include <conpool/conpool.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

void must(conpool_status status) {
  if (status != CONPOOL_OK) std::_Exit(10);
}

conpool_endpoint* endpoint_of(conpool_pool* pool, const char* url) {
  conpool_endpoint* endpoint = nullptr;
  must(conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, nullptr, &endpoint, nullptr));
  return endpoint;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  // The time at which main returns differs from run to run: the loops are inside anything.
  const auto lifetime = static_cast<int64_t>(std::atof(argv[3]) * 1e9);
  conpool_queue* last = nullptr;
  for (int i = 0; i < 3; ++i) {
    conpool_pool* pool = nullptr;
    conpool_queue* queue = nullptr;
    must(conpool_pool_new(nullptr, &pool, nullptr));
    must(conpool_queue_new(pool, &queue));
    conpool_endpoint* plain = endpoint_of(pool, argv[1]);
    conpool_endpoint* silent = endpoint_of(pool, argv[2]);
    conpool_endpoint* named = endpoint_of(pool, "tcp://conpool-exit-test.invalid:1");
    for (int j = 0; j < 20; ++j) {
      conpool_op op = 0;
      for (conpool_endpoint* endpoint : {plain, silent, named})
        must(conpool_endpoint_acquire(endpoint, nullptr, queue, 0, &op));
    }
    last = queue;
    // A consumer that is blocked in the library while the process ends.
    std::thread([queue] {
      conpool_event event{};
      while (conpool_queue_next(queue, &event, 1, CONPOOL_FOREVER) >= 0) {
        if (event.status == CONPOOL_OK && event.kind == CONPOOL_EVENT_CONNECTION) {
          conpool_op op = 0;
          auto* c = static_cast<conpool_connection*>(event.object);
          // Borrowed until the loop is parked, which is after destructors of statics may have run.
          static const std::string& data = *new std::string(100000, 'x');
          conpool_connection_read(c, 0, queue, 0, &op);
          conpool_connection_write(c, data.data(), data.size(), queue, 0, &op);
          event.object = nullptr;
        }
        conpool_event_dispose(&event);
      }
    }).detach();
  }
  conpool_pool* own = nullptr;
  must(conpool_pool_new(nullptr, &own, nullptr));
  conpool_queue* quiet = nullptr;
  must(conpool_queue_new(own, &quiet));
  conpool_event event{};
  conpool_queue_next(quiet, &event, 1, lifetime);
  return last == nullptr ? 3 : 0;
}
