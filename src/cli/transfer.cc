// Follows a request's events, writes its body, words what -v shows.
#include "cli/transfer.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/readouts.h"
#include "cli/setup.h"
#include "cli/words.h"

namespace conpool::cli {
namespace {

constexpr int32_t kFirstFailure =
    400;                            // RFC 9110 section 15.5: from here on the answer is a refusal
constexpr mode_t kFileMode = 0666;  // as the umask allows

std::string version_text(int32_t version) {
  return version == 20 ? "HTTP/2" : version == 10 ? "HTTP/1.0" : "HTTP/1.1";
}

// What a server sends may go to a terminal: no byte of it goes there that could be a control
// character, in whatever encoding.
std::string printable(const char* text, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte >= 32 && byte < 127) || byte == '\t') {
      out += text[i];
      continue;
    }
    static constexpr char kHex[] = "0123456789abcdef";
    out += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
  }
  return out;
}

std::string response_head(const conpool_response* response) {
  std::string text = "< " + version_text(conpool_response_version(response)) + " " +
                     std::to_string(conpool_response_status(response)) + "\n";
  for (size_t i = 0; i < conpool_response_header_count(response); ++i) {
    size_t name_size = 0;
    size_t value_size = 0;
    const char* name = conpool_response_header_name(response, i, &name_size);
    const char* value = conpool_response_header_value(response, i, &value_size);
    text += "< " + printable(name, name_size) + ": " + printable(value, value_size) + "\n";
  }
  return text + "<\n";
}

std::string response_trailers(const conpool_response* response) {
  std::string text;
  for (size_t i = 0; i < conpool_response_trailer_count(response); ++i) {
    size_t name_size = 0;
    size_t value_size = 0;
    const char* name = conpool_response_trailer_name(response, i, &name_size);
    const char* value = conpool_response_trailer_value(response, i, &value_size);
    text += "< trailer " + printable(name, name_size) + ": " + printable(value, value_size) + "\n";
  }
  return text;
}

uint64_t content_length(const conpool_response* response) {
  const char* value = conpool_response_header(response, "content-length", 0, nullptr);
  return value == nullptr ? 0 : std::strtoull(value, nullptr, 10);
}

}  // namespace

Output::~Output() {
  close();
}

std::optional<std::string> Output::open() {
  if (path_.empty()) {
    fd_ = STDOUT_FILENO;
    return std::nullopt;
  }
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode);
  if (fd_ >= 0) return std::nullopt;
  return on_one_line(path_) + " cannot be written: " + std::strerror(errno);
}

std::optional<std::string> Output::write(const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t wrote = ::write(fd_, data, size);
    if (wrote >= 0) {
      data += wrote;
      size -= static_cast<size_t>(wrote);
    } else if (errno == EAGAIN) {  // somebody else made the descriptor non-blocking
      pollfd one = {.fd = fd_, .events = POLLOUT, .revents = 0};
      poll(&one, 1, -1);
    } else if (errno != EINTR) {
      const std::string where = path_.empty() ? "standard output" : on_one_line(path_);
      return where + " cannot be written: " + std::strerror(errno);
    }
  }
  return std::nullopt;
}

std::optional<std::string> Output::close() {
  const int fd = fd_;
  fd_ = -1;
  if (fd < 0 || fd == STDOUT_FILENO || ::close(fd) == 0) return std::nullopt;
  return on_one_line(path_) + " cannot be written: " + std::strerror(errno);
}

Transfer::Transfer(const TransferPlan& plan, const Asked& asked, std::unique_ptr<Output> output,
                   std::string label)
    : plan_(plan), asked_(asked), output_(std::move(output)), label_(std::move(label)) {}

conpool_status Transfer::start(conpool_queue* queue, uint64_t user_data, int64_t now_ns) {
  began_ns_ = ended_ns_ = now_ns;
  conpool_error* reason = nullptr;
  const conpool_status status = conpool_request_start(asked_.request.get(), nullptr, CONPOOL_STREAM,
                                                      queue, user_data, &op_, &reason);
  const Error error(reason);
  if (status != CONPOOL_OK) {
    done_ = true;
    problem_ = refusal(error.get(), status, "");
  } else if (plan_.data.kind == Data::Kind::Input) {
    input_.emplace(op_);
  }
  return status;
}

void Transfer::take(conpool_event* event, std::string* verbose) {
  switch (event->kind) {
    case CONPOOL_EVENT_INTERIM:
      if (plan_.verbose) {
        *verbose += label_ + request_once() +
                    response_head(static_cast<const conpool_response*>(event->object));
      }
      break;
    case CONPOOL_EVENT_HEAD:
      on_head(static_cast<const conpool_response*>(event->object), verbose);
      break;
    case CONPOOL_EVENT_CHUNK:
      on_chunk(static_cast<const conpool_chunk*>(event->object));
      break;
    case CONPOOL_EVENT_TRAILERS:
      if (plan_.verbose)
        *verbose += label_ + response_trailers(static_cast<const conpool_response*>(event->object));
      break;
    default:
      break;
  }
  if ((event->flags & CONPOOL_EVENT_FINAL) != 0) on_final(*event, verbose);
  conpool_event_dispose(event);
}

// The request, before the first thing that is shown of its answer.
std::string Transfer::request_once() {
  if (shown_) return "";
  shown_ = true;
  std::string text = "> " + plan_.method + " " + asked_.url + "\n";
  for (const auto& [name, value] : plan_.headers)
    text += "> " + name + ": " + value + "\n";
  return text + ">\n";
}

void Transfer::on_head(const conpool_response* response, std::string* verbose) {
  http_status_ = conpool_response_status(response);
  announced_ = content_length(response);
  if (plan_.verbose) *verbose += label_ + request_once() + response_head(response);
  if (plan_.fail && http_status_ >= kFirstFailure) {
    output_.reset();
    give_up({kHttpStatus, "the server answered with status " + std::to_string(http_status_)});
  } else if (output_ != nullptr) {
    const std::optional<std::string> wrong = output_->open();
    if (wrong) give_up({kFileFailed, *wrong});
  }
}

void Transfer::on_chunk(const conpool_chunk* chunk) {
  const size_t size = conpool_chunk_size(chunk);
  received_ += size;
  if (output_ == nullptr) return;
  const std::optional<std::string> wrong = output_->write(conpool_chunk_data(chunk), size);
  if (wrong) give_up({kFileFailed, *wrong});
}

void Transfer::on_final(const conpool_event& event, std::string* verbose) {
  done_ = true;
  ended_ns_ = event.time_ns;
  input_.reset();
  if (output_ != nullptr) {
    const std::optional<std::string> wrong = output_->close();
    if (wrong) give_up({kFileFailed, *wrong});
  }
  if (event.status != CONPOOL_OK) {
    if (!problem_) {
      problem_ =
          Problem{kNetworkFailed,
                  failure_report(static_cast<const conpool_error*>(event.object), event.status)};
    }
    return;
  }
  if (plan_.verbose) {
    *verbose += label_ + response_facts(static_cast<const conpool_response*>(event.object));
  }
}

// Nothing more of the body is wanted: it is still followed to its end.
void Transfer::give_up(Problem problem) {
  if (!problem_) problem_ = std::move(problem);
  output_.reset();
  if (!done_) conpool_op_cancel(op_);
}

}  // namespace conpool::cli
