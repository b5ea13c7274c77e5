/* Leases a connection to a unix socket. usage: unix PATH */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  char url[256];
  conpool_pool* pool = NULL;
  conpool_endpoint* at = NULL;
  conpool_error* error = NULL;
  conpool_event lease = {0}, io = {0};
  conpool_op op = 0;
  if (argc < 2) return 2;
  snprintf(url, sizeof url, "unix:%s", argv[1]);
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, NULL, &at, &error))
    return puts(conpool_error_report(error)), 4;
  conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) return 4;
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  conpool_connection_write(lease.object, "hello\n", 6, NULL, 0, &op);
  if (!conpool_op_wait(op, CONPOOL_FOREVER, &io)) conpool_event_dispose(&io);
  conpool_connection_read(lease.object, 0, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &io) || io.status || !io.object) return 4;
  printf("%s\n", conpool_connection_address(lease.object));
  printf("%.*s", (int)conpool_chunk_size(io.object), (const char*)conpool_chunk_data(io.object));
  conpool_event_dispose(&io);
  conpool_connection_release(lease.object, CONPOOL_REUSABLE);
  conpool_endpoint_free(at);
  conpool_pool_free(pool);
}
