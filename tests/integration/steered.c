/* A client of the library that does what its standard input says, and answers each line with one of
 * JSON.
 *
 * usage: steered NAME=VALUE...            the pool's options
 *
 * Fields of a line are separated by tabs:
 *   endpoint NAME URL NAME=VALUE...       names an endpoint
 *   addresses NAME SCHEME LIST NAME=VALUE...
 *   start LEASE ENDPOINT                  starts an acquire
 *   wait LEASE                            waits for it
 *   describe LEASE
 *   write LEASE HEX                       waits until it is written
 *   fill LEASE SIZE                       writes so many bytes
 *   read LEASE SIZE_MAX                   waits for bytes, told in hex
 *   release LEASE reusable|broken
 *   metrics | explain ENDPOINT | fds
 * Names of endpoints and leases are small numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { NAMES = 256, FIELDS = 24, LINE = 65536 };

static conpool_pool* pool;
static conpool_endpoint* endpoints[NAMES];
static conpool_connection* leases[NAMES];
static conpool_op ops[NAMES];

static int number_of(const char* text) {
  int number = text == NULL ? -1 : atoi(text);
  if (number < 0 || number >= NAMES) die("a number out of range", text == NULL ? "" : text);
  return number;
}

static conpool_connection* lease_of(const char* text) {
  conpool_connection* lease = leases[number_of(text)];
  if (lease == NULL) die("no such lease", text);
  return lease;
}

static void print_attempts(const conpool_error* error) {
  for (size_t i = 0; i < conpool_error_attempt_count(error); i++) {
    printf("%s{\"target\":", i == 0 ? "" : ",");
    print_json_text(conpool_error_attempt_target(error, i));
    printf(",\"status\":\"%s\",\"phase\":%d,\"errno\":%d,\"duration_ns\":%lld}",
           conpool_status_name(conpool_error_attempt_status(error, i)),
           conpool_error_attempt_phase(error, i), conpool_error_attempt_os_errno(error, i),
           (long long)conpool_error_attempt_duration(error, i));
  }
}

/* The members that every answer has, without the closing brace. */
static void print_result(conpool_status status, const conpool_error* error) {
  printf("{\"status\":\"%s\"", conpool_status_name(status));
  if (error == NULL) return;
  printf(",\"phase\":%d,\"proof\":%d,\"errno\":%d,\"tls_verify\":%lld,\"line\":",
         conpool_error_phase(error), conpool_error_proof(error), conpool_error_os_errno(error),
         (long long)conpool_error_tls_verify(error));
  print_json_text(conpool_error_line(error));
  printf(",\"report\":");
  print_json_text(conpool_error_report(error));
  printf(",\"attempts\":[");
  print_attempts(error);
  printf("]");
}

static void finish(conpool_status started, conpool_op op, conpool_event* event) {
  memset(event, 0, sizeof *event);
  event->status = started;
  if (started == CONPOOL_OK && conpool_op_wait(op, CONPOOL_FOREVER, event) != CONPOOL_OK) {
    die("op_wait", "failed");
  }
}

static void make_endpoint(char** field, int count, int by_addresses) {
  conpool_endpoint* made = NULL;
  conpool_error* error = NULL;
  int first = by_addresses ? 4 : 3;
  if (count < first) die("endpoint", "too few fields");
  conpool_config* config = config_of(count - first, field + first);
  conpool_status status =
      by_addresses
          ? conpool_endpoint_new_addresses(pool, field[2], field[3], CONPOOL_NUL_TERMINATED, config,
                                           &made, &error)
          : conpool_endpoint_new(pool, field[2], CONPOOL_NUL_TERMINATED, config, &made, &error);
  print_result(status, error);
  printf("}\n");
  conpool_config_free(config);
  conpool_error_free(error);
  if (status != CONPOOL_OK) return;
  conpool_endpoint_free(endpoints[number_of(field[1])]);
  endpoints[number_of(field[1])] = made;
}

static void start_acquire(char** field) {
  conpool_status status = conpool_endpoint_acquire(endpoints[number_of(field[2])], NULL, NULL, 0,
                                                   &ops[number_of(field[1])]);
  print_result(status, NULL);
  printf("}\n");
}

static void print_facts(conpool_connection* connection) {
  char* facts = NULL;
  if (conpool_connection_describe(connection, &facts) != CONPOOL_OK) die("describe", "refused");
  printf(",\"facts\":%s", facts);
  conpool_text_free(facts);
}

static void wait_acquire(char** field) {
  conpool_event event;
  int64_t start = now_ns();
  int lease = number_of(field[1]);
  finish(CONPOOL_OK, ops[lease], &event);
  print_result(event.status, event.status == CONPOOL_OK ? NULL : event.object);
  if (event.status == CONPOOL_OK) {
    leases[lease] = event.object;
    event.object = NULL;
    printf(",\"reused\":%d", (int)event.value[0]);
    print_facts(leases[lease]);
  }
  printf(",\"waited_ns\":%lld}\n", (long long)(now_ns() - start));
  conpool_event_dispose(&event);
}

static void write_bytes(conpool_connection* connection, const void* data, size_t size) {
  conpool_op op = 0;
  conpool_event event;
  int64_t start = now_ns();
  conpool_status started = conpool_connection_write(connection, data, size, NULL, 0, &op);
  finish(started, op, &event);
  print_result(event.status, event.status == CONPOOL_OK ? NULL : event.object);
  printf(",\"written\":%llu,\"took_ns\":%lld}\n", (unsigned long long)event.value[0],
         (long long)(now_ns() - start));
  conpool_event_dispose(&event);
}

static void write_hex(char** field) {
  size_t size = strlen(field[2]) / 2;
  unsigned char* data = malloc(size + 1);
  for (size_t i = 0; i < size; i++) {
    char digits[3] = {field[2][2 * i], field[2][2 * i + 1], 0};
    data[i] = (unsigned char)strtoul(digits, NULL, 16);
  }
  write_bytes(lease_of(field[1]), data, size);
  free(data);
}

static void write_fill(char** field) {
  size_t size = strtoull(field[2], NULL, 10);
  char* data = calloc(size, 1);
  write_bytes(lease_of(field[1]), data, size);
  free(data);
}

static void read_bytes(char** field) {
  conpool_op op = 0;
  conpool_event event;
  int64_t start = now_ns();
  conpool_status started =
      conpool_connection_read(lease_of(field[1]), strtoull(field[2], NULL, 10), NULL, 0, &op);
  finish(started, op, &event);
  print_result(event.status, event.status == CONPOOL_OK ? NULL : event.object);
  printf(",\"eof\":%d,\"took_ns\":%lld,\"data\":\"", (event.flags & CONPOOL_EVENT_EOF) != 0,
         (long long)(now_ns() - start));
  if (event.status == CONPOOL_OK && event.object != NULL) {
    const uint8_t* data = conpool_chunk_data(event.object);
    for (size_t i = 0; i < conpool_chunk_size(event.object); i++)
      printf("%02x", data[i]);
  }
  printf("\"}\n");
  conpool_event_dispose(&event);
}

static void release(char** field) {
  conpool_connection_release(lease_of(field[1]),
                             strcmp(field[2], "reusable") == 0 ? CONPOOL_REUSABLE : CONPOOL_BROKEN);
  leases[number_of(field[1])] = NULL;
  printf("{\"status\":\"OK\"}\n");
}

static void readout(char** field) {
  char* text = NULL;
  if (strcmp(field[0], "fds") == 0) {
    printf("{\"status\":\"OK\",\"fds\":%d}\n", open_fds());
    return;
  }
  int metrics = strcmp(field[0], "metrics") == 0;
  conpool_status status = metrics
                              ? conpool_pool_metrics(pool, "text", &text)
                              : conpool_pool_explain(pool, endpoints[number_of(field[1])], &text);
  print_result(status, NULL);
  printf(",\"text\":");
  print_json_text(status == CONPOOL_OK ? text : "");
  printf("}\n");
  conpool_text_free(text);
}

static void obey(char** field, int count) {
  static const struct {
    const char* name;
    int fields;
    void (*run)(char**);
  } verbs[] = {{"start", 3, start_acquire}, {"wait", 2, wait_acquire}, {"write", 3, write_hex},
               {"fill", 3, write_fill},     {"read", 3, read_bytes},   {"release", 3, release},
               {"metrics", 1, readout},     {"explain", 2, readout},   {"fds", 1, readout}};
  if (strcmp(field[0], "endpoint") == 0) {
    make_endpoint(field, count, 0);
    return;
  }
  if (strcmp(field[0], "addresses") == 0) {
    make_endpoint(field, count, 1);
    return;
  }
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    if (strcmp(field[0], verbs[i].name) == 0 && count >= verbs[i].fields) {
      verbs[i].run(field);
      return;
    }
  }
  die("not understood", field[0]);
}

int main(int count, char** arguments) {
  static char line[LINE];
  int fds = baseline_fds();
  pool = pool_of(count - 1, arguments + 1);
  while (fgets(line, sizeof line, stdin) != NULL) {
    char* field[FIELDS] = {NULL};
    int fields = 0;
    line[strcspn(line, "\n")] = 0;
    for (char* word = strtok(line, "\t"); word != NULL && fields < FIELDS;
         word = strtok(NULL, "\t")) {
      field[fields++] = word;
    }
    if (fields > 0) obey(field, fields);
    fflush(stdout);
  }
  for (int i = 0; i < NAMES; i++) {
    if (leases[i] != NULL) conpool_connection_release(leases[i], CONPOOL_BROKEN);
    conpool_endpoint_free(endpoints[i]);
  }
  conpool_pool_free(pool);
  printf("{\"fds_before\":%d,\"fds_after\":%d}\n", fds, settled_fds(fds));
  return 0;
}
