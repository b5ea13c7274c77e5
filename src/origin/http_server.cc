// The scripted HTTP server: its log and its counts.
#include "origin/http_server.h"

#include "origin/http_connection.h"

namespace conpool::origin {

HttpServer::HttpServer(io::Loop& loop, HttpScript script) : Acceptor(loop), answers_(demo_answer) {
  set_script(std::move(script));
}

HttpServer::~HttpServer() {
  kill();
}

void HttpServer::set_script(HttpScript script) {
  scripts_ = [script = std::move(script)](uint64_t) { return script; };
}

void HttpServer::set_answer(HttpAnswer answer) {
  answers_ = [answer = std::move(answer)](const HttpRequest&) { return answer; };
}

std::unique_ptr<Connection> HttpServer::make(uint64_t number, std::unique_ptr<io::Stream> stream,
                                             bool ready) {
  return std::make_unique<HttpConnection>(*this, number, scripts_(number), std::move(stream),
                                          ready);
}

void HttpServer::note(const std::shared_ptr<HttpRequest>& request) {
  request->ordinal = http_counts_.requests++;
  ++counts_.requests;
  ++(request->protocol == HttpProtocol::Http1 ? http_counts_.http1_requests
                                              : http_counts_.http2_requests);
  log_.push_back(request);
  if (!request->id.empty() && ++seen_[request->id] > 1) ++http_counts_.repeated;
  if (log_.size() > log_limit_) {
    seen_.erase(log_.front()->id);
    log_.pop_front();
  }
}

uint64_t HttpServer::seen(const std::string& id) const {
  const auto found = seen_.find(id);
  return found == seen_.end() ? 0 : found->second;
}

void HttpServer::completed(HttpRequest& request) {
  request.complete = true;
  ++http_counts_.complete;
}

void HttpServer::answered(HttpRequest& request) {
  request.answered = true;
  request.ended = true;
  ++http_counts_.answered;
}

void HttpServer::refused(HttpRequest& request) {
  if (request.refused || request.answered) return;
  request.refused = true;
  ++http_counts_.refused;
  const auto found = seen_.find(request.id);
  if (found == seen_.end()) return;
  if (found->second > 1) --http_counts_.repeated;
  --found->second;
}

void HttpServer::problem(std::string text) {
  ++http_counts_.bad_requests;
  if (http_counts_.first_problem.empty()) http_counts_.first_problem = std::move(text);
}

}  // namespace conpool::origin
