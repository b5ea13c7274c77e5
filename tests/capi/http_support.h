// What the tests of requests share: an HTTP/1.1 server on loopback that a test scripts, and short
// names.
#pragma once

#include <map>
#include <optional>

#include "json.h"
#include "support.h"

namespace capi_test {

struct HttpRequest {
  std::string method;
  std::string target;
  std::string head;                                // as it came, with its empty line
  std::multimap<std::string, std::string> fields;  // lower-case names
  std::string body;
  std::multimap<std::string, std::string> trailers;
  int number = 0;  // on its connection, from 1

  std::string field(const std::string& name) const;  // "" without
  size_t count(const std::string& name) const { return fields.count(name); }
};

// Reads a request's parts off a socket.
class HttpReader {
 public:
  explicit HttpReader(int fd) : fd_(fd) {}
  // False at the end of the connection.
  bool read_head(HttpRequest* request);
  bool read_body(HttpRequest* request);  // by Content-Length, or chunked
  bool read_exactly(size_t size, std::string* out);

 private:
  bool fill();
  bool read_line(std::string* line);
  int fd_;
  int number_ = 0;
  std::string buffer_;
};

bool send_all(int fd, std::string_view bytes);
// "HTTP/1.1 200 OK" with Content-Length and the body.
std::string answer(std::string_view body, int status = 200, std::string_view fields = "");

// Answers each request with what the script returns; closes the connection on nullopt.
class HttpServer {
 public:
  using Script = std::function<std::optional<std::string>(const HttpRequest&)>;
  explicit HttpServer(Script script);
  // The script has the socket to itself, from the first byte on.
  explicit HttpServer(Server::Serve serve) : server_(std::move(serve)) {}

  // Sends each request's body back, or the target where there is none.
  static std::optional<std::string> echo(const HttpRequest& request);
  std::string url(const std::string& target = "") const {
    return "http://" + server_.address() + target;
  }
  std::string authority() const { return server_.address(); }
  int accepted() const { return server_.accepted(); }
  int open() const { return server_.open(); }
  int requests() const { return requests_; }

 private:
  std::atomic<int> requests_{0};
  Server server_;
};

struct FreeRequest {
  void operator()(conpool_request* r) const { conpool_request_free(r); }
};
struct FreeResponse {
  void operator()(conpool_response* r) const { conpool_response_free(r); }
};
using RequestPtr = std::unique_ptr<conpool_request, FreeRequest>;
using ResponsePtr = std::unique_ptr<conpool_response, FreeResponse>;

RequestPtr make_request(const PoolPtr& pool, const std::string& method, const std::string& url,
                        const Options& options = {});
void add_header(const RequestPtr& request, const std::string& name, const std::string& value);
void add_trailer(const RequestPtr& request, const std::string& name, const std::string& value);
void set_body(const RequestPtr& request, std::string_view body);

// Bytes that differ from place to place.
std::string pattern(size_t size);

// A file without a name.
class TempFile {
 public:
  explicit TempFile(const std::string& content);
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// What a perform ended with.
struct Answer {
  conpool_status status = 0;
  ResponsePtr response;
  ErrorPtr error;
  std::string body() const;
  std::string header(const char* name) const;
  std::string line() const { return conpool_error_line(error.get()); }
  int proof() const { return conpool_error_proof(error.get()); }
  Json facts() const;
};
Answer perform(const RequestPtr& request, const Options& options = {});
std::string body_of(const conpool_response* response);

conpool_op start_request(const RequestPtr& request, const QueuePtr& queue = nullptr,
                         int how = CONPOOL_WHOLE, const Options& options = {});
conpool_op write_piece(conpool_op op, std::string_view bytes, bool last,
                       const QueuePtr& queue = nullptr);

// The events of one streamed request to its FINAL, in words: "HEAD 200", "CHUNK abc", …
struct Streamed {
  std::vector<std::string> events;
  std::string body;
  Event final_event;
};
Streamed take_stream(const QueuePtr& queue);

}  // namespace capi_test
