// The decoder over the table of raw responses, in one piece, in two at every byte, and byte by
// byte.
#include "http1/decoder.h"

#include <gtest/gtest.h>

#include <set>

#include "unit/http1/response_table.h"

namespace conpool::http1 {
namespace {

using table::Case;
using Event = Decoder::Event;

// What a decoder made of some bytes.
struct Verdict {
  Reason reason = Reason::None;
  bool complete = false;
  uint16_t status = 0;
  std::string interim;
  std::string fields;
  std::string body;
  std::string trailers;
  bool reusable = false;
  size_t taken = 0;
  bool operator==(const Verdict&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Verdict& v) {
  return out << reason_name(v.reason) << (v.complete ? " complete " : " ") << v.status
             << " interim " << v.interim << " fields " << in_quotes(v.fields) << " body "
             << in_quotes(v.body) << " trailers " << in_quotes(v.trailers)
             << (v.reusable ? " reusable" : "") << " taken " << v.taken;
}

std::string lines_of(const session::Fields& fields) {
  std::string text;
  for (size_t i = 0; i < fields.size(); ++i)
    text.append(fields[i].name).append(": ").append(fields[i].value).append("\n");
  return text;
}

class Reading {
 public:
  explicit Reading(bool to_head, const DecoderLimits& limits = {}) : decoder_(limits) {
    decoder_.begin(to_head);
  }
  // False once it is over.
  bool feed(std::string_view piece) {
    std::span<const uint8_t> input = as_bytes(piece);
    while (!over_) {
      const Event event = decoder_.next(input);
      if (event == Event::NeedMore) {
        EXPECT_TRUE(input.empty());
        break;
      }
      take(event);
    }
    verdict_.taken += piece.size() - input.size();
    return !over_;
  }
  void end() {
    if (!over_) take(decoder_.end());
  }
  const Verdict& verdict() const { return verdict_; }
  Decoder& decoder() { return decoder_; }

 private:
  void take(Event event) {
    switch (event) {
      case Event::NeedMore:
        break;
      case Event::Interim:
        if (!verdict_.interim.empty()) verdict_.interim += " ";
        verdict_.interim += std::to_string(decoder_.take_head().status);
        break;
      case Event::Head: {
        const session::ResponseHead head = decoder_.take_head();
        verdict_.status = head.status;
        verdict_.fields = lines_of(head.fields);
        break;
      }
      case Event::Body:
        EXPECT_FALSE(decoder_.body().empty());
        verdict_.body += as_text(decoder_.body());
        break;
      case Event::Trailers:
        verdict_.trailers = lines_of(decoder_.take_trailers());
        break;
      case Event::Done:
        over_ = verdict_.complete = true;
        verdict_.reusable = decoder_.reusable();
        break;
      case Event::Error:
        over_ = true;
        verdict_.reason = decoder_.reason();
        break;
    }
  }

  Decoder decoder_;
  Verdict verdict_;
  bool over_ = false;
};

Verdict expected(const Case& row) {
  return {.complete = true,
          .status = row.status,
          .interim = row.interim,
          .fields = row.fields,
          .body = row.body,
          .trailers = row.trailers,
          .reusable = row.reusable,
          .taken = row.bytes.size() - row.extra};
}

void expect_verdict(const Case& row, const Verdict& got) {
  if (row.reason == Reason::None) {
    EXPECT_EQ(got, expected(row));
  } else {
    EXPECT_EQ(reason_name(got.reason), reason_name(row.reason)) << got;
    EXPECT_FALSE(got.complete);
  }
}

Verdict decode(const Case& row, size_t cut) {
  Reading run(row.to_head);
  const std::string_view bytes = row.bytes;
  if (run.feed(bytes.substr(0, cut)) && run.feed(bytes.substr(cut)) && row.ends) run.end();
  return run.verdict();
}

TEST(ResponseTable, HasItsRows) {
  const std::vector<Case> rows = table::response_table();
  EXPECT_GE(rows.size(), 300u);
  std::set<std::string> names;
  std::set<Reason> reasons;
  for (const Case& row : rows) {
    EXPECT_TRUE(names.insert(row.name).second) << "twice: " << row.name;
    reasons.insert(row.reason);
  }
  // Every reason has a row.
#define REASON(name, status, text, rule) EXPECT_EQ(reasons.count(Reason::name), 1u) << #name;
#include "http1/reasons.def"
#undef REASON
}

TEST(ResponseTable, InOnePiece) {
  for (const Case& row : table::response_table()) {
    SCOPED_TRACE(row.name);
    expect_verdict(row, decode(row, row.bytes.size()));
  }
}

TEST(ResponseTable, InTwoPiecesAtEveryByte) {
  for (const Case& row : table::response_table()) {
    SCOPED_TRACE(row.name);
    const size_t size = row.bytes.size();
    // Large rows are cut at some hundred places, those around their ends among them.
    const size_t step = size < 6000 ? 1 : size / 97;
    for (size_t cut = 0; cut <= size; cut += cut < 64 || cut + 64 + step > size ? 1 : step) {
      expect_verdict(row, decode(row, cut));
      ASSERT_FALSE(testing::Test::HasFailure()) << "cut at " << cut;
    }
  }
}

TEST(ResponseTable, ByteByByte) {
  for (const Case& row : table::response_table()) {
    SCOPED_TRACE(row.name);
    Reading run(row.to_head);
    bool more = true;
    for (size_t i = 0; i < row.bytes.size() && more; ++i)
      more = run.feed(std::string_view(row.bytes).substr(i, 1));
    if (more && row.ends) run.end();
    expect_verdict(row, run.verdict());
  }
}

TEST(ResponseTable, EveryCutResponseFails) {
  // No beginning of an accepted response passes for a whole one when the connection breaks.
  for (const Case& row : table::response_table()) {
    if (row.reason != Reason::None || row.bytes.size() > 6000) continue;
    SCOPED_TRACE(row.name);
    const size_t whole = row.bytes.size() - row.extra;
    for (size_t size = 0; size < whole; ++size) {
      Reading run(row.to_head);
      EXPECT_TRUE(run.feed(std::string_view(row.bytes).substr(0, size)));
      EXPECT_EQ(run.decoder().cut(), Event::Error);
      const Status status = reason_status(run.decoder().reason());
      EXPECT_EQ(status, size == 0 ? Status::E_HTTP_NO_RESPONSE : Status::E_HTTP_TRUNCATED);
    }
  }
}

TEST(ResponseTable, OneDecoderForAllRows) {
  Decoder decoder{DecoderLimits{}};
  for (const Case& row : table::response_table()) {
    SCOPED_TRACE(row.name);
    decoder.begin(row.to_head);
    EXPECT_TRUE(decoder.untouched());
    EXPECT_FALSE(decoder.has_head());
    std::span<const uint8_t> input = as_bytes(row.bytes);
    std::string body;
    Event event = decoder.next(input);
    while (event != Event::NeedMore && event != Event::Done && event != Event::Error) {
      if (event == Event::Body) body += as_text(decoder.body());
      event = decoder.next(input);
    }
    if (event == Event::NeedMore && row.ends) event = decoder.end();
    EXPECT_EQ(reason_name(decoder.reason()), reason_name(row.reason));
    EXPECT_EQ(event, row.reason == Reason::None ? Event::Done : Event::Error);
    if (row.reason == Reason::None) {
      EXPECT_EQ(body, row.body);
      EXPECT_EQ(decoder.reusable(), row.reusable);
    }
  }
}

TEST(Decoder, NamesWhatItRefuses) {
  Reading run(false);
  run.feed("HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n");
  const Failure failure = run.decoder().failure();
  EXPECT_EQ(failure.status, Status::E_HTTP_MALFORMED);
  EXPECT_EQ(failure.detail, "content-length is not one number: \"5,5\"");
}

TEST(Decoder, DoesNotWaitForALineOfAnotherProtocol) {
  Reading run(false);
  EXPECT_FALSE(run.feed("\x16"));
  EXPECT_EQ(run.verdict().reason, Reason::NotHttp);
}

TEST(Decoder, KeepsTheLimitsItIsGiven) {
  const DecoderLimits limits{.header_bytes = 10, .line = 20, .fields = 2, .interim = 0};
  const auto reason = [&limits](std::string_view bytes) {
    Reading run(false, limits);
    run.feed(bytes);
    return reason_name(run.verdict().reason);
  };
  EXPECT_EQ(reason("HTTP/1.1 204 \r\nabcde: fghij\r\n\r\n"), "None");
  EXPECT_EQ(reason("HTTP/1.1 204 \r\nabcde: fghijk\r\n\r\n"), "HeaderLimit");
  EXPECT_EQ(reason("HTTP/1.1 204 \r\na: b\r\nc: d\r\n\r\n"), "None");
  EXPECT_EQ(reason("HTTP/1.1 204 \r\na: b\r\nc: d\r\ne: f\r\n\r\n"), "FieldLimit");
  EXPECT_EQ(reason("HTTP/1.1 204 \r\na:                  b\r\n\r\n"), "LineLimit");
  EXPECT_EQ(reason("HTTP/1.1 204 12345678\r\n\r\n"), "StatusLineLimit");
  EXPECT_EQ(reason("HTTP/1.1 100 \r\n\r\n"), "InterimLimit");
}

TEST(Decoder, TakesItsLimitsFromTheOptions) {
  const DecoderLimits limits = DecoderLimits::of(default_values());
  EXPECT_EQ(limits.header_bytes, DecoderLimits{}.header_bytes);
  EXPECT_EQ(limits.line, DecoderLimits{}.line);
  EXPECT_EQ(limits.fields, DecoderLimits{}.fields);
  EXPECT_EQ(limits.interim, DecoderLimits{}.interim);
}

TEST(Decoder, ReadsTheIdleLimit) {
  const auto limit = [](std::string_view value) -> std::optional<Nanos> {
    Reading run(false);
    run.feed("HTTP/1.1 204 x\r\nKeep-Alive: " + std::string(value) + "\r\n\r\n");
    EXPECT_TRUE(run.verdict().complete);
    return run.decoder().idle_limit();
  };
  EXPECT_EQ(limit("timeout=5"), 5 * kSecond);
  EXPECT_EQ(limit("timeout=5, max=100"), 5 * kSecond);
  EXPECT_EQ(limit("max=100, TIMEOUT=75"), 75 * kSecond);
  EXPECT_EQ(limit("timeout=60, timeout=5"), 5 * kSecond);
  EXPECT_EQ(limit("timeout=0"), Nanos{0});
  EXPECT_EQ(limit("timeout=9223372036854775807"), 365 * 24 * kHour);
  EXPECT_EQ(limit("timeout=9223372036854775808"), std::nullopt);
  EXPECT_EQ(limit("timeout=-1"), std::nullopt);
  EXPECT_EQ(limit("timeout=5s"), std::nullopt);
  EXPECT_EQ(limit("timeout=\"5\""), std::nullopt);
  EXPECT_EQ(limit("timeout="), std::nullopt);
  EXPECT_EQ(limit("timeout"), std::nullopt);
  EXPECT_EQ(limit("max=5"), std::nullopt);
}

TEST(Decoder, TellsVersions) {
  for (const auto& [text, version] : {std::pair{"1.0", session::HttpVersion::Http10},
                                      std::pair{"1.1", session::HttpVersion::Http11}}) {
    Decoder decoder{DecoderLimits{}};
    decoder.begin(false);
    const std::string bytes = std::string("HTTP/") + text + " 204 x\r\n\r\n";
    std::span<const uint8_t> input = as_bytes(bytes);
    EXPECT_EQ(decoder.next(input), Event::Head);
    EXPECT_EQ(decoder.take_head().version, version);
  }
}

}  // namespace
}  // namespace conpool::http1
