/* A stub that says it is conpool: an older, a newer or an incomplete library. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef STUB_VERSION
#define STUB_VERSION 0x000100
#endif

/* Functions that a case does not need fail as a library does that knows nothing of the call. */
#define FUNCTION(name) \
  int64_t name(void) { \
    return -199;       \
  }
#include "stub_functions.h"

#ifndef STUB_NO_VERSION
uint32_t conpool_version(void) {
  return STUB_VERSION;
}
#endif
const char* conpool_version_string(void) {
  return "stub";
}
const char* conpool_status_name(int32_t status) {
  return status == 0 ? "OK" : status == -901 ? "E_TIMEOUT" : status == -109 ? "E_STALE" : "UNKNOWN";
}
const char* conpool_status_text(int32_t status) {
  return status == 0 ? "success" : "unknown status";
}
int32_t conpool_status_class(int32_t status) {
  return status == 0 ? 0 : status > -1000 ? -status / 100 : 10;
}

int32_t conpool_describe(const char* what, char** out) {
  static const char* const kOptions =
      "[{\"name\":\"pool.max\",\"type\":\"count\",\"most\":\"9\"},"
      "{\"name\":\"brand.new\",\"type\":\"wish\",\"most\":\"\"}]";
  static const char* const kStatuses =
      "[{\"name\":\"E_TIMEOUT\",\"value\":-901},{\"name\":\"E_STALE\",\"value\":-109},"
      "{\"name\":\"E_BUSY\",\"value\":-110},{\"name\":\"E_CLOSED\",\"value\":-902}]";
  const char* text = strcmp(what, "options") == 0 ? kOptions : kStatuses;
  *out = strdup(text);
  return 0;
}
void conpool_text_free(char* text) {
  free(text);
}

static int disposed, queued;
static char things[8];

int32_t conpool_config_new(void** out) {
  *out = things;
  return 0;
}
int32_t conpool_config_set(void* config, const char* name, const char* value, size_t size,
                           void** error) {
  (void)config, (void)value, (void)size, (void)error;
  return strcmp(name, "brand.new") == 0 ? 0 : -101;
}
int32_t conpool_pool_new(const void* config, void** out, void** error) {
  (void)config, (void)error;
  *out = things + 1;
  return 0;
}
int32_t conpool_pool_close(void* pool, int64_t drain, void* queue, uint64_t user_data,
                           uint64_t* op) {
  (void)pool, (void)drain, (void)queue, (void)user_data;
  if (op != NULL) *op = 99;
  return 0;
}
int32_t conpool_request_new(void* pool, const char* method, const char* url, size_t size,
                            const void* config, void** out, void** error) {
  (void)pool, (void)method, (void)url, (void)size, (void)config, (void)error;
  *out = things + 2;
  return 0;
}
int32_t conpool_request_header(void* request, const char* name, size_t name_size, const char* value,
                               size_t value_size, void** error) {
  (void)request, (void)name, (void)name_size, (void)value, (void)value_size, (void)error;
  return 0;
}
int32_t conpool_queue_new(void* pool, void** out) {
  (void)pool;
  *out = things + 3;
  return 0;
}
int32_t conpool_request_start(void* request, const void* config, int32_t how, void* queue,
                              uint64_t user_data, uint64_t* op, void** error) {
  (void)request, (void)config, (void)how, (void)queue, (void)user_data, (void)error;
  *op = 5;
  queued = 0;
  return 0;
}

/* As conpool_event. */
struct event {
  uint32_t kind, flags;
  uint64_t op, user_data;
  int32_t status;
  uint32_t reserved;
  int64_t time_ns;
  void* object;
  uint64_t value[2];
};

/* An op ends with a status that only this library knows. */
int32_t conpool_op_wait(uint64_t op, int64_t timeout, struct event* out) {
  (void)timeout;
  memset(out, 0, sizeof *out);
  out->flags = 1;
  out->kind = op == 99 ? 5 : 6;
  out->status = op == 99 ? 0 : -398;
  return 0;
}
/* A stream begins with events of kinds that only this library knows. */
int32_t conpool_queue_next(void* queue, struct event* events, uint32_t capacity, int64_t timeout) {
  (void)queue, (void)capacity, (void)timeout;
  memset(events, 0, sizeof *events);
  if (++queued > 3) return -902;
  events->kind = queued < 3 ? 77 : 6;
  events->flags = queued < 3 ? 0 : 1;
  events->status = queued < 3 ? 0 : -4321;
  events->op = 5;
  events->object = queued < 3 ? things + 4 : NULL;
  return 1;
}
void conpool_event_dispose(struct event* event) {
  if (event->object != NULL) ++disposed;
  event->object = NULL;
}
int conpool_stub_disposed(void) {
  return disposed;
}
