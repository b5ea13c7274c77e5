/* Uploads a file, which is read while it is sent. usage: upload URL FILE */
#include <conpool/conpool.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  size_t size = 0;
  int fd = argc < 3 ? -1 : open(argv[2], O_RDONLY);
  if (fd < 0) return puts("usage: upload URL FILE"), 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_request_new(pool, "PUT", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_body_fd(request, fd, 0, -1) ||
      conpool_perform(request, NULL, &response, &error))
    return puts(conpool_error_report(error)), 4;
  close(fd); /* the library has a duplicate */
  const uint8_t* body = conpool_response_body(response, &size);
  printf("%d\n%.*s", (int)conpool_response_status(response), (int)size, (const char*)body);
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
}
