/* Logins of PostgreSQL as partitions of one pool, in interleaved rounds; prints who each lease was
 * as JSON lines.
 *
 * usage: postgres_lease URL USERS ROUNDS NAME=VALUE...      USERS separated by commas
 *
 * A new connection logs in; a used one is asked at once. The names of users come from the server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "pg_wire.h"

enum { USERS = 8, HELD = 3 };

static void print_failure(const conpool_event* event) {
  const conpool_error* error = event->object;
  printf("{\"status\":");
  print_json_text(conpool_status_name(event->status));
  printf(",\"line\":");
  print_json_text(error == NULL ? "" : conpool_error_line(error));
  printf("}\n");
}

static void use(conpool_event* event, const char* user) {
  pg_row row;
  if (event->value[0] == 0 && pg_login(event->object, user, &row) != CONPOOL_OK) {
    die("login", row.message);
  }
  if (pg_query(event->object, "select current_user, pg_backend_pid()", &row) != CONPOOL_OK) {
    die("query", row.message);
  }
  printf("{\"wanted\":");
  print_json_text(user);
  printf(",\"user\":");
  print_json_text(row.value[0]);
  printf(",\"backend\":%s,\"reused\":%d,\"facts\":", row.value[1], (int)event->value[0]);
  char* facts = NULL;
  if (conpool_connection_describe(event->object, &facts) != CONPOOL_OK) die("describe", "refused");
  printf("%s}\n", facts);
  conpool_text_free(facts);
}

int main(int count, char** arguments) {
  if (count < 4) die("usage", "postgres_lease URL USERS ROUNDS NAME=VALUE...");
  char* user[USERS];
  conpool_endpoint* endpoint[USERS];
  int users = 0;
  int rounds = atoi(arguments[3]);
  conpool_pool* pool = pool_of(count - 4, arguments + 4);
  for (char* word = strtok(arguments[2], ","); word != NULL && users < USERS;
       word = strtok(NULL, ",")) {
    user[users] = word;
    endpoint[users++] = endpoint_of(pool, arguments[1], word);
  }
  for (int round = 0; round < rounds; round++) {
    conpool_event held[USERS][HELD];
    int depth = 1 + round % HELD; /* some rounds hold several connections of each login */
    for (int i = 0; i < depth * users; i++) {
      conpool_event* event = &held[i % users][i / users];
      if (acquire(endpoint[i % users], event) != CONPOOL_OK) {
        print_failure(event);
        conpool_event_dispose(event);
        for (int e = 0; e < users; e++)
          conpool_endpoint_free(endpoint[e]);
        conpool_pool_free(pool);
        return 1;
      }
    }
    for (int i = depth * users - 1; i >= 0; i--) {
      use(&held[i % users][i / users], user[i % users]);
      conpool_connection_release(held[i % users][i / users].object, CONPOOL_REUSABLE);
    }
  }
  for (int i = 0; i < users; i++)
    conpool_endpoint_free(endpoint[i]);
  conpool_pool_free(pool);
  return 0;
}
