/* Posts JSON and reads the JSON that comes back. usage: post-json URL */
#include <conpool/conpool.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  const char* json = "{\"name\":\"Ann\"}"; /* borrowed until the request has ended */
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  size_t size = 0;
  if (argc < 2) return 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_request_new(pool, "POST", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_header(request, "content-type", CONPOOL_NUL_TERMINATED, "application/json",
                             CONPOOL_NUL_TERMINATED, &error) ||
      conpool_request_body(request, json, strlen(json)) ||
      conpool_perform(request, NULL, &response, &error))
    return puts(conpool_error_report(error)), 4;
  const uint8_t* body = conpool_response_body(response, &size);
  printf("%d\n%.*s\n", (int)conpool_response_status(response), (int)size, (const char*)body);
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
}
