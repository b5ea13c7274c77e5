// Options by name: the table, the parser, and settings as immutable, validated sets of values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace conpool {

enum class OptionType : uint8_t { DURATION, COUNT, SIZE, BOOL, CHOICE, TEXT, LIST, BYTES };
enum class Scope : uint8_t { POOL, ENDPOINT, REQUEST };  // narrowest place that may set it

struct OptionInfo {
  std::string_view name;
  OptionType type;
  std::string_view default_text;
  std::string_view least;  // CHOICE: the choices, separated by '|'; TEXT, LIST, BYTES: bytes
  std::string_view most;
  Scope scope;
  bool live;
  std::string_view since;
  std::string_view text;
};

std::span<const OptionInfo> option_table();
// The row of `name`, or nullptr.
const OptionInfo* find_option(std::string_view name);
// The name in the table nearest to a mistyped one (edit distance); empty when none is near.
std::string_view nearest_option(std::string_view name);
// The words a CHOICE takes, in the order of their indices; none for other types.
std::vector<std::string_view> choices(const OptionInfo& option);
// The items of a LIST's value.
std::vector<std::string_view> list_items(std::string_view list);

// The values of every option. Numbers are nanoseconds, counts, bytes, 0/1 or the index of a choice;
// a LIST has no spaces around its commas; BYTES are decoded.
struct Values {
#define OPTION_FIELD_DURATION int64_t
#define OPTION_FIELD_COUNT int64_t
#define OPTION_FIELD_SIZE int64_t
#define OPTION_FIELD_BOOL int64_t
#define OPTION_FIELD_CHOICE int64_t
#define OPTION_FIELD_TEXT std::string
#define OPTION_FIELD_LIST std::string
#define OPTION_FIELD_BYTES std::string
#define OPTION(field, name, type, def, least, most, scope, live, since, text) \
  OPTION_FIELD_##type field{};
#include "base/options.def"
#undef OPTION
#undef OPTION_FIELD_DURATION
#undef OPTION_FIELD_COUNT
#undef OPTION_FIELD_SIZE
#undef OPTION_FIELD_BOOL
#undef OPTION_FIELD_CHOICE
#undef OPTION_FIELD_TEXT
#undef OPTION_FIELD_LIST
#undef OPTION_FIELD_BYTES
};

// Choices as C++ enums, in the table's order (a unit test compares them).
enum class LoopDrive : int64_t { Thread, Caller };
enum class LoopWorld : int64_t { Real, Simulated };
enum class PoolSizing : int64_t { Demand, Rate };
enum class WhenExhausted : int64_t { Wait, Fail };
enum class HealthCheck : int64_t { Auto, Tcp, Bytes, Head, Get, Ping };
enum class OnCheckout : int64_t { Peek, Probe };
enum class QueueDiscipline : int64_t { Fifo, Codel };
enum class RetryJitter : int64_t { Full, Equal, Added };
enum class BreakerMode : int64_t { On, Off };
enum class EventsLevel : int64_t { Error, Warning, Info, Debug };
enum class RaceUntil : int64_t { Tcp, Tls };
enum class RaceFamily : int64_t { Auto, V6First, V4First, V6Only, V4Only };
enum class CertError : int64_t { Stop, Continue };
enum class DnsBackend : int64_t { Cares, System, Queue, None };
enum class DnsSearch : int64_t { System, Off };
enum class PolicyTable : int64_t { Rfc6724, Updated };
enum class AddressFilter : int64_t { Any, PublicOnly };
enum class BalancePolicy : int64_t { LeastConnections, Rfc6724, RoundRobin, Random };
enum class Vanished : int64_t { Drain, Close };
enum class TlsMinVersion : int64_t { V1_2, V1_3 };
enum class HttpChoice : int64_t { Auto, Http1, H2 };
enum class StartTls : int64_t { None, Postgres };

const Values& default_values();
// Parses `text` into the option's field. E_OPTION_TYPE or E_OPTION_RANGE, naming option, value and
// remedy (the value of a *_pem option or a proxy is never repeated); `values` is then as it was.
Result<void> set_value(Values* values, const OptionInfo& option, std::string_view text);

// What a caller collected: checked name by name, checked as a whole when it is used.
class Config {
 public:
  // E_UNKNOWN_OPTION (offers the nearest name), E_OPTION_TYPE, E_OPTION_RANGE; each names option,
  // value and remedy.
  Result<void> set(std::string_view name, std::string_view value);
  // The texts set so far, by name; TEXT, LIST and BYTES as they were given.
  const std::map<std::string, std::string, std::less<>>& entries() const { return entries_; }
  // E_OPTION_SCOPE, naming the option, when one was set that `place` may not set.
  Result<void> check_scope(Scope place) const;
  // Writes the set values over `values`. A tls.*_file set here also replaces the *_pem below it,
  // and the other way round: a pool's files are texts already when an endpoint's config comes over
  // them.
  void apply(Values* values) const;

 private:
  std::map<std::string, std::string, std::less<>> entries_;
};

// Relations between options (check.send needs check.expect, race.delay_min ≤ race.delay_max, key
// with certificate, …), what items of lists and names must be, and E_UNSUPPORTED for proxy. Touches
// no file.
Result<void> validate(const Values& values);
// Reads the files of validated values, once: their contents end up in the *_pem fields and the
// *_file fields end up empty. E_TLS_CONFIG, naming option, path and errno, when one cannot be used.
// It blocks on the file system, so it runs on the caller's thread, never on a loop's.
Result<Values> load_files(Values values);

// An immutable, validated set of values. Two with the same POOL- and ENDPOINT-scope values have the
// same id while one of them lives; an id is never reused by another set in this process.
// REQUEST-scope values may differ under one id.
class Settings {
 public:
  uint64_t id() const { return id_; }
  const Values& values() const { return values_; }
  const Values* operator->() const { return &values_; }

 private:
  friend class SettingsInterner;
  uint64_t id_ = 0;
  Values values_;
  std::shared_ptr<const void> identity_;  // the interner's entry
};
using SettingsPtr = std::shared_ptr<const Settings>;

// Makes settings of validated values whose files were read, and gives equal ones the same id, from
// 1 on. Any thread. Who keys something by an id (TLS contexts, tickets) keeps the settings too, or
// drops it with them.
SettingsPtr intern_settings(const Values& values);

// The POOL- and ENDPOINT-scope values as one text that differs when any of them differs.
std::string identity_text(const Values& values);
// The value as text in the option's own form ("250ms", "true", "tls"), which set_value reads again;
// a secret (*_pem, proxy) shows its size alone.
std::string option_value_text(const OptionInfo& option, const Values& values);
// "250ms", "1.5s", "10min", "0", exactly; E_OPTION_TYPE without a unit, E_OPTION_RANGE when it does
// not fit.
Result<Nanos> parse_duration(std::string_view text);

}  // namespace conpool
