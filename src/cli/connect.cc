// pooler connect and pooler explain: one endpoint, the race for a connection to it, what the pool
// knows.
#include "cli/readouts.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

std::string outcome(const AttemptFacts& attempt, const ConnectionFacts& connection) {
  if (attempt.status == "E_CANCELLED" || attempt.status == "E_CLOSED") {
    return "closed: not needed any more";
  }
  if (attempt.status != "OK") return attempt.result;
  if (attempt.phase == "dns") return "answered";
  const bool won =
      attempt.target == connection.address || attempt.target == "tcp:" + connection.address;
  return won ? "connected (SO_ERROR 0), won" : "connected (SO_ERROR 0)";
}

std::string timeline(const ConnectionFacts& connection) {
  bool repeated = false;
  for (const AttemptFacts& attempt : connection.attempts)
    repeated = repeated || attempt.round > 1;
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"start", "took", "", "target", "result"});
  if (repeated) rows.back().insert(rows.back().begin(), "round");
  for (const AttemptFacts& attempt : connection.attempts) {
    rows.push_back({duration_text(attempt.started_ns), duration_text(attempt.duration_ns),
                    attempt.phase == "dns" ? "query" : "attempt", attempt.target,
                    outcome(attempt, connection)});
    if (repeated) rows.back().insert(rows.back().begin(), std::to_string(attempt.round));
  }
  return table(rows);
}

std::string phases(const ConnectionFacts& connection) {
  bool queried = false;  // else it was a literal, or the hosts file or the cache knew
  for (const AttemptFacts& attempt : connection.attempts)
    queried = queried || attempt.phase == "dns";
  std::string text;
  if (queried) text = "resolved after " + duration_text(connection.resolved_ns) + ", ";
  text += "connected after " + duration_text(connection.connected_ns);
  if (connection.secured_ns > 0) text += ", secured after " + duration_text(connection.secured_ns);
  return text;
}

std::string tls_rows(const TlsFacts& tls) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"TLS", tls.version + ", " + tls.cipher});
  rows.push_back({"handshake", tls.resumed ? "resumed" : "full"});
  rows.push_back({"ALPN", tls.alpn.empty() ? "none" : tls.alpn});
  if (!tls.server_name.empty()) rows.push_back({"SNI", tls.server_name});
  rows.push_back({"subject", tls.subject});
  rows.push_back({"issuer", tls.issuer});
  rows.push_back({"valid", "from " + tls.not_before + " to " + tls.not_after});
  rows.push_back({"verified", tls.verified ? "yes" : "no (tls.insecure)"});
  return table(rows);
}

std::string summary(const ConnectionFacts& connection) {
  return "connected to " + connection.address + " in " + duration_text(connection.dial_ns) + "\n";
}

Problem network_failure(const Acquired& acquired) {
  return {kNetworkFailed, failure_report(acquired.error.get(), acquired.status)};
}

void print_explain(const Setup& setup) {
  char* explained = nullptr;
  if (conpool_pool_explain(setup.pool.get(), setup.endpoint.get(), &explained) != CONPOOL_OK)
    return;
  const Text text(explained);
  print(text.get());
}

void print_changed_options(const OptionValues& values) {
  std::vector<std::vector<std::string>> rows;
  for (const OptionFacts& option : read_options()) {
    const std::string* value = nullptr;  // the last one counts
    for (const auto& [name, text] : values) {
      if (name == option.name) value = &text;
    }
    if (value == nullptr || *value == option.default_value) continue;
    const std::string usual = option.default_value.empty() ? "empty" : option.default_value;
    rows.push_back({option.name, *value, "(default " + usual + ")"});
  }
  if (rows.empty()) {
    print("every option has its default\n");
  } else {
    print("options that differ from their defaults\n" + table(rows));
  }
}

}  // namespace

std::optional<Problem> run_connect(const Arguments& arguments) {
  Setup setup;
  std::optional<Problem> problem = set_up(arguments, &setup);
  if (problem) return problem;
  const Acquired acquired = acquire(setup.endpoint.get());
  if (acquired.connection != nullptr) {
    const ConnectionFacts facts = read_connection(acquired.connection.get());
    print(facts.endpoint + "\n" + timeline(facts) + summary(facts));
    std::vector<std::vector<std::string>> rows = {{"from", facts.local}, {"phases", phases(facts)}};
    if (facts.rtt_ns > 0) rows.push_back({"round trip", duration_text(facts.rtt_ns)});
    print(table(rows));
    if (facts.tls) print(tls_rows(*facts.tls));
  } else {
    problem = network_failure(acquired);
  }
  if (arguments.verbose) print_events(setup.pool.get());
  return problem;
}

std::optional<Problem> run_explain(const Arguments& arguments) {
  Setup setup;
  std::optional<Problem> problem = set_up(arguments, &setup);
  if (problem) return problem;
  print_changed_options(setup.values);
  print(arguments.dry ? "\n" : "\nbefore connecting\n");
  print_explain(setup);
  if (!arguments.dry) {
    Acquired acquired = acquire(setup.endpoint.get());
    if (acquired.connection != nullptr) {
      const ConnectionFacts facts = read_connection(acquired.connection.get());
      print("\n" + summary(facts) + timeline(facts));
      conpool_connection_release(acquired.connection.release(), CONPOOL_REUSABLE);
    } else {
      problem = network_failure(acquired);
    }
    print("\nafter connecting\n");
    print_explain(setup);
  }
  if (arguments.verbose) print_events(setup.pool.get());
  return problem;
}

std::optional<Problem> run_options(const Arguments& arguments) {
  bool found = false;
  std::vector<std::string> names;
  for (const OptionFacts& option : read_options()) {
    names.push_back(option.name);
    if (option.name.find(arguments.filter) == std::string::npos) continue;
    found = true;
    const std::string usual = option.default_value.empty() ? "empty" : option.default_value;
    print(option.name + "  " + option.type + ", " + option.scope + ", default " + usual + "\n" +
          wrapped(option.text + "; " + option.range, "    ", 100));
  }
  if (found) return std::nullopt;
  const std::string near = nearest(arguments.filter, names);
  return Problem{kBadArguments, "no option's name contains " + in_quotes(arguments.filter) +
                                    (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
}

}  // namespace conpool::cli
