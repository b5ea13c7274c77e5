/* Streams a download into a file, never holding more than a part of it. usage: download URL FILE */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_queue* queue = NULL;
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  conpool_event event = {0};
  conpool_op op = 0;
  FILE* file = argc < 3 ? NULL : fopen(argv[2], "wb");
  if (!file) return puts("usage: download URL FILE"), 2;
  if (conpool_pool_new(NULL, &pool, &error) || conpool_queue_new(pool, &queue) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_start(request, NULL, CONPOOL_STREAM, queue, 0, &op, &error))
    return puts(conpool_error_report(error)), 4;
  long long total = 0;
  for (int ended = 0; !ended;) {
    if (conpool_queue_next(queue, &event, 1, CONPOOL_FOREVER) < 1) continue;
    ended = (event.flags & CONPOOL_EVENT_FINAL) != 0;
    if (event.status) return puts(conpool_error_report(event.object)), 4;
    if (event.kind == CONPOOL_EVENT_HEAD)
      printf("%d\n", (int)conpool_response_status(event.object));
    if (event.kind == CONPOOL_EVENT_CHUNK)
      total += fwrite(conpool_chunk_data(event.object), 1, conpool_chunk_size(event.object), file);
    conpool_event_dispose(&event); /* frees the chunk: that is what asks for more */
  }
  fclose(file);
  printf("%lld bytes\n", total);
  conpool_request_free(request);
  conpool_queue_free(queue);
  conpool_pool_free(pool);
}
