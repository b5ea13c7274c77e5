/*
 * conpool: the client-side connection layer as one library.
 *
 * A program names a host and gets the best live connection to it: resolved, raced over its
 * addresses, verified by TLS, pooled by name. HTTP requests go out over it, HTTP/1.1 or HTTP/2 as
 * the server speaks; for every other protocol connections are leased: acquire one, read and write
 * it, release it; the next acquire gets it again.
 *
 * HOW IT WORKS
 *
 *   pool      what a program creates: one loop (by default on a thread of its own) and everything
 *             that runs on it
 *   endpoint  what a program names: scheme, host and ports, options. Connections of different
 *             endpoints never mix
 *   op        what a program starts: request, acquire, read, write, close. It ends exactly once
 *   queue     where ops report: events are taken with conpool_queue_next, from any number of
 *             threads
 *
 * Starting an op returns at once. If the call fails, no event ever comes of it. If it succeeds,
 * exactly one event with the flag CONPOOL_EVENT_FINAL comes, whatever happens (success, failure,
 * cancel, conpool_pool_free), unless its queue is closed first. A program that has nothing else
 * to do starts its op without a queue and calls conpool_op_wait. No function of the program is
 * ever called from inside the library.
 *
 *   conpool_pool_new(NULL, &pool, NULL);
 *   conpool_request_new(pool, "GET", "https://example.org/", CONPOOL_NUL_TERMINATED, NULL,
 *                       &request, NULL);
 *   conpool_perform(request, NULL, &response, &error);
 *
 *   conpool_endpoint_new(pool, "tcp://localhost:6379", CONPOOL_NUL_TERMINATED, NULL, &at, NULL);
 *   conpool_endpoint_acquire(at, NULL, NULL, 0, &op);
 *   conpool_op_wait(op, CONPOOL_FOREVER, &event);      event.object is a conpool_connection
 *
 * RULES FOR ALL FUNCTIONS
 *
 *   Ownership  A `T **out` parameter gives an object to the caller, who frees it with its _free
 *              function. A returned `const T *` or `const char *` is borrowed from the object it
 *              was asked of. Objects may be freed in any order: a chunk or an error may outlive
 *              the pool. Freeing NULL is allowed.
 *
 *   Failure    Functions return a conpool_status: 0, or a negative code. Out parameters are
 *              untouched on failure. `conpool_error **error` parameters may be NULL; otherwise
 *              they receive the worded reason on failure.
 *
 *   Texts      (const char *, size_t) pairs need no terminating NUL; give CONPOOL_NUL_TERMINATED
 *              as the size of a C string. They are copied before the call returns. Texts that are
 *              returned end in NUL.
 *
 *   Times      int64_t nanoseconds of CLOCK_MONOTONIC. CONPOOL_FOREVER waits without end, 0 does
 *              not wait.
 *
 *   Threads    "any thread": concurrently, without locks of the program's own. "one at a time":
 *              any thread, but not two at once on the same object. No function may be called on
 *              an object that was freed.
 *
 *   Forks      After fork() the child must not use inherited objects: every call answers
 *              CONPOOL_E_FORKED, and the _free functions do nothing. The parent is not disturbed.
 *              Errors and chunks can still be read.
 *
 *   Growth     New kinds of events, status codes and options may appear in any version: ignore
 *              (but dispose) events of unknown kind, and judge unknown codes by
 *              conpool_status_class.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef CONPOOL_CONPOOL_H
#define CONPOOL_CONPOOL_H

#include <stddef.h>
#include <stdint.h>

#define CONPOOL_VERSION_MAJOR 0
#define CONPOOL_VERSION_MINOR 1
#define CONPOOL_VERSION_PATCH 0

#if defined(__cplusplus)
#define CONPOOL_NOEXCEPT noexcept
#else
#define CONPOOL_NOEXCEPT
#endif

#if defined(__GNUC__)
#define CONPOOL_API __attribute__((visibility("default")))
#else
#define CONPOOL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------
 * Types
 */

typedef struct conpool_config conpool_config;         /* option values, by name */
typedef struct conpool_pool conpool_pool;             /* the loop and everything on it */
typedef struct conpool_endpoint conpool_endpoint;     /* what is connected to */
typedef struct conpool_queue conpool_queue;           /* where events arrive */
typedef struct conpool_connection conpool_connection; /* one lease of one connection */
typedef struct conpool_request conpool_request;       /* what is asked of an HTTP server */
typedef struct conpool_response conpool_response;     /* what it answered; immutable */
typedef struct conpool_chunk conpool_chunk;           /* bytes received; immutable */
typedef struct conpool_error conpool_error;   /* what failed, and all that was tried; immutable */
typedef struct conpool_lookup conpool_lookup; /* a name that the program is asked to resolve */

typedef int32_t conpool_status; /* 0 or a CONPOOL_E_* code */
typedef uint64_t conpool_op; /* names one op for ever; 0 is never valid. A stale id is recognised */

#define CONPOOL_FOREVER ((int64_t)-1)
#define CONPOOL_NUL_TERMINATED ((size_t)-1)

/* Status codes. Blocks of one hundred are classes; see conpool_status_class. docs/errors.md
 * explains each. */
enum {
  CONPOOL_OK = 0,

  CONPOOL_E_INVALID = -100,
  CONPOOL_E_UNKNOWN_OPTION = -101,
  CONPOOL_E_OPTION_TYPE = -102,
  CONPOOL_E_OPTION_RANGE = -103,
  CONPOOL_E_OPTION_SCOPE = -104,
  CONPOOL_E_BAD_URL = -105,
  CONPOOL_E_BAD_NAME = -106,
  CONPOOL_E_BAD_PORT = -107,
  CONPOOL_E_BAD_ADDRESS = -108,
  CONPOOL_E_STALE = -109,
  CONPOOL_E_BUSY = -110,
  CONPOOL_E_FORKED = -111,
  CONPOOL_E_WRONG_STATE = -112,
  CONPOOL_E_UNSUPPORTED = -113,
  CONPOOL_E_WRONG_THREAD = -114,
  CONPOOL_E_BAD_METHOD = -115,
  CONPOOL_E_BAD_FIELD = -116,
  CONPOOL_E_BAD_BODY = -117,

  CONPOOL_E_NOMEM = -200,
  CONPOOL_E_INTERNAL = -201,
  CONPOOL_E_SYSTEM = -202,
  CONPOOL_E_FD_LIMIT = -203,

  CONPOOL_E_DNS_NOT_FOUND = -300,
  CONPOOL_E_DNS_NO_DATA = -301,
  CONPOOL_E_DNS_TIMEOUT = -302,
  CONPOOL_E_DNS_SERVER_FAILURE = -303,
  CONPOOL_E_DNS_REFUSED = -304,
  CONPOOL_E_DNS_BAD_ANSWER = -305,
  CONPOOL_E_DNS_UNREACHABLE = -306,
  CONPOOL_E_DNS_DISABLED = -307,
  CONPOOL_E_DNS_APPLICATION = -308,
  CONPOOL_E_DNS_RESERVED = -309,

  CONPOOL_E_CONNECT_REFUSED = -400,
  CONPOOL_E_CONNECT_TIMEOUT = -401,
  CONPOOL_E_CONNECT_UNREACHABLE = -402,
  CONPOOL_E_CONNECT_RESET = -403,
  CONPOOL_E_CONNECT_FAILED = -404,
  CONPOOL_E_DIAL_TIMEOUT = -405,
  CONPOOL_E_HOP_FAILED = -406,
  CONPOOL_E_CONNECTION_CLOSED = -410,
  CONPOOL_E_CONNECTION_RESET = -411,
  CONPOOL_E_CONNECTION_FAILED = -412,
  CONPOOL_E_STALL_TIMEOUT = -413,
  CONPOOL_E_UNSOLICITED = -414,
  CONPOOL_E_CHECK_FAILED = -415,

  CONPOOL_E_TLS_HANDSHAKE = -500,
  CONPOOL_E_TLS_CERTIFICATE = -501,
  CONPOOL_E_TLS_TIMEOUT = -502,
  CONPOOL_E_TLS_CONFIG = -503,
  CONPOOL_E_TLS_ALPN = -504,
  CONPOOL_E_TLS_TRUNCATED = -505,
  CONPOOL_E_TLS_PROTOCOL = -506,

  CONPOOL_E_HTTP_MALFORMED = -600,
  CONPOOL_E_HTTP_TRUNCATED = -601,
  CONPOOL_E_HTTP_NO_RESPONSE = -602,
  CONPOOL_E_HTTP_HEADER_LIMIT = -603,
  CONPOOL_E_HTTP_BODY_LIMIT = -604,
  CONPOOL_E_HTTP_INTERIM_LIMIT = -605,
  CONPOOL_E_HTTP_UPGRADED = -606,
  CONPOOL_E_HTTP_FIRST_BYTE_TIMEOUT = -607,
  CONPOOL_E_HTTP_BODY_SOURCE = -608,
  CONPOOL_E_HTTP_BODY_LENGTH = -609,
  CONPOOL_E_H2_PROTOCOL = -620,
  CONPOOL_E_H2_STREAM_RESET = -621,
  CONPOOL_E_H2_REFUSED = -622,
  CONPOOL_E_H2_GOAWAY = -623,
  CONPOOL_E_H2_FLOOD = -624,
  CONPOOL_E_H2_PING_TIMEOUT = -625,
  CONPOOL_E_H2_PREFACE = -626,
  CONPOOL_E_H2_HTTP_1_1_REQUIRED = -627,

  CONPOOL_E_WAITERS_LIMIT = -700,
  CONPOOL_E_QUEUE_TIMEOUT = -701,
  CONPOOL_E_OPS_LIMIT = -702,
  CONPOOL_E_ENDPOINTS_LIMIT = -703,
  CONPOOL_E_PINNED_LIMIT = -704,
  CONPOOL_E_POOL_EXHAUSTED = -706,

  CONPOOL_E_BREAKER_OPEN = -800,

  CONPOOL_E_CANCELLED = -900,
  CONPOOL_E_TIMEOUT = -901,
  CONPOOL_E_CLOSED = -902
};

/* Classes of status codes. */
enum {
  CONPOOL_CLASS_NONE = 0,   /* success */
  CONPOOL_CLASS_USAGE = 1,  /* the call was wrong */
  CONPOOL_CLASS_SYSTEM = 2, /* memory, descriptors, the operating system */
  CONPOOL_CLASS_DNS = 3,
  CONPOOL_CLASS_CONNECT = 4, /* before or after the connection was established */
  CONPOOL_CLASS_TLS = 5,
  CONPOOL_CLASS_HTTP = 6,
  CONPOOL_CLASS_LIMIT = 7, /* one of the pool's own limits */
  CONPOOL_CLASS_BREAKER = 8,
  CONPOOL_CLASS_ENDED = 9, /* cancelled, timed out, closed */
  CONPOOL_CLASS_UNKNOWN = 10
};

/* Kinds of events, and what `object` and `value` are. On failure (status < 0) object is a
 * conpool_error or NULL. */
enum {
  CONPOOL_EVENT_NONE = 0,
  CONPOOL_EVENT_CONNECTION =
      1, /* an acquire ended. object: conpool_connection. value[0]: 1 when it was used before */
  CONPOOL_EVENT_READ = 2, /* a read ended. object: conpool_chunk, or NULL at the end of the stream.
                             value[0]: bytes */
  CONPOOL_EVENT_WRITE =
      3, /* a write or shutdown_write ended. value[0]: bytes written, on failure too */
  CONPOOL_EVENT_LOOKUP = 4, /* a name is to be resolved. object: conpool_lookup */
  CONPOOL_EVENT_CLOSED = 5, /* a conpool_pool_close ended. value[0]: leases that had to be broken */
  CONPOOL_EVENT_RESPONSE = 6, /* a request ended. object: conpool_response. value[0]: how often the
                                 request was sent; value[1]: CONPOOL_PROOF_*, on failure too */
  CONPOOL_EVENT_HEAD = 7,     /* the response's header came. object: conpool_response */
  CONPOOL_EVENT_CHUNK = 8,    /* a part of its body came. object: conpool_chunk. value[0]: bytes of
                                 the body before it */
  CONPOOL_EVENT_TRAILERS = 9, /* trailers came. object: conpool_response */
  CONPOOL_EVENT_INTERIM = 10, /* an interim (1xx) response came. object: conpool_response */
  CONPOOL_EVENT_PRECONNECT =
      11 /* a conpool_endpoint_preconnect ended. value[0]: open connections */
};

/* Flags of events. */
enum {
  CONPOOL_EVENT_FINAL = 1, /* the op's last event */
  CONPOOL_EVENT_EOF = 2    /* READ: the peer ended its direction */
};

/* One thing that happened to an op. Its 64 bytes are frozen for ever. */
typedef struct conpool_event {
  uint32_t kind;         /* CONPOOL_EVENT_*; dispose events of unknown kind */
  uint32_t flags;        /* CONPOOL_EVENT_FINAL, … */
  conpool_op op;         /* the op it belongs to */
  uint64_t user_data;    /* as given when the op was started; never interpreted */
  conpool_status status; /* 0, or why the op failed */
  uint32_t reserved;     /* the library's own: leave it as it is */
  int64_t time_ns;       /* CLOCK_MONOTONIC when it happened */
  void* object;          /* by kind; belongs to the receiver until conpool_event_dispose */
  uint64_t value[2];     /* by kind */
} conpool_event;

/* What became of the caller's bytes when an op failed. */
enum {
  CONPOOL_PROOF_NEVER_SENT = 0,     /* no byte was handed to the operating system */
  CONPOOL_PROOF_NOT_PROCESSED = 1,  /* sent, and the peer said that it did not process them */
  CONPOOL_PROOF_MAYBE_PROCESSED = 2 /* sent; nobody can tell */
};

/* Phases, in the order of an op's life. */
enum {
  CONPOOL_PHASE_NONE = 0,
  CONPOOL_PHASE_QUEUE = 1,
  CONPOOL_PHASE_DNS = 2,
  CONPOOL_PHASE_CONNECT = 3,
  CONPOOL_PHASE_HOP = 4,
  CONPOOL_PHASE_TLS = 5,
  CONPOOL_PHASE_SESSION = 6,
  CONPOOL_PHASE_SEND = 7,
  CONPOOL_PHASE_RECEIVE = 8
};

/* ------------------------------------------------------------------------------------------
 * The library
 */

/* The version of the library that runs, as 0x00MMmmpp. Any thread. */
CONPOOL_API uint32_t conpool_version(void) CONPOOL_NOEXCEPT;

/* "0.1.0". Static. Any thread. */
CONPOOL_API const char* conpool_version_string(void) CONPOOL_NOEXCEPT;

/* "E_CONNECT_REFUSED"; "UNKNOWN" for a code this library does not know. Static. Any thread. */
CONPOOL_API const char* conpool_status_name(conpool_status status) CONPOOL_NOEXCEPT;

/* "connection refused": one line, lower case, no full stop. Static. Any thread. */
CONPOOL_API const char* conpool_status_text(conpool_status status) CONPOOL_NOEXCEPT;

/* CONPOOL_CLASS_*; right also for codes of newer libraries. Any thread. */
CONPOOL_API int32_t conpool_status_class(conpool_status status) CONPOOL_NOEXCEPT;

/*
 * The library's own tables as JSON text, for programs that build on them (bindings, documentation,
 * completion).
 *
 * what   "options": name, type, unit, default, range, scope, since and text of each option
 *        "statuses": name, value, class and text of each status code
 *        "events": the events that conpool_pool_events tells of
 *        "build": version, and versions of the libraries in use
 * out    receives the text; free it with conpool_text_free
 *
 * Returns CONPOOL_E_INVALID for another `what`. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_describe(const char* what, char** out) CONPOOL_NOEXCEPT;

/* Frees a text that the library gave to the caller. Any thread. */
CONPOOL_API void conpool_text_free(char* text) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Options
 *
 * Options are set by name, as text: durations with their unit ("250ms", "1.5s", "10min"), sizes
 * ("64KiB"), "true" and "false", choices by their word, lists separated by commas. docs/options.md
 * lists them. A config is checked name by name when it is set and as a whole when it is used; the
 * place of use must be one that the option allows.
 */

/* An empty config. Any thread. */
CONPOOL_API conpool_status conpool_config_new(conpool_config** out) CONPOOL_NOEXCEPT;

/*
 * Sets one option; setting it again replaces the value.
 *
 * Returns CONPOOL_E_UNKNOWN_OPTION (the error offers the nearest name), CONPOOL_E_OPTION_TYPE or
 * CONPOOL_E_OPTION_RANGE; the error names option, value and what is allowed. One at a time.
 */
CONPOOL_API conpool_status conpool_config_set(conpool_config* config, const char* name,
                                              const char* value, size_t size,
                                              conpool_error** error) CONPOOL_NOEXCEPT;

/* One at a time; pools and endpoints made with it keep their own copy. */
CONPOOL_API void conpool_config_free(conpool_config* config) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Errors
 *
 * An error stacks what happened, inside out, and lists every attempt that was made. Immutable; any
 * thread.
 */

/* CONPOOL_E_* of the cause. */
CONPOOL_API conpool_status conpool_error_status(const conpool_error* error) CONPOOL_NOEXCEPT;
/* CONPOOL_PHASE_*: where the op was when it failed. */
CONPOOL_API int32_t conpool_error_phase(const conpool_error* error) CONPOOL_NOEXCEPT;
/* CONPOOL_PROOF_*. */
CONPOOL_API int32_t conpool_error_proof(const conpool_error* error) CONPOOL_NOEXCEPT;
/* errno of the cause, or 0. */
CONPOOL_API int32_t conpool_error_os_errno(const conpool_error* error) CONPOOL_NOEXCEPT;
/* HTTP/2's error code of the cause (RFC 9113 section 7), or -1 where there is none. */
CONPOOL_API int64_t conpool_error_h2_code(const conpool_error* error) CONPOOL_NOEXCEPT;
/* OpenSSL's X509_V_ERR_* code of the cause, or 0. */
CONPOOL_API int64_t conpool_error_tls_verify(const conpool_error* error) CONPOOL_NOEXCEPT;
/* Of CONPOOL_E_BREAKER_OPEN: nanoseconds from the failure to the next trial. -1 where there is
 * none, and for a breaker that is forced open. */
CONPOOL_API int64_t conpool_error_retry_after(const conpool_error* error) CONPOOL_NOEXCEPT;
/* One line: "connection refused (ECONNREFUSED), connecting to tcp:127.0.0.1:8088, connecting to
 * localhost:8088". */
CONPOOL_API const char* conpool_error_line(const conpool_error* error) CONPOOL_NOEXCEPT;
/* Several lines: the cause, the contexts from inside out, each attempt with address, result and
 * duration. */
CONPOOL_API const char* conpool_error_report(const conpool_error* error) CONPOOL_NOEXCEPT;

/* How many attempts the error lists: DNS queries and connection attempts, in the order of their
 * start. */
CONPOOL_API size_t conpool_error_attempt_count(const conpool_error* error) CONPOOL_NOEXCEPT;
/* "tcp:127.0.0.1:8088" or "AAAA localhost @192.0.2.53:53"; NULL when index is out of range. */
CONPOOL_API const char* conpool_error_attempt_target(const conpool_error* error,
                                                     size_t index) CONPOOL_NOEXCEPT;
/* Its result: 0 for an attempt that succeeded. */
CONPOOL_API conpool_status conpool_error_attempt_status(const conpool_error* error,
                                                        size_t index) CONPOOL_NOEXCEPT;
/* CONPOOL_PHASE_DNS, CONPOOL_PHASE_CONNECT, CONPOOL_PHASE_HOP or CONPOOL_PHASE_TLS: where it ended.
 */
CONPOOL_API int32_t conpool_error_attempt_phase(const conpool_error* error,
                                                size_t index) CONPOOL_NOEXCEPT;
/* Its errno, or 0. */
CONPOOL_API int32_t conpool_error_attempt_os_errno(const conpool_error* error,
                                                   size_t index) CONPOOL_NOEXCEPT;
/* Nanoseconds from the dial's start to the attempt's start. */
CONPOOL_API int64_t conpool_error_attempt_started(const conpool_error* error,
                                                  size_t index) CONPOOL_NOEXCEPT;
/* Nanoseconds from the attempt's start to its end. */
CONPOOL_API int64_t conpool_error_attempt_duration(const conpool_error* error,
                                                   size_t index) CONPOOL_NOEXCEPT;

/* Any thread, once. */
CONPOOL_API void conpool_error_free(conpool_error* error) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Pools
 */

/*
 * Creates a pool.
 *
 * config  options of any scope, or NULL: the defaults of everything made in this pool
 * out     the pool; free it with conpool_pool_free
 *
 * With loop.drive = thread (default) the pool starts a thread of its own that has all signals
 * blocked. With loop.drive = caller it starts none: conpool_queue_next, conpool_op_wait and
 * conpool_perform run the loop on the calling thread.
 *
 * Returns CONPOOL_E_OPTION_RANGE, CONPOOL_E_INVALID (options that contradict each other),
 * CONPOOL_E_BAD_ADDRESS and CONPOOL_E_BAD_PORT (dns.servers), CONPOOL_E_BAD_NAME (tls.server_name),
 * CONPOOL_E_TLS_CONFIG, CONPOOL_E_UNSUPPORTED, CONPOOL_E_FD_LIMIT, CONPOOL_E_NOMEM. Any thread;
 * reads the files that options name.
 */
CONPOOL_API conpool_status conpool_pool_new(const conpool_config* config, conpool_pool** out,
                                            conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Closes a pool gracefully. New acquires and requests are refused with CONPOOL_E_CLOSED from now
 * on; waiting ones end with it; idle connections close; leased ones may be used, and running
 * requests go on, until they end or drain_timeout_ns has passed, then they are closed and their ops
 * end with CONPOOL_E_CLOSED. The op ends with CONPOOL_EVENT_CLOSED when no connection is left.
 *
 * drain_timeout_ns  0 closes everything at once
 * queue, user_data  where the end is reported; queue may be NULL (conpool_op_wait)
 * out_op            may be NULL; with queue NULL too, nothing is reported
 *
 * Closing twice is harmless: the shorter time counts, and both ops end. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_pool_close(conpool_pool* pool, int64_t drain_timeout_ns,
                                              conpool_queue* queue, uint64_t user_data,
                                              conpool_op* out_op) CONPOOL_NOEXCEPT;

/*
 * Frees a pool: what is still open closes at once, every op ends with CONPOOL_E_CLOSED (its event
 * can still be taken from its queue), blocked conpool_op_wait calls return. Any thread of the
 * program, once. Waits for the loop's current turn, never for consumers, lookups or peers.
 */
CONPOOL_API void conpool_pool_free(conpool_pool* pool) CONPOOL_NOEXCEPT;

/*
 * Counters, gauges and latencies of the pool, its endpoints, addresses and connections.
 *
 * format  "text" (name=value lines), "json", "openmetrics"
 * out     the text; free it with conpool_text_free
 *
 * Any thread; waits for the loop's current turn.
 */
CONPOOL_API conpool_status conpool_pool_metrics(conpool_pool* pool, const char* format,
                                                char** out) CONPOOL_NOEXCEPT;

/*
 * The recorded events, oldest first.
 *
 * format  "jsonl" (one JSON object a line), "text" (one line each, to read), "trace" (Chrome trace
 * events)
 *
 * Any thread; does not wait for the loop.
 */
CONPOOL_API conpool_status conpool_pool_events(conpool_pool* pool, const char* format,
                                               char** out) CONPOOL_NOEXCEPT;

/*
 * A part of the recorded events, for programs that follow them.
 *
 * format  as of conpool_pool_events
 * since   the sequence number to begin with; events are numbered from 1. 0: the oldest that is kept
 * limit   at most so many; 0: all
 * next    receives the number to go on with; may be NULL
 * lost    receives how many of those asked for were overwritten before; may be NULL
 *
 * Any thread; does not wait for the loop.
 */
CONPOOL_API conpool_status conpool_pool_events_since(conpool_pool* pool, const char* format,
                                                     uint64_t since, uint64_t limit, uint64_t* next,
                                                     uint64_t* lost, char** out) CONPOOL_NOEXCEPT;

/* Levels of events, the most urgent first: the choices of events.level. */
enum {
  CONPOOL_LEVEL_ERROR = 0,
  CONPOOL_LEVEL_WARNING = 1,
  CONPOOL_LEVEL_INFO = 2,
  CONPOOL_LEVEL_DEBUG = 3
};

/*
 * Records an event of the program's own among the pool's, with the time of the call.
 *
 * level  CONPOOL_LEVEL_*; what events.level leaves out is not recorded, and that is no error
 * name   1 to 32 letters, digits, '.', '_' and '-'. Readouts show it as "app.NAME"
 * text   UTF-8; its first 64 bytes are kept, or more where the name is short. NULL with size 0:
 *        none
 *
 * Returns CONPOOL_E_INVALID for another level or name. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_pool_event(conpool_pool* pool, int32_t level, const char* name,
                                              size_t name_size, const char* text,
                                              size_t text_size) CONPOOL_NOEXCEPT;

/*
 * What the pool knows and would do for an endpoint, in words: options that are not the defaults,
 * addresses with
 * their health, order and cached answers, connections and waiters.
 *
 * Any thread; waits for the loop's current turn.
 */
CONPOOL_API conpool_status conpool_pool_explain(conpool_pool* pool,
                                                const conpool_endpoint* endpoint,
                                                char** out) CONPOOL_NOEXCEPT;

/*
 * Makes the program the pool's resolver (needs dns.backend = queue): lookups arrive in `queue` as
 * CONPOOL_EVENT_LOOKUP, one per name and family. NULL ends it. An unanswered lookup ends by its
 * time limit. Returns CONPOOL_E_WRONG_STATE for another dns.backend. Any thread; waits for the
 * loop's current turn.
 */
CONPOOL_API conpool_status conpool_pool_set_resolver(conpool_pool* pool, conpool_queue* queue,
                                                     uint64_t user_data) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Endpoints
 *
 * An endpoint is what a program connects to. Endpoints with the same scheme, host, ports or address
 * list, options and partition are the same: they share connections. Options of scope `request` are
 * not part of it.
 */

/*
 * Names an endpoint by text.
 *
 * url     "http://host", "https://host:8443" for requests (port 80 or 443 unless given);
 *         "tcp://host:port", "tls://host:port" or "unix:/path" for connections. The host may be a
 *         name, an IPv4 address or an IPv6 address in brackets; several ports are separated by
 *         commas ("tcp://host:443,8443") and raced
 * config  options of scope endpoint and request over the pool's own, or NULL
 * out     the endpoint; free it with conpool_endpoint_free
 *
 * Returns CONPOOL_E_BAD_URL, CONPOOL_E_BAD_NAME, CONPOOL_E_BAD_PORT, CONPOOL_E_BAD_ADDRESS,
 * CONPOOL_E_OPTION_SCOPE, CONPOOL_E_OPTION_RANGE, CONPOOL_E_TLS_CONFIG, CONPOOL_E_UNSUPPORTED,
 * CONPOOL_E_ENDPOINTS_LIMIT. Any thread; reads the files that options name.
 */
CONPOOL_API conpool_status conpool_endpoint_new(conpool_pool* pool, const char* url, size_t size,
                                                const conpool_config* config,
                                                conpool_endpoint** out,
                                                conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Names an endpoint by host name (or literal) and ports.
 *
 * scheme  "http", "https", "tcp" or "tls"
 *
 * Returns as conpool_endpoint_new. Any thread; reads the files that options name.
 */
CONPOOL_API conpool_status conpool_endpoint_new_host(conpool_pool* pool, const char* scheme,
                                                     const char* host, size_t host_size,
                                                     const uint16_t* ports, size_t port_count,
                                                     const conpool_config* config,
                                                     conpool_endpoint** out,
                                                     conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Names an endpoint by its addresses: no name is resolved. The list is part of the endpoint's key.
 * With scheme "tls", "http" or "https" the option tls.server_name is needed: the name to verify,
 * and the host that requests name.
 *
 * addresses  "192.0.2.1:443,[2001:db8::1]:443", at most 64
 *
 * Returns as conpool_endpoint_new. Any thread; reads the files that options name.
 */
CONPOOL_API conpool_status conpool_endpoint_new_addresses(conpool_pool* pool, const char* scheme,
                                                          const char* addresses, size_t size,
                                                          const conpool_config* config,
                                                          conpool_endpoint** out,
                                                          conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Forces the endpoint's circuit breaker, for all endpoints of the same key in the pool.
 *
 * state   "open": every op is refused with CONPOOL_E_BREAKER_OPEN; "closed": none is, whatever
 *         fails; "auto": the breaker decides by itself again, beginning closed
 *
 * Ops that wait when it is forced open fail, or go on waiting where breaker.wait says so; what has
 * a connection already runs on. Its state is in conpool_pool_explain and in the figures breaker.*.
 * Returns CONPOOL_E_INVALID for another state, CONPOOL_E_CLOSED, CONPOOL_E_BUSY while another
 * thread drives a pool with loop.drive = caller. Any thread; waits for the loop's current turn.
 * Since 0.1.
 */
CONPOOL_API conpool_status conpool_endpoint_force_breaker(conpool_endpoint* endpoint,
                                                          const char* state) CONPOOL_NOEXCEPT;

/* Its connections stay pooled and close by their own limits. One at a time. */
CONPOOL_API void conpool_endpoint_free(conpool_endpoint* endpoint) CONPOOL_NOEXCEPT;

/*
 * Starts to acquire a connection: an idle one that is still good, else the next that is released or
 * dialed. Waiters are served in the order of their calls.
 *
 * config     options of scope request for this op alone, or NULL
 * queue      where CONPOOL_EVENT_CONNECTION arrives, or NULL (conpool_op_wait)
 * user_data  copied into the event
 * out_op     the op's id
 *
 * Returns CONPOOL_E_UNSUPPORTED for an endpoint of scheme "http" or "https", whose connections
 * belong to requests; CONPOOL_E_OPS_LIMIT, CONPOOL_E_CLOSED, CONPOOL_E_OPTION_SCOPE,
 * CONPOOL_E_NOMEM. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_endpoint_acquire(conpool_endpoint* endpoint,
                                                    const conpool_config* config,
                                                    conpool_queue* queue, uint64_t user_data,
                                                    conpool_op* out_op) CONPOOL_NOEXCEPT;

/*
 * Starts to open connections before they are needed: until `count` are open, or as many as the
 * endpoint's limits allow (of HTTP/2 one is enough for many requests: an endpoint known to speak it
 * opens no more than that). They stay pooled like any other.
 *
 * The op ends with CONPOOL_EVENT_PRECONNECT; value[0] tells how many are open then. It fails when a
 * dial fails and none is open. Returns CONPOOL_E_INVALID for count 0, CONPOOL_E_OPS_LIMIT,
 * CONPOOL_E_CLOSED, CONPOOL_E_OPTION_SCOPE, CONPOOL_E_NOMEM. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_endpoint_preconnect(conpool_endpoint* endpoint, uint32_t count,
                                                       const conpool_config* config,
                                                       conpool_queue* queue, uint64_t user_data,
                                                       conpool_op* out_op) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Ops
 */

/*
 * Asks an op to end soon. FINAL still comes: with CONPOOL_E_CANCELLED, or with the result that was
 * faster. Cancelling a write that was half done breaks its connection. Idempotent.
 *
 * Returns CONPOOL_E_STALE when the id names no running op. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_op_cancel(conpool_op op) CONPOOL_NOEXCEPT;

/*
 * Waits for an op that was started without a queue, and takes its event.
 *
 * timeout_ns  how long to wait at most; CONPOOL_FOREVER, or 0 to look only
 * out         the op's FINAL event; dispose it
 *
 * Returns CONPOOL_OK when the op has ended (its own result is out->status), CONPOOL_E_TIMEOUT when
 * it still runs (wait again, or cancel it), CONPOOL_E_STALE, CONPOOL_E_WRONG_STATE for an op that
 * has a queue, CONPOOL_E_BUSY when another thread waits for the op or drives the loop. Any thread.
 */
CONPOOL_API conpool_status conpool_op_wait(conpool_op op, int64_t timeout_ns,
                                           conpool_event* out) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Queues
 *
 * Any number of queues, any number of consumers each. Events of one op come in order; while a
 * consumer holds events of an op that are not disposed, no other consumer gets events of that op
 * (calling next again counts as done).
 */

/* A queue for this pool's ops; another's are refused with CONPOOL_E_INVALID. Any thread. */
CONPOOL_API conpool_status conpool_queue_new(conpool_pool* pool,
                                             conpool_queue** out) CONPOOL_NOEXCEPT;

/*
 * Takes up to `capacity` events.
 *
 * timeout_ns  how long to wait for the first; CONPOOL_FOREVER, or 0
 *
 * Returns how many were taken (0: none came in time, or conpool_queue_wake), or CONPOOL_E_CLOSED,
 * CONPOOL_E_BUSY (loop.drive = caller, and another thread drives), CONPOOL_E_INVALID. Any thread;
 * blocks up to timeout_ns.
 */
CONPOOL_API int32_t conpool_queue_next(conpool_queue* queue, conpool_event* events,
                                       uint32_t capacity, int64_t timeout_ns) CONPOOL_NOEXCEPT;

/*
 * A descriptor that is readable exactly while conpool_queue_next has something to give (with
 * loop.drive = caller: or something to do). For poll, epoll and their like; never read, write or
 * close it. Made at the first call.
 *
 * Returns the descriptor, or a negative status: CONPOOL_E_UNSUPPORTED with loop.world = simulated,
 * whose time passes only in calls. Any thread.
 */
CONPOOL_API int32_t conpool_queue_fd(conpool_queue* queue) CONPOOL_NOEXCEPT;

/* Makes one conpool_queue_next return early: the one that waits now, or the next. Any thread. */
CONPOOL_API void conpool_queue_wake(conpool_queue* queue) CONPOOL_NOEXCEPT;

/*
 * Cancels the queue's ops, disposes of their events, wakes its consumers (CONPOOL_E_CLOSED). No
 * FINAL comes for its ops any more; when the call returns, what they borrowed is the caller's
 * again. Any thread, also twice; waits for the loop's current turn.
 */
CONPOOL_API void conpool_queue_close(conpool_queue* queue) CONPOOL_NOEXCEPT;

/* Closes the queue and frees it. One at a time. */
CONPOOL_API void conpool_queue_free(conpool_queue* queue) CONPOOL_NOEXCEPT;

/* Frees what the event carries (a connection is released as broken) and clears event->object.
   Harmless twice. Any thread. To keep the object, set event->object to NULL first. */
CONPOOL_API void conpool_event_dispose(conpool_event* event) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Requests
 *
 * A request is built, then started as often as wanted, also several times at once: the first start
 * freezes it. Whether it goes out over HTTP/1.1 or as a stream of a shared HTTP/2 connection is
 * decided by what the server speaks (option http.version); events and results are the same.
 *
 * The library adds Host (or :authority), Content-Length or Transfer-Encoding, and what the
 * connection needs. It follows no redirects, keeps no cookies, decompresses and caches nothing.
 *
 * A request that failed is sent again by itself only where that is safe: when nothing of it was
 * sent, when the server said that it did not process it, and, if its method is idempotent (RFC 9110
 * section 9.2.2) or it was declared so, when a connection that was used before turned out to be
 * closed. In everything else the error's proof says what is known.
 */

/*
 * A request by URL.
 *
 * method  a token, sent as it is: "GET"
 * url     "http://host/path?query" or "https://…"; a fragment is not allowed
 * config  options of scope endpoint and request over the pool's own, or NULL
 * out     the request; free it with conpool_request_free
 *
 * Returns CONPOOL_E_BAD_METHOD, CONPOOL_E_BAD_URL, and as conpool_endpoint_new. Any thread; reads
 * the files that options name.
 */
CONPOOL_API conpool_status conpool_request_new(conpool_pool* pool, const char* method,
                                               const char* url, size_t size,
                                               const conpool_config* config, conpool_request** out,
                                               conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * A request to an endpoint of scheme "http" or "https": the fast way for many requests.
 *
 * target  "/path?query", or "*" for OPTIONS
 *
 * Returns CONPOOL_E_BAD_METHOD, CONPOOL_E_BAD_URL, CONPOOL_E_UNSUPPORTED (an endpoint of another
 * scheme; method CONNECT). Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_request_new_at(conpool_endpoint* endpoint, const char* method,
                                                  const char* target, size_t size,
                                                  conpool_request** out,
                                                  conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Adds a header field; fields of one name keep their order. The name is a token, the value has no
 * control characters but HTAB; white space around it is dropped.
 *
 * "Host" sets what the request names as its host. "Content-Length" must equal the body's length.
 * "Expect: 100-continue" holds the body until the server wants it. Connection, Keep-Alive,
 * Proxy-Connection, TE other than "trailers", Transfer-Encoding, Upgrade and HTTP2-Settings belong
 * to the connection and are refused, and so is Trailer, which the library writes itself. Over
 * HTTP/1.1, too, names go out in lower case. A request has at most 256 fields and 64 KiB of them,
 * its method and target included.
 *
 * Returns CONPOOL_E_BAD_FIELD (the error says what is wrong), CONPOOL_E_WRONG_STATE after the first
 * start. One at a time.
 */
CONPOOL_API conpool_status conpool_request_header(conpool_request* request, const char* name,
                                                  size_t name_size, const char* value,
                                                  size_t value_size,
                                                  conpool_error** error) CONPOOL_NOEXCEPT;

/* Adds a trailer field, sent after the body: over HTTP/1.1 in the chunked coding. As
 * conpool_request_header; fields about framing, routing or the connection are refused. One at a
 * time. */
CONPOOL_API conpool_status conpool_request_trailer(conpool_request* request, const char* name,
                                                   size_t name_size, const char* value,
                                                   size_t value_size,
                                                   conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * The whole body. Its bytes are borrowed by each start until that op's FINAL event (or until
 * conpool_queue_close of its queue has returned): neither change nor free them before.
 *
 * Returns CONPOOL_E_WRONG_STATE after the first start. One at a time.
 */
CONPOOL_API conpool_status conpool_request_body(conpool_request* request, const void* data,
                                                size_t size) CONPOOL_NOEXCEPT;

/*
 * The body from a file: `size` bytes from `offset` on, or all that follow with size -1. The
 * descriptor is duplicated; it must be of a regular file, which is read on a thread of its own.
 *
 * Returns CONPOOL_E_BAD_BODY for any other descriptor, a range outside the file, or one that cannot
 * be duplicated; CONPOOL_E_WRONG_STATE. One at a time.
 */
CONPOOL_API conpool_status conpool_request_body_fd(conpool_request* request, int32_t fd,
                                                   int64_t offset, int64_t size) CONPOOL_NOEXCEPT;

/*
 * The body in pieces, written with conpool_body_write once the request is started.
 *
 * size  the length of the whole, or -1 when it is not known. With a length the body is over when
 *       so many bytes were written: no piece need say that it is the last
 *
 * Such a request is started only once at a time, and is not sent again after a byte of its body
 * was. Returns CONPOOL_E_WRONG_STATE, CONPOOL_E_INVALID. One at a time.
 */
CONPOOL_API conpool_status conpool_request_body_stream(conpool_request* request,
                                                       int64_t size) CONPOOL_NOEXCEPT;

/* Declares (1) that the request may be sent again, whatever its method, because sending it twice
 * has the effect of once; or (0) that it may not. Without this call its method says so. Returns
 * CONPOOL_E_WRONG_STATE after the first start. One at a time. */
CONPOOL_API conpool_status conpool_request_idempotent(conpool_request* request,
                                                      int32_t idempotent) CONPOOL_NOEXCEPT;

/* How the response of a started request is delivered. */
enum {
  CONPOOL_WHOLE = 0, /* one event, FINAL, with the whole response, at most response.max_body */
  CONPOOL_STREAM = 1 /* INTERIM…, HEAD, CHUNK…, TRAILERS, then FINAL, each with what is known of the
                        response by then. A chunk that is not freed holds the server back; while
                        64 of them are not, small parts are gathered until 64 KiB, one of them is
                        freed, or the response ends */
};

/*
 * Starts the request.
 *
 * config   options of scope request for this op alone, or NULL
 * how      CONPOOL_WHOLE or CONPOOL_STREAM (which needs a queue)
 * queue    where CONPOOL_EVENT_RESPONSE and the others arrive, or NULL (conpool_op_wait)
 * out_op   the op's id, which conpool_body_write and conpool_op_cancel take
 *
 * total.timeout (60 s unless set) bounds everything to FINAL, the reading of a streamed response
 * included: long ones need a larger one, or 0. The request may be freed at once; a body in memory
 * may not. Returns CONPOOL_E_BAD_FIELD and
 * CONPOOL_E_BAD_BODY for parts that contradict each other, CONPOOL_E_OPS_LIMIT, CONPOOL_E_CLOSED,
 * CONPOOL_E_OPTION_SCOPE, CONPOOL_E_OPTION_RANGE, CONPOOL_E_WRONG_STATE (a body in pieces whose op
 * still runs), CONPOOL_E_INVALID, CONPOOL_E_NOMEM; `error` tells more. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_request_start(conpool_request* request,
                                                 const conpool_config* config, int32_t how,
                                                 conpool_queue* queue, uint64_t user_data,
                                                 conpool_op* out_op,
                                                 conpool_error** error) CONPOOL_NOEXCEPT;

/*
 * Writes a piece of the body of a running request. The bytes are borrowed until the write's FINAL
 * event, which comes when the connection has taken them: that is the back-pressure. Pieces go out
 * in the order of the calls.
 *
 * op    the request's op
 * last  1 with the last piece (which may be empty), else 0. Not needed where the length was
 *       announced; an empty piece may still say it
 *
 * The event is CONPOOL_EVENT_WRITE; value[0]: bytes taken. A piece that the request ends without
 * ends with the request's status, or with CONPOOL_E_CANCELLED when the response was complete
 * before. Cancelling a piece cancels the request.
 *
 * Returns CONPOOL_E_STALE when `op` is no running request whose body comes in pieces,
 * CONPOOL_E_WRONG_STATE after the last one, CONPOOL_E_HTTP_BODY_LENGTH when the piece goes beyond
 * the announced length or the last one stays below it, CONPOOL_E_OPS_LIMIT, CONPOOL_E_CLOSED,
 * CONPOOL_E_NOMEM. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_body_write(conpool_op op, const void* data, size_t size,
                                              int32_t last, conpool_queue* queue,
                                              uint64_t user_data,
                                              conpool_op* out_op) CONPOOL_NOEXCEPT;

/*
 * Starts the request and waits for its whole response.
 *
 * out    the response; free it with conpool_response_free
 * error  may be NULL
 *
 * Returns what the op ended with, CONPOOL_E_WRONG_STATE for a body in pieces, or CONPOOL_E_BUSY
 * when another thread drives the loop (loop.drive = caller); and as conpool_request_start. Any
 * thread; blocks. With loop.drive = caller it runs the loop.
 */
CONPOOL_API conpool_status conpool_perform(conpool_request* request, const conpool_config* config,
                                           conpool_response** out,
                                           conpool_error** error) CONPOOL_NOEXCEPT;

/* Running ops are not disturbed. One at a time. */
CONPOOL_API void conpool_request_free(conpool_request* request) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Responses
 *
 * Immutable; any thread. Texts and bytes are borrowed until conpool_response_free.
 */

/* 200, 404, … Any thread. */
CONPOOL_API int32_t conpool_response_status(const conpool_response* response) CONPOOL_NOEXCEPT;
/* 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2. Any thread. */
CONPOOL_API int32_t conpool_response_version(const conpool_response* response) CONPOOL_NOEXCEPT;
/* How many header lines there are. Any thread. */
CONPOOL_API size_t conpool_response_header_count(const conpool_response* response) CONPOOL_NOEXCEPT;
/* The name of a line, in the order of arrival; NULL when index is out of range. `size` may be NULL.
 * Any thread. */
CONPOOL_API const char* conpool_response_header_name(const conpool_response* response, size_t index,
                                                     size_t* size) CONPOOL_NOEXCEPT;
/* The value of a line, likewise. Any thread. */
CONPOOL_API const char* conpool_response_header_value(const conpool_response* response,
                                                      size_t index, size_t* size) CONPOOL_NOEXCEPT;
/* The value of the nth line (from 0) with this name, upper and lower case alike; NULL when there is
 * none. Any thread. */
CONPOOL_API const char* conpool_response_header(const conpool_response* response, const char* name,
                                                size_t nth, size_t* size) CONPOOL_NOEXCEPT;
/* How many trailer lines there are. Any thread. */
CONPOOL_API size_t conpool_response_trailer_count(const conpool_response* response)
    CONPOOL_NOEXCEPT;
/* The name of a trailer line, as conpool_response_header_name. Any thread. */
CONPOOL_API const char* conpool_response_trailer_name(const conpool_response* response,
                                                      size_t index, size_t* size) CONPOOL_NOEXCEPT;
/* The value of a trailer line, likewise. Any thread. */
CONPOOL_API const char* conpool_response_trailer_value(const conpool_response* response,
                                                       size_t index, size_t* size) CONPOOL_NOEXCEPT;
/* The body of a response that was delivered whole, in one piece. NULL and 0 when it is empty or was
 * delivered in chunks. Any thread. */
CONPOOL_API const uint8_t* conpool_response_body(const conpool_response* response,
                                                 size_t* size) CONPOOL_NOEXCEPT;
/*
 * Facts as JSON text: how often the request was sent and why again, whether its connection was used
 * before, connection id and address, the attempts of its dial, protocol, when each phase ended
 * (nanoseconds from the start; names, connect and TLS only where a connection was dialed for it),
 * bytes of the bodies. Free it with conpool_text_free. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_response_describe(const conpool_response* response,
                                                     char** out) CONPOOL_NOEXCEPT;
/* Any thread, once. */
CONPOOL_API void conpool_response_free(conpool_response* response) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Connections
 *
 * A conpool_connection is one lease. Between acquire and release the bytes of the connection are
 * the caller's alone. Reads and writes may be started from any thread; reads end in the order of
 * their start, and so do writes.
 */

/*
 * Starts to read: ends as soon as there is at least one byte.
 *
 * size_max  at most so many bytes in the chunk; 0: as many as came
 *
 * The event is CONPOOL_EVENT_READ with a conpool_chunk, or with the flag CONPOOL_EVENT_EOF and no
 * object at the end of the stream. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_connection_read(conpool_connection* connection, size_t size_max,
                                                   conpool_queue* queue, uint64_t user_data,
                                                   conpool_op* out_op) CONPOOL_NOEXCEPT;

/*
 * Starts to write. The bytes are borrowed until the op's FINAL event (or until conpool_queue_close
 * of its queue has returned): neither change nor free them before. FINAL comes when the operating
 * system has accepted all of them. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_connection_write(conpool_connection* connection,
                                                    const void* data, size_t size,
                                                    conpool_queue* queue, uint64_t user_data,
                                                    conpool_op* out_op) CONPOOL_NOEXCEPT;

/* Starts to end our direction, after all writes started before. A connection ended so is not pooled
 * again. Any thread; does not block. */
CONPOOL_API conpool_status conpool_connection_shutdown_write(conpool_connection* connection,
                                                             conpool_queue* queue,
                                                             uint64_t user_data,
                                                             conpool_op* out_op) CONPOOL_NOEXCEPT;

/*
 * Lends the connection's descriptor, for code that wants to read and write itself. Not for TLS
 * connections.
 *
 * blocking  1 for a blocking descriptor, 0 for a non-blocking one
 * out_fd    a close-on-exec duplicate that is the caller's to close
 * out_read  bytes that were received already and belong before anything the descriptor gives, or
 *           NULL when there are none
 *
 * Until conpool_connection_release the library touches the connection no more. Released as reusable
 * it is pooled again only when nothing is left to read. Returns CONPOOL_E_WRONG_STATE while reads
 * or writes run, CONPOOL_E_UNSUPPORTED for TLS. Any thread; waits for the loop's current turn.
 */
CONPOOL_API conpool_status conpool_connection_lend(conpool_connection* connection, int32_t blocking,
                                                   int32_t* out_fd,
                                                   conpool_chunk** out_read) CONPOOL_NOEXCEPT;

/* How a lease ends. */
enum {
  CONPOOL_BROKEN = 0,  /* close the connection */
  CONPOOL_REUSABLE = 1 /* nothing of this lease is under way: pool it again */
};

/*
 * Ends the lease and frees the handle. Ops still running on it end with CONPOOL_E_CANCELLED, and
 * the connection closes. Any thread, once; does not block, cannot fail.
 */
CONPOOL_API void conpool_connection_release(conpool_connection* connection,
                                            int32_t how) CONPOOL_NOEXCEPT;

/* The address that won: "192.0.2.1:443", "[2001:db8::1]:443", "unix:/path". Borrowed. Any thread.
 */
CONPOOL_API const char* conpool_connection_address(const conpool_connection* connection)
    CONPOOL_NOEXCEPT;

/*
 * Facts as JSON text: id, endpoint, address, local address, reused, uses, age, how long each phase
 * of the dial took, the attempts of the race, TLS version, cipher, ALPN, whether the session was
 * resumed, the peer's certificate. Free it with conpool_text_free. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_connection_describe(const conpool_connection* connection,
                                                       char** out) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Chunks
 */

/* The bytes, valid until conpool_chunk_free. Any thread. */
CONPOOL_API const uint8_t* conpool_chunk_data(const conpool_chunk* chunk) CONPOOL_NOEXCEPT;
/* How many bytes there are. Any thread. */
CONPOOL_API size_t conpool_chunk_size(const conpool_chunk* chunk) CONPOOL_NOEXCEPT;
/* Any thread, once. Bytes held in chunks count against pool.max_pinned. */
CONPOOL_API void conpool_chunk_free(conpool_chunk* chunk) CONPOOL_NOEXCEPT;

/* ------------------------------------------------------------------------------------------
 * Lookups: the program as resolver
 */

/* The name to resolve, without a trailing dot. Borrowed. */
CONPOOL_API const char* conpool_lookup_name(const conpool_lookup* lookup) CONPOOL_NOEXCEPT;
/* 4 or 6: the family of addresses that is asked for. */
CONPOOL_API int32_t conpool_lookup_family(const conpool_lookup* lookup) CONPOOL_NOEXCEPT;

/*
 * Answers a lookup and frees it.
 *
 * addresses  "192.0.2.1,192.0.2.2", of the asked family; empty: the name has none
 *
 * Returns CONPOOL_E_BAD_ADDRESS (and the lookup stays) for a text that is no such list. Any thread;
 * does not block.
 */
CONPOOL_API conpool_status conpool_lookup_answer(conpool_lookup* lookup, const char* addresses,
                                                 size_t size) CONPOOL_NOEXCEPT;

/* Fails a lookup with a message for the error's ledger, and frees it. Any thread; does not block.
 */
CONPOOL_API conpool_status conpool_lookup_fail(conpool_lookup* lookup, const char* message,
                                               size_t size) CONPOOL_NOEXCEPT;

/* Frees a lookup that is not answered: it ends by its time limit. */
CONPOOL_API void conpool_lookup_free(conpool_lookup* lookup) CONPOOL_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif /* CONPOOL_CONPOOL_H */
