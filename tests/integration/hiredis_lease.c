/* hiredis on a lent descriptor, lease after lease; prints the connection's id at the server in each
 * as JSON.
 *
 * usage: hiredis_lease URL ROUNDS NAME=VALUE... */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static long long command(redisContext* redis, const char* text) {
  redisReply* reply = redisCommand(redis, text);
  if (reply == NULL) die(text, redis->errstr);
  if (reply->type == REDIS_REPLY_ERROR) die(text, reply->str);
  long long number = reply->integer;
  freeReplyObject(reply);
  return number;
}

int main(int count, char** arguments) {
  if (count < 3) die("usage", "hiredis_lease URL ROUNDS NAME=VALUE...");
  int rounds = atoi(arguments[2]);
  int fds = baseline_fds();
  conpool_pool* pool = pool_of(count - 3, arguments + 3);
  conpool_endpoint* endpoint = endpoint_of(pool, arguments[1], NULL);
  long long total = 0;
  printf("{\"ids\":[");
  for (int i = 0; i < rounds; i++) {
    conpool_event event;
    char answer[64];
    if (acquire(endpoint, &event) != CONPOOL_OK) die("acquire", conpool_error_line(event.object));
    conpool_connection* connection = event.object;
    if (i % 2 == 1) { /* the pool's own reading works again after a lent lease */
      if (ask(connection, "INCR rounds\r\n", answer, sizeof answer) != CONPOOL_OK) {
        die("ask", "failed");
      }
    }
    int32_t fd = -1;
    conpool_chunk* early = NULL;
    if (conpool_connection_lend(connection, 1, &fd, &early) != CONPOOL_OK) die("lend", "refused");
    if (early != NULL) die("lend", "bytes that nobody asked for");
    redisContext* redis = redisConnectFd(fd);
    if (redis == NULL || redis->err) die("redisConnectFd", "failed");
    redis->flags |= REDIS_BLOCK;
    printf("%s%lld", i == 0 ? "" : ",", command(redis, "CLIENT ID"));
    total = command(redis, "INCR rounds");
    close(redisFreeKeepFd(redis)); /* the lent descriptor is ours to close */
    conpool_connection_release(connection, CONPOOL_REUSABLE);
  }
  conpool_endpoint_free(endpoint);
  conpool_pool_free(pool);
  printf("],\"total\":%lld,\"fds_before\":%d,\"fds_after\":%d}\n", total, fds, settled_fds(fds));
  return 0;
}
