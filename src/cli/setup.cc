// Reads HOST:PORT and the options, and makes the pool that they describe.
#include "cli/setup.h"

#include <string_view>

#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr std::string_view kUnix = "unix:";

Problem bad(std::string text) {
  return {kBadArguments, std::move(text)};
}

// "192.0.2.1:443,[2001:db8::1]:443" names pairs; "host:443,8443" several ports of one host.
bool is_address_list(std::string_view text) {
  const size_t comma = text.find(',');
  return comma != std::string_view::npos &&
         text.substr(comma + 1).find(':') != std::string_view::npos;
}

bool about_target(conpool_status status) {
  return status == CONPOOL_E_BAD_URL || status == CONPOOL_E_BAD_NAME ||
         status == CONPOOL_E_BAD_PORT || status == CONPOOL_E_BAD_ADDRESS;
}

int exit_code_of(conpool_status status) {
  return conpool_status_class(status) == CONPOOL_CLASS_SYSTEM ? kNetworkFailed : kBadArguments;
}

std::optional<Problem> make_endpoint(conpool_pool* pool, const Arguments& arguments,
                                     const Target& target, Endpoint* out) {
  conpool_endpoint* endpoint = nullptr;
  conpool_error* reason = nullptr;
  const conpool_status status =
      target.kind == Target::Kind::Addresses
          ? conpool_endpoint_new_addresses(pool, target.scheme.c_str(), target.text.data(),
                                           target.text.size(), nullptr, &endpoint, &reason)
          : conpool_endpoint_new(pool, target.text.data(), target.text.size(), nullptr, &endpoint,
                                 &reason);
  const Error error(reason);
  out->reset(endpoint);
  if (status == CONPOOL_OK) return std::nullopt;
  const std::string where =
      about_target(status) ? "HOST:PORT " + in_quotes(arguments.target) + ": " : "";
  return refusal(error.get(), status, where);
}

}  // namespace

std::optional<Problem> read_target(const Arguments& arguments, Target* out) {
  const std::string& typed = arguments.target;
  out->tls = arguments.tls;
  out->text = typed;
  if (typed.empty()) return bad("HOST:PORT is empty: write host:port");
  if (typed.compare(0, kUnix.size(), kUnix) == 0) {
    if (arguments.tls)
      return bad("--tls cannot be used with " + in_quotes(typed) + ": it needs a host");
    return std::nullopt;
  }
  const size_t colon = typed.find("://");
  if (colon != std::string::npos) {
    const std::string scheme = typed.substr(0, colon);
    if (arguments.tls && scheme == "tcp") {
      return bad("--tls contradicts " + in_quotes(typed) + ": write " +
                 in_quotes("tls" + typed.substr(colon)));
    }
    if (scheme == "http" || scheme == "https") {
      return bad("HOST:PORT " + in_quotes(typed) + " is for requests: write " +
                 in_quotes("tcp" + typed.substr(colon)) + " or " +
                 in_quotes("tls" + typed.substr(colon)) + ", or use pooler get");
    }
    out->tls = out->tls || scheme == "tls";
    return std::nullopt;
  }
  out->scheme = arguments.tls ? "tls" : "tcp";
  if (is_address_list(typed)) {
    out->kind = Target::Kind::Addresses;
    return std::nullopt;
  }
  if (typed.rfind(':') == std::string::npos || typed.back() == ']') {
    return bad("HOST:PORT " + in_quotes(typed) + " has no port: write host:port");
  }
  out->text = out->scheme + "://" + typed;
  return std::nullopt;
}

std::optional<Problem> read_option_values(const Arguments& arguments, const Target& target,
                                          OptionValues* out) {
  struct Flag {
    const char* flag;
    const char* option;
    std::string value;
  };
  const Flag flags[] = {{"--ca", "tls.ca_file", arguments.ca},
                        {"--insecure", "tls.insecure", arguments.insecure ? "true" : ""},
                        {"--server-name", "tls.server_name", arguments.server_name},
                        {"--alpn", "tls.alpn", arguments.alpn},
                        {"--starttls", "tls.starttls", arguments.starttls}};
  for (const Flag& flag : flags) {
    if (flag.value.empty()) continue;
    if (!target.tls) return bad(std::string(flag.flag) + " needs --tls");
    out->emplace_back(flag.option, flag.value);
  }
  std::optional<Problem> problem = read_option_list(arguments.options, "-o", out);
  if (!problem && arguments.verbose) out->emplace(out->begin(), "events.level", "debug");
  return problem;
}

std::optional<Problem> read_option_list(const std::vector<std::string>& typed, const char* flag,
                                        OptionValues* out) {
  for (const std::string& each : typed) {
    const size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0) {
      return bad(std::string(flag) + " " + in_quotes(each) + ": write " + flag +
                 " name=value, as in " + flag + " connect.retries=3");
    }
    out->emplace_back(each.substr(0, equals), each.substr(equals + 1));
  }
  return std::nullopt;
}

std::optional<Problem> make_pool(const OptionValues& values, Pool* out) {
  conpool_config* made = nullptr;
  conpool_error* reason = nullptr;
  conpool_status status = conpool_config_new(&made);
  const Config config(made);
  for (const auto& [name, value] : values) {
    if (status != CONPOOL_OK) break;
    status = conpool_config_set(config.get(), name.c_str(), value.data(), value.size(), &reason);
  }
  conpool_pool* pool = nullptr;
  if (status == CONPOOL_OK) status = conpool_pool_new(config.get(), &pool, &reason);
  const Error error(reason);
  out->reset(pool);
  if (status == CONPOOL_OK) return std::nullopt;
  return refusal(error.get(), status, "");
}

std::optional<Problem> set_up(const Arguments& arguments, Setup* out) {
  Target target;
  std::optional<Problem> problem = read_target(arguments, &target);
  if (!problem) problem = read_option_values(arguments, target, &out->values);
  if (!problem) problem = make_pool(out->values, &out->pool);
  if (!problem) problem = make_endpoint(out->pool.get(), arguments, target, &out->endpoint);
  return problem;
}

Acquired acquire(conpool_endpoint* endpoint) {
  Acquired result;
  conpool_op op = 0;
  conpool_event event{};
  result.status = conpool_endpoint_acquire(endpoint, nullptr, nullptr, 0, &op);
  if (result.status != CONPOOL_OK) return result;
  result.status = conpool_op_wait(op, CONPOOL_FOREVER, &event);
  if (result.status != CONPOOL_OK) return result;
  result.status = event.status;
  if (event.status == CONPOOL_OK) {
    result.connection.reset(static_cast<conpool_connection*>(event.object));
  } else {
    result.error.reset(static_cast<conpool_error*>(event.object));
  }
  return result;
}

Problem refusal(const conpool_error* error, conpool_status status, const std::string& where) {
  return {exit_code_of(status), where + failure_line(error, status)};
}

std::string failure_line(const conpool_error* error, conpool_status status) {
  return error != nullptr ? conpool_error_line(error) : conpool_status_text(status);
}

std::string failure_report(const conpool_error* error, conpool_status status) {
  return error != nullptr ? conpool_error_report(error) : conpool_status_text(status);
}

void print_events(conpool_pool* pool) {
  char* events = nullptr;
  if (conpool_pool_events(pool, "text", &events) != CONPOOL_OK) return;
  const Text text(events);
  print_error(text.get());
}

}  // namespace conpool::cli
