/* Gives the circuit breaker numbers of its own, and meets it open. usage: breaker URL */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* config = NULL;
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  if (argc < 2) return 2;
  conpool_config_new(&config);
  if (conpool_config_set(config, "breaker.consecutive", "3", 1, &error) ||
      conpool_config_set(config, "breaker.open", "2min", CONPOOL_NUL_TERMINATED, &error) ||
      conpool_config_set(config, "breaker.open_jitter", "0", 1, &error) ||
      conpool_pool_new(config, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error))
    return puts(conpool_error_report(error)), 4;
  for (int i = 0; i < 4; ++i) {
    conpool_response* response = NULL;
    if (!conpool_perform(request, NULL, &response, &error)) return 4;
    printf("%s\n", conpool_status_name(conpool_error_status(error)));
    if (conpool_error_retry_after(error) >= 0)
      printf("try again in %.0f min\n", (double)conpool_error_retry_after(error) / 6e10);
    conpool_error_free(error);
  }
  conpool_request_free(request);
  conpool_pool_free(pool);
  conpool_config_free(config);
}
