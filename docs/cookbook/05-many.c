/* Makes 96 requests at once over at most 8 connections. usage: many URL */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* config = NULL;
  conpool_pool* pool = NULL;
  conpool_queue* queue = NULL;
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  conpool_event events[16];
  conpool_op op = 0;
  if (argc < 2) return 2;
  conpool_config_new(&config);
  if (conpool_config_set(config, "endpoint.max_connections", "8", 1, &error) ||
      conpool_pool_new(config, &pool, &error) || conpool_queue_new(pool, &queue) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error))
    return puts(conpool_error_report(error)), 4;
  int started = 0, ended = 0, good = 0;
  while (started < 96 &&
         !conpool_request_start(request, NULL, CONPOOL_WHOLE, queue, started, &op, &error))
    ++started; /* the number comes back as the event's user_data */
  while (ended < started) {
    int count = conpool_queue_next(queue, events, 16, CONPOOL_FOREVER);
    for (int i = 0; i < count; ++i, ++ended) {
      good += !events[i].status && conpool_response_status(events[i].object) == 200;
      conpool_event_dispose(&events[i]);
    }
  }
  printf("%d of %d answered\n", good, started);
  conpool_request_free(request);
  conpool_queue_free(queue);
  conpool_pool_free(pool);
  conpool_config_free(config);
}
