/* Lets the pool repeat a request that a server answers with 503. usage: retries URL */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* policy = NULL;
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  conpool_event event = {0};
  conpool_op op = 0;
  if (argc < 2) return 2;
  conpool_config_new(&policy);
  if (conpool_config_set(policy, "retry.attempts", "4", 1, &error) ||
      conpool_config_set(policy, "retry.base", "10ms", CONPOOL_NUL_TERMINATED, &error) ||
      conpool_config_set(policy, "retry.statuses", "503", 3, &error) ||
      conpool_pool_new(policy, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_start(request, NULL, CONPOOL_WHOLE, NULL, 0, &op, &error))
    return puts(conpool_error_report(error)), 4;
  conpool_op_wait(op, CONPOOL_FOREVER, &event);
  if (event.status) return puts(conpool_error_report(event.object)), 4;
  printf("%d after %d sends\n", (int)conpool_response_status(event.object), (int)event.value[0]);
  conpool_event_dispose(&event);
  conpool_request_free(request);
  conpool_pool_free(pool);
  conpool_config_free(policy);
}
