// What an endpoint remembers of its server, at exact times.
#include <gtest/gtest.h>

#include "pool/protocol_memory.h"

namespace conpool::pool {
namespace {

using Known = ProtocolMemory::Known;

TEST(ProtocolMemory, ForgetsAWhileAfterTheLastConfirmation) {
  ProtocolMemory memory(10 * kMinute);
  EXPECT_EQ(memory.known(kSecond), Known::Unknown);
  memory.note_http2(kSecond);
  memory.note_stream_limit(250);
  EXPECT_EQ(memory.known(10 * kMinute + kSecond - 1), Known::Http2);
  EXPECT_EQ(memory.stream_limit(10 * kMinute + kSecond - 1), 250u);
  EXPECT_EQ(memory.known(10 * kMinute + kSecond), Known::Unknown);
  EXPECT_EQ(memory.stream_limit(10 * kMinute + kSecond), 0u);
  memory.note_http2(5 * kMinute);
  EXPECT_EQ(memory.known(12 * kMinute), Known::Http2);
  EXPECT_EQ(memory.stream_limit(12 * kMinute), 250u);
}

TEST(ProtocolMemory, FollowsAServerThatSwitches) {
  ProtocolMemory memory(kMinute);
  memory.note_http2(0);
  memory.note_stream_limit(7);
  memory.note_http1(kSecond);
  EXPECT_EQ(memory.known(kSecond), Known::Http1);
  memory.note_http2(2 * kSecond);
  EXPECT_EQ(memory.known(2 * kSecond), Known::Http2);
  EXPECT_EQ(memory.stream_limit(2 * kSecond), 0u);
}

TEST(ProtocolMemory, ADemandForHttp1OutlivesTheConnectionsThatFollowIt) {
  ProtocolMemory memory(kMinute);
  memory.note_http2(0);
  memory.note_needs_http1(kSecond);
  memory.note_http1(30 * kSecond);
  EXPECT_EQ(memory.known(60 * kSecond), Known::NeedsHttp1);
  EXPECT_EQ(memory.known(61 * kSecond), Known::Unknown);
}

TEST(ProtocolMemory, WithoutALifetimeNothingIsRemembered) {
  ProtocolMemory memory(0);
  memory.note_http2(kSecond);
  EXPECT_EQ(memory.known(kSecond), Known::Unknown);
}

TEST(ProtocolMemory, LearnsAnIdleLimitFromTwoClosesAlike) {
  ProtocolMemory memory(10 * kMinute);
  memory.note_idle_close(kMinute, 5 * kSecond);
  EXPECT_EQ(memory.idle_limit(kMinute), kNever);
  memory.note_idle_close(2 * kMinute, 30 * kSecond);  // of another cause
  EXPECT_EQ(memory.idle_limit(2 * kMinute), kNever);
  memory.note_idle_close(3 * kMinute, 29 * kSecond);
  EXPECT_EQ(memory.idle_limit(3 * kMinute), 29 * kSecond);
  EXPECT_EQ(memory.idle_limit(13 * kMinute), kNever);
}

TEST(ProtocolMemory, ConnectionsThatCloseTogetherAreOneOccasion) {
  ProtocolMemory memory(10 * kMinute);
  for (int i = 0; i < 4; ++i)
    memory.note_idle_close(kMinute, 2 * kSecond);
  EXPECT_EQ(memory.idle_limit(kMinute), kNever);
  memory.note_idle_close(kMinute + 3 * kSecond, 2 * kSecond);
  EXPECT_EQ(memory.idle_limit(kMinute + 3 * kSecond), 2 * kSecond);
}

TEST(ProtocolMemory, ADemandForHttp1HoldsForTheRequestThatMetIt) {
  ProtocolMemory memory(0);
  memory.note_needs_http1(kSecond);
  EXPECT_EQ(memory.known(kSecond), Known::NeedsHttp1);
  EXPECT_EQ(memory.known(kSecond + ProtocolMemory::kLeastNeed), Known::Unknown);
}

TEST(ProtocolMemory, ClosesOfBusyConnectionsTeachNothing) {
  ProtocolMemory memory(10 * kMinute);
  memory.note_idle_close(kMinute, 20 * kMillisecond);
  memory.note_idle_close(kMinute, 20 * kMillisecond);
  EXPECT_EQ(memory.idle_limit(kMinute), kNever);
}

TEST(ProtocolMemory, WhatTheServerSaysCountsAtOnce) {
  ProtocolMemory memory(10 * kMinute);
  memory.note_idle_limit(kMinute, 5 * kSecond);
  EXPECT_EQ(memory.idle_limit(kMinute), 5 * kSecond);
}

}  // namespace
}  // namespace conpool::pool
