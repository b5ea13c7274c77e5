/* Fetches URLs at once inside the program's own epoll loop, which also watches for Ctrl-C.
 *
 * usage: epoll_loop URL...
 *
 * The queue's descriptor is readable exactly while there are events, so it is one more descriptor
 * of the loop. Ctrl-C cancels what still runs; each request ends all the same, and the loop with
 * it. */
#include <conpool/conpool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Prints how a request ended; its number is the event's user_data. */
static int report(const conpool_event* event, char** urls) {
  const char* url = urls[event->user_data];
  if (event->status != CONPOOL_OK) {
    printf("%s: %s\n", url, event->object ? conpool_error_line(event->object) : "failed");
    return 1;
  }
  size_t size = 0;
  conpool_response_body(event->object, &size);
  printf("%s: %d, %zu bytes\n", url, conpool_response_status(event->object), size);
  return 0;
}

static int start(conpool_pool* pool, conpool_queue* queue, char** urls, int i, conpool_op* op) {
  conpool_request* request = NULL;
  conpool_error* error = NULL;
  if (conpool_request_new(pool, "GET", urls[i], CONPOOL_NUL_TERMINATED, NULL, &request, &error) ||
      conpool_request_start(request, NULL, CONPOOL_WHOLE, queue, (uint64_t)i, op, &error)) {
    printf("%s: %s\n", urls[i], conpool_error_line(error));
    conpool_error_free(error);
  }
  conpool_request_free(request); /* the op that runs keeps what it needs */
  return *op != 0;
}

static int watch_for_interrupt(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

static void watch(int loop, int fd) {
  struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(loop, EPOLL_CTL_ADD, fd, &interest);
}

int main(int argc, char** argv) {
  const int count = argc - 1;
  conpool_pool* pool = NULL;
  conpool_queue* queue = NULL;
  conpool_error* error = NULL;
  if (count < 1) return puts("usage: epoll_loop URL..."), 2;
  const int interrupt = watch_for_interrupt();
  if (conpool_pool_new(NULL, &pool, &error) || conpool_queue_new(pool, &queue)) {
    puts(error ? conpool_error_report(error) : "no queue");
    conpool_error_free(error);
    conpool_pool_free(pool);
    return 1;
  }
  const int events_fd = conpool_queue_fd(queue);
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  watch(loop, events_fd);
  watch(loop, interrupt);

  conpool_op* ops = calloc((size_t)count, sizeof *ops);
  if (ops == NULL) return puts("out of memory"), 1;
  int running = 0, failed = 0;
  for (int i = 0; i < count; i++)
    running += start(pool, queue, argv + 1, i, &ops[i]);
  failed = count - running;

  while (running > 0) {
    struct epoll_event ready;
    if (epoll_wait(loop, &ready, 1, -1) != 1) continue;
    if (ready.data.fd == interrupt) {
      struct signalfd_siginfo signal;
      if (read(interrupt, &signal, sizeof signal) < 0) continue;
      for (int i = 0; i < count; i++)
        conpool_op_cancel(ops[i]); /* of one that has ended this is harmless */
      continue;
    }
    conpool_event events[16];
    const int32_t taken = conpool_queue_next(queue, events, 16, 0);
    for (int32_t i = 0; i < taken; i++) {
      if (events[i].flags & CONPOOL_EVENT_FINAL) {
        failed += report(&events[i], argv + 1);
        running--;
      }
      conpool_event_dispose(&events[i]);
    }
  }
  free(ops);
  close(loop);
  close(interrupt);
  conpool_queue_free(queue);
  conpool_pool_free(pool);
  return failed == 0 ? 0 : 4;
}
