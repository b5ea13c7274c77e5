// HttpServer: scripted HTTP/1.1 and HTTP/2 servers for the demo, simulated fleets and tests, in
// both worlds.
//
//   origin::HttpServer server(loop);                   // the demo's paths
//   server.set_answer_chooser([](const origin::HttpRequest& request) { … });
//   Result<void> listening = server.listen(address);
//   … server.http_counts(), server.log() …
//
// A connection speaks what ALPN agreed on; on plaintext, HTTP/2 when its first bytes say so.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "origin/acceptor.h"
#include "origin/http_script.h"

namespace conpool::origin {

class HttpServer final : public Acceptor {
 public:
  static constexpr size_t kLogEntries = 200'000;  // the oldest go

  explicit HttpServer(io::Loop& loop, HttpScript script = {});
  ~HttpServer() override;

  // For connections accepted, and requests that come, from now on.
  void set_script(HttpScript script);
  void set_script_chooser(HttpScriptChooser chooser) { scripts_ = std::move(chooser); }
  void set_answer(HttpAnswer answer);
  void set_answer_chooser(HttpAnswerChooser chooser) { answers_ = std::move(chooser); }

  // How many requests log() holds at most.
  void set_log_limit(size_t entries) { log_limit_ = entries; }

  const HttpCounts& http_counts() const { return http_counts_; }
  // In the order in which their heads came.
  const std::deque<std::shared_ptr<HttpRequest>>& log() const { return log_; }
  // How many requests of this id were not refused.
  uint64_t seen(const std::string& id) const;

 private:
  friend class HttpConnection;
  friend class Http1Protocol;
  friend class Http2Protocol;
  std::unique_ptr<Connection> make(uint64_t number, std::unique_ptr<io::Stream> stream,
                                   bool ready) override;

  // A request's head came.
  void note(const std::shared_ptr<HttpRequest>& request);
  HttpAnswer answer(const HttpRequest& request) { return answers_(request); }
  void completed(HttpRequest& request);
  void answered(HttpRequest& request);
  // The client is told that the request is not processed.
  void refused(HttpRequest& request);
  void problem(std::string text);

  HttpScriptChooser scripts_;
  HttpAnswerChooser answers_;
  HttpCounts http_counts_;
  size_t log_limit_ = kLogEntries;
  std::deque<std::shared_ptr<HttpRequest>> log_;
  std::unordered_map<std::string, uint64_t> seen_;
};

}  // namespace conpool::origin
