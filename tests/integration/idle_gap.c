/* Leases around a server's idle timeout; prints every lease that failed, and the sums, as JSON
 * lines.
 *
 * usage: idle_gap URL ROUNDS WORKERS LEAST_NS MOST_NS SEED NAME=VALUE...
 *
 * Each worker has a connection of its own (a partition) and leaves it idle for a random time
 * between two leases. A lease writes a byte and reads one back. A failed one tells the local port
 * and when the acquire was called and answered; the server's log tells when it had closed that
 * connection. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"

static conpool_pool* pool;
static const char* url;
static int64_t least, most;
static uint64_t seed;
static atomic_long left, done, refused, failed, reused;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void idle(uint64_t* state) {
  int64_t gap = least + (int64_t)(next_random(state) % (uint64_t)(most - least));
  struct timespec pause = {gap / 1000000000, gap % 1000000000};
  nanosleep(&pause, NULL); /* how long a connection lies idle is what is tested */
}

static void one_lease(conpool_endpoint* endpoint) {
  conpool_event event;
  char byte = 0;
  int64_t called = now_ns();
  conpool_status status = acquire(endpoint, &event);
  int64_t answered = now_ns();
  if (status != CONPOOL_OK) {
    atomic_fetch_add(&refused, 1);
    conpool_event_dispose(&event);
    return;
  }
  int used_before = event.value[0] == 1;
  status = send_all(event.object, "x", 1);
  if (status == CONPOOL_OK) status = receive(event.object, &byte, 1);
  if (status != CONPOOL_OK) {
    char* facts = NULL;
    if (conpool_connection_describe(event.object, &facts) != CONPOOL_OK) die("describe", "refused");
    pthread_mutex_lock(&printing);
    printf(
        "{\"called\":%lld,\"granted\":%lld,\"answered\":%lld,\"reused\":%d,\"status\":\"%s\","
        "\"facts\":%s}\n",
        (long long)called, (long long)event.time_ns, (long long)answered, used_before,
        conpool_status_name(status), facts);
    pthread_mutex_unlock(&printing);
    conpool_text_free(facts);
    atomic_fetch_add(&failed, 1);
  }
  atomic_fetch_add(&reused, used_before);
  conpool_connection_release(event.object,
                             status == CONPOOL_OK ? CONPOOL_REUSABLE : CONPOOL_BROKEN);
}

static void* run(void* number) {
  uint64_t state = (seed + (uint64_t)(uintptr_t)number) * 0x9E3779B97F4A7C15u | 1;
  char partition[32];
  snprintf(partition, sizeof partition, "worker %d", (int)(uintptr_t)number);
  conpool_endpoint* endpoint = endpoint_of(pool, url, partition);
  while (atomic_fetch_sub(&left, 1) > 0) {
    one_lease(endpoint);
    atomic_fetch_add(&done, 1);
    idle(&state);
  }
  conpool_endpoint_free(endpoint);
  return NULL;
}

int main(int count, char** arguments) {
  if (count < 7) die("usage", "idle_gap URL ROUNDS WORKERS LEAST_NS MOST_NS SEED NAME=VALUE...");
  url = arguments[1];
  left = atol(arguments[2]);
  int workers = atoi(arguments[3]);
  least = atoll(arguments[4]);
  most = atoll(arguments[5]);
  seed = (uint64_t)atoll(arguments[6]);
  pool = pool_of(count - 7, arguments + 7);
  pthread_t* ids = calloc((size_t)workers, sizeof *ids);
  for (int i = 0; i < workers; i++)
    pthread_create(&ids[i], NULL, run, (void*)(uintptr_t)(i + 1));
  for (int i = 0; i < workers; i++)
    pthread_join(ids[i], NULL);
  conpool_pool_free(pool);
  free(ids);
  printf("{\"rounds\":%ld,\"reused\":%ld,\"refused\":%ld,\"failed\":%ld}\n", done, reused, refused,
         failed);
  return 0;
}
