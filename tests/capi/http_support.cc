// The scripted server and the short names of requests.
#include "http_support.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace capi_test {

// --- reading -------------------------------------------------------------------------------------

std::string HttpRequest::field(const std::string& name) const {
  const auto at = fields.find(name);
  return at == fields.end() ? "" : at->second;
}

bool HttpReader::fill() {
  char bytes[65536];
  const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(got));
  return true;
}

bool HttpReader::read_line(std::string* line) {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!fill()) return false;
  }
  *line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return true;
}

bool HttpReader::read_exactly(size_t size, std::string* out) {
  while (buffer_.size() < size) {
    if (!fill()) return false;
  }
  *out = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return true;
}

namespace {

void add_line(const std::string& line, std::multimap<std::string, std::string>* fields) {
  const size_t colon = line.find(": ");
  EXPECT_NE(colon, std::string::npos) << line;
  if (colon == std::string::npos) return;
  std::string name = line.substr(0, colon);
  for (char& c : name)
    c = static_cast<char>(tolower(c));
  fields->emplace(name, line.substr(colon + 2));
}

}  // namespace

bool HttpReader::read_head(HttpRequest* request) {
  *request = HttpRequest();
  request->number = ++number_;
  std::string line;
  if (!read_line(&line)) return false;
  request->head = line + "\r\n";
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  EXPECT_EQ(line.substr(last), " HTTP/1.1") << line;
  request->method = line.substr(0, first);
  request->target = line.substr(first + 1, last - first - 1);
  while (read_line(&line)) {
    request->head += line + "\r\n";
    if (line.empty()) return true;
    add_line(line, &request->fields);
  }
  return false;
}

bool HttpReader::read_body(HttpRequest* request) {
  if (request->field("transfer-encoding") != "chunked") {
    const std::string length = request->field("content-length");
    return length.empty() || read_exactly(std::stoul(length), &request->body);
  }
  std::string line;
  for (;;) {
    if (!read_line(&line)) return false;
    const size_t size = std::stoul(line, nullptr, 16);
    if (size == 0) break;
    std::string chunk;
    if (!read_exactly(size + 2, &chunk)) return false;
    request->body += chunk.substr(0, size);
  }
  while (read_line(&line)) {
    if (line.empty()) return true;
    add_line(line, &request->trailers);
  }
  return false;
}

// --- answering -----------------------------------------------------------------------------------

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string answer(std::string_view body, int status, std::string_view fields) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Fine\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(fields) +
         "\r\n" + std::string(body);
}

HttpServer::HttpServer(Script script)
    : server_([this, script = std::move(script)](int fd) {
        HttpReader reader(fd);
        HttpRequest request;
        while (reader.read_head(&request) && reader.read_body(&request)) {
          ++requests_;
          const std::optional<std::string> reply = script(request);
          if (!reply || !send_all(fd, *reply)) return;
        }
      }) {}

std::optional<std::string> HttpServer::echo(const HttpRequest& request) {
  return answer(request.body.empty() ? request.target : request.body);
}

std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return bytes;
}

TempFile::TempFile(const std::string& content) : fd_(open("/tmp", O_TMPFILE | O_RDWR, 0600)) {
  EXPECT_EQ(write(fd_, content.data(), content.size()), static_cast<ssize_t>(content.size()));
}

TempFile::~TempFile() {
  close(fd_);
}

// --- short names ---------------------------------------------------------------------------------

RequestPtr make_request(const PoolPtr& pool, const std::string& method, const std::string& url,
                        const Options& options) {
  const ConfigPtr config = options.empty() ? nullptr : make_config(options);
  conpool_request* request = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_request_new(pool.get(), method.c_str(), url.data(), url.size(), config.get(),
                                &request, &error),
            CONPOOL_OK)
      << conpool_error_line(error);
  conpool_error_free(error);
  return RequestPtr(request);
}

void add_header(const RequestPtr& request, const std::string& name, const std::string& value) {
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_request_header(request.get(), name.data(), name.size(), value.data(),
                                   value.size(), &error),
            CONPOOL_OK)
      << conpool_error_line(error);
  conpool_error_free(error);
}

void add_trailer(const RequestPtr& request, const std::string& name, const std::string& value) {
  EXPECT_EQ(conpool_request_trailer(request.get(), name.data(), name.size(), value.data(),
                                    value.size(), nullptr),
            CONPOOL_OK);
}

void set_body(const RequestPtr& request, std::string_view body) {
  EXPECT_EQ(conpool_request_body(request.get(), body.data(), body.size()), CONPOOL_OK);
}

std::string body_of(const conpool_response* response) {
  size_t size = 0;
  const uint8_t* bytes = conpool_response_body(response, &size);
  return bytes == nullptr ? "" : std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string Answer::body() const {
  return body_of(response.get());
}

std::string Answer::header(const char* name) const {
  const char* value = conpool_response_header(response.get(), name, 0, nullptr);
  return value == nullptr ? "(none)" : value;
}

Json Answer::facts() const {
  char* text = nullptr;
  EXPECT_EQ(conpool_response_describe(response.get(), &text), CONPOOL_OK);
  Json value;
  std::string reason;
  EXPECT_TRUE(parse_json(text == nullptr ? "" : text, &value, &reason)) << reason;
  conpool_text_free(text);
  return value;
}

Answer perform(const RequestPtr& request, const Options& options) {
  const ConfigPtr config = options.empty() ? nullptr : make_config(options);
  conpool_response* response = nullptr;
  conpool_error* error = nullptr;
  Answer result;
  result.status = conpool_perform(request.get(), config.get(), &response, &error);
  result.response.reset(response);
  result.error.reset(error);
  EXPECT_EQ(result.status == CONPOOL_OK, response != nullptr);
  EXPECT_EQ(result.status == CONPOOL_OK, error == nullptr);
  return result;
}

conpool_op start_request(const RequestPtr& request, const QueuePtr& queue, int how,
                         const Options& options) {
  const ConfigPtr config = options.empty() ? nullptr : make_config(options);
  conpool_op op = 0;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_request_start(request.get(), config.get(), how, queue.get(), 7, &op, &error),
            CONPOOL_OK)
      << conpool_error_line(error);
  conpool_error_free(error);
  return op;
}

conpool_op write_piece(conpool_op op, std::string_view bytes, bool last, const QueuePtr& queue) {
  conpool_op piece = 0;
  EXPECT_EQ(
      conpool_body_write(op, bytes.data(), bytes.size(), last ? 1 : 0, queue.get(), 8, &piece),
      CONPOOL_OK);
  return piece;
}

Streamed take_stream(const QueuePtr& queue) {
  Streamed all;
  for (;;) {
    Event event = next_event(queue);
    const auto* response = static_cast<const conpool_response*>(event->object);
    const std::string status = event->status != CONPOOL_OK || event->kind == CONPOOL_EVENT_CHUNK ||
                                       event->object == nullptr
                                   ? ""
                                   : std::to_string(conpool_response_status(response));
    switch (event->kind) {
      case CONPOOL_EVENT_INTERIM:
        all.events.push_back("INTERIM " + status);
        break;
      case CONPOOL_EVENT_HEAD:
        all.events.push_back("HEAD " + status);
        break;
      case CONPOOL_EVENT_CHUNK: {
        const auto* chunk = static_cast<const conpool_chunk*>(event->object);
        EXPECT_EQ(event->value[0], all.body.size());
        if (all.events.empty() || all.events.back() != "CHUNKS") all.events.push_back("CHUNKS");
        all.body.append(reinterpret_cast<const char*>(conpool_chunk_data(chunk)),
                        conpool_chunk_size(chunk));
        break;
      }
      case CONPOOL_EVENT_TRAILERS:
        all.events.push_back("TRAILERS");
        break;
      default:
        EXPECT_EQ(event->kind, uint32_t{CONPOOL_EVENT_RESPONSE});
        all.events.push_back("FINAL " + std::string(conpool_status_name(event->status)));
        EXPECT_NE(event->flags & CONPOOL_EVENT_FINAL, 0u);
        all.final_event = std::move(event);
        return all;
    }
    EXPECT_EQ(event->flags & CONPOOL_EVENT_FINAL, 0u);
    EXPECT_EQ(event->user_data, 7u);
  }
}

}  // namespace capi_test
