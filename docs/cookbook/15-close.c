/* Closes gracefully: what runs may end, what is new is refused. usage: close URL */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_queue* queue = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  conpool_event event = {0};
  conpool_op op = 0, closing = 0;
  long long total = 0;
  if (argc < 2) return 2;
  if (conpool_pool_new(NULL, &pool, &error) || conpool_queue_new(pool, &queue) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_start(request, NULL, CONPOOL_STREAM, queue, 0, &op, &error))
    return puts(conpool_error_report(error)), 4;
  for (int ended = 0; !ended;) {
    if (conpool_queue_next(queue, &event, 1, CONPOOL_FOREVER) < 1) continue;
    ended = (event.flags & CONPOOL_EVENT_FINAL) != 0;
    if (event.status) return puts(conpool_error_report(event.object)), 4;
    if (event.kind == CONPOOL_EVENT_HEAD) /* the body is still under way */
      conpool_pool_close(pool, 30000000000, NULL, 0, &closing);
    if (event.kind == CONPOOL_EVENT_CHUNK) total += conpool_chunk_size(event.object);
    conpool_event_dispose(&event);
  }
  printf("%lld bytes\n", total);
  if (!conpool_op_wait(closing, CONPOOL_FOREVER, &event)) puts("closed");
  if (conpool_perform(request, NULL, &response, &error))
    puts(conpool_status_name(conpool_error_status(error)));
  conpool_error_free(error);
  conpool_request_free(request);
  conpool_queue_free(queue);
  conpool_pool_free(pool);
}
