// Which failures the retry policy repeats: each row of client/retry.h.
#include "client/retry.h"

#include <gtest/gtest.h>

namespace conpool::client {
namespace {

bool repeats(Status status, Proof proof, bool idempotent, bool answered = false) {
  return may_retry({.failure = {.status = status}, .proof = proof, .answered = answered},
                   idempotent);
}

TEST(MayRetry, WhatWasNeverSentForAnyRequest) {
  for (const Status status :
       {Status::E_CONNECT_REFUSED, Status::E_CONNECT_TIMEOUT, Status::E_CONNECT_UNREACHABLE,
        Status::E_DIAL_TIMEOUT, Status::E_TLS_HANDSHAKE, Status::E_TLS_TIMEOUT, Status::E_FD_LIMIT,
        Status::E_DNS_TIMEOUT, Status::E_DNS_SERVER_FAILURE, Status::E_DNS_UNREACHABLE,
        Status::E_CONNECTION_RESET}) {
    EXPECT_TRUE(repeats(status, Proof::NeverSent, false)) << status_name(status);
    EXPECT_TRUE(repeats(status, Proof::NeverSent, true)) << status_name(status);
  }
}

TEST(MayRetry, WhatThePeerCallsUnprocessedForAnyRequest) {
  for (const Status status : {Status::E_H2_REFUSED, Status::E_H2_GOAWAY})
    EXPECT_TRUE(repeats(status, Proof::NotProcessed, false)) << status_name(status);
  // By our own conclusion, not by its word.
  EXPECT_FALSE(repeats(Status::E_H2_PREFACE, Proof::NotProcessed, false));
  EXPECT_TRUE(repeats(Status::E_H2_PREFACE, Proof::NotProcessed, true));
}

TEST(MayRetry, WhatMayHaveBeenProcessedForIdempotentRequestsAlone) {
  for (const Status status :
       {Status::E_HTTP_NO_RESPONSE, Status::E_HTTP_FIRST_BYTE_TIMEOUT, Status::E_CONNECTION_RESET,
        Status::E_STALL_TIMEOUT, Status::E_H2_STREAM_RESET, Status::E_H2_PING_TIMEOUT,
        Status::E_HTTP_MALFORMED, Status::E_TLS_TRUNCATED}) {
    EXPECT_TRUE(repeats(status, Proof::MaybeProcessed, true)) << status_name(status);
    EXPECT_FALSE(repeats(status, Proof::MaybeProcessed, false)) << status_name(status);
  }
}

TEST(MayRetry, NothingAfterAByteOfTheResponse) {
  for (const Proof proof : {Proof::NeverSent, Proof::NotProcessed, Proof::MaybeProcessed})
    EXPECT_FALSE(repeats(Status::E_CONNECTION_RESET, proof, true, true));
}

TEST(MayRetry, NothingThatWouldEndTheSameOrIsTheCallersOwn) {
  for (const Status status : {Status::E_TLS_CERTIFICATE,
                              Status::E_TLS_CONFIG,
                              Status::E_DNS_NOT_FOUND,
                              Status::E_DNS_NO_DATA,
                              Status::E_DNS_DISABLED,
                              Status::E_DNS_RESERVED,
                              Status::E_WAITERS_LIMIT,
                              Status::E_QUEUE_TIMEOUT,
                              Status::E_POOL_EXHAUSTED,
                              Status::E_BREAKER_OPEN,
                              Status::E_ENDPOINTS_LIMIT,
                              Status::E_TIMEOUT,
                              Status::E_CANCELLED,
                              Status::E_CLOSED,
                              Status::E_NOMEM,
                              Status::E_HTTP_BODY_SOURCE,
                              Status::E_HTTP_BODY_LENGTH,
                              Status::E_HTTP_BODY_LIMIT,
                              Status::E_HTTP_HEADER_LIMIT,
                              Status::E_HTTP_INTERIM_LIMIT,
                              Status::E_HTTP_UPGRADED}) {
    for (const Proof proof : {Proof::NeverSent, Proof::NotProcessed, Proof::MaybeProcessed})
      EXPECT_FALSE(repeats(status, proof, true)) << status_name(status);
  }
}

TEST(MayRetry, OurOwnTimeoutsCostMore) {
  for (const Status status :
       {Status::E_CONNECT_TIMEOUT, Status::E_DIAL_TIMEOUT, Status::E_TLS_TIMEOUT,
        Status::E_STALL_TIMEOUT, Status::E_HTTP_FIRST_BYTE_TIMEOUT, Status::E_H2_PING_TIMEOUT,
        Status::E_DNS_TIMEOUT})
    EXPECT_TRUE(was_timeout(status)) << status_name(status);
  for (const Status status : {Status::E_CONNECT_REFUSED, Status::E_HTTP_NO_RESPONSE,
                              Status::E_TIMEOUT, Status::E_QUEUE_TIMEOUT, Status::OK})
    EXPECT_FALSE(was_timeout(status)) << status_name(status);
}

}  // namespace
}  // namespace conpool::client
