// Plan: what fault.plan says, read once; and which of its rules hit an occasion. Pure.
//
// Vocabulary. A rule is one kind of fault with its selectors and parameters. An occasion is a
// moment at which faults may happen: a connection is started, a request is sent, a question is put
// to a DNS server. Its ordinal counts the occasions of its sort, from 1.
//
// A rule hits when all its selectors agree. What is left to chance is a hash of (seed, rule,
// ordinal, attempt) and nothing else: one occasion more or less elsewhere changes nothing here, and
// neither does time, the connection, or the world.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/time.h"

namespace conpool::fault {

enum class Kind : uint8_t {
  // When a connection is started.
  Refuse,        // ECONNREFUSED
  BlackHole,     // no answer, ever
  ConnectDelay,  // the attempt starts later
  TlsAlert,      // the answer to the ClientHello is an alert
  // When a request is sent, or a lease given.
  ReadDelay,  // the answer comes later
  Slow,       // and at this pace
  Reset,      // ECONNRESET in the answer
  Truncate,   // a clean end in the answer
  Close,      // the connection is found closed: EPIPE
  HalfOpen,   // no answer, and no end either
  Goaway,     // HTTP/2: the request's stream is the first that is not processed
  RstStream,  // HTTP/2: the request's stream is reset
  // When a DNS server is asked.
  DnsFail,
  DnsChange,
};

// What an occasion is; each kind of fault belongs to one.
enum class Point : uint8_t { Connect, Send, Lookup };

Point point_of(Kind kind);
std::string_view kind_name(Kind kind);
// Faults that go together with another one of the same occasion; of the rest the first rule that
// hits is carried out alone.
bool only_delays(Kind kind);
// Faults of one stream of HTTP/2.
bool of_http2(Kind kind);

// Both ends belong to it.
struct Range {
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
};
using Ranges = std::vector<Range>;  // empty: every number

struct Occasion {
  Point point = Point::Send;
  uint64_t ordinal = 0;       // of the request, the connect or the lookup
  uint32_t attempt = 1;       // of the request
  uint64_t sends = 0;         // of the pool, this one included
  bool http2 = false;         // the request becomes a stream
  Nanos age = 0;              // of the pool
  std::string_view endpoint;  // "localhost:8088", or the name that is looked up; "" = unknown
  SocketAddress address;      // that is talked to
};

struct Rule {
  static constexpr uint32_t kCertain = 1'000'000;
  static constexpr uint32_t kNoAnswer = UINT32_MAX;  // as the code of a DNS failure

  Kind kind = Kind::Reset;

  // --- selectors
  uint32_t probability = kCertain;  // of a million
  uint64_t every = 1;               // ordinals that are multiples of it
  Ranges ordinals;                  // requests=, connects= or lookups=, whichever its point has
  Ranges attempts;
  Ranges sends;
  Nanos from = 0;  // since the pool began
  Nanos until = kNever;
  std::string endpoint;                  // lower case; with or without its port
  std::optional<SocketAddress> address;  // port 0: any

  // --- parameters
  uint64_t after = 0;   // bytes of the answer
  Nanos delay_min = 0;  // the delay is chosen between the two
  Nanos delay_max = 0;
  uint64_t rate = 0;  // bytes per second
  uint32_t code = 0;
  std::vector<SocketAddress> to;

  // All but chance.
  bool selects(const Occasion& occasion) const;
};

struct Plan {
  static constexpr size_t kMostRules = 64;
  static constexpr size_t kMostBytes = 8192;
  static constexpr size_t kMostRanges = 32;     // of one selector
  static constexpr size_t kMostAddresses = 16;  // of one to=
  static constexpr Nanos kLongestDelay = kHour;
  static constexpr uint64_t kFastest = 1'000'000'000;

  std::vector<Rule> rules;

  // E_OPTION_RANGE, naming the rule, the word and what would be right.
  static Result<Plan> parse(std::string_view text);
};

struct Choice {
  const Rule* rule = nullptr;
  Nanos delay = 0;  // chosen between the rule's two
};

// Which rules of the plan hit, in their order: the first that does not only delay, and the first of
// each kind that does.
std::vector<Choice> choose(const Plan& plan, uint64_t seed, const Occasion& occasion);

}  // namespace conpool::fault
