/* A client of the library for scenario_test.py: does what lines on stdin say, tells as JSON lines.
 *
 * usage: dialer [OPTION=VALUE]…        options of the pool
 *
 * Commands are "NUMBER VERB WORDS…"; each is answered by {"ack":NUMBER} or one with "error":
 *   endpoint TAG URL [OPTION=VALUE]…   names an endpoint; tags are 0 … 31
 *   acquire TAG FIRST COUNT            starts leases FIRST … FIRST+COUNT-1
 *   cancel FIRST COUNT                 cancels them
 *   release FIRST COUNT HOW            0: broken, 1: reusable; leases that were not won are skipped
 *   say ID                             writes five bytes and reads what comes back
 *   events | metrics | explain TAG     a text of the library, as {"text":…}
 *   close | free                       the pool: within no time; at once
 *   fds                                how many descriptors are open, as {"fds":…}
 * Leases end as {"lease":ID,"status":…} with "connection" or "attempts" and "report".
 */
#include <conpool/conpool.h>
#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ENDPOINTS = 32, MAX_LEASES = 20000, MAX_LINE = 16384, MAX_WORDS = 64, BATCH = 64 };

static conpool_pool* pool;
static conpool_queue* queue;
static conpool_endpoint* endpoints[MAX_ENDPOINTS];
static conpool_op ops[MAX_LEASES];
static conpool_connection* leases[MAX_LEASES];

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void put_text(const char* text) {
  const unsigned char* at = (const unsigned char*)(text == NULL ? "" : text);
  putchar('"');
  for (; *at != 0; ++at) {
    if (*at == '"' || *at == '\\') {
      printf("\\%c", *at);
    } else if (*at < 0x20) {
      printf("\\u%04x", *at);
    } else {
      putchar(*at);
    }
  }
  putchar('"');
}

static void put_member(const char* name, const char* text) {
  printf(",\"%s\":", name);
  put_text(text);
}

static void end_line(void) {
  puts("}");
  fflush(stdout);
}

static void begin_line(void) {
  printf("{\"time_ns\":%" PRId64, now_ns());
}

/* What a failed lease's error says. */
static void put_error(const conpool_error* error) {
  size_t i;
  if (error == NULL) return;
  put_member("line", conpool_error_line(error));
  put_member("report", conpool_error_report(error));
  printf(",\"attempts\":[");
  for (i = 0; i < conpool_error_attempt_count(error); ++i) {
    printf("%s{\"started_ns\":%" PRId64 ",\"duration_ns\":%" PRId64 ",\"phase\":%d,\"errno\":%d",
           i == 0 ? "" : ",", conpool_error_attempt_started(error, i),
           conpool_error_attempt_duration(error, i), (int)conpool_error_attempt_phase(error, i),
           (int)conpool_error_attempt_os_errno(error, i));
    put_member("target", conpool_error_attempt_target(error, i));
    put_member("status", conpool_status_name(conpool_error_attempt_status(error, i)));
    putchar('}');
  }
  putchar(']');
}

static void on_lease(conpool_event* event) {
  begin_line();
  printf(",\"lease\":%" PRIu64 ",\"ended_ns\":%" PRId64, event->user_data, event->time_ns);
  put_member("status", conpool_status_name(event->status));
  ops[event->user_data] = 0;
  if (event->status != CONPOOL_OK) {
    put_error(event->object);
  } else {
    char* facts = NULL;
    leases[event->user_data] = event->object;
    event->object = NULL;
    if (conpool_connection_describe(leases[event->user_data], &facts) == CONPOOL_OK) {
      printf(",\"connection\":%s", facts);
      conpool_text_free(facts);
    }
  }
  end_line();
}

static void on_event(conpool_event* event) {
  if (event->kind == CONPOOL_EVENT_CONNECTION) {
    on_lease(event);
  } else if (event->kind == CONPOOL_EVENT_READ) {
    begin_line();
    printf(",\"heard\":%" PRIu64 ",\"bytes\":%" PRIu64, event->user_data, event->value[0]);
    put_member("status", conpool_status_name(event->status));
    end_line();
  }
  conpool_event_dispose(event);
}

static void take_events(void) {
  conpool_event events[BATCH];
  int32_t count;
  while ((count = conpool_queue_next(queue, events, BATCH, 0)) > 0) {
    int32_t i;
    for (i = 0; i < count; ++i)
      on_event(&events[i]);
  }
}

static const char* set_options(conpool_config* config, char** words, int count) {
  static char problem[512];
  int i;
  for (i = 0; i < count; ++i) {
    conpool_error* error = NULL;
    char* value = strchr(words[i], '=');
    if (value == NULL) return "an option needs NAME=VALUE";
    *value++ = 0;
    if (conpool_config_set(config, words[i], value, CONPOOL_NUL_TERMINATED, &error) != CONPOOL_OK) {
      snprintf(problem, sizeof problem, "%s", conpool_error_line(error));
      conpool_error_free(error);
      return problem;
    }
  }
  return NULL;
}

static const char* make_endpoint(int tag, const char* url, char** options, int count) {
  static char problem[512];
  conpool_config* config = NULL;
  conpool_error* error = NULL;
  const char* wrong;
  if (tag < 0 || tag >= MAX_ENDPOINTS || endpoints[tag] != NULL) return "no free tag";
  if (conpool_config_new(&config) != CONPOOL_OK) return "no memory";
  wrong = set_options(config, options, count);
  if (wrong == NULL && conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, config,
                                            &endpoints[tag], &error) != CONPOOL_OK) {
    snprintf(problem, sizeof problem, "%s", conpool_error_line(error));
    conpool_error_free(error);
    wrong = problem;
  }
  conpool_config_free(config);
  return wrong;
}

static int is_range(int first, int count) {
  return first >= 0 && count >= 0 && first + count <= MAX_LEASES;
}

static const char* acquire(int tag, int first, int count) {
  int i;
  if (tag < 0 || tag >= MAX_ENDPOINTS || endpoints[tag] == NULL) return "no such endpoint";
  if (!is_range(first, count)) return "no such leases";
  for (i = first; i < first + count; ++i) {
    const conpool_status status =
        conpool_endpoint_acquire(endpoints[tag], NULL, queue, (uint64_t)i, &ops[i]);
    if (status != CONPOOL_OK) return conpool_status_name(status);
  }
  return NULL;
}

static const char* cancel(int first, int count) {
  int i;
  if (!is_range(first, count)) return "no such leases";
  for (i = first; i < first + count; ++i) {
    if (ops[i] != 0) conpool_op_cancel(ops[i]);
  }
  return NULL;
}

static const char* release(int first, int count, int how) {
  int i;
  if (!is_range(first, count)) return "no such leases";
  for (i = first; i < first + count; ++i) {
    if (leases[i] != NULL) conpool_connection_release(leases[i], how);
    leases[i] = NULL;
  }
  return NULL;
}

static const char* say(int id) {
  conpool_op op;
  if (!is_range(id, 1) || leases[id] == NULL) return "no such lease";
  if (conpool_connection_write(leases[id], "hello", 5, queue, (uint64_t)id, &op) != CONPOOL_OK)
    return "cannot write";
  if (conpool_connection_read(leases[id], 0, queue, (uint64_t)id, &op) != CONPOOL_OK)
    return "cannot read";
  return NULL;
}

static const char* show(const char* what, int tag) {
  char* text = NULL;
  conpool_status status;
  if (strcmp(what, "events") == 0) {
    status = conpool_pool_events(pool, "jsonl", &text);
  } else if (strcmp(what, "metrics") == 0) {
    status = conpool_pool_metrics(pool, "json", &text);
  } else {
    status = conpool_pool_explain(pool, endpoints[tag], &text);
  }
  if (status != CONPOOL_OK) return conpool_status_name(status);
  begin_line();
  put_member("text", text);
  end_line();
  conpool_text_free(text);
  return NULL;
}

static void count_descriptors(void) {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == NULL) return;
  while (readdir(directory) != NULL)
    ++count;
  closedir(directory);
  begin_line();
  printf(",\"fds\":%d", count - 3); /* ".", ".." and the directory itself */
  end_line();
}

static void free_pool(void) {
  int i;
  release(0, MAX_LEASES, CONPOOL_BROKEN);
  for (i = 0; i < MAX_ENDPOINTS; ++i) {
    conpool_endpoint_free(endpoints[i]);
    endpoints[i] = NULL;
  }
  conpool_pool_free(pool);
  pool = NULL;
  take_events();
}

static const char* run(char** words, int count) {
  const char* verb = words[0];
  int number[3] = {0, 0, 0};
  int i;
  for (i = 0; i < 3 && i + 1 < count; ++i)
    number[i] = atoi(words[i + 1]);
  if (strcmp(verb, "fds") == 0) {
    count_descriptors();
    return NULL;
  }
  if (pool == NULL) return "the pool is gone";
  if (strcmp(verb, "endpoint") == 0 && count >= 3)
    return make_endpoint(number[0], words[2], words + 3, count - 3);
  if (strcmp(verb, "acquire") == 0 && count == 4) return acquire(number[0], number[1], number[2]);
  if (strcmp(verb, "cancel") == 0 && count == 3) return cancel(number[0], number[1]);
  if (strcmp(verb, "release") == 0 && count == 4) return release(number[0], number[1], number[2]);
  if (strcmp(verb, "say") == 0 && count == 2) return say(number[0]);
  if (strcmp(verb, "events") == 0 || strcmp(verb, "metrics") == 0 || strcmp(verb, "explain") == 0)
    return show(verb, number[0]);
  if (strcmp(verb, "close") == 0) {
    conpool_pool_close(pool, 0, NULL, 0, NULL);
    return NULL;
  }
  if (strcmp(verb, "free") == 0) {
    free_pool();
    return NULL;
  }
  return "no such command";
}

static void on_command(char* line) {
  char* words[MAX_WORDS];
  char* rest = NULL;
  char* word = strtok_r(line, " ", &rest);
  int count = 0;
  const char* wrong;
  const char* number = word;
  while (word != NULL && count < MAX_WORDS) {
    word = strtok_r(NULL, " ", &rest);
    if (word != NULL) words[count++] = word;
  }
  if (count == 0) return;
  wrong = run(words, count);
  begin_line();
  printf(",\"ack\":%s", number);
  if (wrong != NULL) put_member("error", wrong);
  end_line();
}

/* 0 at the end of stdin. */
static int take_commands(void) {
  static char buffer[MAX_LINE];
  static size_t used;
  char* end;
  const ssize_t size = read(STDIN_FILENO, buffer + used, sizeof buffer - used);
  if (size <= 0) return 0;
  used += (size_t)size;
  while ((end = memchr(buffer, '\n', used)) != NULL) {
    const size_t taken = (size_t)(end - buffer) + 1;
    *end = 0;
    on_command(buffer);
    memmove(buffer, buffer + taken, used - taken);
    used -= taken;
  }
  return used < sizeof buffer;
}

int main(int argc, char** argv) {
  conpool_config* config = NULL;
  conpool_error* error = NULL;
  struct pollfd watched[2];
  const char* wrong;
  conpool_config_new(&config);
  wrong = set_options(config, argv + 1, argc - 1);
  if (wrong == NULL && conpool_pool_new(config, &pool, &error) != CONPOOL_OK)
    wrong = conpool_error_line(error);
  if (wrong == NULL && conpool_queue_new(pool, &queue) != CONPOOL_OK) wrong = "no queue";
  conpool_config_free(config);
  if (wrong != NULL) {
    fprintf(stderr, "dialer: %s\n", wrong);
    return 2;
  }
  watched[0].fd = STDIN_FILENO;
  watched[1].fd = conpool_queue_fd(queue);
  watched[0].events = watched[1].events = POLLIN;
  begin_line();
  printf(",\"ready\":true");
  end_line();
  for (;;) {
    if (poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents != 0) take_events();
    if (watched[0].revents != 0 && !take_commands()) break;
  }
  if (pool != NULL) free_pool();
  conpool_queue_free(queue);
  conpool_error_free(error);
  return 0;
}
