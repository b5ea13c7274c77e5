// pooler get: URLs to bodies, several at once, over whatever HTTP the server speaks.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "cli/progress.h"
#include "cli/readouts.h"
#include "cli/setup.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr uint32_t kEvents = 64;
constexpr int64_t kTickNs = 100'000'000;  // how often the progress line may move

Problem bad(std::string text) {
  return {kBadArguments, std::move(text)};
}

int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool is_directory(const std::string& path) {
  struct stat facts {};
  return stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

// The last part of a URL's path, as a file's name.
std::string file_name(const std::string& url) {
  const size_t host = url.find("://");
  const size_t path = url.find('/', host == std::string::npos ? 0 : host + 3);
  if (path == std::string::npos) return "index";
  const size_t end = std::min(url.find('?', path), url.size());
  const size_t slash = url.rfind('/', end - 1);
  const std::string name = url.substr(slash + 1, end - slash - 1);
  return name.empty() || name == "." || name == ".." ? "index" : name;
}

// -o: a file for each URL, or one directory for all.
std::optional<Problem> read_outputs(const GetArguments& get, std::vector<Asked>* asked) {
  const std::vector<std::string>& outputs = get.outputs;
  const auto together = std::count(outputs.begin(), outputs.end(), "-");
  if (get.parallel > 1 && (together > 1 || (outputs.empty() && get.urls.size() > 1)))
    return bad("-P with several URLs needs -o: their bodies would mix on standard output");
  if (outputs.empty()) return std::nullopt;
  for (const std::string& output : outputs) {
    if (output.empty()) return bad("-o \"\" names no file: write -o FILE or -o DIRECTORY");
  }
  if (outputs.size() == 1 && (outputs[0].back() == '/' || is_directory(outputs[0]))) {
    if (!is_directory(outputs[0])) return bad("-o " + in_quotes(outputs[0]) + " is no directory");
    std::set<std::string> taken;
    for (Asked& each : *asked) {
      const std::string name = file_name(each.url);
      std::string unique = name;
      for (int n = 2; !taken.insert(unique).second; ++n)
        unique = name + "." + std::to_string(n);
      each.output = outputs[0] + (outputs[0].back() == '/' ? "" : "/") + unique;
    }
    return std::nullopt;
  }
  // One /dev/null serves for all.
  if (outputs.size() == 1 && outputs[0] == "/dev/null") {
    for (Asked& each : *asked)
      each.output = outputs[0];
    return std::nullopt;
  }
  if (outputs.size() != asked->size()) {
    return bad("-o is written " + std::to_string(outputs.size()) + " times for " +
               count_text(asked->size(), "URL") + ": write it once per URL, or once with a " +
               "directory");
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    (*asked)[i].output = outputs[i] == "-" ? "" : outputs[i];
  return std::nullopt;
}

std::optional<Problem> read_lines(const std::vector<std::string>& typed, const char* flag,
                                  HeaderLines* out) {
  for (const std::string& line : typed) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos)
      return bad(std::string(flag) + " " + in_quotes(line) + " has no colon: write 'name: value'");
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    out->emplace_back(line.substr(0, colon), value == std::string::npos ? "" : line.substr(value));
  }
  return std::nullopt;
}

bool has(const HeaderLines& lines, std::string_view wanted) {
  return std::any_of(lines.begin(), lines.end(), [&](const auto& line) {
    return std::equal(line.first.begin(), line.first.end(), wanted.begin(), wanted.end(),
                      [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
  });
}

std::optional<Problem> read_values(const Arguments& arguments, OptionValues* out) {
  const GetArguments& get = arguments.get;
  if (get.http1 && get.h2) return bad("--http1 contradicts --h2: write one of them");
  // A transfer is as long as it is; stall.timeout and first_byte.timeout watch over it.
  out->emplace_back("total.timeout", "0");
  if (arguments.verbose) out->emplace_back("events.level", "debug");
  if (get.http1) out->emplace_back("http.version", "http1");
  if (get.h2) out->emplace_back("http.version", "h2");
  const std::pair<const char*, std::string> tls[] = {
      {"tls.ca_file", arguments.ca},
      {"tls.insecure", arguments.insecure ? "true" : ""},
      {"tls.server_name", arguments.server_name}};
  const bool secured = std::any_of(get.urls.begin(), get.urls.end(), [](const std::string& url) {
    return url.rfind("https://", 0) == 0;
  });
  for (const auto& [name, value] : tls) {
    if (value.empty()) continue;
    if (!secured) return bad(std::string(name) + " needs a URL of https://");
    out->emplace_back(name, value);
  }
  return read_option_list(arguments.options, "-O", out);
}

// A run of `get`: what it is to do, and what came of it.
class Run {
 public:
  explicit Run(const Arguments& arguments) : arguments_(arguments), get_(arguments.get) {}

  // All that can be wrong with the arguments, before anything is sent.
  std::optional<Problem> prepare();
  std::optional<Problem> transfer();
  conpool_pool* pool() const { return pool_.get(); }

 private:
  std::optional<Problem> read(OptionValues* values);
  std::optional<Problem> make_request(Asked* asked);
  size_t wanted() const { return asked_.size() * get_.repeat; }
  void start_more();
  void take(conpool_event* event);
  void end(size_t number, const Transfer& transfer);
  void show_progress();
  void say(const std::string& text);
  std::string summary() const;

  const Arguments& arguments_;
  const GetArguments& get_;
  TransferPlan plan_;
  Pool pool_;
  Queue queue_;  // after the pool: goes first
  std::vector<Asked> asked_;
  std::map<size_t, Transfer> running_;  // by number, from 0
  std::optional<Progress> progress_;
  size_t started_ = 0;
  size_t ended_ = 0;
  size_t failed_ = 0;
  uint64_t ended_bytes_ = 0;
  std::optional<Problem> first_;
  std::map<int32_t, uint64_t> statuses_;
  std::vector<int64_t> times_ns_;
};

std::optional<Problem> Run::prepare() {
  OptionValues values;
  std::optional<Problem> problem = read(&values);
  if (!problem) problem = make_pool(values, &pool_);
  if (problem) return problem;
  conpool_queue* queue = nullptr;
  const conpool_status status = conpool_queue_new(pool_.get(), &queue);
  queue_.reset(queue);
  if (status != CONPOOL_OK) return refusal(nullptr, status, "");
  for (Asked& each : asked_) {
    problem = make_request(&each);
    if (problem) return problem;
  }
  return std::nullopt;
}

std::optional<Problem> Run::read(OptionValues* values) {
  plan_.verbose = arguments_.verbose;
  plan_.fail = get_.fail;
  for (const std::string& url : get_.urls)
    asked_.push_back({.url = url, .output = "", .request = nullptr});
  std::optional<Problem> problem = read_outputs(get_, &asked_);
  if (!problem) problem = read_lines(get_.headers, "-H", &plan_.headers);
  if (!problem) problem = read_lines(get_.trailers, "--trailer", &plan_.trailers);
  if (!problem) problem = read_data(get_.data, &plan_.data);
  if (!problem) problem = read_values(arguments_, values);
  if (problem) return problem;
  const bool has_body = plan_.data.kind != Data::Kind::None;
  if (plan_.data.kind == Data::Kind::Input && wanted() > 1)
    return bad("-d @- is read once: write one URL, without -n");
  if (!plan_.trailers.empty() && !has_body) return bad("--trailer needs a body: write -d");
  plan_.method = !get_.method.empty() ? get_.method : has_body ? "POST" : "GET";
  if (!has(plan_.headers, "user-agent"))
    plan_.headers.emplace_back("user-agent", std::string("pooler/") + conpool_version_string());
  return std::nullopt;
}

std::optional<Problem> Run::make_request(Asked* asked) {
  conpool_request* request = nullptr;
  conpool_error* reason = nullptr;
  conpool_status status = conpool_request_new(pool_.get(), plan_.method.c_str(), asked->url.data(),
                                              asked->url.size(), nullptr, &request, &reason);
  asked->request.reset(request);
  std::string where =
      status == CONPOOL_E_BAD_METHOD ? "-X: " : "URL " + in_quotes(asked->url) + ": ";
  const auto add = [&](const HeaderLines& lines, const char* flag, auto function) {
    for (const auto& [name, value] : lines) {
      if (status != CONPOOL_OK) return;
      where = flag;
      status = function(request, name.data(), name.size(), value.data(), value.size(), &reason);
    }
  };
  add(plan_.headers, "-H: ", conpool_request_header);
  if (status == CONPOOL_OK) {
    where = "-d: ";
    status = attach(plan_.data, request);
  }
  add(plan_.trailers, "--trailer: ", conpool_request_trailer);
  const Error error(reason);
  if (status == CONPOOL_OK) return std::nullopt;
  return refusal(error.get(), status, where);
}

void Run::start_more() {
  while (started_ < wanted() && running_.size() < get_.parallel) {
    const size_t number = started_++;
    // The first round of all URLs, then the second one: repetitions are only counted.
    const Asked& asked = asked_[number % asked_.size()];
    std::unique_ptr<Output> output;
    if (number < asked_.size()) output = std::make_unique<Output>(asked.output);
    const std::string label = wanted() == 1 ? ""
                                            : "* request " + std::to_string(number + 1) + " of " +
                                                  std::to_string(wanted()) + "\n";
    const auto made = running_.try_emplace(number, plan_, asked, std::move(output), label).first;
    made->second.start(queue_.get(), number, now_ns());
    if (made->second.done()) end(number, made->second);
  }
}

void Run::end(size_t number, const Transfer& transfer) {
  ++ended_;
  ended_bytes_ += transfer.received();
  if (transfer.http_status() != 0) ++statuses_[transfer.http_status()];
  if (transfer.problem()) {
    ++failed_;
    const std::string& text = transfer.problem()->text;
    if (!first_) first_ = transfer.problem();
    if (wanted() > 1) {
      // The first one in full; of the others what differs fits into a line.
      const std::string line = failed_ == 1 ? text : text.substr(0, text.find('\n'));
      say("pooler: " + asked_[number % asked_.size()].url + ": " + line + "\n");
    }
  } else {
    times_ns_.push_back(transfer.took_ns());
  }
  running_.erase(number);
}

void Run::take(conpool_event* event) {
  const size_t number = event->user_data;
  const auto found = running_.find(number);
  if (found == running_.end()) {
    conpool_event_dispose(event);
    return;
  }
  std::string verbose;
  found->second.take(event, &verbose);
  if (!verbose.empty()) say(verbose);
  if (found->second.done()) end(number, found->second);
}

void Run::show_progress() {
  if (!progress_->on()) return;
  ProgressFigures figures = {
      .bytes = ended_bytes_, .announced = ended_bytes_, .ended = ended_, .transfers = wanted()};
  bool known = started_ == wanted();
  for (const auto& [number, transfer] : running_) {
    figures.bytes += transfer.received();
    figures.announced += transfer.announced();
    known = known && transfer.announced() > 0;
  }
  if (!known) figures.announced = 0;
  progress_->update(figures, now_ns());
}

void Run::say(const std::string& text) {
  progress_->clear();
  print_error(text);
}

std::string Run::summary() const {
  std::vector<int64_t> sorted = times_ns_;
  std::sort(sorted.begin(), sorted.end());
  std::string text = count_text(ended_, "request");
  for (const auto& [status, count] : statuses_)
    text += ", " + std::to_string(count) + " answered with " + std::to_string(status);
  if (failed_ > 0) text += ", " + std::to_string(failed_) + " failed";
  const int64_t opened = metric(read_metrics(pool_.get()), "pool.connections.opened");
  text += "; " + count_text(static_cast<uint64_t>(opened), "connection") + " opened, " +
          size_text(ended_bytes_) + " of bodies";
  if (sorted.empty()) return text + "\n";
  const auto percentile = [&](size_t percent) {
    return duration_text(sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)]);
  };
  return text + "; p50 " + percentile(50) + ", p99 " + percentile(99) + "\n";
}

std::optional<Problem> Run::transfer() {
  // A body that goes to the terminal shows by itself that it comes.
  const bool on_terminal = get_.outputs.empty() && isatty(STDOUT_FILENO) != 0;
  progress_.emplace(!on_terminal, now_ns());
  start_more();
  conpool_event events[kEvents];
  while (!running_.empty()) {
    const int64_t wait = progress_->on() ? kTickNs : CONPOOL_FOREVER;
    const int32_t count = conpool_queue_next(queue_.get(), events, kEvents, wait);
    if (count < 0) return Problem{kNetworkFailed, conpool_status_text(count)};
    for (int32_t i = 0; i < count; ++i)
      take(&events[i]);
    start_more();
    show_progress();
  }
  progress_->clear();
  if (wanted() == 1) return first_;
  print_error(summary());
  if (!first_) return std::nullopt;
  return Problem{first_->exit_code,
                 std::to_string(failed_) + " of " + count_text(wanted(), "request") + " failed"};
}

}  // namespace

std::optional<Problem> run_get(const Arguments& arguments) {
  Run run(arguments);
  std::optional<Problem> problem = run.prepare();
  if (problem) return problem;
  problem = run.transfer();
  if (arguments.verbose) print_events(run.pool());
  return problem;
}

}  // namespace conpool::cli
