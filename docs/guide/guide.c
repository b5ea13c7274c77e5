/* The code of docs/c.md, which shows the marked parts. usage: guide SITE ECHO REFUSED */
#include <conpool/conpool.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* [request] */
static int fetch(conpool_pool* pool, const char* url) {
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  conpool_status status =
      conpool_request_new(pool, "GET", url, CONPOOL_NUL_TERMINATED, NULL, &request, &error);
  if (!status)
    status = conpool_request_header(request, "accept", CONPOOL_NUL_TERMINATED, "text/plain",
                                    CONPOOL_NUL_TERMINATED, &error);
  if (!status) status = conpool_perform(request, NULL, &response, &error);
  if (!status) {
    size_t size = 0;
    const uint8_t* body = conpool_response_body(response, &size);
    printf("%d %.*s", (int)conpool_response_status(response), (int)size, (const char*)body);
  } else {
    puts(conpool_error_line(error));
  }
  conpool_error_free(error);
  conpool_response_free(response);
  conpool_request_free(request);
  return status;
}
/* [end] */

/* [options] */
static conpool_pool* small_pool(void) {
  conpool_config* config = NULL;
  conpool_pool* pool = NULL;
  conpool_error* error = NULL;
  if (conpool_config_new(&config)) return NULL;
  if (conpool_config_set(config, "endpoint.max_connections", "4", 1, &error) ||
      conpool_config_set(config, "connect.timeout", "2s", 2, &error) ||
      conpool_pool_new(config, &pool, &error))
    puts(conpool_error_line(error)); /* a wrong name, value or place: what would be right */
  conpool_error_free(error);
  conpool_config_free(config); /* the pool has its own copy */
  return pool;
}
/* [end] */

static void wrong_option(void) {
  conpool_config* config = NULL;
  conpool_error* error = NULL;
  conpool_config_new(&config);
  if (conpool_config_set(config, "connect.timout", "2s", 2, &error))
    puts(conpool_status_name(conpool_error_status(error)));
  conpool_error_free(error);
  conpool_config_free(config);
}

/* [streaming] */
static long long stream(conpool_pool* pool, const char* url) {
  conpool_queue* queue = NULL;
  conpool_request* request = NULL;
  conpool_event event = {0};
  conpool_op op = 0;
  long long total = -1;
  if (!conpool_queue_new(pool, &queue) &&
      !conpool_request_new(pool, "GET", url, CONPOOL_NUL_TERMINATED, NULL, &request, NULL) &&
      !conpool_request_start(request, NULL, CONPOOL_STREAM, queue, 0, &op, NULL)) {
    total = 0;
    while (!(event.flags & CONPOOL_EVENT_FINAL) &&
           conpool_queue_next(queue, &event, 1, CONPOOL_FOREVER) >= 0) {
      if (event.kind == CONPOOL_EVENT_CHUNK) total += (long long)conpool_chunk_size(event.object);
      conpool_event_dispose(&event); /* frees the chunk, which lets the server go on */
    }
    if (event.status) total = -1;
  }
  conpool_request_free(request);
  conpool_queue_free(queue);
  return total;
}
/* [end] */

/* [connection] */
static int echo(conpool_pool* pool, const char* url) {
  conpool_endpoint* at = NULL;
  conpool_event lease = {0}, io = {0};
  conpool_op op = 0;
  int reusable = CONPOOL_BROKEN;
  if (conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, NULL, &at, NULL)) return -1;
  if (!conpool_endpoint_acquire(at, NULL, NULL, 0, &op)) /* no queue: wait for this op */
    conpool_op_wait(op, CONPOOL_FOREVER, &lease);
  if (lease.kind == CONPOOL_EVENT_CONNECTION && !lease.status) {
    conpool_connection* connection = lease.object;
    conpool_connection_write(connection, "hello\n", 6, NULL, 0, &op);
    if (!conpool_op_wait(op, CONPOOL_FOREVER, &io)) conpool_event_dispose(&io);
    conpool_connection_read(connection, 0, NULL, 0, &op);
    if (!conpool_op_wait(op, CONPOOL_FOREVER, &io) && io.object) {
      printf("%.*s", (int)conpool_chunk_size(io.object),
             (const char*)conpool_chunk_data(io.object));
      reusable = CONPOOL_REUSABLE; /* nothing of this conversation is under way */
      conpool_event_dispose(&io);
    }
    conpool_connection_release(connection, reusable);
  } else {
    conpool_event_dispose(&lease);
  }
  conpool_endpoint_free(at);
  return reusable == CONPOOL_REUSABLE ? 0 : -1;
}
/* [end] */

/* [errors] */
static void explain(const conpool_error* error) {
  conpool_status status = conpool_error_status(error);
  printf("%s\n", conpool_status_name(status));
  if (conpool_status_class(status) == CONPOOL_CLASS_CONNECT) puts("no connection");
  if (conpool_error_phase(error) == CONPOOL_PHASE_CONNECT) puts("while connecting");
  if (conpool_error_proof(error) == CONPOOL_PROOF_NEVER_SENT) puts("nothing was sent");
  for (size_t i = 0; i < conpool_error_attempt_count(error); ++i)
    printf("tried %s\n", conpool_error_attempt_target(error, i));
}
/* [end] */

static void refuse(conpool_pool* pool, const char* url) {
  conpool_request* request = NULL;
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  conpool_request_new(pool, "GET", url, CONPOOL_NUL_TERMINATED, NULL, &request, NULL);
  if (conpool_perform(request, NULL, &response, &error)) explain(error);
  conpool_error_free(error);
  conpool_response_free(response);
  conpool_request_free(request);
}

/* [many] */
static int many(conpool_pool* pool, const char* url) {
  conpool_queue* queue = NULL;
  conpool_request* request = NULL;
  conpool_event events[16];
  conpool_op op = 0;
  int started = 0, good = 0;
  if (conpool_queue_new(pool, &queue)) return 0;
  if (!conpool_request_new(pool, "GET", url, CONPOOL_NUL_TERMINATED, NULL, &request, NULL))
    while (started < 32 && /* one request may run many times at once */
           !conpool_request_start(request, NULL, CONPOOL_WHOLE, queue, 0, &op, NULL))
      ++started;
  while (started > 0) { /* exactly one FINAL event for each that was started */
    int count = conpool_queue_next(queue, events, 16, CONPOOL_FOREVER);
    for (int i = 0; i < count; ++i, --started) {
      good += !events[i].status;
      conpool_event_dispose(&events[i]);
    }
  }
  conpool_request_free(request);
  conpool_queue_free(queue);
  return good;
}
/* [end] */

/* [threads] */
struct work {
  conpool_request* request; /* shared: starting is for any thread */
  int status;
};

static void* worker(void* given) {
  struct work* work = given;
  conpool_response* response = NULL;
  if (!conpool_perform(work->request, NULL, &response, NULL))
    work->status = conpool_response_status(response);
  conpool_response_free(response);
  return NULL;
}
/* [end] */

static int threads(conpool_pool* pool, const char* url) {
  conpool_request* request = NULL;
  pthread_t thread[8];
  struct work work[8];
  int good = 0;
  conpool_request_new(pool, "GET", url, CONPOOL_NUL_TERMINATED, NULL, &request, NULL);
  for (int i = 0; i < 8; ++i) {
    work[i] = (struct work){request, 0};
    pthread_create(&thread[i], NULL, worker, &work[i]);
  }
  for (int i = 0; i < 8; ++i) {
    pthread_join(thread[i], NULL);
    good += work[i].status == 200;
  }
  conpool_request_free(request);
  return good;
}

/* [events] */
static void observe(conpool_pool* pool) {
  char* text = NULL;
  uint64_t next = 0;
  conpool_pool_event(pool, CONPOOL_LEVEL_WARNING, "stock.low", 9, "3 left", 6);
  if (!conpool_pool_events_since(pool, "text", 0, 0, &next, NULL, &text)) {
    puts(strstr(text, "stock.low") ? "recorded" : "not recorded");
    conpool_text_free(text);
  }
  if (!conpool_pool_metrics(pool, "openmetrics", &text)) {
    puts(strstr(text, "conpool_pool_requests_done_total") ? "counted" : "not counted");
    conpool_text_free(text);
  }
}
/* [end] */

int main(int argc, char** argv) {
  char url[256];
  conpool_pool* pool = small_pool();
  if (argc < 4 || !pool) return 2;
  if (fetch(pool, argv[1])) return 4;
  wrong_option();
  snprintf(url, sizeof url, "%sbytes/1000000", argv[1]);
  printf("%lld bytes\n", stream(pool, url));
  if (echo(pool, argv[2])) return 4;
  refuse(pool, argv[3]);
  printf("%d answers\n", many(pool, argv[1]));
  printf("%d answers\n", threads(pool, argv[1]));
  observe(pool);
  conpool_pool_free(pool);
}
