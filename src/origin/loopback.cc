// Loopback's start, its thread's turns and its end.
#include "origin/loopback.h"

#include <openssl/ssl.h>

#include <ctime>

#include "io/uv/loop_thread.h"
#include "io/uv/uv_loop.h"
#include "tls/certificates.h"
#include "tls/server_stream.h"

namespace conpool::origin {
namespace {

constexpr int64_t kHourSeconds = 3600;
constexpr int kTurnsToClose = 1000;

SocketAddress v4_loopback(uint16_t port) {
  return SocketAddress::v4({127, 0, 0, 1}, port);
}

SocketAddress v6_loopback(uint16_t port) {
  std::array<uint8_t, 16> ip{};
  ip[15] = 1;
  return SocketAddress::v6(ip, port);
}

}  // namespace

Result<std::unique_ptr<Loopback>> Loopback::start(LoopbackOptions options) {
  std::unique_ptr<Loopback> self(new Loopback());
  if (options.tls) {
    Result<void> ready = self->start_tls(options);
    if (!ready) return fail(std::move(ready).error());
  }
  Result<std::unique_ptr<io::Loop>> loop = io::make_uv_loop();
  if (!loop) return fail(std::move(loop).error());
  self->loop_ = std::move(*loop);
  const uint16_t port = options.port;
  self->make_server(std::move(options));
  if (self->tls_ != nullptr) {
    self->server_->set_stream_factory(
        [&owner = *self](std::unique_ptr<io::Stream> lower) -> std::unique_ptr<io::Stream> {
          auto stream = tls::ServerStream::make(*owner.loop_, std::move(lower), owner.tls_);
          return stream ? std::move(*stream) : nullptr;
        });
  }
  Result<void> listening = self->listen(port);
  if (!listening) return fail(std::move(listening).error());

  self->loop_->set_wake_handler([&owner = *self] { owner.run_calls(); });
  // After OpenSSL's initialisation, see LoopThread.
  io::park_all_loops_at_exit();
  Result<std::unique_ptr<io::LoopThread>> thread = io::LoopThread::start(*self->loop_);
  if (!thread) return fail(std::move(thread).error());
  self->thread_ = std::move(*thread);
  return self;
}

void Loopback::make_server(LoopbackOptions options) {
  if (!options.http) {
    server_ = std::make_unique<Server>(*loop_, std::move(options.script));
    return;
  }
  auto server = std::make_unique<HttpServer>(*loop_, std::move(options.http->script));
  server->set_answer_chooser(std::move(options.http->answers));
  http_ = server.get();
  server_ = std::move(server);
}

Result<void> Loopback::start_tls(const LoopbackOptions& options) {
  Result<std::shared_ptr<tls::Library>> library = tls::Library::process(true);
  if (!library) return fail(std::move(library).error());
  const int64_t now = std::time(nullptr);
  auto authority = tls::Authority::make(*library, "conpool throw-away authority",
                                        now - kHourSeconds, now + 24 * kHourSeconds);
  if (!authority) return fail(std::move(authority).error());
  Result<tls::Certificate> leaf = (*authority)
                                      ->issue({.common_name = "localhost",
                                               .names = {"localhost"},
                                               .ips = {"127.0.0.1", "::1"},
                                               .not_before = now - kHourSeconds,
                                               .not_after = now + 24 * kHourSeconds});
  if (!leaf) return fail(std::move(leaf).error());
  std::vector<std::string> alpn = options.alpn;
  if (alpn.empty() && options.http) alpn = {"h2", "http/1.1"};
  auto context =
      tls::ServerContext::make(*library, {.certificate_pem = std::move(leaf->certificate_pem),
                                          .key_pem = std::move(leaf->key_pem),
                                          .alpn = std::move(alpn)});
  if (!context) return fail(std::move(context).error());
  tls_ = std::move(*context);
  authority_pem_ = (*authority)->certificate_pem();
  return {};
}

Result<void> Loopback::listen(uint16_t port) {
  for (int attempt = 1;; ++attempt) {
    Result<void> v4 = server_->listen(v4_loopback(port));
    if (!v4) return v4;
    port_ = server_->address().port();
    Result<void> v6 = server_->listen(v6_loopback(port_));
    if (v6) {
      addresses_ = {server_->address(0).text(), server_->address(1).text()};
      return {};
    }
    if (v6.error().os_error != EADDRINUSE) {  // no IPv6 here
      addresses_ = {server_->address(0).text()};
      return {};
    }
    // Whoever has the port on ::1 would get the connections that are meant for us.
    if (port != 0 || attempt == kPortTries) return v6;
    server_->stop_listening();
    loop_->run_turn(0);
  }
}

LoopbackCounts Loopback::counts() {
  LoopbackCounts counts;
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [this] { return wanted_ == nullptr; });
  wanted_ = &counts;
  loop_->wake();
  answered_.wait(lock, [this, &counts] { return wanted_ != &counts; });
  return counts;
}

void Loopback::run_calls() {
  const std::lock_guard lock(mutex_);
  if (wanted_ == nullptr) return;
  wanted_->server = server_->counts();
  if (http_ != nullptr) wanted_->http = http_->http_counts();
  if (tls_ != nullptr) {
    const auto resumed = static_cast<uint64_t>(SSL_CTX_sess_hits(tls_->native()));
    wanted_->handshakes_resumed = resumed;
    wanted_->handshakes_full =
        static_cast<uint64_t>(SSL_CTX_sess_accept_good(tls_->native())) - resumed;
  }
  wanted_ = nullptr;
  answered_.notify_all();
}

Loopback::~Loopback() {
  if (thread_ != nullptr && !thread_->stop_and_join()) {
    // The process is exiting and the thread was parked inside the loop: all of it stays as it is.
    (void)server_.release();
    (void)loop_.release();
    return;
  }
  server_.reset();
  for (int turn = 0; loop_ != nullptr && loop_->live_handles() > 0 && turn < kTurnsToClose; ++turn)
    loop_->run_turn(loop_->now() + kMillisecond);
}

}  // namespace conpool::origin
