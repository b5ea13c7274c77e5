/* Leases a TLS connection, with a protocol agreed on by ALPN. usage: tls URL CA_FILE */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* tls = NULL;
  conpool_pool* pool = NULL;
  conpool_endpoint* at = NULL;
  conpool_error* error = NULL;
  conpool_event lease = {0}, io = {0};
  conpool_op op = 0;
  if (argc < 3) return 2;
  conpool_config_new(&tls);
  if (conpool_config_set(tls, "tls.ca_file", argv[2], CONPOOL_NUL_TERMINATED, &error) ||
      conpool_config_set(tls, "tls.alpn", "echo", 4, &error) ||
      conpool_pool_new(NULL, &pool, &error) ||
      conpool_endpoint_new(pool, argv[1], CONPOOL_NUL_TERMINATED, tls, &at, &error))
    return puts(conpool_error_report(error)), 4;
  conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) return 4;
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  conpool_connection_write(lease.object, "hello\n", 6, NULL, 0, &op);
  if (!conpool_op_wait(op, CONPOOL_FOREVER, &io)) conpool_event_dispose(&io);
  conpool_connection_read(lease.object, 0, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &io) || io.status || !io.object) return 4;
  printf("%.*s", (int)conpool_chunk_size(io.object), (const char*)conpool_chunk_data(io.object));
  conpool_event_dispose(&io);
  conpool_connection_release(lease.object, CONPOOL_REUSABLE);
  conpool_endpoint_free(at);
  conpool_pool_free(pool);
  conpool_config_free(tls);
}
