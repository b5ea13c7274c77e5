// Loopback: a scripted server of the real world on a thread of its own, for the demo and for tests.
//
//   Result<std::unique_ptr<Loopback>> origin = Loopback::start({.script = script, .tls = true});
//   … Loopback::start({.http = LoopbackHttp{}, .tls = true}) …   (the paths of http_script.h)
//   … (*origin)->port(), (*origin)->authority_pem(), (*origin)->counts() …
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "origin/http_server.h"
#include "origin/server.h"

namespace conpool::io {
class LoopThread;
}

namespace conpool::tls {
class ServerContext;
}

namespace conpool::origin {

// An HTTP origin in place of the scripted one.
struct LoopbackHttp {
  HttpScript script;
  HttpAnswerChooser answers = demo_answer;  // runs on the origin's thread
};

struct LoopbackOptions {
  Script script;
  std::optional<LoopbackHttp> http;
  bool tls =
      false;  // with a certificate for "localhost" of an authority made for this server alone
  std::vector<std::string> alpn;  // empty with `http`: h2 and http/1.1
  uint16_t port = 0;              // 0: one that the system picks
};

struct LoopbackCounts {
  Counts server;
  HttpCounts http;  // zero without `http`
  uint64_t handshakes_full = 0;
  uint64_t handshakes_resumed = 0;
};

// Listens on 127.0.0.1 and, where there is IPv6, on ::1, at one port.
//
// The server lives on the loop's thread from start() to the destructor; other threads reach it by
// calls that the loop runs between two turns. counts() and the destructor wait for the running
// turn.
class Loopback {
 public:
  static constexpr int kPortTries = 16;  // ports that are free on 127.0.0.1 and taken on ::1

  // The system's refusal to listen or to start a thread, or E_TLS_CONFIG.
  static Result<std::unique_ptr<Loopback>> start(LoopbackOptions options);
  ~Loopback();
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;

  uint16_t port() const { return port_; }
  // "127.0.0.1:4711", "[::1]:4711".
  const std::vector<std::string>& addresses() const { return addresses_; }
  // What a client has to trust; empty without TLS.
  const std::string& authority_pem() const { return authority_pem_; }
  LoopbackCounts counts();

 private:
  Loopback() = default;
  Result<void> start_tls(const LoopbackOptions& options);
  Result<void> listen(uint16_t port);
  void make_server(LoopbackOptions options);
  void run_calls();

  std::unique_ptr<io::Loop> loop_;
  std::shared_ptr<tls::ServerContext> tls_;
  std::unique_ptr<Acceptor> server_;
  HttpServer* http_ = nullptr;  // `server_`, where it is one
  std::unique_ptr<io::LoopThread> thread_;
  uint16_t port_ = 0;
  std::vector<std::string> addresses_;
  std::string authority_pem_;

  std::mutex mutex_;
  std::condition_variable answered_;
  LoopbackCounts* wanted_ = nullptr;  // under the mutex: where the next turn writes the counts
};

}  // namespace conpool::origin
