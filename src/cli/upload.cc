// Reads what -d names and writes pieces of a body.
#include "cli/upload.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr size_t kPieceBytes = 65536;

std::string reason_of(int error) {
  return std::strerror(error);
}

}  // namespace

Data::~Data() {
  if (fd >= 0) close(fd);
}

std::optional<Problem> read_data(const std::optional<std::string>& typed, Data* out) {
  if (!typed) return std::nullopt;
  if (typed->empty() || typed->front() != '@') {
    out->kind = Data::Kind::Literal;
    out->text = *typed;
    return std::nullopt;
  }
  if (*typed == "@-") {
    out->kind = Data::Kind::Input;
    return std::nullopt;
  }
  const std::string path = typed->substr(1);
  if (path.empty()) return Problem{kBadArguments, "-d \"@\" names no file: write -d @FILE"};
  out->kind = Data::Kind::File;
  out->fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (out->fd < 0)
    return Problem{kBadArguments,
                   "-d " + in_quotes(*typed) + " cannot be read: " + reason_of(errno)};
  struct stat facts {};
  if (fstat(out->fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return Problem{kBadArguments, "-d " + in_quotes(*typed) +
                                      " is no regular file: write -d @- and give it as the input"};
  }
  return std::nullopt;
}

conpool_status attach(const Data& data, conpool_request* request) {
  switch (data.kind) {
    case Data::Kind::None:
      return CONPOOL_OK;
    case Data::Kind::Literal:
      return conpool_request_body(request, data.text.data(), data.text.size());
    case Data::Kind::File:
      return conpool_request_body_fd(request, data.fd, 0, -1);
    case Data::Kind::Input:
      return conpool_request_body_stream(request, -1);
  }
  return CONPOOL_OK;
}

InputWriter::InputWriter(conpool_op request) : request_(request) {
  if (pipe2(stop_, O_CLOEXEC) != 0) {
    conpool_op_cancel(request_);
    return;
  }
  thread_ = std::thread([this] { run(); });
}

InputWriter::~InputWriter() {
  conpool_op_cancel(request_);  // has ended, unless the run itself is given up
  if (stop_[1] >= 0) close(stop_[1]);
  if (thread_.joinable()) thread_.join();
  if (stop_[0] >= 0) close(stop_[0]);
}

bool InputWriter::wait_for_input() {
  pollfd both[2] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                    {.fd = stop_[0], .events = POLLIN, .revents = 0}};
  while (poll(both, 2, -1) < 0 && errno == EINTR)
    continue;
  return both[1].revents == 0;
}

void InputWriter::run() {
  std::vector<char> piece(kPieceBytes);
  for (bool last = false; !last;) {
    if (!wait_for_input()) return;
    const ssize_t got = read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) {
      // Better no request than one whose body is cut short unseen.
      conpool_op_cancel(request_);
      return;
    }
    last = got == 0;
    conpool_op op = 0;
    conpool_event event{};
    if (conpool_body_write(request_, piece.data(), static_cast<size_t>(got), last ? 1 : 0, nullptr,
                           0, &op) != CONPOOL_OK)
      return;  // the request has ended
    if (conpool_op_wait(op, CONPOOL_FOREVER, &event) != CONPOOL_OK) return;
    const conpool_status status = event.status;
    conpool_event_dispose(&event);
    if (status != CONPOOL_OK) return;
  }
}

}  // namespace conpool::cli
