/* Threads that acquire, use and release in rounds against a Redis; prints what they saw as JSON.
 *
 * usage: lease_many URL ROUNDS THREADS NAME=VALUE...
 *
 * Each round is one INCR, so the server counts them. Acquires are numbered under a lock, in the
 * order of their calls; the times of their grants must be in the same order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static conpool_endpoint* endpoint;
static pthread_mutex_t numbering = PTHREAD_MUTEX_INITIALIZER;
static int64_t rounds, next_ticket;
static int64_t* granted_at;
static atomic_long failures, wrong_answers, leased, leased_most, first_failure;

static int64_t start_acquire(conpool_op* op) {
  int64_t ticket = -1;
  pthread_mutex_lock(&numbering);
  if (next_ticket < rounds) {
    if (conpool_endpoint_acquire(endpoint, NULL, NULL, 0, op) != CONPOOL_OK)
      die("acquire", "refused");
    ticket = next_ticket++;
  }
  pthread_mutex_unlock(&numbering);
  return ticket;
}

static void fail(conpool_status status) {
  long none = 0;
  atomic_fetch_add(&failures, 1);
  atomic_compare_exchange_strong(&first_failure, &none, status);
}

static void* run(void* unused) {
  conpool_op op = 0;
  for (int64_t ticket = start_acquire(&op); ticket >= 0; ticket = start_acquire(&op)) {
    conpool_event event;
    char answer[64];
    memset(&event, 0, sizeof event);
    if (conpool_op_wait(op, CONPOOL_FOREVER, &event) != CONPOOL_OK) die("op_wait", "failed");
    granted_at[ticket] = event.time_ns;
    if (event.status != CONPOOL_OK) {
      fail(event.status);
      conpool_event_dispose(&event);
      continue;
    }
    long now = atomic_fetch_add(&leased, 1) + 1;
    long most = atomic_load(&leased_most);
    while (now > most && !atomic_compare_exchange_weak(&leased_most, &most, now))
      continue;
    conpool_status status = ask(event.object, "INCR rounds\r\n", answer, sizeof answer);
    if (status != CONPOOL_OK) fail(status);
    if (status == CONPOOL_OK && answer[0] != ':') atomic_fetch_add(&wrong_answers, 1);
    atomic_fetch_sub(&leased, 1);
    conpool_connection_release(event.object,
                               status == CONPOOL_OK ? CONPOOL_REUSABLE : CONPOOL_BROKEN);
  }
  return unused;
}

int main(int count, char** arguments) {
  if (count < 4) die("usage", "lease_many URL ROUNDS THREADS NAME=VALUE...");
  rounds = atoll(arguments[2]);
  int threads = atoi(arguments[3]);
  pthread_t* ids = calloc((size_t)threads, sizeof *ids);
  granted_at = calloc((size_t)rounds, sizeof *granted_at);
  int fds = baseline_fds();

  conpool_pool* pool = pool_of(count - 4, arguments + 4);
  endpoint = endpoint_of(pool, arguments[1], NULL);
  int64_t start = now_ns();
  for (int i = 0; i < threads; i++)
    pthread_create(&ids[i], NULL, run, NULL);
  for (int i = 0; i < threads; i++)
    pthread_join(ids[i], NULL);
  double seconds = (double)(now_ns() - start) / 1e9;

  char* metrics = NULL;
  if (conpool_pool_metrics(pool, "json", &metrics) != CONPOOL_OK) die("metrics", "refused");
  for (char* at = metrics; *at != 0; at++)
    *at = *at == '\n' ? ' ' : *at; /* one line */
  int64_t out_of_order = 0;
  for (int64_t i = 1; i < rounds; i++)
    out_of_order += granted_at[i] < granted_at[i - 1];
  conpool_endpoint_free(endpoint);
  conpool_pool_free(pool);

  printf("{\"rounds\":%lld,\"failures\":%ld,\"first_failure\":", (long long)rounds, failures);
  print_json_text(conpool_status_name((conpool_status)first_failure));
  printf(",\"wrong_answers\":%ld,\"leased_most\":%ld,\"out_of_order\":%lld,\"seconds\":%.3f",
         wrong_answers, leased_most, (long long)out_of_order, seconds);
  printf(",\"rounds_per_second\":%.0f,\"fds_before\":%d,\"fds_after\":%d,\"metrics\":%s}\n",
         (double)rounds / seconds, fds, settled_fds(fds), metrics);
  conpool_text_free(metrics);
  free(granted_at);
  free(ids);
  return 0;
}
