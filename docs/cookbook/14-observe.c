/* Hands the pool's events to the program's log, and figures to its metrics. usage: observe URL */
#include <conpool/conpool.h>
#include <stdio.h>
#include <string.h>

static uint64_t log_events(conpool_pool* pool, uint64_t since) {
  char *text = NULL, level[16], name[64];
  uint64_t next = since;
  if (conpool_pool_events_since(pool, "text", since, 0, &next, NULL, &text)) return since;
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (sscanf(line, "%*s %15s %63s", level, name) == 2) printf("%s: %s\n", level, name);
  conpool_text_free(text);
  return next;
}

static void show_figure(conpool_pool* pool, const char* name) {
  char* text = NULL;
  if (conpool_pool_metrics(pool, "openmetrics", &text)) return;
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (!strncmp(line, name, strlen(name))) puts(line);
  conpool_text_free(text);
}

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  if (argc < 2) return 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_perform(request, NULL, &response, &error))
    return puts(conpool_error_report(error)), 4;
  conpool_pool_event(pool, CONPOOL_LEVEL_INFO, "order.shipped", 13, "42", 2); /* our own */
  uint64_t seen = log_events(pool, 0);
  seen = log_events(pool, seen); /* nothing new */
  show_figure(pool, "conpool_pool_requests_done_total");
  conpool_response_free(response);
  conpool_request_free(request);
  conpool_pool_free(pool);
}
