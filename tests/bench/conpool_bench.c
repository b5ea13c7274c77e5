/* A load generator on conpool, with the flags and the result line of the other clients of the same
 * harness, so that they can be measured side by side.
 *
 * usage: conpool-bench -u URL [-p h1|h2|h2c] [-s SCENARIO] [-c IN_FLIGHT] [-k H2_CONNECTIONS]
 *          [-d SECONDS] [-w WARM_UP_SECONDS] [-a CA_FILE] [-P POST_KIB] [-F] [-R] [-n REQUESTS]
 *          [-t THREADS] [-I] [-1 -T WALL_NS]
 *
 *   -F  a new connection for each request      -R  no TLS resumption
 *   -n  ends after so many requests, in place of -d
 *   -t  so many threads that block in conpool_perform on one pool; otherwise one thread drives all
 *   -I  opens IN_FLIGHT connections, holds them idle and tells the memory of one
 *   -1  one request, and when it was answered since the wall clock's WALL_NS
 *
 * Prints one line of JSON. Any answer but 200 ends it with exit code 1. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <conpool/conpool.h>

enum { EVENTS = 128, THREADS_MAX = 64, STEPS = 64, SLOTS = STEPS * 40 };

#define NANOS 1000000000ull

static struct {
  const char *url, *protocol, *scenario, *ca;
  int in_flight, connections, post_kib, fresh, no_resumption, threads, idle, first;
  double seconds, warm;
  uint64_t wall_begin, requests;
} flags = {
    .protocol = "h1", .scenario = "?", .in_flight = 1, .connections = 1, .seconds = 1, .warm = 0.2};

/* Latencies in steps of 1/64 of a power of two. */
typedef struct {
  uint64_t count;
  uint32_t slot[SLOTS];
} histogram;

static char* post_body;
static histogram latencies;

static void die(const char* what, const char* why) {
  fprintf(stderr, "conpool-bench: %s: %s\n", what, why);
  exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * NANOS + (uint64_t)now.tv_nsec;
}

static long resident_kib(void) {
  long size = 0, resident = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
  if (file != NULL) fclose(file);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void histogram_add(histogram* into, uint64_t value) {
  unsigned slot = (unsigned)value;
  if (value >= STEPS) {
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 6u;
    slot = STEPS + shift * STEPS + (unsigned)((value >> shift) - STEPS);
  }
  into->slot[slot < SLOTS ? slot : SLOTS - 1]++;
  into->count++;
}

static double histogram_at(const histogram* from, double share) {
  uint64_t wanted = (uint64_t)(share * (double)from->count), seen = 0;
  for (unsigned i = 0; i < SLOTS; i++) {
    seen += from->slot[i];
    if (seen <= wanted) continue;
    if (i < STEPS) return i;
    return (double)((uint64_t)(i % STEPS + STEPS) << (i / STEPS - 1));
  }
  return 0;
}

static void print_result(const char* peer, uint64_t requests, uint64_t bytes, double seconds,
                         double cpu_seconds) {
  printf("{\"peer\":\"%s\",\"scenario\":\"%s\",\"requests\":%" PRIu64
         ",\"seconds\":%.6f,\"rps\":%.1f,"
         "\"p50_us\":%.2f,\"p99_us\":%.2f,\"cpu_s\":%.6f,\"rss_kb\":%ld,\"mb_s\":%.2f}\n",
         peer, flags.scenario, requests, seconds, (double)requests / seconds,
         histogram_at(&latencies, 0.50) / 1e3, histogram_at(&latencies, 0.99) / 1e3, cpu_seconds,
         resident_kib(), (double)bytes / seconds / 1e6);
}

static void set(conpool_config* config, const char* name, const char* value) {
  conpool_error* error = NULL;
  if (conpool_config_set(config, name, value, CONPOOL_NUL_TERMINATED, &error) != CONPOOL_OK)
    die(name, conpool_error_line(error));
}

static void set_number(conpool_config* config, const char* name, long value) {
  char text[32];
  snprintf(text, sizeof text, "%ld", value);
  set(config, name, text);
}

static conpool_pool* make_pool(const char* drive) {
  conpool_config* config = NULL;
  conpool_pool* pool = NULL;
  conpool_error* error = NULL;
  int h2 = flags.protocol[1] == '2';
  int many = flags.in_flight > flags.threads ? flags.in_flight : flags.threads;
  int connections = h2 && !flags.idle ? flags.connections : many;
  if (conpool_config_new(&config) != CONPOOL_OK) die("config", "no memory");
  set(config, "loop.drive", drive);
  set(config, "http.version", h2 ? "h2" : "http1");
  set_number(config, "endpoint.max_connections", connections);
  set_number(config, "pool.max_connections", connections + 8);
  set_number(config, "endpoint.max_waiters", many + 8);
  if (h2) {
    set_number(config, "h2.max_connections", connections);
    set_number(config, "h2.ideal_streams", (many + connections - 1) / connections);
  }
  if (flags.idle) set(config, "pool.idle_timeout", "1h");
  if (flags.fresh) set(config, "pool.max_uses", "1");
  if (flags.no_resumption) set(config, "tls.resumption", "false");
  if (flags.ca != NULL) set(config, "tls.ca_file", flags.ca);
  if (conpool_pool_new(config, &pool, &error) != CONPOOL_OK) die("pool", conpool_error_line(error));
  conpool_config_free(config);
  return pool;
}

/* The one request that is started again and again. */
static conpool_request* make_request(conpool_pool* pool) {
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  if (conpool_request_new(pool, flags.post_kib ? "POST" : "GET", flags.url, CONPOOL_NUL_TERMINATED,
                          NULL, &request, &error) != CONPOOL_OK)
    die(flags.url, conpool_error_line(error));
  if (flags.post_kib == 0) return request;
  if (conpool_request_header(request, "content-type", CONPOOL_NUL_TERMINATED,
                             "application/octet-stream", CONPOOL_NUL_TERMINATED,
                             &error) != CONPOOL_OK)
    die("content-type", conpool_error_line(error));
  if (conpool_request_body(request, post_body, (size_t)flags.post_kib * 1024) != CONPOOL_OK)
    die("body", "refused");
  return request;
}

/* The size of an answer that must be a 200. */
static uint64_t take(conpool_event* event) {
  size_t size = 0;
  if (event->status != CONPOOL_OK) {
    die("request", event->object != NULL ? conpool_error_line(event->object)
                                         : conpool_status_text(event->status));
  }
  if (conpool_response_status(event->object) != 200) die("request", "not answered with 200");
  conpool_response_body(event->object, &size);
  conpool_event_dispose(event);
  return size;
}

static void start(conpool_request* request, conpool_queue* queue, uint64_t user_data) {
  conpool_op op = 0;
  conpool_error* error = NULL;
  if (conpool_request_start(request, NULL, CONPOOL_WHOLE, queue, user_data, &op, &error) !=
      CONPOOL_OK)
    die("request_start", conpool_error_line(error));
}

/* One thread drives the loop and keeps `in_flight` requests on their way. */
static void run_load(void) {
  conpool_pool* pool = make_pool("caller");
  conpool_request* request = make_request(pool);
  conpool_queue* queue = NULL;
  conpool_event events[EVENTS];
  if (conpool_queue_new(pool, &queue) != CONPOOL_OK) die("queue", "refused");
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  uint64_t warm_end = now + (uint64_t)(flags.warm * 1e9), end = 0;
  uint64_t begin = 0, cpu = 0, bytes = 0, requests = 0;
  for (int i = 0; i < flags.in_flight; i++)
    start(request, queue, now);
  for (;;) {
    int32_t count = conpool_queue_next(queue, events, EVENTS, CONPOOL_FOREVER);
    if (count < 0) die("queue_next", conpool_status_text(count));
    for (int32_t i = 0; i < count; i++) {
      uint64_t began = events[i].user_data, size = take(&events[i]);
      now = clock_ns(CLOCK_MONOTONIC);
      if (begin != 0) {
        histogram_add(&latencies, now - began);
        requests++;
        bytes += size;
      }
      start(request, queue, now);
    }
    if (begin == 0 && now >= warm_end) {
      begin = now;
      end = now + (uint64_t)(flags.seconds * 1e9);
      cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    } else if (begin != 0 && (flags.requests != 0 ? requests >= flags.requests : now >= end)) {
      break;
    }
  }
  print_result("conpool", requests, bytes, (double)(now - begin) / 1e9,
               (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9);
}

static conpool_pool* shared;
static volatile int measuring, stopping;

typedef struct {
  histogram latencies;
  uint64_t requests, bytes;
} caller_sums;

static void* call(void* argument) {
  caller_sums* sums = argument;
  conpool_request* request = make_request(shared);
  while (!stopping) {
    uint64_t began = clock_ns(CLOCK_MONOTONIC);
    conpool_response* response = NULL;
    conpool_error* error = NULL;
    size_t size = 0;
    if (conpool_perform(request, NULL, &response, &error) != CONPOOL_OK)
      die("perform", conpool_error_line(error));
    if (conpool_response_status(response) != 200) die("perform", "not answered with 200");
    conpool_response_body(response, &size);
    conpool_response_free(response);
    if (!measuring) continue;
    histogram_add(&sums->latencies, clock_ns(CLOCK_MONOTONIC) - began);
    sums->requests++;
    sums->bytes += size;
  }
  conpool_request_free(request);
  return NULL;
}

static void pause_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

static void run_threads(void) {
  caller_sums* sums = calloc((size_t)flags.threads, sizeof *sums);
  pthread_t threads[THREADS_MAX];
  uint64_t requests = 0, bytes = 0;
  shared = make_pool("thread");
  for (int i = 0; i < flags.threads; i++)
    pthread_create(&threads[i], NULL, call, &sums[i]);
  pause_for(flags.warm);
  uint64_t begin = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  measuring = 1;
  pause_for(flags.seconds);
  measuring = 0;
  uint64_t end = clock_ns(CLOCK_MONOTONIC), cpu_end = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  stopping = 1;
  for (int i = 0; i < flags.threads; i++) {
    pthread_join(threads[i], NULL);
    requests += sums[i].requests;
    bytes += sums[i].bytes;
    latencies.count += sums[i].latencies.count;
    for (int slot = 0; slot < SLOTS; slot++)
      latencies.slot[slot] += sums[i].latencies.slot[slot];
  }
  print_result("conpool+blocking-callers", requests, bytes, (double)(end - begin) / 1e9,
               (double)(cpu_end - cpu) / 1e9);
}

/* Requests all at once, so that each has a connection of its own; then none runs. */
static long resident_after(conpool_pool* pool, int count) {
  conpool_request* request = make_request(pool);
  conpool_queue* queue = NULL;
  conpool_event events[EVENTS];
  if (conpool_queue_new(pool, &queue) != CONPOOL_OK) die("queue", "refused");
  for (int i = 0; i < count; i++)
    start(request, queue, 0);
  for (int done = 0; done < count;) {
    int32_t got = conpool_queue_next(queue, events, EVENTS, CONPOOL_FOREVER);
    if (got < 0) die("queue_next", conpool_status_text(got));
    for (int32_t i = 0; i < got; i++)
      take(&events[i]);
    done += got;
  }
  conpool_queue_free(queue);
  conpool_request_free(request);
  malloc_trim(0);
  return resident_kib();
}

static void run_idle(void) {
  conpool_pool* pool = make_pool("caller");
  long one = resident_after(pool, 1);
  long all = resident_after(pool, flags.in_flight);
  printf(
      "{\"peer\":\"conpool\",\"scenario\":\"%s\",\"requests\":%d,\"bytes_per_conn\":%.0f,"
      "\"rss_kb\":%ld}\n",
      flags.scenario, flags.in_flight, (double)(all - one) * 1024 / (flags.in_flight - 1), all);
}

static void run_first(void) {
  conpool_pool* pool = make_pool("caller");
  conpool_response* response = NULL;
  conpool_error* error = NULL;
  if (conpool_perform(make_request(pool), NULL, &response, &error) != CONPOOL_OK)
    die("perform", conpool_error_line(error));
  if (conpool_response_status(response) != 200) die("perform", "not answered with 200");
  printf(
      "{\"peer\":\"conpool\",\"scenario\":\"%s\",\"requests\":1,\"first_ms\":%.3f,"
      "\"cpu_s\":%.6f,\"rss_kb\":%ld}\n",
      flags.scenario, (double)(clock_ns(CLOCK_REALTIME) - flags.wall_begin) / 1e6,
      (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9, resident_kib());
}

static void read_flags(int count, char** arguments) {
  int flag;
  while ((flag = getopt(count, arguments, "u:p:s:c:k:d:w:a:P:FRt:I1T:n:")) != -1) {
    switch (flag) {
      case 'u':
        flags.url = optarg;
        break;
      case 'p':
        flags.protocol = optarg;
        break;
      case 's':
        flags.scenario = optarg;
        break;
      case 'c':
        flags.in_flight = atoi(optarg);
        break;
      case 'k':
        flags.connections = atoi(optarg);
        break;
      case 'd':
        flags.seconds = atof(optarg);
        break;
      case 'w':
        flags.warm = atof(optarg);
        break;
      case 'a':
        flags.ca = optarg;
        break;
      case 'P':
        flags.post_kib = atoi(optarg);
        break;
      case 'F':
        flags.fresh = 1;
        break;
      case 'R':
        flags.no_resumption = 1;
        break;
      case 't':
        flags.threads = atoi(optarg);
        break;
      case 'n':
        flags.requests = strtoull(optarg, NULL, 10);
        break;
      case 'I':
        flags.idle = 1;
        break;
      case '1':
        flags.first = 1;
        break;
      case 'T':
        flags.wall_begin = strtoull(optarg, NULL, 10);
        break;
      default:
        exit(2);
    }
  }
  if (flags.url == NULL) die("usage", "conpool-bench -u URL [-p h1|h2|h2c] [-c N] [-k N] [-d S] …");
  if (flags.in_flight < 1 || flags.connections < 1) die("-c and -k", "at least 1");
  if (flags.threads < 0 || flags.threads > THREADS_MAX) die("-t", "at most 64");
}

int main(int count, char** arguments) {
  read_flags(count, arguments);
  if (flags.post_kib > 0) post_body = calloc(1, (size_t)flags.post_kib * 1024);
  if (flags.first) {
    run_first();
  } else if (flags.idle) {
    run_idle();
  } else if (flags.threads > 0) {
    run_threads();
  } else {
    run_load();
  }
  fflush(stdout);
  _exit(0); /* what is still in flight is not waited for */
}
