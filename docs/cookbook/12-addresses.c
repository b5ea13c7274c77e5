/* Connects to addresses of the program's own, in place of a name. usage: addresses HOST:PORT,… */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_endpoint* at = NULL;
  conpool_error* error = NULL;
  conpool_event lease = {0};
  conpool_op op = 0;
  if (argc < 2) return 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_endpoint_new_addresses(pool, "tcp", argv[1], CONPOOL_NUL_TERMINATED, NULL, &at,
                                     &error))
    return puts(conpool_error_report(error)), 4;
  conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) return 4;
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  printf("connected to %s\n", conpool_connection_address(lease.object));
  conpool_connection_release(lease.object, CONPOOL_REUSABLE);
  conpool_endpoint_free(at);
  conpool_pool_free(pool);
}
