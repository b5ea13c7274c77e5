// pooler without a verb: requests through one pool while the network fails, and what became of
// them.
#include <dirent.h>

#include <algorithm>
#include <cmath>

#include "cli/config_file.h"
#include "cli/event_log.h"
#include "cli/handles.h"
#include "cli/harness_report.h"
#include "cli/harness_settings.h"
#include "cli/interrupt.h"
#include "cli/live_line.h"
#include "cli/readouts.h"
#include "cli/restarting_origin.h"
#include "cli/run_clock.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr uint32_t kEvents = 64;
constexpr int64_t kTickNs = 50'000'000;  // how long nothing may be looked at
constexpr int64_t kQuietMostNs = 3'600'000'000'000;
constexpr int64_t kGiveUpNs = 60'000'000'000;  // without an answer while the breaker is not closed
constexpr int64_t kDownNs = 2'000'000'000;     // of --restart-demo, should the breaker not open
constexpr uint32_t kRegularBetweenLooks = 64;  // requests that went well
constexpr uint64_t kPreconnect = UINT64_MAX;   // user_data; others are numbers of requests
constexpr int32_t kFirstServerFailure = 500;

enum class BreakerSeen { Closed, Open, HalfOpen };

// One run. Requests start in start_due, everything that comes back passes take, and everything that
// the pool tells passes follow.
class Harness {
 public:
  Harness(const HarnessSettings& settings, bool verbose)
      : settings_(settings),
        verbose_(verbose),
        clock_(settings.simulate),
        live_(RunClock::machine_ns()) {}

  // All that can be wrong before anything is sent.
  std::optional<Problem> prepare();
  std::optional<Problem> run();

 private:
  std::optional<Problem> make_endpoint(const std::string& host, uint16_t port);
  std::optional<Problem> make_request();
  std::optional<Problem> preconnect();
  void start_due();
  int64_t next_start_ns() const;
  int64_t look_ns() const;
  int64_t wait_ns() const;
  std::optional<Problem> turn();
  void take(conpool_event* event);
  void take_preconnect(const conpool_event& event);
  void take_response(const conpool_event& event);
  bool follow();
  void note(const LoggedEvent& event);
  std::optional<Problem> restart_origin();
  uint64_t wanted() const { return static_cast<uint64_t>(settings_.requests); }
  bool over() const;
  bool hopeless() const;
  void show();
  std::optional<Problem> finish();
  void tell_failures(bool always);
  std::string cause_text(const conpool_event& event) const;
  void say(const std::string& line);
  void tell(const std::string& line);

  const HarnessSettings& settings_;
  const bool verbose_;
  const Interrupt interrupt_;
  RunClock clock_;
  LiveLine live_;
  OptionValues values_;
  RestartingOrigin origin_;
  bool origin_died_ = false;
  int64_t origin_died_ns_ = 0;
  Pool pool_;
  Endpoint endpoint_;
  Request request_;
  Queue queue_;  // after the pool: goes first
  std::optional<EventLog> log_;
  int64_t log_origin_ns_ = -1;
  bool preconnecting_ = false;
  bool warm_ = false;           // the first preconnect has ended
  bool look_ = true;            // something happened that the log tells of
  uint32_t regular_ = 0;        // requests since the last look
  int64_t quiet_ns_ = kTickNs;  // in simulated time: until the next look while nothing is under way
  uint64_t started_ = 0;
  uint64_t running_ = 0;
  int64_t began_ns_ = 0;      // the first start
  int64_t last_good_ns_ = 0;  // the last answer, or the beginning
  BreakerSeen breaker_ = BreakerSeen::Closed;
  RunFacts facts_;
  uint64_t failed_ = 0;
  std::string first_failure_;
  std::optional<LoggedEvent> last_retry_;  // of a request, and why
};

std::optional<Problem> Harness::prepare() {
  std::string host = settings_.host;
  auto port = static_cast<uint16_t>(settings_.port);
  if (settings_.simulate && host.empty()) host = "127.0.0.1";
  if (settings_.simulate && port == 0) port = 8080;
  values_ = option_values(settings_, verbose_);
  if (settings_.restart_demo) {
    std::optional<Problem> problem = origin_.start();
    if (problem) return problem;
    host = "127.0.0.1";
    port = origin_.port();
  }
  std::optional<Problem> problem = make_pool(values_, &pool_);
  if (problem) return as_given(*problem, settings_);
  problem = make_endpoint(host, port);
  if (!problem) problem = make_request();
  if (problem) return problem;
  conpool_queue* queue = nullptr;
  const conpool_status status = conpool_queue_new(pool_.get(), &queue);
  queue_.reset(queue);
  if (status != CONPOOL_OK) return refusal(nullptr, status, "");
  log_.emplace(pool_.get());
  return std::nullopt;
}

std::optional<Problem> Harness::make_endpoint(const std::string& host, uint16_t port) {
  conpool_endpoint* endpoint = nullptr;
  conpool_error* reason = nullptr;
  const conpool_status status =
      conpool_endpoint_new_host(pool_.get(), settings_.tls ? "https" : "http", host.data(),
                                host.size(), &port, 1, nullptr, &endpoint, &reason);
  const Error error(reason);
  endpoint_.reset(endpoint);
  if (status == CONPOOL_OK) return std::nullopt;
  const bool of_host = status == CONPOOL_E_BAD_NAME || status == CONPOOL_E_BAD_ADDRESS ||
                       status == CONPOOL_E_BAD_URL;
  return refusal(error.get(), status,
                 of_host ? settings_.name_of("host") + " " + in_quotes(host) + ": " : "");
}

std::optional<Problem> Harness::make_request() {
  conpool_request* request = nullptr;
  conpool_error* reason = nullptr;
  const conpool_status status = conpool_request_new_at(
      endpoint_.get(), "GET", settings_.path.data(), settings_.path.size(), &request, &reason);
  const Error error(reason);
  request_.reset(request);
  if (status == CONPOOL_OK) return std::nullopt;
  return refusal(error.get(), status,
                 settings_.name_of("path") + " " + in_quotes(settings_.path) + ": ");
}

std::optional<Problem> Harness::preconnect() {
  conpool_op op = 0;
  const conpool_status status =
      conpool_endpoint_preconnect(endpoint_.get(), static_cast<uint32_t>(settings_.pool_size),
                                  nullptr, queue_.get(), kPreconnect, &op);
  if (status != CONPOOL_OK) return Problem{kNetworkFailed, conpool_status_text(status)};
  preconnecting_ = true;
  return std::nullopt;
}

std::optional<Problem> Harness::run() {
  if (verbose_ && settings_.fault_plan) {
    tell("failure plan \"" + *settings_.fault_plan + "\", seed " + std::to_string(settings_.seed) +
         "\n");
  }
  std::optional<Problem> problem = preconnect();
  // Without an output there is nothing to run for.
  while (!problem && !over() && interrupt_.signal() == 0 && !output_failure())
    problem = turn();
  live_.clear();
  return problem || output_failure() ? problem : finish();
}

std::optional<Problem> Harness::turn() {
  start_due();
  conpool_event events[kEvents];
  const int64_t wait = wait_ns();
  const int32_t count = conpool_queue_next(queue_.get(), events, kEvents, wait);
  if (count < 0) return Problem{kNetworkFailed, conpool_status_text(count)};
  if (count == 0) clock_.waited(wait);
  for (int32_t i = 0; i < count; ++i)
    take(&events[i]);
  bool news = count > 0;
  if (count == 0 || look_ || breaker_ != BreakerSeen::Closed || regular_ >= kRegularBetweenLooks)
    news = follow() || news;
  quiet_ns_ = news ? kTickNs : std::min(quiet_ns_ * 2, kQuietMostNs);
  show();
  if (settings_.restart_demo) return restart_origin();
  return std::nullopt;
}

// Between connecting and requesting there is a line: what connects does not compete with requests,
// so that the order of events is that of the plan.
void Harness::start_due() {
  const auto most = static_cast<uint64_t>(settings_.in_flight());
  if (preconnecting_ && (!warm_ || !settings_.rate)) return;
  while (started_ < wanted() && running_ < most && next_start_ns() <= clock_.now_ns()) {
    conpool_op op = 0;
    const conpool_status status = conpool_request_start(request_.get(), nullptr, CONPOOL_WHOLE,
                                                        queue_.get(), started_, &op, nullptr);
    ++started_;
    if (status == CONPOOL_OK) {
      ++running_;
      continue;
    }
    ++facts_.ended;
    ++failed_;
    if (first_failure_.empty()) first_failure_ = conpool_status_text(status);
  }
}

int64_t Harness::next_start_ns() const {
  if (!settings_.rate) return began_ns_;
  const auto interval = static_cast<int64_t>(std::llround(1e9 / *settings_.rate));
  return began_ns_ + static_cast<int64_t>(started_) * interval;
}

// How long nothing may be looked at. In simulated time a look is all that a wait costs: while
// nothing is under way they become rarer, but for what the ring can hold.
int64_t Harness::look_ns() const {
  if (!settings_.simulate || running_ > 0 || preconnecting_) return kTickNs;
  if (breaker_ == BreakerSeen::Closed) return quiet_ns_;
  return std::clamp<int64_t>(last_good_ns_ + kGiveUpNs - clock_.now_ns(), 0, quiet_ns_);
}

int64_t Harness::wait_ns() const {
  const bool may_start =
      started_ < wanted() && running_ < static_cast<uint64_t>(settings_.in_flight());
  if (!warm_ || !may_start || !settings_.rate) return kTickNs;
  return std::clamp<int64_t>(next_start_ns() - clock_.now_ns(), 0, look_ns());
}

void Harness::take(conpool_event* event) {
  clock_.happened(event->time_ns);
  if (event->user_data == kPreconnect) {
    take_preconnect(*event);
  } else {
    take_response(*event);
  }
  conpool_event_dispose(event);
}

void Harness::take_preconnect(const conpool_event& event) {
  preconnecting_ = false;
  look_ = true;
  const bool stands = event.status == CONPOOL_OK && event.value[0] > 0;
  if (stands) facts_.connected = true;
  if (!warm_) {
    warm_ = true;
    began_ns_ = last_good_ns_ = clock_.now_ns();
    say("[pool] " +
        (stands ? "created " + count_text(event.value[0], "connection") : cause_text(event)) +
        "\n");
  } else if (stands && !facts_.openings.empty()) {
    facts_.openings.back().recovered = true;
    facts_.openings.back().pool_size = event.value[0];
  }
}

void Harness::take_response(const conpool_event& event) {
  --running_;
  ++facts_.ended;
  ++regular_;
  if (event.status != CONPOOL_OK || event.value[0] != 1) look_ = true;
  if (event.status != CONPOOL_OK) {
    ++failed_;
    if (first_failure_.empty()) {
      first_failure_ =
          failure_report(static_cast<const conpool_error*>(event.object), event.status);
    }
    return;
  }
  facts_.connected = true;
  const auto* response = static_cast<const conpool_response*>(event.object);
  if (conpool_response_status(response) >= kFirstServerFailure) {
    look_ = true;  // the breaker may count it
    ++failed_;
    if (first_failure_.empty())
      first_failure_ = "answered with status " + std::to_string(conpool_response_status(response));
    return;
  }
  ++facts_.succeeded;
  facts_.times_ns.push_back(response_total_ns(response));
  last_good_ns_ = clock_.now_ns();
}

// Whether there was something new.
bool Harness::follow() {
  look_ = false;
  regular_ = 0;
  const uint64_t lost = log_->lost();
  const std::vector<LoggedEvent> events = log_->next();
  if (verbose_ && log_->lost() > lost)
    tell(count_text(log_->lost() - lost, "event") + " overwritten before they could be read\n");
  for (const LoggedEvent& event : events) {
    if (log_origin_ns_ < 0) log_origin_ns_ = event.time_ns;
    clock_.happened(event.time_ns);
    if (verbose_) tell(event_line(event, log_origin_ns_));
    note(event);
  }
  return !events.empty();
}

void Harness::note(const LoggedEvent& event) {
  if (event.name == "breaker.opened") {
    breaker_ = BreakerSeen::Open;
    facts_.openings.push_back({.open_ns = event.number("open_ns")});
  } else if (event.name == "breaker.half_open") {
    breaker_ = BreakerSeen::HalfOpen;
  } else if (event.name == "breaker.closed") {
    breaker_ = BreakerSeen::Closed;
    // Recovered is who has the connections back.
    if (!preconnecting_) preconnect();
  } else if (event.name == "request.retry") {
    last_retry_ = event;
  }
}

std::optional<Problem> Harness::restart_origin() {
  const std::string place = "server on port " + std::to_string(origin_.port());
  if (!origin_died_ && facts_.ended >= wanted() / 2) {
    origin_died_ = true;
    origin_died_ns_ = clock_.now_ns();
    origin_.kill();
    say("[pool] " + place + " killed after " + count_text(facts_.ended, "request") + "\n");
  }
  const bool long_enough = breaker_ != BreakerSeen::Closed ||
                           clock_.now_ns() - origin_died_ns_ >= kDownNs || facts_.ended == wanted();
  if (!origin_died_ || origin_.running() || !long_enough) return std::nullopt;
  std::optional<Problem> problem = origin_.start();
  if (!problem) say("[pool] " + place + " restarted\n");
  return problem;
}

bool Harness::over() const {
  return hopeless() || (warm_ && !preconnecting_ && facts_.ended == wanted());
}

// Nothing is worth waiting for: the breaker opened before any request succeeded, or for long none
// did.
bool Harness::hopeless() const {
  if (breaker_ == BreakerSeen::Closed || settings_.restart_demo) return false;
  return facts_.succeeded == 0 || clock_.now_ns() - last_good_ns_ >= kGiveUpNs;
}

void Harness::show() {
  if (!live_.due(RunClock::machine_ns())) return;
  const Metrics metrics = read_metrics(pool_.get());
  live_.draw({.ended = facts_.ended,
              .wanted = wanted(),
              .active = metric(metrics, "pool.connections.active"),
              .idle = metric(metrics, "pool.connections.idle"),
              .breaker = breaker_state(metrics)},
             RunClock::machine_ns());
}

// The summary of what was done, and what the run ends with.
std::optional<Problem> Harness::finish() {
  follow();
  const Metrics metrics = read_metrics(pool_.get());
  say(summary_text(&facts_, metrics));
  const int signal = over() ? 0 : interrupt_.signal();
  const bool bad = facts_.succeeded == 0 || breaker_state(metrics) == "open" || hopeless();
  // Where nothing ever stood, the cause was told at once.
  if (facts_.connected) tell_failures(bad && signal == 0);
  if (settings_.metrics == MetricsForm::Lines) print(figures_text(&facts_, metrics));
  if (settings_.metrics == MetricsForm::Json) print(figures_json(&facts_, metrics));
  char* read = nullptr;
  if (settings_.metrics == MetricsForm::OpenMetrics &&
      conpool_pool_metrics(pool_.get(), "openmetrics", &read) == CONPOOL_OK) {
    print(Text(read).get());
  }
  if (signal != 0) {
    return Problem{kInterrupted + signal, std::string(interrupt_.name()) + " ended the run after " +
                                              std::to_string(facts_.ended) + " of " +
                                              count_text(wanted(), "request")};
  }
  if (bad) return Problem{kNetworkFailed, ""};
  return std::nullopt;
}

// What requests failed of: injected failures are no news, unless they are why the run did.
void Harness::tell_failures(bool always) {
  if (failed_ > 0 && (always || verbose_ || !settings_.fault_plan)) {
    tell("pooler: " + std::to_string(failed_) + " of " + count_text(facts_.ended, "request") +
         " failed, the first: " + first_failure_ + "\n");
  } else if (failed_ == 0 && always) {
    tell(std::string("pooler: ") +
         (facts_.succeeded == 0 ? "no request succeeded" : "the circuit breaker is open") + ", " +
         count_text(running_, "request") + " still waiting" +
         (last_retry_ ? "; the last failure: " + failure_text(*last_retry_) : "") + "\n");
  }
}

// Why no connection stands: "connect timeout after 500ms", "connection refused (ECONNREFUSED)".
std::string Harness::cause_text(const conpool_event& event) const {
  if (event.status == CONPOOL_E_CONNECT_TIMEOUT) {
    std::string timeout;  // the last one counts
    for (const auto& [name, value] : values_) {
      if (name == "connect.timeout") timeout = value;
    }
    return "connect timeout after " + timeout;
  }
  const std::string line =
      failure_line(static_cast<const conpool_error*>(event.object), event.status);
  return line.substr(0, line.find(", "));
}

// A line of the run itself. Where stdout is a document, it goes to stderr.
void Harness::say(const std::string& line) {
  live_.clear();
  const bool document =
      settings_.metrics == MetricsForm::Json || settings_.metrics == MetricsForm::OpenMetrics;
  if (document) {
    print_error(line);
  } else {
    print(line);
    flush_output();
  }
}

void Harness::tell(const std::string& line) {
  live_.clear();
  print_error(line);
}

size_t open_descriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  size_t count = 0;
  while (const dirent* entry = readdir(folder))
    count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(folder);
  return count - 1;  // the folder's own
}

std::optional<Problem> read_settings(const Arguments& arguments, HarnessSettings* out) {
  const HarnessArguments& harness = arguments.harness;
  if (harness.config) {
    std::optional<Problem> problem = read_config(*harness.config, out);
    if (problem) return problem;
  }
  std::vector<std::pair<std::string, std::string>> values = harness.values;
  if (harness.inject_failures) values.emplace_back("inject_failures", *harness.inject_failures);
  for (const auto& [key, typed] : values) {
    const std::optional<std::string> allowed = set_typed(out, key, typed);
    out->given[key] = flag_of(key);
    if (!allowed) continue;
    return Problem{kBadArguments, flag_of(key) + " is " + in_quotes(typed) + ": write " + *allowed};
  }
  out->tls = out->tls || harness.tls;
  out->h2 = out->h2 || harness.h2;
  out->restart_demo = harness.restart_demo;
  out->simulate = harness.simulate;
  std::optional<Problem> problem = read_option_list(arguments.options, "-O", &out->options);
  if (!problem) problem = check_settings(*out);
  return problem;
}

}  // namespace

std::optional<Problem> run_harness(const Arguments& arguments) {
  HarnessSettings settings;
  std::optional<Problem> problem = read_settings(arguments, &settings);
  if (problem) return problem;
  size_t before = 0;
  const bool count =
      arguments.verbose && !settings.simulate;  // how many there are is no part of it
  if (count) {
    // The first pool of a process leaves the libraries' own descriptors behind.
    Pool first;
    problem = make_pool({}, &first);
    if (problem) return problem;
    first.reset();
    before = open_descriptors();
  }
  bool ran = false;
  {
    Harness harness(settings, arguments.verbose);
    problem = harness.prepare();
    ran = !problem;
    if (ran) problem = harness.run();
  }
  if (count && ran) {
    print_error("descriptors open: " + std::to_string(before) + " before the run, " +
                std::to_string(open_descriptors()) + " after it\n");
  }
  return problem;
}

}  // namespace conpool::cli
