// The command line's grammar (CLI11), and what to say when it does not fit.
#include "cli/arguments.h"

#include <conpool/conpool.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>

#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr char kDescription[] =
    "pooler shows what conpool does: names to live connections, resolved, raced, verified, "
    "pooled.\n"
    "Without a verb it is a harness: requests through one pool, while the network fails or is made "
    "to.";
constexpr char kFooter[] =
    "Exit codes: 0 done; 1 the demo's numbers differ; 2 bad arguments or configuration;\n"
    "4 a network failure that could not be recovered (of the harness: no request\n"
    "succeeded, or the circuit breaker is open at the end); 5 an output could not be\n"
    "written or an input not be read; 22 an HTTP status of 400 or above (get --fail);\n"
    "130 and 143 SIGINT or SIGTERM ended the harness, after its summary.";
constexpr char kVerbs[] = "get, demo, connect, explain or options";
constexpr char kTargetText[] =
    "host:port, host:port,port, [ipv6]:port, address:port,address:port,\n"
    "tcp://host:port, tls://host:port or unix:/path";

constexpr char kOptionText[] = "any option; `pooler options` lists them";

constexpr char kHarnessGroup[] = "Without a verb";
constexpr char kFaultFlag[] = "--inject-failures";

// Flags of the harness that take a value, and the configuration's keys that they stand for.
struct ValueFlag {
  const char* key;
  const char* flag;
  const char* type;
  const char* text;
};
constexpr ValueFlag kValueFlags[] = {
    {"host", "--host", "HOST", "the server: a name or an address"},
    {"port", "--port", "PORT", "its port"},
    {"pool_size", "--size", "N", "connections of the pool; 10"},
    {"requests", "--requests", "N", "how many requests; 100"},
    {"concurrency", "--concurrency", "N", "requests in flight at once; 1"},
    {"path", "--path", "PATH", "what is requested; /"},
    {"rate", "--rate", "RPS", "requests started per second, whether or not earlier ones ended"},
    {"seed", "--seed", "S", "seed of every choice, the faults' included; 1"},
    {"metrics", "--metrics", "FORM", "figures at the end: text, json or openmetrics"},
};

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

class Grammar {
 public:
  Grammar() : app_(kDescription, "pooler") {
    app_.footer(kFooter);
    app_.set_version_flag("--version", std::string("pooler ") + conpool_version_string(),
                          "print the version");
    // The verb is asked for below, in our own words.
    app_.require_subcommand(0, 1);
    get_ = verb("get", "request URLs over HTTP/1.1 or HTTP/2 and write their bodies");
    demo_ = verb("demo", "a pool against an origin of its own on loopback, and what it did");
    connect_ = verb("connect", "acquire one connection and show the race for it");
    explain_ = verb("explain", "what the pool would do for an endpoint, and does");
    options_ = verb("options", "list the options that -O sets");
    for (CLI::App* each : {connect_, explain_})
      add_endpoint(each);
    add_get();
    explain_->add_flag("--dry", arguments_.dry, "connect to nothing: explain only");
    options_->add_option("NAME", arguments_.filter, "only options whose name contains this")
        ->option_text(" ");
    add_harness();
    // Before the verb or after it.
    for (CLI::App* each : {&app_, get_, demo_, connect_, explain_})
      each->add_flag("-v,--verbose", arguments_.verbose, "print the pool's event log on stderr");
    get_->get_option("--verbose")
        ->description("print headers, times and connections, and the pool's event log, on stderr");
  }

  Parsed parse(int argc, char** argv);

 private:
  CLI::App* verb(const std::string& name, const std::string& text) {
    CLI::App* made = app_.add_subcommand(name, text);
    verbs_.push_back(name);
    return made;
  }
  void add_endpoint(CLI::App* app);
  void add_get();
  void add_harness();
  Parsed finish_harness();
  void add_tls(CLI::App* app, const char* insecure);
  void complain(const std::string& text, const CLI::App* verb);
  std::string harness_flag() const;
  void complain_about(const std::string& argument, const CLI::App* verb);
  std::string plan_with(const std::string& argument) const;
  Parsed finish();

  std::vector<std::string> words_;  // the command line
  CLI::App app_;
  CLI::App* get_ = nullptr;
  CLI::App* demo_ = nullptr;
  CLI::App* connect_ = nullptr;
  CLI::App* explain_ = nullptr;
  CLI::App* options_ = nullptr;
  std::vector<std::string> verbs_;
  Arguments arguments_;
  Parsed parsed_;
  std::string typed_[std::size(kValueFlags)];
  std::string config_;
  std::string faults_;
};

void Grammar::add_endpoint(CLI::App* app) {
  app->add_option("HOST:PORT", arguments_.target, kTargetText)->option_text(" ");
  app->add_flag("--tls", arguments_.tls, "speak TLS");
  add_tls(app, "--insecure");
  app->add_option("--alpn", arguments_.alpn, "application protocols to offer (tls.alpn)")
      ->type_name("LIST");
  app->add_option("--starttls", arguments_.starttls, "hop before TLS: postgres (tls.starttls)")
      ->type_name("HOP");
  app->add_option("-o,-O,--option", arguments_.options, kOptionText)
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

void Grammar::add_tls(CLI::App* app, const char* insecure) {
  app->add_option("--ca", arguments_.ca, "PEM file of trusted certificates (tls.ca_file)")
      ->type_name("FILE");
  app->add_flag(insecure, arguments_.insecure, "accept any certificate (tls.insecure)");
  app->add_option("--server-name", arguments_.server_name,
                  "name to verify in place of the host (tls.server_name)")
      ->type_name("NAME");
}

void Grammar::add_get() {
  GetArguments& get = arguments_.get;
  const auto each = [this](const char* names, std::vector<std::string>& values, const char* type,
                           const char* text) {
    get_->add_option(names, values, text)->type_name(type)->allow_extra_args(false);
  };
  get_->add_option("URL", get.urls, "http://host/path or https://host:port/path, one or more")
      ->option_text(" ");
  get_->add_flag("--http1", get.http1, "HTTP/1.1 alone (http.version=http1)");
  get_->add_flag("--h2", get.h2, "HTTP/2 alone, over http:// too (http.version=h2)");
  get_->add_option("-X,--request", get.method, "the method; GET, or POST with -d")
      ->type_name("METHOD");
  each("-H,--header", get.headers, "'NAME: VALUE'", "a header field");
  get_->add_option("-d,--data", get.data, "the body: a text, @FILE, or @- for standard input")
      ->type_name("DATA");
  each("--trailer", get.trailers, "'NAME: VALUE'", "a trailer field, sent after the body");
  each("-o,--output", get.outputs, "FILE",
       "where to write the body: a file for each URL, or one directory; standard output otherwise");
  get_->add_option("-P,--parallel", get.parallel, "requests in flight at once")
      ->type_name("N")
      ->check(CLI::Range(1U, kMostParallel));
  get_->add_option("-n,--repeat", get.repeat,
                   "request each URL so often; only the first body is written")
      ->type_name("N")
      ->check(CLI::Range(1U, kMostRepeats));
  get_->add_flag("--fail", get.fail, "an HTTP status of 400 or above is a failure, exit code 22");
  add_tls(get_, "-k,--insecure");
  each("-O,--option", arguments_.options, "NAME=VALUE", kOptionText);
}

void Grammar::add_harness() {
  HarnessArguments& harness = arguments_.harness;
  const auto flag = [this](const char* name, bool* value, const char* text) {
    app_.add_flag(name, *value, text)->group(kHarnessGroup);
  };
  for (size_t i = 0; i < std::size(kValueFlags); ++i) {
    app_.add_option(kValueFlags[i].flag, typed_[i], kValueFlags[i].text)
        ->type_name(kValueFlags[i].type)
        ->group(kHarnessGroup);
  }
  flag("--tls", &harness.tls, "speak TLS");
  flag("--h2", &harness.h2, "HTTP/2 alone, without TLS too (http.version=h2)");
  app_.add_option("--config", config_, "a JSON file with these settings; flags override it")
      ->type_name("FILE")
      ->group(kHarnessGroup);
  app_.add_flag("--inject-failures{true}", faults_,
                "inject failures: [=PLAN], or the default plan (docs/faults.md)")
      ->group(kHarnessGroup);
  flag("--restart-demo", &harness.restart_demo,
       "against a server of its own, which is killed and restarted half-way");
  flag("--simulate", &harness.simulate, "a simulated network in virtual time");
  app_.add_option("-O,--option", arguments_.options, kOptionText)
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->group(kHarnessGroup);
}

// A flag of the harness that was given, or "".
std::string Grammar::harness_flag() const {
  for (const CLI::Option* option : app_.get_options()) {
    if (option->get_group() == kHarnessGroup && option->count() > 0)
      return "--" + option->get_lnames().front();
  }
  return "";
}

void Grammar::complain(const std::string& text, const CLI::App* verb) {
  const std::string name = verb == nullptr ? "" : " " + verb->get_name();
  parsed_.problem = {kBadArguments, on_one_line(text) + " (see pooler" + name + " --help)"};
}

void Grammar::complain_about(const std::string& argument, const CLI::App* verb) {
  std::vector<std::string> known = verb == nullptr ? verbs_ : std::vector<std::string>();
  for (const CLI::App* app : {static_cast<const CLI::App*>(&app_), verb}) {
    if (app == nullptr) continue;
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames())
        known.push_back("--" + name);
    }
  }
  const std::string typed = argument.substr(0, argument.find('='));
  const std::string near = nearest(typed, known);
  std::string text = in_quotes(argument) + " ";
  if (argument.rfind('-', 0) == 0) {
    text += "is not a flag of pooler" + (verb == nullptr ? "" : " " + verb->get_name());
  } else {
    text += verb == nullptr ? "is not a verb" : "is one argument too many";
  }
  const std::string plan = argument.rfind('-', 0) == 0 ? "" : plan_with(argument);
  if (!plan.empty()) {
    text += "; did you mean " + in_quotes(plan) + "?";
  } else if (!near.empty()) {
    text += "; did you mean \"" + near + "\"?";
  } else if (verb == nullptr) {
    text += std::string("; write ") + kVerbs;
  }
  complain(text, verb);
}

// A stray word after --inject-failures is the plan, or more of it; "" of any other.
std::string Grammar::plan_with(const std::string& argument) const {
  const auto found = std::find(words_.begin(), words_.end(), argument);
  if (found == words_.begin() || found == words_.end()) return "";
  const std::string& before = *std::prev(found);
  if (before == kFaultFlag) return before + "=" + argument;
  return before.rfind(std::string(kFaultFlag) + "=", 0) == 0 ? before + " " + argument : "";
}

Parsed Grammar::parse(int argc, char** argv) {
  words_.assign(argv + std::min(argc, 1), argv + argc);
  const auto chosen = [this]() -> const CLI::App* {
    const std::vector<CLI::App*> verbs = app_.get_subcommands();
    return verbs.empty() ? nullptr : verbs.front();
  };
  try {
    app_.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    parsed_.output = app_.help();
    return parsed_;
  } catch (const CLI::CallForVersion&) {
    parsed_.output = std::string("pooler ") + conpool_version_string() + "\n";
    return parsed_;
  } catch (const CLI::ExtrasError& error) {
    std::vector<std::string> extras = app_.remaining(true);
    if (extras.empty()) {
      complain(error.what(), chosen());
    } else {
      complain_about(extras.front(), chosen());
    }
    return parsed_;
  } catch (const CLI::ParseError& error) {
    complain(error.what(), chosen());
    return parsed_;
  }
  return finish();
}

Parsed Grammar::finish() {
  const std::vector<CLI::App*> verbs = app_.get_subcommands();
  if (verbs.empty()) return finish_harness();
  const CLI::App* app = verbs.front();
  const std::string misplaced = harness_flag();
  if (!misplaced.empty()) {
    complain(misplaced + " before \"" + app->get_name() + "\" is for pooler without a verb", app);
    return parsed_;
  }
  arguments_.verb = app == get_       ? Verb::Get
                    : app == demo_    ? Verb::Demo
                    : app == connect_ ? Verb::Connect
                    : app == explain_ ? Verb::Explain
                                      : Verb::Options;
  if ((app == connect_ || app == explain_) && app->count("HOST:PORT") == 0) {
    complain("HOST:PORT is missing", app);
    return parsed_;
  }
  if (app == get_ && arguments_.get.urls.empty()) {
    complain("URL is missing", app);
    return parsed_;
  }
  parsed_.arguments = std::move(arguments_);
  return parsed_;
}

Parsed Grammar::finish_harness() {
  if (harness_flag().empty()) {
    complain(std::string("a verb is missing: write ") + kVerbs + ", or --host and --port", nullptr);
    return parsed_;
  }
  HarnessArguments& harness = arguments_.harness;
  for (size_t i = 0; i < std::size(kValueFlags); ++i) {
    if (app_.count(kValueFlags[i].flag) > 0)
      harness.values.emplace_back(kValueFlags[i].key, typed_[i]);
  }
  if (app_.count("--config") > 0) harness.config = config_;
  if (app_.count(kFaultFlag) > 0) harness.inject_failures = faults_;
  // To CLI11 this is the flag alone.
  if (std::count(words_.begin(), words_.end(), std::string(kFaultFlag) + "=") > 0)
    harness.inject_failures = "";
  arguments_.verb = Verb::Harness;
  parsed_.arguments = std::move(arguments_);
  return parsed_;
}

}  // namespace

std::string flag_of(std::string_view key) {
  for (const ValueFlag& each : kValueFlags) {
    if (each.key == key) return each.flag;
  }
  return key == "inject_failures" ? kFaultFlag : "";
}

std::string nearest(std::string_view typed, const std::vector<std::string>& candidates) {
  std::string best;
  // Half of what was typed may be wrong, and no more than three letters.
  size_t least = std::min<size_t>(3, typed.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(typed, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

Parsed parse_arguments(int argc, char** argv) {
  return Grammar().parse(argc, argv);
}

}  // namespace conpool::cli
