/* What the C programs of these tests share: a pool from "name=value" arguments, and leases used in
 * the plainest way. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <conpool/conpool.h>

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t now_ns(void);

/* Descriptors that this process has open. */
int open_fds(void);

/* The same, after a first pool has come and gone: libuv opens a pipe once per process and keeps it.
 */
int baseline_fds(void);

/* Waits until this process has at most so many descriptors; returns how many it has then. */
int settled_fds(int baseline);

/* Ends the program with a line on stderr. */
void die(const char* what, const char* why);

/* Sets "name=value" in a config; ends the program when it is refused. */
void set_option(conpool_config* config, const char* pair);

/* Each pair is "name=value"; they end the program when they are wrong. */
conpool_config* config_of(int count, char** pairs);
conpool_pool* pool_of(int count, char** pairs);
conpool_endpoint* endpoint_of(conpool_pool* pool, const char* url, const char* partition);

/* The event of an acquire; its object is the connection, or the error that dispose frees. */
conpool_status acquire(conpool_endpoint* endpoint, conpool_event* event);

/* Writes all of it. */
conpool_status send_all(conpool_connection* connection, const void* data, size_t size);

/* Reads until `size` bytes came. E_CONNECTION_CLOSED at the end of the stream. */
conpool_status receive(conpool_connection* connection, void* data, size_t size);

/* Reads a line into a text; the bytes after it must not exist. */
conpool_status receive_line(conpool_connection* connection, char* text, size_t capacity);

/* Sends a request line and reads the answer's line. */
conpool_status ask(conpool_connection* connection, const char* request, char* answer,
                   size_t capacity);

/* Prints a text as a JSON string. */
void print_json_text(const char* text);
