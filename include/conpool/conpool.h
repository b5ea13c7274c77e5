/* conpool: names to live connections. Work in progress: the full text follows with capi. */
#ifndef CONPOOL_CONPOOL_H
#define CONPOOL_CONPOOL_H

#include <stddef.h>
#include <stdint.h>

#define CONPOOL_VERSION_MAJOR 0
#define CONPOOL_VERSION_MINOR 1
#define CONPOOL_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t conpool_status;
typedef uint64_t conpool_op;

#define CONPOOL_FOREVER ((int64_t)-1)

enum {
  CONPOOL_EVENT_NONE = 0,
  CONPOOL_EVENT_CONNECTION = 1, /* an acquire ended; object: conpool_connection when status is 0, else conpool_error */
  CONPOOL_EVENT_READ = 2,       /* a read ended; object: conpool_chunk, NULL at the end of the stream, else conpool_error */
  CONPOOL_EVENT_WRITE = 3,      /* a write or shutdown_write ended; value[0]: bytes accepted */
  CONPOOL_EVENT_LOOKUP = 4,     /* the application is asked to resolve a name; object: conpool_lookup */
  CONPOOL_EVENT_CLOSED = 5      /* a pool close ended */
};

enum {
  CONPOOL_EVENT_FINAL = 1, /* flag: the op's last event */
  CONPOOL_EVENT_EOF = 2    /* flag: the peer ended its direction */
};

/* 64 bytes, frozen. */
typedef struct conpool_event {
  uint32_t kind;
  uint32_t flags;
  conpool_op op;
  uint64_t user_data;
  conpool_status status;
  uint32_t reserved;
  int64_t time_ns;
  void *object;
  uint64_t value[2];
} conpool_event;

#ifdef __cplusplus
}
#endif
#endif
