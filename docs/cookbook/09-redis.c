/* Leases a connection to Redis twice: the second time it is the same one. usage: redis URL */
#include <conpool/conpool.h>
#include <stdio.h>

static conpool_event done(conpool_op op) {
  conpool_event event = {0};
  if (conpool_op_wait(op, CONPOOL_FOREVER, &event)) event.status = CONPOOL_E_STALE;
  return event;
}

static int ping(conpool_endpoint* redis) {
  conpool_op op = 0;
  if (conpool_endpoint_acquire(redis, NULL, NULL, 0, &op)) return 4;
  conpool_event lease = done(op);
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  conpool_connection_write(lease.object, "PING\r\n", 6, NULL, 0, &op);
  conpool_event io = done(op);
  conpool_event_dispose(&io);
  conpool_connection_read(lease.object, 0, NULL, 0, &op);
  io = done(op);
  if (io.status || !io.object) return 4;
  printf("%.5s, reused: %s\n", (const char*)conpool_chunk_data(io.object),
         lease.value[0] ? "yes" : "no");
  conpool_event_dispose(&io);
  conpool_connection_release(lease.object, CONPOOL_REUSABLE);
  return 0;
}

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_endpoint* redis = NULL;
  conpool_error* error = NULL;
  if (argc < 2) return 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_endpoint_new(pool, argv[1], CONPOOL_NUL_TERMINATED, NULL, &redis, &error))
    return puts(conpool_error_report(error)), 4;
  if (ping(redis) || ping(redis)) return 4;
  conpool_endpoint_free(redis);
  conpool_pool_free(pool);
}
