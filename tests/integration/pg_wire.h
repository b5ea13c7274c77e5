/* As much of PostgreSQL's protocol (version 3.0) as a login without password and a simple query
 * need. */
#pragma once

#include <string.h>

#include "client.h"

enum { PG_TEXT = 256, PG_COLUMNS = 8 };

/* The first row of a query's answer, or the server's message. */
typedef struct pg_row {
  int columns;
  char value[PG_COLUMNS][PG_TEXT];
  char message[PG_TEXT];
} pg_row;

static void pg_put(unsigned char* at, uint32_t number) {
  at[0] = (unsigned char)(number >> 24);
  at[1] = (unsigned char)(number >> 16);
  at[2] = (unsigned char)(number >> 8);
  at[3] = (unsigned char)number;
}

static uint32_t pg_get(const unsigned char* at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void pg_keep_row(const unsigned char* body, uint32_t size, pg_row* row) {
  uint32_t at = 2;
  if (size < 2) die("PostgreSQL", "a row too short");
  int columns = body[0] << 8 | body[1];
  for (row->columns = 0; row->columns < columns && row->columns < PG_COLUMNS; row->columns++) {
    uint32_t length = at + 4 <= size ? pg_get(body + at) : size;
    if (length >= PG_TEXT || at + 4 + length > size) die("PostgreSQL", "a value too long");
    memcpy(row->value[row->columns], body + at + 4, length);
    row->value[row->columns][length] = 0;
    at += 4 + length;
  }
}

/* Reads messages up to ReadyForQuery; E_CONNECTION_FAILED after an ErrorResponse. */
static conpool_status pg_answer(conpool_connection* connection, pg_row* row) {
  conpool_status result = CONPOOL_OK;
  for (;;) {
    unsigned char head[5], body[4096];
    conpool_status status = receive(connection, head, sizeof head);
    uint32_t size = pg_get(head + 1) - 4;
    if (status == CONPOOL_OK && size >= sizeof body) die("PostgreSQL", "a message too long");
    if (status == CONPOOL_OK && size > 0) status = receive(connection, body, size);
    if (status != CONPOOL_OK) return status;
    body[size] = 0;
    if (head[0] == 'Z') return result;
    if (head[0] == 'R' && (size < 4 || pg_get(body) != 0)) die("PostgreSQL", "wants a password");
    if (head[0] == 'D' && row->columns == 0) pg_keep_row(body, size, row);
    if (head[0] == 'E') {
      const size_t text = strnlen((char*)body, PG_TEXT - 1);
      memcpy(row->message, body, text);
      row->message[text] = 0;
      result = CONPOOL_E_CONNECTION_FAILED;
    }
  }
}

static conpool_status pg_login(conpool_connection* connection, const char* user, pg_row* row) {
  unsigned char message[512];
  int size = 8;
  const char* const words[] = {"user", user, "database", "postgres"};
  memset(row, 0, sizeof *row);
  pg_put(message + 4, 196608);
  for (int i = 0; i < 4; i++) {
    size_t length = strlen(words[i]) + 1;
    memcpy(message + size, words[i], length);
    size += (int)length;
  }
  message[size++] = 0;
  pg_put(message, (uint32_t)size);
  conpool_status status = send_all(connection, message, (size_t)size);
  return status != CONPOOL_OK ? status : pg_answer(connection, row);
}

static conpool_status pg_query(conpool_connection* connection, const char* sql, pg_row* row) {
  unsigned char message[1024];
  size_t length = strlen(sql) + 1;
  memset(row, 0, sizeof *row);
  message[0] = 'Q';
  pg_put(message + 1, (uint32_t)length + 4);
  memcpy(message + 5, sql, length);
  conpool_status status = send_all(connection, message, length + 5);
  return status != CONPOOL_OK ? status : pg_answer(connection, row);
}
