/* hiredis on a connection of the pool: lends its descriptor, lets hiredis talk, takes it back. */
#include <conpool/conpool.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  conpool_pool* pool = NULL;
  conpool_endpoint* at = NULL;
  conpool_op op = 0;
  conpool_event lease = {0};
  int32_t fd = -1;
  conpool_chunk* early = NULL; /* bytes that came before the loan; Redis sends none unasked */
  conpool_pool_new(NULL, &pool, NULL);
  conpool_endpoint_new(pool, argv[argc - 1], CONPOOL_NUL_TERMINATED, NULL, &at, NULL);
  conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
  if (conpool_op_wait(op, CONPOOL_FOREVER, &lease)) return puts("usage: hiredis URL"), 2;
  if (lease.status) return puts(conpool_error_report(lease.object)), 4;
  if (conpool_connection_lend(lease.object, 1, &fd, &early)) return puts("not lent"), 4;
  redisContext* redis = redisConnectFd(fd);
  redis->flags |= REDIS_BLOCK; /* redisConnectFd takes the descriptor for a non-blocking one */
  redisReply* reply = redisCommand(redis, "PING");
  puts(reply ? reply->str : redis->errstr);
  int how = reply ? CONPOOL_REUSABLE : CONPOOL_BROKEN;
  freeReplyObject(reply);
  close(redisFreeKeepFd(redis)); /* the duplicate is ours; the connection stays with the pool */
  conpool_connection_release(lease.object, how);
  conpool_endpoint_free(at);
  conpool_pool_free(pool);
  return how == CONPOOL_REUSABLE ? 0 : 4;
}
