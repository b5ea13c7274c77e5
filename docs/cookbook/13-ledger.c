/* Reads all that an error tells: every attempt, and whether anything was sent. usage: ledger URL */
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
      conpool_endpoint_new(pool, argv[1], CONPOOL_NUL_TERMINATED, NULL, &at, &error))
    return puts(conpool_error_report(error)), 4;
  conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease) || !lease.status) return 4;
  const conpool_error* why = lease.object;
  printf("%s\n", conpool_status_name(lease.status));
  for (size_t i = 0; i < conpool_error_attempt_count(why); ++i)
    printf("%s: %s\n", conpool_error_attempt_target(why, i),
           conpool_status_text(conpool_error_attempt_status(why, i)));
  int sent = conpool_error_proof(why) != CONPOOL_PROOF_NEVER_SENT;
  printf("anything sent: %s\n", sent ? "yes" : "no");
  conpool_event_dispose(&lease);
  conpool_endpoint_free(at);
  conpool_pool_free(pool);
}
