/* A libuv program that polls a URL: every interval it starts a request, whose end it gets inside
 * the loop.
 *
 * usage: uv_loop URL INTERVAL_MS TIMES
 *
 * uv_poll_t watches the queue's descriptor. A poll that takes longer than the interval delays no
 * other; two may run at once. */
#include <conpool/conpool.h>
#include <stdio.h>
#include <uv.h>

#include "number_of.h"

typedef struct poller {
  uv_timer_t timer;
  uv_poll_t events;
  conpool_queue* queue;
  conpool_request* request; /* started again and again, also while it runs */
  int to_start, running, failed;
} poller;

static void stop_when_done(poller* self) {
  if (self->to_start > 0 || self->running > 0) return;
  uv_close((uv_handle_t*)&self->timer, NULL);
  uv_close((uv_handle_t*)&self->events, NULL);
}

static void on_timer(uv_timer_t* timer) {
  poller* self = timer->data;
  conpool_op op = 0;
  conpool_error* error = NULL;
  const uint64_t number = (uint64_t)self->to_start--;
  if (self->to_start == 0) uv_timer_stop(timer);
  if (conpool_request_start(self->request, NULL, CONPOOL_WHOLE, self->queue, number, &op, &error)) {
    puts(conpool_error_line(error));
    conpool_error_free(error);
    self->failed++;
  } else {
    self->running++;
  }
  stop_when_done(self);
}

static void on_events(uv_poll_t* poll, int status, int readable) {
  poller* self = poll->data;
  conpool_event events[16];
  (void)status;
  (void)readable;
  const int32_t taken = conpool_queue_next(self->queue, events, 16, 0);
  for (int32_t i = 0; i < taken; i++) {
    if (events[i].flags & CONPOOL_EVENT_FINAL) {
      self->running--;
      if (events[i].status == CONPOOL_OK) {
        printf("%d\n", conpool_response_status(events[i].object));
      } else {
        puts(events[i].object ? conpool_error_line(events[i].object) : "failed");
        self->failed++;
      }
    }
    conpool_event_dispose(&events[i]);
  }
  stop_when_done(self);
}

int main(int argc, char** argv) {
  poller self = {0};
  conpool_pool* pool = NULL;
  conpool_error* error = NULL;
  const int interval = argc == 4 ? number_of(argv[2], 1, 86400000) : -1;
  self.to_start = argc == 4 ? number_of(argv[3], 1, 1000000) : -1;
  if (interval < 0 || self.to_start < 0) return puts("usage: uv_loop URL INTERVAL_MS TIMES"), 2;
  if (conpool_pool_new(NULL, &pool, &error) ||
      conpool_request_new(pool, "GET", argv[1], CONPOOL_NUL_TERMINATED, NULL, &self.request,
                          &error) ||
      conpool_queue_new(pool, &self.queue)) {
    puts(error ? conpool_error_report(error) : "no queue");
    conpool_error_free(error);
    conpool_request_free(self.request); /* freeing NULL is allowed */
    conpool_pool_free(pool);
    return 2;
  }
  uv_loop_t* loop = uv_default_loop();
  uv_poll_init(loop, &self.events, conpool_queue_fd(self.queue));
  uv_timer_init(loop, &self.timer);
  self.events.data = self.timer.data = &self;
  uv_poll_start(&self.events, UV_READABLE, on_events);
  uv_timer_start(&self.timer, on_timer, 0, (uint64_t)interval);
  uv_run(loop, UV_RUN_DEFAULT);
  uv_loop_close(loop);
  conpool_request_free(self.request);
  conpool_queue_free(self.queue);
  conpool_pool_free(pool);
  return self.failed == 0 ? 0 : 4;
}
