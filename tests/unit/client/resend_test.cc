// The decision to send again, over everything that it can be asked.
#include "client/resend.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace conpool::client {
namespace {

constexpr Status kAll[] = {
#define STATUS(name, value, class_, text) Status::name,
#include "base/status.def"
#undef STATUS
};

bool of_a_connection(Status status) {
  if (status == Status::E_HTTP_BODY_SOURCE || status == Status::E_HTTP_BODY_LENGTH) return false;
  const StatusClass kind = status_class(static_cast<int32_t>(status));
  return kind == StatusClass::CONNECT || kind == StatusClass::TLS || kind == StatusClass::HTTP;
}

// The table of resend.h, written once more as a reader would.
Resend expected(const SendEnd& end, const ResendRules& rules) {
  if (!of_a_connection(end.status) || end.answered || !rules.body_again) return Resend::No;
  if (end.needs_http1 && end.proof != Proof::MaybeProcessed)
    return end.status == Status::E_H2_HTTP_1_1_REQUIRED ? Resend::Http1 : Resend::Preface;
  if (end.proof == Proof::NeverSent) return Resend::Unsent;
  if (end.proof == Proof::NotProcessed) {
    if (end.status == Status::E_H2_GOAWAY && end.served) return Resend::Goaway;
    if (rules.refused_limit == 0) return Resend::No;
    if (end.status == Status::E_H2_PREFACE) return Resend::Preface;
    return end.status == Status::E_H2_GOAWAY ? Resend::Goaway : Resend::Refused;
  }
  if (end.stale && rules.idempotent && rules.stale_limit > 0) return Resend::Stale;
  return Resend::No;
}

TEST(Resends, FollowTheTableEverywhere) {
  int asked = 0;
  for (const Status status : kAll) {
    for (const Proof proof : {Proof::NeverSent, Proof::NotProcessed, Proof::MaybeProcessed}) {
      for (int bits = 0; bits < 64; ++bits) {
        for (const uint32_t limit : {0u, 1u}) {
          const SendEnd end{.status = status,
                            .proof = proof,
                            .stale = (bits & 1) != 0,
                            .needs_http1 = (bits & 2) != 0,
                            .served = (bits & 32) != 0,
                            .answered = (bits & 4) != 0};
          const ResendRules rules{.idempotent = (bits & 8) != 0,
                                  .body_again = (bits & 16) != 0,
                                  .stale_limit = limit,
                                  .refused_limit = limit};
          EXPECT_EQ(Resends(rules).decide(end), expected(end, rules))
              << status_name(status) << " " << static_cast<int>(proof) << " " << bits;
          ++asked;
        }
      }
    }
  }
  EXPECT_GT(asked, 10000);
}

// What must never happen, said on its own.
TEST(Resends, NeverRepeatWhatMayHaveBeenDone) {
  for (const Status status : kAll) {
    for (const bool stale : {false, true}) {
      for (const bool http1 : {false, true}) {
        Resends resends({.idempotent = false});
        EXPECT_EQ(resends.decide({.status = status,
                                  .proof = Proof::MaybeProcessed,
                                  .stale = stale,
                                  .needs_http1 = http1}),
                  Resend::No);
      }
    }
  }
}

int count(Resends resends, const SendEnd& end) {
  int times = 0;
  while (times < 1000 && resends.decide(end) != Resend::No)
    ++times;
  return times;
}

TEST(Resends, EndAtTheirLimits) {
  const ResendRules rules{.idempotent = true, .stale_limit = 2, .refused_limit = 5};
  const Resends resends(rules);
  EXPECT_EQ(count(resends, {.status = Status::E_HTTP_NO_RESPONSE, .stale = true}), 2);
  EXPECT_EQ(count(resends, {.status = Status::E_H2_REFUSED, .proof = Proof::NotProcessed}), 5);
  EXPECT_EQ(count(resends, {.status = Status::E_H2_GOAWAY, .proof = Proof::NotProcessed}), 5);
  EXPECT_EQ(count(resends, {.status = Status::E_H2_PREFACE, .proof = Proof::NotProcessed}), 5);
  // Those of a server that gets on are not counted.
  EXPECT_EQ(
      count(resends, {.status = Status::E_H2_GOAWAY, .proof = Proof::NotProcessed, .served = true}),
      1000);
  EXPECT_EQ(count(resends,
                  {.status = Status::E_H2_REFUSED, .proof = Proof::NotProcessed, .served = true}),
            5);
  EXPECT_EQ(count(resends, {.status = Status::E_CONNECTION_RESET, .proof = Proof::NeverSent}),
            static_cast<int>(limits::kUnsentResends));
  EXPECT_EQ(count(resends, {.status = Status::E_H2_HTTP_1_1_REQUIRED,
                            .proof = Proof::NotProcessed,
                            .needs_http1 = true}),
            static_cast<int>(limits::kHttp1Resends));
}

TEST(Resends, LimitsAreOfEachReasonAlone) {
  Resends resends({.idempotent = true, .stale_limit = 1, .refused_limit = 1});
  const SendEnd stale{.status = Status::E_HTTP_NO_RESPONSE, .stale = true};
  const SendEnd refused{.status = Status::E_H2_REFUSED, .proof = Proof::NotProcessed};
  EXPECT_EQ(resends.decide(stale), Resend::Stale);
  EXPECT_EQ(resends.decide(refused), Resend::Refused);
  EXPECT_EQ(resends.decide(stale), Resend::No);
  EXPECT_EQ(resends.decide(refused), Resend::No);
}

TEST(Resends, StopOnceABodyIsGone) {
  Resends resends({.idempotent = true});
  const SendEnd refused{.status = Status::E_H2_REFUSED, .proof = Proof::NotProcessed};
  EXPECT_EQ(resends.decide(refused), Resend::Refused);
  resends.body_was_taken();
  EXPECT_EQ(resends.decide(refused), Resend::No);
}

TEST(Methods, IdempotentOnesAreThoseOfTheStandard) {
  for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
    EXPECT_TRUE(idempotent_method(method)) << method;
  for (const char* method : {"POST", "PATCH", "get", "", "GETS", "CONNECT"})
    EXPECT_FALSE(idempotent_method(method)) << method;
}

}  // namespace
}  // namespace conpool::client
