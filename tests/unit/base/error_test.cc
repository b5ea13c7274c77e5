// The ledger's text forms, to the letter.
#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>

namespace conpool {
namespace {

Failure refused() {
  return {.status = Status::E_CONNECT_REFUSED, .os_error = ECONNREFUSED};
}

TEST(FailureText, NamesErrnoAndDetail) {
  EXPECT_EQ(failure_text({.status = Status::E_CLOSED}), "closed");
  EXPECT_EQ(failure_text(refused()), "connection refused (ECONNREFUSED)");
  EXPECT_EQ(failure_text({.status = Status::E_CONNECT_FAILED, .os_error = 4711}),
            "connect failed (errno 4711)");
  EXPECT_EQ(failure_text({.status = Status::E_SYSTEM, .os_error = EMFILE, .detail = "at socket"}),
            "operating system error (EMFILE): at socket");
  EXPECT_EQ(failure_text({.status = Status::E_DNS_APPLICATION, .detail = "a\nb\x1b[2J"}),
            "the application's resolver failed: a\\x0ab\\x1b[2J");
}

TEST(DurationText, ThreeDigitsAtMost) {
  struct Case {
    Nanos duration;
    const char* text;
  };
  const Case cases[] = {
      {0, "0s"},
      {1, "1ns"},
      {999, "999ns"},
      {1000, "1us"},
      {12 * kMicrosecond, "12us"},
      {12340, "12.3us"},
      {1234, "1.23us"},
      {1235, "1.24us"},
      {1500, "1.5us"},
      {999'499, "999us"},
      {999'500, "1ms"},
      {250 * kMillisecond, "250ms"},
      {1'005 * kMillisecond, "1.01s"},
      {1'500 * kMillisecond, "1.5s"},
      {999'999'999, "1s"},
      {9'999 * kMillisecond, "10s"},
      {99'960 * kMillisecond, "100s"},
      {60 * kSecond, "60s"},
      {1000 * kSecond, "16.7min"},
      {90 * kMinute, "90min"},
      {1000 * kMinute, "16.7h"},
      {48 * kHour, "48h"},
      {12345 * kHour, "12345h"},
      {-1'500 * kMillisecond, "-1.5s"},
      {kNever, "for ever"},
      {kNever - 1, "2562047h"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(duration_text(c.duration), c.text) << c.duration;
  EXPECT_FALSE(duration_text(std::numeric_limits<int64_t>::min()).empty());
}

Error refused_on_localhost() {
  Error error;
  error.cause = refused();
  error.phase = Phase::Connect;
  error.context = {"connecting to tcp:127.0.0.1:8088", "connecting to localhost:8088",
                   "after 3 retry attempts"};
  return error;
}

TEST(Error, LineStacksTheContext) {
  EXPECT_EQ(refused_on_localhost().line(),
            "connection refused (ECONNREFUSED), connecting to tcp:127.0.0.1:8088, "
            "connecting to localhost:8088, after 3 retry attempts");
}

TEST(Error, ReportListsEveryAttempt) {
  Error error = refused_on_localhost();
  error.add_attempt({.phase = Phase::Dns,
                     .target = "AAAA localhost @hosts",
                     .started = 0,
                     .duration = 12 * kMicrosecond,
                     .failure = {.status = Status::OK}});
  error.add_attempt({.phase = Phase::Connect,
                     .target = "tcp:[::1]:8088",
                     .started = 1'200 * kMicrosecond,
                     .duration = 85 * kMicrosecond,
                     .failure = refused()});
  error.add_attempt({.phase = Phase::Connect,
                     .target = "tcp:127.0.0.1:8088",
                     .started = 251 * kMillisecond,
                     .duration = 60 * kMicrosecond,
                     .round = 2,
                     .failure = refused()});
  EXPECT_EQ(error.report(),
            "connection refused (ECONNREFUSED)\n"
            "  connecting to tcp:127.0.0.1:8088\n"
            "  connecting to localhost:8088\n"
            "  after 3 retry attempts\n"
            "  attempts:\n"
            "    round 1: AAAA localhost @hosts: success, started at 0s, took 12us\n"
            "    round 1: tcp:[::1]:8088: connection refused (ECONNREFUSED), started at 1.2ms, "
            "took 85us\n"
            "    round 2: tcp:127.0.0.1:8088: connection refused (ECONNREFUSED), started at 251ms, "
            "took 60us");
}

TEST(Error, ReportWithoutAttemptsHasNoBlock) {
  ErrorPtr error = make_error({.status = Status::E_QUEUE_TIMEOUT}, Phase::Queue, {"waiting"});
  EXPECT_EQ(error->report(), "no connection became free in time\n  waiting");
  EXPECT_EQ(error->phase, Phase::Queue);
  EXPECT_EQ(error->proof, Proof::NeverSent);
}

TEST(Error, AttemptsHaveALimitAndTheRestIsCounted) {
  Error error;
  error.cause = refused();
  for (size_t i = 0; i < Error::kMaxAttempts + 3; ++i)
    error.add_attempt({.target = "x"});
  EXPECT_EQ(error.attempts.size(), Error::kMaxAttempts);
  EXPECT_EQ(error.attempts_dropped, 3u);
  EXPECT_TRUE(error.report().ends_with("\n    and 3 more, not kept"));
}

TEST(Error, OneLineStaysOneLine) {
  Error error;
  error.cause = {.status = Status::E_DNS_APPLICATION, .detail = "x\r\ny"};
  error.context = {"a\nb"};
  EXPECT_EQ(error.line().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace conpool
