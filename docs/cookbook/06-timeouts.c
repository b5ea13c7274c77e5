/* Bounds a request as a whole and the wait for its answer. usage: timeouts URL */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* times = NULL;
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  if (argc < 2) return 2;
  conpool_config_new(&times);
  if (conpool_config_set(times, "total.timeout", "30s", CONPOOL_NUL_TERMINATED, &error) ||
      conpool_config_set(times, "first_byte.timeout", "200ms", CONPOOL_NUL_TERMINATED, &error) ||
      conpool_pool_new(NULL, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error))
    return puts(conpool_error_report(error)), 4;
  if (conpool_perform(request, times, &response, &error)) {
    int safe = conpool_error_proof(error) != CONPOOL_PROOF_MAYBE_PROCESSED;
    printf("%s\nsafe to send again: %s\n", conpool_status_name(conpool_error_status(error)),
           safe ? "yes" : "no");
    conpool_error_free(error);
  }
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
  conpool_config_free(times);
}
