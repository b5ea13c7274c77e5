/* A client of the library that requests what its standard input says, and answers each line with
 * one of JSON.
 *
 * usage: http_steered NAME=VALUE...       the pool's options
 *
 * Fields of a line are separated by tabs:
 *   start ID METHOD URL UP SIZE DOWN LINE...   starts a request. UP: how its body of SIZE bytes
 * goes: none, memory, file, sized or unsized (both in pieces). DOWN: whole or stream. A LINE is
 * "name: value", after "trailer " a trailer, or "option name=value" wait ID until it has ended
 *   cancel ID
 *   burst URL COUNT AT_ONCE               so many GETs of one URL, so many of them at once
 *   preconnect URL COUNT
 *   metrics | events | fds
 * Bodies are made of one pattern (http_servers.py), which those that come are compared with. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

enum { RUNNING = 1024, FIELDS = 32, LINE = 65536, EVENTS = 64, PIECE = 60000 };

typedef struct {
  conpool_op op;
  conpool_queue* queue; /* of a stream or a body in pieces */
  uint8_t* data;        /* the body that is sent */
  size_t size, written;
  int pieces;
  conpool_event final;
  char heads[64]; /* the kinds of events, as letters */
  int32_t http_status, version;
  uint64_t received;
  int64_t mismatch; /* the first byte that is not the pattern's */
  conpool_response* trailers;
} exchange;

static conpool_pool* pool;
static exchange running[RUNNING];

static uint8_t pattern(uint64_t at) {
  uint64_t block = at >> 8;
  return (uint8_t)(at ^ block ^ (block >> 8));
}

static exchange* exchange_of(const char* text) {
  int number = text == NULL ? -1 : atoi(text);
  if (number < 0 || number >= RUNNING) die("a number out of range", text == NULL ? "" : text);
  return &running[number];
}

static void print_json_bytes(const char* text, size_t size) {
  char* copy = calloc(size + 1, 1);
  memcpy(copy, text, size);
  print_json_text(copy);
  free(copy);
}

static void print_error_parts(const conpool_error* error) {
  if (error == NULL) return;
  printf(",\"phase\":%d,\"proof\":%d,\"h2_code\":%lld,\"line\":", conpool_error_phase(error),
         conpool_error_proof(error), (long long)conpool_error_h2_code(error));
  print_json_text(conpool_error_line(error));
  printf(",\"report\":");
  print_json_text(conpool_error_report(error));
}

static void answer(conpool_status status, conpool_error* error) {
  printf("{\"status\":\"%s\"", conpool_status_name(status));
  print_error_parts(error);
  printf("}\n");
  conpool_error_free(error);
}

static conpool_status add_line(conpool_request* request, const char* line, conpool_error** error) {
  int trailer = strncmp(line, "trailer ", 8) == 0;
  const char* name = trailer ? line + 8 : line;
  const char* colon = strchr(name, ':');
  if (colon == NULL) die("no header line", line);
  const char* value = colon + 1 + (colon[1] == ' ');
  return (trailer ? conpool_request_trailer : conpool_request_header)(
      request, name, (size_t)(colon - name), value, CONPOOL_NUL_TERMINATED, error);
}

static conpool_status add_body(conpool_request* request, exchange* made, const char* how) {
  if (strcmp(how, "none") == 0) return CONPOOL_OK;
  made->data = malloc(made->size + 1);
  for (size_t i = 0; i < made->size; i++)
    made->data[i] = pattern(i);
  if (strcmp(how, "memory") == 0) return conpool_request_body(request, made->data, made->size);
  if (strcmp(how, "file") == 0) {
    FILE* file = tmpfile();
    if (file == NULL || fwrite(made->data, 1, made->size, file) != made->size || fflush(file) != 0)
      die("tmpfile", "cannot be written");
    conpool_status status = conpool_request_body_fd(request, fileno(file), 0, -1);
    fclose(file); /* the request has its own descriptor */
    return status;
  }
  made->pieces = 1;
  int64_t size = strcmp(how, "sized") == 0 ? (int64_t)made->size : -1;
  return conpool_request_body_stream(request, size);
}

static void write_piece(exchange* made) {
  size_t left = made->size - made->written;
  size_t size = left < PIECE ? left : PIECE;
  conpool_op op = 0;
  conpool_status status = conpool_body_write(made->op, made->data + made->written, size,
                                             size == left, made->queue, 0, &op);
  made->written += size;
  made->pieces = size < left;
  if (status == CONPOOL_E_STALE) made->pieces = 0; /* it has ended; its event says why */
  if (status != CONPOOL_OK && status != CONPOOL_E_STALE)
    die("body_write", conpool_status_name(status));
}

static void start(char** field, int count) {
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  conpool_config* config = config_of(0, NULL);
  exchange* made = exchange_of(field[1]);
  memset(made, 0, sizeof *made);
  made->mismatch = -1;
  made->size = strtoull(field[5], NULL, 10);
  int stream = strcmp(field[6], "stream") == 0;
  conpool_status status =
      conpool_request_new(pool, field[2], field[3], CONPOOL_NUL_TERMINATED, NULL, &request, &error);
  if (status == CONPOOL_OK) status = add_body(request, made, field[4]);
  for (int i = 7; i < count && status == CONPOOL_OK; i++) {
    if (strncmp(field[i], "option ", 7) == 0) {
      set_option(config, field[i] + 7);
    } else {
      status = add_line(request, field[i], &error);
    }
  }
  if (status == CONPOOL_OK && (stream || made->pieces))
    status = conpool_queue_new(pool, &made->queue);
  if (status == CONPOOL_OK) {
    status = conpool_request_start(request, config, stream ? CONPOOL_STREAM : CONPOOL_WHOLE,
                                   made->queue, 1, &made->op, &error);
  }
  if (status == CONPOOL_OK && made->pieces) write_piece(made);
  conpool_config_free(config);
  conpool_request_free(request);
  answer(status, error);
}

static void compare(exchange* made, const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size && made->mismatch < 0; i++) {
    if (data[i] != pattern(made->received + i)) made->mismatch = (int64_t)(made->received + i);
  }
  made->received += size;
}

static void note(exchange* made, char letter) {
  size_t length = strlen(made->heads);
  /* Chunks and writes in a row are one letter. */
  if (length > 0 && made->heads[length - 1] == letter && (letter == 'C' || letter == 'W')) return;
  if (length + 1 < sizeof made->heads) made->heads[length] = letter;
}

/* Takes an event of the exchange; 1 when it was the request's last one. */
static int take(exchange* made, conpool_event* event) {
  if (event->kind == CONPOOL_EVENT_WRITE) {
    conpool_event_dispose(event);
    if (made->pieces) write_piece(made);
    return 0;
  }
  if (event->flags & CONPOOL_EVENT_FINAL) {
    made->final = *event;
    event->object = NULL;
    return 1;
  }
  switch (event->kind) {
    case CONPOOL_EVENT_INTERIM:
      note(made, 'I');
      break;
    case CONPOOL_EVENT_HEAD:
      note(made, 'H');
      break;
    case CONPOOL_EVENT_CHUNK:
      note(made, 'C');
      if (event->value[0] != made->received) die("chunk", "not at its place");
      compare(made, conpool_chunk_data(event->object), conpool_chunk_size(event->object));
      break;
    case CONPOOL_EVENT_TRAILERS:
      note(made, 'T');
      made->trailers = event->object;
      event->object = NULL;
      break;
    default:
      die("event", "of an unknown kind");
  }
  conpool_event_dispose(event);
  return 0;
}

static void print_lines(const conpool_response* response, const char* label, int trailers) {
  size_t count =
      trailers ? conpool_response_trailer_count(response) : conpool_response_header_count(response);
  printf(",\"%s\":[", label);
  for (size_t i = 0; i < count; i++) {
    size_t name_size = 0, value_size = 0;
    const char* name = (trailers ? conpool_response_trailer_name : conpool_response_header_name)(
        response, i, &name_size);
    const char* value = (trailers ? conpool_response_trailer_value : conpool_response_header_value)(
        response, i, &value_size);
    printf("%s[", i == 0 ? "" : ",");
    print_json_bytes(name, name_size);
    printf(",");
    print_json_bytes(value, value_size);
    printf("]");
  }
  printf("]");
}

static void print_response(exchange* made) {
  conpool_response* response = made->final.object;
  char* facts = NULL;
  size_t size = 0;
  const uint8_t* body = conpool_response_body(response, &size);
  compare(made, body, size);
  printf(",\"http_status\":%d,\"version\":%d", conpool_response_status(response),
         conpool_response_version(response));
  printf(",\"received\":%" PRIu64 ",\"mismatch\":%" PRId64, made->received, made->mismatch);
  printf(",\"text\":");
  /* The pattern is no text. */
  int is_text = made->mismatch >= 0 && size > 0;
  print_json_bytes(is_text ? (const char*)body : "", is_text ? size : 0);
  print_lines(response, "headers", 0);
  print_lines(made->trailers != NULL ? made->trailers : response, "trailers", 1);
  if (conpool_response_describe(response, &facts) != CONPOOL_OK) die("describe", "refused");
  printf(",\"facts\":%s", facts);
  conpool_text_free(facts);
}

static void wait_for(char** field) {
  exchange* made = exchange_of(field[1]);
  if (made->queue == NULL) {
    if (conpool_op_wait(made->op, CONPOOL_FOREVER, &made->final) != CONPOOL_OK)
      die("op_wait", "failed");
  }
  for (int ended = made->queue == NULL; !ended;) {
    conpool_event events[EVENTS];
    int32_t count = conpool_queue_next(made->queue, events, EVENTS, CONPOOL_FOREVER);
    if (count < 0) die("queue_next", conpool_status_name(count));
    for (int32_t i = 0; i < count; i++)
      ended |= take(made, &events[i]);
  }
  printf("{\"status\":\"%s\",\"sends\":%" PRIu64 ",\"proof\":%" PRIu64 ",\"events\":\"%s\"",
         conpool_status_name(made->final.status), made->final.value[0], made->final.value[1],
         made->heads);
  if (made->final.status == CONPOOL_OK) {
    print_response(made);
  } else {
    printf(",\"received\":%" PRIu64 ",\"mismatch\":%" PRId64, made->received, made->mismatch);
    print_error_parts(made->final.object);
  }
  printf("}\n");
  conpool_event_dispose(&made->final);
  conpool_response_free(made->trailers);
  conpool_queue_free(made->queue);
  free(made->data);
  memset(made, 0, sizeof *made);
}

static int by_value(const void* a, const void* b) {
  int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return (x > y) - (x < y);
}

static long resident_kib(void) {
  long size = 0, resident = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) die("statm", "unreadable");
  fclose(file);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What a burst saw. */
typedef struct {
  long ended, failures, not_200, wrong, h2, resent;
  uint64_t bytes;
  conpool_status first;
  char reason[512];
  int64_t* times;
  long rss_early;
} burst_sums;

static void count_one(burst_sums* sums, conpool_event* event, int64_t took) {
  sums->times[sums->ended++] = took;
  if (event->status != CONPOOL_OK) {
    if (sums->failures++ == 0) {
      sums->first = event->status;
      if (event->object != NULL)
        snprintf(sums->reason, sizeof sums->reason, "%s", conpool_error_line(event->object));
    }
    return;
  }
  size_t size = 0;
  const uint8_t* body = conpool_response_body(event->object, &size);
  sums->not_200 += conpool_response_status(event->object) != 200;
  sums->h2 += conpool_response_version(event->object) == 20;
  sums->resent += event->value[0] > 1;
  sums->bytes += size;
  /* "hello\n", or the pattern: its first bytes tell which. */
  for (size_t i = 0; i < size && body[0] == pattern(0); i++) {
    if (body[i] != pattern(i)) {
      sums->wrong++;
      break;
    }
  }
}

static void burst(char** field) {
  conpool_request* request = NULL;
  conpool_queue* queue = NULL;
  conpool_error* error = NULL;
  burst_sums sums = {0};
  long total = atol(field[2]), at_once = atol(field[3]), started = 0;
  int64_t* began = calloc((size_t)total, sizeof *began);
  sums.times = calloc((size_t)total, sizeof *sums.times);
  conpool_status status =
      conpool_request_new(pool, "GET", field[1], CONPOOL_NUL_TERMINATED, NULL, &request, &error);
  if (status != CONPOOL_OK) {
    answer(status, error);
    free(began);
    free(sums.times);
    return;
  }
  if (conpool_queue_new(pool, &queue) != CONPOOL_OK) die("queue", "refused");
  int64_t begin = now_ns();
  while (sums.ended < total) {
    while (started < total && started - sums.ended < at_once) {
      conpool_op op = 0;
      began[started] = now_ns();
      status = conpool_request_start(request, NULL, CONPOOL_WHOLE, queue, (uint64_t)started, &op,
                                     &error);
      if (status != CONPOOL_OK) die("request_start", conpool_error_line(error));
      started++;
    }
    conpool_event events[EVENTS];
    int32_t count = conpool_queue_next(queue, events, EVENTS, CONPOOL_FOREVER);
    if (count < 0) die("queue_next", conpool_status_name(count));
    for (int32_t i = 0; i < count; i++) {
      count_one(&sums, &events[i], now_ns() - began[events[i].user_data]);
      conpool_event_dispose(&events[i]);
      if (sums.ended == (total + 9) / 10) sums.rss_early = resident_kib();
    }
  }
  double seconds = (double)(now_ns() - begin) / 1e9;
  qsort(sums.times, (size_t)total, sizeof *sums.times, by_value);
  printf("{\"status\":\"OK\",\"ended\":%ld,\"failures\":%ld,\"first_failure\":\"%s\",\"reason\":",
         sums.ended, sums.failures, conpool_status_name(sums.first));
  print_json_text(sums.reason);
  printf(",\"not_200\":%ld,\"wrong\":%ld,\"h2\":%ld,\"resent\":%ld,\"bytes\":%" PRIu64,
         sums.not_200, sums.wrong, sums.h2, sums.resent, sums.bytes);
  printf(",\"seconds\":%.4f,\"p50_ns\":%lld,\"p99_ns\":%lld,\"rss_early\":%ld,\"rss\":%ld}\n",
         seconds, (long long)sums.times[total / 2], (long long)sums.times[total * 99 / 100],
         sums.rss_early, resident_kib());
  conpool_request_free(request);
  conpool_queue_free(queue);
  free(began);
  free(sums.times);
}

static void cancel(char** field) {
  answer(conpool_op_cancel(exchange_of(field[1])->op), NULL);
}

static void preconnect(char** field) {
  conpool_endpoint* endpoint = endpoint_of(pool, field[1], NULL);
  conpool_op op = 0;
  conpool_event event;
  memset(&event, 0, sizeof event);
  event.status =
      conpool_endpoint_preconnect(endpoint, (uint32_t)atoi(field[2]), NULL, NULL, 0, &op);
  if (event.status == CONPOOL_OK) conpool_op_wait(op, CONPOOL_FOREVER, &event);
  printf("{\"status\":\"%s\",\"open\":%" PRIu64, conpool_status_name(event.status), event.value[0]);
  if (event.status != CONPOOL_OK) print_error_parts(event.object);
  printf("}\n");
  conpool_event_dispose(&event);
  conpool_endpoint_free(endpoint);
}

static void readout(char** field) {
  char* text = NULL;
  if (strcmp(field[0], "fds") == 0) {
    printf("{\"status\":\"OK\",\"fds\":%d,\"rss\":%ld}\n", open_fds(), resident_kib());
    return;
  }
  int events = strcmp(field[0], "events") == 0;
  conpool_status status = events ? conpool_pool_events(pool, "jsonl", &text)
                                 : conpool_pool_metrics(pool, "text", &text);
  if (status != CONPOOL_OK) die(field[0], "refused");
  printf("{\"status\":\"OK\",\"text\":");
  print_json_text(text);
  printf("}\n");
  conpool_text_free(text);
}

static void obey(char** field, int count) {
  static const struct {
    const char* name;
    int fields;
    void (*run)(char**);
  } verbs[] = {{"wait", 2, wait_for},   {"cancel", 2, cancel},
               {"burst", 4, burst},     {"preconnect", 3, preconnect},
               {"metrics", 1, readout}, {"events", 1, readout},
               {"fds", 1, readout}};
  if (strcmp(field[0], "start") == 0 && count >= 7) {
    start(field, count);
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
  conpool_pool_free(pool);
  printf("{\"fds_before\":%d,\"fds_after\":%d}\n", fds, settled_fds(fds));
  return 0;
}
