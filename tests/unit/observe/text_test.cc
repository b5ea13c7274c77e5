// The text forms, as far as exact texts tell more than parsing them back (forms_test.py does that).
#include "observe/text.h"

#include <gtest/gtest.h>

#include <limits>

#include "observe/events.h"
#include "observe/metrics.h"

namespace conpool::observe {
namespace {

std::string json(std::string_view text) {
  std::string out;
  append_json_string(&out, text);
  return out;
}

TEST(Json, EscapesWhatMustBeEscaped) {
  EXPECT_EQ(json("a\"b\\c\n\r\t\x01\x7f/"), R"("a\"b\\c\n\r\t\u0001\u007f/")");
  EXPECT_EQ(json(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(Json, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(json("\xff"), "\"" + bad + "\"");
  EXPECT_EQ(json("\xc0\x80"), "\"" + bad + bad + "\"");            // overlong NUL
  EXPECT_EQ(json("\xed\xa0\x80"), "\"" + bad + bad + bad + "\"");  // surrogate
  EXPECT_EQ(json("\xf4\x90\x80\x80"), "\"" + bad + bad + bad + bad + "\"");
  EXPECT_EQ(json("\xe2\x82"), "\"" + bad + bad + "\"");  // truncated
}

TEST(Plain, NothingATerminalObeysGetsThrough) {
  std::string out;
  append_plain(&out,
               "a\x1b[31m\n\xc2\x9b"
               "b\xff\xc3\xa9");
  EXPECT_EQ(out, "a?[31m??b?\xc3\xa9");
}

TEST(CutUtf8, CutsBetweenCharacters) {
  EXPECT_EQ(cut_utf8("abc", 3), "abc");
  EXPECT_EQ(cut_utf8("ab\xc3\xa9", 3), "ab");
  EXPECT_EQ(cut_utf8("a\xf0\x9f\x98\x80", 4), "a");
  EXPECT_EQ(cut_utf8("\x80\x80\x80\x80\x80\x80", 5), "\x80\x80\x80\x80\x80");
}

TEST(Scaled, IsExactAtTheEnds) {
  const auto scaled = [](int64_t value, int decimals) {
    std::string out;
    append_scaled(&out, value, decimals);
    return out;
  };
  EXPECT_EQ(scaled(1500, 3), "1.500");
  EXPECT_EQ(scaled(-7, 3), "-0.007");
  EXPECT_EQ(scaled(7, 0), "7");
  EXPECT_EQ(scaled(std::numeric_limits<int64_t>::min(), 9), "-9223372036.854775808");
}

EventRecord record(const Event& event) {
  EventRing ring(1, EventLevel::DEBUG);
  ring.emit(event);
  return ring.snapshot().records.at(0);
}

TEST(EventText, AFailedAttemptReadsWell) {
  const EventRecord failed = record({.kind = EventKind::RaceAttemptFailed,
                                     .time = 1'250'134'000,
                                     .endpoint = 1,
                                     .status = Status::E_CONNECT_REFUSED,
                                     .os_error = ECONNREFUSED,
                                     .first = 2,
                                     .duration = 12 * kMillisecond,
                                     .text = "192.0.2.1:443"});
  EXPECT_EQ(events_text({&failed, 1}, kSecond),
            "   0.250134  info    race.attempt_failed       endpoint=1 attempt=2 192.0.2.1:443"
            " in 12ms"
            ": connection refused (ECONNREFUSED)\n");
  EXPECT_EQ(
      events_jsonl({&failed, 1}),
      R"({"sequence":1,"time_ns":1250134000,"level":"info",)"
      R"("event":"race.attempt_failed","endpoint":1,)"
      R"("duration_ns":12000000,"status":"E_CONNECT_REFUSED","errno":"ECONNREFUSED","attempt":2,)"
      R"("text":"192.0.2.1:443"})"
      "\n");
}

TEST(EventText, TimesNamedNsReadAsDurations) {
  const EventRecord retry =
      record({.kind = EventKind::DialRetry, .first = 1, .second = 100 * kMillisecond});
  EXPECT_EQ(events_text({&retry, 1}, 0),
            "   0.000000  info    dial.retry                round=1 delay=100ms\n");
}

TEST(MetricsText, TellsScopeNameLabelsAndValue) {
  Metrics pool(MetricScope::POOL);
  Metrics endpoint(MetricScope::ENDPOINT, &pool);
  Metrics address(MetricScope::ADDRESS, &endpoint);
  address.add(Counter::ConnectionsOpen, 3);
  MetricNode root(pool, "");
  root.children.emplace_back(endpoint, "tcp://h\"q:1");
  root.children[0].children.emplace_back(address, "192.0.2.1:1");
  root.children[0].children[0].facts.push_back({"state", std::string("healthy")});
  const std::string text = metrics_text(root);
  const auto has = [&](const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has("pool.connections.open=3")) << text;
  EXPECT_TRUE(has(R"(endpoint.connections.open{endpoint="tcp://h\"q:1"}=3)"));
  EXPECT_TRUE(has(R"(address.state{endpoint="tcp://h\"q:1",address="192.0.2.1:1"}="healthy")"));
  EXPECT_TRUE(has("pool.dns.queries=0"));
  EXPECT_EQ(text.find("endpoint.dns.queries"), std::string::npos);  // a pool figure only
  EXPECT_EQ(text.find("queue.wait"), std::string::npos);            // nothing recorded
}

}  // namespace
}  // namespace conpool::observe
