/* Leases a connection to a Redis server, asks PING, and gives it back. */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_endpoint* redis = NULL;
  conpool_op op = 0;
  conpool_event lease = {0}, io = {0};
  conpool_pool_new(NULL, &pool, NULL);
  conpool_endpoint_new(pool, argv[argc - 1], CONPOOL_NUL_TERMINATED, NULL, &redis, NULL);
  conpool_endpoint_acquire(redis, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) return puts("usage: lease URL"), 2;
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  conpool_connection_write(lease.object, "PING\r\n", 6, NULL, 0, &op);
  if (!conpool_op_wait(op, CONPOOL_FOREVER, &io)) conpool_event_dispose(&io);
  conpool_connection_read(lease.object, 0, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &io) || io.status || !io.object) return 4;
  printf("%.*s", (int)conpool_chunk_size(io.object), (const char*)conpool_chunk_data(io.object));
  conpool_event_dispose(&io);
  conpool_connection_release(lease.object, CONPOOL_REUSABLE);
  conpool_endpoint_free(redis);
  conpool_pool_free(pool);
}
