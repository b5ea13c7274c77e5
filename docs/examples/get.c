/* Fetches a URL and prints status and body. */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  size_t size = 0;
  if (argc < 2) return puts("usage: get URL"), 2;
  conpool_pool_new(NULL, &pool, NULL);
  if (conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_perform(request, NULL, &response, &error))
    return puts(conpool_error_report(error)), 4;
  const uint8_t* body = conpool_response_body(response, &size);
  printf("%d\n%.*s", conpool_response_status(response), (int)size, (const char*)body);
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
}
