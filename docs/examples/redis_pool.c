/* Pooled Redis: threads share two connections, and hiredis speaks on the descriptor of each lease.
 *
 * usage: redis_pool URL THREADS TIMES      redis_pool tcp://127.0.0.1:6379 4 100
 *
 * Each thread increments a counter so many times, every time with a lease of its own. Waiting for a
 * free connection, closing broken ones and opening new ones is the pool's business. hiredis.c shows
 * the loan of a descriptor alone. */
#include <conpool/conpool.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "number_of.h"

typedef struct worker {
  pthread_t thread;
  conpool_endpoint* redis;
  int times, done, connections;
} worker;

/* INCR over a lent descriptor; how the lease ends. */
static int increment(conpool_connection* connection) {
  int32_t fd = -1;
  conpool_chunk* early = NULL; /* Redis sends nothing unasked */
  if (conpool_connection_lend(connection, 1, &fd, &early)) return CONPOOL_BROKEN;
  conpool_chunk_free(early);
  redisContext* redis = redisConnectFd(fd);
  if (redis == NULL) return close(fd), CONPOOL_BROKEN;
  redis->flags |= REDIS_BLOCK; /* redisConnectFd takes the descriptor for a non-blocking one */
  redisReply* reply = redisCommand(redis, "INCR conpool:example");
  const int how = reply && reply->type == REDIS_REPLY_INTEGER ? CONPOOL_REUSABLE : CONPOOL_BROKEN;
  freeReplyObject(reply);
  close(redisFreeKeepFd(redis)); /* the duplicate is ours; the connection stays with the pool */
  return how;
}

static void* work(void* argument) {
  worker* self = argument;
  for (int i = 0; i < self->times; i++) {
    conpool_op op = 0;
    conpool_event lease = {0};
    if (conpool_endpoint_acquire(self->redis, NULL, NULL, 0, &op)) continue;
    if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) continue;
    if (lease.status != CONPOOL_OK) {
      fprintf(stderr, "%s\n", lease.object ? conpool_error_report(lease.object) : "no connection");
      conpool_event_dispose(&lease);
      continue;
    }
    const int how = increment(lease.object);
    self->connections += lease.value[0] == 0; /* 1: it was leased before */
    self->done += how == CONPOOL_REUSABLE;
    conpool_connection_release(lease.object, how);
  }
  return NULL;
}

static conpool_endpoint* two_connections(conpool_pool* pool, const char* url) {
  conpool_config* config = NULL;
  conpool_endpoint* endpoint = NULL;
  conpool_error* error = NULL;
  if (conpool_config_new(&config)) return NULL;
  conpool_config_set(config, "endpoint.max_connections", "2", CONPOOL_NUL_TERMINATED, NULL);
  if (conpool_endpoint_new(pool, url, CONPOOL_NUL_TERMINATED, config, &endpoint, &error)) {
    fprintf(stderr, "%s\n", conpool_error_report(error));
    conpool_error_free(error);
  }
  conpool_config_free(config);
  return endpoint;
}

int main(int argc, char** argv) {
  const int threads = argc == 4 ? number_of(argv[2], 1, 1000) : -1;
  const int times = argc == 4 ? number_of(argv[3], 1, 1000000) : -1;
  if (threads < 1 || times < 1) return fputs("usage: redis_pool URL THREADS TIMES\n", stderr), 2;
  conpool_pool* pool = NULL;
  if (conpool_pool_new(NULL, &pool, NULL)) return fputs("no pool\n", stderr), 1;
  conpool_endpoint* redis = two_connections(pool, argv[1]);
  worker* workers = calloc((size_t)threads, sizeof *workers);
  if (redis == NULL || workers == NULL) {
    free(workers);
    conpool_endpoint_free(redis);
    conpool_pool_free(pool);
    return 2;
  }
  int started = 0, done = 0, connections = 0;
  for (; started < threads; started++) {
    workers[started].redis = redis;
    workers[started].times = times;
    if (pthread_create(&workers[started].thread, NULL, work, &workers[started])) break;
  }
  if (started < threads) fprintf(stderr, "thread %d cannot be started\n", started + 1);
  for (int i = 0; i < started; i++) {
    pthread_join(workers[i].thread, NULL);
    done += workers[i].done;
    connections += workers[i].connections;
  }
  printf("%d of %d increments over %d connections\n", done, threads * times, connections);
  free(workers);
  conpool_endpoint_free(redis);
  conpool_pool_free(pool);
  return done == threads * times ? 0 : 4;
}
