// Settings: what a caller collected, the checks of the whole, files read once, and interned ids.
#include "base/settings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/address.h"
#include "base/limits.h"
#include "base/name.h"
#include "base/status_list.h"
#include "base/text.h"

namespace conpool {
namespace {

std::string_view scope_place(Scope place) {
  switch (place) {
    case Scope::POOL:
      return "a pool";
    case Scope::ENDPOINT:
      return "an endpoint";
    case Scope::REQUEST:
      return "a single request";
  }
  return "this place";
}

// A file's name and the text that takes its place once it was read.
struct PemPair {
  std::string_view file_option;
  std::string_view pem_option;
  std::string Values::*file;
  std::string Values::*pem;
};
constexpr PemPair kPemPairs[] = {
    {"tls.ca_file", "tls.ca_pem", &Values::tls_ca_file, &Values::tls_ca_pem},
    {"tls.cert_file", "tls.cert_pem", &Values::tls_cert_file, &Values::tls_cert_pem},
    {"tls.key_file", "tls.key_pem", &Values::tls_key_file, &Values::tls_key_pem},
};

// Two options of which the first may not exceed the second.
struct OrderedPair {
  std::string_view small_option;
  std::string_view large_option;
  int64_t Values::*small;
  int64_t Values::*large;
};
constexpr OrderedPair kOrderedPairs[] = {
    {"race.delay_min", "race.delay_max", &Values::race_delay_min, &Values::race_delay_max},
    {"dns.min_ttl", "dns.max_ttl", &Values::dns_min_ttl, &Values::dns_max_ttl},
    {"dns.failure_min", "dns.failure_max", &Values::dns_failure_min, &Values::dns_failure_max},
    {"balance.cooldown", "balance.cooldown_max", &Values::balance_cooldown,
     &Values::balance_cooldown_max},
    {"connect.retry_delay", "connect.retry_delay_max", &Values::connect_retry_delay,
     &Values::connect_retry_delay_max},
    {"retry.base", "retry.max_delay", &Values::retry_base, &Values::retry_max_delay},
    {"breaker.open", "breaker.open_max", &Values::breaker_open, &Values::breaker_open_max},
    {"breaker.min_calls", "breaker.window_calls", &Values::breaker_min_calls,
     &Values::breaker_window_calls},
    {"breaker.trial_successes", "breaker.trial_calls", &Values::breaker_trial_successes,
     &Values::breaker_trial_calls},
    {"breaker.trials", "breaker.trial_calls", &Values::breaker_trials,
     &Values::breaker_trial_calls},
};

Result<void> validate_order(const Values& values) {
  for (const OrderedPair& pair : kOrderedPairs) {
    if (values.*pair.small <= values.*pair.large) continue;
    auto shown = [&values](std::string_view name) {
      return std::string(name) + " (" + option_value_text(*find_option(name), values) + ")";
    };
    return fail(Status::E_OPTION_RANGE, shown(pair.small_option) + " is greater than " +
                                            shown(pair.large_option) +
                                            "; lower the first or raise the second");
  }
  return {};
}

Result<void> validate_check(const Values& values) {
  if (values.check_send.empty() == values.check_expect.empty()) return {};
  return values.check_expect.empty()
             ? fail(Status::E_INVALID, "check.send is set without check.expect; set both or none")
             : fail(Status::E_INVALID, "check.expect is set without check.send; set both or none");
}

Result<void> validate_sizes(const Values& values) {
  const int64_t most = values.pool_max == 0
                           ? values.endpoint_max_connections
                           : std::min(values.pool_max, values.endpoint_max_connections);
  if (values.pool_min <= most) return {};
  return fail(Status::E_OPTION_RANGE,
              "pool.min (" + std::to_string(values.pool_min) + ") is greater than " +
                  (most == values.pool_max ? "pool.max (" : "endpoint.max_connections (") +
                  std::to_string(most) + "); lower the first or raise the second");
}

// The checks that cannot work are refused here and not at the first failure of every check.
Result<void> validate_health(const Values& values) {
  const auto check = static_cast<HealthCheck>(values.health_check);
  if (check == HealthCheck::Bytes && values.check_send.empty()) {
    return fail(Status::E_INVALID,
                "health.check = bytes needs check.send and check.expect; set both");
  }
  if (!values.health_path.starts_with('/')) {
    return fail(Status::E_INVALID, "health.path = " + in_quotes(values.health_path) +
                                       " does not begin with '/'; write a path");
  }
  for (const char c : values.health_path) {
    if (c > ' ' && c < '\x7f') continue;
    return fail(Status::E_INVALID, "health.path = " + in_quotes(values.health_path) +
                                       " holds a space, a control or a byte beyond ASCII; "
                                       "percent-encode it");
  }
  return {};
}

Result<void> validate_status_lists(const Values& values) {
  struct Row {
    std::string_view option;
    const std::string& list;
    int least;
  };
  for (const Row& row : {Row{"health.status", values.health_status, kLeastStatus},
                         Row{"retry.statuses", values.retry_statuses, kLeastErrorStatus},
                         Row{"breaker.statuses", values.breaker_statuses, kLeastErrorStatus}}) {
    if (const Result<void> valid = check_status_list(row.list, row.least); !valid)
      return fail(valid.error().status, std::string(row.option) + ": " + valid.error().detail);
  }
  return {};
}

Result<void> validate_dns_servers(const Values& values) {
  for (std::string_view item : list_items(values.dns_servers)) {
    if (parse_ip_literal(item)) continue;
    Result<SocketAddress> server = parse_address_and_port(item);
    if (!server) {
      return fail(server.error().status, "dns.servers: " + server.error().detail);
    }
  }
  return {};
}

Result<void> validate_tls(const Values& values) {
  for (const PemPair& pair : kPemPairs) {
    if ((values.*pair.file).empty() || (values.*pair.pem).empty()) continue;
    return fail(Status::E_TLS_CONFIG, std::string(pair.file_option) + " and " +
                                          std::string(pair.pem_option) +
                                          " are both set; set one of them");
  }
  bool certificate = !values.tls_cert_file.empty() || !values.tls_cert_pem.empty();
  bool key = !values.tls_key_file.empty() || !values.tls_key_pem.empty();
  if (certificate && !key) {
    return fail(Status::E_TLS_CONFIG,
                "a client certificate is set without its key; set tls.key_file or tls.key_pem");
  }
  if (key && !certificate) {
    return fail(Status::E_TLS_CONFIG,
                "a key is set without its certificate; set tls.cert_file or tls.cert_pem");
  }
  if (!values.tls_server_name.empty()) {
    Result<Host> host = parse_host(values.tls_server_name);
    if (!host) return fail(host.error().status, "tls.server_name: " + host.error().detail);
  }
  for (std::string_view protocol : list_items(values.tls_alpn)) {
    if (protocol.size() <= limits::kAlpnProtocolBytes) continue;
    return fail(Status::E_OPTION_RANGE, "tls.alpn: " + in_quotes(protocol, 16) + " has " +
                                            std::to_string(protocol.size()) +
                                            " bytes; a protocol's name has 1 to 255");
  }
  return {};
}

class File {
 public:
  explicit File(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

Result<std::string> read_file(std::string_view option, const std::string& path) {
  std::string prefix = std::string(option) + " = " + in_quotes(path) + ": ";
  File file(path);
  struct stat facts {};
  if (file.fd() < 0 || ::fstat(file.fd(), &facts) != 0) {
    return fail_errno(Status::E_TLS_CONFIG, errno, prefix + "the file cannot be opened");
  }
  if (!S_ISREG(facts.st_mode)) {
    return fail(Status::E_TLS_CONFIG, prefix + "it is not a regular file");
  }
  std::string text(limits::kOptionValueBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file.fd(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(Status::E_TLS_CONFIG, errno, prefix + "the file cannot be read");
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  if (size > limits::kOptionValueBytes) {
    return fail(Status::E_TLS_CONFIG, prefix + "the file is larger than " +
                                          std::to_string(limits::kOptionValueBytes) + " bytes");
  }
  if (text.empty()) return fail(Status::E_TLS_CONFIG, prefix + "the file is empty");
  if (text.find('\0') != text.npos) {
    return fail(Status::E_TLS_CONFIG, prefix + "the file has a NUL byte; write it as PEM text");
  }
  return text;
}

}  // namespace

Result<void> Config::set(std::string_view name, std::string_view value) {
  const OptionInfo* option = find_option(name);
  if (option == nullptr) {
    std::string_view nearest = nearest_option(name);
    std::string remedy = nearest.empty() ? "docs/options.md lists the options"
                                         : "did you mean \"" + std::string(nearest) + "\"?";
    return fail(Status::E_UNKNOWN_OPTION, "there is no option " + in_quotes(name) + "; " + remedy);
  }
  Values scratch;
  Result<void> valid = set_value(&scratch, *option, value);
  if (!valid) return valid;
  entries_.insert_or_assign(std::string(name), std::string(value));
  return {};
}

Result<void> Config::check_scope(Scope place) const {
  for (const auto& [name, value] : entries_) {
    Scope narrowest = find_option(name)->scope;
    if (narrowest >= place) continue;
    std::string remedy =
        narrowest == Scope::POOL ? "set it for the pool" : "set it for the endpoint or the pool";
    return fail(Status::E_OPTION_SCOPE,
                name + " cannot be set for " + std::string(scope_place(place)) + "; " + remedy);
  }
  return {};
}

void Config::apply(Values* values) const {
  for (const PemPair& pair : kPemPairs) {
    bool file = entries_.contains(pair.file_option);
    bool pem = entries_.contains(pair.pem_option);
    if (file && !pem) (values->*pair.pem).clear();
    if (pem && !file) (values->*pair.file).clear();
  }
  for (const auto& [name, value] : entries_) {
    [[maybe_unused]] Result<void> set = set_value(values, *find_option(name), value);
    assert(set);  // set() accepted it
  }
}

Result<void> validate(const Values& values) {
  if (!values.proxy.empty()) return fail(Status::E_UNSUPPORTED, "proxy is not supported yet");
  Result<void> valid = validate_order(values);
  if (valid) valid = validate_check(values);
  if (valid) valid = validate_sizes(values);
  if (valid) valid = validate_health(values);
  if (valid) valid = validate_status_lists(values);
  if (valid) valid = validate_dns_servers(values);
  if (valid) valid = validate_tls(values);
  return valid;
}

Result<Values> load_files(Values values) {
  for (const PemPair& pair : kPemPairs) {
    std::string& path = values.*pair.file;
    if (path.empty()) continue;
    Result<std::string> text = read_file(pair.file_option, path);
    if (!text) return fail(std::move(text).error());
    values.*pair.pem = *std::move(text);
    path.clear();
  }
  return values;
}

// Gives equal values equal ids. An entry lives as long as one of its settings; its successor gets
// a new id, so that a late user of the old id can never meet other settings.
class SettingsInterner {
 public:
  static SettingsInterner& instance() {
    // Leaked on purpose: settings may be freed while the process exits.
    static auto* const interner = new SettingsInterner;
    return *interner;
  }

  SettingsPtr intern(const Values& values) {
    auto settings = std::make_shared<Settings>();
    settings->values_ = values;
    std::shared_ptr<const Identity> identity = identity_of(identity_text(values));
    settings->id_ = identity->id;
    settings->identity_ = std::move(identity);
    return settings;
  }

 private:
  struct Identity {
    Identity(uint64_t i, std::string t) : id(i), text(std::move(t)) {}
    ~Identity() { instance().forget(text); }
    Identity(const Identity&) = delete;
    Identity& operator=(const Identity&) = delete;

    const uint64_t id;
    const std::string text;
  };

  std::shared_ptr<const Identity> identity_of(std::string text) {
    std::lock_guard lock(mutex_);
    std::weak_ptr<const Identity>& known = identities_[text];
    std::shared_ptr<const Identity> identity = known.lock();
    if (identity == nullptr) {
      identity = std::make_shared<Identity>(next_id_++, std::move(text));
      known = identity;
    }
    return identity;
  }

  // Another thread may have interned the same text again since the last settings went.
  void forget(const std::string& text) {
    std::lock_guard lock(mutex_);
    auto found = identities_.find(text);
    if (found != identities_.end() && found->second.expired()) identities_.erase(found);
  }

  std::mutex mutex_;
  uint64_t next_id_ = 1;
  std::unordered_map<std::string, std::weak_ptr<const Identity>> identities_;
};

SettingsPtr intern_settings(const Values& values) {
  return SettingsInterner::instance().intern(values);
}

}  // namespace conpool
