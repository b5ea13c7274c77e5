/* What the C programs of these tests share. */
#include "client.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int open_fds(void) {
  DIR* folder = opendir("/proc/self/fd");
  int count = 0;
  if (folder == NULL) die("/proc/self/fd", "cannot be read");
  while (readdir(folder) != NULL)
    count++;
  closedir(folder);
  return count - 3; /* ".", ".." and the folder's own */
}

int settled_fds(int baseline) {
  int64_t deadline = now_ns() + (int64_t)30 * 1000000000;
  struct timespec pause = {0, 5000000};
  while (open_fds() > baseline && now_ns() < deadline)
    nanosleep(&pause, NULL); /* nothing tells that the loop's thread has closed them */
  return open_fds();
}

int baseline_fds(void) {
  int before = open_fds();
  conpool_pool_free(pool_of(0, NULL));
  return settled_fds(before + 2);
}

void die(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(2);
}

void set_option(conpool_config* config, const char* pair) {
  const char* equals = strchr(pair, '=');
  char name[64];
  conpool_error* error = NULL;
  if (equals == NULL || (size_t)(equals - pair) >= sizeof name) die(pair, "is not name=value");
  memcpy(name, pair, (size_t)(equals - pair));
  name[equals - pair] = 0;
  if (conpool_config_set(config, name, equals + 1, CONPOOL_NUL_TERMINATED, &error) != CONPOOL_OK) {
    die(pair, conpool_error_line(error));
  }
}

conpool_config* config_of(int count, char** pairs) {
  conpool_config* config = NULL;
  if (conpool_config_new(&config) != CONPOOL_OK) die("config", "no memory");
  for (int i = 0; i < count; i++)
    set_option(config, pairs[i]);
  return config;
}

conpool_pool* pool_of(int count, char** pairs) {
  conpool_config* config = config_of(count, pairs);
  conpool_pool* pool = NULL;
  conpool_error* error = NULL;
  if (conpool_pool_new(config, &pool, &error) != CONPOOL_OK) die("pool", conpool_error_line(error));
  conpool_config_free(config);
  return pool;
}

conpool_endpoint* endpoint_of(conpool_pool* pool, const char* url, const char* partition) {
  conpool_config* config = config_of(0, NULL);
  conpool_endpoint* endpoint = NULL;
  conpool_error* error = NULL;
  if (partition != NULL && conpool_config_set(config, "partition", partition,
                                              CONPOOL_NUL_TERMINATED, &error) != CONPOOL_OK) {
    die(partition, conpool_error_line(error));
  }
  if (conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, config, &endpoint, &error) !=
      CONPOOL_OK) {
    die(url, conpool_error_line(error));
  }
  conpool_config_free(config);
  return endpoint;
}

/* Waits for an op's event; E_* of the call that started it comes back as it is. */
static conpool_status finish(conpool_status started, conpool_op op, conpool_event* event) {
  memset(event, 0, sizeof *event);
  if (started != CONPOOL_OK) return started;
  conpool_status waited = conpool_op_wait(op, CONPOOL_FOREVER, event);
  return waited != CONPOOL_OK ? waited : event->status;
}

conpool_status acquire(conpool_endpoint* endpoint, conpool_event* event) {
  conpool_op op = 0;
  conpool_status started = conpool_endpoint_acquire(endpoint, NULL, NULL, 0, &op);
  return finish(started, op, event);
}

conpool_status send_all(conpool_connection* connection, const void* data, size_t size) {
  conpool_op op = 0;
  conpool_event event;
  conpool_status started = conpool_connection_write(connection, data, size, NULL, 0, &op);
  conpool_status status = finish(started, op, &event);
  if (status == CONPOOL_OK && event.value[0] != size) die("write", "ended before all was written");
  conpool_event_dispose(&event);
  return status;
}

conpool_status receive(conpool_connection* connection, void* data, size_t size) {
  size_t have = 0;
  while (have < size) {
    conpool_op op = 0;
    conpool_event event;
    conpool_status started = conpool_connection_read(connection, size - have, NULL, 0, &op);
    conpool_status status = finish(started, op, &event);
    if (status == CONPOOL_OK && event.object == NULL) status = CONPOOL_E_CONNECTION_CLOSED;
    if (status == CONPOOL_OK) {
      size_t came = conpool_chunk_size(event.object);
      if (came == 0 || came > size - have) die("read", "a chunk of a size that was not asked for");
      memcpy((char*)data + have, conpool_chunk_data(event.object), came);
      have += came;
    }
    conpool_event_dispose(&event);
    if (status != CONPOOL_OK) return status;
  }
  return CONPOOL_OK;
}

conpool_status receive_line(conpool_connection* connection, char* text, size_t capacity) {
  size_t have = 0;
  for (;;) {
    conpool_op op = 0;
    conpool_event event;
    conpool_status started = conpool_connection_read(connection, 0, NULL, 0, &op);
    conpool_status status = finish(started, op, &event);
    if (status == CONPOOL_OK && event.object == NULL) status = CONPOOL_E_CONNECTION_CLOSED;
    if (status == CONPOOL_OK) {
      size_t came = conpool_chunk_size(event.object);
      if (came >= capacity - have) die("read", "a line that is too long");
      memcpy(text + have, conpool_chunk_data(event.object), came);
      have += came;
      text[have] = 0;
    }
    conpool_event_dispose(&event);
    if (status != CONPOOL_OK) return status;
    char* end = strchr(text, '\n');
    if (end == NULL) continue;
    if (end + 1 != text + have) die("read", "bytes after the answer: it belongs to somebody else");
    *end = 0;
    return CONPOOL_OK;
  }
}

conpool_status ask(conpool_connection* connection, const char* request, char* answer,
                   size_t capacity) {
  conpool_status status = send_all(connection, request, strlen(request));
  return status != CONPOOL_OK ? status : receive_line(connection, answer, capacity);
}

void print_json_text(const char* text) {
  putchar('"');
  for (const unsigned char* at = (const unsigned char*)text; *at != 0; at++) {
    if (*at == '"' || *at == '\\') {
      printf("\\%c", *at);
    } else if (*at < 32 || *at == 127) {
      printf("\\u%04x", *at);
    } else {
      putchar(*at);
    }
  }
  putchar('"');
}
