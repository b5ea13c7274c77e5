/* A library of another version: it answers as STUB_VERSION and this file say. */
#include <conpool/conpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned disposed;
static conpool_event line[8];
static int32_t waiting;
static char object; /* stands for every handle */

/* "1.2.3" as 0x00MMmmpp. */
uint32_t conpool_version(void) {
  unsigned major = 0, minor = 0, patch = 0;
  sscanf(getenv("STUB_VERSION"), "%u.%u.%u", &major, &minor, &patch);
  return major << 16 | minor << 8 | patch;
}

const char* conpool_version_string(void) {
  return getenv("STUB_VERSION");
}
const char* conpool_status_name(conpool_status status) {
  return status == 0 ? "OK" : "UNKNOWN";
}
const char* conpool_status_text(conpool_status status) {
  return status == 0 ? "success" : "unknown";
}

/* Classes are blocks of one hundred; 1000 and below are of a class that nobody knows yet. */
int32_t conpool_status_class(conpool_status status) {
  static const int32_t classes[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 9};
  return status <= -1000 ? 20 : classes[-status / 100];
}

conpool_status conpool_pool_new(const conpool_config* config, conpool_pool** out,
                                conpool_error** error) {
  (void)config, (void)error;
  *out = (conpool_pool*)&object;
  return 0;
}

conpool_status conpool_queue_new(conpool_pool* pool, conpool_queue** out) {
  (void)pool;
  *out = (conpool_queue*)&object;
  return 0;
}

conpool_status conpool_request_new(conpool_pool* pool, const char* method, const char* url,
                                   size_t size, const conpool_config* config, conpool_request** out,
                                   conpool_error** error) {
  (void)pool, (void)method, (void)url, (void)size, (void)config, (void)error;
  *out = (conpool_request*)&object;
  return 0;
}

/* What a call without a queue ends with. */
conpool_status conpool_op_wait(conpool_op op, int64_t timeout, conpool_event* out) {
  (void)timeout;
  memset(out, 0, sizeof *out);
  out->kind = CONPOOL_EVENT_RESPONSE;
  out->flags = CONPOOL_EVENT_FINAL;
  out->op = op;
  out->status = -499;
  return 0;
}

static void add(uint32_t kind, uint32_t flags, conpool_status status, uint64_t user_data) {
  conpool_event* event = &line[waiting++];
  memset(event, 0, sizeof *event);
  event->kind = kind;
  event->flags = flags;
  event->op = 1;
  event->status = status;
  event->user_data = user_data;
  event->object = kind > 100 && !(flags & CONPOOL_EVENT_FINAL && status < 0) ? &object : NULL;
}

/* Three events of kinds to come, and an end of the kind and status that the program's environment
 * names. */
conpool_status conpool_request_start(conpool_request* request, const conpool_config* config,
                                     int32_t how, conpool_queue* queue, uint64_t user_data,
                                     conpool_op* op, conpool_error** error) {
  (void)request, (void)config, (void)how, (void)error;
  *op = 1;
  if (queue == NULL) return 0;
  add(101, 0, 0, user_data);
  add(102, 64, -1234, user_data);
  add(103, 0, 0, user_data + 1000);
  add((uint32_t)atoi(getenv("STUB_END_KIND")), CONPOOL_EVENT_FINAL, atoi(getenv("STUB_END_STATUS")),
      user_data);
  return 0;
}

int32_t conpool_queue_next(conpool_queue* queue, conpool_event* events, uint32_t capacity,
                           int64_t timeout) {
  (void)queue, (void)capacity, (void)timeout;
  const int32_t count = waiting;
  memcpy(events, line, sizeof *line * (size_t)count);
  waiting = 0;
  return count > 0 ? count : CONPOOL_E_CLOSED;
}

void conpool_event_dispose(conpool_event* event) {
  if (event->object != NULL) ++disposed;
  event->object = NULL;
}

/* How many objects of events were disposed; asked through a function that the binding has a name
 * for. */
conpool_status conpool_describe(const char* what, char** out) {
  (void)what;
  *out = malloc(32);
  snprintf(*out, 32, "%u", disposed);
  return 0;
}

void conpool_text_free(char* text) {
  free(text);
}
