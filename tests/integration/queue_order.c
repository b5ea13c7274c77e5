/* One thread that keeps many acquires waiting at one queue; prints in which order they were granted
 * as JSON.
 *
 * usage: queue_order URL ROUNDS WAITING NAME=VALUE...
 *
 * Every lease does one PING through the queue and ends; the next acquire starts then. Acquires are
 * numbered in the order of their calls, and their events must come in that order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { BATCH = 16 };

static conpool_endpoint* endpoint;
static conpool_queue* queue;
static int64_t rounds, started, granted, finished, out_of_order, failures, reused;

/* What a read's user_data points to. */
typedef struct lease {
  conpool_connection* connection;
} lease;

static void start_one(void) {
  conpool_op op = 0;
  if (started == rounds) return;
  if (conpool_endpoint_acquire(endpoint, NULL, queue, (uint64_t)started, &op) != CONPOOL_OK) {
    die("acquire", "refused");
  }
  started++;
}

static void on_granted(conpool_event* event) {
  out_of_order += event->user_data != (uint64_t)granted;
  granted++;
  if (event->status != CONPOOL_OK) {
    failures++;
    finished++;
    start_one();
    return;
  }
  conpool_op op = 0;
  lease* held = malloc(sizeof *held);
  held->connection = event->object;
  event->object = NULL;
  reused += event->value[0] == 1;
  if (conpool_connection_read(held->connection, 7, queue, (uint64_t)(uintptr_t)held, &op) !=
          CONPOOL_OK ||
      conpool_connection_write(held->connection, "PING\r\n", 6, queue, 0, &op) != CONPOOL_OK) {
    die("read and write", "refused");
  }
}

static void on_read(conpool_event* event) {
  lease* held = (lease*)(uintptr_t)event->user_data;
  int good = event->status == CONPOOL_OK && event->object != NULL &&
             conpool_chunk_size(event->object) == 7 &&
             memcmp(conpool_chunk_data(event->object), "+PONG\r\n", 7) == 0;
  failures += !good;
  conpool_connection_release(held->connection, good ? CONPOOL_REUSABLE : CONPOOL_BROKEN);
  free(held);
  finished++;
  start_one();
}

int main(int count, char** arguments) {
  if (count < 4) die("usage", "queue_order URL ROUNDS WAITING NAME=VALUE...");
  rounds = atoll(arguments[2]);
  int64_t waiting = atoll(arguments[3]);
  int fds = baseline_fds();
  conpool_pool* pool = pool_of(count - 4, arguments + 4);
  endpoint = endpoint_of(pool, arguments[1], NULL);
  if (conpool_queue_new(pool, &queue) != CONPOOL_OK) die("queue", "refused");

  int64_t start = now_ns();
  while (started < rounds && started < waiting)
    start_one();
  while (finished < rounds) {
    conpool_event events[BATCH];
    int32_t came = conpool_queue_next(queue, events, BATCH, (int64_t)30 * 1000000000);
    if (came <= 0) die("queue_next", "nothing came for 30 s");
    for (int32_t i = 0; i < came; i++) {
      if (events[i].kind == CONPOOL_EVENT_CONNECTION) on_granted(&events[i]);
      if (events[i].kind == CONPOOL_EVENT_READ) on_read(&events[i]);
      conpool_event_dispose(&events[i]);
    }
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  conpool_queue_free(queue);
  conpool_endpoint_free(endpoint);
  conpool_pool_free(pool);
  printf(
      "{\"granted\":%lld,\"out_of_order\":%lld,\"failures\":%lld,\"reused\":%lld,"
      "\"rounds_per_second\":%.0f,\"fds_before\":%d,\"fds_after\":%d}\n",
      (long long)granted, (long long)out_of_order, (long long)failures, (long long)reused,
      (double)rounds / seconds, fds, settled_fds(fds));
  return 0;
}
