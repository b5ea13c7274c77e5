// One request of `pooler get`, from its start to its FINAL event.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/handles.h"
#include "cli/problem.h"
#include "cli/upload.h"

namespace conpool::cli {

using HeaderLines = std::vector<std::pair<std::string, std::string>>;

// One URL of the command line.
struct Asked {
  std::string url;
  std::string output;  // a path; empty: standard output
  Request request;
};

// What all transfers of a run share.
struct TransferPlan {
  std::string method;
  HeaderLines headers;
  HeaderLines trailers;
  Data data;
  bool verbose = false;
  bool fail = false;  // --fail
};

// Where a body goes. Opened with the response's header, so that a request without a response
// leaves no empty file behind.
class Output {
 public:
  explicit Output(std::string path) : path_(std::move(path)) {}
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  // Nothing, or what went wrong.
  std::optional<std::string> open();
  std::optional<std::string> write(const uint8_t* data, size_t size);
  std::optional<std::string> close();

 private:
  std::string path_;
  int fd_ = -1;
};

class Transfer {
 public:
  // `output`: null for a repetition, whose body is counted and not kept. `label` begins what -v
  // prints when there are several.
  Transfer(const TransferPlan& plan, const Asked& asked, std::unique_ptr<Output> output,
           std::string label);

  conpool_status start(conpool_queue* queue, uint64_t user_data, int64_t now_ns);
  // Takes an event of this transfer. What -v prints is added to `verbose`.
  void take(conpool_event* event, std::string* verbose);

  bool done() const { return done_; }
  // When done: nothing for success.
  const std::optional<Problem>& problem() const { return problem_; }
  int32_t http_status() const { return http_status_; }
  uint64_t received() const { return received_; }
  // By Content-Length; 0: not known.
  uint64_t announced() const { return announced_; }
  int64_t took_ns() const { return ended_ns_ - began_ns_; }

 private:
  std::string request_once();
  void on_head(const conpool_response* response, std::string* verbose);
  void on_chunk(const conpool_chunk* chunk);
  void on_final(const conpool_event& event, std::string* verbose);
  void give_up(Problem problem);

  const TransferPlan& plan_;
  const Asked& asked_;
  std::unique_ptr<Output> output_;
  std::string label_;
  std::optional<InputWriter> input_;
  conpool_op op_ = 0;
  int64_t began_ns_ = 0;
  int64_t ended_ns_ = 0;
  uint64_t received_ = 0;
  uint64_t announced_ = 0;
  int32_t http_status_ = 0;
  bool shown_ = false;  // the request, by -v
  bool done_ = false;
  std::optional<Problem> problem_;  // the first
};

}  // namespace conpool::cli
