/* Fetches a URL over HTTPS, trusting one certificate authority. usage: get URL CA_FILE */
#include <conpool/conpool.h>
#include <stdio.h>

int main(int argc, char** argv) {
  conpool_config* config = NULL;
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  size_t size = 0;
  if (argc < 3) return 2;
  conpool_config_new(&config);
  if (conpool_config_set(config, "tls.ca_file", argv[2], CONPOOL_NUL_TERMINATED, &error) ||
      conpool_pool_new(config, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_perform(request, NULL, &response, &error))
    return puts(conpool_error_report(error)), 4;
  const uint8_t* body = conpool_response_body(response, &size);
  printf("%d\n%.*s", (int)conpool_response_status(response), (int)size, (const char*)body);
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
  conpool_config_free(config);
}
