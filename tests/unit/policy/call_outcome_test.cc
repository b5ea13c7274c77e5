// What the end of a call says of its server: each row of policy/call_outcome.h.
#include "policy/call_outcome.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace conpool::policy {
namespace {

TEST(CallOutcomeOfDial, ConnectsAndHandshakesThatFailAreFailures) {
  for (const Status status :
       {Status::E_CONNECT_REFUSED, Status::E_CONNECT_TIMEOUT, Status::E_CONNECT_UNREACHABLE,
        Status::E_CONNECT_RESET, Status::E_DIAL_TIMEOUT, Status::E_HOP_FAILED,
        Status::E_TLS_HANDSHAKE, Status::E_TLS_TIMEOUT, Status::E_TLS_TRUNCATED})
    EXPECT_EQ(outcome_of_dial({.status = status}), CallOutcome::Failure) << status_name(status);
}

TEST(CallOutcomeOfDial, VerdictsNamesAndOurOwnLimitsAreIgnored) {
  for (const Status status :
       {Status::E_TLS_CERTIFICATE, Status::E_TLS_CONFIG, Status::E_DNS_NOT_FOUND,
        Status::E_DNS_TIMEOUT, Status::E_DNS_SERVER_FAILURE, Status::E_CANCELLED, Status::E_TIMEOUT,
        Status::E_CLOSED, Status::E_QUEUE_TIMEOUT, Status::E_FD_LIMIT, Status::E_NOMEM})
    EXPECT_EQ(outcome_of_dial({.status = status}), CallOutcome::Ignored) << status_name(status);
}

TEST(CallOutcomeOfDial, AShortageOfThisMachineIsIgnoredWhateverItsStatus) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL}) {
    const Failure failure{.status = Status::E_CONNECT_UNREACHABLE, .os_error = error};
    EXPECT_TRUE(local_shortage(failure)) << error;
    EXPECT_EQ(outcome_of_dial(failure), CallOutcome::Ignored) << error;
    EXPECT_EQ(outcome_of_send(failure, {.fresh = true}), CallOutcome::Ignored) << error;
  }
  for (const int error : {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, 0})
    EXPECT_FALSE(local_shortage({.status = Status::E_CONNECT_REFUSED, .os_error = error}));
}

TEST(CallOutcomeOfSend, WhatMayHaveBeenProcessedIsAFailure) {
  for (const Status status :
       {Status::E_HTTP_NO_RESPONSE, Status::E_HTTP_TRUNCATED, Status::E_HTTP_MALFORMED,
        Status::E_HTTP_FIRST_BYTE_TIMEOUT, Status::E_STALL_TIMEOUT, Status::E_CONNECTION_RESET,
        Status::E_H2_STREAM_RESET, Status::E_H2_PING_TIMEOUT, Status::E_TLS_TRUNCATED})
    EXPECT_EQ(outcome_of_send({.status = status}, {}), CallOutcome::Failure) << status_name(status);
  for (const Status status :
       {Status::E_TIMEOUT, Status::E_CANCELLED, Status::E_CLOSED, Status::E_HTTP_BODY_LIMIT,
        Status::E_HTTP_BODY_SOURCE, Status::E_HTTP_BODY_LENGTH, Status::E_NOMEM})
    EXPECT_EQ(outcome_of_send({.status = status}, {}), CallOutcome::Ignored) << status_name(status);
}

TEST(CallOutcomeOfSend, RacesAndThePeersWordAreIgnored) {
  const Failure reset{.status = Status::E_CONNECTION_RESET};
  EXPECT_EQ(outcome_of_send(reset, {.stale = true}), CallOutcome::Ignored);
  EXPECT_EQ(outcome_of_send({.status = Status::E_H2_REFUSED}, {.proof = Proof::NotProcessed}),
            CallOutcome::Ignored);
  EXPECT_EQ(outcome_of_send({.status = Status::E_H2_GOAWAY},
                            {.proof = Proof::NotProcessed, .fresh = true}),
            CallOutcome::Ignored);
  EXPECT_EQ(outcome_of_send(reset, {.proof = Proof::NeverSent}), CallOutcome::Ignored);
  // A peer that accepts and ends at once is down.
  EXPECT_EQ(outcome_of_send(reset, {.proof = Proof::NeverSent, .fresh = true}),
            CallOutcome::Failure);
}

TEST(HungUp, IsTheEndOfANewConnectionBeforeAnyAnswer) {
  for (const Status status : {Status::E_HTTP_NO_RESPONSE, Status::E_CONNECTION_CLOSED,
                              Status::E_CONNECTION_RESET, Status::E_CONNECTION_FAILED}) {
    EXPECT_TRUE(hung_up({.status = status}, {.fresh = true})) << status_name(status);
    EXPECT_TRUE(hung_up({.status = status}, {.proof = Proof::NeverSent, .fresh = true}));
    EXPECT_FALSE(hung_up({.status = status}, {.fresh = false})) << status_name(status);
  }
  for (const Status status :
       {Status::E_HTTP_TRUNCATED, Status::E_HTTP_MALFORMED, Status::E_HTTP_FIRST_BYTE_TIMEOUT,
        Status::E_H2_STREAM_RESET, Status::E_H2_GOAWAY, Status::E_H2_PREFACE, Status::E_TIMEOUT,
        Status::E_CANCELLED, Status::E_CLOSED, Status::E_TLS_TRUNCATED, Status::E_STALL_TIMEOUT})
    EXPECT_FALSE(hung_up({.status = status}, {.fresh = true})) << status_name(status);
  EXPECT_FALSE(hung_up({.status = Status::E_CONNECTION_FAILED, .os_error = ENOBUFS},
                       {.fresh = true}));
}

}  // namespace
}  // namespace conpool::policy
