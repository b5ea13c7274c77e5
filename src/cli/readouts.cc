// Reads what the library tells as text. Its JSON is the library's own, so it is not doubted here.
#include "cli/readouts.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/handles.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t number_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<int64_t>() : 0;
}

bool flag_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

Json parse(const char* text) {
  return Json::parse(text, nullptr, false);  // a "discarded" value when it is no JSON
}

AttemptFacts attempt_of(const Json& object) {
  return {.phase = text_of(object, "phase"),
          .target = text_of(object, "target"),
          .round = number_of(object, "round"),
          .started_ns = number_of(object, "started_ns"),
          .duration_ns = number_of(object, "duration_ns"),
          .status = text_of(object, "status"),
          .result = text_of(object, "result")};
}

TlsFacts tls_of(const Json& object) {
  return {.version = text_of(object, "version"),
          .cipher = text_of(object, "cipher"),
          .alpn = text_of(object, "alpn"),
          .server_name = text_of(object, "server_name"),
          .resumed = flag_of(object, "resumed"),
          .verified = flag_of(object, "verified"),
          .subject = text_of(object, "peer_subject"),
          .issuer = text_of(object, "peer_issuer"),
          .not_before = text_of(object, "peer_not_before"),
          .not_after = text_of(object, "peer_not_after")};
}

std::string range_of(const Json& option) {
  const std::string type = text_of(option, "type");
  if (type == "choice") {
    std::string choices;
    for (const char c : text_of(option, "choices"))
      choices += c == '|' ? std::string(", ") : std::string(1, c);
    return choices;
  }
  if (type == "bool") return "true, false";
  if (type == "text" || type == "list" || type == "bytes") {
    return "at most " + text_of(option, "most") + " bytes";
  }
  return text_of(option, "least") + " to " + text_of(option, "most");
}

// When a request's phases ended, counted from its start.
constexpr std::pair<const char*, const char*> kResponseTimes[] = {
    {"resolved_ns", "resolved after "}, {"connected_ns", "connected after "},
    {"secured_ns", "secured after "},   {"leased_ns", "connection after "},
    {"sent_ns", "sent after "},         {"head_ns", "header after "},
    {"total_ns", "done after "}};

}  // namespace

ConnectionFacts read_connection(const conpool_connection* connection) {
  ConnectionFacts facts;
  char* described = nullptr;
  if (conpool_connection_describe(connection, &described) != CONPOOL_OK) return facts;
  const Text text(described);
  const Json json = parse(text.get());
  facts.endpoint = text_of(json, "endpoint");
  facts.address = text_of(json, "address");
  facts.local = text_of(json, "local");
  facts.rtt_ns = number_of(json, "rtt_ns");
  facts.resolved_ns = number_of(json, "resolved_ns");
  facts.connected_ns = number_of(json, "connected_ns");
  facts.secured_ns = number_of(json, "secured_ns");
  facts.dial_ns = number_of(json, "dial_ns");
  const auto attempts = json.find("attempts");
  if (attempts != json.end()) {
    for (const Json& attempt : *attempts)
      facts.attempts.push_back(attempt_of(attempt));
  }
  const auto tls = json.find("tls");
  if (tls != json.end()) facts.tls = tls_of(*tls);
  return facts;
}

std::string response_facts(const conpool_response* response) {
  char* described = nullptr;
  if (conpool_response_describe(response, &described) != CONPOOL_OK) return "";
  const Text text(described);
  const Json json = parse(text.get());
  std::string out = "* connection " + std::to_string(number_of(json, "connection")) + " to " +
                    text_of(json, "address") + ", " + text_of(json, "protocol") +
                    (flag_of(json, "reused") ? ", used before" : ", new") + "\n";
  const std::string tls = text_of(json, "tls_version");
  if (!tls.empty()) {
    out += "* " + tls + ", " + text_of(json, "tls_cipher") +
           (flag_of(json, "tls_resumed") ? ", resumed" : ", full handshake") + "\n";
  }
  if (number_of(json, "sends") > 1) {
    out += "* sent " + std::to_string(number_of(json, "sends")) + " times";
    const auto resends = json.find("resends");
    for (const Json& reason : resends == json.end() ? Json::array() : *resends)
      out += ", again because " + (reason.is_string() ? reason.get<std::string>() : "");
    out += "\n";
  }
  std::string times;
  for (const auto& [name, word] : kResponseTimes) {
    if (json.find(name) == json.end()) continue;
    times +=
        (times.empty() ? "* " : ", ") + std::string(word) + duration_text(number_of(json, name));
  }
  return times.empty() ? out : out + times + "\n";
}

int64_t response_total_ns(const conpool_response* response) {
  char* described = nullptr;
  if (conpool_response_describe(response, &described) != CONPOOL_OK) return 0;
  const Text text(described);
  return number_of(parse(text.get()), "total_ns");
}

std::vector<OptionFacts> read_options() {
  std::vector<OptionFacts> options;
  char* described = nullptr;
  if (conpool_describe("options", &described) != CONPOOL_OK) return options;
  const Text text(described);
  for (const Json& option : parse(text.get())) {
    options.push_back({.name = text_of(option, "name"),
                       .type = text_of(option, "type"),
                       .range = range_of(option),
                       .default_value = text_of(option, "default"),
                       .scope = text_of(option, "scope"),
                       .text = text_of(option, "text")});
  }
  return options;
}

std::string status_text(std::string_view name) {
  char* described = nullptr;
  if (conpool_describe("statuses", &described) != CONPOOL_OK) return std::string(name);
  const Text text(described);
  for (const Json& status : parse(text.get())) {
    if (text_of(status, "name") == name) return text_of(status, "text");
  }
  return std::string(name);
}

Metrics read_metrics(conpool_pool* pool) {
  Metrics metrics;
  char* read = nullptr;
  if (conpool_pool_metrics(pool, "text", &read) != CONPOOL_OK) return metrics;
  const Text text(read);
  std::string_view rest(text.get());
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    // A label may hold an equals sign; a value never does.
    const size_t equals = line.rfind('=');
    if (equals == std::string_view::npos) continue;
    metrics.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return metrics;
}

int64_t metric(const Metrics& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? 0 : std::strtoll(found->second.c_str(), nullptr, 10);
}

int64_t endpoint_metric(const Metrics& metrics, const std::string& endpoint,
                        const std::string& name) {
  return metric(metrics, "endpoint." + name + "{endpoint=\"" + endpoint + "\"}");
}

}  // namespace conpool::cli
