// The body of a request of `pooler get`: a text, a file, or what comes on standard input.
#pragma once

#include <conpool/conpool.h>

#include <optional>
#include <string>
#include <thread>

#include "cli/problem.h"

namespace conpool::cli {

// What -d says.
struct Data {
  enum class Kind { None, Literal, File, Input };
  Kind kind = Kind::None;
  std::string text;  // of Literal
  int fd = -1;       // of File
  Data() = default;
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  ~Data();
};

std::optional<Problem> read_data(const std::optional<std::string>& typed, Data* out);

// Gives a request its body. The data stay until all of its ops have ended.
conpool_status attach(const Data& data, conpool_request* request);

// Writes standard input as the body of a running request, on a thread of its own: reading it may
// block. The destructor ends it, wherever it waits.
class InputWriter {
 public:
  explicit InputWriter(conpool_op request);
  ~InputWriter();
  InputWriter(const InputWriter&) = delete;
  InputWriter& operator=(const InputWriter&) = delete;

 private:
  void run();
  bool wait_for_input();

  conpool_op request_;
  int stop_[2] = {-1, -1};  // a pipe: its end ends the thread
  std::thread thread_;
};

}  // namespace conpool::cli
