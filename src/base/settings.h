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

// The values of every option. Numbers are nanoseconds, counts, bytes, 0/1 or the index of a choice.
struct Values {
#define OPTION_FIELD_DURATION int64_t
#define OPTION_FIELD_COUNT int64_t
#define OPTION_FIELD_SIZE int64_t
#define OPTION_FIELD_BOOL int64_t
#define OPTION_FIELD_CHOICE int64_t
#define OPTION_FIELD_TEXT std::string
#define OPTION_FIELD_LIST std::string
#define OPTION_FIELD_BYTES std::string
#define OPTION(field, name, type, def, least, most, scope, live, since, text) OPTION_FIELD_##type field{};
#include "base/options.def"
#undef OPTION
};

// Choices as C++ enums, in the table's order (a unit test compares them).
enum class LoopDrive : int64_t { Thread, Caller };
enum class RaceUntil : int64_t { Tcp, Tls };
enum class RaceFamily : int64_t { Auto, V6First, V4First, V6Only, V4Only };
enum class CertError : int64_t { Stop, Continue };
enum class DnsBackend : int64_t { Cares, System, Queue, None };
enum class PolicyTable : int64_t { Rfc6724, Updated };
enum class AddressFilter : int64_t { Any, PublicOnly };
enum class BalancePolicy : int64_t { LeastConnections, Rfc6724, RoundRobin, Random };
enum class Vanished : int64_t { Drain, Close };
enum class TlsMinVersion : int64_t { V1_2, V1_3 };
enum class StartTls : int64_t { None, Postgres };

const Values& default_values();

// What a caller collected: checked name by name, checked as a whole when it is used.
class Config {
 public:
  // E_UNKNOWN_OPTION (offers the nearest name), E_OPTION_TYPE, E_OPTION_RANGE; each names option, value and remedy.
  Result<void> set(std::string_view name, std::string_view value);
  // The texts set so far, by name; TEXT, LIST and BYTES as they were given.
  const std::map<std::string, std::string, std::less<>>& entries() const { return entries_; }
  // E_OPTION_SCOPE, naming the option, when one was set that `place` may not set.
  Result<void> check_scope(Scope place) const;
  // Writes the set values over `values`.
  void apply(Values* values) const;

 private:
  std::map<std::string, std::string, std::less<>> entries_;
};

// Relations between options (check.send needs check.expect, race.delay_min ≤ race.delay_max, key with certificate, …)
// and E_UNSUPPORTED for proxy. Files are read here, once: tls.*_file end up in the *_pem fields.
Result<void> validate(const Values& values);

// An immutable, validated set of values. Two with the same ENDPOINT-scope values have the same id;
// an id is never reused by another set in this process.
class Settings {
 public:
  uint64_t id() const { return id_; }
  const Values& values() const { return values_; }
  const Values* operator->() const { return &values_; }

 private:
  friend class SettingsInterner;
  uint64_t id_ = 0;
  Values values_;
};
using SettingsPtr = std::shared_ptr<const Settings>;

// Makes settings of a pool's values and gives equal ones the same id. One per process, guarded inside: the id
// also keys TLS contexts and tickets.
SettingsPtr intern_settings(const Values& values);

// The value as text in the option's own form ("250ms", "true", "tls").
std::string option_value_text(const OptionInfo& option, const Values& values);
// Duration as an exact option value, "250ms"; for docs and readouts.
Result<Nanos> parse_duration(std::string_view text);

}  // namespace conpool
